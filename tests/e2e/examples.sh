#!/bin/sh
# SPDX-License-Identifier: MIT
# The programs in examples/ do what they say, each time.
. "$(dirname "$0")/lib.sh"

runs() {
    timeout 60 "$PROGRAMS/../../examples/example-$1" > "$work/output" || { say "$(cat "$work/output")"; return 1; }
}

for example in page_store region; do
    for turn in 1 2 3 4 5; do
        check "example $example, run $turn" runs $example
    done
done
finish
