#!/bin/sh
# SPDX-License-Identifier: MIT
# tools/page-images.py takes a program's own pages, and nothing that is private. It leaves nothing behind, and ends nothing that
# it has not started.
. "$(dirname "$0")/lib.sh"

tool=$root/tools/page-images.py

# 256 pages that say which they are, every 16th with a key in it.
program='
import mmap, sys
memory = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for n in range(256):
    # In parts, so that the whole is nowhere else.
    for at, text in ((0, b"page number "), (12, b"%03d " % n)) + (((64, b"-----BEGIN "), (75, b"PRIVATE KEY-----")) if n % 16 == 0 else ()):
        memory[n * 4096 + at:n * 4096 + at + len(text)] = text
print("ready", flush=True)
sys.stdin.read()
'

# holds FILE COUNT PATTERN: the pattern is there so many times
holds() {
    found=$(grep -a -o -- "$3" "$1" | wc -l)
    [ "$found" -eq "$2" ] || { say "$found of '$3' in $1, and not $2"; return 1; }
}

# take [OPTION...] FILE: of the program
take() {
    "$tool" take --pid $pid "$@" > "$work/output" 2>&1
}

whole_pages() {
    size=$(wc -c < "$1")
    [ "$size" -gt 0 ] && [ $((size % 4096)) -eq 0 ]
}

fails() {
    ! "$@" > "$work/output" 2>&1
}

no_traceback() {
    ! grep Traceback "$work/output"
}

# says TEXT COMMAND...: fails, with this among what it says
says() {
    text=$1
    shift
    fails "$@" && no_traceback && { grep -q -- "$text" "$work/output" || { cat "$work/output"; return 1; }; }
}

# filled_by PID: the program that is being filled, once PID or a child of it has started it
filled_by() {
    for turn in $(seq 1000); do
        youngest=$1
        while more=$(cat "/proc/$youngest/task/$youngest/children" 2> /dev/null) && [ -n "$more" ]; do
            youngest=${more%% *}
        done
        case $(readlink "/proc/$youngest/cwd") in /tmp/page-images-*) echo "$youngest" && return ;; esac
        sleep 0.02
    done
    return 1
}

# gone PID FOLDER: a process and its folder
gone() {
    [ ! -e "/proc/$1" ] && [ ! -e "$2" ]
}

# interrupts SIGNAL COMMAND...: while a program is being filled; twice, as an impatient user does
interrupts() {
    signal=$1
    shift
    env --default-signal=HUP "$@" > "$work/output" 2>&1 & # under nohup it would be ignored
    command=$!
    filled=$(filled_by $command) && folder=$(readlink "/proc/$filled/cwd") || { cat "$work/output"; return 1; }
    kill -s "$signal" $command
    kill -s "$signal" $command
    wait $command && { say 'it ended well'; return 1; }
    gone "$filled" "$folder" || { say "left: process $filled, folder $folder"; return 1; }
    [ -z "$(ls "$work/images" 2> /dev/null)" ] && no_traceback && grep -q interrupted "$work/output"
}

# spares_strangers: a child that the shell left to the tool that it became
spares_strangers() {
    sh -c 'sleep 300 & echo $! > "$1"; shift; exec "$@"' sh "$work/stranger" \
        "$tool" make python --mib 16 --pages 8 --folder "$work/few" > "$work/output" 2>&1
    status=$?
    kill "$(cat "$work/stranger")" || return 1
    [ $status = 0 ] || { cat "$work/output"; return 1; }
}

mkfifo "$work/in"
UZSWAP_TEST_MARK=in-the-environment python3 -I -c "$program" < "$work/in" > "$work/out" &
pid=$!
exec 9> "$work/in"
for turn in $(seq 500); do
    grep -q ready "$work/out" && break
    sleep 0.02
done

if ! take "$work/all.pages" && grep -q 'Permission denied' "$work/output"; then
    skip 'an image has the pages of the program' "needs the right to read another process's memory"
else
    check 'an image has whole pages' whole_pages "$work/all.pages"
    check 'an image has the pages of the program' holds "$work/all.pages" 240 'page number [0-9]* '
    check 'pages with a private key are left out' holds "$work/all.pages" 0 '-----BEGIN PRIVATE'
    check 'pages that the user refuses are left out' take --refuse 'number 0[0-9]5' "$work/fewer.pages"
    check 'and only those' holds "$work/fewer.pages" 230 'page number [0-9]* '
    kill -STOP $pid
    take --pages 50 "$work/a.pages"
    take --pages 50 "$work/b.pages"
    take --pages 50 --seed 2 "$work/c.pages"
    kill -CONT $pid
    check 'a sample has as many pages as were asked for' [ "$(wc -c < "$work/a.pages")" -eq $((50 * 4096)) ]
    check 'the same seed takes the same pages' cmp -s "$work/a.pages" "$work/b.pages"
    check 'another seed takes others' fails cmp -s "$work/a.pages" "$work/c.pages"
fi
exec 9>&-
wait $pid

check 'a clean image is found clean' "$tool" check "$root"/tests/data/redis.pages --refuse 'this is nowhere'
{
    cat "$root/tests/data/redis.pages"
    printf '%-4096s' 'GET /home/someone/.ssh/id_ed25519'
} > "$work/bad.pages"
check 'a page with a private path is found' fails "$tool" check "$work/bad.pages"
check 'and named' grep -q 'page 144: private path' "$work/output"
check 'a process that does not exist is an error' says 'there is no process' "$tool" take --pid 4194304 "$work/none.pages"
check 'a file that is not there is named' says "$work/none.pages: No such file" "$tool" check "$work/none.pages"
check 'so is a folder' says "$work: Is a directory" "$tool" check "$work"
check 'no regular expression' says 'no regular expression' "$tool" check --refuse '(' "$work/bad.pages"
check 'fewer than no pages' says 'no positive integer' "$tool" make --pages -3 --folder "$work/images"
check 'a folder that cannot be' says "$tool/images: Not a directory" "$tool" make python --folder "$tool/images"

if [ ! -x /usr/bin/python3 ]; then
    skip 'programs are started and ended' 'no python3 in /usr/bin'
else
    mkdir "$work/images"
    for signal in INT TERM HUP; do
        check "$signal: nothing is left of a program" interrupts $signal "$tool" make python --mib 2048 --folder "$work/images"
    done
    mkdir -p "$work/build/bench"
    cp /bin/true "$work/build/bench/bench-density"
    for signal in INT TERM; do
        check "$signal: nor when images are taken for a measurement" interrupts $signal "$root/bench/density.py" \
            --build "$work/build" --images "$work/build/images" --data python --pools zsmalloc --image-mib 2048
    done
    check 'processes that were there before live on' spares_strangers
    check "an image is its owner's only" [ "$(stat -c %a "$work/few/python.pages")" = 600 ]
    check 'to take nothing is an error' says 'no image was taken' "$tool" make python --mib 16 --refuse '' --folder "$work/images"
    check 'of which nothing is left' [ -z "$(ls "$work/images")" ]
fi
finish
