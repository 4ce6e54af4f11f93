#!/bin/bash
# Gate: cppcheck finds nothing in src/. What it is told to overlook, and why: tools/cppcheck.txt.
set -euo pipefail
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/check/lib.sh
. "$tools/check/lib.sh"

[ -d src ] || cannot_look "no src/"
# Its cache knows a file by its contents only, so each way of asking has a cache of its own.
cache=build/cppcheck/$(cat "$tools"/check/cppcheck.sh "$tools"/cppcheck.{cfg,txt} | sha256sum | cut -c 1-16)
mkdir -p "$cache"
cppcheck --quiet --std=c11 --library=posix --library=gnu --library="$tools/cppcheck.cfg" \
    --enable=warning,style,performance,portability --inline-suppr --suppressions-list="$tools/cppcheck.txt" \
    --cppcheck-build-dir="$cache" -j "$(nproc)" -D_GNU_SOURCE=1 -I src --error-exitcode=1 \
    --template='{file}:{line}: {message} [{id}]' --template-location='{file}:{line}: note: {info}' src 2>&1
