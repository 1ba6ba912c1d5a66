#!/bin/sh
# Installs the Debian packages that are missing: packages.sh build|test|deb...
set -eu
build="gcc libc6-dev meson ninja-build pkgconf libconfuse-dev librocksdb-dev libev-dev libssl-dev
  zlib1g-dev libzstd-dev libargon2-dev libcrypt-dev libprotobuf-c-dev protobuf-c-compiler libicu-dev libseccomp-dev
  linux-libc-dev libcmocka-dev libjansson-dev openssl curl"
test="python3 python3-pytest python3-pytest-xdist python3-pytest-timeout clang-14 libclang-rt-14-dev
  clang-tidy-14 clang-format-14 cppcheck isync swaks libnet-ssleay-perl offlineimap3 mutt fetchmail tmux dpkg-dev"
deb="dpkg-dev"

wanted=
for set in "$@"; do
    case $set in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    deb) wanted="$wanted $deb" ;;
    *) echo "usage: $0 build|test|deb..." >&2; exit 2 ;;
    esac
done

missing=
for package in $wanted; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" != 0 ]; then
    root=sudo
    command -v sudo >/dev/null || {
        echo "These packages are needed; install them as root:$missing" >&2
        exit 1
    }
fi
echo "Installing:$missing"
$root apt-get update -qq
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
