"""The part of a service manager: it is told how a service is, and passes it sockets."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# Run by the process that becomes the service: descriptors to 3 and up, and who they are for.
PASS = """
import os, sys
names, fds, program = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
kept = [os.dup2(int(fd), 100 + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(kept):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
if names != "-":
    os.environ["LISTEN_FDNAMES"] = names
os.execvp(program[0], program)
"""


class Manager:
    """Listens as NOTIFY_SOCKET says, at a path in `folder` or an abstract name."""

    def __init__(self, folder: Path, is_abstract: bool = False) -> None:
        self.name = f"@usher-{folder.name}" if is_abstract else str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.name.replace("@", "\0", 1))
        if not is_abstract:
            os.chmod(self.name, 0o666)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def env(self) -> Mapping[str, str]:
        return {"NOTIFY_SOCKET": self.name}

    def next(self, seconds: float = 20) -> dict[str, str]:
        """The next thing that it is told; TimeoutError when it is told nothing."""
        self.socket.settimeout(seconds)
        lines = self.socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def wait(self, key: str, seconds: float = 20) -> dict[str, str]:
        """The next message with this key; what comes before it is passed over."""
        end = time.monotonic() + seconds
        while True:
            told = self.next(max(end - time.monotonic(), 0.01))
            if key in told:
                return told

    def drain(self) -> None:
        """Passes over all that it was told until now."""
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(4096)
        except BlockingIOError:
            pass


def passing(sockets: Sequence[socket.socket], names: str = "-") -> dict[str, Sequence]:
    """What starts a program with these sockets passed, as options of Usher; `names` with colons
    between."""
    fds = [s.fileno() for s in sockets]
    prefix = [sys.executable, "-B", "-c", PASS, names, ",".join(map(str, fds))]
    return {"prefix": prefix, "pass_fds": fds}
