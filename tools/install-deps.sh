#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the packages of tools/packages.txt that are missing (Debian 12), or with --build-tools only checks that what
# plain `make` needs is there. Each LIST among the arguments adds those of tools/packages-LIST.txt; what comes behind `--` are
# names of packages.
set -eu

cd "$(dirname "$0")/.."
lists=tools/packages.txt
more=
named=
for word in "$@"; do
    case $named$word in
    --build-tools) ;;
    --) named=named: ;;
    named:*) more="$more $word" ;;
    *) lists="$lists tools/packages-$word.txt" ;;
    esac
done
packages="$(sed 's/#.*//' $lists) $more"

missing_build_tools() {
    for tool in cc meson ninja pkg-config; do
        command -v "$tool" > /dev/null || echo "$tool"
    done
    if command -v pkg-config > /dev/null; then
        for library in liblz4 libzstd libdeflate liburing libxxhash; do
            pkg-config --exists "$library" || echo "$library"
        done
    fi
}

missing_packages() {
    for package in $packages; do
        case $(dpkg-query -W -f='${Status}' "$package" 2> /dev/null) in
        *' installed') ;;
        *) echo "$package" ;;
        esac
    done
}

if [ "${1-}" = --build-tools ]; then
    missing=$(missing_build_tools | tr '\n' ' ')
    if [ -n "$missing" ]; then
        echo "uzswap: not found: $missing" >&2
        echo "On Debian 12, 'make deps' installs all that is needed." >&2
        exit 1
    fi
    exit 0
fi

id=unknown
version=unknown
if [ -r /etc/os-release ]; then
    id=$(. /etc/os-release && echo "${ID-unknown}")
    version=$(. /etc/os-release && echo "${VERSION_ID-unknown}")
fi
if [ "$id" != debian ] || [ "$version" != 12 ]; then
    echo "uzswap: this is $id $version; packages are installed by themselves on Debian 12 only." >&2
    echo "Needed, under their Debian names:" $packages >&2
    missing=$(missing_build_tools | tr '\n' ' ')
    if [ -n "$missing" ]; then
        echo "Not found: $missing" >&2
        exit 1
    fi
    echo "What the build needs is there: going on." >&2
    exit 0
fi

missing=$(missing_packages)
[ -n "$missing" ] || exit 0
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo > /dev/null; then
        echo "uzswap: to install what is missing, be root or have sudo:" $missing >&2
        exit 1
    fi
    as_root=sudo
fi
echo "Installing:" $missing
$as_root apt-get update -q
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
