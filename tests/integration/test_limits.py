"""Limits: what is said over each, that the session ends for the stated reason, and who is unharmed."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

import pytest
from later import wait_let_in
from peers.certs import Tls
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import wait_until
from peers.rawimap import Closed
from peers.usher import Listener

TRUSTED = ["127.0.0.0/8"]
PROXIED = {"plain": Listener(proxy=True)}


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


def header(client: str) -> bytes:
    """A PROXY header that says who the client is."""
    family, here = ("TCP6", "2001:db8::1") if ":" in client else ("TCP4", "198.51.100.1")
    return f"PROXY {family} {client} {here} 4711 143\r\n".encode()


def connect_from(usher, client: str, **options):
    return usher.connect("plain", hello=header(client), **options)


def log_in(stack: ExitStack, usher, user: str, client: str):
    imap = stack.enter_context(connect_from(usher, client))
    return imap, imap.login(user, PASSWORD)


# --- before login -------------------------------------------------------------------------------


def test_too_many_bytes_before_login(start_usher, fake):
    usher = start_usher({"fake": fake}, max_login_bytes="2k")
    with usher.connect("plain") as imap:
        for _ in range(3):
            imap.send(b"a NOOP " + b"x" * 600 + b"\r\n")
            assert imap.line() == b"a BAD NOOP takes no arguments"
        imap.send(b"a NOOP " + b"x" * 600 + b"\r\n")
        assert imap.line() == b"a BAD NOOP takes no arguments"
        assert imap.rest() == b"* BYE Too much was sent before the login\r\n"
    usher.wait_event("session_end", reason="login_bytes")


def test_too_many_commands_before_login(start_usher, fake):
    usher = start_usher({"fake": fake}, max_login_commands=7)
    with usher.connect("plain") as imap:
        imap.send(b"a NOOP\r\n" * 20)
        assert imap.rest() == b"a OK Nothing done\r\n" * 7 + (
            b"* BYE Too many bad or needless commands\r\n"
        )
    usher.wait_event("session_end", reason="client_protocol")


@pytest.mark.parametrize("listener", ["imap", "imaps"])
def test_a_handshake_that_does_not_end(start_usher, fake, listener):
    usher = start_usher({"fake": fake}, handshake_timeout="300ms")
    with usher.connect(listener, reads_greeting=False) as imap:
        if listener == "imap":
            imap.line()
            assert imap.command(b"STARTTLS").status == "OK"
        imap.send(b"\x16\x03\x01")
        with pytest.raises(Closed):
            imap.line()
    usher.wait_event("session_end", reason="handshake_timeout")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_client_that_does_not_close_is_closed(start_usher, fake):
    usher = start_usher({"fake": fake}, workers=1, close_timeout="100ms")
    worker = usher.pid("worker")
    before = descriptors(worker)
    with usher.connect("plain") as imap:
        wait_until(lambda: descriptors(worker) > before, 10, "the connection is accepted")
        imap.send(b"a LOGOUT\r\n")
        assert imap.rest().endswith(b"a OK Logged out\r\n")
        wait_until(lambda: descriptors(worker) == before, 10, "the descriptor is given back")


def test_memory_of_sessions_without_a_login(start_usher, fake, stack):
    """Clients that fill their buffers and go no further make room for others, the oldest first."""
    usher = start_usher({"fake": fake}, workers=1, max_login_memory="1M")
    good = stack.enter_context(usher.connect("plain"))
    assert good.login("ann", PASSWORD).status == "OK"
    greedy = []
    for _ in range(300):
        imap = stack.enter_context(usher.connect("plain"))
        imap.send(b"a LOGIN {4000+}\r\n" + b"x" * 3900)
        greedy.append(imap)
    ends = usher.wait_events("session_end", 50, reason="max_login_memory")
    numbers = [int(end["id"].partition(".")[2]) for end in ends]
    assert numbers == sorted(numbers), "the oldest first"
    assert greedy[0].rest() == b"* BYE [UNAVAILABLE] Too many connections, please try again later.\r\n"
    # Who is logged in stays, and so does who came last.
    assert good.command(b"NOOP").status == "OK"
    greedy[-1].send(b"x" * 100 + b" b\r\n")
    assert greedy[-1].line().startswith(b"a NO [AUTHENTICATIONFAILED]")
    with usher.connect("plain") as late:
        assert late.login("bob", PASSWORD).status == "OK"


# --- connections --------------------------------------------------------------------------------


def test_sessions_in_all(start_usher, fake, stack):
    usher = start_usher({"fake": fake}, max_sessions=3)
    three = [stack.enter_context(usher.connect("plain")) for _ in range(3)]
    with usher.connect("plain", reads_greeting=False) as imap:
        assert imap.rest() == b"* BYE [UNAVAILABLE] Too many connections, please try again later.\r\n"
    with usher.connect("imaps", reads_greeting=False) as imap, pytest.raises(Closed):
        imap.line()
    usher.wait_events("session_end", 2, reason="max_sessions")
    three[0].close()
    wait_let_in(lambda: usher.connect("plain"), "ann")


def test_a_tls_client_over_a_limit_wastes_no_handshake(start_usher, fake, stack):
    usher = start_usher({"fake": fake}, max_sessions=1, handshake_timeout="20s")
    stack.enter_context(usher.connect("plain"))
    with pytest.raises(OSError):
        usher.connect("imaps", tls=Tls.IMPLICIT)
    usher.wait_event("session_end", reason="max_sessions")


LIMIT_BYE = b"* BYE [LIMIT] Too many connections from your address; please close some.\r\n"


@pytest.mark.parametrize(
    ("same", "other", "bits"),
    [
        (["192.0.2.1"] * 4, "192.0.2.2", {}),
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::", "2001:db8::9"], "2001:db8:0:1::1", {}),
        (["192.0.2.1", "192.0.2.77", "192.0.2.9", "192.0.2.255"], "192.0.3.1", {"address_bits_v4": 24}),
        (["2001:db8::1"] * 4, "2001:db8::2", {"address_bits_v6": 128}),
    ],
)
def test_sessions_of_one_address(start_usher, fake, stack, same, other, bits):
    usher = start_usher(
        {"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED, max_sessions_per_address=3, **bits
    )
    held = [stack.enter_context(connect_from(usher, client)) for client in same[:3]]
    with connect_from(usher, same[3], reads_greeting=False) as imap:
        assert imap.rest() == LIMIT_BYE
    end = usher.wait_event("session_end", reason="max_sessions_per_address")
    assert same[3] in end["client"]
    with connect_from(usher, other) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    # One goes, one may come.
    held[0].close()
    wait_let_in(lambda: connect_from(usher, same[3]), "ann")


def test_limits_by_address_outlive_control(start_usher, fake, stack):
    usher = start_usher(
        {"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED, max_sessions_per_address=3
    )
    for user in ("ann", "bob"):
        assert log_in(stack, usher, user, "192.0.2.1")[1].status == "OK"
    stack.enter_context(connect_from(usher, "192.0.2.1"))
    os.kill(usher.pid("control"), 9)
    usher.wait_event("control_recovered", sessions=3)
    with connect_from(usher, "192.0.2.1", reads_greeting=False) as imap:
        assert imap.rest() == LIMIT_BYE


def test_sessions_of_one_user(start_usher, fake, stack):
    usher = start_usher(
        {"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED, max_sessions_per_user=2
    )
    first, answer = log_in(stack, usher, "ann", "192.0.2.1")
    assert answer.status == "OK"
    assert log_in(stack, usher, "ann", "192.0.2.2")[1].status == "OK"
    third, answer = log_in(stack, usher, "ann", "192.0.2.3")
    assert (answer.status, answer.code) == ("NO", "LIMIT")
    assert third.rest() == b"* BYE Too many connections\r\n"
    end = usher.wait_event("session_end", reason="max_sessions_per_user")
    assert "max_sessions_per_user" in end["detail"]
    assert log_in(stack, usher, "bob", "192.0.2.3")[1].status == "OK"
    first.close()
    wait_let_in(lambda: connect_from(usher, "192.0.2.3"), "ann")


def test_sessions_of_one_user_from_one_address(start_usher, fake, stack):
    usher = start_usher(
        {"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED, max_sessions_per_user_address=2
    )
    for _ in range(2):
        assert log_in(stack, usher, "ann", "192.0.2.1")[1].status == "OK"
    answer = log_in(stack, usher, "ann", "192.0.2.1")[1]
    assert (answer.status, answer.code) == ("NO", "LIMIT")
    end = usher.wait_event("session_end", reason="max_sessions_per_user")
    assert "max_sessions_per_user_address" in end["detail"]
    assert log_in(stack, usher, "ann", "192.0.2.2")[1].status == "OK"
    assert log_in(stack, usher, "bob", "192.0.2.1")[1].status == "OK"


def test_logins_under_way(start_usher, start_scripted, stack):
    """A backend that does not answer keeps two logins; a third is told to come again."""
    silent = start_scripted(lambda peer: peer.until_closed())
    usher = start_usher({"silent": silent}, max_logins=2, backend_login_timeout="15s")
    for user in (b"ann", b"bob"):
        stack.enter_context(usher.connect("plain")).start(b"LOGIN " + user + b" x")
    wait_until(lambda: silent.connections == 2, 10, "both are on their way")
    with usher.connect("plain") as imap:
        answer = imap.login("carol", PASSWORD)
        assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
    assert "max_logins" in usher.wait_event("login_failed", user="carol")["detail"]


# --- failed logins ------------------------------------------------------------------------------


@pytest.fixture
def guarded(start_usher, fake):
    """Refuses an address after 4 failed logins; its clients say who they are by PROXY."""
    return start_usher(
        {"fake": fake},
        listeners=PROXIED,
        trusted_networks=TRUSTED,
        penalty_exempt=[],
        penalty_refuse_address=4,
        penalty_refuse_user=8,
        penalty_delay="100ms",
        penalty_decay="1h",
        login_tries=100,
    )


def fail(stack: ExitStack, usher, user: str, client: str, times: int):
    for _ in range(times):
        imap = stack.enter_context(connect_from(usher, client))
        answer = imap.login(user, "wrong")
        imap.close()
    return answer


PENALTY = "Too many failed logins; please try again later"


def test_an_address_that_guesses_is_refused(guarded, stack):
    assert fail(stack, guarded, "ann", "192.0.2.1", 4).code != "LIMIT"
    for user in ("ann", "bob", "nobody-of-this-name"):
        imap, answer = log_in(stack, guarded, user, "192.0.2.1")
        assert (answer.status, answer.text.decode()) == ("NO", f"[LIMIT] {PENALTY}")
        assert imap.rest() == b"* BYE Too many failed logins\r\n"
    guarded.wait_events("session_end", 3, reason="penalty")
    assert log_in(stack, guarded, "bob", "192.0.2.2")[1].status == "OK"
    lines = guarded.wait_events("auth_failed", 7, address="192.0.2.1")
    assert all(list(line.fields)[0] == "address" for line in lines)


def test_the_whole_network_of_a_guesser_counts(guarded, stack):
    for number in range(4):
        fail(stack, guarded, f"user{number}", f"2001:db8::{number + 1}", 1)
    assert log_in(stack, guarded, "bob", "2001:db8::ffff")[1].code == "LIMIT"
    assert log_in(stack, guarded, "bob", "2001:db8:0:1::1")[1].status == "OK"


def test_who_has_logged_in_from_there_before_is_never_locked_out(guarded, stack):
    assert log_in(stack, guarded, "ann", "192.0.2.1")[1].status == "OK"
    fail(stack, guarded, "bob", "192.0.2.1", 10)
    fail(stack, guarded, "ann", "192.0.2.1", 10)
    assert log_in(stack, guarded, "bob", "192.0.2.1")[1].code == "LIMIT"
    assert log_in(stack, guarded, "ann", "192.0.2.1")[1].status == "OK"


def test_a_user_who_is_guessed_at_from_everywhere(guarded, stack):
    assert log_in(stack, guarded, "ann", "198.51.100.1")[1].status == "OK"
    for number in range(8):
        fail(stack, guarded, "ann", f"192.0.2.{number}", 1)
    assert log_in(stack, guarded, "ann", "192.0.2.99")[1].code == "LIMIT"
    assert log_in(stack, guarded, "ann", "198.51.100.1")[1].status == "OK"
    assert log_in(stack, guarded, "bob", "192.0.2.99")[1].status == "OK"


def test_penalties_outlive_control(guarded, stack):
    fail(stack, guarded, "ann", "192.0.2.1", 4)
    guarded.wait_events("auth_failed", 4)
    os.kill(guarded.pid("control"), 9)
    guarded.wait_event("control_recovered")
    assert log_in(stack, guarded, "ann", "192.0.2.1")[1].code == "LIMIT"


def test_penalties_fade(start_usher, fake, stack):
    usher = start_usher(
        {"fake": fake},
        listeners=PROXIED,
        trusted_networks=TRUSTED,
        penalty_exempt=[],
        penalty_refuse_address=4,
        penalty_delay="0s",
        penalty_decay="1s",
    )
    fail(stack, usher, "ann", "192.0.2.1", 5)
    end = time.monotonic() + 30
    while log_in(stack, usher, "ann", "192.0.2.1")[1].status != "OK":
        assert time.monotonic() < end


def test_exempt_addresses_pay_nothing(start_usher, fake, stack):
    usher = start_usher({"fake": fake}, penalty_refuse_address=2, penalty_refuse_user=2)
    for _ in range(6):
        with usher.connect("plain") as imap:
            assert imap.login("ann", "wrong").code != "LIMIT"
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    assert not usher.find("auth_failed")


def test_failed_logins_wait_longer_and_longer(start_usher, fake, stack):
    usher = start_usher(
        {"fake": fake},
        listeners=PROXIED,
        trusted_networks=TRUSTED,
        penalty_exempt=[],
        penalty_delay="2s",
        login_tries=100,
    )
    took = []
    for _ in range(7):
        began = time.monotonic()
        fail(stack, usher, "ann", "192.0.2.1", 1)
        took.append(time.monotonic() - began)
    # Never early; how late a busy machine is says nothing.
    assert took[-1] >= 2
    assert took[0] < took[-1]
