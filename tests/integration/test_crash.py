"""A process of usher crashes: what the log tells, and what stays behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from peers.fakebackend import PASSWORD, FakeBackend
from peers.usher import DEFAULT_BINARY

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY)).resolve()

# Sanitizers tell of faults themselves, but for that which nothing but a sandbox raises.
IS_SANITIZED = b"__asan_init" in BINARY.read_bytes()
SIGNALS = (
    [signal.SIGSYS]
    if IS_SANITIZED
    else [signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS]
)


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


def run(*argv: str | Path) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


def functions_of(event) -> set[str]:
    """Those of the program that had been called."""
    places = [frame for frame in event["frames"].split() if frame.startswith("0x")]
    return set(run("addr2line", "-f", "-i", "-e", BINARY, *places).splitlines()[::2])


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("role", ["worker", "control", "lookup"])
def test_a_crash_is_told_with_its_place(start_usher, fake, role, number):
    usher = start_usher({"fake": fake})
    pid = usher.pid(role)
    os.kill(pid, number)
    event = usher.wait_event("crashed", role=role, pid=pid)
    assert (event.level, event["signal"]) == ("error", number.name)
    assert event["build_id"] == re.search(r"Build ID: (\w+)", run("readelf", "-n", BINARY))[1]
    assert {"child_main", "loop_run"} <= functions_of(event)
    assert usher.wait_event("process_ended", pid=pid)["signal"] == str(int(number))
    usher.wait_event("process_started", role=role, after=usher.events.index(event))
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_crash_of_the_parent_is_told_and_nothing_outlives_it(start_usher, fake, number):
    usher = start_usher({"fake": fake})
    os.kill(usher.process.pid, number)
    event = usher.wait_event("crashed", role="parent", pid=usher.process.pid)
    status = usher.wait_end()
    usher.kill()
    assert status == -number
    assert {"main", "loop_run"} <= functions_of(event)


def test_a_process_that_cannot_be_executed_says_why(start_usher, fake, folder, monkeypatch):
    """As when the program was replaced badly."""
    program = folder / "usher"
    shutil.copy(BINARY, program)
    monkeypatch.setenv("USHER_BIN", str(program))
    usher = start_usher({"fake": fake})
    program.chmod(0o644)
    os.kill(usher.pid("lookup"), signal.SIGKILL)
    fatal = usher.wait_event("fatal")
    usher.wait_event("process_ended", role="lookup", status=127)
    program.chmod(0o755)
    assert fatal["detail"] == "cannot execute /proc/self/exe: Permission denied"
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


def test_no_core_is_left(start_usher, fake, folder):
    """Passwords and keys would be in it."""
    cores = folder / "cores"
    cores.mkdir()
    cores.chmod(0o777)
    prefix = ("env", "-C", cores, "prlimit", "--core=unlimited")
    usher = start_usher({"fake": fake}, prefix=prefix)
    for role in ("worker", "control", "lookup"):
        pid = usher.pid(role)
        os.kill(pid, SIGNALS[0])
        usher.wait_event("process_ended", pid=pid)
    os.kill(usher.process.pid, SIGNALS[0])
    status = usher.wait_end()
    usher.kill()
    assert status == -SIGNALS[0]
    assert list(cores.iterdir()) == []
