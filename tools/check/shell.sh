#!/bin/bash
# Gate: shellcheck finds nothing in the shell scripts.
set -euo pipefail
# shellcheck source=tools/check/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -d '' -t scripts < <(tree_files '*.sh' .ci/run)
[ "${#scripts[@]}" -gt 0 ] || cannot_look "no shell scripts"
shellcheck --external-sources --format=gcc -- "${scripts[@]}"
