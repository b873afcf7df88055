#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints every C file of the project, one a line; fails if there is none, so that no check passes by looking at nothing.
set -eu

cd "$(dirname "$0")/.."
files=$(find src include tests bench examples -name '*.[ch]' | sort)
if [ -z "$files" ]; then
    echo "list-sources: no C file found in $(pwd)" >&2
    exit 1
fi
echo "$files"
