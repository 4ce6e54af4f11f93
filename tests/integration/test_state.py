"""The state file under hard conditions: no login waits for it, and nobody is misplaced."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest
from conftest import configure
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import wait_until
from peers.usher import Backend, Usher, open_state


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


def log_in(usher, user: str):
    with usher.connect("plain") as imap:
        return imap.login(user, PASSWORD)


def placed_users(folder) -> set[str]:
    with open_state(folder / "state") as state:
        return {user for (user,) in state.execute("SELECT user FROM placement")}


def test_a_placement_is_written_soon_and_outlives_a_crash(start_usher, fake, folder):
    usher = start_usher({"fake": fake})
    assert log_in(usher, "ann").status == "OK"
    wait_until(lambda: placed_users(folder) == {"ann"}, 10, "the placement is written")
    usher.kill()
    usher = start_usher({"fake": fake})
    assert log_in(usher, "ann").status == "OK"
    assert not usher.find("placed")


def test_logins_do_not_wait_for_a_locked_file(start_usher, fake, folder):
    usher = start_usher({"fake": fake})
    with closing(sqlite3.connect(folder / "state/usher.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        for number in range(20):
            assert log_in(usher, f"user{number}").status == "OK"
        assert time.monotonic() - began < 15
        usher.wait_event("state_failed")
        other.rollback()
    expected = {f"user{number}" for number in range(20)}
    wait_until(lambda: placed_users(folder) == expected, 20, "the placements are written")


@pytest.mark.parametrize("contents", [b"this is no database" * 1000, b"SQLite format 3\0" * 500])
def test_a_broken_file_is_not_served_with(folder, certificate, fake, contents):
    (folder / "state").mkdir()
    (folder / "state/usher.db").write_bytes(contents)
    text = configure(folder, certificate, {"main": {"fake": Backend(fake.endpoint)}})
    usher = Usher(folder, text, waits=False)
    assert usher.wait_end() == 1
    assert "usher.db" in "\n".join(usher.lines)
    assert not usher.find("ready")
    assert (folder / "state/usher.db").read_bytes() == contents


def test_a_file_of_a_newer_usher_is_not_touched(folder, certificate, fake, start_usher):
    start_usher({"fake": fake}).stop()
    with open_state(folder / "state") as state:
        state.execute("PRAGMA user_version = 999")
    text = configure(folder, certificate, {"main": {"fake": Backend(fake.endpoint)}})
    usher = Usher(folder, text, waits=False)
    assert usher.wait_end() == 1
    assert "usher.db" in "\n".join(usher.lines)


def test_a_placement_on_a_backend_that_is_gone_is_unavailable(start_usher, fake, folder):
    """Never silently moved: the mail is on the machine that was taken out of the configuration."""
    usher = start_usher({"old": fake})
    assert log_in(usher, "ann").status == "OK"
    usher.stop()
    usher = start_usher({"new": fake})
    assert log_in(usher, "ann").code == "UNAVAILABLE"
    assert log_in(usher, "bob").status == "OK"
