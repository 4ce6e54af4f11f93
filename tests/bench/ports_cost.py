#!/usr/bin/python3
"""What a look at a crowded machine costs: usher ports, lsof and ss, in one run.

    tests/bench/ports_cost.py [--processes 2000] [--sockets 1000] [--rounds 7] [--command WORD ...]

Starts sleeping processes and listening sockets on loopback, then runs each tool in turns and
compares the CPU time, user and system, that the kernel charges to it; medians of the rounds. Ends
with 1 when usher misses a socket, or costs more than it should beside the others (LSOF_MOST,
SS_MOST).

Nearly all of it is the kernel's time, for opening, listing and reading the links of every process's
descriptors: the only way to whom a socket belongs that Linux has. Tools differ in what else they
ask, so there is no way to a small part of what lsof takes when a socket is there. A port where
nobody listens needs no such walk: `--command build/usher ports 1`, whose sockets are all missed,
shows that.

Needs, beside what the tests need: Debian's lsof. usher is build/usher (tools/build.sh release), or
what USHER_BIN names; --command takes another program with its arguments instead.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FIRST_PORT = 20000
ADDRESS = "127.88.20.1"
# A server seldom has so many, and a process that sleeps seldom fewer.
SOCKETS_EACH = 100
LSOF_MOST, SS_MOST = 0.75, 1.2


class Crowd:
    """Children that sleep until they are ended. Each is known by its pid and waited for."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self.pids:
            os.waitpid(pid, 0)

    def add(self, sockets: list[socket.socket]) -> None:
        """A process that has these sockets; they are closed here."""
        pid = os.fork()
        if pid == 0:
            # Whatever goes wrong here, the parent's part of the program is not for this process.
            try:
                if not sockets:
                    os.closerange(3, 1 << 16)
                signal.pause()
            finally:
                os._exit(1)
        self.pids.append(pid)
        for each in sockets:
            each.close()


def listening(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((ADDRESS, port))
    sock.listen(16)
    return sock


def fill(crowd: Crowd, processes: int, sockets: int) -> None:
    """Servers first, so that no sleeping process inherits a socket."""
    for first in range(0, sockets, SOCKETS_EACH):
        last = min(first + SOCKETS_EACH, sockets)
        crowd.add([listening(FIRST_PORT + i) for i in range(first, last)])
    while len(crowd.pids) < processes:
        crowd.add([])


def cost(command: list[str]) -> tuple[float, str]:
    """CPU milliseconds of a run, and what it printed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"ports_cost.py: {command[0]} ended with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000, out


def missing(out: str, sockets: int) -> int:
    """How many of the sockets a tool does not show."""
    return sum(1 for i in range(sockets) if str(FIRST_PORT + i) not in out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2000)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if not shutil.which("lsof"):
        sys.exit("ports_cost.py: there is no lsof; it is Debian's package of that name")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    program = os.environ.get("USHER_BIN", str(TOP / "build/usher"))
    usher = [program, "ports", f"{FIRST_PORT}-{FIRST_PORT + args.sockets - 1}"]
    tools = {
        "usher": args.command or usher,
        "ss": ["ss", "-lntp"],
        "lsof": ["lsof", "-nP", "-i"],
    }
    took: dict[str, list[float]] = {name: [] for name in tools}
    missed: dict[str, int] = {}
    with ExitStack() as stack:
        fill(stack.enter_context(Crowd()), args.processes, args.sockets)
        for _ in range(args.rounds):
            for name, command in tools.items():
                milliseconds, out = cost(command)
                took[name].append(milliseconds)
                missed[name] = missing(out, args.sockets)
    middle = {name: statistics.median(values) for name, values in took.items()}
    print(f"{args.sockets} listening sockets, {args.processes} processes, {args.rounds} rounds; CPU milliseconds")
    print(f"{'':6} {'median':>8} {'least':>8} {'most':>8} {'missed':>7}")
    for name, values in took.items():
        print(f"{name:6} {middle[name]:8.1f} {min(values):8.1f} {max(values):8.1f} {missed[name]:7}")
    to_lsof, to_ss = middle["usher"] / middle["lsof"], middle["usher"] / middle["ss"]
    print(f"usher / lsof {to_lsof:.3f} (at most {LSOF_MOST}), usher / ss {to_ss:.3f} (at most {SS_MOST})")
    if to_lsof > LSOF_MOST or to_ss > SS_MOST or missed["usher"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
