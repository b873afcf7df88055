#!/bin/sh
# SPDX-License-Identifier: MIT
# Every kind of fork with four times as much memory as the budget; and what processes leave on the device as they are killed.
. "$(dirname "$0")/lib.sh"

mkdir "$work/swap"

# run_fork MEMORY OUTPUT ARGUMENT...
run_fork() {
    memory=$1
    output=$2
    shift 2
    "$UZSWAP" run --quiet --memory "$memory" --swap "file:$work/swap" --swap-size 2G --stats "$work/stats" \
        -- "$PROGRAMS/fork" "$@" > "$output"
}

# passes FILE: all its tests
passes() {
    grep -E '^(not ok|#)' "$1" | sed 's/^/# /'
    grep -q '^1\.\.' "$1" && ! grep -q '^not ok' "$1"
}

"$PROGRAMS/fork" > "$work/native"
check 'every kind of fork works without uzswap' passes "$work/native"
run_fork 16M "$work/managed"
check 'every kind of fork works with a quarter of the memory' passes "$work/managed"
check 'pages were on the device' more_than "$work/stats" written_back_pages 1000

# look NAME: waits until the program stands still; its figure of the device to $work/NAME, once it has been brought up to date
look() {
    read -r pid state <&3
    [ "$state" = "$1" ] || { say "it is '$state', not $1"; return 1; }
    sleep 1
    "$UZSWAP" stat "$pid" | sed -n 's/^device_bytes *//p' > "$work/$1"
    parent=$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$pid/stat")
    "$UZSWAP" stat "$parent" | sed -n 's/^device_bytes *//p' > "$work/$1.sum"
    echo on >&4
}

# One process's share of the address space for what it would note of a device of 8 TiB is all there is.
refused() {
    (ulimit -v 62000000 && "$UZSWAP" run --quiet --memory 16M --swap "file:$work/swap" --swap-size 8T \
        -- "$PROGRAMS/fork" refused)
}
check 'without a seat in the swap map, fork answers EAGAIN' refused

mkfifo "$work/to" "$work/from"
run_fork 16M "$work/from" device < "$work/to" &
run=$!
exec 4> "$work/to" 3< "$work/from"
check 'a parent fills its memory' look filled
check 'a child fills its own' look forked
check 'the child is killed' look killed
wait $run
check 'the parent has its bytes' [ $? = 0 ]
filled=$(cat "$work/filled")
forked=$(cat "$work/forked")
killed=$(cat "$work/killed")
say "on the device: $filled bytes, with a child $forked, after its death $killed"
check 'the sum counts the device that both use once' [ "$(cat "$work/forked.sum")" -lt "$((forked + forked / 4))" ]
check 'a child takes room on the device for what it writes' [ "$forked" -gt "$((filled + filled / 4))" ]
# Before the fork and while both wanted the budget the parent had to give up some, at most all, of its 16 MiB, and wrote that back.
check 'what only the dead used is free, before they are reaped' [ "$killed" -le "$((filled + 16 * MIB))" ]
check 'the child had used more than that' [ "$forked" -gt "$((killed + 4 * MIB))" ]
check 'nothing is left in the folder' [ -z "$(ls -A "$work/swap")" ]
finish
