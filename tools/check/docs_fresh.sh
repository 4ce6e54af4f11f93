#!/bin/bash
# Gate: docs/reference/, the settings in usher.conf(5) and the options in usher-sync(8) are what the tables of
# src/tables/ generate.
# `make docs` puts it right.
# docs_fresh.sh [ROOT [GENDOC]]
set -euo pipefail
tools=$(cd "$(dirname "$0")/.." && pwd)
gendoc=$(realpath -m "${2:-$tools/../build/release/gendoc}")
# shellcheck source=tools/check/lib.sh
. "$tools/check/lib.sh"

[ -x "$gendoc" ] || cannot_look "$gendoc is not there; build first (make)"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
mkdir "$fresh/man"
cp man/usher.conf.5 man/usher-sync.8 "$fresh/man/"
"$tools/gendoc.sh" "$gendoc" "$fresh"
stale=0
for page in "$fresh"/docs/reference/*.md "$fresh"/man/*; do
    name=${page#"$fresh/"}
    if [ ! -f "$name" ]; then
        echo "$name:1: missing; make docs"
        stale=1
    elif ! cmp -s "$page" "$name"; then
        line=$({ cmp "$page" "$name" 2>&1 || true; } | sed -nE 's/.*line ([0-9]+).*/\1/p')
        echo "$name:${line:-1}: not what src/tables/ generates; make docs"
        stale=1
    fi
done
exit "$stale"
