"""Backends by name: looked up by usher's own resolver, every address tried."""

from __future__ import annotations

import socket
import time

import pytest
from conftest import USERS
from peers.certs import Tls
from peers.dnsserver import DnsServer, Name
from peers.process import BACKEND_PORT, free_address
from peers.usher import Backend


@pytest.fixture
def dns(stack):
    return stack.enter_context(DnsServer())


@pytest.fixture
def start_named(start_usher, dns):
    """An usher whose backend mail1 is mail1.test, looked up at `dns`."""

    def start(port: int = BACKEND_PORT, **settings):
        backend = Backend(f"mail1.test:{port}", **settings.pop("backend", {}))
        return start_usher({"mail1": backend}, nameservers=[dns.endpoint], **settings)

    return start


def log_in(usher):
    with usher.connect("plain") as imap:
        return imap.login("ann", USERS["ann"])


def free_port_v6() -> int:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        return probe.getsockname()[1]


def test_a_name_with_an_ipv4_address(start_dovecot, start_named, dns):
    server = start_dovecot("mail1")
    dns.names["mail1.test"] = Name((server.address,))
    usher = start_named()
    assert log_in(usher).status == "OK"
    assert usher.wait_event("login")["address"] == server.endpoint
    assert usher.wait_event("resolved")["name"] == "mail1.test"


def test_a_name_with_an_ipv6_address(start_dovecot, start_named, dns):
    server = start_dovecot("mail1", address="::1", port=free_port_v6())
    dns.names["mail1.test"] = Name(("::1",))
    usher = start_named(port=server.port)
    assert log_in(usher).status == "OK"
    assert usher.wait_event("login")["address"] == f"[::1]:{server.port}"


def test_a_dead_address_costs_little(start_dovecot, start_named, dns):
    """IPv6 goes first, and nobody listens there."""
    server = start_dovecot("mail1")
    dns.names["mail1.test"] = Name(("::1", server.address))
    usher = start_named(connect_timeout="20s")
    began = time.monotonic()
    assert log_in(usher).status == "OK"
    assert time.monotonic() - began < 10
    assert usher.wait_event("login")["address"] == server.endpoint


def test_an_address_that_never_answers_costs_little(start_dovecot, start_named, dns):
    """Its backlog is full, so that connecting hangs: the other address is tried meanwhile."""
    server = start_dovecot("mail1")
    deaf = free_address()
    dns.names["mail1.test"] = Name((deaf, server.address))
    with socket.socket() as listener:
        listener.bind((deaf, BACKEND_PORT))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            queued = socket.socket()
            queued.setblocking(False)
            queued.connect_ex((deaf, BACKEND_PORT))
            waiting.append(queued)
        usher = start_named(connect_timeout="20s")
        began = time.monotonic()
        assert log_in(usher).status == "OK"
        assert time.monotonic() - began < 10
        for queued in waiting:
            queued.close()


def test_the_certificate_is_checked_against_the_name(start_dovecot, start_named, dns, authority):
    server = start_dovecot(
        "mail1", tls=Tls.IMPLICIT, certificate=authority.issue("mail1.test", "mail1.test")
    )
    dns.names["mail1.test"] = Name((server.address,))
    trusting = {"tls": Tls.IMPLICIT, "tls_ca": authority.certificate}
    assert log_in(start_named(backend=trusting)).status == "OK"


def test_a_changed_address_is_found_when_the_old_one_has_expired(start_dovecot, start_named, dns):
    old, new = start_dovecot("old"), start_dovecot("new")
    dns.names["mail1.test"] = Name((old.address,), ttl=1)
    usher = start_named()
    assert log_in(usher).status == "OK"
    dns.names["mail1.test"] = Name((new.address,), ttl=1)
    usher.wait_events("resolved", 2)  # told of what is new only
    assert log_in(usher).status == "OK"
    assert usher.wait_events("login", 2)[1]["address"] == new.endpoint


def test_known_addresses_stay_in_use_while_names_cannot_be_looked_up(
    start_dovecot, start_named, dns
):
    server = start_dovecot("mail1")
    dns.names["mail1.test"] = Name((server.address,), ttl=1)
    usher = start_named()
    assert log_in(usher).status == "OK"
    dns.is_failing = True
    usher.wait_event("resolve_failed")
    assert log_in(usher).status == "OK"


def test_an_unknown_name_is_unavailable(start_named, dns):
    usher = start_named(connect_timeout="2s")
    assert log_in(usher).code == "UNAVAILABLE"
    assert usher.wait_event("resolve_failed")["backend"] == "mail1"
    assert dns.queries["mail1.test", "A"]


def test_a_silent_nameserver_is_unavailable_in_bounded_time(start_named, dns):
    dns.is_silent = True
    usher = start_named(connect_timeout="2s", backend_login_timeout="3s")
    began = time.monotonic()
    assert log_in(usher).code == "UNAVAILABLE"
    assert time.monotonic() - began < 15
