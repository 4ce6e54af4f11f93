"""A channel between two of usher's processes breaks, though both live: it is made anew, and nobody is forgotten."""

from __future__ import annotations

import ctypes
import os
import socket

import pytest
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import wait_until

PIDFD_GETFD = 438  # the same number on all machines; glibc has no name for it yet


def break_channel(pid: int, number: int) -> None:
    """Shuts down the process' `number`th channel, from outside; the first leads to its parent."""
    libc, pidfd, found = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid), 0
    for fd in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
        try:
            is_socket = os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except FileNotFoundError:  # closed meanwhile
            continue
        if not is_socket:
            continue
        ours = libc.syscall(PIDFD_GETFD, pidfd, fd, 0)
        assert ours >= 0, os.strerror(ctypes.get_errno())
        with socket.socket(fileno=ours) as taken:
            if (taken.family, taken.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
                continue
            found += 1
            if found == number:
                taken.shutdown(socket.SHUT_RDWR)
    os.close(pidfd)
    assert found >= number


@pytest.mark.root
def test_worker_and_control_find_each_other_again(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, workers=1, log_level="debug")
    with usher.connect("plain") as before, usher.connect("plain") as relayed:
        assert relayed.login("bob", PASSWORD).status == "OK"
        break_channel(usher.pid("worker"), 2)
        wait_until(
            lambda: any("asking the parent" in event.get("detail") for event in usher.find("debug")),
            10,
            "the worker asks for control",
        )
        with usher.connect("plain") as fresh:
            assert fresh.login("carol", PASSWORD).status == "OK"
        # Those from before the break are known again too.
        assert before.login("ann", PASSWORD).status == "OK"
        assert relayed.command(b"NOOP").status == "OK"
    assert not usher.find("process_ended")
