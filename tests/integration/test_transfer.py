"""Large and one-sided transfers: nothing is lost, nothing piles up in usher."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest
from conftest import LISTENER_OF_TLS, USERS
from peers import scripted
from peers.certs import Tls
from peers.mailgen import big_message
from peers.process import rss_kib, wait_until

BIG = 50 << 20
# What may lie in the kernel's socket buffers and in usher on the way to a client that does not
# read; memory that usher's worker may grow by meanwhile.
UNDERWAY_MOST = 24 << 20
GROWTH_MOST_KIB = 8 << 10

HUGE = 200 << 20
HUGE_GROWTH_MOST_KIB = 16 << 10
PIECE = 1 << 20


def frugal_sanitizer() -> dict[str, str]:
    """Environment in which AddressSanitizer does not keep what was freed, which would look like growth."""
    return {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}


@pytest.mark.parametrize("tls", list(Tls))
def test_fifty_mebibytes_there_and_back(start_dovecot, start_usher, tls):
    usher = start_usher({"mail1": start_dovecot("mail1")})
    message = big_message(BIG)
    with usher.connect(LISTENER_OF_TLS[tls], tls=tls, timeout=60) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        tag = imap.start(b"APPEND INBOX {%d}" % len(message))
        assert imap.line().startswith(b"+")
        imap.send(message)
        imap.send(b"\r\n")
        assert imap.finish(tag).status == "OK"
        assert imap.command(b"SELECT INBOX").status == "OK"
        fetched = imap.command(b"FETCH 1 BODY.PEEK[]").untagged[0]
        head, _, rest = fetched.partition(b"\r\n")
        assert head.endswith(b"{%d}" % len(message))
        assert digest(rest[: len(message)]) == digest(message)
        assert imap.is_alive()
    end = usher.wait_event("session_end")
    assert int(end["in"]) > BIG
    assert int(end["out"]) > BIG


@pytest.mark.long
@pytest.mark.parametrize("tls", list(Tls))
def test_two_hundred_mebibytes_pass_without_growth(start_dovecot, start_usher, tls):
    usher = start_usher({"mail1": start_dovecot("mail1")}, workers="1", env=frugal_sanitizer())
    worker = usher.pid("worker")
    message = big_message(HUGE)
    with usher.connect(LISTENER_OF_TLS[tls], tls=tls, timeout=60) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        memory = [rss_kib(worker)]
        tag = imap.start(b"APPEND INBOX {%d}" % HUGE)
        assert imap.line().startswith(b"+")
        for start in range(0, HUGE, PIECE):
            imap.send(message[start : start + PIECE])
            memory.append(rss_kib(worker))
        imap.send(b"\r\n")
        assert imap.finish(tag).status == "OK"
        assert imap.command(b"SELECT INBOX").status == "OK"
        tag = imap.start(b"FETCH 1 BODY.PEEK[]")
        assert imap.line().endswith(b"{%d}" % HUGE)
        fetched = hashlib.sha256()
        for _ in range(0, HUGE, PIECE):
            fetched.update(imap.octets(PIECE))
            memory.append(rss_kib(worker))
        assert imap.line() == b")"
        assert imap.finish(tag).status == "OK"
        assert fetched.hexdigest() == digest(message)
        assert imap.is_alive()
    assert max(memory) - memory[0] < HUGE_GROWTH_MOST_KIB


def digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


class Flood:
    """A backend that after login sends as much as is taken off it, and counts."""

    def __init__(self) -> None:
        self.sent = 0
        self.is_told_to_end = False

    def __call__(self, connection: scripted.Connection) -> None:
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        piece = b"* OK flood " + b"x" * 65_500 + b"\r\n"
        while not self.is_told_to_end:
            connection.send(piece)
            self.sent += len(piece)
        connection.send(b"* OK over\r\n")


@pytest.mark.parametrize("tls", [Tls.OFF, Tls.IMPLICIT])
def test_a_client_that_stops_reading_stops_its_backend_not_usher(start_usher, start_scripted, tls):
    flood = Flood()
    usher = start_usher(
        {"mail1": start_scripted(flood)}, workers="1", env=frugal_sanitizer()
    )
    worker = usher.pid("worker")
    with usher.connect(
        LISTENER_OF_TLS[tls], tls=tls, timeout=60, receive_buffer=65536
    ) as imap, usher.connect("plain") as other:
        before = rss_kib(worker)
        assert imap.login("ann", USERS["ann"]).status == "OK"
        wait_until_still(lambda: flood.sent)
        assert 0 < flood.sent < UNDERWAY_MOST
        assert rss_kib(worker) - before < GROWTH_MOST_KIB
        # The same worker serves others meanwhile.
        assert other.command(b"NOOP").status == "OK"
        stuck_at = flood.sent
        while flood.sent < stuck_at + BIG:
            imap.line()
        assert rss_kib(worker) - before < GROWTH_MOST_KIB
        flood.is_told_to_end = True
        assert imap.rest().endswith(b"\r\n* OK over\r\n")
        assert int(usher.wait_event("session_end", user="ann")["out"]) >= flood.sent


def wait_until_still(count) -> None:
    """Returns when `count` has not changed for half a second."""
    last, since = -1, time.monotonic()

    def is_still() -> bool:
        nonlocal last, since
        if (now := count()) != last:
            last, since = now, time.monotonic()
        return now > 0 and time.monotonic() - since > 0.5

    wait_until(is_still, 20, "the flow stops")


def test_a_backend_that_stops_reading_stops_its_client(start_usher, start_scripted):
    may_read = threading.Event()
    total = 0

    def late_reader(connection):
        nonlocal total
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        assert may_read.wait(60)
        while True:
            total += len(connection.read())

    usher = start_usher({"mail1": start_scripted(late_reader)}, workers="1")
    worker = usher.pid("worker")
    sent = 0
    with usher.connect("plain", timeout=60) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        before = rss_kib(worker)
        piece = b"a NOOP " + b"x" * 65_000 + b"\r\n"
        imap.socket.settimeout(1)
        try:
            while sent < 4 * BIG:
                sent += imap.socket.send(piece)
        except TimeoutError:
            pass
        assert sent < UNDERWAY_MOST
        assert rss_kib(worker) - before < GROWTH_MOST_KIB
        may_read.set()
        wait_until(lambda: total == sent, 20, "all that was sent arrives")


def test_half_close_by_the_client_still_gets_all_answers(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")})
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        imap.send(b"".join(b"h%d NOOP\r\n" % number for number in range(500)) + b"end LOGOUT\r\n")
        imap.end_writing()
        assert imap.finish(b"h499").status == "OK"
        assert imap.finish(b"end").status == "OK"
        assert imap.rest() == b""


def test_half_close_waits_for_a_backend_that_still_sends(start_usher, start_scripted):
    def slow_answer(connection):
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        tag, _, _ = connection.command()
        with pytest.raises(scripted.PeerClosed):
            connection.read()
        for number in range(20):
            connection.send(b"* %d EXISTS\r\n" % number)
            time.sleep(0.05)
        connection.send(tag + b" OK at last\r\n")

    usher = start_usher({"mail1": start_scripted(slow_answer)})
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        tag = imap.start(b"NOOP")
        imap.end_writing()
        answer = imap.finish(tag)
        assert answer.text == b"at last"
        assert len(answer.untagged) == 20
    assert usher.wait_event("session_end")["reason"] in ("client_closed", "backend_closed")


def test_half_close_does_not_last_for_ever(start_usher, start_scripted):
    ignorant = Ignorant()
    usher = start_usher({"mail1": start_scripted(ignorant)}, half_close_timeout="1s")
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        imap.end_writing()
        imap.rest()
    assert usher.wait_event("session_end")["reason"] == "half_close_timeout"
    ignorant.may_end.set()


class Ignorant:
    """A backend that does not care that its client has finished."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def __call__(self, connection: scripted.Connection) -> None:
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        try:
            connection.until_closed()
        except scripted.PeerClosed:
            self.may_end.wait(20)
