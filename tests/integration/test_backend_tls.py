"""TLS towards backends: what is verified, and what happens when it does not hold."""

from __future__ import annotations

import ssl

import pytest
from conftest import USERS
from peers import scripted
from peers.certs import Authority, Tls
from peers.process import free_address
from peers.usher import Backend

SECURED = [Tls.STARTTLS, Tls.IMPLICIT]


@pytest.fixture
def start_secured(start_dovecot, authority):
    """A Dovecot with TLS, with a certificate for `names`, or for its own address."""

    def start(tls: Tls, *names: str, signer: Authority = authority, expired: bool = False):
        address = free_address()
        certificate = signer.issue(address, *(names or [address]), expired=expired)
        return start_dovecot(
            "mail1", address=address, tls=tls, certificate=certificate, tls_first=True
        )

    return start


def log_in(usher):
    with usher.connect("plain") as imap:
        return imap.login("ann", USERS["ann"])


def assert_unavailable_for_tls(usher, stage: str = "tls") -> None:
    """The client hears UNAVAILABLE, never that its password is wrong; the log tells why."""
    answer = log_in(usher)
    assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
    failed = usher.wait_event("backend_failed")
    assert (failed["stage"], failed["backend"]) == (stage, "mail1")
    assert failed["detail"]


@pytest.mark.parametrize("tls", SECURED)
def test_a_verified_backend_is_used(start_secured, start_usher, authority, tls):
    server = start_secured(tls)
    backend = Backend(server.endpoint, tls=tls, tls_ca=authority.certificate)
    usher = start_usher({"mail1": backend})
    assert log_in(usher).status == "OK"
    assert usher.wait_event("login")["backend_tls"].startswith("TLSv1.3")


@pytest.mark.parametrize("tls", SECURED)
def test_a_verified_cyrus_is_used(start_cyrus, start_usher, authority, tls):
    address = free_address()
    server = start_cyrus(
        address=address, tls=tls, certificate=authority.issue(address, address), tls_first=True
    )
    backend = Backend(server.endpoint, tls=tls, tls_ca=authority.certificate)
    assert log_in(start_usher({"mail1": backend})).status == "OK"


@pytest.mark.parametrize("tls", SECURED)
def test_the_certificate_may_be_for_another_name_if_so_configured(
    start_secured, start_usher, authority, tls
):
    server = start_secured(tls, "mail1.example.org")
    backend = Backend(
        server.endpoint, tls=tls, tls_ca=authority.certificate, tls_name="mail1.example.org"
    )
    assert log_in(start_usher({"mail1": backend})).status == "OK"


@pytest.mark.parametrize("tls", SECURED)
def test_a_wrong_name_is_refused(start_secured, start_usher, authority, tls):
    server = start_secured(tls, "mail2.example.org", "127.0.0.99")
    backend = Backend(server.endpoint, tls=tls, tls_ca=authority.certificate)
    assert_unavailable_for_tls(start_usher({"mail1": backend}))


@pytest.mark.parametrize("tls", SECURED)
def test_a_certificate_of_another_authority_is_refused(
    start_secured, start_usher, folder, authority, tls
):
    stranger = Authority(folder / "stranger", "stranger")
    server = start_secured(tls, signer=stranger)
    backend = Backend(server.endpoint, tls=tls, tls_ca=authority.certificate)
    assert_unavailable_for_tls(start_usher({"mail1": backend}))


def test_without_a_ca_of_its_own_the_systems_are_trusted(start_secured, start_usher):
    server = start_secured(Tls.IMPLICIT)
    backend = Backend(server.endpoint, tls=Tls.IMPLICIT)
    assert_unavailable_for_tls(start_usher({"mail1": backend}))


@pytest.mark.parametrize("tls", SECURED)
def test_an_expired_certificate_is_refused(start_secured, start_usher, authority, tls):
    server = start_secured(tls, expired=True)
    backend = Backend(server.endpoint, tls=tls, tls_ca=authority.certificate)
    usher = start_usher({"mail1": backend})
    assert_unavailable_for_tls(usher)
    assert "expired" in usher.find("backend_failed")[0]["detail"]


def test_verification_may_be_switched_off(start_secured, start_usher, authority):
    server = start_secured(Tls.STARTTLS, "mail2.example.org", expired=True)
    backend = Backend(server.endpoint, tls=Tls.STARTTLS, tls_verify=False)
    assert log_in(start_usher({"mail1": backend})).status == "OK"


def test_a_server_without_tls_is_not_spoken_to_in_clear(start_dovecot, start_usher):
    server = start_dovecot("mail1")
    backend = Backend(server.endpoint, tls=Tls.IMPLICIT)
    assert_unavailable_for_tls(start_usher({"mail1": backend}))


@pytest.mark.parametrize("script", [scripted.answering(), scripted.refusing_starttls])
def test_starttls_never_falls_back_to_clear_text(start_scripted, start_usher, script):
    server = start_scripted(script)
    usher = start_usher({"mail1": Backend(server.endpoint, tls=Tls.STARTTLS)})
    assert_unavailable_for_tls(usher, "starttls")
    assert not any(b"LOGIN" in line or b"AUTHENTICATE" in line for line in server.commands)


def test_text_injected_behind_the_starttls_answer_is_refused(
    start_scripted, start_usher, authority
):
    address = free_address()
    made = authority.issue(address, address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    server = start_scripted(scripted.injecting_starttls, address=address, context=context)
    backend = Backend(server.endpoint, tls=Tls.STARTTLS, tls_ca=authority.certificate)
    usher = start_usher({"mail1": backend})
    assert_unavailable_for_tls(usher, "starttls")
