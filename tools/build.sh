#!/bin/sh
# Configures and builds one of the kinds of build, in build/KIND:
#   release  what is installed and measured; PREFIX is where it will be installed
#   debug    gcc, with the probe: the tests' build
#   asan     clang, AddressSanitizer and UBSan, one malloc per arena allocation
#   tsan     clang, ThreadSanitizer
#   fuzz     clang, libFuzzer with AddressSanitizer and UBSan
set -eu
cd "$(dirname "$0")/.."
kind=${1:?kind of build}
dir=build/$kind
case $kind in
release) set -- --buildtype=debugoptimized -Db_pie=true ;;
debug) set -- --buildtype=debug -Dprobe=true ;;
asan) export CC=clang-14
    set -- --buildtype=debug --optimization=1 -Dprobe=true -Db_sanitize=address,undefined -Db_lundef=false -Darena_malloc=true ;;
tsan) export CC=clang-14
    set -- --buildtype=debug --optimization=1 -Dprobe=true -Db_sanitize=thread -Db_lundef=false ;;
fuzz) export CC=clang-14
    set -- --buildtype=debug --optimization=1 -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false ;;
*) echo "$0: no kind of build \"$kind\"" >&2; exit 2 ;;
esac
log=$dir.log
mkdir -p build
if [ ! -e "$dir/build.ninja" ]; then
    meson setup "$dir" "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
fi
prefix=${PREFIX:-/usr}
if [ "$kind" = release ] && [ "$(cat "$dir/prefix" 2>/dev/null)" != "$prefix" ]; then
    meson configure "$dir" -Dprefix="$prefix" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    echo "$prefix" > "$dir/prefix"
fi
echo "Building $dir"
targets=
[ "$kind" != fuzz ] ||
    targets=$(ninja -C "$dir" -t targets all | sed -n 's/^\(tests\/fuzz\/[^.:]*\): c_LINKER.*/\1/p')
ninja -C "$dir" $targets >"$log" 2>&1 || { grep -A20 -E 'FAILED|error' "$log" >&2; exit 1; }
