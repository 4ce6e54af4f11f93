"""Who the client is: PROXY headers from proxies before usher and to backends behind it."""

from __future__ import annotations

import subprocess

import pytest
from conftest import USERS
from later import logged
from peers.certs import Tls
from peers.fakebackend import PASSWORD, FakeBackend
from peers.rawimap import Closed
from peers.usher import Backend, Listener

CLIENT = "127.0.0.77"
TRUSTED = ["127.0.0.0/8", "::1"]
PROXIED = {
    "plain": Listener(proxy=True),
    "imaps": Listener(tls=Tls.IMPLICIT, proxy=True),
    "imap": Listener(tls=Tls.STARTTLS, auth_allow_cleartext=False, proxy=True),
}


def v1(source="192.0.2.9", port=4711) -> bytes:
    return f"PROXY TCP4 {source} 198.51.100.1 {port} 993\r\n".encode()


def v2(tls: bool) -> bytes:
    """From 192.0.2.9:4711; with or without the news that the client speaks TLS."""
    ssl = b"\x20\x00\x05\x01\x00\x00\x00\x00" if tls else b""
    body = bytes([192, 0, 2, 9, 198, 51, 100, 1]) + (4711).to_bytes(2) + (993).to_bytes(2) + ssl
    return b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + len(body).to_bytes(2) + body


def remote_of(dovecot, user: str, n: int = 1) -> str:
    """The address of the client, as Dovecot logged it at the user's n-th login."""
    return logged(dovecot, rf"Login: user=<{user}>.*?rip=([0-9a-f.:]+),", n)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("tls", [Tls.OFF, Tls.STARTTLS, Tls.IMPLICIT])
def test_dovecot_learns_the_client_by_our_header(
    version, tls, start_dovecot, start_usher, authority
):
    certificate = authority.issue(f"back-{version}", "mail1.test")
    dovecot = start_dovecot("mail1", haproxy=True, tls=tls, certificate=certificate)
    backend = Backend(
        dovecot.endpoint,
        tls=tls,
        tls_ca=authority.certificate if tls is not Tls.OFF else None,
        tls_name="mail1.test" if tls is not Tls.OFF else "",
        proxy=version,
    )
    usher = start_usher({"mail1": backend})
    with usher.connect("plain", source=CLIENT) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        assert imap.command(b"SELECT INBOX").status == "OK"
    assert remote_of(dovecot, "ann") == CLIENT


def test_the_clients_tls_is_told_in_version_2(start_dovecot, start_usher):
    dovecot = start_dovecot("mail1", haproxy=True, tls_first=True)
    usher = start_usher({"mail1": Backend(dovecot.endpoint, proxy="v2")})
    with usher.connect("imaps", tls=Tls.IMPLICIT, source=CLIENT) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert logged(dovecot, r"Login: user=<ann>.*secured")


@pytest.mark.parametrize("header", [v1(), v2(False)], ids=["v1", "v2"])
def test_the_header_of_a_trusted_proxy_names_the_client(header, start_dovecot, start_usher):
    dovecot = start_dovecot("mail1", haproxy=True)
    usher = start_usher(
        {"mail1": Backend(dovecot.endpoint, proxy="v2")},
        listeners=PROXIED,
        trusted_networks=TRUSTED,
    )
    with usher.connect("plain", hello=header) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert usher.wait_event("login")["client"] == "192.0.2.9:4711"
    assert usher.wait_event("session_end")["client"] == "192.0.2.9:4711"
    assert remote_of(dovecot, "ann") == "192.0.2.9"


def test_tls_and_commands_may_lie_right_behind_the_header(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED)
    with usher.connect("imaps", tls=Tls.IMPLICIT, hello=v1()) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    with usher.connect("plain", hello=v2(False) + b"a NOOP\r\n") as imap:
        assert imap.line().startswith(b"a OK")
        assert imap.login("ann", PASSWORD).status == "OK"


def test_a_header_in_pieces_is_put_together(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED)
    for header in (v1(), v2(True)):
        with usher.connect("plain", reads_greeting=False) as imap:
            for octet in header:
                imap.send(bytes([octet]))
            assert imap.line().startswith(b"* OK")
            assert imap.login("ann", PASSWORD).status == "OK"


def test_the_proxys_tls_counts_as_ours(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED)
    with usher.connect("imap", hello=v2(False)) as imap:
        assert b"LOGINDISABLED" in imap.greeting
        assert imap.login("ann", PASSWORD).code == "PRIVACYREQUIRED"
    with usher.connect("imap", hello=v2(True)) as imap:
        assert b"STARTTLS" not in imap.greeting
        assert imap.login("ann", PASSWORD).status == "OK"


@pytest.mark.parametrize(
    "sent, words",
    [
        (b"a LOGIN ann secret\r\n", "without"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00", "TLS"),
        (b"PROXY TCP4 192.0.2.9 198.51.100.1 99999 993\r\n", "port"),
        (v2(False)[:12] + b"\x31\x11\x00\x0c", "version"),
    ],
    ids=["command", "tls", "broken v1", "broken v2"],
)
def test_a_missing_or_broken_header_closes_the_connection(sent, words, start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED)
    with usher.connect("plain", reads_greeting=False) as imap:
        imap.send(sent)
        with pytest.raises(ConnectionError):
            imap.line()
    end = usher.wait_event("session_end", reason="client_proxy")
    assert end["detail"]


def test_a_late_header_is_not_waited_for(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher(
        {"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED, proxy_timeout="200ms"
    )
    with usher.connect("plain", reads_greeting=False) as imap:
        imap.send(v1()[:-1])
        with pytest.raises(ConnectionError):
            imap.line()
    assert "proxy_timeout" in usher.wait_event("session_end", reason="client_proxy")["detail"]


def test_a_header_from_elsewhere_is_not_believed(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, listeners=PROXIED, trusted_networks=["127.0.0.1"])
    with usher.connect("plain", hello=v1(), source="127.0.0.66", reads_greeting=False) as imap:
        with pytest.raises(ConnectionError):
            imap.line()
    assert usher.wait_event("session_end", reason="client_untrusted")["client"].startswith("127.0.0.66:")
    with usher.connect("plain", hello=v1()) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


def test_a_backend_that_waits_for_a_header_is_recognised(start_dovecot, start_usher):
    dovecot = start_dovecot("mail1", haproxy=True)
    usher = start_usher({"mail1": dovecot})
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).code == "UNAVAILABLE"
    assert "PROXY header" in usher.wait_event("backend_failed", stage="greeting")["detail"]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_backend_that_expects_no_header_is_recognised(version, start_dovecot, start_usher):
    dovecot = start_dovecot("mail1")
    usher = start_usher({"mail1": Backend(dovecot.endpoint, proxy=version)})
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).code == "UNAVAILABLE"
    assert "PROXY header" in usher.wait_event("backend_failed")["detail"]


def key_pin(certificate) -> str:
    """The pin of a certificate's key, by openssl as the manual says it."""
    command = (
        f"openssl x509 -pubkey -noout -in {certificate.certificate} | openssl pkey -pubin -outform der"
        " | openssl dgst -sha256 -binary | base64"
    )
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout.strip()


def test_a_pinned_key_is_trusted_and_no_other(start_dovecot, start_usher, authority):
    ours = authority.issue("pinned", "mail1.test", expired=True)
    other = authority.issue("other", "127.0.0.1")
    dovecot = start_dovecot("mail1", tls=Tls.IMPLICIT, certificate=ours)
    good = Backend(dovecot.endpoint, tls=Tls.IMPLICIT, tls_pin=(key_pin(other), key_pin(ours)))
    usher = start_usher({"mail1": good})
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
    usher.stop()
    usher = start_usher({"mail1": Backend(dovecot.endpoint, tls=Tls.IMPLICIT, tls_pin=(key_pin(other),))})
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).code == "UNAVAILABLE"
    assert key_pin(ours) in usher.wait_event("backend_failed", stage="tls")["detail"]


def test_connections_come_from_the_sources_in_turn(start_dovecot, start_usher):
    dovecot = start_dovecot("mail1")
    sources = ("127.0.0.41", "127.0.0.42")
    usher = start_usher({"mail1": Backend(dovecot.endpoint, source=sources)}, workers=1)
    seen = []
    for n in range(1, 5):
        with usher.connect("plain") as imap:
            assert imap.login("ann", USERS["ann"]).status == "OK"
        seen.append(remote_of(dovecot, "ann", n))
    assert seen == list(sources) * 2


def test_closed_before_the_header_is_no_fault_of_ours(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, listeners=PROXIED, trusted_networks=TRUSTED)
    with usher.connect("plain", reads_greeting=False):
        pass
    assert usher.wait_event("session_end")["reason"] == "client_closed"
    with usher.connect("plain", hello=v1()) as imap:
        with pytest.raises(Closed):
            imap.command(b"LOGOUT")
            imap.line()
