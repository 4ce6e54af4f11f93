"""What a small command and its answer cost in system calls on their way through usher."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import LISTENER_OF_TLS, USERS
from peers.certs import Tls
from peers import scripted
from peers.process import Process

ROUND_TRIPS = 200
READS = {"read", "recvfrom", "recvmsg", "readv"}
WRITES = {"write", "sendto", "sendmsg", "writev"}
CALL = re.compile(r"(?:\[pid +\d+\] )?(\w+)\(\d+<TCP(?:v6)?:\[")


class Trace:
    """The system calls that a process makes on its TCP connections while the block runs."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self.output = folder / "strace.out"
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> Trace:
        argv = ["strace", "-f", "-yy", "-e", f"trace={','.join(READS | WRITES)}"]
        self.strace = Process([*argv, "-o", self.output, "-p", self.pid], stderr=subprocess.PIPE)
        line = self.strace.popen.stderr.readline()
        if b"attached" not in line:
            self.strace.kill()
            raise RuntimeError(f"strace: {line.decode()}")
        return self

    def __exit__(self, *_: object) -> None:
        self.strace.stop()
        self.strace.popen.stderr.close()
        for line in self.output.read_text().splitlines():
            if found := CALL.search(line):
                self.calls[found[1]] += 1

    def count(self, names: set[str]) -> int:
        return sum(self.calls[name] for name in names)


def unhurried(connection: scripted.Connection) -> None:
    """A backend that never answers within the turn of the loop in which usher passes a command."""
    connection.send(scripted.GREETING)
    tag, _, _ = connection.command()
    connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
    while True:
        tag, _, _ = connection.command()
        time.sleep(0.005)
        connection.send(tag + b" OK done\r\n")


@pytest.mark.root
@pytest.mark.parametrize("tls", [Tls.OFF, Tls.IMPLICIT])
def test_a_round_trip_costs_one_read_and_one_write_each_way(
    start_usher, start_scripted, folder, tls
):
    usher = start_usher({"mail1": start_scripted(unhurried)}, workers="1")
    with usher.connect(LISTENER_OF_TLS[tls], tls=tls) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        assert imap.is_alive()
        with Trace(usher.pid("worker"), folder) as trace:
            for _ in range(ROUND_TRIPS):
                assert imap.is_alive()
    assert trace.count(READS) == 2 * ROUND_TRIPS, trace.calls
    assert trace.count(WRITES) == 2 * ROUND_TRIPS, trace.calls
