#!/bin/bash
# Gate: the manual pages in man/ format without a warning.
set -euo pipefail
# shellcheck source=tools/check/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -d '' -t pages < <(tree_files 'man/*.[1-8]')
[ "${#pages[@]}" -gt 0 ] || cannot_look "no manual pages in man/"
bad=0
for page in "${pages[@]}"; do
    words=$(groff -mandoc -Tutf8 -Kutf8 -rLL=78n -ww -z "$page" 2>&1 || echo "$page:1: groff failed")
    if [ -n "$words" ]; then
        printf '%s\n' "$words"
        bad=1
    fi
done
exit "$bad"
