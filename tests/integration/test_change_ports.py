"""Who connects while a reload or an upgrade is under way: nobody waits in a socket that nobody accepts from
yet, and nobody is reset when the change is refused."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from changing import Changing, log_in, only, starting
from ctl import DONE
from peers.fakebackend import FakeBackend
from peers.process import stat_fields, wait_until
from peers.usher import Listener

# More sockets with each try: those of before stay.
MORE_WORKERS = 6

CONNECTIONS = 30

# How many descriptors the parent may have: enough for all sockets, and not for two of each.
DESCRIPTORS = 400

# Together more new sockets than the parent takes messages in a turn.
LISTENERS, WORKERS = 8, 16


@pytest.fixture
def start(stack, folder, certificate) -> Callable[..., Changing]:
    fake = stack.enter_context(FakeBackend("mail1"))
    usual = {"certificate": certificate, "pools": only(fake), "listeners": {"plain": Listener()}}
    return starting(stack, folder, **usual)


def stand_still(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: stat_fields(pid)[0] == "T", 10, "it stands still")


def stop_candidate(changing: Changing, number: int) -> int:
    """Begins a change to more workers, one of which stands still before it is ready. Who it is."""
    usher = changing.usher
    for tries in range(1, 10):
        mark = usher.mark()
        changing.write(workers=str(1 + tries * MORE_WORKERS))
        usher.process.send_signal(number)
        candidate = int(usher.wait_event("process_started", after=mark, role="worker", slot=0)["pid"])
        stand_still(candidate)
        usher.wait_event("process_started", after=mark, role="worker", slot=tries * MORE_WORKERS)
        # Whatever it has said by now is heard before this is answered.
        if changing.ask("reload").status != DONE:
            # Who waits for the end of this change is not to meet that of the other.
            usher.wait_event("change_refused", after=mark)
            return candidate
        os.kill(candidate, signal.SIGCONT)
        usher.wait_change(mark)
    raise AssertionError("candidates are always ready before they can be stopped")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_workers_of_before_take_all_connections_until_the_new_ones_do(start, number):
    changing = start(workers="1")
    usher = changing.usher
    candidate = stop_candidate(changing, number)
    with ExitStack() as stack:
        greeted = [stack.enter_context(usher.connect("plain")) for _ in range(CONNECTIONS)]
        mark = usher.mark()
        os.kill(candidate, signal.SIGKILL)
        assert "signal 9" in usher.wait_change(mark)["detail"]
        assert all(imap.is_alive() for imap in greeted)
    changing.renew()
    log_in(usher).close()


def test_all_that_was_prepared_is_heard_though_who_did_it_has_ended(start):
    """More than the parent reads in a turn, and it learns of the end in the same turn."""
    changing = start(workers="1", listeners={f"l{number}": Listener() for number in range(LISTENERS)})
    usher = changing.usher
    parent = usher.process.pid
    changing.write(workers=str(WORKERS))
    mark = usher.mark()
    usher.process.send_signal(signal.SIGHUP)
    preparer = int(usher.wait_event("process_started", after=mark, role="prepare")["pid"])
    stand_still(preparer)
    # Whatever it was to be told it has been told before this is answered.
    changing.ask_refused("reload")
    mark = usher.mark()
    stand_still(parent)
    try:
        os.kill(preparer, signal.SIGCONT)
        wait_until(lambda: stat_fields(preparer)[0] == "Z", 20, "all is prepared")
    finally:
        os.kill(parent, signal.SIGCONT)
    event = usher.wait_change(mark)
    assert event.name == "reloaded", event
    assert event["workers"] == str(WORKERS)


def test_a_generation_begins_where_there_are_not_many_more_descriptors_than_sockets(start):
    changing = start(workers="1", listeners={f"l{number}": Listener() for number in range(LISTENERS)})
    usher = changing.usher
    resource.prlimit(usher.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    mark = usher.mark()
    changing.reload(workers=str(2 * WORKERS))
    assert not usher.find("fatal", after=mark)
    log_in(usher, listener="l0").close()
