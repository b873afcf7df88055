#!/bin/sh
# SPDX-License-Identifier: MIT
# What cannot be done is said before the program starts: the thing, the cause, the way out. Usage: [BUILD-FOLDER]
[ $# = 0 ] || UZSWAP=$1/uzswap
. "$(dirname "$0")/lib.sh"

# Every refused run is given this program, which must not have been started.
started=$work/started
printf '#!/bin/sh\ntouch %s\n' "$started" > "$work/program"
chmod 755 "$work" "$work/program"

# refused_as STATUS TEXT COMMAND...: the command ends with STATUS, says TEXT, and starts nothing
refused_as() {
    expected=$1
    text=$2
    shift 2
    rm -f "$started"
    timeout 20 "$@" > "$work/output" 2> "$work/errors" < /dev/null
    status=$?
    [ $status = "$expected" ] || { say "exit status $status, not $expected: $(cat "$work/errors")"; return 1; }
    grep -qF -e "$text" "$work/errors" || { say "does not say '$text': $(cat "$work/errors")"; return 1; }
    [ ! -s "$work/output" ] || { say "standard output is not empty"; return 1; }
    [ ! -e "$started" ] || { say "the program was started"; return 1; }
}

# refused NAME TEXT OPTION...: `uzswap run OPTION... program` is refused
refused() {
    name=$1
    text=$2
    shift 2
    check "$name" refused_as 125 "$text" "$UZSWAP" run "$@" "$work/program"
}

# refused_program NAME STATUS TEXT PROGRAM
refused_program() {
    check "$1" refused_as "$2" "$3" "$UZSWAP" run -- "$4"
}

# variable NAME TEXT VARIABLE=VALUE
variable() {
    check "$1" refused_as 125 "$2" env "$3" "$UZSWAP" run "$work/program"
}

refused 'unknown option' '--memroy=1G: no such option; did you mean --memory?' --memroy=1G
refused 'no prefixes of options' 'did you mean --memory?' --mem=1G
refused 'short options' '-m: no such option' -m
refused 'malformed size' '"lots" is not a SIZE' --memory lots
refused 'malformed size says what a size is' '512M, 2G or 75%' --memory=1Q
refused 'size of nothing' '--memory: 0 is out of range' --memory 0
refused 'size of more than all' 'at most 100%' --memory 101%
refused 'memory below the least' 'is the least that works' --memory 1M
refused 'unknown pool' 'zbud' --pool heap
refused 'unknown compressor' '--compressor gzip: no such compressor; known are lz4' --compressor gzip
refused 'unknown level' 'there is no such level' --compressor lz4:9999
refused 'malformed level' 'a level is a number' --compressor zstd:best
refused 'unknown writeback' 'compressed|page|off' --writeback sometimes
refused 'unknown scheme of swap' 'ftp:' --swap ftp://host
refused 'missing folder of swap' "$work/nowhere" --swap "file:$work/nowhere"
refused 'flag with a value' '--quiet takes no value' --quiet=1
refused 'missing folder of statistics' "--stats $work/nowhere/stats: No such file" --stats "$work/nowhere/stats"
refused 'folder as statistics' 'Is a directory' --stats "$work"
refused 'empty value' '--stats: the value is empty' --stats=
check 'missing value' refused_as 125 '--memory needs a value' "$UZSWAP" run --memory
check 'no program' refused_as 125 'no program given' "$UZSWAP" run --quiet --
variable 'malformed variable' 'UZSWAP_MEMORY: "much"' UZSWAP_MEMORY=much
variable 'malformed flag' 'UZSWAP_QUIET: "perhaps"' UZSWAP_QUIET=perhaps
variable 'allocator that is not there' 'UZSWAP_ALLOCATOR=/nowhere.so' UZSWAP_ALLOCATOR=/nowhere.so
check 'unknown command' refused_as 125 'frobnicate: no such command' "$UZSWAP" frobnicate
check 'unknown global option' refused_as 125 '--frobnicate: no such option' "$UZSWAP" --frobnicate
check 'stat without a process' refused_as 125 'uzswap stat PID' "$UZSWAP" stat
check 'stat of no process' refused_as 125 'no such process' "$UZSWAP" stat 99999999
check 'stat of an unmanaged process' refused_as 125 'does not run under uzswap' "$UZSWAP" stat $$
check 'estimate of a missing file' refused_as 125 "$work/nofile: No such file" "$UZSWAP" estimate "$work/nofile"
check 'estimate of no process' refused_as 125 'no such process' "$UZSWAP" estimate --pid 99999999
check 'estimate without anything' refused_as 125 'uzswap estimate --pid PID' "$UZSWAP" estimate

refused_program 'program that is not in PATH' 127 'not found in any folder of PATH' no-such-program-anywhere
refused_program 'program that is not there' 127 'there is no such file' "$work/nothing"
refused_program 'program without a name' 127 'not found' ''
refused_program 'path through a file' 127 'there is no such file' "$work/program/x"
refused_program 'folder as a program' 126 'is a folder' "$work"
printf 'text\n' > "$work/text"
refused_program 'program that is not executable' 126 'chmod +x' "$work/text"
printf '#!/no/such/interpreter -x\n' > "$work/script"
chmod 755 "$work/script"
refused_program 'script whose interpreter is missing' 127 'its interpreter /no/such/interpreter' "$work/script"
printf '#!\n' > "$work/nameless"
chmod 755 "$work/nameless"
refused_program 'script that names no interpreter' 126 'names no interpreter' "$work/nameless"
printf '#!%s\n' "$work/loop" > "$work/loop"
chmod 755 "$work/loop"
refused_program 'script that interprets itself' 126 'too many times' "$work/loop"
head -c 40 /bin/sh > "$work/cut"
chmod 755 "$work/cut"
refused_program 'program that is cut off' 126 'cut off' "$work/cut"
check 'program of this folder' sh -c 'cd "$1" && "$2" run program 2>&1 | grep -q "write ./program"' - "$work" "$UZSWAP"

# Programs that run, but cannot be managed. patched NAME OFFSET BYTES
patched() {
    cp /bin/sh "$work/$1"
    # shellcheck disable=SC2059
    printf "$3" | dd of="$work/$1" bs=1 seek="$2" conv=notrunc 2> "$work/dd" && chmod 755 "$work/$1"
}
patched foreign 18 '\377\000'
refused_program 'program of another machine' 125 'use a build for this machine' "$work/foreign"
patched narrow 4 '\001'
refused_program '32-bit program' 125 'is not a 64-bit' "$work/narrow"

runs_well() {
    timeout 20 "$UZSWAP" run --stats "$work/stats" "$1" 2> "$work/errors"
    [ $? = 42 ] && equal "$work/stats" managed True
}
if command -v cc > "$work/cc" 2>&1; then
    printf 'int main(void) { return 42; }\n' > "$work/main.c"
    for kind in static static-pie; do
        if cc "-$kind" -o "$work/$kind" "$work/main.c" 2> "$work/cc"; then
            refused_program "$kind program" 125 'is linked statically' "$work/$kind"
        else
            skip "$kind program" 'cannot be linked here'
        fi
    done
    cc -o "$work/musl" "$work/main.c" -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1
    refused_program 'program linked to musl' 125 'needs glibc' "$work/musl"
    cc -o "$work/strange" "$work/main.c" -Wl,--dynamic-linker=/lib/ld-strange.so.1
    refused_program 'program whose loader is missing' 127 'the loader it names' "$work/strange"
    cc -o "$work/plain" "$work/main.c"
    printf 'void _start(void) { }\n' > "$work/alone.c"
    cc -nostdlib -fPIE -pie -Wl,--dynamic-linker=/lib64/ld-linux-x86-64.so.2 -o "$work/alone" "$work/alone.c"
    for section in .note.go.buildid .go.buildinfo; do
        for kind in static alone; do
            objcopy --add-section "$section=$work/text" "$work/$kind" "$work/go" 2> "$work/cc"
            refused_program "Go program ($section, $kind)" 125 'is a Go program' "$work/go"
        done
        objcopy --add-section "$section=$work/text" "$work/plain" "$work/go" 2> "$work/cc"
        check "Go program with libc ($section)" runs_well "$work/go"
    done
    printf '#!/usr/bin/env %s\n' "$work/static" > "$work/script"
    refused_program 'script of a static program, by env' 125 'is linked statically' "$work/script"
    printf '#!%s\n' "$work/static" > "$work/script"
    refused_program 'script of a static program' 125 'is linked statically' "$work/script"
    runs_unmanaged() {
        timeout 20 "$UZSWAP" run --force --stats "$work/stats" "$work/static" 2> "$work/errors"
        [ $? = 42 ] && grep -q 'unmanaged' "$work/errors" && equal "$work/stats" managed False
    }
    check 'static program runs unmanaged by --force' runs_unmanaged
else
    skip 'programs that cannot be managed' 'there is no compiler'
fi
check 'a missing program does not run by --force' refused_as 127 'no such file' "$UZSWAP" run --force "$work/nothing"

# As a user who has no rights.
if [ "$(id -u)" = 0 ] && command -v setpriv > "$work/setpriv"; then
    nobody='setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all'
    cp /bin/sh "$work/setuid"
    chmod 4755 "$work/setuid"
    if findmnt -no OPTIONS -T "$work" 2> "$work/findmnt" | grep -q nosuid; then
        skip 'setuid program' 'the file system does not honour setuid'
    else
        # shellcheck disable=SC2086
        check 'setuid program' refused_as 125 'is setuid' $nobody "$UZSWAP" run "$work/setuid"
    fi
    for id in --ruid --rgid; do
        check "ids that differ ($id)" refused_as 125 'real and effective ids that differ' \
            setpriv $id=65534 --clear-groups "$UZSWAP" run "$work/program"
    done
    runs_with_two_ids() {
        timeout 20 setpriv --rgid=65534 --clear-groups "$UZSWAP" run --quiet --force "$work/program" && [ -e "$started" ]
    }
    check 'with ids that differ it runs unmanaged by --force' runs_with_two_ids
    # shellcheck disable=SC2086
    if $nobody test -r /dev/userfaultfd || [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 1 ]; then
        skip 'no permission for userfaultfd' 'everybody has it here'
    else
        chmod 777 "$work"
        for way in /dev/userfaultfd '--device /dev/userfaultfd' CAP_SYS_PTRACE vm.unprivileged_userfaultfd=1 --force; do
            # shellcheck disable=SC2086
            check "no permission for userfaultfd names $way" refused_as 125 "$way" $nobody "$UZSWAP" run "$work/program"
        done
        runs_without_permission() {
            # shellcheck disable=SC2086
            timeout 20 $nobody "$UZSWAP" run --quiet --force "$work/program" && [ -e "$started" ]
        }
        check 'without permission it runs unmanaged by --force' runs_without_permission
    fi
    mkdir -m 755 "$work/closed"
    # shellcheck disable=SC2086
    check 'statistics in a folder of others' refused_as 125 'Permission denied' $nobody "$UZSWAP" run --force --quiet \
        --stats "$work/closed/stats" "$work/program"
else
    skip 'a user without rights' 'only root can become one'
fi

# The help text and the manual page name every option of the table, and no other.
table_names() {
    sed -n 's/^    {"\([a-z-]*\)".*/--\1/p' "$root/src/base/run_options.c" | sort
}
names_in_help() {
    "$UZSWAP" run --help | sed -n 's/^  \(--[a-z-]*\).*/\1/p' | sort
}
names_in_manual() {
    sed -n '/^\.TP/{n;s/^\.B[IR]* \(\\-\\-[^ =]*\).*/\1/p;}' "$root/docs/uzswap.1" | tr -d '\\' | sort
}
table_names > "$work/table"
names_in_help > "$work/help"
check 'the table is found' test "$(wc -l < "$work/table")" -ge 11
check 'the help text agrees with the table' diff "$work/table" "$work/help"
if [ -e "$root/docs/uzswap.1" ]; then
    names_in_manual > "$work/manual"
    check 'the manual page agrees with the table' diff "$work/table" "$work/manual"
fi
"$UZSWAP" --help > "$work/everything"
check '--help holds the help of run' sh -c '"$1" run --help > "$2/run" && tail -n "$(wc -l < "$2/run")" "$2/everything" | cmp - "$2/run"' - \
    "$UZSWAP" "$work"
check '--version prints a version' sh -c '"$1" --version | grep -q "^uzswap [0-9]*\.[0-9]"' - "$UZSWAP"
check 'help that cannot be written fails' sh -c '! "$1" --help > /dev/full 2> "$2/errors"' - "$UZSWAP" "$work"

finish
