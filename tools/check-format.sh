#!/bin/sh
# SPDX-License-Identifier: MIT
# Is every C file formatted as .clang-format says? With --fix, formats them.
set -eu

cd "$(dirname "$0")/.."
files=$(tools/list-sources.sh)
if [ "${1-}" = --fix ]; then
    clang-format-14 -i $files
else
    clang-format-14 --dry-run -Werror $files
fi
