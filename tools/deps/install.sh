#!/bin/bash
# Installs the Debian packages that a group needs and this machine lacks:  install.sh build|test|run...
# Or sees to it that apt knows packages, which are then not installed:     install.sh --known PACKAGE...
#
# Does nothing, fast, when all is there. Otherwise through apt-get, as root or by sudo; where neither is
# possible it says what to type. It never removes a package. A mail server that comes along as a test peer
# (dovecot) is neither started nor enabled, and one that serves here already is never touched.
# USHER_DEPS=no skips all this: for those who bring the libraries in another way.
set -euo pipefail
cd "$(dirname "$0")"

# Packages that bring, restart or widen a service; the package that the service itself is in; its process id.
SERVICE=dovecot
SERVICE_CORE=dovecot-core
SERVICE_PACKAGES='dovecot-[a-z]*'
SERVICE_PID=/run/dovecot/master.pid

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# usher: services of test peers stay off while they are installed'
APT_OPTIONS=(-y -q --no-remove --no-install-recommends
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold)
AS_ROOT=()
policy_is_ours=no

say() {
    printf 'deps: %s\n' "$*" >&2
}

die() {
    say "$@"
    exit 1
}

wanted() {
    local group
    for group in "$@"; do
        sed -E 's/#.*//; /^[[:space:]]*$/d; s/[[:space:]].*//' "$group.txt"
    done | sort -u
}

# Those of the given packages that are not installed, one a line.
missing() {
    local installed
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
        awk '$2 == "installed" { print $1 }' | sort -u || true)
    comm -23 <(printf '%s\n' "$@" | sort -u) <(printf '%s\n' "$installed")
}

become_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    if command -v sudo >/dev/null; then
        AS_ROOT=(sudo)
        if sudo -n true 2>/dev/null || { [ -t 0 ] && say "sudo is needed to install: $*" && sudo -v; }; then
            return 0
        fi
    fi
    say "these Debian packages are missing, and I may not install them. As root, type:"
    printf '\n    apt-get install --no-install-recommends %s\n\n' "$*" >&2
    exit 1
}

# Our policy denies the one service, and only while this process lives: should we be killed before the trap
# can remove it, what is left behind forbids nothing, and the next run takes it away. A policy that the
# machine's owner has put there is obeyed, not replaced.
put_policy() {
    if [ -e "$POLICY" ]; then
        grep -qF "$POLICY_MARK" "$POLICY" || return 0
        "${AS_ROOT[@]}" rm -f "$POLICY"
    fi
    policy_is_ours=yes
    "${AS_ROOT[@]}" tee "$POLICY" >/dev/null <<EOF
#!/bin/sh
$POLICY_MARK
[ ! -d /proc/self ] || [ -d /proc/$$ ] || exit 0
for word in "\$@"; do
    case \$word in $SERVICE | $SERVICE.*) exit 101 ;; esac
done
exit 0
EOF
    "${AS_ROOT[@]}" chmod 755 "$POLICY"
}

remove_policy() {
    [ "$policy_is_ours" = no ] || "${AS_ROOT[@]}" rm -f "$POLICY"
    policy_is_ours=no
}

service_runs() {
    local pid
    pid=$(cat "$SERVICE_PID" 2>/dev/null) && [ -n "$pid" ] && [ -d "/proc/$pid" ]
}

# What the installation has enabled, in systemd's way and in that of sysv links.
disable_service() {
    if [ -d /run/systemd/system ]; then
        "${AS_ROOT[@]}" systemctl disable --now "$SERVICE.service" "$SERVICE.socket" >/dev/null 2>&1 || true
    fi
    "${AS_ROOT[@]}" deb-systemd-helper disable "$SERVICE.service" "$SERVICE.socket" >/dev/null 2>&1 || true
    "${AS_ROOT[@]}" update-rc.d "$SERVICE" disable >/dev/null 2>&1 || true
    say "$SERVICE was not here before: it is installed now, but not started and not enabled"
}

apt_install() {
    "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get "${APT_OPTIONS[@]}" install "$@" </dev/null >&2 9<&-
}

apt_update() {
    say "refreshing apt's package lists"
    "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update </dev/null >&2 9<&- ||
        say "apt-get update failed; going on with the lists that are here"
}

# Could apt do it? Prints apt's words if not.
rehearse() {
    LC_ALL=C apt-get "${APT_OPTIONS[@]}" -s install "$@" 2>&1
}

explain_and_die() {
    local words=$1 would_go
    shift
    printf '%s\n' "$words" >&2
    would_go=$(LC_ALL=C apt-get -s -y --no-install-recommends install "$@" 2>/dev/null |
        awk '$1 == "Remv" { print $2 }' | tr '\n' ' ' || true)
    if [ -n "$would_go" ]; then
        say "nothing was installed: apt would have to remove: $would_go"
        say "build and test in a container or on another machine, or remove them yourself if you can do without"
    else
        say "nothing was installed: apt cannot install: $*"
    fi
    exit 1
}

[ $# -gt 0 ] || die "usage: install.sh GROUP... (build, test, run), or install.sh --known PACKAGE..."
[ "${USHER_DEPS:-yes}" != no ] || exit 0
if [ "$1" = --known ]; then
    shift
    if ! apt-cache show --no-all-versions "$@" >/dev/null 2>&1; then
        become_root "$@"
        apt_update
    fi
    exit 0
fi
for group in "$@"; do
    [ -f "$group.txt" ] || die "no such group: $group"
done

mapfile -t packages < <(wanted "$@")
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "this is no Debian; see to it yourself that the likes of these are here: ${packages[*]}"
    exit 0
fi
mapfile -t lacking < <(missing "${packages[@]}")
[ "${#lacking[@]}" -gt 0 ] || exit 0

become_root "${lacking[@]}"
exec 9<install.sh
flock 9 # two runs of make in one tree take turns
mapfile -t lacking < <(missing "${packages[@]}")
[ "${#lacking[@]}" -gt 0 ] || exit 0
say "installing: ${lacking[*]}"

words=$(rehearse "${lacking[@]}") || {
    ! grep -q 'remove is disabled' <<<"$words" || explain_and_die "$words" "${lacking[@]}"
    apt_update
    words=$(rehearse "${lacking[@]}") || explain_and_die "$words" "${lacking[@]}"
}

service_is_new=no
if grep -qE "^Inst $SERVICE_PACKAGES " <<<"$words"; then
    if service_runs; then
        say "$SERVICE serves on this machine, and installing ${lacking[*]} would restart or widen it."
        die "if you can do without it for a moment: apt-get install --no-install-recommends ${lacking[*]}"
    fi
    [ -z "$(missing "$SERVICE_CORE")" ] || service_is_new=yes
    trap remove_policy EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    put_policy
fi

apt_install "${lacking[@]}" || {
    apt_update # the lists may name versions that the mirror no longer has
    apt_install "${lacking[@]}" || die "apt-get failed; see above"
}
[ "$service_is_new" = no ] || disable_service
mapfile -t lacking < <(missing "${packages[@]}")
[ "${#lacking[@]}" -eq 0 ] || die "still not there: ${lacking[*]}"
