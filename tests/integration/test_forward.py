"""Who the client is, told to the backend by ID; and what clients say of themselves."""

from __future__ import annotations

import pytest
from conftest import USERS
from later import logged
from peers.usher import Backend, Listener
from test_proxy import CLIENT, remote_of

LOOPBACK = "127.0.0.0/8"


@pytest.fixture
def dovecot(start_dovecot):
    """One that believes usher's ID."""
    return start_dovecot("mail1", trusted_networks=LOOPBACK)


def forged(**fields: str) -> bytes:
    pairs = " ".join(f'"{key.replace("_", "-")}" "{value}"' for key, value in fields.items())
    return f"ID ({pairs})".encode()


def test_the_backend_learns_the_clients_address(dovecot, start_usher):
    usher = start_usher({"mail1": Backend(dovecot.endpoint, forward_id=True)})
    with usher.connect("plain", source=CLIENT) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        assert imap.command(b"SELECT INBOX").status == "OK"
    assert remote_of(dovecot, "ann") == CLIENT


def test_without_forward_id_nothing_is_told(dovecot, start_usher):
    usher = start_usher({"mail1": Backend(dovecot.endpoint)})
    with usher.connect("plain", source=CLIENT) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert remote_of(dovecot, "ann") != CLIENT


@pytest.mark.parametrize("forward_id", [True, False])
def test_a_client_cannot_make_itself_another(forward_id, dovecot, start_usher):
    usher = start_usher({"mail1": Backend(dovecot.endpoint, forward_id=forward_id)})
    with usher.connect("plain", source=CLIENT) as imap:
        lie = forged(name="thief", x_originating_ip="192.0.2.66", X_Originating_Port="1", x_session_id="forged")
        assert imap.command(lie).status == "OK"
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert remote_of(dovecot, "ann") == (CLIENT if forward_id else "127.0.0.1")
    log = dovecot.log.read_text()
    assert "192.0.2.66" not in log and "forged" not in log
    assert usher.wait_event("session_end")["client"].startswith(CLIENT)


def test_what_a_client_says_of_itself_is_passed_on(dovecot, start_usher):
    usher = start_usher({"mail1": Backend(dovecot.endpoint, forward_id=True)})
    with usher.connect("plain") as imap:
        answer = imap.command(b'ID ("name" "Mail of ours" "version" {3+}\r\n1.0 "os" NIL)')
        assert answer.status == "OK" and answer.untagged[0].startswith(b"* ID (")
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert logged(dovecot, r"ID sent:.*name=Mail of ours, version=1.0")


def test_a_trusted_web_mail_speaks_for_its_users(dovecot, start_usher):
    usher = start_usher(
        {"mail1": Backend(dovecot.endpoint, forward_id=True)}, trusted_networks=[LOOPBACK]
    )
    with usher.connect("plain", source=CLIENT) as imap:
        fields = forged(x_originating_ip="192.0.2.9", x_originating_port="4711", x_session_id="web1")
        assert imap.command(fields).status == "OK"
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert remote_of(dovecot, "ann") == "192.0.2.9"
    assert "session=<web1>" in dovecot.log.read_text()
    assert usher.wait_event("login")["client"] == "192.0.2.9:4711"


def test_a_loop_of_proxies_is_refused(dovecot, start_usher):
    usher = start_usher(
        {"mail1": Backend(dovecot.endpoint, forward_id=True)}, trusted_networks=[LOOPBACK]
    )
    with usher.connect("plain") as imap:
        assert imap.command(forged(x_proxy_ttl="1")).status == "OK"
        assert imap.login("ann", USERS["ann"]).code == "UNAVAILABLE"
    assert "loop" in usher.wait_event("login_failed")["detail"]
    # No backend is to blame.
    assert not usher.find("backend_failed")
    with usher.connect("plain") as imap:
        assert imap.command(forged(x_proxy_ttl="2")).status == "OK"
        assert imap.login("ann", USERS["ann"]).status == "OK"


def test_header_and_id_name_the_same_client(start_dovecot, start_usher):
    dovecot = start_dovecot("mail1", haproxy=True)
    usher = start_usher(
        {"mail1": Backend(dovecot.endpoint, proxy="v2")}, trusted_networks=[LOOPBACK]
    )
    with usher.connect("plain", source=CLIENT) as imap:
        assert imap.command(forged(x_originating_ip="192.0.2.9")).status == "OK"
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert remote_of(dovecot, "ann") == "192.0.2.9"


def test_whom_a_proxy_does_not_name_is_not_trusted(dovecot, start_usher):
    usher = start_usher(
        {"mail1": Backend(dovecot.endpoint, forward_id=True)},
        trusted_networks=[LOOPBACK],
        listeners={"plain": Listener(proxy=True)},
    )
    with usher.connect("plain", hello=b"PROXY UNKNOWN\r\n") as imap:
        assert imap.command(forged(x_originating_ip="192.0.2.66")).status == "OK"
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert remote_of(dovecot, "ann") != "192.0.2.66"
    assert "192.0.2.66" not in dovecot.log.read_text()
