#!/bin/sh
# SPDX-License-Identifier: MIT
# preload_maps.sh PROGRAM [MEMORY]: memory calls, as the kernel has them and as the runtime does. The program speaks TAP itself.
. "$(dirname "$0")/lib.sh"

program=$1
memory=${2:-32M}
if ! "$PROGRAMS/$program" > "$work/native"; then
    sed 's/^/# /' "$work/native"
    echo "Bail out! $program fails without uzswap, too"
    exit 1
fi
"$UZSWAP" run --quiet --memory "$memory" --swap-size 1G --stats "$work/stats" -- "$PROGRAMS/$program"
status=$?
sed "s,^,# ," "$work/stats"
exit $status
