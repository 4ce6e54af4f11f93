"""TLS with clients: which certificate is shown, which versions and protocols are spoken, who must show
a certificate; and TLS with backends, as far as test_backend_tls.py has it not."""

from __future__ import annotations

import socket
import ssl
import subprocess
from datetime import timedelta

import pytest
from conftest import USERS
from peers.certs import Authority, Tls
from peers.process import free_address, wait_until
from peers.rawimap import RawImap
from peers.scripted import answering, closing
from peers.usher import Backend, Listener
from tls_peers import VERSIONS, client, greeted, handshaken, is_let_in, names_in, s_client, ticket_key, worker_of

FRONT = {"imaps": Listener(tls=Tls.IMPLICIT), "imap": Listener(tls=Tls.STARTTLS)}


@pytest.fixture
def start_front(start_scripted, start_usher):
    """An usher whose backend takes everybody."""

    def start(**settings):
        server = start_scripted(answering())
        return start_usher({"mail1": server}, **{"listeners": FRONT, **settings})

    return start


# --- certificates by name ---------------------------------------------------------------------------


@pytest.fixture
def many_names(authority):
    return {
        "certificate": authority.issue("default", "front.example.org"),
        "certificates": {
            "wildcard": authority.issue("wildcard", "*.example.net"),
            "two": authority.issue("two", "imap.example.com", "mail.example.com"),
            "exact": authority.issue("exact", "mail.example.net"),
        },
    }


CHOICES = {
    None: "front.example.org",
    "front.example.org": "front.example.org",
    "unknown.example.org": "front.example.org",
    "imap.example.com": "imap.example.com",
    "mail.example.com": "mail.example.com",
    "MAIL.example.COM": "mail.example.com",
    "mail.example.net": "mail.example.net",
    "other.example.net": "*.example.net",
    "example.net": "front.example.org",
    "a.b.example.net": "front.example.org",
}


def test_the_certificate_is_chosen_by_the_name_that_the_client_asks_for(
    start_front, many_names, authority
):
    usher = start_front(**many_names)
    context = client(authority)
    for name, shown in CHOICES.items():
        with greeted(usher, context, name) as secured:
            assert shown in names_in(secured), name


def test_so_it_is_behind_starttls(start_front, many_names, authority):
    usher = start_front(**many_names)
    for name, shown in CHOICES.items():
        with usher.connect("imap") as imap:
            assert imap.command(b"STARTTLS").status == "OK"
            secured = client(authority).wrap_socket(imap.socket, server_hostname=name)
            assert shown in names_in(secured), name
            secured.close()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RSA", ["-tls1_2", "-cipher", "aRSA"]),
        ("ECDSA", ["-tls1_2", "-cipher", "aECDSA"]),
        ("RSA", ["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"]),
        ("ECDSA", ["-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"]),
    ],
)
def test_of_two_kinds_of_key_the_client_gets_the_one_it_can_verify(
    start_front, authority, kind, options
):
    names = ("both.example.org", "*.both.example.org")
    usher = start_front(
        certificate=authority.issue("front2", "front.example.org"),
        certificates={
            "rsa": authority.issue("both-rsa", *names, kind="rsa"),
            "ecdsa": authority.issue("both-ecdsa", *names),
        },
    )
    for name in ("both.example.org", "any.both.example.org"):
        trust = ["-CAfile", authority.certificate, "-verify_return_error", "-servername", name]
        done = s_client(usher, *options, *trust)
        assert done.returncode == 0, done.stderr
        assert f"Peer signature type: {kind}" in done.stdout
        assert "subject=CN = both.example.org" in done.stdout


# --- versions, protocols ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(start_front, version):
    done = s_client(start_front(), version, "-cipher", "DEFAULT:@SECLEVEL=0")
    assert done.returncode != 0
    assert "alert protocol version" in done.stderr


def test_tls_1_3_may_be_asked_for(start_front, authority):
    usher = start_front(tls={"min_version": "1.3"})
    assert "alert protocol version" in s_client(usher, "-tls1_2").stderr
    with greeted(usher, client(authority)) as secured:
        assert secured.version() == "TLSv1.3"


def test_suites_are_those_that_are_named(start_front, authority):
    usher = start_front(
        tls={
            "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ciphersuites": "TLS_CHACHA20_POLY1305_SHA256",
        }
    )
    for version, suite in zip(
        VERSIONS, ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_CHACHA20_POLY1305_SHA256")
    ):
        with greeted(usher, client(authority, version)) as secured:
            assert secured.cipher()[0] == suite


@pytest.mark.parametrize(
    ("offered", "chosen"), [((), None), (("imap",), "imap"), (("http/1.1", "imap"), "imap")]
)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_protocol_imap_is_chosen_where_it_is_offered(
    start_front, authority, version, offered, chosen
):
    with greeted(start_front(), client(authority, version, alpn=offered)) as secured:
        assert secured.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("version", VERSIONS)
def test_who_offers_only_other_protocols_is_refused(start_front, authority, version):
    usher = start_front()
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        with greeted(usher, client(authority, version, alpn=("http/1.1",))):
            pass
    assert usher.wait_event("session_end")["reason"] == "client_tls"


def test_nobody_renegotiates(start_front):
    usher = start_front()
    argv = ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{usher.port('imaps')}"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not process.stdout.readline().startswith("* OK"):
            pass
        _, words = process.communicate("R\n", timeout=20)
    assert "no renegotiation" in words


def test_a_handshake_that_is_never_finished_is_ended(start_front):
    usher = start_front(handshake_timeout="500ms")
    with socket.create_connection(("127.0.0.1", usher.port("imaps")), timeout=20) as idle:
        assert idle.recv(1) == b""
    assert usher.wait_event("session_end")["reason"] == "handshake_timeout"


def test_so_it_is_behind_starttls_too(start_front):
    usher = start_front(handshake_timeout="500ms")
    with usher.connect("imap") as imap:
        assert imap.command(b"STARTTLS").status == "OK"
        assert imap.socket.recv(1) == b""
    assert usher.wait_event("session_end")["reason"] == "handshake_timeout"


# --- certificates of clients ------------------------------------------------------------------------


@pytest.fixture
def clients(folder):
    """Who signs clients' certificates."""
    return Authority(folder / "clients", "clients")


def listening(kind: str, clients: Authority, crl=None):
    given = {"client_certificate": kind, "client_ca": clients.certificate, "client_crl": crl}
    return {"imaps": Listener(tls=Tls.IMPLICIT, **given)}


def of_client(authority: Authority, label: str, **options):
    return authority.issue(label, subject=f"/CN={label}", usage="clientAuth", **options)


def test_whose_certificate_is_never_asked_for_shows_none(start_front, authority, clients):
    usher = start_front()
    assert is_let_in(usher, client(authority, certificate=of_client(clients, "ann")))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["optional", "required"])
def test_a_clients_certificate_is_verified(
    start_front, authority, clients, folder, kind, version
):
    usher = start_front(listeners=listening(kind, clients))
    stranger = Authority(folder / "stranger", "stranger")
    assert is_let_in(usher, client(authority, version)) == (kind == "optional")
    good = of_client(clients, "ann")
    assert is_let_in(usher, client(authority, version, good))
    for bad in (
        of_client(stranger, "mallory"),
        of_client(clients, "late", expired=True),
        of_client(clients, "early", starts=timedelta(days=1)),
        clients.issue("server", "server.example.org"),
    ):
        assert not is_let_in(usher, client(authority, version, bad)), bad.certificate
    assert is_let_in(usher, client(authority, version, good))


def test_a_revoked_certificate_is_refused(start_front, authority, clients):
    good, bad = (of_client(clients, label) for label in ("ann", "mallory"))
    clients.revoke(bad)
    usher = start_front(listeners=listening("required", clients, clients.revocation_list()))
    assert is_let_in(usher, client(authority, certificate=good))
    assert not is_let_in(usher, client(authority, certificate=bad))


def test_the_password_is_asked_for_all_the_same(start_front, authority, clients):
    usher = start_front(listeners=listening("required", clients))
    context = client(authority, certificate=of_client(clients, "ann"))
    with usher.connect("imaps", tls=Tls.IMPLICIT, context=context) as imap:
        assert imap.command(b"LIST \"\" *").status == "BAD"
        assert imap.login("ann", USERS["ann"]).status == "OK"


# --- resumption -------------------------------------------------------------------------------------


def session_at(usher, context, name="front.example.org", **options):
    with greeted(usher, context, name, **options) as secured:
        return secured.session


def is_resumed(usher, context, session, name="front.example.org", **options):
    with greeted(usher, context, name, session=session, **options) as secured:
        return secured.session_reused


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_by_every_worker(start_front, authority, version):
    usher = start_front(workers=3)
    context = client(authority, version)
    session = session_at(usher, context)
    seen = set()

    def have_all_resumed():
        with greeted(usher, context, "front.example.org", session=session) as secured:
            assert secured.session_reused
            seen.add(worker_of(usher, secured))
        return len(seen) == 3

    wait_until(have_all_resumed, 20, "every worker has resumed the session")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssls_client_resumes(start_front, folder, version):
    usher = start_front()
    saved = folder / "session.pem"
    # Its input ends when the greeting, and with it the ticket, has come.
    argv = ["openssl", "s_client", version, "-connect", f"127.0.0.1:{usher.port('imaps')}"]
    with subprocess.Popen(
        [*argv, "-sess_out", str(saved)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        while not process.stdout.readline().startswith("* OK"):
            pass
        process.communicate(timeout=20)
    assert "Reused, TLSv1" in s_client(usher, version, "-sess_in", saved).stdout
    assert "New, TLSv1" in s_client(usher, version).stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_two_changes_of_the_key_end_a_session(start_front, authority, version):
    usher = start_front(tls={"ticket_rotate": "2s"})
    context = client(authority, version)
    session = session_at(usher, context)
    assert is_resumed(usher, context, session)
    keys = {ticket_key(usher)}

    def has_changed_twice():
        keys.add(ticket_key(usher))
        return len(keys) >= 3

    wait_until(has_changed_twice, 20, "tickets are sealed under a third key")
    wait_until(lambda: not is_resumed(usher, context, session), 20, "every worker has forgotten it")
    assert is_resumed(usher, context, session_at(usher, context))


def test_all_workers_seal_under_the_same_key(start_front):
    usher = start_front(workers=3)
    assert len({ticket_key(usher) for _ in range(12)}) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_not_resumed_for_another_name(start_front, many_names, authority, version):
    usher = start_front(**many_names)
    context = client(authority, version)
    session = session_at(usher, context, "imap.example.com")
    assert is_resumed(usher, context, session, "imap.example.com")
    for name in ("mail.example.net", "mail.example.com", "unknown.example.org"):
        assert not is_resumed(usher, context, session, name)
    with greeted(usher, context, "mail.example.net", session=session) as secured:
        assert names_in(secured) == {"mail.example.net"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_not_resumed_at_another_listener(start_front, authority, clients, version):
    """Else who was let in without a certificate would be let in where one is required."""
    listeners = {
        "imaps": Listener(tls=Tls.IMPLICIT),
        "twin": Listener(tls=Tls.IMPLICIT),
        **{"strict": listening("required", clients)["imaps"]},
    }
    usher = start_front(listeners=listeners)
    context = client(authority, version)
    session = session_at(usher, context)
    assert is_resumed(usher, context, session)
    assert not is_resumed(usher, context, session, listener="twin")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        is_resumed(usher, context, session, listener="strict")


# --- backends ---------------------------------------------------------------------------------------


@pytest.fixture
def start_server(start_scripted, authority):
    """A backend with TLS from the first byte; `adjust` is given its context."""

    def start(adjust=lambda context: None):
        address = free_address()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made = authority.issue(address, address)
        context.load_cert_chain(made.certificate, made.key)
        adjust(context)

        def script(connection):
            connection.start_tls()
            answering()(connection)

        return start_scripted(script, address=address, context=context)

    return start


def login_at(usher):
    with usher.connect("plain") as imap:
        return imap.login("ann", USERS["ann"])


def test_a_backend_may_demand_a_certificate_of_ours(
    start_server, start_usher, authority, clients, folder
):
    def demand(context):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.certificate)

    stranger = Authority(folder / "stranger", "stranger")
    server = start_server(demand)
    with_tls = {"tls": Tls.IMPLICIT, "tls_ca": authority.certificate}
    for shown, status in (
        (of_client(clients, "usher"), "OK"),
        (of_client(stranger, "usher"), "NO"),
        (None, "NO"),
    ):
        usher = start_usher(
            {"mail1": Backend(server.endpoint, tls_certificate=shown, **with_tls)}
        )
        assert login_at(usher).status == status
        usher.stop()


def test_backends_that_differ_in_their_demands_are_kept_apart(
    start_server, start_usher, authority, clients
):
    def demand(context):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.certificate)

    with_tls = {"tls": Tls.IMPLICIT, "tls_ca": authority.certificate}
    backends = {
        "none": Backend(start_server().endpoint, **with_tls),
        "ours": Backend(
            start_server(demand).endpoint, tls_certificate=of_client(clients, "usher"), **with_tls
        ),
    }
    pools = {name: {name: backend} for name, backend in backends.items()}
    listeners = {name: Listener(pool=name) for name in pools}
    usher = start_usher(pools=pools, listeners=listeners)
    for name in pools:
        with usher.connect(name) as imap:
            assert imap.login("ann", USERS["ann"]).status == "OK"


@pytest.mark.parametrize(
    ("setting", "status"),
    [({}, "OK"), ({"tls_min_version": "1.3"}, "NO"), ({"tls_ciphers": "AES256-SHA"}, "NO")],
)
def test_versions_and_suites_of_a_backend(start_server, start_usher, authority, setting, status):
    def restrict(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM")

    backend = Backend(
        start_server(restrict).endpoint,
        tls=Tls.IMPLICIT,
        tls_ca=authority.certificate,
        **setting,
    )
    usher = start_usher({"mail1": backend})
    answer = login_at(usher)
    assert answer.status == status
    if status == "NO":
        assert answer.code == "UNAVAILABLE"
        assert usher.wait_event("backend_failed")["stage"] == "tls"


def test_a_backend_that_hangs_up_in_the_handshake_is_unavailable(start_scripted, start_usher):
    server = start_scripted(closing)
    usher = start_usher({"mail1": Backend(server.endpoint, tls=Tls.IMPLICIT, tls_verify=False)})
    answer = login_at(usher)
    assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
