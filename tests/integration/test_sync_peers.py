"""By what `usher sync` is judged, judged itself: the reader sees what differs, the fake server and the
relay do what they are told."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from peers.account import INBOX, Folder, Message, Snapshot, differences, from_utf7, to_utf7
from peers.corpus import Corpus, Item, fill, nasty, plain_messages
from peers.fakestore import Ways
from peers.rawimap import Closed, RawImap
from peers.relay import Relay, Trouble
from syncing import PASSWORD

NASTY_NAMES = {"日本語": "&ZeVnLIqe-", "a&b": "a&-b", "📬": "&2D3c7A-", "plain": "plain", "&": "&-"}


@pytest.mark.parametrize(("name", "wire"), NASTY_NAMES.items())
def test_names_go_to_modified_utf_7_and_back(name, wire):
    assert to_utf7(name) == wire
    assert from_utf7(wire) == name


def account_of(*digests: str) -> Snapshot:
    messages = [
        Message(uid, frozenset(), None, digest, 1, digest) for uid, digest in enumerate(digests, 1)
    ]
    return Snapshot("", "/", {INBOX: Folder("INBOX", messages=messages)})


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("ab", "ab", []),
        ("ab", "a", ["missing"]),
        ("a", "ab", ["extra"]),
        ("aab", "ab", ["missing"]),
        ("ab", "aab", ["extra"]),
        ("ab", "ba", ["order"]),
        ("aba", "aab", ["order"]),
        ("ab", "ac", ["missing", "extra"]),
    ],
)
def test_the_reader_tells_what_differs(source, target, expected):
    found = differences(account_of(*source), account_of(*target))
    assert [difference.what for difference in found] == expected


def test_the_reader_tells_flags_and_folders_that_differ():
    source, target = account_of("a", "b"), account_of("a", "b")
    folder = target.folders[INBOX]
    folder.messages[1] = replace(folder.messages[1], flags=frozenset({"\\seen"}))
    source.folders["x",] = Folder("x")
    target.folders["y",] = Folder("y")
    found = [difference.what for difference in differences(source, target)]
    assert found == ["flags", "folder", "extra folder"]


@pytest.mark.parametrize("kind", ["sdbox", "maildir", "mdbox", "cyrus", "cyrus-dots"])
def test_the_reader_sees_what_was_put_there(account, kind):
    end = account(kind)
    corpus = nasty(big=10_000)
    refused = end.fill(corpus)
    names = corpus.folders.keys() - {name for name, _ in refused.folders}
    seen = end.read()
    assert names <= seen.folders.keys()
    expected = sum(len(corpus.folders[name]) for name in names) - len(refused.messages)
    assert seen.messages() == expected > 200
    assert len(names) > 40


def test_the_fake_server_keeps_what_it_is_given(start_fake):
    one, other = start_fake(), start_fake()
    corpus = nasty(big=10_000)
    one.fill(corpus)
    with other.raw() as imap:
        assert fill(imap, corpus).messages == []
    assert differences(one.read(), other.read(), with_zones=True) == []
    assert one.fake.violations == other.fake.violations == []


@pytest.mark.parametrize(
    ("without", "command"),
    [
        ("UIDPLUS", b"UID EXPUNGE 1"),
        ("CONDSTORE", b"UID FETCH 1:* FLAGS (CHANGEDSINCE 1)"),
        ("ESEARCH", b"UID SEARCH RETURN (ALL) ALL"),
        ("MULTIAPPEND", b"APPEND INBOX {1+}\r\na {1+}\r\na"),
        ("LIST-EXTENDED", b'LIST "" "*" RETURN (SUBSCRIBED)'),
        ("UNSELECT", b"UNSELECT"),
    ],
)
def test_the_fake_server_notes_what_it_does_not_offer(start_fake, without, command):
    with_it, without_it = start_fake(), start_fake(Ways(without=[without]))
    for end, expected in ((with_it, "OK"), (without_it, "BAD")):
        with end.raw() as imap:
            imap.command(b"SELECT INBOX")
            assert imap.command(command).status == expected
        assert bool(end.fake.violations) == (expected == "BAD")


def test_a_relay_is_as_far_away_as_it_is_told(start_fake):
    end = start_fake()
    end.fill(Corpus({INBOX: [Item(b"x" * 5_000_000)]}))
    with Relay((end.place.address, end.place.port), delay_ms=40) as relay:
        with RawImap(relay.address, relay.port) as imap:
            imap.login(end.server.user, PASSWORD)
            imap.command(b"EXAMINE INBOX")
            began = time.monotonic()
            imap.command(b"NOOP")
            near = time.monotonic() - began
            began = time.monotonic()
            imap.command(b"FETCH 1 BODY.PEEK[]")
            far = time.monotonic() - began
    assert near >= 0.08
    # However much it is, it comes as late as a little does.
    assert far >= 0.08
    assert relay.down > 5_000_000


@pytest.mark.parametrize("octets", [0, 1, 50, 5000])
def test_a_relay_cuts_at_the_byte(start_fake, octets):
    end = start_fake()
    end.fill(Corpus({INBOX: list(plain_messages(50))}))
    with Relay(
        (end.place.address, end.place.port), troubles=[Trouble(cut_down=octets)]
    ) as relay:
        came = 0
        try:
            with RawImap(relay.address, relay.port, reads_greeting=False) as imap:
                imap.send(b'a LOGIN "%s" "%s"\r\nb EXAMINE INBOX\r\nc FETCH 1:* BODY.PEEK[]\r\n'
                          % (end.server.user.encode(), PASSWORD.encode()))  # fmt: skip
                while True:
                    imap.octets(1)
                    came += 1
        except (Closed, ConnectionResetError):
            pass
    assert came <= octets
    assert relay.down == octets
