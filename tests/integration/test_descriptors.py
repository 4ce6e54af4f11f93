"""Out of descriptors: who waits longest without a login goes, the others are unharmed, nobody spins."""

from __future__ import annotations

import os
import time

import pytest
from peers.fakebackend import PASSWORD, FakeBackend

LIMIT = 200


@pytest.fixture
def usher(start_usher, stack):
    """With one worker that may have LIMIT descriptors."""
    fake = stack.enter_context(FakeBackend())
    prefix = ("sh", "-c", f'ulimit -n {LIMIT} && exec "$@"', "sh")
    return start_usher({"fake": fake}, prefix=prefix, workers=1, login_timeout="60s")


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_oldest_without_a_login_go_first(usher, stack):
    good = stack.enter_context(usher.connect("plain"))
    assert good.login("ann", PASSWORD).status == "OK"
    idle = [stack.enter_context(usher.connect("plain", reads_greeting=False)) for _ in range(2 * LIMIT)]
    with usher.connect("plain") as late:
        assert late.login("bob", PASSWORD).status == "OK"
        assert late.command(b"NOOP").status == "OK"
    assert good.command(b"NOOP").status == "OK"
    full = usher.wait_event("accept_failed")
    assert full["limit"] == str(LIMIT)
    assert "LimitNOFILE" in full["detail"]
    ends = usher.find("session_end", reason="limit")
    numbers = [int(end["id"].partition(".")[2]) for end in ends]
    assert numbers == sorted(numbers), "the oldest first"
    # Those that came last are still there and may log in.
    assert idle[-1].line().startswith(b"* OK")
    assert idle[-1].login("carol", PASSWORD).status == "OK"
    # The first was told why, behind its greeting or in place of it.
    assert b"* BYE [UNAVAILABLE]" in idle[0].rest()


def test_full_of_good_sessions_it_waits_without_spinning(usher, stack):
    good = []
    while not usher.find("accept_failed"):
        imap = stack.enter_context(usher.connect("plain", reads_greeting=False))
        try:
            imap.timeout = 5
            imap.line()
            if imap.login("ann", PASSWORD).status == "OK":
                good.append(imap)
        except OSError:
            break
        assert len(good) < LIMIT
    assert len(good) > LIMIT // 4
    waiting = stack.enter_context(usher.connect("plain", reads_greeting=False))
    begun = cpu_seconds(usher.pid("worker"))
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert all(imap.command(b"NOOP").status == "OK" for imap in good[:3])
        time.sleep(0.1)
    assert cpu_seconds(usher.pid("worker")) - begun < 0.5
    # As soon as there is room, those that waited get in.
    for imap in good[:3]:
        imap.close()
    waiting.timeout = 20
    assert waiting.line().startswith(b"* OK")
    assert waiting.login("bob", PASSWORD).status == "OK"
