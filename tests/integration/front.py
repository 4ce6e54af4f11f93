"""An usher before one backend that keeps to no rule, and others beside it who must not notice."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from peers.hostile import Bystanders
from peers.process import wait_until
from peers.rawimap import Answer
from peers.scripted import Script, ScriptedServer
from peers.usher import Event, Usher

USER, PASSWORD = "ann", "secret-ann"
# From the connection to the answer to the login.
BACKEND_LOGIN_TIMEOUT_S = 2
# What a worker may grow by while a backend does its worst.
GROWTH_MOST_KIB = 8 << 10


class Front:
    """`usher` has the pool `main` with the backend `mail1`, which is `server`, behind the listener
    "plain", and another pool with a good backend behind the listener "good"."""

    def __init__(self, usher: Usher, server: ScriptedServer) -> None:
        self.usher = usher
        self.server = server

    @contextmanager
    def watched(self) -> Iterator[Bystanders]:
        """Sees to it that users of the good backend are served as ever meanwhile, that the worker
        does not grow, and that no password gets into the log. Stops usher."""
        with Bystanders(self.usher, password=PASSWORD, listener="good") as others:
            yield others
            assert others.grown_kib() < GROWTH_MOST_KIB
            wait_until(lambda: not self.server.open_connections(), 10, "the backend is let go")
        token = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
        assert not [line for line in self.usher.lines if PASSWORD in line or token in line]

    def log_in(self) -> Answer:
        with self.usher.connect("plain") as imap:
            return imap.login(USER, PASSWORD)

    def assert_unavailable(self, stage: str, words: str = "") -> None:
        """The client hears UNAVAILABLE and nothing of the backend's, never that its password were
        wrong; it may go on; the log tells why. `stage` is a pattern, `words` stand in
        the detail."""
        with self.watched():
            self._check_unavailable(stage, words)

    def assert_each_unavailable(self, rows: Mapping[str, tuple[Script, str, str]]) -> None:
        """The same for script after script, each with its stage and words, before one usher."""
        with self.watched():
            for name, (script, stage, words) in rows.items():
                self.server.script = script
                try:
                    self._check_unavailable(stage, words)
                except Exception as error:
                    error.add_note(f"in row {name!r}")
                    raise

    def _check_unavailable(self, stage: str, words: str) -> None:
        mark = self.usher.mark()
        with self.usher.connect("plain") as imap:
            answer = imap.login(USER, PASSWORD)
            assert (answer.status, answer.code, answer.untagged) == ("NO", "UNAVAILABLE", [])
            assert imap.command(b"NOOP").untagged == []
        failed = self.usher.wait_event("backend_failed", after=mark)
        assert failed["backend"] == "mail1"
        assert re.fullmatch(stage, failed["stage"]), failed
        assert words in failed["detail"], failed
        assert self.usher.wait_event("login_failed", after=mark)["user"] == USER
        assert not self.usher.find("login_refused", after=mark)

    def failure(self) -> Event:
        return self.usher.wait_event("backend_failed")
