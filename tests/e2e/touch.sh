#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that touches far more memory than its budget holds, from several threads, finds every byte right.
. "$(dirname "$0")/lib.sh"

# touch NAME MEMORY OPTIONS-OF-RUN -- OPTIONS-OF-TOUCH: its JSON to $work/NAME.touch, the statistics to $work/NAME.stats
touch_under() {
    name=$1
    memory=$2
    shift 2
    options=
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    "$UZSWAP" run --quiet --memory "${memory}M" $options --stats "$work/$name.stats" -- "$PROGRAMS/touch" "$@" \
        > "$work/$name.touch"
    status=$?
    say "$name: $(cat "$work/$name.touch")"
    [ $status = 0 ] || { say "exit status $status"; return 1; }
    [ -s "$work/$name.stats" ] || { say 'no statistics were written'; return 1; }
    equal "$work/$name.touch" wrong_bytes 0
}

check 'two threads on 1 GiB in 256 MiB find no wrong byte' \
    touch_under two 256 -- --size 1G --threads 2 --seconds 5 --sequential 1
check 'two threads: within the budget' within_budget "$work/two.stats" 256
check 'two threads: the process never held more than the budget and 64 MiB' \
    at_most "$work/two.touch" vm_hwm $((320 * MIB))
check 'two threads: pages came back from the pool' more_than "$work/two.stats" pool_loads 1000
check 'two threads: nothing failed to decompress' equal "$work/two.stats" decompress_fail 0

check 'eight threads on 128 MiB in 32 MiB find no wrong byte' \
    touch_under eight 32 -- --size 128M --threads 8 --seconds 3
check 'eight threads: within the budget' within_budget "$work/eight.stats" 32

check 'incompressible pages go to the device and come back right' \
    touch_under noise 128 --swap-size 2G -- --size 512M --threads 2 --seconds 5 --incompressible --sequential 1
check 'incompressible: within the budget' within_budget "$work/noise.stats" 128
check 'incompressible: pages were written back' more_than "$work/noise.stats" written_back_pages 0

check 'compressible pages beyond the pool are written back compressed' \
    touch_under packed 64 --writeback compressed --swap-size 1G -- --size 512M --threads 2 --seconds 3
check 'compressed writeback: pages were written back' more_than "$work/packed.stats" written_back_pages 0
check 'compressed writeback: within the budget' within_budget "$work/packed.stats" 64

check 'pages are written back plain when asked' \
    touch_under plain 64 --writeback page --swap-size 1G -- --size 512M --threads 2 --seconds 3
check 'plain writeback: pages were written back' more_than "$work/plain.stats" written_back_pages 0
check 'plain writeback: within the budget' within_budget "$work/plain.stats" 64

for compressor in lz4 lz4hc zstd deflate; do
    check "no wrong byte with $compressor" \
        touch_under "$compressor" 32 --compressor "$compressor" -- --size 96M --threads 2 --seconds 1
done

check 'what does not fit anywhere stays in memory, and right' \
    touch_under off 64 --writeback off -- --size 96M --threads 2 --seconds 1 --incompressible
check 'a device that is too small loses nothing' \
    touch_under small 32 --swap-size 16M -- --size 96M --threads 2 --seconds 1 --incompressible
finish
