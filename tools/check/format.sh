#!/bin/bash
# Gate: C is laid out as clang-format does with the tree's .clang-format. `make format` puts it right.
set -euo pipefail
# shellcheck source=tools/check/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -d '' -t files < <(tree_files 'src/*.[ch]' 'tests/*.[ch]' 'tools/*.[ch]')
[ "${#files[@]}" -gt 0 ] || cannot_look "no C sources"
[ -f .clang-format ] || cannot_look "no .clang-format"
words=$(printf '%s\0' "${files[@]}" | xargs -0 clang-format --dry-run -Werror --style=file 2>&1) && exit 0
grep -E '^[^ ].*: error:' <<<"$words" || printf '%s\n' "$words"
exit 1
