#!/usr/bin/python3
"""Shows usher at work: two Dovecots with mail, usher in front of them, and who comes and goes.

    run.py --usher BINARY [--folder FOLDER] [--servers ADDRESS ADDRESS]

All of it lives in build/demo and on loopback, and ends with Ctrl-C.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from threading import Event

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))

from peers.certs import Authority, Certificate, Tls  # noqa: E402
from peers.dovecot import Dovecot  # noqa: E402
from peers.mailbox import fill_maildir  # noqa: E402
from peers.mailgen import Mail, generate  # noqa: E402
from peers.process import (  # noqa: E402
    BACKEND_PORT,
    can_bind,
    is_reachable,
    is_root,
    private_dir,
    remove_dir,
)
from peers.usher import Backend, Listener, Usher, configuration, open_state  # noqa: E402
from ports import who_listens  # noqa: E402
from show import Screen  # noqa: E402

SERVERS = ("mail1", "mail2")
HOMES = {"ann": "mail1", "bob": "mail2", "carol": "mail1", "dave": "mail2"}
PASSWORD = "secret"
MAILS_EACH = 30
FRONT = "127.0.0.1"
# IMAP with STARTTLS, and with TLS from the start: 143 and 993, or 1143 and 1993, or ...
PORTS = [(143 + above, 993 + above) for above in range(0, 10_000, 1000)]
ANY_PORTS = (0, 0)

WELCOME = """\
Hello {user},

you see this mail through usher. You logged in at its port, it asked your
mail server, {backend}, whether your password is right, and since then it
has passed on every byte between the two of you.

ann and carol live on mail1, bob and dave on mail2. Log in as another of
them, and look at the terminal where the demonstration runs.
"""


class CannotStart(Exception):
    """Why there can be no demonstration, in words for the user."""


def make_folder(folder: Path) -> None:
    """A folder of ours alone; what another account left there is of no use to us."""
    if folder.exists() and folder.stat().st_uid != os.geteuid():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise CannotStart(f"{folder} belongs to another user; remove it first.") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"{folder} cannot be made: {error.strerror}.") from error


def take_lock(folder: Path, stack: ExitStack) -> None:
    lock = stack.enter_context(open(folder / "lock", "a+"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise CannotStart(f"a demonstration runs already (process {lock.read()}).") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def check_server_ports(addresses: Mapping[str, str]) -> None:
    for name, address in addresses.items():
        if not can_bind(address, BACKEND_PORT):
            who = who_listens(address, BACKEND_PORT)
            raise CannotStart(f"{address}:{BACKEND_PORT}, where {name} is to be, is taken by {who}.")


def tls_files(folder: Path) -> tuple[Path, Certificate]:
    """The authority's certificate and the server's; made once, since mail programs remember."""
    made = Certificate(folder / "localhost.crt", folder / "localhost.key")
    fresh_s = 20 * 24 * 3600
    if made.key.exists() and time.time() - made.key.stat().st_mtime < fresh_s:
        return folder / "ca.crt", made
    remove_dir(folder)
    authority = Authority(folder)
    return authority.certificate, authority.issue("localhost", "localhost", FRONT)


def welcome(user: str, backend: str) -> Mail:
    now = datetime.now(timezone.utc)
    message = EmailMessage(policy=SMTP)
    message["From"] = "Usher <usher@example.org>"
    message["To"] = f"{user}@example.org"
    message["Date"] = now
    message["Message-ID"] = f"<welcome.{user}@example.org>"
    message["Subject"] = f"Welcome to {backend}, {user}"
    message.set_content(WELCOME.format(user=user, backend=backend), cte="7bit")
    return Mail(message.as_bytes(), frozenset({"\\Flagged"}), frozenset(), now)


def kept(mail: Mail) -> Mail:
    """Not marked as deleted: a mail program would ask its user what to do about it."""
    return replace(mail, flags=mail.flags - {"\\Deleted"})


def start_server(name: str, address: str, folder: Path) -> Dovecot:
    """A Dovecot that knows all users, with mail for those who live there."""
    users = dict.fromkeys(HOMES, PASSWORD)
    server = Dovecot(folder / name, name=name, address=address, users=users)
    for seed, (user, home) in enumerate(HOMES.items()):
        if home == name and not server.maildir(user).exists():
            mails = [kept(mail) for mail in generate(MAILS_EACH, seed=seed, to=user)]
            fill_maildir(server.maildir(user), [*mails, welcome(user, name)])
            server.adopt(user)
    return server


def usher_configuration(
    folder: Path, servers: list[Dovecot], ports: tuple[int, int], certificate: Certificate
) -> str:
    return configuration(
        folder / "state",
        {"main": {server.name: Backend(server.endpoint) for server in servers}},
        listeners={
            "imap": Listener(f"{FRONT}:{ports[0]}", Tls.STARTTLS, auth_allow_cleartext=False),
            "imaps": Listener(f"{FRONT}:{ports[1]}", Tls.IMPLICIT, auth_allow_cleartext=False),
        },
        certificate=certificate,
    )


def place_users(folder: Path, binary: Path, config: str) -> None:
    """Tells usher's state who lives where, as if each had logged in before."""
    if not (folder / "state/usher.db").exists():
        # Usher itself makes the file.
        Usher(folder, config, binary=binary).stop()
    with open_state(folder / "state") as state:
        state.executemany(
            "INSERT OR REPLACE INTO placement (pool, user, backend, since) VALUES (?, ?, ?, ?)",
            [("main", user, home, int(time.time())) for user, home in HOMES.items()],
        )


def start_usher(
    folder: Path, binary: Path, servers: list[Dovecot], certificate: Certificate
) -> tuple[Usher, tuple[int, int]]:
    """On the first pair of ports that is free."""

    def is_free(pair: tuple[int, int]) -> bool:
        return all(can_bind(FRONT, port) for port in pair)

    place_users(folder, binary, usher_configuration(folder, servers, ANY_PORTS, certificate))
    for pair in filter(is_free, PORTS):
        config = usher_configuration(folder, servers, pair, certificate)
        try:
            return Usher(folder, config, binary=binary), pair
        except TimeoutError:
            if is_free(pair):
                raise  # it was not for somebody else being faster
    port = PORTS[1][0]
    raise CannotStart(f"no port is free for usher; {port} is taken by {who_listens(FRONT, port)}.")


def end_usher(usher: Usher) -> None:
    if usher.has_ended():
        usher.kill()  # what it may have left behind
    else:
        usher.stop()


def serve(
    binary: Path, folder: Path, addresses: Mapping[str, str], screen: Screen, ending: Event
) -> None:
    """Starts everything, shows what happens until `ending` is set or usher ends by itself, and
    stops everything."""
    with ExitStack() as stack:
        make_folder(folder)
        take_lock(folder, stack)
        check_server_ports(addresses)
        place = folder
        if is_root() and not is_reachable(folder):
            # The accounts that the servers change to could not come here.
            place = private_dir("demo")
            stack.callback(remove_dir, place)
        authority, certificate = tls_files(folder / "tls")
        servers: list[Dovecot] = []
        for name, address in addresses.items():
            servers.append(stack.enter_context(start_server(name, address, place)))
            if ending.is_set():
                return
        usher, ports = start_usher(place, binary, servers, certificate)
        stack.callback(end_usher, usher)
        screen.introduce(servers, HOMES, PASSWORD, ports, authority)
        screen.follow(usher, ending)
        screen.say("\nStopping ...")


def end_on_signals() -> Event:
    """An event that is set by the signals that ask to end.

    They raise nothing, since there is no good moment to be interrupted while a server is started.
    """
    ending = Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ending.set())
    return ending


def main() -> int:
    parser = argparse.ArgumentParser(description="Shows usher at work between two mail servers.")
    parser.add_argument("--usher", type=Path, required=True, help="the program to show")
    parser.add_argument("--folder", type=Path, default=TOP / "build/demo", help="where it all lives")
    parser.add_argument("--servers", nargs=2, metavar="ADDRESS", default=("127.0.0.2", "127.0.0.3"),
                        help=f"where the mail servers listen, on port {BACKEND_PORT}")  # fmt: skip
    arguments = parser.parse_args()
    binary = arguments.usher.resolve()
    screen = Screen(sys.stdout)
    ending = end_on_signals()
    try:
        if not os.access(binary, os.X_OK):
            raise CannotStart(f"{binary} is missing; `make` builds it.")
        addresses = dict(zip(SERVERS, arguments.servers))
        serve(binary, arguments.folder.resolve(), addresses, screen, ending)
    except (CannotStart, RuntimeError, TimeoutError) as error:
        print(f"The demonstration cannot go on: {error}", file=sys.stderr)
        return 1
    if not ending.is_set():
        screen.say("Usher has ended by itself, which it should not.")
        return 1
    screen.say("Everything has been stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
