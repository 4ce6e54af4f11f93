"""Fixtures of the tests of `usher sync`: servers that serve all tests of a module, each test with
accounts of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from peers.process import private_dir, remove_dir
from syncing import Account, FakeAccount, Place, Syncing, cyrus, dovecot, fake

# One of each: formats, separators, prefixes.
KINDS = {
    "sdbox": {"driver": "sdbox", "plugins": ("acl", "metadata", "quota")},
    "maildir": {"driver": "maildir", "separator": ".", "prefix": "INBOX."},
    "mdbox": {"driver": "mdbox", "prefix": "INBOX/", "compress": True},
    "cyrus": {"settings": "munge8bit: no\n"},
    "cyrus-dots": {"unix_separator": False, "alternative": False},
}


@pytest.fixture
def syncing(folder: Path) -> Syncing:
    return Syncing(folder)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Place]]:
    """The server of one of KINDS; started when it is first asked for."""
    folder = private_dir("sync")
    started: dict[str, Place] = {}
    with ExitStack() as stack:
        stack.callback(remove_dir, folder)

        def start(kind: str) -> Place:
            if kind not in started:
                options = KINDS[kind]
                if kind.startswith("cyrus"):
                    tree = request.getfixturevalue("cyrus_tree")
                    made = cyrus(tree, folder / kind, **options)
                else:
                    made = dovecot(folder, kind, **options)
                started[kind] = stack.enter_context(made)
            return started[kind]

        yield start


@pytest.fixture
def account(place: Callable[[str], Place]) -> Callable[[str], Account]:
    """A new account at a server of one of KINDS."""
    return lambda kind: place(kind).account()


@pytest.fixture
def start_fake(stack: ExitStack) -> Callable[..., FakeAccount]:
    """Starts a fake server with one account; options are fake()'s."""
    return lambda *words, **options: stack.enter_context(fake(*words, **options))
