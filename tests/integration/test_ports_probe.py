"""`usher ports --probe`: what it hears from real servers and from hostile ones."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from peers.certs import Tls
from peers.nginx import Service
from peers.process import free_address, wait_until
from peers.scripted import (
    answering,
    closing,
    context_of,
    resetting,
    saying,
    silent,
    within_tls,
)
from ports import (
    FOUND,
    NONE,
    listening,
    quiet_place,
    quiet_port,
    show,
    tell,
    tell_port,
    usher_ports,
)

DAY_S = 86400
# A busy machine's delays, beside the time that a probe is given.
SLACK_S = 10


def probe(word: str, *words: str, status: int = FOUND, **options) -> dict:
    """What is told of the one address that is asked."""
    (found,) = tell_port(word, "--probe", *words, status=status, **options)["probes"]
    return found


# ---- Dovecot ----


@pytest.mark.parametrize("haproxy", [False, True])
@pytest.mark.parametrize("tls", Tls)
def test_a_dovecot_is_understood(start_dovecot, backend_certificate, tls, haproxy):
    certificate = None if tls is Tls.OFF else backend_certificate
    dovecot = start_dovecot("mail1", tls=tls, certificate=certificate, haproxy=haproxy)
    found = probe(dovecot.endpoint)
    assert (found["connected"], found["trouble"], found["speaks"]) == (True, None, "imap")
    assert found["proxy_header"] == (["v1", "v2"] if haproxy else [])
    assert found["greeting"].startswith("* OK [CAPABILITY IMAP4rev1 ")
    assert found["greeting"].endswith("] mail1 ready.") and found["server"] == "Dovecot"
    assert (found["implicit_tls"], found["starttls"]) == (tls is Tls.IMPLICIT, tls is Tls.STARTTLS)
    assert bool(found["capabilities"]) == (tls is not Tls.IMPLICIT)
    assert bool(found["capabilities_tls"]) == (tls is not Tls.OFF)
    assert "IMAP4rev1" in (found["capabilities"] or found["capabilities_tls"])
    assert bool(found["certificate"]) == (tls is not Tls.OFF)
    assert (found["tls_version"] or "TLSv1.3") == "TLSv1.3"


def test_capabilities_before_and_after_starttls_are_told_apart(start_dovecot, backend_certificate):
    dovecot = start_dovecot("mail1", tls=Tls.STARTTLS, certificate=backend_certificate, tls_first=True)
    found = probe(dovecot.endpoint)
    assert {"STARTTLS", "LOGINDISABLED"} <= set(found["capabilities"])
    assert "AUTH=PLAIN" not in found["capabilities"] and "AUTH=PLAIN" in found["capabilities_tls"]
    assert not {"STARTTLS", "LOGINDISABLED"} & set(found["capabilities_tls"])


def test_a_dovecot_is_shown_to_people(start_dovecot, backend_certificate):
    dovecot = start_dovecot("mail1", tls=Tls.STARTTLS, certificate=backend_certificate, haproxy=True)
    text = show("--probe", dovecot.endpoint)
    assert f"\n{dovecot.endpoint} speaks IMAP, behind a PROXY header (v1 or v2)\n" in text
    assert re.search(r"^  in clear +IMAP4rev1 .*STARTTLS", text, re.MULTILINE)
    assert re.search(r"^  TLS +TLSv1.3 TLS_AES_\S+, by STARTTLS$", text, re.MULTILINE)
    name = r"backend\.example\.org"
    assert re.search(rf"^  certificate +CN={name} \(ECDSA\), for {name}$", text, re.MULTILINE)
    assert re.search(r"^ +issued by CN=Throw-away authority ca$", text, re.MULTILINE)
    today = datetime.now(timezone.utc)
    since, until = (f"{today + timedelta(days=days):%Y-%m-%d}" for days in (-1, 30))
    assert re.search(rf"^ +valid from {since} to {until}, (29|30) days left$", text, re.MULTILINE)
    assert "clients here would refuse it: " in text


def test_without_probe_nobody_is_asked(start_scripted):
    server = start_scripted(silent)
    tell(server.endpoint)
    show(server.endpoint)
    assert server.connections == 0


def test_nobody_is_logged_in(start_dovecot, backend_certificate):
    dovecot = start_dovecot("mail1", tls=Tls.STARTTLS, certificate=backend_certificate)
    show("--probe", dovecot.endpoint)
    # Told of each connection, when Dovecot has seen its end.
    wait_until(lambda: dovecot.log.read_text().count("(no auth attempts") >= 2, 20, "two goodbyes")
    assert "Login:" not in dovecot.log.read_text()


# ---- Certificates ----


def test_a_certificate_is_told_and_why_it_would_be_refused(start_dovecot, backend_certificate, authority):
    dovecot = start_dovecot("mail1", tls=Tls.IMPLICIT, certificate=backend_certificate)
    shown = probe(dovecot.endpoint)["certificate"]
    assert (shown["subject"], shown["issuer"]) == ("CN=backend.example.org", "CN=Throw-away authority ca")
    assert (shown["names"], shown["key"]) == (["backend.example.org"], "ECDSA")
    assert abs(shown["not_before"] - (time.time() - DAY_S)) < DAY_S / 2
    assert abs(shown["not_after"] - (time.time() + 30 * DAY_S)) < DAY_S / 2
    assert "issuer" in shown["untrusted"]
    # As for usher's backends, SSL_CERT_FILE stands for the machine's own list.
    trusting = {"SSL_CERT_FILE": str(authority.certificate)}
    assert probe(dovecot.endpoint, env=trusting)["certificate"]["untrusted"] is None


def test_a_certificate_has_to_be_for_the_host_that_was_named(start_scripted, authority):
    right = authority.issue("named", "localhost")
    wrong = authority.issue("unnamed", "elsewhere.example.org")
    trusting = {"SSL_CERT_FILE": str(authority.certificate)}
    for certificate, reason in ((right, None), (wrong, "hostname mismatch")):
        server = start_scripted(
            within_tls(answering()), context=context_of(certificate), address="127.0.0.1", port=0
        )
        port = server.listener.getsockname()[1]
        untrusted = probe(f"localhost:{port}", env=trusting)["certificate"]["untrusted"]
        assert untrusted == reason


def test_a_certificate_that_has_expired_is_told(start_scripted, authority):
    expired = authority.issue("old", "backend.example.org", expired=True)
    server = start_scripted(within_tls(answering()), context=context_of(expired), port=10993)
    trusting = {"SSL_CERT_FILE": str(authority.certificate)}
    assert probe(server.endpoint, env=trusting)["certificate"]["untrusted"] == "certificate has expired"
    assert "expired on 2020-02-01" in show("--probe", server.endpoint)
    later = authority.issue("new", "backend.example.org", starts=timedelta(days=2))
    server = start_scripted(within_tls(answering()), context=context_of(later), port=10993)
    assert re.search(r"not valid before 2\d\d\d-\d\d-\d\d$", show("--probe", server.endpoint), re.MULTILINE)


# ---- Other servers ----


def test_dovecots_other_servers_are_told_apart(start_dovecot, backend_certificate):
    ports = {"pop3": 10110, "submission": 10587, "sieve": 14190, "lmtp": 10024}
    dovecot = start_dovecot(
        "mail1",
        address=free_address(10143, *ports.values()),
        tls=Tls.STARTTLS,
        certificate=backend_certificate,
        others=ports,
    )
    speaks = {"submission": "smtp"}
    capabilities = {"pop3": "STLS", "submission": "STARTTLS", "sieve": "STARTTLS", "lmtp": "STARTTLS"}
    for name, port in ports.items():
        found = probe(f"{dovecot.address}:{port}")
        assert (found["speaks"], found["trouble"]) == (speaks.get(name, name), None)
        assert capabilities[name] in found["capabilities"], name
        assert found["starttls"] and found["capabilities_tls"], name
        assert capabilities[name] not in found["capabilities_tls"]
        assert found["certificate"]["names"] == ["backend.example.org"]


def test_an_exim_is_understood(start_exim, backend_certificate):
    exim = start_exim(certificate=backend_certificate)
    found = probe(f"{exim.address}:{exim.port}")
    assert (found["speaks"], found["trouble"], found["starttls"]) == ("smtp", None, True)
    assert "ESMTP Exim" in found["greeting"]
    assert "STARTTLS" in found["capabilities"] and "STARTTLS" not in found["capabilities_tls"]
    assert "PIPELINING" in found["capabilities_tls"] and found["certificate"]["key"] == "ECDSA"


@pytest.mark.parametrize("proxy", [False, True])
@pytest.mark.parametrize(
    ("port", "protocol", "tls"),
    [
        (10080, "http", Tls.OFF),
        (10993, "http", Tls.IMPLICIT),
        (10143, "imap", Tls.STARTTLS),
        (10993, "imap", Tls.IMPLICIT),
        (10143, "imap", Tls.IMPLICIT),
    ],
)
def test_an_nginx_is_understood(start_nginx, backend_certificate, port, protocol, tls, proxy):
    nginx = start_nginx({port: Service(protocol, tls, proxy)}, certificate=backend_certificate)
    found = probe(f"{nginx.address}:{port}")
    assert (found["speaks"], found["trouble"]) == (protocol, None)
    assert found["proxy_header"] == (["v1", "v2"] if proxy else [])
    assert (found["implicit_tls"], found["starttls"]) == (tls is Tls.IMPLICIT, tls is Tls.STARTTLS)
    assert bool(found["certificate"]) == (tls is not Tls.OFF)
    if protocol == "http":
        assert found["server"].startswith("nginx/") and found["greeting"] == "HTTP/1.1 200 OK"
    else:
        assert "IMAP4rev1" in (found["capabilities_tls"] or found["capabilities"])


# ---- Who is asked ----


def test_a_port_alone_has_all_its_listeners_asked_once_each(start_scripted):
    first = start_scripted(saying(b"* OK one\r\n"), port=0, address="127.0.0.1")
    port = first.listener.getsockname()[1]
    start_scripted(saying(b"* OK two\r\n"), port=port, address=free_address(port))
    greetings = [found["greeting"] for found in tell_port(str(port), "--probe")["probes"]]
    assert sorted(greetings) == ["* OK one", "* OK two"]


def test_a_listener_of_all_addresses_is_asked_on_loopback(start_scripted):
    server = start_scripted(saying(b"* OK any\r\n"), port=0, address="0.0.0.0")
    (found,) = tell_port(str(server.listener.getsockname()[1]), "--probe")["probes"]
    assert (found["address"], found["greeting"]) == ("127.0.0.1", "* OK any")


def test_not_more_than_sixteen_addresses_are_asked():
    port = quiet_port()
    words = [f"127.77.{i}.1:{port}" for i in range(18)]
    answer = tell("--probe", *words, status=NONE)
    assert sum(len(one["probes"]) for one in answer["ports"]) == 16
    assert "2 more addresses were not asked: 16 are the most." in show("--probe", *words, status=NONE)


def test_nobody_there_is_told():
    address, port = quiet_place()
    found = probe(f"{address}:{port}", status=NONE)
    assert (found["connected"], found["speaks"]) == (False, "nothing")
    assert found["trouble"] == f"{address}:{port}: Connection refused"
    assert f"{address}:{port} does not answer" in show("--probe", f"{address}:{port}", status=NONE)


# ---- Hostile peers ----


def endless(connection) -> None:
    while True:
        connection.send(b"x" * 65536)


def endless_lines(connection) -> None:
    connection.send(b"* OK hello\r\n")
    while True:
        connection.send(b"* OK and more\r\n" * 4096)


def dripping(connection) -> None:
    """An octet each 100 ms, and never the end of a line."""
    while True:
        connection.send(b"*")
        time.sleep(0.1)


def tls_garbage(connection) -> None:
    """Begins a handshake and goes on with rubbish."""
    connection.read()
    connection.send(b"\x16\x03\x03\x40\x00" + b"\x02" + b"\xa5" * 0x3FFF)
    connection.until_closed()


def echo(connection) -> None:
    while True:
        connection.send(connection.read())


@pytest.mark.parametrize(
    ("script", "speaks", "trouble"),
    [
        (silent, {"nothing"}, None),
        (closing, {"nothing"}, r"closes the connection without a word|reset"),
        (resetting, {"nothing"}, r"reset"),
        (endless, {"unknown"}, None),
        (endless_lines, {"imap"}, None),
        (dripping, {"unknown"}, None),
        (tls_garbage, {"nothing", "unknown", "tls"}, None),
        (echo, {"unknown"}, None),
    ],
)
def test_a_hostile_server_ends_within_its_time(start_scripted, script, speaks, trouble):
    server = start_scripted(script)
    begun = time.monotonic()
    found = probe(server.endpoint, "--timeout", "4")
    assert time.monotonic() - begun < 4 + SLACK_S
    assert found["connected"] and found["speaks"] in speaks, found
    assert found["proxy_header"] == [] and found["certificate"] is None
    assert re.search(trouble, found["trouble"] or "") if trouble else True, found
    assert len(json.dumps(found)) < 8192


def test_a_server_that_nobody_accepts_for_is_given_up():
    address, port = quiet_place()
    with listening(address, port):
        begun = time.monotonic()
        found = probe(f"{address}:{port}", "--timeout", "3")
        assert time.monotonic() - begun < 3 + SLACK_S
        assert (found["connected"], found["speaks"]) == (True, "nothing")
        assert "says nothing to anything that we ask" in show("--probe", "--timeout", "1", f"{address}:{port}")


def test_a_server_whose_queue_is_full_is_given_up():
    address, port = quiet_place()
    with listening(address, port, backlog=0), socket.create_connection((address, port), timeout=10):
        begun = time.monotonic()
        done = usher_ports("--json", "--probe", "--timeout", "6", f"{address}:{port}")
        assert time.monotonic() - begun < 6 + SLACK_S
        (found,) = json.loads(done.stdout)["ports"][0]["probes"]
        assert not found["connected"]
        assert found["trouble"] == f"{address}:{port}: no answer within 3000 ms"


def test_tls_that_comes_to_nothing_is_told(start_scripted, backend_certificate):
    unable = context_of(backend_certificate)
    unable.maximum_version = ssl.TLSVersion.TLSv1_2
    unable.set_ciphers("AES128-GCM-SHA256")  # which takes a certificate with an RSA key
    server = start_scripted(within_tls(answering()), context=unable)
    found = probe(server.endpoint)
    assert (found["connected"], found["speaks"], found["implicit_tls"]) == (True, "tls", True)
    assert "handshake failure" in found["trouble"] and found["certificate"] is None


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_server_cannot_write_to_the_terminal(start_scripted, words):
    hostile = b"* OK \x1b[2J\x1b]0;mine\x07 \xc2\x9b5m \xe2\x80\xaeevil \xff\x7f\x00 end"
    server = start_scripted(saying(hostile + b"\r\n"))
    shown = show("--probe", "--timeout", "8", *words, server.endpoint)
    assert [c for c in shown if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")] == []
    assert "\u202e" not in shown and "evil" in shown and "speaks" in shown
    greeting = probe(server.endpoint, "--timeout", "8")["greeting"]
    assert greeting.startswith("* OK \\x1b[2J") and greeting.endswith(" end")


def test_certificates_cannot_write_to_the_terminal(start_scripted, authority):
    subject = "/O=\x1b[2Jred\u009b5m/CN=x"
    certificate = authority.issue("hostile", subject=subject)
    server = start_scripted(within_tls(answering()), context=context_of(certificate), port=10993)
    for shown in (show("--probe", server.endpoint), json.dumps(probe(server.endpoint), ensure_ascii=False)):
        assert "red" in shown
        assert [c for c in shown if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")] == []


def test_only_one_connection_is_made_at_a_time(start_scripted):
    most, lock, open_now = 0, threading.Lock(), 0

    def counting(connection) -> None:
        nonlocal most, open_now
        with lock:
            open_now += 1
            most = max(most, open_now)
        try:
            connection.until_closed()
        finally:
            with lock:
                open_now -= 1

    server = start_scripted(counting)
    probe(server.endpoint, "--timeout", "6")
    assert server.connections > 2 and most <= 2  # the last may not have been taken off yet
