# What the shell gates share; sourced, not run. Goes to the tree that is looked at: $1, else the one it is in.
# A gate prints file:line: messages and exits 1, 0 when all is well, 2 when it could not look.
# shellcheck shell=bash
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}" || exit 2

cannot_look() {
    echo "cannot look: $*"
    exit 2
}

# The files of the tree that match the given git pathspecs, NUL after each; without git, all but hidden and built.
tree_files() {
    if [ -e .git ] && git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard -- "$@" | while IFS= read -r -d '' name; do
            [ ! -f "$name" ] || printf '%s\0' "$name"
        done
    else
        local pattern tests=()
        for pattern in "$@"; do
            tests+=(-o -path "./$pattern")
        done
        find . \( -path ./build -o -name '.?*' -o -name __pycache__ \) -prune -o \
            -type f \( "${tests[@]:1}" \) -printf '%P\0'
    fi
}
