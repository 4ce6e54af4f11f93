"""usher ctl, run as scripts and as people run it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from pwd import struct_passwd

from peers.process import is_root, reachable_copy
from peers.usher import DEFAULT_BINARY, Usher

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))
DONE, FAILED, WRONG, NOBODY = range(4)
TIMEOUT_S = 60


@dataclass
class Answer:
    """What --json printed, and the exit status."""

    status: int
    rows: list[dict] = field(default_factory=list)
    done: dict = field(default_factory=dict)
    error: str = ""
    code: str = ""

    def row(self, **wanted: object) -> dict:
        """The one row that has these values."""
        found = [row for row in self.rows if wanted.items() <= row.items()]
        assert len(found) == 1, (wanted, self.rows)
        return found[0]


def run_ctl(
    *words: object, account: struct_passwd | None = None, groups: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """`usher ctl` with these words; for root also as another account and in more groups."""
    as_whom = {}
    if account and is_root():
        as_whom = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": list(groups)}
    return subprocess.run(
        [reachable_copy(BINARY) if as_whom else BINARY, "ctl", *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        **as_whom,
    )


def ask(where: Usher | Path, *words: object, **as_whom: object) -> Answer:
    """The answer of a running usher, or of who listens at a socket, whatever it is."""
    place = ("-c", where.config) if isinstance(where, Usher) else ("--socket", where)
    ran = run_ctl(*place, "--json", *words, **as_whom)
    if not ran.stdout:
        return Answer(ran.returncode, error=ran.stderr)
    return Answer(ran.returncode, **json.loads(ran.stdout))


def steer(usher: Usher, *words: object) -> Answer:
    """The same, and it must be done."""
    answer = ask(usher, *words)
    assert answer.status == DONE, (words, answer)
    return answer


def page(usher: Usher, *words: object) -> str:
    """What people read who have no terminal; it must be done."""
    ran = run_ctl("-c", usher.config, *words)
    assert ran.returncode == DONE, (words, ran)
    return ran.stdout


def on_terminal(*words: object) -> tuple[int, str]:
    """The exit status and all that a terminal shows."""
    main, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    env.pop("NO_COLOR", None)
    with subprocess.Popen(
        [BINARY, "ctl", *map(str, words)], stdin=terminal, stdout=terminal, stderr=terminal, env=env
    ) as process:
        os.close(terminal)
        shown = bytearray()
        try:
            while octets := os.read(main, 65536):
                shown += octets
        except OSError:
            pass  # the terminal's other end has been closed
        os.close(main)
    return process.returncode, shown.decode()
