"""What hostile clients do to the port with implicit TLS: all of it ends as client_tls, nothing is said
in clear, and nobody else notices."""

from __future__ import annotations

import random

import pytest
from peers.certs import Tls
from peers.fakebackend import PASSWORD
from peers.hostile import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    DECODE_ERROR,
    HANDSHAKE,
    HANDSHAKE_FAILURE,
    PROTOCOL_VERSION,
    RECORD_MOST,
    RECORD_OVERFLOW,
    UNEXPECTED_MESSAGE,
    TlsByHand,
    client_hello,
    end_of,
    fatal_alert,
    hear_out,
    pour,
    record,
    records,
    send_in_clear,
    ssl2_hello,
    throw,
    with_tail,
)
from test_hostile_clients import start_beside

NO_TLS = "does not look like TLS"
ENDED = "the peer closed the connection during the TLS handshake"
# The longest ClientHello that OpenSSL takes, and a body that its head may announce beyond that.
HELLO_MOST = 131_396
PADDING_MOST = 65_000


@pytest.fixture
def beside(start_usher, stack):
    return start_beside(start_usher, stack)


def is_silent_but_for_an_alert(octets: bytes) -> bool:
    return octets == b"" or (octets[0] == ALERT and len(octets) <= 7)


def attack(usher, sent: bytes) -> tuple[bytes, str]:
    """What a client that sends this and no more is told, and how the log says it."""
    with usher.connect("imaps", reads_greeting=False) as imap:
        throw(imap, sent)
        told = hear_out(imap)
    end = end_of(usher, imap)
    assert end["reason"] == "client_tls", sent[:100]
    return told, end["detail"]


def serves_tls(usher) -> bool:
    with usher.connect("imaps", tls=Tls.IMPLICIT) as imap:
        return imap.login("ann", PASSWORD).status == "OK"


@pytest.mark.parametrize(
    "sent",
    [
        b"a NOOP\r\n",
        b"a LOGIN ann secret\r\n",
        b"GET / HTTP/1.1\r\nHost: mail\r\n\r\n",
        b"CONNECT mail:993 HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"EHLO mail.example.org\r\n",
        b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 993\r\n",
        b"\0" * 1000,
    ],
    ids=["NOOP", "LOGIN", "GET", "CONNECT", "SSH", "EHLO", "PROXY", "zeros"],
)
def test_what_is_no_tls_is_sent_away(beside, sent):
    told, detail = attack(beside.usher, sent)
    assert is_silent_but_for_an_alert(told)
    assert NO_TLS in detail


def test_noise(beside):
    for seed in range(20):
        told, _ = attack(beside.usher, random.Random(seed).randbytes(20_000))
        assert is_silent_but_for_an_alert(told), seed
    assert beside.grown_kib() < 2048


@pytest.mark.parametrize(
    "version, alert, words",
    [
        (0x0300, HANDSHAKE_FAILURE, "version too low"),
        (0x0301, PROTOCOL_VERSION, "unsupported protocol"),
        (0x0302, PROTOCOL_VERSION, "unsupported protocol"),
    ],
    ids=["SSL 3", "TLS 1.0", "TLS 1.1"],
)
def test_old_versions_are_refused_by_an_alert(beside, version, alert, words):
    told, detail = attack(beside.usher, records(client_hello(version)))
    assert fatal_alert(told) == alert
    assert words in detail


def test_a_hello_of_ssl_2_is_refused(beside):
    told, detail = attack(beside.usher, ssl2_hello())
    assert is_silent_but_for_an_alert(told)
    assert detail


@pytest.mark.parametrize(
    "sent, alert",
    [
        # 16 KiB are the most that a record may hold.
        (b"\x16\x03\x01\xff\xff" + bytes(70_000), RECORD_OVERFLOW),
        (b"\x16\x03\x01\x48\x01" + bytes(20_000), RECORD_OVERFLOW),
        (record(b""), None),
        (record(b"") * 1000, UNEXPECTED_MESSAGE),
        (record(b"hello", APPLICATION_DATA), UNEXPECTED_MESSAGE),
        (record(b"\1", CHANGE_CIPHER_SPEC) * 1000, UNEXPECTED_MESSAGE),
        (record(b"\1\0", ALERT) * 1000, None),
        (record(b"\1\x5a", ALERT) * 1000, None),
        (record(b"\2\x28", ALERT), None),
        (record(b"\1\xff\xff\xff" + bytes(10_000)), None),
        (record(b"\1" + (HELLO_MOST + 1).to_bytes(3, "big")) + records(bytes(HELLO_MOST)), None),
        (record(b"\2\0\0\4\0\0\0\0"), UNEXPECTED_MESSAGE),
        (records(with_tail(client_hello(), b"\xff\xff\xff")), DECODE_ERROR),
    ],
    ids=[
        "record of 64 KiB",
        "record of 18 KiB",
        "empty record",
        "empty records",
        "data first",
        "change cipher spec",
        "close alerts",
        "warning alerts",
        "fatal alert",
        "hello of 16 MiB",
        "hello too long by one",
        "server's hello",
        "bytes behind the hello",
    ],
)
def test_records_that_cannot_be(beside, sent, alert):
    told, _ = attack(beside.usher, sent)
    assert is_silent_but_for_an_alert(told)
    assert alert is None or fatal_alert(told) == alert
    assert beside.grown_kib() < 2048


def test_handshakes_cut_at_every_place(beside):
    hello = records(client_hello())
    for length in range(0, len(hello), 5):
        told, detail = attack(beside.usher, hello[:length])
        assert told == b"", length
        assert ENDED in detail, length
    # The whole hello is answered, and then there is silence.
    told, detail = attack(beside.usher, hello)
    assert told[0] == HANDSHAKE
    assert ENDED in detail


def test_a_hello_as_large_as_it_gets_is_answered(beside):
    hello = client_hello(padding=PADDING_MOST)
    for size in (RECORD_MOST, 1000):
        told, _ = attack(beside.usher, records(hello, size))
        assert told[0] == HANDSHAKE
    assert beside.grown_kib() < 2048


def test_a_handshake_in_records_of_one_octet_is_served(beside):
    def shredded(octets: bytes) -> bytes:
        """The first record in pieces; what comes behind it is sealed as it is."""
        if octets[0] != HANDSHAKE:
            return octets
        length = int.from_bytes(octets[3:5], "big")
        return records(octets[5 : 5 + length], 1) + octets[5 + length :]

    with beside.usher.connect("imaps", reads_greeting=False) as imap:
        imap.socket = TlsByHand(imap.socket, shredded)
        imap.socket.handshake()
        assert imap.line().startswith(b"* OK")
        assert imap.login("ann", PASSWORD).status == "OK"
    assert end_of(beside.usher, imap)["reason"] == "client_closed"


@pytest.mark.parametrize("is_logged_in", [False, True])
def test_text_in_clear_inside_tls_ends_the_session(beside, is_logged_in):
    with beside.usher.connect("imaps", tls=Tls.IMPLICIT, reads_greeting=False) as imap:
        assert imap.line().startswith(b"* OK")
        if is_logged_in:
            assert imap.login("ann", PASSWORD).status == "OK"
        send_in_clear(imap, b"b NOOP\r\n")
        with pytest.raises(OSError):
            imap.line()
    assert end_of(beside.usher, imap)["reason"] == "client_tls"


@pytest.mark.parametrize("kind", [ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, APPLICATION_DATA])
def test_records_without_end_are_cut_off(beside, kind):
    """Behind a good hello, where a server waits for the client's second message."""
    body = {ALERT: b"\1\x5a", CHANGE_CIPHER_SPEC: b"\1"}.get(kind, b"")
    with beside.usher.connect("imaps", reads_greeting=False) as imap:
        imap.send(TlsByHand(imap.socket).hello())
        assert imap.socket.recv(65536)[0] == HANDSHAKE
        sent = pour(imap, record(body, kind, 0x0303) * 1000)
        hear_out(imap)
    assert sent < 16 << 20
    assert end_of(beside.usher, imap)["reason"] == "client_tls"
    assert beside.grown_kib() < 2048
    assert serves_tls(beside.usher)
