"""The same work through usher and straight at the backend gives the same result.

Two users have equal mailboxes on one server. A client works on the one straight at the server's port,
on the other through usher, and all it was told is compared, but for what the server itself never
says twice alike.
"""

from __future__ import annotations

import imaplib
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path

import clients
import pytest
from clients import Account
from peers.certs import Tls
from peers.mailbox import (
    Contents,
    entry,
    fill_imap,
    fill_maildir,
    read_imap,
    read_maildir,
    without_keywords,
)
from peers.mailgen import Mail, generate

USERS = {"user1": "secret-1", "user2": "secret-2"}
MAILS = list(generate(20, seed=11))
MBSYNC_S = 300
NEW_MAIL = b"From: eve@example.org\r\nSubject: A new one\r\n\r\n.\r\n..\r\nFrom here\r\n"

# What a server makes anew for each mailbox, session or answer, and what it is replaced by.
UNLIKE = (
    (rb"\d+\.\d{3}(?: \+ \d+\.\d{3})* secs?\b", b"... secs"),
    (rb"\b(UIDVALIDITY|APPENDUID|COPYUID) \d+", rb"\1 ..."),
    # imapflow's word for UIDVALIDITY, and its digest of that and a UID.
    (rb'"uidValidity":"\d+"', b'"uidValidity":...'),
    (rb'"id":"[0-9a-f]{32}"', b'"id":...'),
    (rb"\bMAILBOXID \(\S+\)", b"MAILBOXID (...)"),
    (rb"\bSESSIONID=<[^>]*>", b"SESSIONID=<...>"),
    (rb"\buser[12]\b", b"USER"),
    # Capabilities come with the OK of a login or before it; its words depend on the mechanism.
    (rb"\* (CAPABILITY [^\r]*)\r\n(\w+ OK) (?=Logged in)", rb"\2 [\1] "),
    (rb"\] (Logged in|User logged in|Success \(no protection\))", b"] Logged in"),
)


# Courier goes its own way with names of mailboxes and with errors: it serves where neither matters.
SERVERS = ["dovecot", "cyrus"]
ALL_SERVERS = [*SERVERS, pytest.param("courier", marks=pytest.mark.root)]


@pytest.fixture(params=SERVERS)
def server(request):
    """Each real server in turn."""
    start = request.getfixturevalue(f"start_{request.param}")
    return start("mail1", users=USERS) if request.param == "dovecot" else start(users=USERS)


@pytest.fixture
def ways(start_usher, account_at):
    """The two ways to a server: straight as the one user, through usher as the other."""

    def to(server, tls: Tls) -> tuple[Account, Account]:
        usher = start_usher({"mail1": server})
        return straight(server, "user1"), replace(account_at(usher, tls), **credentials("user2"))

    return to


def straight(server, user: str) -> Account:
    return Account(server.port, host=server.address, **credentials(user))


def credentials(user: str) -> dict[str, str]:
    return {"user": user, "password": USERS[user]}


def fill(server, mails) -> None:
    for user in USERS:
        with clients.logged_in(straight(server, user)) as imap:
            fill_imap(imap, mails)


def alike(said: bytes) -> list[bytes]:
    """The lines without what must differ."""
    for pattern, kept in UNLIKE:
        said = re.sub(pattern, kept, said)
    return said.split(b"\n")


def assert_same(seen: list[bytes], expected: list[bytes]) -> None:
    """Fails with the lines that differ."""
    lines = ([repr(line) for line in said] for said in (expected, seen))
    difference = list(unified_diff(*lines, "straight", "through usher", n=1, lineterm=""))
    assert seen == expected, "\n".join(difference)


# Python's imaplib.


def overhear(imap: imaplib.IMAP4) -> list[bytes]:
    """A list into which all goes that the server says from now on."""
    said: list[bytes] = []

    def attended(reading: Callable[..., bytes]) -> Callable[..., bytes]:
        def read(*size: int) -> bytes:
            octets = reading(*size)
            said.append(octets)
            return octets

        return read

    imap.read = attended(imap.read)
    imap.readline = attended(imap.readline)
    return said


def overheard(imap: imaplib.IMAP4, said: list[bytes]) -> bytes:
    """What overhear() has gathered, tags made alike."""
    return re.sub(rb"^%s\d+(?= )" % imap.tagpre, b"TAG", b"".join(said), flags=re.MULTILINE)


def imaplib_work(account: Account) -> bytes:
    """A day's work with one mailbox; what the server said from login to the connection's end."""
    imap = clients.imap(account)
    said = overhear(imap)
    imap.login(account.user, account.password)
    imap.capability()
    imap.noop()
    imap.namespace()
    imap.xatom("ID", "NIL")
    for name in ("Work", "Entw&APw-rfe", "Work/Old"):
        imap.create(name)
    imap.subscribe("Work")
    imap.list()
    imap.list('""', "Work*")
    imap.lsub()
    imap.select('"No such mailbox"')
    imap.status("INBOX", "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)")
    imap.select("INBOX")
    read_by(imap)
    change_by(imap)
    idle_by(imap, account)
    imap.close()
    imap.select("Work", readonly=True)
    imap.fetch("1:*", "(FLAGS BODY.PEEK[])")
    imap.unselect()
    imap.rename("Work", "Play")
    imap.delete("Play")
    imap.logout()
    return overheard(imap, said)


def read_by(imap: imaplib.IMAP4) -> None:
    imap.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
    imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (DATE SUBJECT)] BODY.PEEK[TEXT]<3.100>)")
    imap.uid("FETCH", "1:*", "(BODY[])")
    for criterion in ("ALL", "UNSEEN", "SUBJECT tram", "LARGER 2000 SINCE 3-Jan-2024"):
        imap.search(None, criterion)
    imap.literal = "Größere".encode()  # sent after the server's "+"
    imap.search("UTF-8", "SUBJECT")
    imap.sort("REVERSE DATE", "UTF-8", "ALL")
    imap.thread("REFERENCES", "UTF-8", "ALL")
    with pytest.raises(imaplib.IMAP4.error, match="BAD"):
        imap.fetch("1:2", "(FLAGS")
    with pytest.raises(imaplib.IMAP4.error, match="BAD"):
        imap.xatom("NONSENSE")


def change_by(imap: imaplib.IMAP4) -> None:
    for mail in MAILS[:3]:
        imap.append("INBOX", "(\\Seen $Forwarded)", mail.date, mail.raw)
    imap.append('"No such mailbox"', None, MAILS[0].date, MAILS[0].raw)
    imap.noop()
    imap.store("1:4", "+FLAGS", "(\\Flagged Work)")
    imap.store("2", "-FLAGS.SILENT", "(\\Flagged)")
    imap.store("1:3,20", "+FLAGS", "(\\Deleted)")
    imap.copy("2:5", "Work")
    imap.uid("COPY", "6,8", "Work")
    imap.uid("MOVE", "9", "Work")
    imap.expunge()
    imap.fetch("1:*", "(UID FLAGS)")


def idle_by(imap: imaplib.IMAP4, account: Account) -> None:
    """IDLE, until somebody else's mail is told of."""
    tag = imap._new_tag()
    imap.send(tag + b" IDLE\r\n")
    assert imap.readline().startswith(b"+")
    with clients.logged_in(account) as somebody_else:
        somebody_else.append("INBOX", None, MAILS[0].date, NEW_MAIL)
    while not re.match(rb"\* \d+ RECENT", imap.readline()):
        pass
    imap.send(b"DONE\r\n")
    while not imap.readline().startswith(tag):
        pass


@pytest.mark.parametrize("tls", list(Tls))
def test_imaplib_is_told_the_same(server, ways, tls):
    fill(server, MAILS)
    direct, through = ways(server, tls)
    expected = imaplib_work(direct)
    assert all(mail.raw in expected for mail in MAILS)
    assert_same(alike(imaplib_work(through)), alike(expected))


# curl.


def dialogue(trace: bytes) -> bytes:
    """From curl's words on stderr, what went both ways from the answer to its login on, and its
    complaint. The part before is usher's own, and has STARTTLS or not."""
    lines = [line[2:] for line in trace.splitlines(True) if line[:2] in (b"< ", b"> ")]
    asked = next(
        number for number, line in enumerate(lines) if re.match(rb"\w+ (AUTHENTICATE|LOGIN)", line)
    )
    complaint = re.findall(rb"^curl: .*\n", trace, re.MULTILINE)
    return re.sub(rb"\b[A-Z]\d{3} ", b"TAG ", b"".join(lines[asked + 1 :] + complaint))


def curl_work(account: Account, folder: Path) -> bytes:
    """Each run's status and output, and what it heard."""
    mail = folder / "mail"
    mail.write_bytes(NEW_MAIL)
    runs = (
        ("",),
        ("", "-X", "STATUS INBOX (MESSAGES UIDNEXT UNSEEN)"),
        ("INBOX;MAILINDEX=1",),
        ("INBOX;UID=3;SECTION=TEXT",),
        ("INBOX;UIDVALIDITY=1;UID=3",),
        ("INBOX;MAILINDEX=99",),
        ("Missing;MAILINDEX=1",),
        ("INBOX?SUBJECT%20tram",),
        ("INBOX", "-X", "SEARCH UNSEEN"),
        ("INBOX", "-X", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"),
        ("", "-X", "CREATE Work"),
        ("Work", "-T", str(mail)),
        ("Work;MAILINDEX=1",),
        ("INBOX", "-X", "STORE 2:4 +FLAGS (\\Deleted)"),
        ("INBOX", "-X", "EXPUNGE"),
        ("INBOX", "-X", "NONSENSE"),
    )
    said = b""
    for path, *options in runs:
        done = clients.attempt(*clients.curl_words(account, path, "--verbose", *options))
        said += b"%s: %d\r\n%s%s" % (path.encode(), done.returncode, done.stdout, dialogue(done.stderr))
    return said + curl_idles(account)


def curl_idles(account: Account) -> bytes:
    """What curl hears in an IDLE, until somebody else's mail is told of."""
    heard, is_idle = b"", False
    words = clients.curl_words(account, "INBOX", "--verbose", "-X", "IDLE")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as idler:
        try:
            for line in idler.stderr:
                heard += line
                if is_idle and re.match(rb"< \* \d+ RECENT", line):
                    break
                if line.startswith(b"< +"):
                    is_idle = True
                    with clients.logged_in(account) as somebody_else:
                        somebody_else.append("INBOX", None, MAILS[0].date, NEW_MAIL)
        finally:
            idler.kill()
    return dialogue(heard)


@pytest.mark.parametrize("tls", list(Tls))
def test_curl_is_told_the_same(server, ways, folder, tls):
    fill(server, MAILS)
    direct, through = ways(server, tls)
    expected = curl_work(direct, folder)
    assert MAILS[0].raw in expected
    assert NEW_MAIL in expected
    assert_same(alike(curl_work(through, folder)), alike(expected))


# mbsync. Messages that the test changes, near and far, by UID, which counts from one.

NEAR_FLAGGED, NEAR_DELETED, FAR_ANSWERED, FAR_DELETED = 5, 6, 7, 8


def in_store(maildir: Path, uid: int) -> Path:
    """The file of a message that mbsync knows by a UID."""
    (found,) = (path for path in maildir.glob("*/*") if re.search(rf",U={uid}(:2,\w*)?$", path.name))
    return found


def add_flag(path: Path, letter: str) -> None:
    """Marks a message of a Maildir."""
    name, _, letters = path.name.partition(":2,")
    path.rename(path.parents[1] / "cur" / f"{name}:2,{''.join(sorted({*letters, letter}))}")


def mbsync_work(account: Account, behind: Account, folder: Path) -> tuple[Contents, Contents]:
    """Pulls all, changes both sides, the far one `behind` usher's back, and synchronises: what is
    near then, and what is far."""
    folder.mkdir()
    near = clients.mbsync(account, folder, timeout=MBSYNC_S)
    with clients.logged_in(behind) as imap:
        assert read_maildir(near) == without_keywords(read_imap(imap))
        (near / "new/1.new.example").write_bytes(NEW_MAIL.replace(b"\r\n", b"\n"))
        add_flag(in_store(near, NEAR_FLAGGED), "F")
        add_flag(in_store(near, NEAR_DELETED), "T")
        imap.select("INBOX")
        imap.uid("STORE", str(FAR_ANSWERED), "+FLAGS", "(\\Answered)")
        imap.uid("STORE", str(FAR_DELETED), "+FLAGS", "(\\Deleted)")
        imap.expunge()
        imap.append("INBOX", "(\\Seen)", MAILS[0].date, MAILS[0].raw)
        clients.mbsync(account, folder, sync="All", expunge="Both", timeout=MBSYNC_S)
        return read_maildir(near), read_imap(imap)


def after_mbsync(mails: list[Mail]) -> Contents:
    """What mbsync_work() should leave of a mailbox."""
    flags = [set(mail.flags | mail.keywords) for mail in mails]
    for uid, flag in (
        (NEAR_FLAGGED, "\\Flagged"),
        (NEAR_DELETED, "\\Deleted"),
        (FAR_ANSWERED, "\\Answered"),
        (FAR_DELETED, "\\Deleted"),
    ):
        flags[uid - 1].add(flag)
    left = Counter(
        entry(mail.raw, given) for mail, given in zip(mails, flags) if "\\Deleted" not in given
    )
    left[entry(NEW_MAIL, ())] += 1
    left[entry(MAILS[0].raw, ["\\Seen"])] += 1
    return left


def check_mbsync(server, ways, folder: Path, tls: Tls, mails: list[Mail]) -> None:
    direct, through = ways(server, tls)
    expected = mbsync_work(direct, direct, folder / "straight")
    assert expected == (without_keywords(after_mbsync(mails)), after_mbsync(mails))
    behind = straight(server, through.user)
    assert mbsync_work(through, behind, folder / "through") == expected


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
@pytest.mark.parametrize("server", ALL_SERVERS, indirect=True)
def test_mbsync_carries_the_same(server, ways, folder, tls):
    mails = list(generate(200, seed=12))
    fill(server, mails)
    check_mbsync(server, ways, folder, tls, mails)


def test_mbsync_carries_five_thousand_messages(start_dovecot, ways, folder):
    dovecot = start_dovecot("mail1", users=USERS)
    mails = list(generate(5000, seed=13))
    for user in USERS:
        fill_maildir(dovecot.maildir(user), mails)
        dovecot.adopt(user)
    check_mbsync(dovecot, ways, folder, Tls.IMPLICIT, mails)


# mutt.

MUTT_KEYS = (
    "<tag-pattern>~A<enter><tag-prefix><pipe-message>cat>got<enter><untag-pattern>~A<enter>"
    "3<enter><flag-message>5<enter><delete-message>:set delete=yes<enter><sync-mailbox>q"
)


def mutt_work(account: Account, folder: Path) -> bytes:
    """Sends, with a copy; reads all; flags and deletes: what it read, and what is in its mailboxes."""
    folder.mkdir()
    with clients.logged_in(account) as imap:
        assert imap.create("Sent")[0] == "OK"
        clients.mutt_send(account, folder, "written by mutt", "Sent")
        clients.mutt_read(account, folder, MUTT_KEYS)
        got = (folder / "got").read_bytes()
        said = overhear(imap)
        imap.select("Sent")
        imap.fetch("1:*", "(FLAGS BODY.PEEK[])")
        imap.select("INBOX")
        imap.fetch("1:*", "(UID FLAGS RFC822.SIZE)")
    stamps = re.compile(rb"^(Date|Message-ID): .*(?=\r\n)", re.MULTILINE)
    return got.replace(b"\n", b"\r\n") + stamps.sub(rb"\1 ...", overheard(imap, said))


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_mutt_does_the_same(start_dovecot, ways, folder, tls):
    dovecot = start_dovecot("mail1", users=USERS)
    fill(dovecot, MAILS)
    direct, through = ways(dovecot, tls)
    expected = mutt_work(direct, folder / "straight")
    assert all(mail.raw in expected for mail in MAILS)
    assert b"Subject: written by mutt" in expected
    assert_same(alike(mutt_work(through, folder / "through")), alike(expected))


# imapflow, with COMPRESS and IDLE.


@pytest.mark.long
@pytest.mark.parametrize("tls", list(Tls))
def test_imapflow_is_told_the_same(start_dovecot, ways, imapflow_tree, tls):
    dovecot = start_dovecot("mail1", users=USERS, compress=True)
    fill(dovecot, MAILS)
    direct, through = ways(dovecot, tls)
    expected = clients.imapflow(direct, imapflow_tree)
    assert b'{"compress":true}' in expected
    assert expected.count(b'{"message":') == len(MAILS)
    assert_same(alike(clients.imapflow(through, imapflow_tree)), alike(expected))
