#!/bin/bash
# Writes what the tables generate: the pages of the reference, and the lists of settings in
# usher.conf(5), between the comments "settings SECTION" and "end".   gendoc.sh GENDOC [ROOT]
set -euo pipefail
gendoc=$1
root=${2:-$(dirname "$0")/..}
man=$root/man/usher.conf.5

mkdir -p "$root/docs/reference"
for page in settings close-reasons log-events metrics commands; do
    "$gendoc" "$page" >"$root/docs/reference/$page.md.new"
    mv "$root/docs/reference/$page.md.new" "$root/docs/reference/$page.md"
done

is_listed=
while IFS= read -r line; do
    [ "$line" != '.\" end' ] || is_listed=
    [ -n "$is_listed" ] || printf '%s\n' "$line"
    case $line in
    '.\" settings '*)
        is_listed=yes
        "$gendoc" man "${line##* }"
        ;;
    esac
done <"$man" >"$man.new"
mv "$man.new" "$man"
