#!/bin/sh
# SPDX-License-Identifier: MIT
# Do the shared libraries in build folder $1 show what they should and nothing else?
set -eu

build=$1
failed=0

exported() {
    nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }'
}

complain() {
    echo "check-symbols: $1:" $2 >&2
    failed=1
}

public=$(exported "$build/libuzswap.so")
[ -n "$public" ] || complain 'libuzswap.so shows no symbol' ''
private=$(echo "$public" | grep -v '^uzswap_' || true)
[ -z "$private" ] || complain 'libuzswap.so shows' "$private"

interposed=$(exported "$build/libuzswap-preload.so")
for needed in mmap munmap mremap madvise; do
    echo "$interposed" | grep -qx "$needed" || complain 'libuzswap-preload.so lacks' "$needed"
done
leaked=$(echo "$interposed" |
    grep -E '^(LZ4|ZSTD|HUF|FSE|HIST|XXH|libdeflate|io_uring|uzswap|region|zswap|zbud|zs|pool|codec|swap|memory|lock)_' || true)
[ -z "$leaked" ] || complain 'libuzswap-preload.so leaks' "$leaked"

for library in "$build/libuzswap.so" "$build/libuzswap-preload.so"; do
    needs=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(libc|ld-linux.*)\.so' || true)
    [ -z "$needs" ] || complain "${library##*/} depends on" "$needs"
    if readelf -d "$library" | grep -q TEXTREL; then
        complain "${library##*/} has" 'text relocations'
    fi
    dynamic_tls=$(readelf -rW "$library" | grep -E 'DTPMOD|TLSDESC' || true)
    [ -z "$dynamic_tls" ] || complain "${library##*/} has thread-local variables that may allocate" "$dynamic_tls"
done
exit $failed
