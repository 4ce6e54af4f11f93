"""`usher sync` of much: many messages, many folders, large ones."""

from __future__ import annotations

import time

import pytest
from peers.account import INBOX
from peers.corpus import MIB, Corpus, nasty, plain_messages
from syncing import (
    OK,
    assert_explained,
    assert_same,
    assert_second_run_writes_nothing,
    finish,
    has_sanitizer,
    memory_env,
    peak_bytes,
)

pytestmark = pytest.mark.long


@pytest.mark.parametrize("kinds", [("sdbox", "cyrus"), ("cyrus-dots", "maildir")], ids="-".join)
def test_hundreds_of_odd_folders_and_a_message_of_30_mib(syncing, account, kinds):
    source, target = (account(kind) for kind in kinds)
    source.fill(nasty(big=30 * MIB, names=400, usual=500))
    source.read()
    report = syncing.run(source, target, "--memory", "16M", "--full")
    assert_explained(source, target, report)
    assert_second_run_writes_nothing(syncing, source, target, "--full", status=report.status)


@pytest.mark.parametrize("kinds", [("sdbox", "mdbox"), ("mdbox", "cyrus")], ids="-".join)
def test_50_000_messages_in_one_folder(syncing, account, kinds):
    source, target = (account(kind) for kind in kinds)
    source.fill(Corpus({INBOX: list(plain_messages(50_000, 1000))}))
    syncing.synced(source, target)
    assert_same(source, target)
    source.add(INBOX, plain_messages(3, about="new"))
    source.tell("STORE 100:200 +FLAGS.SILENT (\\Flagged)", select=INBOX)
    began = time.monotonic()
    report = syncing.synced(source, target)
    assert time.monotonic() - began < 20
    assert report.total("carried") == 3
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target, "--no-journal")


def test_300_000_small_messages_take_little_memory_and_a_second_run_seconds(syncing, account):
    source, target = account("mdbox"), account("sdbox")
    for first in range(1, 300_001, 50_000):
        source.fill(Corpus({INBOX: list(plain_messages(50_000, first=first))}))
    running = syncing.start(source, target, env=memory_env())
    peak = peak_bytes(running)
    report = finish(running)
    assert report.status == OK
    assert report.total("carried") == 300_000
    assert 0 < peak < (600 if has_sanitizer() else 120) * MIB
    began = time.monotonic()
    report = syncing.synced(source, target)
    assert time.monotonic() - began < 10
    assert report.total("carried") == 0
