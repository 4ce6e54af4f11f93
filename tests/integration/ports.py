"""`usher ports`, run as users run it, and sockets for it to find."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from pwd import struct_passwd

from peers.process import can_bind, free_address, is_root, reachable_copy
from peers.usher import DEFAULT_BINARY, SANITIZER

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))

FOUND, NONE, USAGE, FAILED = 0, 1, 2, 3

# What would change how the program shows itself.
SHOWING = ("NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM")

# Where tests may have a port that is nobody else's: above the rights, below what goes out.
QUIET = range(11000, 32000)


def usher_ports(
    *words: str | Path,
    account: struct_passwd | None = None,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Runs it, as `account` if we are root and one is given; `prefix` is a program that starts it."""
    wrapper: list[str] = []
    if account and is_root() and account.pw_uid != 0:
        wrapper += ["setpriv", "--reuid", str(account.pw_uid), "--regid", str(account.pw_gid)]
        wrapper += ["--clear-groups", "--"]
    plain = {key: value for key, value in os.environ.items() if key not in SHOWING}
    done = subprocess.run(
        [*wrapper, *prefix, reachable_copy(BINARY) if wrapper else BINARY, "ports", *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={**plain, **(env or {})},
        timeout=seconds,
        check=False,
    )
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


def tell(*words: str | Path, status: int = FOUND, **options) -> dict:
    """What it tells in JSON; options are usher_ports()'."""
    done = usher_ports("--json", *words, **options)
    assert (done.returncode, done.stderr) == (status, ""), done.stdout[-2000:]
    return json.loads(done.stdout)


def tell_port(word: str, *words: str, status: int = FOUND, **options) -> dict:
    """The same of the one port that is asked for."""
    (port,) = tell(word, *words, status=status, **options)["ports"]
    return port


def show(*words: str | Path, status: int = FOUND, **options) -> str:
    """What it shows to people."""
    done = usher_ports(*words, **options)
    assert (done.returncode, done.stderr) == (status, "")
    return done.stdout


def listeners_at(port: Mapping, address: str) -> list[dict]:
    return [one for one in port["listeners"] if one["address"] == address]


def processes_of(listeners: Sequence[Mapping]) -> list[dict]:
    return [process for one in listeners for process in one["processes"]]


def quiet_port(count: int = 1) -> int:
    """The first of some ports on which no address has anything."""
    draw = random.SystemRandom()
    while True:
        first = draw.choice(QUIET)
        if all(can_bind("0.0.0.0", first + i) for i in range(count)):
            return first


def quiet_place() -> tuple[str, int]:
    """An address and a port that are both nobody else's."""
    port = quiet_port()
    return free_address(port), port


def listening(
    address: str, port: int = 0, *, backlog: int = 16, shares: bool = False, v6only: bool = True
) -> socket.socket:
    """A TCP socket that listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shares:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    listener.bind((address, port))
    listener.listen(backlog)
    return listener


def place_of(bound: socket.socket) -> str:
    """As a word for the command line."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
