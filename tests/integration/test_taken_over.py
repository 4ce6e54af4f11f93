"""Somebody has taken over a worker and does what its sandbox lets him, or more: what becomes of the
others, of those that come after it, and of the log."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import configure
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import Process, wait_until
from peers.rawimap import RawImap
from peers.usher import DEFAULT_BINARY, parse_line

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY)).resolve()
SOURCE = Path(__file__).parent / "taken_over.c"

# The run time of sanitizers and of coverage needs more system calls than usher does.
IS_NARROW = not any(word in BINARY.read_bytes() for word in (b"__asan_init", b"__gcov_"))


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


@pytest.fixture(scope="session")
def library(session_folder):
    built = session_folder / "taken_over.so"
    include = f"-I{SOURCE.parents[2] / 'src'}"
    flags = ["-Wall", "-Werror", "-shared", "-fPIC", include]
    subprocess.run(["cc", *flags, "-o", built, SOURCE], check=True)
    return built


@pytest.fixture
def taken_over(library, folder):
    """Makes the environment in which one worker does something when a connection comes to it."""

    def environment(act: str) -> dict[str, str]:
        free = folder / "free"
        free.touch()
        # Sanitizers want to be first.
        options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return {
            "LD_PRELOAD": str(library),
            "ASAN_OPTIONS": options,
            "TAKEN_OVER": act,
            "TAKEN_OVER_FREE": str(free),
        }

    return environment


def come(usher) -> None:
    """A client comes, and gets no answer from a worker that acts otherwise."""
    with usher.connect("plain", reads_greeting=False):
        usher.wait_event("process_ended")


def serves(usher) -> bool:
    with usher.connect("plain") as imap:
        return imap.login("ann", PASSWORD).status == "OK"


def assert_ended_for(usher, call: str) -> None:
    event = usher.wait_event("sandbox_violation")
    ended = usher.wait_event("process_ended", pid=event["pid"])
    after = usher.events.index(ended)
    usher.wait_event("process_started", after=after, role="worker", slot=ended["slot"])
    assert serves(usher)
    # A clean end is one without such an event.
    usher.kill()
    assert (event.level, event["role"], event["call"]) == ("error", "worker", call)
    assert ended["signal"] == str(int(signal.SIGSYS))
    assert "taken over" not in usher.stray
    assert len(usher.find("process_ended")) == 1


def test_a_worker_that_runs_a_program_ends_and_is_replaced(start_usher, fake, taken_over):
    usher = start_usher({"fake": fake}, env=taken_over("execute"), workers="1")
    come(usher)
    assert_ended_for(usher, "execve")


if IS_NARROW:

    def test_a_worker_cannot_go_on_after_a_call_that_is_not_allowed(start_usher, fake, taken_over):
        usher = start_usher({"fake": fake}, env=taken_over("execute in silence"), workers="1")
        come(usher)
        assert_ended_for(usher, "rt_sigaction")


def test_a_worker_cannot_draw_the_connections_of_others_to_itself(start_usher, fake, taken_over):
    usher = start_usher({"fake": fake}, env=taken_over("steer"), workers="1")
    come(usher)
    assert_ended_for(usher, "setsockopt")


@pytest.mark.parametrize("act", ["shut down", "disconnect"])
def test_a_socket_that_a_worker_closed_for_all_listens_to_the_next(
    start_usher, fake, taken_over, act
):
    usher = start_usher({"fake": fake}, env=taken_over(act), workers="1")
    come(usher)
    broken = usher.wait_event("listener_broken")
    assert serves(usher)
    assert (broken.level, broken["listener"], broken["slot"]) == ("error", "plain", "0")
    assert broken["address"] == f"127.0.0.1:{usher.port('plain')}"
    assert "detail" not in broken.fields
    # The other listeners were left alone.
    assert len(usher.find("listener_broken")) == 1


def test_a_worker_that_asks_for_channels_without_end_uses_up_nobodys_descriptors(
    start_usher, fake, taken_over
):
    usher = start_usher({"fake": fake}, env=taken_over("rejoin"), workers="1")
    pids = [usher.process.pid, *(usher.pid(role) for role in ("control", "lookup"))]
    with usher.connect("plain", reads_greeting=False):
        wait_until(lambda: "taken over" in usher.stray, 30, "the worker has asked")
        for pid in pids:
            assert len(os.listdir(f"/proc/{pid}/fd")) < 100
        assert not usher.find("process_ended")
    usher.kill()


def test_a_worker_cannot_write_over_a_file_of_the_log(folder, certificate, fake, taken_over):
    config, log = folder / "usher.conf", folder / "log"
    config.write_text(configure(folder, certificate, {"main": {"fake": fake}}, workers="1"))
    # As a shell does, by a description that does not append.
    with log.open("wb") as stderr:
        argv = [BINARY, "serve", "-c", config]
        usher = Process(argv, stderr=stderr, env=taken_over("overwrite"))
    try:
        wait_until(lambda: " ready " in log.read_text(), 20, "usher is ready")
        before = log.read_text()
        events = [parse_line(line) for line in before.splitlines()]
        port = next(int(e["address"].rpartition(":")[2]) for e in events if e.name == "listening")
        with RawImap("127.0.0.1", port, reads_greeting=False):
            wait_until(lambda: "taken over\n" in log.read_text(), 20, "the worker has written")
        assert log.read_text().startswith(before)
        assert usher.stop() == 0
    finally:
        usher.kill()
