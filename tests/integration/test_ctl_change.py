"""usher ctl while usher itself is changed: who asked for it reads what came of it, though who answers is
replaced in that very moment; and who waits for something else goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest
from ctl import BINARY, DONE, FAILED, ask, page, steer
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import wait_until
from peers.usher import Listener, Usher

LISTENERS = {"imap": Listener()}


@pytest.fixture
def start(stack, start_usher) -> Callable[..., Usher]:
    fakes = {name: stack.enter_context(FakeBackend(name)) for name in ("mail1", "mail2")}
    return lambda **settings: start_usher(fakes, listeners=LISTENERS, workers=2, **settings)


def set_limit(usher: Usher, n: int) -> None:
    """Another configuration than any before."""
    text = "".join(
        line for line in usher.config.read_text().splitlines(True) if "max_logins" not in line
    )
    usher.rewrite(f"max_logins = {n}\n{text}")


def test_every_change_is_answered_by_the_control_that_it_ends(start):
    usher = start()
    for generation in range(2, 8):
        command = "upgrade" if generation % 3 == 0 else "reload"
        set_limit(usher, generation)
        answer = steer(usher, command)
        assert answer.done["generation"] == generation
        assert answer.done["changes"] == len(answer.rows) == 1
        assert answer.rows[0]["change"].startswith("max_logins ")
        # At the same socket, once the next one has begun.
        assert steer(usher, "status").done["epoch"] == generation


def test_nothing_to_change_is_told_by_the_control_that_stays(start):
    usher = start()
    assert page(usher, "reload") == "nothing has changed\n"
    assert steer(usher, "status").done["epoch"] == 1
    usher.rewrite(usher.config.read_text() + "wrokers = 3\n")
    answer = ask(usher, "reload")
    assert (answer.status, answer.code) == (FAILED, "failed")
    assert "wrokers" in answer.error


def test_workers_of_all_generations_are_seen(start):
    usher = start()
    first = steer(usher, "workers").rows
    assert [(row["generation"], row["slot"], row["retired"]) for row in first] == [
        (1, 0, False), (1, 1, False)
    ]  # fmt: skip
    assert {row["pid"] for row in first} == set(usher.worker_pids())
    with usher.connect() as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
        (serving,) = [row for row in steer(usher, "workers").rows if row["sessions"]]
        set_limit(usher, 50)
        steer(usher, "reload")
        wait_until(lambda: len(steer(usher, "workers").rows) == 3, 20, "the idle one has ended")
        old, *new = steer(usher, "workers").rows
        assert (old["pid"], old["retired"], old["sessions"]) == (serving["pid"], True, 1)
        assert [(row["generation"], row["slot"], row["retired"]) for row in new] == [
            (2, 0, False), (2, 1, False)
        ]  # fmt: skip
        status = steer(usher, "status").done
        assert (status["workers"], status["retired"], status["sessions"]) == (2, 1, 1)
        assert "retired  " in page(usher, "status")
    wait_until(lambda: len(steer(usher, "workers").rows) == 2, 20, "its last session has ended")
    assert "retired" not in page(usher, "status")


def test_who_waits_for_moves_goes_on_waiting_behind_a_reload(start):
    usher = start(storage="own")
    users = [f"user{number}" for number in range(12)]
    for user in users:
        steer(usher, "place", user, "mail1")
    argv = [BINARY, "ctl", "-c", usher.config, "move", "--from", "mail1", "--to", "mail2"]
    argv += ["--rate", "4", "--wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
        assert b"12 users" in asking.stdout.readline()
        set_limit(usher, 50)
        steer(usher, "reload")
        assert asking.poll() is None
        assert steer(usher, "status").done["moves"] > 0
        told, wrong = asking.communicate(timeout=60)
    assert (asking.returncode, told, wrong) == (DONE, b"It is over.\n", b"")
    assert {steer(usher, "route", user).done["placed"] for user in users} == {"mail2"}


def test_who_asks_while_usher_is_changed_is_answered(start):
    usher = start()
    usher.process.send_signal(signal.SIGSTOP)  # the parent: nothing comes of the change meanwhile
    argv = [BINARY, "ctl", "-c", usher.config, "reload"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as asking:
        usher.wait_event("steered", command="reload")
        assert steer(usher, "status").done["epoch"] == 1
        usher.process.send_signal(signal.SIGCONT)
        assert asking.communicate(timeout=60)[0] == b"nothing has changed\n"


def test_an_answer_that_died_with_control_is_told_as_lost(start):
    usher = start()
    usher.process.send_signal(signal.SIGSTOP)
    argv = [BINARY, "ctl", "-c", usher.config, "--json", "reload"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
        usher.wait_event("steered", command="reload")
        os.kill(usher.pid("control"), signal.SIGKILL)
        told, wrong = asking.communicate(timeout=60)
        usher.process.send_signal(signal.SIGCONT)
    assert asking.returncode == FAILED
    assert b'"code": "failed"' in told
    assert b"usher was changing over" in wrong
    wait_until(lambda: ask(usher, "status").done.get("epoch") == 2, 20, "the next control answers")
