#!/bin/bash
# Tells which lines of src/ the tests reach:  coverage.sh unit|all   (all: the integration tests too)
# A page for each file is in build/coverage/index.html; printed is one line for each folder.
#
# Each process writes what it has counted at its end, over what others wrote before. So all of them must be
# of one account, and none may give up its rights: started by root, this works in a copy of the tree, as
# nobody.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/check/lib.sh
. "$top/tools/check/lib.sh" "$top"

which=${1:-unit}
report=build/coverage

if [ "$(id -u)" = 0 ]; then
    scratch=$(mktemp -d /tmp/usher-coverage.XXXXXX)
    trap 'rm -rf "$scratch"' EXIT
    tree_files '*' | tar cf - --null --files-from=- | tar xf - -C "$scratch" --no-same-owner
    chown -R nobody: "$scratch"
    setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups env HOME="$scratch" "$scratch/tools/coverage.sh" "$which"
    rm -rf "$report"
    mkdir -p build
    cp -r "$scratch/$report" "$report"
    exit
fi

tools/build.sh cov --quiet
find build/cov -name '*.gcda' -delete
rm -rf "$report"
mkdir -p "$report"

# A test that fails still has reached what it reached; but say so.
meson test -C build/cov --suite unit --no-rebuild >"$report/unit.log" 2>&1 ||
    echo "unit tests failed; see $report/unit.log" >&2
if [ "$which" = all ]; then
    USHER_BIN=$PWD/build/cov/usher PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest tests/integration -q \
        -p no:cacheprovider -n "$(nproc)" >"$report/integration.log" 2>&1 ||
        echo "integration tests failed; see $report/integration.log" >&2
fi
gcovr --root . --object-directory build/cov --filter src/ --exclude-unreachable-branches \
    --html-details "$report/index.html" --json-summary "$report/summary.json" -j "$(nproc)" \
    >"$report/gcovr.log" 2>&1 || {
    cat "$report/gcovr.log"
    exit 1
}
/usr/bin/python3 - "$report/summary.json" <<'EOF'
import collections, json, sys

folders = collections.defaultdict(lambda: [0, 0, 0, 0])
for file in json.load(open(sys.argv[1]))["files"]:
    counts = [file[key] for key in ("line_covered", "line_total", "branch_covered", "branch_total")]
    for name in ("/".join(file["filename"].split("/")[:-1]), "total"):
        folders[name] = [a + b for a, b in zip(folders[name], counts)]
print(f"{'folder':<16}{'lines':>8}{'reached':>10}{'branches':>10}{'taken':>9}")
for name, (lines, of, taken, branches) in sorted(folders.items(), key=lambda row: (row[0] == "total", row[0])):
    print(f"{name:<16}{of:>8}{100 * lines / max(of, 1):>9.1f}%{branches:>10}{100 * taken / max(branches, 1):>8.1f}%")
EOF
echo "details: $report/index.html"
