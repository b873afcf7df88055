#!/bin/sh
# SPDX-License-Identifier: MIT
# What programs do to their own process: descriptors, limits, identity, signals, forks and execs of every kind; and what
# is done to `uzswap run` from outside. Usage: robust.sh [NAME...] for some of robust's tests only.
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
needs_root="$needs_root exit_of_threads_elsewhere"

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

# ---- what the runtime's threads call

for swap in file none; do
    [ $swap = file ] && swap=file:$work
    check "the table of calls has all that runtime threads make ($swap)" managed --swap "$swap" "$PROGRAMS/traced" "$PROGRAMS/robust" busy
done

# ---- the last figures of a program that may call nothing any more: each of its 5632 pages was touched just before its end

sandboxed_figures() {
    managed --stats "$work/figures" "$PROGRAMS/robust" sandboxed && more_than "$work/figures" zero_fills 5631
}
check 'the figures of a sandboxed program' sandboxed_figures

# ---- a process whose only thread ends by exit(2), where there never was a /proc: it takes half a minute. But not one whose
# ---- leader libc knows nothing of, as it was forked by number

exit_without_proc() {
    timeout -k 5 200 unshare -m sh -c 'mount --make-rprivate / && umount -l /proc && exec "$@"' sh \
        env UZSWAP_MEMORY=16M LD_PRELOAD="$(dirname "$UZSWAP")/libuzswap-preload.so" \
        python3 -c '
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
if libc.syscall(57) == 0:
    time.sleep(40)
    open(sys.argv[1], "w").close()
    os._exit(0)
libc.syscall(60, 5)' "$work/child_has_lived"
    status=$?
    [ $status = 5 ] || { say "status $status"; return 1; }
    for _ in $(seq 60); do
        [ -e "$work/child_has_lived" ] && return
        sleep 1
    done
    say 'the child has ended'
    return 1
}
if [ "$(id -u)" != 0 ] || [ "$(uname -m)" != x86_64 ]; then
    skip 'the last thread ends, without /proc' 'needs root, and x86-64'
else
    check 'the last thread ends, without /proc' exit_without_proc
fi

# ---- a fork that Python finds by a handle of libc

fork_by_ctypes() {
    managed python3 -c '
import ctypes, hashlib, os
texts = [os.urandom(2048) + bytes(2048) for _ in range(6000)]
def digest(): return hashlib.sha256(b"".join(texts[i] for i in range(0, 6000, 3))).digest()
before = digest()
pid = ctypes.CDLL("libc.so.6").fork()
if pid == 0:
    os._exit(digest() != before)
raise SystemExit(os.waitpid(pid, 0)[1] != 0 or digest() != before)'
}
check 'a fork by ctypes' fork_by_ctypes

# ---- set before the start: it works, or says why not and does not start

works_limited() {
    limits="prlimit $1 --"
    managed "$PROGRAMS/robust" limit_core
    status=$?
    limits=''
    return $status
}
limited() {
    works_limited "$1" && return
    case $said in *'uzswap: '*ulimit*'status 125' | *'uzswap: '*'Too many open files'*'status 125') return 0 ;; *) return 1 ;; esac
}
for limit in nofile=5 nofile=8 nofile=16 nofile=32 as=1000000000 as=100000000 stack=65536 fsize=0 fsize=100000 \
    core=0 memlock=0; do
    check "$limit before the start" limited --$limit
done

check 'data=100000000 before the start works' works_limited --data=100000000

# ---- what is done from outside

full=/dev/full
status_with_full_streams() {
    timeout 30 "$UZSWAP" run sh -c 'echo lost; exit 7' > $full 2> $full
    [ $? = 7 ]
}
check 'full standard streams: the status is the program'"'"'s' status_with_full_streams
stats_to_full() {
    timeout 30 "$UZSWAP" run --quiet --stats $full sh -c 'exit 7' 2> "$work/errors"
    [ $? = 7 ] && grep -q "uzswap: --stats $full: could not be written: No space left on device" "$work/errors"
}
check 'a full disk under --stats is said, and the status is the program'"'"'s' stats_to_full
summary_to_nobody() {
    { timeout 30 "$UZSWAP" run sh -c 'sleep 0.5; exit 7' 2>&1 > "$work/nothing"; echo $? > "$work/status"; } | true
    [ "$(cat "$work/status")" = 7 ]
}
check 'a summary that nobody reads' summary_to_nobody
streams_closed() {
    timeout 60 "$UZSWAP" run --memory 16M "$PROGRAMS/robust" close_range <&- >&- 2>&-
}
check 'all streams closed' streams_closed

killed_leaves_nothing() {
    timeout 60 "$UZSWAP" run --quiet --memory 16M --swap "file:$work" "$PROGRAMS/robust" wait > "$work/pid" &
    for _ in $(seq 200); do
        [ ! -s "$work/pid" ] || break
        sleep 0.05
    done
    kill -KILL "$(cat "$work/pid")"
    wait $!
    [ $? = 137 ] || { say "not ended by SIGKILL"; return 1; }
    [ ! -e "/proc/$(cat "$work/pid")" ] || { say "the process is still there"; return 1; }
    ! ls -l /proc/[0-9]*/fd 2> "$work/errors" | grep -F "$work/" | grep deleted
}
check 'kill -9 leaves no process and no swap file' killed_leaves_nothing

finish
