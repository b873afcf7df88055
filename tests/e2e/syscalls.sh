#!/bin/sh
# SPDX-License-Identifier: MIT
# System calls on pages that are out. The program speaks TAP itself.
. "$(dirname "$0")/lib.sh"

"$UZSWAP" run --quiet --memory 16M --swap-size 1G --stats "$work/stats" -- "$PROGRAMS/syscalls"
status=$?
sed "s,^,# ," "$work/stats"
exit $status
