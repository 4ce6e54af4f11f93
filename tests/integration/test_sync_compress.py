"""COMPRESS=DEFLATE (RFC 4978) with real servers: less goes over the wire, and the same arrives."""

from __future__ import annotations

import pytest
from peers.account import INBOX
from peers.corpus import MIB, Corpus, plain_messages
from peers.relay import Relay
from syncing import assert_same


def mail(messages: int, size: int) -> Corpus:
    return Corpus({INBOX: list(plain_messages(messages, size)), ("a",): list(plain_messages(5))})


def wire(report) -> int:
    return report.told["wire_bytes"]["from"] + report.told["wire_bytes"]["to"]


@pytest.mark.parametrize("word", ["yes", "no"])
def test_what_is_compressed_is_less_and_arrives(syncing, account, word):
    source, target = account("mdbox"), account("mdbox")
    source.fill(mail(60, 40_000))
    report = syncing.synced(source, target, "--compress", word, "--full")
    assert_same(source, target)
    # It goes once out of the source, once into the target, and is read again there.
    assert (wire(report) < report.total("carried_bytes")) == (word == "yes")


def test_a_server_without_it_is_spoken_with_as_ever(syncing, account):
    source, target = account("maildir"), account("cyrus")
    source.fill(mail(10, 5_000))
    syncing.synced(source, target, "--compress", "yes")
    assert_same(source, target)


@pytest.mark.long
def test_a_slow_way_is_noticed_and_compressed(syncing, account):
    source, target = account("mdbox"), account("mdbox")
    source.fill(mail(400, 50_000))
    server = (source.place.address, source.place.port)
    with Relay(server, delay_ms=5, rate=2 * MIB) as relay:
        report = syncing.synced(source.through(relay), target)
    assert "compressing" in report.log
    assert report.told["wire_bytes"]["from"] < 0.8 * report.total("carried_bytes")
    assert_same(source, target)
