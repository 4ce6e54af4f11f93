#!/bin/bash
# Writes what the tables generate: the pages of the reference, the lists of settings in usher.conf(5),
# between the comments "settings SECTION" and "end", and that of options in usher-sync(8).
# gendoc.sh GENDOC [ROOT]
set -euo pipefail
gendoc=$1
root=${2:-$(dirname "$0")/..}

mkdir -p "$root/docs/reference"
for page in settings close-reasons log-events metrics commands sync-options sync-reasons; do
    "$gendoc" "$page" >"$root/docs/reference/$page.md.new"
    mv "$root/docs/reference/$page.md.new" "$root/docs/reference/$page.md"
done

# The page is on standard input.
fill() {
    local is_listed=
    while IFS= read -r line; do
        [ "$line" != '.\" end' ] || is_listed=
        [ -n "$is_listed" ] || printf '%s\n' "$line"
        case $line in
        '.\" settings '* | '.\" options '*)
            is_listed=yes
            "$gendoc" man "${line##* }"
            ;;
        esac
    done
}

for man in usher.conf.5 usher-sync.8; do
    fill <"$root/man/$man" >"$root/man/$man.new"
    mv "$root/man/$man.new" "$root/man/$man"
done
