#!/bin/sh
# SPDX-License-Identifier: MIT
# tools/page-images.py takes a program's own pages, and nothing that is private.
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
check 'a process that does not exist is an error' fails "$tool" take --pid 4194304 "$work/none.pages"
finish
