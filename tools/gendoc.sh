#!/bin/bash
# Writes the generated pages of the reference:  gendoc.sh GENDOC [FOLDER]   (docs/reference)
set -euo pipefail
gendoc=$1
folder=${2:-$(dirname "$0")/../docs/reference}

mkdir -p "$folder"
for page in settings close-reasons log-events metrics; do
    "$gendoc" "$page" >"$folder/$page.md.new"
    mv "$folder/$page.md.new" "$folder/$page.md"
done
