"""`usher route` and `usher login`, run as scripts and as people run them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pwd import struct_passwd

from peers.process import is_root, reachable_copy
from peers.usher import DEFAULT_BINARY, SANITIZER

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))
SERVED, REFUSED, USAGE, FAILED = range(4)
TIMEOUT_S = 60

# What would change how the programs show themselves.
SHOWING = ("NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM")


def plain_env() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in SHOWING}


def run(
    command: str,
    *words: object,
    given: str = "",
    account: struct_passwd | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`usher route` or `usher login` with these words, and `given` for standard input."""
    as_whom = {}
    if account and is_root():
        as_whom = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    done = subprocess.run(
        [reachable_copy(BINARY) if as_whom else BINARY, command, *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        input=given,
        timeout=TIMEOUT_S,
        env={**plain_env(), **(env or {})},
        check=False,
        **as_whom,
    )
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


@dataclass
class Answer:
    """What --json printed, and the exit status."""

    status: int
    rows: list[dict] = field(default_factory=list)
    done: dict = field(default_factory=dict)
    error: str = ""
    code: str = ""

    def steps(self) -> list[str]:
        return [row["step"] for row in self.rows]

    def step(self, name: str) -> dict:
        (found,) = (row for row in self.rows if row["step"] == name)
        return found


def tell(command: str, *words: object, **options) -> Answer:
    """What it tells in JSON; options are run()'s."""
    done = run(command, "--json", *words, **options)
    return Answer(done.returncode, **json.loads(done.stdout))


def page(command: str, *words: object, status: int = SERVED, **options) -> str:
    """What people read who have no terminal."""
    done = run(command, *words, **options)
    assert (done.returncode, done.stderr) == (status, ""), done
    return done.stdout


class Terminal:
    """A command on a terminal of its own, as its session's leader."""

    def __init__(self, *words: object) -> None:
        self.main, other = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            [BINARY, *map(str, words)],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**plain_env(), "TERM": "xterm", "COLUMNS": "100"},
            start_new_session=True,
            # The leader's first terminal becomes its own: Ctrl-C reaches it.
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )
        os.close(other)

    def read_until(self, is_there: Callable[[str], bool]) -> str:
        """All that is shown, once it holds what is waited for, or the end."""
        while not is_there(self.shown):
            try:
                octets = os.read(self.main, 65536)
            except OSError:  # the other end has been closed
                break
            if not octets:
                break
            self.shown += octets.decode()
        return self.shown

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def end(self) -> int:
        self.read_until(lambda shown: False)
        return self.process.wait(TIMEOUT_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        os.close(self.main)


@contextmanager
def on_terminal(*words: object):
    terminal = Terminal(*words)
    try:
        yield terminal
    finally:
        terminal.close()


def directory(title: str, **settings: object) -> str:
    """A section of the configuration; a list becomes a list."""

    def value(given: object) -> str:
        return "{" + ", ".join(map(quoted, given)) + "}" if isinstance(given, list) else quoted(given)

    lines = "".join(f"    {key} = {value(given)}\n" for key, given in settings.items())
    return f"directory {title} {{\n{lines}}}\n"


def quoted(text: object) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
