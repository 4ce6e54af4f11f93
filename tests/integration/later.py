"""What another process learns or writes a moment later than the one that was heard of it: waited for here."""

from __future__ import annotations

import re
from collections.abc import Callable

from peers.dovecot import Dovecot
from peers.fakebackend import PASSWORD
from peers.process import wait_until
from peers.rawimap import RawImap

PATIENCE_S = 20


def wait_let_in(connect: Callable[[], RawImap], user: str, password: str = PASSWORD) -> None:
    """Waits until one more gets in: a worker logs the end of a session before control has counted it out."""

    def may_log_in() -> bool:
        try:
            with connect() as imap:
                return imap.login(user, password).status == "OK"
        except OSError:
            return False

    wait_until(may_log_in, PATIENCE_S, f"there is room for {user}")


def logged(dovecot: Dovecot, pattern: str, n: int = 1) -> str:
    """The n-th place of Dovecot's log that matches, which may be written a moment after the client
    has heard its answer."""

    def found() -> list[str]:
        return re.findall(pattern, dovecot.log.read_text())[n - 1 :]

    return wait_until(found, PATIENCE_S, f"{pattern} in the log of Dovecot")[0]
