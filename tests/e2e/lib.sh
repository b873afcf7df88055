# SPDX-License-Identifier: MIT
# The frame of the shell tests: TAP, and the program under test. Source it; end with `finish`.
#
#   UZSWAP     the program (default build/uzswap)
#   PROGRAMS   where the compiled test programs are (default build/tests/e2e)

root=$(cd "$(dirname "$0")/../.." && pwd)
UZSWAP=${UZSWAP:-$root/build/uzswap}
PROGRAMS=${PROGRAMS:-$root/build/tests/e2e}
work=$(mktemp -d "${TMPDIR:-/tmp}/uzswap-test-XXXXXX")
tests=0
failures=0
MIB=1048576

trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

say() {
    echo "# $*"
}

# report STATUS TITLE
report() {
    tests=$((tests + 1))
    if [ "$1" = 0 ]; then
        echo "ok $tests - $2"
    else
        failures=$((failures + 1))
        echo "not ok $tests - $2"
    fi
}

# skip TITLE REASON
skip() {
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

# check TITLE COMMAND...: one test, passed if the command succeeds
check() {
    title=$1
    shift
    if "$@"; then
        report 0 "$title"
    else
        say "failed: $*"
        report 1 "$title"
    fi
}

# figure FILE KEY: a figure of a JSON object
figure() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}

# at_most FILE KEY LIMIT, more_than FILE KEY LIMIT, equal FILE KEY VALUE
at_most() {
    value=$(figure "$1" "$2") && [ "$value" -le "$3" ] || { say "$2 is $value, more than $3"; return 1; }
}

more_than() {
    value=$(figure "$1" "$2") && [ "$value" -gt "$3" ] || { say "$2 is $value, not more than $3"; return 1; }
}

equal() {
    value=$(figure "$1" "$2") && [ "$value" = "$3" ] || { say "$2 is $value, not $3"; return 1; }
}

# The budget may be passed by 2 %.
within_budget() {
    at_most "$1" peak_bytes $(($2 * MIB * 102 / 100))
}

finish() {
    echo "1..$tests"
    [ "$failures" = 0 ]
    exit
}
