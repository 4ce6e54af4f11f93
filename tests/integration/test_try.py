"""place = try: servers that know only their own users, and nobody who knows which."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from ctl import ask
from peers.dovecot import Dovecot
from peers.process import session_members, signal_each, wait_until
from peers.usher import Listener, Usher, open_state

NAMES = ("mail1", "mail2", "mail3")
HOMES = {"ann": "mail1", "bob": "mail2", "carol": "mail3", "dave": "mail1", "eve": "mail2"}


def secret(user: str) -> str:
    return f"secret-{user}"


@pytest.fixture
def cluster(start_dovecot, start_usher) -> Callable[..., tuple[Usher, dict[str, Dovecot]]]:
    def start(**settings) -> tuple[Usher, dict[str, Dovecot]]:
        servers = {
            name: start_dovecot(name, users={u: secret(u) for u, home in HOMES.items() if home == name})
            for name in NAMES
        }
        pool = {"place": "try", "try_rate": "100", **settings.pop("pool", {})}
        usher = start_usher(
            servers,
            listeners={"imap": Listener()},
            pool_settings={"main": pool},
            penalty_exempt=[],
            **settings,
        )
        return usher, servers

    return start


def tries(servers: dict[str, Dovecot], user: str) -> int:
    """Passwords of this user that servers have seen and refused."""
    return sum(
        f"passwd-file({user}," in line and "unknown user" in line
        for server in servers.values()
        for line in server.log.read_text().splitlines()
    )


def test_everybody_is_found_and_stays(cluster, folder):
    usher, servers = cluster()
    for user, home in HOMES.items():
        with usher.connect() as imap:
            assert imap.login(user, secret(user)).status == "OK"
            assert usher.wait_event("login", user=user)["backend"] == home
    usher.wait_events("placed", len(HOMES))
    # All but the last attempt were refused, and are in the logs before long.
    seen = {event["user"]: int(event["attempts"]) - 1 for event in usher.find("login")}
    wait_until(lambda: {user: tries(servers, user) for user in HOMES} == seen, 20, "all refusals in the logs")
    for user, home in HOMES.items():
        mark = usher.mark()
        with usher.connect() as imap:
            assert imap.login(user, secret(user)).status == "OK"
            event = usher.wait_event("login", after=mark, user=user)
            assert (event["backend"], event["attempts"]) == (home, "1")
    # Nobody else was asked again.
    assert {user: tries(servers, user) for user in HOMES} == seen
    usher.stop()
    with open_state(folder / "state") as db:
        rows = dict(db.execute("SELECT user, backend FROM placement"))
    assert rows == HOMES


def test_a_wrong_password_is_one_failure(cluster):
    usher, servers = cluster()
    with usher.connect() as imap:
        answer = imap.login("ann", "guess")
        assert (answer.status, answer.code) == ("NO", "AUTHENTICATIONFAILED")
        # The connection may go on.
        assert imap.login("ann", secret("ann")).status == "OK"
    assert usher.wait_event("auth_failed", user="ann")["failures"] == "1"
    usher.wait_event("login", user="ann")
    assert len(usher.find("login_refused")) == 1
    assert tries(servers, "nobody") == 0
    with usher.connect() as imap:
        answer = imap.login("nobody", "guess")
        assert (answer.status, answer.code) == ("NO", "AUTHENTICATIONFAILED")
    # Each was asked, once.
    wait_until(lambda: tries(servers, "nobody") == len(NAMES), 10, "three refusals in the logs")
    assert usher.wait_event("auth_failed", user="nobody")["user_failures"] == "1"


def test_a_server_that_cannot_be_asked_may_be_the_one(cluster):
    usher, servers = cluster(backend_login_timeout="3s")
    server = servers[HOMES["bob"]]
    members = session_members(server.process.pid)
    signal_each(members, signal.SIGSTOP)
    try:
        with usher.connect() as imap:
            answer = imap.login("bob", secret("bob"))
            assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
        assert not usher.find("auth_failed")
        with usher.connect() as imap:
            assert imap.login("carol", secret("carol")).status == "OK"
    finally:
        signal_each(members, signal.SIGCONT)
    with usher.connect() as imap:
        assert imap.login("bob", secret("bob")).status == "OK"
    assert ask(usher, "route", "bob").done["placed"] == HOMES["bob"]


def test_tries_are_rated(cluster):
    """Who is known does not wait for those who are looked for."""
    usher, _ = cluster(pool={"try_rate": "2", "queue_timeout": "15s"})
    with usher.connect() as imap:
        assert imap.login("ann", secret("ann")).status == "OK"
    with usher.connect(timeout=30) as one, usher.connect(timeout=30) as two, usher.connect() as known:
        first = one.start(b"LOGIN stranger1 guess")
        second = two.start(b"LOGIN stranger2 guess")
        assert known.login("ann", secret("ann")).status == "OK"
        assert one.finish(first).status == "NO"
        assert two.finish(second).status == "NO"
    usher.wait_event("queued")
