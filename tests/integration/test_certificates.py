"""Certificates, keys, CAs and CRLs are read again at SIGHUP: all of them or none, by every worker, and
nobody who is connected notices."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
from datetime import datetime, timedelta, timezone

import pytest
from conftest import USERS
from peers.certs import Authority, Certificate, Tls
from peers.process import free_address, wait_until
from peers.scripted import answering
from peers.usher import Backend, Listener
from tls_peers import client, greeted, is_let_in, names_in, serial_of, worker_of

FRONT = {"plain": Listener(), "imaps": Listener(tls=Tls.IMPLICIT)}
NAME = "front.example.org"


class Store:
    """The files that usher is told of; what is put there replaces what was."""

    def __init__(self, folder, authority: Authority) -> None:
        self.authority = authority
        self.files = Certificate(folder / "shown.crt", folder / "shown.key")
        self.count = 0
        self.put(self.issue())

    def issue(self, *names: str, **options) -> Certificate:
        self.count += 1
        label = f"{self.files.certificate.parent.name}-{self.count}"
        return self.authority.issue(label, *(names or [NAME]), **options)

    def put(self, made: Certificate) -> str:
        """Returns its serial number, as Python's ssl has it."""
        shutil.copy(made.certificate, self.files.certificate)
        shutil.copy(made.key, self.files.key)
        return ssl._ssl._test_decode_cert(str(made.certificate))["serialNumber"]


@pytest.fixture
def store(folder, authority):
    return Store(folder, authority)


@pytest.fixture
def start_front(start_scripted, start_usher, store):
    """An usher that shows what is in the store, and whose backend takes everybody."""

    def start(**settings):
        server = start_scripted(answering())
        usual = {"listeners": FRONT, "certificate": store.files}
        return start_usher({"mail1": server}, **{**usual, **settings})

    return start


def shown_by_each_worker(usher, authority, count=2) -> dict[str, str]:
    """The serial number of what each worker shows now: the last of several connections to each."""
    shown: dict[str, str] = {}
    asked = 0
    while len(shown) < count or asked < 4 * count:
        asked += 1
        with greeted(usher, client(authority), NAME) as secured:
            serial = serial_of(secured)
            shown[worker_of(usher, secured)] = serial
    return shown


def wait_shown(usher, authority, serial, count=2):
    """Until all workers show it; each is told by the parent on a way of its own."""

    def is_shown():
        shown = shown_by_each_worker(usher, authority, count)
        return len(shown) == count and set(shown.values()) == {serial}

    wait_until(is_shown, 30, f"all workers show {serial}")


def hang_up(usher) -> int:
    """Sends SIGHUP; returns where the events behind it begin."""
    before = usher.mark()
    usher.process.send_signal(signal.SIGHUP)
    return before


def test_every_worker_shows_the_new_certificate(start_front, store, authority):
    usher = start_front()
    serial = store.put(store.issue())
    assert serial not in shown_by_each_worker(usher, authority).values()
    usher.renew()
    wait_shown(usher, authority, serial)
    assert usher.find("certificates_renewed")[0]["files"] == "2"


def test_who_is_connected_notices_nothing(start_dovecot, start_usher, store, authority):
    usher = start_usher(
        {"mail1": start_dovecot("mail1")}, listeners=FRONT, certificate=store.files
    )
    context = client(authority)
    with (
        usher.connect("imaps", tls=Tls.IMPLICIT, context=context) as silent,
        usher.connect("imaps", tls=Tls.IMPLICIT, context=context) as waiting,
        usher.connect("imaps", tls=Tls.IMPLICIT, context=context) as early,
    ):
        for imap in (silent, waiting):
            assert imap.login("ann", USERS["ann"]).status == "OK"
        assert waiting.command(b"SELECT INBOX").status == "OK"
        tag = waiting.start(b"IDLE")
        assert waiting.line().startswith(b"+")
        for _ in range(3):
            serial = store.put(store.issue())
            usher.renew()
        wait_shown(usher, authority, serial)
        waiting.send(b"DONE\r\n")
        assert waiting.finish(tag).status == "OK"
        assert silent.is_alive()
        assert early.login("bob", USERS["bob"]).status == "OK"
        assert serial_of(silent.socket) != serial
    assert not usher.find("process_ended")


BROKEN = {
    "no PEM": lambda store: store.files.certificate.write_text("nothing of the kind\n"),
    "an empty file": lambda store: store.files.certificate.write_text(""),
    "no file": lambda store: store.files.certificate.unlink(),
    "a key that is gone": lambda store: store.files.key.unlink(),
    "another's key": lambda store: shutil.copy(store.issue().key, store.files.key),
    "a folder": lambda store: (store.files.key.unlink(), store.files.key.mkdir()),
    "a pipe": lambda store: (store.files.key.unlink(), os.mkfifo(store.files.key)),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_with_a_broken_file_nothing_changes(start_front, store, authority, fault):
    usher = start_front()
    before = set(shown_by_each_worker(usher, authority).values())
    BROKEN[fault](store)
    mark = hang_up(usher)
    refused = usher.wait_event("change_refused", after=mark)
    assert store.files.certificate.name in refused["detail"] or store.files.key.name in refused["detail"]
    # A worker that is started now is given what was good, too.
    os.kill(usher.pid("worker", slot=0), signal.SIGKILL)
    usher.wait_events("process_started", 2, role="worker", slot=0)
    assert set(shown_by_each_worker(usher, authority).values()) == before
    assert not usher.find("certificates_renewed")


def test_what_was_refused_may_be_put_right(start_front, store, authority):
    usher = start_front()
    store.files.certificate.write_text("")
    usher.wait_event("change_refused", after=hang_up(usher))
    serial = store.put(store.issue())
    usher.renew()
    wait_shown(usher, authority, serial)


def test_one_broken_file_of_many_keeps_all_as_they_were(start_front, store, authority, folder):
    more = store.issue("more.example.org")
    kept = Certificate(folder / "more.crt", folder / "more.key")
    shutil.copy(more.certificate, kept.certificate)
    shutil.copy(more.key, kept.key)
    usher = start_front(certificates={"more": kept})
    serial = store.put(store.issue())
    kept.key.write_text("")
    refused = usher.wait_event("change_refused", after=hang_up(usher))
    assert "more.crt" in refused["detail"] and "more.key" in refused["detail"]
    assert serial not in shown_by_each_worker(usher, authority).values()


def test_a_worker_that_is_started_later_shows_the_newest(start_front, store, authority):
    usher = start_front()
    serial = store.put(store.issue())
    usher.renew()
    for slot in (0, 1):
        os.kill(usher.pid("worker", slot=slot), signal.SIGKILL)
        usher.wait_events("process_started", 2, role="worker", slot=slot)
    assert set(shown_by_each_worker(usher, authority).values()) == {serial}


def test_a_worker_that_is_started_meanwhile_shows_the_newest(start_front, store, authority):
    usher = start_front()
    for started in range(2, 5):
        serial = store.put(store.issue())
        os.kill(usher.pid("worker", slot=0), signal.SIGKILL)
        mark = hang_up(usher)
        usher.wait_events("process_started", started, role="worker", slot=0)
        usher.wait_event("reloaded", after=mark)
        wait_shown(usher, authority, serial)


def test_many_signals_in_a_row_end_with_the_newest(start_front, store, authority):
    usher = start_front()
    for _ in range(3):
        serial = store.put(store.issue())
        for _ in range(10):
            mark = hang_up(usher)
    usher.wait_event("reloaded", after=mark)
    wait_shown(usher, authority, serial)


def test_more_certificates_are_renewed_too(start_front, store, authority, folder):
    more = Store(folder, authority)
    more.files = Certificate(folder / "more.crt", folder / "more.key")
    more.put(more.issue("one.example.org"))
    usher = start_front(certificates={"more": more.files}, workers=1)
    more.put(more.issue("two.example.org"))
    usher.renew()

    def is_shown(name, shown):
        with greeted(usher, client(authority), name) as secured:
            return names_in(secured) == {shown}

    wait_until(lambda: is_shown("two.example.org", "two.example.org"), 20, "the new one is shown")
    assert is_shown("one.example.org", NAME)


def test_whom_to_believe_is_renewed_too(start_front, authority, folder):
    clients = Authority(folder / "clients", "clients")
    ann, bob = (
        clients.issue(label, subject=f"/CN={label}", usage="clientAuth") for label in ("ann", "bob")
    )
    crl = clients.revocation_list()
    listener = Listener(
        tls=Tls.IMPLICIT,
        client_certificate="required",
        client_ca=clients.certificate,
        client_crl=crl,
    )
    usher = start_front(listeners={"imaps": listener})
    for shown in (ann, bob):
        assert is_let_in(usher, client(authority, certificate=shown))
    clients.revoke(bob)
    clients.revocation_list()
    usher.renew()
    bobs = client(authority, certificate=bob)
    wait_until(lambda: not is_let_in(usher, bobs), 20, "the revoked certificate is refused")
    assert is_let_in(usher, client(authority, certificate=ann))


def test_whom_to_believe_of_backends_is_renewed_too(
    start_scripted, start_usher, store, folder, authority
):
    address = free_address()
    stranger = Authority(folder / "stranger", "stranger")
    made = stranger.issue(address, address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    def script(connection):
        connection.start_tls()
        answering()(connection)

    server = start_scripted(script, address=address, context=context)
    trusted = folder / "trusted.crt"
    shutil.copy(authority.certificate, trusted)
    backend = Backend(server.endpoint, tls=Tls.IMPLICIT, tls_ca=trusted)
    usher = start_usher({"mail1": backend}, listeners=FRONT, certificate=store.files)

    def status():
        with usher.connect("plain") as imap:
            return imap.login("ann", USERS["ann"]).status

    assert status() == "NO"
    shutil.copy(stranger.certificate, trusted)
    usher.renew()
    wait_until(lambda: status() == "OK", 20, "the backend is trusted")


def test_with_a_configuration_that_is_none_certificates_stay_too(start_front, store, authority):
    usher = start_front()
    before = set(shown_by_each_worker(usher, authority).values())
    usher.config.write_text("this is no configuration {\n")
    store.put(store.issue())
    usher.wait_event("change_refused", after=hang_up(usher))
    assert set(shown_by_each_worker(usher, authority).values()) == before


def test_without_tls_there_is_nothing_to_renew(start_scripted, start_usher):
    usher = start_usher({"mail1": start_scripted(answering())}, listeners={"plain": Listener()})
    usher.renew()
    assert usher.find("reloaded")[0]["files"] == "0"
    assert not usher.find("certificates_renewed")


# --- doubts -----------------------------------------------------------------------------------------


def test_what_is_doubtful_is_used_and_told_in_the_log(start_front, store, authority):
    store.put(store.issue(expired=True))
    listener = Listener(tls=Tls.IMPLICIT, server_names=(NAME, "imap.example.org"))
    usher = start_front(listeners={"imaps": listener})
    shown = str(store.files.certificate)
    details = [event["detail"] for event in usher.find("certificate_doubtful")]
    assert len(details) == 2
    assert usher.find("certificate_doubtful", file=shown)[0]["detail"].startswith(f"{shown} expired")
    assert "imap.example.org" in details[1]
    mark = usher.mark()
    store.put(store.issue(NAME, "imap.example.org"))
    usher.renew()
    assert not usher.find("certificate_doubtful", mark)
    mark = usher.mark()
    store.put(store.issue(NAME, "imap.example.org", lasts=timedelta(days=3)))
    usher.renew()
    (doubt,) = usher.find("certificate_doubtful", mark)
    assert "within 3 days" in doubt["detail"]


def test_a_certificate_whose_end_comes_near_is_told_while_usher_runs(start_front, store):
    near = datetime.now(timezone.utc) + timedelta(seconds=6)
    store.put(store.issue(lasts=timedelta(days=14, seconds=6)))
    usher = start_front()
    doubt = usher.wait_event("certificate_doubtful", timeout=30)
    assert "within 14 days" in doubt["detail"]
    assert datetime.fromisoformat(doubt.time) >= near - timedelta(seconds=2)
