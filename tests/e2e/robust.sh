#!/bin/sh
# SPDX-License-Identifier: MIT
# What programs do to their own process: descriptors, limits, identity, signals, forks and execs of every kind; and what
# is done to `uzswap run` from outside. Usage: robust.sh [NAME...] for some of robust.c only.
. "$(dirname "$0")/lib.sh"

# managed OPTION... PROGRAM...: its output and status are in $said. Nothing is written to a file, as some limits forbid that.
limits=''
managed() {
    said=$(
        timeout -k 5 100 $limits "$UZSWAP" run --quiet --memory 16M --swap-size 1G "$@" 2>&1
        echo "status $?"
    )
    echo "$said" | sed 's/^/# /'
    case $said in *"status 0") return 0 ;; *) return 1 ;; esac
}

# robust NAME [OPTION...]: natively, then managed
robust() {
    name=$1
    shift
    timeout -k 5 100 "$PROGRAMS/robust" "$name" || { say "$name fails without uzswap, too"; return 1; }
    managed "$@" "$PROGRAMS/robust" "$name"
}

# The tests that change user, root folder or name spaces.
needs_root='setuid chroot unshare new_pid_space new_user_space exec_after_setuid limit_nproc clone_wrapper raw_fork'

run_program() {
    case " $needs_root " in *" $1 "*)
        if [ "$(id -u)" != 0 ]; then
            skip "$1" "needs root"
            return
        fi
        ;;
    esac
    check "$1" robust "$1"
}

for name in ${*:-$("$PROGRAMS/robust")}; do
    run_program "$name"
done
if [ $# != 0 ]; then
    finish
fi

for name in close_range_from_zero close_loop daemon; do
    check "$name, plain pages on the device" robust $name --writeback page
    check "$name, no device" robust $name --swap none
done

# ---- set before the start: it works, or says why not and does not start

limited() {
    limits="prlimit $1 --"
    managed "$PROGRAMS/robust" limit_core
    status=$?
    limits=''
    [ $status = 0 ] && return
    case $said in *'uzswap: '*ulimit*'status 125' | *'uzswap: '*'Too many open files'*'status 125') return 0 ;; *) return 1 ;; esac
}
for limit in nofile=5 nofile=8 nofile=12 nofile=32 as=1000000000 as=100000000 data=100000000 stack=65536 fsize=0 fsize=100000 \
    core=0 memlock=0; do
    check "$limit before the start" limited --$limit
done

finish
