#!/bin/sh
# Makes sure that what the tests need from the system is there. As root, where apt-get exists, it is
# installed; otherwise the message names the package.
set -eu

status=0

# need PACKAGES WHAT TEST...: fine when the command TEST succeeds.
need() {
    packages=$1 what=$2
    shift 2
    if "$@" >/dev/null 2>&1; then
        return
    fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing $packages for $what" >&2
        # The lists of packages may be missing or too old to fetch from.
        # shellcheck disable=SC2086 # several packages are several words
        { apt-get update && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $packages; } >&2 </dev/null || :
    fi
    if ! "$@" >/dev/null 2>&1; then
        echo "the tests need $what: install $packages" >&2
        status=1
    fi
}

# component NAME TEST...: fine when the command TEST succeeds; from rustup otherwise.
component() {
    name=$1
    shift
    if "$@" >/dev/null 2>&1; then
        return
    fi
    if command -v rustup >/dev/null 2>&1; then
        rustup component add "$name" >&2 || :
    fi
    if ! "$@" >/dev/null 2>&1; then
        echo "the checks need $name: rustup component add $name" >&2
        status=1
    fi
}

cargo=${CARGO:-cargo}
need "gcc libc6-dev" "a linker" command -v cc
need tzdata "the time zones" test -e /usr/share/zoneinfo/Europe/Berlin
need util-linux "setsid, unshare, nsenter and mount" sh -c "command -v setsid && command -v unshare && command -v nsenter"
need mount "mount" command -v mount
need coreutils "mkfifo" command -v mkfifo
component rustfmt "$cargo" fmt --version
component clippy "$cargo" clippy --version
exit "$status"
