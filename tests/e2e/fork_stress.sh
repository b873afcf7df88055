#!/bin/sh
# SPDX-License-Identifier: MIT
# A family of processes that fork, change, drop and move their pages, and kill each other (fork_stress.c); afterwards
# nothing of it may be left: no process, no file, and when all but one are dead no slot of the device that is not his.
# UZSWAP_STRESS_SECONDS: how long each run takes, instead of a number of rounds. Usage: fork_stress.sh [compressed|plain|equal|none ...] for some
# runs only.
. "$(dirname "$0")/lib.sh"

# ---- what may be left

# nothing TEXT: says what was found
nothing() {
    [ -z "$1" ] || { echo "$1" | sed 's/^/# left: /'; return 1; }
}

# No swap file that is deleted and still open.
no_file() {
    nothing "$(ls -l /proc/[0-9]*/fd 2> /dev/null | grep -F "$work/" | grep deleted)"
}

# No process that inherited UZSWAP_TEST, wherever it has gone. (A zombie has no environment.)
no_heir() {
    nothing "$(grep -lzF "UZSWAP_TEST=$work" /proc/[0-9]*/environ 2> /dev/null)"
}

# no_group PID: no process of that group, zombies included
no_group() {
    nothing "$(cat /proc/[0-9]*/stat 2> /dev/null |
        sed -n "s/^\([0-9]*\) .*) \(.\) [0-9]* $1 .*/process \1 of the group, state \2/p")"
}

# no_slot PID LEAST MOST: the family has no more on its device than that process, of LEAST .. MOST bytes a page. (What is not
# mapped by us, the stack of a thread that has ended, say, may be there.)
no_slot() {
    "$UZSWAP" stat "$1" > "$work/figures" || return 1
    pages=$(sed -n 's/^device_pages *//p' "$work/figures")
    bytes=$(sed -n 's/^device_bytes *//p' "$work/figures")
    left="$bytes bytes for $pages pages"
    [ "$pages" -le 256 ] && [ "$bytes" -ge $((pages * $2)) ] && [ "$bytes" -le $((pages * $3)) ]
}

# Deaths are looked for, and figures brought up to date, a few times a second.
no_slot_soon() {
    for _ in $(seq 100); do
        if no_slot "$@"; then
            say "on the device at the end: $left"
            return 0
        fi
        sleep 0.1
    done
    say "on the device at the end: $left"
    return 1
}

# ---- the checks see what is planted

sees_a_file() {
    exec 5> "$work/planted"
    rm "$work/planted"
    ! no_file
    seen=$?
    exec 5>&-
    return $seen
}

sees_a_process() {
    UZSWAP_TEST=$work setsid sleep 100 &
    planted=$!
    while [ "$(cat /proc/$planted/comm)" != sleep ]; do
        sleep 0.1
    done
    ! no_heir && ! no_group $planted
    seen=$?
    kill $planted
    wait $planted
    [ $seen = 0 ] && no_heir && no_group $planted
}

check 'a file that is left is seen' sees_a_file
check 'a process that is left is seen' sees_a_process

# ---- runs

# start SEED ROUNDS OPTION...: the family in the background, its standard input at descriptor 4
start() {
    length="--rounds $2"
    if [ -n "$UZSWAP_STRESS_SECONDS" ]; then
        length="--seconds $UZSWAP_STRESS_SECONDS"
    fi
    seed=$1
    shift 2
    rm -f "$work/to"
    mkfifo "$work/to"
    # shellcheck disable=SC2086
    UZSWAP_TEST=$work timeout -k 5 $((${UZSWAP_STRESS_SECONDS:-0} + 200)) "$UZSWAP" run --memory 16M --swap-size 1G \
        --swap "file:$work" --stats "$work/stats" "$@" -- "$PROGRAMS/fork_stress" $length --seed "$seed" \
        < "$work/to" > "$work/output" 2>&1 &
    run=$!
    exec 4> "$work/to"
}

# family ROUNDS SEED LEAST MOST OPTION...: LEAST .. MOST as for no_slot
family() {
    rounds=$1
    seed=$2
    least=$3
    most=$4
    shift 4
    start "$seed" "$rounds" "$@"
    first=''
    while [ -z "$first" ] && kill -0 $run 2> /dev/null; do
        first=$(sed -n 's/^# empty: process //p' "$work/output")
        sleep 0.1
    done
    slots=1
    if [ -n "$first" ]; then
        no_slot_soon "$first" "$least" "$most"
        slots=$?
    fi
    exec 4>&-
    wait $run
    status=$?
    sed 's/^/# /' "$work/output"
    [ $status = 0 ] && [ $slots = 0 ] && no_file && no_heir && no_group "$first"
}

titles=$*
run_family() {
    case " ${titles:-$1} " in *" $1 "*)
        title=$2
        shift 2
        check "$title" family "$@"
        ;;
    esac
}

# An object takes one slot of 512 bytes at least, and nine at most.
run_family compressed 'pages compressed on the device' 1500 1 512 4608
run_family plain 'plain pages on the device' 700 2 4096 4096 --writeback page
run_family equal 'equal pages kept once' 700 3 512 4608 --deduplicate
run_family none 'no device' 700 4 0 0 --writeback off
finish
