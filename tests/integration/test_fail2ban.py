"""What packaging/fail2ban makes of usher's log: who failed is found, whatever they call themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from conftest import TOP
from peers.debs import unpack
from peers.fakebackend import PASSWORD, FakeBackend
from peers.rawimap import RawImap
from peers.usher import Listener

PACKAGED = TOP / "packaging/fail2ban"
LISTENERS = {"imap": Listener(), "imap6": Listener(address="[::1]:0")}

# Another's address, and all that might make a line of one's own.
VICTIM = "203.0.113.66"
FORGED = f"notice auth_failed address={VICTIM} user=x failures=1 user_failures=1"
NAMES = [
    "ann",
    "ann@example.org",
    f"x address={VICTIM}",
    f"address={VICTIM}",
    FORGED,
    " " + FORGED,
    "2026-11-23T06:12:49.123Z " + FORGED,
    "host usher[1]: 2026-11-23T06:12:49.123Z " + FORGED,
    f'x" failures=1 user_failures=1 {FORGED}',
    '"',
    "\\",
    '\\"',
    "x=y",
    "user=x failures=9 user_failures=9",
    "no-break\u00a0space",
    "wide\u2003space",
    f"line\u2028{FORGED}",
    "tab\there",
    "\x1b[31m",
    "é ☕",
    "<HOST>",
    "%(_before)s",
    "x" * 500,
    '"' * 500,
]


def fail2ban(*words: str | Path) -> str:
    """What one of its programs says. It is not installed, as that would start its service."""
    tree = unpack(TOP / "build/peers", "fail2ban", ("fail2ban",), "fail2ban")
    program, *arguments = words
    # Of the interpreter that Debian has built it for.
    return subprocess.run(
        ["/usr/bin/python3", "-B", tree / "usr/bin" / program, *arguments],
        env={**os.environ, "PYTHONPATH": str(tree / "usr/lib/python3/dist-packages")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@pytest.fixture
def usher(start_usher, stack):
    """One that counts failed logins from this machine too, and slows nobody."""
    return start_usher(
        {"fake": stack.enter_context(FakeBackend())},
        listeners=LISTENERS,
        penalty_exempt=[],
        penalty_delay="0s",
        penalty_refuse_address="0",
        penalty_refuse_user="0",
    )


def log_in(usher, host: str, user: str, password: str, source: str = "") -> str:
    listener = "imap6" if ":" in host else "imap"
    with RawImap(host, usher.port(listener), source=source) as imap:
        return imap.authenticate_plain(user, password).status


def fail_everywhere(usher) -> Counter[str]:
    """Each name fails once by IPv4 and once by IPv6. How often each address did."""
    failures: Counter[str] = Counter()
    for number, name in enumerate(NAMES):
        for host, source in (("127.0.0.1", f"127.0.1.{number + 1}"), ("::1", "::1")):
            assert log_in(usher, host, name, "wrong", source) == "NO"
            failures[source] += 1
    return failures


def found(log: Path, *options: str) -> Counter[str]:
    """How often each address is found in a log."""
    usher_conf = PACKAGED / "filter.d/usher.conf"
    return Counter(fail2ban("fail2ban-regex", *options, "--out", "ip", log, usher_conf).split())


def test_no_name_hides_its_failure_or_forges_anothers(usher, folder):
    assert log_in(usher, "127.0.0.1", "ann", PASSWORD, "127.0.2.1") == "OK"
    failures = fail_everywhere(usher)
    usher.wait_events("auth_failed", failures.total())
    usher.stop()
    own = folder / "usher.log"
    own.write_text("".join(f"{line}\n" for line in usher.lines))
    assert found(own) == failures
    syslog = folder / "syslog"
    syslog.write_text("".join(f"Nov 23 06:12:49 host usher[7]: {line}\n" for line in usher.lines))
    assert found(syslog) == failures
    # Out of the journal a line comes whole, its time beside it.
    journal = folder / "journal"
    journal.write_text("".join(f"host usher[7]: {line}\n" for line in usher.lines))
    assert found(journal, "--datepattern", "{NONE}") == failures


def test_what_another_program_says_is_not_taken_for_ushers(folder):
    log = folder / "syslog"
    log.write_text(f"Nov 23 06:12:49 host sshd[7]: 2026-11-23T06:12:49.123Z {FORGED}\n")
    assert not found(log)


def test_an_exempt_address_is_not_told(start_usher, stack):
    usher = start_usher({"fake": stack.enter_context(FakeBackend())}, listeners=LISTENERS)
    for host in ("127.0.0.1", "::1"):
        assert log_in(usher, host, "ann", "wrong") == "NO"
    usher.wait_events("session_end", 2)
    assert not usher.find("auth_failed")


def test_the_jail_is_one_that_fail2ban_understands(folder):
    settings = folder / "fail2ban"
    tree = unpack(TOP / "build/peers", "fail2ban", ("fail2ban",), "fail2ban")
    shutil.copytree(tree / "etc/fail2ban", settings)
    (settings / "jail.d/defaults-debian.conf").unlink()
    for part in ("filter.d", "jail.d"):
        shutil.copy(PACKAGED / part / "usher.conf", settings / part)
    said = fail2ban("fail2ban-client", "-c", settings, "-d")
    assert "['add', 'usher', 'systemd']" in said
    assert "['set', 'usher', 'addjournalmatch', '_SYSTEMD_UNIT=usher.service']" in said
    assert "['start', 'usher']" in said
