#!/bin/bash
# Lays out the C sources of the tree in place.
set -euo pipefail
# shellcheck source=tools/check/lib.sh
. "$(dirname "$0")/check/lib.sh"

tree_files 'src/*.[ch]' 'tests/*.[ch]' 'tools/*.[ch]' | xargs -0r clang-format -i --style=file
