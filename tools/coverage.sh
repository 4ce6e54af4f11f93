#!/bin/bash
# Tells which lines of src/ the tests reach:  coverage.sh unit|all   (all: the integration tests too)
# A page for each file is in build/coverage/index.html; printed is one line for each folder. Exits 1 when a folder
# is below its floor: see FLOORS.
#
# The branches of INSIST() are not counted: one that fails is our own bug, which no test can plant. All others are,
# those for memory that is out too.
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
    code=0
    setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups env HOME="$scratch" \
        "$scratch/tools/coverage.sh" "$which" || code=$?
    rm -rf "$report"
    mkdir -p build
    cp -r "$scratch/$report" "$report"
    exit "$code"
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
    --exclude-branches-by-pattern '\s*INSIST\(.*' \
    --html-details "$report/index.html" --json-summary "$report/summary.json" -j "$(nproc)" \
    >"$report/gcovr.log" 2>&1 || {
    cat "$report/gcovr.log"
    exit 1
}
code=0
/usr/bin/python3 - "$report/summary.json" <<'EOF' || code=$?
import collections, json, sys

# What must be reached by unit tests alone: percent of lines, of branches. Other folders come here when they are
# above; a floor only rises.
FLOORS = {
    "src/admin": (94, 79),
    "src/control": (94, 87),
    "src/imap": (99, 97),
    "src/imapc": (98, 95),
    "src/ipc": (97, 89),
    "src/ports": (93, 83),
    "src/sasl": (99, 95),
    "src/worker": (92, 83),
}

folders = collections.defaultdict(lambda: [0, 0, 0, 0])
for file in json.load(open(sys.argv[1]))["files"]:
    counts = [file[key] for key in ("line_covered", "line_total", "branch_covered", "branch_total")]
    for name in ("/".join(file["filename"].split("/")[:-1]), "total"):
        folders[name] = [a + b for a, b in zip(folders[name], counts)]
print(f"{'folder':<16}{'lines':>8}{'reached':>10}{'branches':>10}{'taken':>9}")
low = [name for name in FLOORS if name not in folders]
for name, (lines, of, taken, branches) in sorted(folders.items(), key=lambda row: (row[0] == "total", row[0])):
    reached = (100 * lines / max(of, 1), 100 * taken / max(branches, 1))
    floor = FLOORS.get(name, (0, 0))
    note = ""
    if reached[0] < floor[0] or reached[1] < floor[1]:
        low.append(name)
        note = f"   below its floor of {floor[0]} % and {floor[1]} %"
    print(f"{name:<16}{of:>8}{reached[0]:>9.1f}%{branches:>10}{reached[1]:>8.1f}%{note}")
sys.exit(1 if low else 0)
EOF
echo "details: $report/index.html"
exit "$code"
