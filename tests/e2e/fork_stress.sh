#!/bin/sh
# SPDX-License-Identifier: MIT
# A family of processes that fork, change, drop and move their pages, and kill each other (fork_stress.c); afterwards
# nothing of it may be left. UZSWAP_STRESS_SECONDS: how long each run takes, instead of a number of rounds.
. "$(dirname "$0")/lib.sh"

# family ROUNDS SEED OPTION...
family() {
    rounds=$1
    seed=$2
    shift 2
    if [ -n "$UZSWAP_STRESS_SECONDS" ]; then
        length="--seconds $UZSWAP_STRESS_SECONDS"
    else
        length="--rounds $rounds"
    fi
    # shellcheck disable=SC2086
    timeout -k 5 $((${UZSWAP_STRESS_SECONDS:-0} + 200)) "$UZSWAP" run --memory 16M --swap-size 1G --swap "file:$work" \
        --stats "$work/stats" "$@" -- "$PROGRAMS/fork_stress" $length --seed "$seed" > "$work/output" 2>&1
    status=$?
    sed 's/^/# /' "$work/output"
    [ $status = 0 ] && nothing_is_left
}

# No swap file that is deleted and still open: a member that lives on would hold one.
nothing_is_left() {
    ! ls -l /proc/[0-9]*/fd 2> /dev/null | grep -F "$work/" | grep deleted
}

check 'pages compressed on the device' family 1500 1
check 'plain pages on the device' family 700 2 --writeback page
check 'equal pages kept once' family 700 3 --deduplicate
check 'no device' family 700 4 --writeback off
finish
