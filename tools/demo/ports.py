"""Who listens on a TCP port of this machine, from /proc."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

LISTEN = "0A"


def who_listens(address: str, port: int) -> str:
    """Words such as "dovecot (process 123)", for a message."""
    inodes = set(listening_inodes(address, port))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inodes & set(socket_inodes(entry)):
            try:
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue
            return f"{name} (process {entry.name})"
    return "another program" if inodes else "a rule that keeps us out"


def listening_inodes(address: str, port: int):
    """The sockets that listen there, on all addresses included."""
    # IPv4 addresses stand there as numbers of the machine's byte order, in hexadecimal.
    own = "%08X" % struct.unpack("=I", socket.inet_aton(address))
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            at, _, number = fields[1].partition(":")
            if fields[3] == LISTEN and int(number, 16) == port:
                if at == own or not at.strip("0"):
                    yield fields[9]


def socket_inodes(process: Path):
    """The sockets that a process has open, as far as we may see."""
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]
