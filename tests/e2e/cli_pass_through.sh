#!/bin/sh
# SPDX-License-Identifier: MIT
# The program under `uzswap run` is as it is without: exit status, signals, streams. Usage: [BUILD-FOLDER]
[ $# = 0 ] || UZSWAP=$1/uzswap
. "$(dirname "$0")/lib.sh"

# run OPTION... PROGRAM...: `uzswap run` that cannot hang
run() {
    timeout -k 5 60 "$UZSWAP" run --quiet "$@"
}

# status_is STATUS COMMAND...
status_is() {
    expected=$1
    shift
    "$@" 2> "$work/errors"
    status=$?
    [ $status = "$expected" ] || { say "exit status $status, not $expected: $(cat "$work/errors")"; return 1; }
}

for status in 0 1 3 42 125 126 127 255; do
    check "exit status $status" status_is $status run sh -c "exit $status"
done

for signal in HUP=1 INT=2 QUIT=3 ILL=4 ABRT=6 BUS=7 FPE=8 KILL=9 USR1=10 SEGV=11 USR2=12 PIPE=13 ALRM=14 TERM=15 XCPU=24 SYS=31; do
    check "death by SIG${signal%=*}" status_is $((128 + ${signal#*=})) run sh -c "kill -${signal%=*} \$\$"
done
dies_by_signal() {
    python3 - "$UZSWAP" << 'PYTHON'
import signal, subprocess, sys
for number in (signal.SIGSEGV, signal.SIGTERM, signal.SIGKILL):
    ended = subprocess.run([sys.argv[1], "run", "--quiet", "sh", "-c", f"kill -{int(number)} $$"], timeout=30)
    if ended.returncode != -number:
        sys.exit(f"ended with {ended.returncode}, not by {number}")
PYTHON
}
check 'uzswap dies by the same signal' dies_by_signal
no_core() {
    (cd "$work" && ulimit -c unlimited && run sh -c 'ulimit -c 0; kill -SEGV $$' 2> errors)
    ! ls "$work"/core* 2> "$work/errors"
}
check 'no core file of uzswap' no_core

# A program that says on its standard output which signals it got, and ends when asked for with TERM.
cat > "$work/listener.py" << 'PYTHON'
import os, signal, sys, time
sys.stdout.reconfigure(line_buffering=True)
got = []
names = ["HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "CONT", "ALRM", "URG", "IO", "TERM"]
for name in names:
    signal.signal(getattr(signal, "SIG" + name), lambda n, frame: got.append(signal.Signals(n).name[3:]))
signal.signal(signal.SIGRTMIN + 3, lambda n, frame: got.append("RT3"))
print("ready", os.getpid())
end = time.monotonic() + 30
while "TERM" not in got and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.2)
print(*got)
PYTHON

# passed_on SIGNAL-NUMBER NAME: a signal sent to uzswap reaches the program, once
passed_on() {
    mkfifo "$work/lines" 2> "$work/errors"
    timeout 60 "$UZSWAP" run --quiet python3 "$work/listener.py" > "$work/lines" &
    timer=$!
    {
        read -r word program
        supervisor=$(awk '/^PPid/ { print $2 }' "/proc/$program/status")
        kill "-$1" "$supervisor"
        sleep 0.2
        kill -TERM "$supervisor"
        read -r got
    } < "$work/lines"
    wait $timer
    [ "$word" = ready ] && [ "$got" = "$2 TERM" ] || { say "the program got '$got'"; return 1; }
}
for name in HUP INT QUIT USR1 USR2 WINCH CONT ALRM URG IO; do
    check "SIG$name is passed on" passed_on $name $name
done
check 'a real-time signal is passed on' passed_on 37 RT3

# supervisor_of FILE: the pid of `uzswap run`, once the program has written its own to FILE
supervisor_of() {
    for _ in $(seq 200); do
        [ ! -s "$1" ] || break
        sleep 0.05
    done
    awk '/^PPid/ { print $2 }' "/proc/$(cat "$1")/status"
}
state_of() {
    sed 's/.*) \(.\).*/\1/' "/proc/$1/stat"
}
# state_becomes PID STATES
state_becomes() {
    for _ in $(seq 100); do
        case $2 in *$(state_of "$1")*) return 0 ;; esac
        sleep 0.05
    done
    say "process $1 is in state $(state_of "$1"), not $2"
    return 1
}
stops_and_goes_on() {
    rm -f "$work/pid"
    timeout --foreground 60 "$UZSWAP" run --quiet sh -c 'echo $$ > "$1"; while [ -e "$1" ]; do sleep 0.1; done; exit 9' - \
        "$work/pid" &
    timer=$!
    supervisor=$(supervisor_of "$work/pid")
    program=$(cat "$work/pid")
    kill -STOP "$program"
    state_becomes "$program" T && state_becomes "$supervisor" T || return 1
    kill -CONT "$supervisor"
    state_becomes "$supervisor" SR && state_becomes "$program" SR || return 1
    rm "$work/pid"
    wait $timer
    [ $? = 9 ]
}
check 'uzswap stops with the program, and continues it' stops_and_goes_on

# The program gets no further than its first wait, unless it outlives uzswap.
ends_with_uzswap() {
    rm -f "$work/pid" "$work/go"
    # shellcheck disable=SC2016
    timeout 60 "$UZSWAP" run --quiet sh -c 'echo $$ > "$1/pid"; while [ ! -e "$1/go" ]; do sleep 0.1; done' - "$work" &
    timer=$!
    kill -KILL "$(supervisor_of "$work/pid")"
    wait $timer
    program=$(cat "$work/pid")
    for _ in $(seq 100); do
        if [ ! -e "/proc/$program" ] || [ "$(state_of "$program")" = Z ]; then
            return 0
        fi
        sleep 0.05
    done
    touch "$work/go"
    say "process $program goes on"
    return 1
}
check 'the program is killed if uzswap is' ends_with_uzswap 2> "$work/errors"

# Whoever is a reaper, as process 1 of a container is, gets the orphans of its descendants.
cat > "$work/orphans.sh" << 'SHELL'
touch "$1"
for _ in 1 2 3 4 5 6 7 8; do
    (sh -c 'echo $$ >> "$1"; exit 3' - "$1" &)
done
for _ in $(seq 200); do
    gone=0
    while read -r orphan; do
        [ -e "/proc/$orphan" ] || gone=$((gone + 1))
    done < "$1"
    [ $gone != 8 ] || exit 7
    sleep 0.05
done
SHELL
as_reaper='import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])'
check 'orphans that come to uzswap do not stay' status_is 7 timeout -k 5 60 python3 -c "$as_reaper" "$UZSWAP" run --quiet \
    sh "$work/orphans.sh" "$work/orphans"

# `timeout` resets the signal's disposition, so it stands outside.
ignored_stays_ignored() {
    timeout 20 sh -c 'trap "" HUP; exec "$1" run --quiet sh -c "kill -HUP \$\$; echo alive"' - "$UZSWAP" | grep -q alive
}
check 'an ignored signal stays ignored' ignored_stays_ignored
same_signal_state() {
    for field in SigBlk SigIgn SigCgt; do
        (trap '' USR2; timeout -k 5 60 grep $field /proc/self/status; run grep $field /proc/self/status) | uniq | wc -l | grep -qx 1 ||
            { say "$field differs"; return 1; }
    done
}
check 'the program finds the signal masks it would find' same_signal_state

# A program that was ended from outside while its parent ignores SIGCHLD.
check 'SIGCHLD ignored from outside' status_is 5 env --ignore-signal=CHLD timeout 60 "$UZSWAP" run --quiet sh -c 'exit 5'

head -c 20000000 /dev/urandom > "$work/random"
copies() {
    run cat < "$work/random" | cmp - "$work/random"
}
check 'binary standard input to standard output' copies
check 'a pipe on standard input' sh -c 'cat "$1/random" | timeout 60 "$2" run --quiet cat | cmp - "$1/random"' - "$work" "$UZSWAP"
check 'a file as standard output' sh -c 'timeout 60 "$2" run --quiet cat "$1/random" > "$1/copy"; cmp "$1/random" "$1/copy"' - \
    "$work" "$UZSWAP"
stderr_is_untouched() {
    run sh -c 'printf "a\0b" >&2' 2> "$work/errors"
    printf 'a\0b' | cmp - "$work/errors"
}
check 'standard error' stderr_is_untouched
ends_with_reader() {
    timeout 20 "$UZSWAP" run --quiet yes | head -n 1 | grep -qx y
}
check 'a pipe whose reader ends' ends_with_reader
# What the program has closed is closed: uzswap holds no second end of it.
# No `timeout` here: it would hold one. The program ends by itself.
sees_end_of_file() {
    rm -f "$work/running" "$work/eof"
    "$UZSWAP" run --quiet sh -c 'touch "$1/running"; exec >&-; sleep 3; rm "$1/running"' - "$work" |
        { cat; [ -e "$work/running" ] && touch "$work/eof"; }
    [ -e "$work/eof" ]
}
check 'end of file when the program closes its standard output' sees_end_of_file

same_descriptors() {
    list='ls -l /proc/self/fd | sed "s/.* \([0-9]*\) -> .*/\1/;s/.*total.*//" | sort -n'
    sh -c "$list" > "$work/native"
    run sh -c "$list" > "$work/managed"
    cmp "$work/native" "$work/managed"
}
check 'no descriptor of uzswap reaches the program' same_descriptors
# The shell that looks holds no descriptor but those it was given: a closed one must be found closed.
for stream in 0 1 2; do
    case $stream in
    0) redirect='0<&-' ;;
    *) redirect="$stream>&-" ;;
    esac
    check "closed stream $stream stays closed" sh -c "timeout 20 \"\$1\" run --quiet --stats \"\$2/stats\" \
        sh -c 'test ! -e /proc/self/fd/$stream' $redirect" - "$UZSWAP" "$work"
done
check 'statistics with all streams closed' sh -c 'rm -f "$2/stats"; timeout 20 "$1" run --stats "$2/stats" true <&- >&- 2>&-
    python3 -m json.tool "$2/stats" > /dev/null' - "$UZSWAP" "$work"
check 'a descriptor that was handed down' sh -c 'echo handed > "$2/in"; timeout 20 "$1" run --quiet sh -c "cat <&7" 7< "$2/in" |
    grep -qx handed' - "$UZSWAP" "$work"

argument_list() {
    run printf '<%s>' -- '' 'a b' '*' --memory '$x' "$(printf 'line\nline')" > "$work/managed"
    printf '<%s>' -- '' 'a b' '*' --memory '$x' "$(printf 'line\nline')" > "$work/native"
    cmp "$work/native" "$work/managed"
}
check 'arguments' argument_list
check 'the name the program was called by' sh -c '[ "$(timeout 20 "$1" run --quiet sh -c "cat /proc/\$\$/cmdline | tr \"\\0\" \" \"" | cut -c 1-5)" = "sh -c" ]' \
    - "$UZSWAP"
check 'environment' sh -c 'A="x y" timeout 20 "$1" run --quiet sh -c "[ \"\$A\" = \"x y\" ]"' - "$UZSWAP"
check 'folder and umask' sh -c 'cd "$2" && umask 027 && [ "$(timeout 20 "$1" run --quiet sh -c "pwd; umask")" = "$(pwd; umask)" ]' - \
    "$UZSWAP" "$work"
printf 'echo "$1-$0"\n' > "$work/headless"
chmod 755 "$work/headless"
check 'a script without a first line' sh -c '[ "$(timeout 20 "$1" run --quiet "$2/headless" x)" = "x-$2/headless" ]' - "$UZSWAP" "$work"
check 'a program found in PATH' sh -c 'PATH="$2:$PATH" timeout 20 "$1" run --quiet headless y | grep -q ^y-' - "$UZSWAP" "$work"

options_go_on() {
    run --memory 100M --writeback off --stats "$work/stats" sh -c 'env | grep ^UZSWAP_ | sort' > "$work/managed"
    grep -qx 'UZSWAP_MEMORY=104857600' "$work/managed" && grep -qx 'UZSWAP_WRITEBACK=off' "$work/managed" &&
        grep -q '^UZSWAP_SESSION=/proc/' "$work/managed" && ! grep -q UZSWAP_STATS "$work/managed"
}
check 'options reach the children' options_go_on
preload_is_kept() {
    LD_PRELOAD=/lib/x86_64-linux-gnu/libm.so.6 run sh -c 'echo "$LD_PRELOAD"' | grep -q '^/.*libuzswap-preload.so:.*:/lib.*libm.so.6$'
}
[ ! -e /lib/x86_64-linux-gnu/libm.so.6 ] || check "the user's LD_PRELOAD is kept" preload_is_kept
check 'MALLOC_CONF of the user is kept' sh -c 'MALLOC_CONF=narenas:1 timeout 20 "$1" run --quiet sh -c "[ \$MALLOC_CONF = narenas:1 ]"' - \
    "$UZSWAP"

summary_only_on_stderr() {
    timeout 20 "$UZSWAP" run sh -c 'echo text' > "$work/output" 2> "$work/errors"
    printf 'text\n' | cmp - "$work/output" && grep -q '^uzswap: ' "$work/errors"
}
check 'the summary goes to standard error' summary_only_on_stderr
check '--quiet says nothing' sh -c 'timeout 20 "$1" run --quiet true 2> "$2/errors" && [ ! -s "$2/errors" ]' - "$UZSWAP" "$work"
check 'UZSWAP_QUIET says nothing' sh -c 'UZSWAP_QUIET=1 timeout 20 "$1" run true 2> "$2/errors" && [ ! -s "$2/errors" ]' - \
    "$UZSWAP" "$work"

all_keys() {
    run --memory 64M --stats "$work/stats" sh -c 'exit 3'
    for key in memory_limit peak_bytes resident_bytes pool_total_size stored_pages same_filled_pages written_back_pages \
        duplicate_entry pool_limit_hit faults refaults reject_reclaim_fail reject_alloc_fail reject_kmemcache_fail \
        reject_compress_fail reject_compress_poor decompress_fail writeback_batches second_chances \
        shrink_rounds shrink_step_bytes compactions pages_compacted compressor pool wall_seconds processes signal; do
        figure "$work/stats" $key > "$work/figure" || return 1
    done
    equal "$work/stats" memory_limit 67108864 && equal "$work/stats" exit_status 3
}
check 'statistics hold every key' all_keys
shared_pages() {
    run --memory 64M --deduplicate --stats "$work/stats" true || return 1
    for key in deduplicated_pages shared_objects deduplicated_bytes dedup_collisions; do
        figure "$work/stats" $key > "$work/figure" || return 1
    done
    timeout 20 "$UZSWAP" run --deduplicate true 2> "$work/errors" && grep -q '^uzswap: shared ' "$work/errors" &&
        ! timeout 20 "$UZSWAP" run true 2>&1 | grep -q '^uzswap: shared '
}
check 'what --deduplicate has won is told' shared_pages
signal_in_stats() {
    run --stats "$work/stats" sh -c 'kill -TERM $$'
    equal "$work/stats" signal 15 && equal "$work/stats" exit_status 143
}
check 'statistics tell the signal' signal_in_stats 2> "$work/errors"
stats_replace() {
    echo old > "$work/stats"
    chmod 640 "$work/stats"
    ln -sf stats "$work/link"
    run --stats "$work/link" sh -c 'grep -qx old "$1/stats"' - "$work" || return 1
    [ -L "$work/link" ] && [ "$(stat -c %a "$work/stats")" = 640 ] && figure "$work/stats" faults > "$work/figure"
}
check 'statistics replace the file when the program has ended' stats_replace
check 'statistics to a pipe' sh -c 'timeout 20 "$1" run --quiet --stats /dev/stdout true | python3 -m json.tool > /dev/null' - "$UZSWAP"
check 'no temporary file is left' sh -c '! ls "$1" | grep -q "^stats\\."' - "$work"

# What the terminal sends, it sends to the whole foreground group: once for the program.
cat > "$work/terminal.py" << 'PYTHON'
import os, pty, select, signal, sys, time

def until(text):
    seen, end = b"", time.monotonic() + 20
    while text not in seen and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 4096)
    if text not in seen:
        sys.exit(f"{text} does not come, but {seen}")
    return seen

pid, master = pty.fork()
if pid == 0:
    # A shell's part: the job in a group of its own, in the foreground.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(sys.argv[1], [sys.argv[1], "run", "--quiet", "python3", sys.argv[2]])
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            print("status", os.waitstatus_to_exitcode(status), flush=True)
            time.sleep(1)
            os._exit(0)
        os.tcsetpgrp(0, os.getpgrp())
        print("stopped by", os.WSTOPSIG(status), flush=True)
        time.sleep(0.3)
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)

until(b"ready")
os.write(master, b"\x03")
time.sleep(0.3)
os.write(master, b"\x1a")
until(b"stopped by 20")
time.sleep(1)
os.write(master, b"\x1c")
time.sleep(0.3)
os.write(master, b"!\n")
seen = until(b"status 0")
if b"got INT CONT QUIT\r\n" not in seen:
    sys.exit(f"the program got something else: {seen}")
PYTHON
cat > "$work/counter.py" << 'PYTHON'
import signal
got = []
for name in ["INT", "QUIT", "CONT"]:
    signal.signal(getattr(signal, "SIG" + name), lambda n, frame: got.append(signal.Signals(n).name[3:]))
print("ready", flush=True)
while input() != "!":
    pass
print("got", *got)
PYTHON
check 'keys of the terminal reach the program once; it stops and goes on as a job' \
    timeout 60 python3 "$work/terminal.py" "$UZSWAP" "$work/counter.py"

fifty() {
    for _ in $(seq 50); do
        [ "$(run echo x)" = x ] || return 1
    done
}
check '50 runs in a row' fifty
nested() {
    [ "$(run "$UZSWAP" run --quiet sh -c 'echo in; exit 4')" = in ]
}
check 'uzswap run inside uzswap run' nested

# As programs do that change what ps shows of them.
cat > "$work/title.py" << 'PYTHON'
import ctypes, os, sys
environment = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
n = 0
while environment[n]:
    ctypes.memset(environment[n], 0, len(ctypes.string_at(environment[n])))
    n += 1
os.write(1, f"{os.getpid()}\n".encode())
sys.stdin.read()
PYTHON
without_environment() {
    mkfifo "$work/title.in"
    run python3 "$work/title.py" < "$work/title.in" > "$work/title.pid" &
    exec 3> "$work/title.in"
    while [ ! -s "$work/title.pid" ] && kill -0 $!; do sleep 0.05; done
    "$UZSWAP" stat "$(cat "$work/title.pid")" > "$work/title.stat"
    status=$?
    exec 3>&-
    wait $! && [ $status = 0 ] && grep -q '^resident_bytes *[1-9]' "$work/title.stat"
}
check 'uzswap stat finds a process that has overwritten its environment' without_environment

finish
