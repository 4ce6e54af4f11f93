"""The demonstration of `make run`: starts, can be logged in to as it says, and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import TOP
from peers.process import BACKEND_PORT, free_address, is_alive, stat_fields, wait_until
from peers.usher import DEFAULT_BINARY

BINARY = os.environ.get("USHER_BIN", str(DEFAULT_BINARY))
READY = "Ctrl-C ends it all"


class Demo:
    """A running demonstration and what it has printed."""

    def __init__(self, folder: Path, addresses: tuple[str, str]) -> None:
        argv = [sys.executable, "-B", TOP / "tools/demo/run.py", "--usher", BINARY]
        argv += ["--folder", folder / "demo", "--servers", *addresses]
        self.popen = subprocess.Popen(
            list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.output = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.popen.stdout:
            self.output += line

    def wait_output(self, pattern: str) -> re.Match[str]:
        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.output)
            if not found and self.popen.poll() is not None:
                raise RuntimeError(f"the demonstration ended:\n{self.output}")
            return found

        return wait_until(look, 30, pattern)

    def descendants(self) -> list[int]:
        """All processes that it has started, and they."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := stat_fields(int(entry))):
                parents[int(entry)] = int(fields[1])
        found = [self.popen.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found[1:]

    def end(self, number: int) -> int:
        self.popen.send_signal(number)
        status = self.popen.wait(30)
        self.reader.join()
        self.popen.stdout.close()
        return status


@pytest.fixture
def addresses() -> tuple[str, str]:
    return free_address(), free_address()


@pytest.fixture
def start_demo(folder, addresses, stack):
    def start() -> Demo:
        demo = Demo(folder, addresses)
        stack.callback(demo.popen.wait)
        stack.callback(demo.popen.terminate)
        return demo

    return start


def paste(demo: Demo, program: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Runs the line that is printed for a program as a shell would, after some replacements."""
    line = demo.wait_output(rf"{program} +({program} .*)\n")[1]
    for old, new in changes.items():
        line = line.replace(old, new)
    return subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30)


def test_what_it_prints_works_and_nothing_is_left(start_demo):
    for number in (signal.SIGINT, signal.SIGTERM):
        demo = start_demo()
        demo.wait_output(READY)
        for user, home in (("ann", "mail1"), ("dave", "mail2")):
            mail = paste(demo, "curl", ann=user)
            assert f"Subject: Welcome to {home}, {user}\n" in mail.stdout, mail.stderr
            demo.wait_output(rf"{user} +came +→ {home} ")
            demo.wait_output(rf"{user} +left +← {home} ")
        assert paste(demo, "curl", secret="guess").returncode == 67
        demo.wait_output(r"ann +refused +← mail1 +AUTHENTICATIONFAILED")
        started = demo.descendants()
        assert len(started) > 10
        assert demo.end(number) == 0, demo.output
        assert not [pid for pid in started if is_alive(pid)]
        assert "\x1b" not in demo.output
        assert demo.output.endswith("Everything has been stopped.\n")


def test_it_ends_while_somebody_is_logged_in(start_demo):
    demo = start_demo()
    port = int(demo.wait_output(r"port (\d+) with SSL/TLS")[1])
    demo.wait_output(READY)
    with socket.create_connection(("127.0.0.1", port)):
        assert demo.end(signal.SIGINT) == 0, demo.output


def test_it_may_be_interrupted_while_it_starts(start_demo):
    for number_started in (1, 5, 12):
        demo = start_demo()
        wait_until(lambda: len(demo.descendants()) >= number_started, 20, "processes are started")
        started = demo.descendants()
        assert demo.end(signal.SIGINT) == 0, demo.output
        assert not [pid for pid in started if is_alive(pid)]


def test_its_servers_do_not_outlive_it(start_demo):
    demo = start_demo()
    demo.wait_output(READY)
    started = demo.descendants()
    demo.end(signal.SIGKILL)
    wait_until(lambda: not [pid for pid in started if is_alive(pid)], 20, "all have ended")


def test_a_taken_port_is_told_with_who_has_it(start_demo, addresses):
    with socket.create_server((addresses[1], BACKEND_PORT)):
        demo = start_demo()
        assert demo.popen.wait(30) == 1
        demo.reader.join()
    assert f"{addresses[1]}:{BACKEND_PORT}" in demo.output
    assert f"(process {os.getpid()})" in demo.output


def test_two_do_not_run_in_one_folder(start_demo):
    first = start_demo()
    first.wait_output(READY)
    second = start_demo()
    assert second.popen.wait(30) == 1
    second.reader.join()
    assert f"runs already (process {first.popen.pid})" in second.output
    assert first.end(signal.SIGINT) == 0
