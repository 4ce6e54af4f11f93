"""What the demonstration prints: how to log in, and then a line for whoever comes and goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from peers.dovecot import Dovecot
from peers.usher import Event, Usher

BOLD, DIM, RED, GREEN, YELLOW, BLUE = "1", "2", "31", "32", "33", "34"

REASONS = {
    "client_closed": "left",
    "client_reset": "broke off",
    "backend_closed": "left",
    "idle_timeout": "was idle for too long",
    "stopping": "was seen out",
}
# Not news: told at the start, or of no interest to somebody who watches users.
QUIET = {"listening", "ready", "process_started", "stopping", "stopped", "placed", "debug"}


def duration(milliseconds: str) -> str:
    seconds = int(milliseconds) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


def amount(count: str) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def clock(event: Event) -> str:
    """The time of day, here, of an event in UTC."""
    return datetime.fromisoformat(event.time).astimezone().strftime("%H:%M:%S")


class Screen:
    """Writes to a stream, with colour if it is a terminal."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.has_colour = out.isatty()
        self.tellers: dict[str, Callable[[Event], None]] = {
            "login": self.login,
            "login_refused": self.login_refused,
            "login_failed": self.login_failed,
            "backend_failed": self.backend_failed,
            "session_end": self.session_end,
        }

    def paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.has_colour else text

    def say(self, text: str = "") -> None:
        print(text, file=self.out, flush=True)

    def introduce(
        self,
        servers: Sequence[Dovecot],
        homes: Mapping[str, str],
        password: str,
        ports: tuple[int, int],
        authority: Path,
    ) -> None:
        imap, imaps = ports
        user = next(iter(homes))
        at = "localhost" if imaps == 993 else f"localhost:{imaps}"
        known = " and ".join(f"{server.name} ({server.endpoint})" for server in servers)
        self.say()
        self.say(f"{self.paint(BOLD, 'Usher')} stands in front of two mail servers: {known}.")
        users = self.paint(BOLD, " ".join(homes))
        self.say(f"Users: {users}, each with the password {self.paint(BOLD, password)}")
        self.say()
        self.way("curl", f"curl --cacert '{authority}' --user {user}:{password} "
                 f"'imaps://{at}/INBOX;MAILINDEX=*'")  # fmt: skip
        self.way("mutt", f"mutt -e 'set ssl_ca_certificates_file=\"{authority}\" "
                 f"folder=imaps://{user}:{password}@{at}' -f =INBOX")  # fmt: skip
        self.way("any", f"server localhost, port {imaps} with SSL/TLS or {imap} with STARTTLS, user {user};")
        self.way("", "let it accept the certificate, which was made for this demonstration")
        self.say()
        self.say("Below is told who comes and goes. Ctrl-C ends it all.")
        self.say()

    def way(self, name: str, text: str) -> None:
        """A way to log in."""
        self.say(f"  {self.paint(BLUE, f'{name:<6}')}{text}")

    def follow(self, usher: Usher, ending: threading.Event) -> None:
        """Tells each event of the log from now on, until `ending` is set or usher ends."""
        told = usher.mark()
        while not ending.is_set() and not usher.has_ended():
            for event in usher.events_after(told):
                told += 1
                self.tell(event)

    def tell(self, event: Event) -> None:
        if teller := self.tellers.get(event.name):
            teller(event)
        elif event.name not in QUIET:
            fields = " ".join(f"{key}={value!a}" for key, value in event.fields.items())
            self.line(event, "", YELLOW, f"{event.name} {fields}")

    def line(self, event: Event, user: str, colour: str, what: str, more: str = "") -> None:
        who = f"{printable(user):<8}"
        text = f"{self.paint(DIM, clock(event))}  {self.paint(BOLD, who)} {self.paint(colour, what)}"
        self.say(text + (f"  {self.paint(DIM, more)}" if more else ""))

    def login(self, event: Event) -> None:
        tls = event.get("tls", "no TLS").partition("/")[0]
        more = f"{event['listener']}, {tls}, {event['mech']}, from {event['client']}"
        self.line(event, event["user"], GREEN, f"{'came':<8} → {event['backend']:<8}", more)

    def login_refused(self, event: Event) -> None:
        what = f"{'refused':<8} ← {event['backend']:<8}"
        self.line(event, event["user"], RED, what, printable(event.get("code") or event.get("text")))

    def login_failed(self, event: Event) -> None:
        what = f"{'no login':<8}   {event.get('backend'):<8}"
        self.line(event, event["user"], RED, what, printable(event.get("detail")))

    def backend_failed(self, event: Event) -> None:
        what = f"{'trouble':<8} ← {event['backend']:<8}"
        more = f"{event['stage']}: {event.get('detail')}"
        self.line(event, event.get("user"), YELLOW, what, printable(more))

    def session_end(self, event: Event) -> None:
        if not event.get("backend"):
            return  # never logged in
        what = f"{REASONS.get(event['reason'], event['reason']):<8} ← {event['backend']:<8}"
        more = f"after {duration(event['duration_ms'])}, {amount(event['in'])} in, {amount(event['out'])} out"
        self.line(event, event["user"], BLUE, what, more)


def printable(text: str) -> str:
    """What peers chose themselves, so that it can do nothing to a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
