"""Many hostile clients at once, and single ones that hope to be waited for: memory and time are bounded."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

import pytest
from conftest import LISTENERS
from peers.fakebackend import PASSWORD
from peers.hostile import TlsByHand, dribble, end_of, hear_out
from peers.rawimap import RawImap
from peers.usher import Listener
from test_hostile_clients import BYE_MANY, MAX_COMMANDS, NOOP_OK, WRONG, start_beside

SLOW = 1000
# What one may take of its worker: a login in clear; a handshake, nearly all of it OpenSSL's (47 KiB, with
# AddressSanitizer 79).
SLOW_MOST_KIB = 4
SHAKING_MOST_KIB = 96

BYE_BYTES = b"* BYE Too much was sent before the login\r\n"
BYE_LATE = b"* BYE Login took too long.\r\n"
BYE_TRIES = b"* BYE Too many refused logins\r\n"


def come_in_numbers(stack: ExitStack, usher, count: int, listener: str) -> list[RawImap]:
    """Connections of which each has been accepted; those in clear have been greeted."""
    options = {"reads_greeting": listener == "plain", "timeout": 60}
    return [stack.enter_context(usher.connect(listener, **options)) for _ in range(count)]


def test_a_thousand_who_log_in_octet_by_octet(start_usher, stack):
    beside = start_beside(start_usher, stack)
    crowd = come_in_numbers(stack, beside.usher, SLOW, "plain")
    commands = [b"a LOGIN user%03d secret\r" % number for number in range(SLOW)]
    for at in range(len(commands[0])):
        for imap, command in zip(crowd, commands):
            imap.send(command[at : at + 1])
    wait_until_all_read(beside)
    assert beside.grown_kib() < SLOW * SLOW_MOST_KIB
    for imap in crowd:
        imap.send(b"\n")
    assert all(imap.finish(b"a").status == "OK" for imap in crowd)


def wait_until_all_read(beside) -> None:
    """A login that came behind all of it has been served."""
    with beside.usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


def test_a_thousand_in_the_middle_of_a_handshake(start_usher, stack):
    """Twice: what the first have taken serves the second."""
    beside = start_beside(start_usher, stack)
    peaks = []
    for wave in (1, 2):
        with ExitStack() as held:
            crowd = come_in_numbers(held, beside.usher, SLOW, "imaps")
            for imap in crowd:
                imap.send(TlsByHand(imap.socket).hello())
            # The answer has come, so each has all that a handshake under way has.
            assert all(imap.socket.recv(1) for imap in crowd)
            peaks.append(beside.grown_kib())
        beside.usher.wait_events("session_end", wave * SLOW, timeout=30, reason="client_tls")
    assert peaks[0] < SLOW * SHAKING_MOST_KIB
    assert peaks[1] < 1.25 * peaks[0]


@pytest.mark.parametrize("listener", ["plain", "imaps"])
def test_two_thousand_who_come_and_go(start_usher, stack, listener):
    usher = start_beside(start_usher, stack, workers="2").usher
    for number in range(2000):
        imap = usher.connect(listener, reads_greeting=False)
        if number % 2:
            imap.close()
        else:
            imap.reset()
    ends = usher.wait_events("session_end", 2000, timeout=30)
    expected = {"client_closed", "client_reset"} if listener == "plain" else {"client_tls"}
    # Those of the bystanders, too.
    assert {end["reason"] for end in ends} == expected | {"client_closed"}


def test_five_hundred_who_do_nothing_but_noop(start_usher, stack):
    beside = start_beside(start_usher, stack)
    crowd = come_in_numbers(stack, beside.usher, 500, "plain")
    for imap in crowd:
        imap.send(b"b NOOP\r\n" * MAX_COMMANDS)
    for imap in crowd:
        assert hear_out(imap).endswith(b"b OK Nothing done\r\n" + BYE_MANY)
    beside.usher.wait_events("session_end", 500, reason="client_protocol")
    assert beside.grown_kib() < 500 * SLOW_MOST_KIB


# --- Limits of one ---


@pytest.mark.parametrize(
    "piece",
    [
        b"b NOOP\r\n",
        b"a LOGIN ann {4000+}\r\n" + b"x" * 4000 + b" too many\r\n",
        b"a LOGIN ann {99999}\r\n",
        b"a AUTHENTICATE PLAIN\r\n" + b"AAAA" * 1000 + b"\r\n",
    ],
    ids=["commands", "literals", "refused literals", "SASL"],
)
def test_max_login_bytes(start_usher, stack, piece):
    most = 16 << 10
    beside = start_beside(start_usher, stack, max_login_bytes="16k", max_login_commands="10000")
    with beside.usher.connect("plain") as imap:
        count = most // len(piece)
        imap.send(piece * count)
        # So many are taken, and each is answered.
        for _ in range(count):
            while imap.line().startswith(b"+"):
                pass
        imap.send(piece)
        heard = hear_out(imap)
        assert heard.endswith(b"\r\n" + BYE_BYTES)
    assert end_of(beside.usher, imap)["reason"] == "login_bytes"
    assert beside.grown_kib() < 2048


def test_max_login_bytes_outlive_starttls(start_usher, stack):
    usher = start_beside(start_usher, stack, max_login_bytes="1k", max_login_commands="10000").usher
    noop = b"b NOOP\r\n"
    before = len(noop) * 100 + len(b"a STARTTLS\r\n")
    after = (1024 - before) // len(noop) + 1
    with usher.connect("imap") as imap:
        imap.send(noop * 100)
        assert imap.octets(len(NOOP_OK) * 100) == NOOP_OK * 100
        imap.send(b"a STARTTLS\r\n")
        assert imap.finish(b"a").status == "OK"
        imap.start_tls_now()
        imap.send(noop * after)
        assert hear_out(imap) == NOOP_OK * after + BYE_BYTES
    assert end_of(usher, imap)["reason"] == "login_bytes"


def test_every_way_of_logging_in_counts_as_a_try(start_usher, stack):
    usher = start_beside(start_usher, stack, login_tries="4").usher
    with usher.connect("plain") as imap:
        imap.send(
            b"a LOGIN ann guess\r\n"
            b"a AUTHENTICATE PLAIN AGFubgBndWVzcw==\r\n"
            b"a AUTHENTICATE LOGIN YW5u\r\nZ3Vlc3M=\r\n"
            b'a LOGIN "" guess\r\n'
            b"a LOGIN ann secret\r\n"
        )
        empty = b"a NO [AUTHENTICATIONFAILED] The user name is empty\r\n"
        asked = b"+ UGFzc3dvcmQ6\r\n"
        assert hear_out(imap) == 2 * WRONG + asked + WRONG + empty + BYE_TRIES
    assert end_of(usher, imap)["reason"] == "login_tries"


def say_nothing(imap: RawImap) -> bytes:
    return hear_out(imap)


def dribble_on(imap: RawImap) -> bytes:
    return dribble(imap, b"x", 10)


def start_dribbling_tls(imap: RawImap) -> bytes:
    hello = TlsByHand(imap.socket).hello()
    imap.send(hello[:6])
    return dribble(imap, hello[6:7], 10)


@pytest.mark.parametrize(
    "listener, behave, reason, told",
    [
        ("plain", say_nothing, "login_timeout", BYE_LATE),
        ("plain", dribble_on, "login_timeout", BYE_LATE),
        ("imaps", say_nothing, "handshake_timeout", b""),
        ("imaps", start_dribbling_tls, "handshake_timeout", b""),
        ("imap", say_nothing, "login_timeout", BYE_LATE),
        ("proxied", say_nothing, "client_proxy", b""),
        ("proxied", dribble_on, "client_proxy", b""),
    ],
)
def test_nobody_is_waited_for(start_usher, stack, listener, behave, reason, told):
    """Nor is the time longer for those who send something now and then."""
    usher = start_beside(
        start_usher,
        stack,
        login_timeout="1s",
        handshake_timeout="400ms",
        proxy_timeout="400ms",
        trusted_networks=["127.0.0.0/8"],
        listeners={**LISTENERS, "proxied": Listener(proxy=True)},
    ).usher
    hello = b"PROXY TCP4 192." if listener == "proxied" else b""
    with usher.connect(listener, reads_greeting=False, hello=hello) as imap:
        if listener in ("plain", "imap"):
            assert imap.line().startswith(b"* OK")
        begun = time.monotonic()
        assert behave(imap) == told
        assert time.monotonic() - begun < 8
    assert end_of(usher, imap)["reason"] == reason


def test_a_handshake_after_starttls_is_not_waited_for(start_usher, stack):
    usher = start_beside(start_usher, stack, handshake_timeout="300ms").usher
    with usher.connect("imap") as imap:
        assert imap.command(b"STARTTLS").status == "OK"
        assert imap.rest() == b""
    assert end_of(usher, imap)["reason"] == "handshake_timeout"


def test_a_client_that_never_reads_before_login(start_usher, stack):
    """What lies ready for it is bounded by its commands, and it goes with login_timeout."""
    beside = start_beside(start_usher, stack, login_timeout="4s", close_timeout="200ms")
    tag = b"t" * 128
    crowd = [
        stack.enter_context(beside.usher.connect("plain", receive_buffer=2304)) for _ in range(100)
    ]
    for imap in crowd:
        imap.send((tag + b" CAPABILITY\r\n") * (MAX_COMMANDS - 1))
    beside.usher.wait_events("session_end", len(crowd), reason="login_timeout")
    # 99 answers of 300 octets to each, and no more.
    assert beside.grown_kib() < 100 * 40


# --- What those without a login may take together ---

# The fields of an ID; and a handshake, as measured above.
TOLD_KIB = 8
SHAKING_KIB = 47


def tell_much_of_oneself(imap: RawImap) -> None:
    fields = b" ".join(b'"k%02d" "%s"' % (number, b"v" * 380) for number in range(18))
    imap.send(b"b ID (" + fields + b' "last" {1024+}\r\n' + b"v" * 1024 + b")\r\n")
    assert imap.finish(b"b").status == "OK"
    # By now only the ID itself lies there.
    assert imap.command(b"NOOP").status == "OK"


def begin_a_handshake(imap: RawImap) -> None:
    # It may have been sent away already.
    with suppress(OSError):
        imap.send(TlsByHand(imap.socket).hello())
        imap.socket.recv(1)


@pytest.mark.parametrize(
    "listener, hold, each_kib, most_mib",
    [("plain", tell_much_of_oneself, TOLD_KIB, 2), ("imaps", begin_a_handshake, SHAKING_KIB, 16)],
    ids=["ID", "handshake"],
)
def test_max_login_memory_counts_what_they_hold(
    start_usher, stack, listener, hold, each_kib, most_mib
):
    """Not more stay than there is room for; those that have waited longest go."""
    beside = start_beside(start_usher, stack, max_login_memory=f"{most_mib}M")
    for imap in come_in_numbers(stack, beside.usher, SLOW, listener):
        hold(imap)
    have_room = most_mib * 1024 // each_kib
    beside.usher.wait_events("session_end", SLOW - have_room, reason="max_login_memory")
