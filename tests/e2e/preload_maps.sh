#!/bin/sh
# SPDX-License-Identifier: MIT
# Every memory call and every kind of fork, as the kernel has them and as the runtime does. The program speaks TAP itself.
. "$(dirname "$0")/lib.sh"

if ! "$PROGRAMS/preload_maps" > "$work/native"; then
    sed 's/^/# /' "$work/native"
    echo "Bail out! preload_maps fails without uzswap, too"
    exit 1
fi
"$UZSWAP" run --quiet --memory 32M --swap-size 1G --stats "$work/stats" -- "$PROGRAMS/preload_maps"
status=$?
sed "s,^,# ," "$work/stats"
exit $status
