"""Real mail programs log in through usher at real servers, and get the right user's mail."""

from __future__ import annotations

import clients
import pytest
from conftest import USERS
from peers.certs import Tls
from peers.mailbox import contents_of, fill_imap, read_imap, read_maildir, without_keywords
from peers.mailgen import generate

MAILS = list(generate(20, seed=7))
MANY_MAILS = list(generate(1000, seed=8))


@pytest.fixture(params=["dovecot", "cyrus"])
def server(request, start_dovecot, start_cyrus):
    """Each real server in turn, with mail for ann."""
    started = start_cyrus() if request.param == "cyrus" else start_dovecot("mail1")
    direct = clients.Account(started.port, host=started.address)
    with clients.logged_in(direct) as imap:
        fill_imap(imap, MAILS)
    return started


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_curl_lists_and_fetches(server, start_usher, account_at, tls):
    usher = start_usher({"mail1": server})
    account = account_at(usher, tls)
    assert b"INBOX" in clients.curl(account)
    for number in (1, 20):
        assert clients.curl(account, f"INBOX;MAILINDEX={number}") == MAILS[number - 1].raw
    for event in usher.wait_events("login", 3):
        assert (event["user"], event["mech"]) == ("ann", "PLAIN")
        assert event["tls"].startswith("TLSv1.3")


@pytest.mark.parametrize("tls", list(Tls))
@pytest.mark.parametrize("mech", ["LOGIN", "PLAIN"])
def test_imaplib_reads_all_mail(server, start_usher, account_at, tls, mech):
    usher = start_usher({"mail1": server})
    with clients.imap(account_at(usher, tls)) as imap:
        if mech == "LOGIN":
            imap.login("ann", USERS["ann"])
        else:
            imap.authenticate("PLAIN", lambda _: f"\0ann\0{USERS['ann']}".encode())
        assert read_imap(imap) == contents_of(MAILS)
    login = usher.wait_event("login", user="ann")
    assert (login["mech"], login["backend"], login["pool"]) == (mech, "mail1", "main")
    assert login["address"] == server.endpoint


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_mutt_reads_and_writes(server, start_usher, account_at, folder, tls):
    account = account_at(start_usher({"mail1": server}), tls)
    with clients.logged_in(account) as imap:
        assert imap.create("Sent")[0] == "OK"
        clients.mutt_send(account, folder, "written by mutt", "Sent")
        assert imap.select("Sent") == ("OK", [b"1"])
        _, parts = imap.fetch("1", "(BODY[HEADER.FIELDS (SUBJECT)])")
        assert b"Subject: written by mutt" in parts[0][1]
    clients.mutt_read(account, folder, "<first-entry><pipe-message>cat>got<enter>q")
    assert (folder / "got").read_bytes().replace(b"\n", b"\r\n") == MAILS[0].raw


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_mbsync_pulls_a_thousand_messages(start_dovecot, start_usher, account_at, folder, tls):
    dovecot = start_dovecot("mail1")
    with clients.logged_in(clients.Account(dovecot.port, host=dovecot.address)) as direct:
        fill_imap(direct, MANY_MAILS)
        pulled = clients.mbsync(account_at(start_usher({"mail1": dovecot}), tls), folder)
        at_backend = read_imap(direct)
    assert at_backend == contents_of(MANY_MAILS)
    assert read_maildir(pulled) == without_keywords(at_backend)
