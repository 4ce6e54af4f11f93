#!/bin/bash
# Gate: words that have no place in the tree: paths of somebody's machine, notes of things left undone, C functions
# that ignore the size of what they write or cannot tell an error, and untidy line ends.
set -euo pipefail
# shellcheck source=tools/check/lib.sh
. "$(dirname "$0")/lib.sh"

found=0

# refuse MESSAGE REGEX PATHSPEC...: no line of these files may match.
refuse() {
    local message=$1 regex=$2 hits files
    shift 2
    mapfile -d '' -t files < <(tree_files "$@")
    [ "${#files[@]}" -gt 0 ] || return 0
    hits=$(printf '%s\0' "${files[@]}" | xargs -0 grep -InHP -e "$regex" -- || true)
    [ -n "$hits" ] || return 0
    sed -E "s|^([^:]+:[0-9]+):[[:space:]]*(.*)|\1: $message: \2|" <<<"$hits"
    found=1
}

BANNED='strcpy|strcat|strncpy|strncat|stpcpy|sprintf|vsprintf|gets|strtok|atoi|atol|atoll|atof|alloca'
BANNED+='|gmtime|localtime|ctime|asctime|system|popen|tmpnam|mktemp|rand|inet_addr|inet_ntoa|gethostbyname'
# The characters in brackets keep the patterns from matching themselves.
refuse "a path of somebody's machine" '(^|[^\w.%}$*-])/(hom[e]|roo[t]|wor[k]|User[s])/' '*'
refuse "left undone" '\b(TOD[O]|FIXM[E]|XX[X])\b' 'src/*' 'tests/*' 'tools/*' 'docs/*' 'man/*' 'etc/*'
refuse "use something that knows the size or tells errors" "(?<![\\w.>\"])($BANNED)\\(" \
    'src/*.[ch]' 'tools/*.[ch]'
refuse "blank at the end of the line" '[ \t]+$' 'src/*' '*.[ch]' '*.py' '*.sh' '*.txt' '*.md' '*.conf' '*.build' Makefile
refuse "carriage return" '\r$' 'src/*' 'tools/*' '*.py' '*.sh' '*.md' '*.conf'
refuse "tab" '\t' '*.[ch]' '*.def' '*.py' '*.sh' '*.conf' '*.build'
exit "$found"
