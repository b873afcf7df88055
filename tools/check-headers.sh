#!/bin/sh
# SPDX-License-Identifier: MIT
# Does every header compile alone, with both compilers?
set -eu

cd "$(dirname "$0")/.."
headers=$(tools/list-sources.sh | grep '\.h$')
failed=0
for compiler in gcc clang-14; do
    for header in $headers; do
        # The public header must not need the private include folders, nor GNU extensions.
        case $header in
        include/*) flags='-std=c11 -pedantic' ;;
        *) flags='-std=gnu11 -D_GNU_SOURCE -Isrc -Iinclude -Itests' ;;
        esac
        if ! echo "#include \"$header\"" | $compiler $flags -I. -Wall -Wextra -Werror -fsyntax-only -x c -; then
            echo "check-headers: $header does not compile alone with $compiler" >&2
            failed=1
        fi
    done
done
exit $failed
