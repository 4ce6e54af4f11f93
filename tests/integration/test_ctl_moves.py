"""Moves of users: afterwards they are where they were moved to, and never were on two backends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import USERS
from ctl import BINARY, DONE, FAILED, ask, run_ctl, steer
from peers.dovecot import Dovecot
from peers.fakebackend import PASSWORD
from peers.mailbox import fill_maildir
from peers.mailgen import big_message, generate
from peers.process import BACKEND_PORT, wait_until
from peers.rawimap import RawImap
from peers.usher import Listener, Usher, open_state
from watched import Watched

NAMES = ("mail1", "mail2", "mail3")
LISTENERS = {"imap": Listener()}
BIG = 8 << 20


def home(usher: Usher, user: str) -> str:
    return steer(usher, "route", user).done["chosen"]


def other_than(name: str) -> str:
    return next(other for other in NAMES if other != name)


def log_in(usher: Usher, user: str, password: str = PASSWORD, **options) -> RawImap:
    imap = usher.connect(**options)
    answer = imap.login(user, password)
    assert answer.status == "OK", answer
    assert imap.is_alive()
    return imap


# --- one user, real servers -----------------------------------------------------------------------


@pytest.fixture
def shared(start_dovecot, start_usher, folder) -> Callable[..., tuple[Usher, dict[str, Dovecot]]]:
    """Three Dovecots on one mail store, in which ann has mail, and usher before them."""

    def start(**settings) -> tuple[Usher, dict[str, Dovecot]]:
        servers = {
            name: start_dovecot(name, mail=folder / "mail", clients_per_process=5) for name in NAMES
        }
        first = servers["mail1"]
        fill_maildir(first.maildir("ann"), generate(5))
        first.adopt("ann")
        return start_usher(servers, storage="shared", listeners=LISTENERS, **settings), servers

    return start


LOGGED = re.compile(
    r"(\w{3} \d\d \d\d:\d\d:\d\d) (?:imap-login: Info: (Login): user=<(\w+)>.*"
    r"|imap\((\w+)\)<\d+>.*(Disconnected|Logged out|Connection closed))"
)


def spans(log: Path, user: str) -> list[tuple[datetime, datetime]]:
    """From when to when sessions of a user were there, by the server's own log, to the second. The
    first that ends is taken for the first that began: only the whole time matters."""
    began, ended = [], []
    for line in log.read_text().splitlines():
        found = LOGGED.match(line)
        if found and user in (found[3], found[4]):
            at = datetime.strptime(f"2024 {found[1]}", "%Y %b %d %H:%M:%S")
            (began if found[2] else ended).append(at)
    return list(zip(began, ended + [datetime.max] * (len(began) - len(ended))))


def assert_no_overlap(servers: dict[str, Dovecot], user: str) -> None:
    """By the logs of all servers, which have seconds."""
    all_spans = [(name, *span) for name, s in servers.items() for span in spans(s.log, user)]
    for one, began, ended in all_spans:
        for other, other_began, other_ended in all_spans:
            if one != other:
                late = timedelta(seconds=1)
                assert ended <= other_began + late or other_ended <= began + late, all_spans


@pytest.mark.parametrize("stalls", [True, False], ids=["stalling", "reading"])
def test_three_clients_of_a_user_are_moved(shared, stalls):
    """One idles, one is in the middle of a large message, one does nothing."""
    usher, servers = shared(kick_grace="5s" if stalls else "30s")
    password = USERS["ann"]
    message = big_message(BIG)
    with (
        log_in(usher, "ann", password) as idle,
        log_in(usher, "ann", password, receive_buffer=65536) as fetching,
        log_in(usher, "ann", password) as quiet,
        usher.connect() as early,
    ):
        assert idle.command(b"APPEND INBOX {%d+}\r\n" % len(message) + message).status == "OK"
        assert idle.command(b"SELECT INBOX").status == "OK"
        idle.start(b"IDLE")
        assert idle.line().startswith(b"+")
        assert fetching.command(b"SELECT INBOX").status == "OK"
        fetching.start(b"FETCH 6 BODY.PEEK[]")
        assert b"FETCH" in fetching.line()

        at = home(usher, "ann")
        to = other_than(at)
        steer(usher, "move", "ann", to)
        move = steer(usher, "moves").row(user="ann")
        assert (move["from"], move["to"]) == (at, to)
        # Who comes now waits.
        tag = early.start(f'LOGIN "ann" "{password}"'.encode())
        assert b"* BYE" in idle.rest()
        assert quiet.rest().startswith(b"* BYE")
        if stalls:
            # It is not waited for longer than kick_grace, and no byte of ours is in it.
            usher.wait_event("moved", user="ann")
            rest = fetching.rest()
            assert len(rest) < len(message)
            assert message.startswith(rest)
        else:
            assert not usher.find("moved")
            assert steer(usher, "route", "ann").done["moving"] is True
            rest = fetching.rest()
            assert rest.startswith(message)
            assert rest.count(b"\r\n* BYE") == 1
        assert early.finish(tag).status == "OK"
        assert early.command(b"SELECT INBOX").status == "OK"
        with log_in(usher, "ann", password), log_in(usher, "ann", password):
            rows = steer(usher, "sessions", "--user", "ann", "--backend", to).rows
            assert len(rows) == len(steer(usher, "sessions", "--user", "ann").rows) == 3
    moved = usher.wait_event("moved", user="ann")
    assert (moved["from"], moved["to"]) == (at, to)
    ends = usher.find("session_end", user="ann", backend=at)
    assert {event["reason"] for event in ends} == {"moved"}
    usher.stop()

    def are_over() -> bool:
        return all(ended != datetime.max for s in servers.values() for _, ended in spans(s.log, "ann"))

    wait_until(are_over, 20, "the servers log the ends")
    assert (len(spans(servers[at].log, "ann")), len(spans(servers[to].log, "ann"))) == (3, 3)
    assert_no_overlap(servers, "ann")


def test_a_move_is_waited_for(shared):
    usher, _ = shared()
    with log_in(usher, "ann", USERS["ann"]) as imap:
        to = other_than(home(usher, "ann"))
        ran = run_ctl("-c", usher.config, "move", "ann", to, "--wait")
        assert (ran.returncode, ran.stdout.splitlines()[-1]) == (DONE, "It is over.")
        assert not steer(usher, "moves").rows
        assert imap.rest().startswith(b"* BYE")
    assert home(usher, "ann") == to
    # Back to the hash: the pin that the move has left, and what is remembered, are taken away.
    steer(usher, "unpin", "ann")
    steer(usher, "flush", "ann")
    assert home(usher, "ann") != to


def test_who_waits_for_a_move_is_told_that_it_could_not_be_written(shared, folder):
    usher, _ = shared()
    with log_in(usher, "ann", USERS["ann"]) as imap:
        at = home(usher, "ann")
        with closing(sqlite3.connect(folder / "state/usher.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            ran = run_ctl("-c", usher.config, "move", "ann", other_than(at), "--wait")
            other.rollback()
        assert (ran.returncode, "It is over." in ran.stdout) == (FAILED, False)
        assert "given up" in ran.stderr
        assert imap.rest().startswith(b"* BYE")
    assert home(usher, "ann") == at


def test_with_own_storage_a_move_changes_the_placement(start_dovecot, start_usher, folder):
    servers = {name: start_dovecot(name) for name in NAMES}
    usher = start_usher(servers, listeners=LISTENERS)
    with log_in(usher, "ann", USERS["ann"]) as imap:
        to = other_than(home(usher, "ann"))
        steer(usher, "move", "--wait", "ann", to)
        assert imap.rest().startswith(b"* BYE")
    with log_in(usher, "ann", USERS["ann"]):
        assert steer(usher, "users").row(user="ann")["backend"] == to
    assert not steer(usher, "pins").rows
    usher.stop()
    with open_state(folder / "state") as state:
        assert state.execute("SELECT user, backend FROM placement").fetchall() == [("ann", to)]
    usher = start_usher(servers, listeners=LISTENERS)
    assert home(usher, "ann") == to


# --- many users, under load -----------------------------------------------------------------------


class Reader:
    """A mail program of one user: logs in, works, and comes again when it is sent away."""

    def __init__(self, user: str, port: int, told: Counter[str]) -> None:
        self.user = user
        self.port = port
        self.told = told

    async def run(self) -> None:
        while True:
            try:
                await self.session()
            except (OSError, asyncio.IncompleteReadError):
                self.told["closed"] += 1
            await asyncio.sleep(0.01)

    async def session(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await reader.readuntil(b"\r\n")
            answer = await self.ask(reader, writer, f'a LOGIN "{self.user}" "{PASSWORD}"')
            self.told[answer] += 1
            while answer == "OK":
                answer = await self.ask(reader, writer, "a NOOP")
                await asyncio.sleep(0.2)
        finally:
            writer.transport.abort()

    async def ask(self, reader, writer, command: str) -> str:
        writer.write(f"{command}\r\n".encode())
        while True:
            line = (await reader.readuntil(b"\r\n")).decode()
            if line.startswith("a "):
                words = line.split(" ")
                return words[1] if words[1] == "OK" else words[2]
            if line.startswith("* BYE"):
                return "BYE"


class Load:
    """Readers for many users in a thread of their own; `told` counts what they were told."""

    def __init__(self, users: list[str], port: int) -> None:
        self.told: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._readers = [Reader(user, port, self.told) for user in users]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._tasks = [self._loop.create_task(reader.run()) for reader in self._readers]
        self._loop.run_forever()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture
def watched(stack) -> Watched:
    return stack.enter_context(Watched(NAMES))


def test_the_watch_sees_who_is_on_two_backends(watched):
    with ExitStack() as clients:
        for name in ("mail1", "mail1", "mail2"):
            client = RawImap(watched.backends[name].address, BACKEND_PORT)
            clients.enter_context(client)
            assert client.login("ann", PASSWORD).status == "OK"
    assert watched.overlaps == [("ann", "mail1", "mail2")] * 2


def is_all_in(usher: Usher, n: int) -> bool:
    return sum(row["sessions"] for row in steer(usher, "backends").rows) >= n


@pytest.mark.parametrize("storage", ["own", "shared"])
@pytest.mark.parametrize(
    ("n", "rate"), [(200, 100), pytest.param(1000, 200, marks=pytest.mark.long)]
)
def test_all_users_of_a_backend_are_moved_at_a_rate(storage, n, rate, watched, start_usher):
    usher = start_usher(
        watched.backends, storage=storage, listeners=LISTENERS, penalty_delay="0s"
    )
    users = [f"user{number}" for number in range(n)]
    with Load(users, usher.port()) as load:
        wait_until(lambda: is_all_in(usher, n), 60, "everybody is in")
        there = {row["user"] for row in steer(usher, "users", "--backend", "mail1").rows}
        assert len(there) > n // 6
        steer(usher, "backend", "drain", "mail1")
        moved = steer(usher, "move", "--from", "mail1", "--to", "mail2", "--rate", rate, "--wait")
        assert moved.done["users"] == len(there)
        assert not steer(usher, "users", "--backend", "mail1").rows
        wait_until(lambda: is_all_in(usher, n), 60, "everybody is in again")
        assert not steer(usher, "sessions", "--backend", "mail1").rows
        homes = {row["user"]: row["backend"] for row in steer(usher, "users").rows}
    assert {homes[user] for user in there} == {"mail2"}
    assert not watched.overlaps
    assert set(load.told) <= {"OK", "BYE", "closed"}, load.told
    times = [event.time for event in usher.find("move_begun")]
    assert len(times) == len(there)
    took = datetime.fromisoformat(max(times)) - datetime.fromisoformat(min(times))
    # A pace, and no burst: the first second may have a little more than its part.
    assert took.total_seconds() > (len(there) - 1.2 * rate) / rate


def test_nobody_is_on_two_backends_when_control_dies_in_the_middle_of_moves(watched, start_usher):
    usher = start_usher(
        watched.backends, storage="shared", listeners=LISTENERS, penalty_delay="0s"
    )
    users = [f"user{number}" for number in range(120)]
    with Load(users, usher.port()) as load:
        wait_until(lambda: is_all_in(usher, len(users)), 60, "everybody is in")
        for epoch in range(2, 5):
            mark = usher.mark()
            source, to = ("mail1", "mail2") if epoch % 2 == 0 else ("mail2", "mail1")
            steer(usher, "move", "--from", source, "--to", to, "--rate", "40")
            usher.wait_events("move_begun", 5, after=mark)
            os.kill(usher.pid("control"), signal.SIGKILL)
            usher.wait_event("control_recovered", epoch=epoch)
            status = steer(usher, "status").done
            assert (status["epoch"], status["moves"]) == (epoch, 0)
        wait_until(lambda: is_all_in(usher, len(users)), 60, "everybody is in again")
        for user in users:
            assert len(watched.homes(user)) <= 1
        moved = steer(usher, "move", "--from", "mail1", "--to", "mail3", "--rate", "500", "--wait")
        assert moved.status == DONE
        assert not steer(usher, "users", "--backend", "mail1").rows
    assert not watched.overlaps
    assert set(load.told) <= {"OK", "BYE", "closed"}, load.told


def test_who_waits_for_moves_is_told_that_control_has_died(watched, start_usher):
    usher = start_usher(watched.backends, storage="shared", listeners=LISTENERS)
    with log_in(usher, "ann"):
        at = home(usher, "ann")
        # Workers that stand still end no session, so control dies in the middle.
        for pid in usher.worker_pids():
            os.kill(pid, signal.SIGSTOP)
        argv = [BINARY, "ctl", "-c", usher.config, "move", "ann", other_than(at), "--wait"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
            assert b"begun" in asking.stdout.readline()
            os.kill(usher.pid("control"), signal.SIGKILL)
            for pid in usher.worker_pids():
                os.kill(pid, signal.SIGCONT)
            _, told = asking.communicate(timeout=60)
    assert asking.returncode == FAILED
    assert b"given up" in told


def test_many_are_kicked_at_a_rate(watched, start_usher):
    usher = start_usher(watched.backends, storage="shared", listeners=LISTENERS)
    users = [f"user{number}" for number in range(60)]
    clients = [log_in(usher, user) for user in users]
    there = {row["user"] for row in steer(usher, "users", "--backend", "mail2").rows}
    assert steer(usher, "kick", "--backend", "mail2", "--rate", "50").done["users"] == len(there)
    usher.wait_events("session_end", len(there), reason="kicked")
    for user, client in zip(users, clients):
        assert client.is_alive() == (user not in there)
        client.close()


def test_a_move_to_a_backend_that_is_down_is_refused(watched, start_usher):
    usher = start_usher(watched.backends, storage="shared", listeners=LISTENERS)
    with log_in(usher, "ann") as imap:
        to = other_than(home(usher, "ann"))
        steer(usher, "backend", "down", to)
        assert ask(usher, "move", "ann", to).status == FAILED
        assert imap.is_alive()
