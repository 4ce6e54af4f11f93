"""After login every byte is the backend's and the client's own: extensions work without usher
knowing them."""

from __future__ import annotations

import threading
import zlib

import pytest
from conftest import LISTENER_OF_TLS, USERS
from peers import scripted
from peers.certs import Tls
from peers.mailgen import generate
from peers.rawimap import RawImap
from peers.usher import Listener

MAIL = next(generate(1, seed=3)).raw


def append(imap: RawImap, octets: bytes) -> None:
    assert imap.command(b"APPEND INBOX {%d+}\r\n%b" % (len(octets), octets)).status == "OK"


@pytest.mark.parametrize("tls", list(Tls))
def test_idle_pushes_new_mail(start_dovecot, start_usher, tls):
    usher = start_usher({"mail1": start_dovecot("mail1")})
    listener = LISTENER_OF_TLS[tls]
    with usher.connect(listener, tls=tls) as waiting, usher.connect(listener, tls=tls) as other:
        for imap in (waiting, other):
            assert imap.login("ann", USERS["ann"]).status == "OK"
        assert waiting.command(b"SELECT INBOX").status == "OK"
        tag = waiting.start(b"IDLE")
        assert waiting.line().startswith(b"+")
        append(other, MAIL)
        assert waiting.line() == b"* 1 EXISTS"
        waiting.send(b"DONE\r\n")
        assert waiting.finish(tag).status == "OK"


@pytest.mark.parametrize("tls", [Tls.OFF, Tls.IMPLICIT])
def test_compress_works_through_usher(start_cyrus, start_usher, tls):
    usher = start_usher({"cyrus": start_cyrus()})
    with usher.connect(LISTENER_OF_TLS[tls], tls=tls) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        append(imap, MAIL)
        assert imap.command(b"COMPRESS DEFLATE").status == "OK"
        deflate = zlib.compressobj(wbits=-15)
        inflate = zlib.decompressobj(wbits=-15)
        commands = b"a SELECT INBOX\r\nb FETCH 1 BODY.PEEK[]\r\n"
        imap.send(deflate.compress(commands) + deflate.flush(zlib.Z_SYNC_FLUSH))
        answer = b""
        while b"\r\nb OK" not in answer:
            answer += inflate.decompress(imap.octets(1))
        assert MAIL in answer


PIECE = 40_009


def test_every_octet_passes_in_both_directions(start_usher, start_scripted):
    octets = bytes(range(256)) * 500

    def echoing(connection):
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        while True:
            connection.send(connection.read())

    usher = start_usher({"mail1": start_scripted(echoing)})
    for tls in Tls:
        with usher.connect(LISTENER_OF_TLS[tls], tls=tls) as imap:
            assert imap.login("ann", USERS["ann"]).status == "OK"
            # More than a TLS record, and than usher reads at a time.
            for at in range(0, len(octets), PIECE):
                piece = octets[at : at + PIECE]
                imap.send(piece)
                assert imap.octets(len(piece)) == piece
            if tls is Tls.OFF:  # Python's TLS sockets do not bear two threads at once
                sender = threading.Thread(target=imap.send, args=(octets,))
                sender.start()
                assert imap.octets(len(octets)) == octets
                sender.join()


def test_single_octets_are_passed_at_once(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")})
    with usher.connect("plain") as imap:
        for octet in b"a LOGIN ann secret-ann\r\nb NOOP\r\n":
            imap.send(bytes([octet]))
        assert imap.finish(b"a").status == "OK"
        assert imap.finish(b"b").status == "OK"


@pytest.mark.parametrize("address, hosts", [("[::1]:0", ["::1"]), ("*:0", ["127.0.0.1", "::1"])])
def test_clients_come_by_ipv6_too(start_dovecot, start_usher, address, hosts):
    server = start_dovecot("mail1")
    usher = start_usher({"mail1": server}, listeners={"imap": Listener(address)})
    for host in hosts:
        with RawImap(host, usher.port("imap")) as imap:
            assert imap.login("ann", USERS["ann"]).status == "OK"
    clients = [event["client"] for event in usher.wait_events("login", len(hosts))]
    assert clients[-1].startswith("[::1]:")
    if len(hosts) == 2:
        assert clients[0].startswith("127.0.0.1:")
