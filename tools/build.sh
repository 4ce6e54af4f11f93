#!/bin/bash
# Configures, where needed, and builds one of the ways that we build usher:  build.sh PRESET [NINJA ARGUMENT...]
#
#   release  what is installed: optimised, hardened          build/release, and build/usher points to its program
#   asan     AddressSanitizer and UBSan; what tests run      build/asan
#   cov      counts the lines that tests reach               build/cov
#   fuzz     clang, libFuzzer and both sanitizers            build/fuzz
#   msan     clang, MemorySanitizer; tests of pure code only build/msan
#
# Warnings are errors with the compilers that CI has; others may warn of more than we could know.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:?usage: build.sh release|asan|cov|fuzz|msan [NINJA ARGUMENT...]}
shift
directory=build/$preset
export CC=gcc
options=() # for asan -Og: at -O1 gcc drops a write behind the end of what is then freed, unseen
case $preset in
release) # without the unit tests, which are run elsewhere
    options+=(--buildtype=debugoptimized)
    set -- src/usher gendoc "$@"
    ;;
asan) options+=(-Ddebug=true -Doptimization=g "-Db_sanitize=address,undefined") ;;
cov) options+=(-Ddebug=true -Doptimization=0 -Db_coverage=true) ;;
fuzz)
    export CC=clang
    options+=(-Dfuzz=true -Ddebug=true -Doptimization=1 "-Db_sanitize=address,undefined")
    ;;
msan)
    export CC=clang
    options+=(-Dfuzz=true -Ddebug=true -Doptimization=1 -Db_sanitize=memory)
    set -- pure "$@"
    ;;
*)
    echo "build.sh: no such preset: $preset" >&2
    exit 2
    ;;
esac
case $preset in
asan | fuzz)
    options+=(-Db_lundef=false "-Dc_args=-fno-omit-frame-pointer -fno-sanitize-recover=undefined")
    ;;
msan) # -fsanitize once more, else Meson's questions to the compiler lack it; no zeros that hide what nobody wrote
    flags="-fno-omit-frame-pointer -fsanitize=memory -fsanitize-memory-track-origins=2"
    options+=(-Db_lundef=false "-Dc_args=$flags -ftrivial-auto-var-init=uninitialized")
    ;;
esac
case $CC$($CC -dumpversion | cut -d. -f1) in
gcc12 | clang14) options+=(--werror) ;;
esac

# A directory that was set up otherwise, or only half, is set up anew.
stamp=$directory/.preset
if [ ! -f "$directory/build.ninja" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$CC ${options[*]}" ]; then
    rm -rf "$directory"
    mkdir -p build
    meson setup "$directory" "${options[@]}" >"build/$preset-setup.log" 2>&1 || {
        cat "build/$preset-setup.log"
        exit 1
    }
    echo "$CC ${options[*]}" >"$stamp"
fi
ninja -C "$directory" "$@"
[ ! -e "$directory/src/usher" ] || ln -sfn src/usher "$directory/usher"
[ "$preset" != release ] || ln -sfn release/usher build/usher
