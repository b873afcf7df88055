#!/bin/sh
# SPDX-License-Identifier: MIT
# One budget for all processes of a tree: it holds, it is shared out fairly, and comes back from who dies.
. "$(dirname "$0")/lib.sh"

# until_true SECONDS COMMAND...: tries again and again; how long it takes decides nothing but for what never comes true
until_true() {
    tries=$(($1 * 10))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

# used FILE-WITH-PID: what a process of the tree uses, in MiB
used() {
    "$UZSWAP" stat "$(cat "$1")" | awk '$1 == "total_bytes" { print int($2 / 1048576) }'
}

# uses FILE-WITH-PID LEAST MOST
uses() {
    now=$(used "$1") && [ "$now" -ge "$2" ] && [ "$now" -le "$3" ]
}

# The sum of what the kernel says that the processes of the tree share out of anonymous memory, in KiB. They stand still for it: what
# moves from one to another meanwhile would count twice.
tree_pss() {
    kill -STOP -- "-$1" 2>/dev/null
    sleep 0.02
    for process in $(pgrep -g "$1" 2>/dev/null); do
        awk '$1 == "Pss_Anon:" { print $2 }' "/proc/$process/smaps_rollup" 2>/dev/null
    done | awk '{ sum += $1 } END { print sum + 0 }'
    kill -CONT -- "-$1" 2>/dev/null
}

# ---- many processes that all want more

cat > "$work/eight.sh" << 'END'
for i in 1 2 3 4 5 6 7 8; do
    "$1" --size 64M --threads 1 --seconds 2 --sequential 1 > "$2/eight.$i" &
done
wait
END

eight_processes() {
    setsid "$UZSWAP" run --quiet --memory 128M --stats "$work/eight.stats" -- \
        sh "$work/eight.sh" "$PROGRAMS/touch" "$work" &
    run=$!
    highest=0
    while kill -0 $run 2> /dev/null; do
        seen=$(tree_pss $run)
        [ "$seen" -le $highest ] || highest=$seen
        sleep 0.1
    done
    wait $run || return 1
    for i in 1 2 3 4 5 6 7 8; do
        equal "$work/eight.$i" wrong_bytes 0 || return 1
    done
    say "the tree's peak is $(($(figure "$work/eight.stats" peak_bytes) / MIB)) MiB," \
        "seen from outside $((highest / 1024)) MiB"
}

check 'eight processes of 64 MiB in 128 MiB find no wrong byte' eight_processes
check 'eight processes: within the budget together' within_budget "$work/eight.stats" 128
check 'eight processes: they used most of it' more_than "$work/eight.stats" peak_bytes $((96 * MIB))
# What is not managed: stacks, the data of libraries, the runtime's own before it counts: 1 MiB a process.
check 'eight processes: nor did the kernel see more' [ "$highest" -le $((128 * 1024 + 10 * 1024)) ]

# ---- many that sleep, and one that works

cat > "$work/many.py" << 'END'
import os, sys, time
for _ in range(40):
    if not os.fork():
        own = [b'%d' % i * 100 for i in range(20000)]  # about 4 MiB
        time.sleep(600)
        os._exit(0)
    time.sleep(0.05)
work = [bytearray(b'%d' % i * 500) for i in range(40000)]  # about 90 MiB
for turn in range(4):
    for i, piece in enumerate(work):
        assert piece[:1] == b'%d' % (i // 10 ** (len(str(i)) - 1))
os.killpg(0, 15)
END

# Were all equal, each would have 3 MiB.
many_sleepers() {
    setsid "$UZSWAP" run --quiet --memory 128M --stats "$work/many.stats" -- python3 "$work/many.py"
    [ $? = 143 ]
}

check 'one of forty processes works' many_sleepers
# A child that finds no room starts all the same: while forty do, so much more may be used for a moment.
check 'forty processes: close to the budget' at_most "$work/many.stats" peak_bytes $((144 * MIB))

# ---- an idle process that has all, and a hungry new one

"$UZSWAP" run --quiet --memory 128M --stats "$work/fair.stats" -- sh -c '
    "$0" 150 idle "$1/idle" "$1/stop" & idle=$!
    "$0" 150 busy "$1/busy" "$1/stop" & busy=$!
    wait $idle; echo $? > "$1/idle.status"
    wait $busy; echo $? > "$1/busy.status"
    exit 0' "$PROGRAMS/holder" "$work" &
run=$!
# 120 MiB are shared out, the rest is kept free; a little less is used.
check 'both get to the point' until_true 120 [ -s "$work/idle" -a -s "$work/busy" ]
check 'beside a process that sleeps a hungry one gets most' until_true 60 uses "$work/busy" 90 128
check 'a process that sleeps keeps little while another is hungry' until_true 60 uses "$work/idle" 0 24

kill -9 "$(cat "$work/idle")"
check 'the room of a process that was killed goes to the other' until_true 60 uses "$work/busy" 90 128
touch "$work/stop"
wait $run
check 'it was killed' [ "$(cat "$work/idle.status")" = 137 ]
check 'the other has found no wrong byte' [ "$(cat "$work/busy.status")" = 0 ]
check 'killed: within the budget' within_budget "$work/fair.stats" 128

# ---- a stopped process cannot give anything back

rm -f "$work/stop" "$work/idle" "$work/busy"
"$UZSWAP" run --quiet --memory 96M --stats "$work/stopped.stats" -- sh -c '
    "$0" 60 idle "$1/idle" "$1/stop" & idle=$!
    while [ ! -s "$1/idle" ]; do sleep 0.05; done
    kill -STOP $idle
    "$0" 60 busy "$1/busy" "$1/never" & busy=$!
    while [ ! -s "$1/busy" ]; do sleep 0.05; done
    kill -CONT $idle
    touch "$1/stop" "$1/never"
    wait $idle && wait $busy' "$PROGRAMS/holder" "$work"
check 'beside a stopped process others go on' [ $? = 0 ]
check 'stopped: within the budget' within_budget "$work/stopped.stats" 96

# ---- fork

check 'a child that only reads finds what its parent has written' \
    "$UZSWAP" run --quiet --memory 256M --stats "$work/fork.stats" -- "$PROGRAMS/holder" 100 fork
check 'what parent and child share is counted once' at_most "$work/fork.stats" peak_bytes $((120 * MIB))

# ---- a small process

"$UZSWAP" run --quiet --memory 64M --stats "$work/idle.stats" -- sleep 0.5
check 'a process that does nothing takes 500 KiB at most for the runtime' \
    at_most "$work/idle.stats" tables_bytes $((500 * 1024))
say "a process that does nothing: $(($(figure "$work/idle.stats" tables_bytes) / 1024)) KiB of tables and stacks," \
    "$(($(figure "$work/idle.stats" peak_bytes) / 1024)) KiB in all"

# ---- a compiler

if command -v gcc > /dev/null && command -v make > /dev/null; then
    python3 - "$work" << 'END'
import os, sys
for folder in ('native', 'managed'):
    path = os.path.join(sys.argv[1], folder)
    os.mkdir(path)
    names = [f'part{i}' for i in range(24)]
    for n, name in enumerate(names):
        with open(os.path.join(path, name + '.c'), 'w') as f:
            f.write('#include <stdio.h>\n#include <string.h>\n')
            for i in range(60):
                f.write(f'int {name}_{i}(int x) {{ char t[64]; snprintf(t, sizeof t, "%d", x * {n + i}); '
                        f'return (int)strlen(t) + x % {i + 2}; }}\n')
    with open(os.path.join(path, 'main.c'), 'w') as f:
        f.write('#include <stdio.h>\n')
        calls = ' + '.join(f'{name}_{i}({i})' for name in names for i in range(0, 60, 7))
        f.write(''.join(f'int {name}_{i}(int);\n' for name in names for i in range(0, 60, 7)))
        f.write(f'int main(void) {{ printf("%d\\n", {calls}); return 0; }}\n')
    with open(os.path.join(path, 'Makefile'), 'w') as f:
        objects = ' '.join(name + '.o' for name in names + ['main'])
        f.write(f'program: {objects}\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -O2 -c -o $@ $<\n')
END
    make -s -C "$work/native" -j4 program
    check 'make -j4 in 96 MiB builds' \
        "$UZSWAP" run --quiet --memory 96M --stats "$work/make.stats" -- make -s -C "$work/managed" -j4 program
    check 'make: what it built is the same, byte for byte' sh -c 'for f in "$1"/native/*; do
        cmp "$f" "$1/managed/${f##*/}" || exit 1; done' sh "$work"
    check 'make: within the budget' within_budget "$work/make.stats" 96
    say "make: $(figure "$work/make.stats" processes) processes," \
        "$(($(figure "$work/make.stats" peak_bytes) / MIB)) MiB at peak"
else
    skip 'make -j4 in 96 MiB builds' 'no gcc or no make'
fi
finish
