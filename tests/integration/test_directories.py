"""Directories: who a user is and where its mail is, by a map, by rules and by a server, and what
becomes of logins when they change, err, or are gone."""

from __future__ import annotations

import base64
import os
import signal
import time

import pytest
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import wait_until
from peers.rawimap import Answer
from peers.scripted import answering
from peers.socketmap import SocketMap, netstring
from peers.usher import Listener

PLAIN = {"plain": Listener(pool="main")}

# How long a login waits for a directory: in tests where it waits in vain, and in others.
TIMEOUT_S = 4
PATIENCE_S = 20


@pytest.fixture
def start_fake(stack):
    """Starts a backend that knows every user; what it says at login names it."""

    def start(name: str) -> FakeBackend:
        return stack.enter_context(FakeBackend(name=name))

    return start


@pytest.fixture
def server(stack):
    return stack.enter_context(SocketMap())


class Map:
    """A map in a file of its own, which is replaced as a whole, as tools do."""

    def __init__(self, folder) -> None:
        self.folder = folder / "maps"
        self.folder.mkdir()
        self.path = self.folder / "users.map"

    def write(self, *lines: str) -> None:
        fresh = self.folder / "users.map.new"
        fresh.write_text("".join(f"{line}\n" for line in lines))
        fresh.chmod(0o644)
        fresh.rename(self.path)

    @property
    def directory(self) -> dict[str, object]:
        return {"driver": "file", "path": self.path}


@pytest.fixture
def users(folder):
    return Map(folder)


@pytest.fixture
def start(start_usher, start_fake):
    """Starts usher with directories in front of pools main (mail1, mail2) and other (mail3)."""

    def begin(directories, **settings):
        pools = {
            "main": {"mail1": start_fake("mail1"), "mail2": start_fake("mail2")},
            "other": {"mail3": start_fake("mail3")},
        }
        usual = {
            "listeners": PLAIN,
            "pool_settings": {"other": {"tags": ["gold"]}},
            "directory_timeout": f"{PATIENCE_S}s",
        }
        return start_usher(pools=pools, directories=directories, **{**usual, **settings})

    return begin


def log_in(usher, user: str) -> Answer:
    with usher.connect("plain") as imap:
        return imap.login(user, PASSWORD)


def is_unavailable(usher, user: str) -> bool:
    answer = log_in(usher, user)
    return (answer.status, answer.code) == ("NO", "UNAVAILABLE")


def is_served(usher, user: str) -> bool:
    return log_in(usher, user).status == "OK"


def by(directory: SocketMap, **settings: object) -> dict[str, object]:
    return {"driver": "socketmap", "address": directory.endpoint, **settings}


def backend_of(usher, user: str) -> str:
    """Which backend a login comes to."""
    return served(usher, user)["backend"]


def served(usher, user: str):
    before = usher.mark()
    with usher.connect("plain") as imap:
        assert imap.login(user, PASSWORD).status == "OK"
    return usher.wait_event("login", after=before)


# --- a map --------------------------------------------------------------------------------------


def test_a_map_says_where_users_are(start, users):
    users.write(
        "ann pool=other",
        "bob backend=mail2",
        "carol tag=gold",
        "@example.org pool=other",
        "~^test[0-9]+$ backend=mail1",
    )
    usher = start({"people": users.directory})
    read = usher.wait_event("directory_read", directory="people")
    assert (read["users"], read["rules"]) == ("3", "2")
    assert backend_of(usher, "ann") == "mail3"
    assert backend_of(usher, "Bob") == "mail2"
    assert backend_of(usher, "carol") == "mail3"
    assert backend_of(usher, "anybody@Example.ORG") == "mail3"
    assert backend_of(usher, "test42") == "mail1"
    assert backend_of(usher, "nobody") in ("mail1", "mail2")


def test_a_host_is_that_of_a_backend(start_usher, start_fake, users):
    mail1, mail2 = start_fake("mail1"), start_fake("mail2")
    users.write(f"ann host={mail1.address}", f"bob host={mail2.address}", "eve host=192.0.2.1")
    usher = start_usher(
        {"mail1": mail1, "mail2": mail2},
        listeners=PLAIN,
        directories={"people": users.directory},
    )
    assert backend_of(usher, "ann") == "mail1"
    assert backend_of(usher, "bob") == "mail2"
    assert is_unavailable(usher, "eve")


def test_who_is_disabled_is_told_why(start, users):
    users.write('ann disabled="Moved away; ask the help desk"', "bob disabled=yes", "eve disabled=no")
    usher = start({"people": users.directory})
    assert b"Moved away; ask the help desk" in log_in(usher, "ann").text
    assert log_in(usher, "bob").status == "NO"
    assert is_served(usher, "eve")


def test_who_is_disabled_may_log_in_no_more(start, users):
    """Though a backend would still have the user."""
    users.write("ann")
    usher = start({"people": users.directory})
    assert backend_of(usher, "ann")
    before = usher.mark()
    users.write("ann disabled=yes")
    usher.wait_event("directory_read", after=before)
    assert log_in(usher, "ann").status == "NO"


def test_a_backend_is_told_another_name(start_usher, start_scripted, users):
    users.write("ann backend_user=ann.smith@internal")
    backend = start_scripted(answering())
    usher = start_usher(
        {"mail1": backend}, listeners=PLAIN, directories={"people": users.directory}
    )
    assert served(usher, "ann")["user"] == "ann"
    tokens = [line.split()[3] for line in backend.commands if b"AUTHENTICATE" in line]
    assert [base64.b64decode(token).split(b"\0")[1] for token in tokens] == [b"ann.smith@internal"]


def test_a_user_has_a_limit_of_its_own(start, users):
    users.write("ann max_sessions=1")
    usher = start({"people": users.directory})
    with usher.connect("plain") as first, usher.connect("plain") as second:
        assert first.login("ann", PASSWORD).status == "OK"
        answer = second.login("ann", PASSWORD)
        assert (answer.status, answer.code) == ("NO", "LIMIT")
    with usher.connect("plain") as first, usher.connect("plain") as second:
        assert first.login("bob", PASSWORD).status == "OK"
        assert second.login("bob", PASSWORD).status == "OK"


# --- a map that changes -------------------------------------------------------------------------


def test_a_map_is_read_again_when_it_changes(start, users):
    users.write("ann pool=main")
    usher = start({"people": users.directory})
    assert backend_of(usher, "ann") in ("mail1", "mail2")
    before = usher.mark()
    users.write("bob backend=mail2", "carol pool=other")
    read = usher.wait_event("directory_read", after=before)
    assert read["users"] == "2"
    assert backend_of(usher, "carol") == "mail3"
    assert backend_of(usher, "bob") == "mail2"


def test_a_wrong_line_is_named_and_the_old_map_stays(start, users):
    users.write("carol pool=other")
    usher = start({"people": users.directory})
    usher.wait_event("directory_read")
    before = usher.mark()
    users.write("ann pool=main", "carol pol=main")
    failed = usher.wait_event("directory_failed", after=before)
    assert f"{users.path}:2" in failed["detail"]
    assert "pol" in failed["detail"]
    assert backend_of(usher, "carol") == "mail3"
    assert len(usher.find("directory_failed")) == 1
    before = usher.mark()
    users.write("carol backend=mail2")
    usher.wait_event("directory_read", after=before)
    assert backend_of(usher, "carol") == "mail2"


def test_a_map_may_come_after_the_start(start, users):
    usher = start({"people": users.directory})
    failed = usher.wait_event("directory_failed", directory="people")
    assert str(users.path) in failed["detail"]
    assert is_unavailable(usher, "carol")
    users.write("carol pool=other")
    usher.wait_event("directory_read")
    assert backend_of(usher, "carol") == "mail3"


def test_a_map_may_be_a_link_to_one_of_another_folder(start, users, folder):
    """As with those who change many files at once, by changing the link."""
    places = [folder / "one", folder / "two"]
    for place, pool in zip(places, ("main", "other")):
        place.mkdir()
        (place / "users.map").write_text(f"carol pool={pool}\n")
    current = users.folder / "current"
    current.symlink_to(places[0])
    users.path.symlink_to(current / "users.map")
    usher = start({"people": users.directory})
    assert backend_of(usher, "carol") in ("mail1", "mail2")
    before = usher.mark()
    (places[0] / "fresh").write_text("carol pool=other\n")
    (places[0] / "fresh").rename(places[0] / "users.map")
    usher.wait_event("directory_read", after=before)
    assert backend_of(usher, "carol") == "mail3"


@pytest.mark.long
def test_a_map_of_a_million_lines(start, users):
    users.write(*(f"user{i}@example.org pool=main" for i in range(1_000_000)), "carol pool=other")
    usher = start({"people": users.directory})
    read = usher.wait_event("directory_read", timeout=60)
    assert read["users"] == "1000001"
    assert backend_of(usher, "carol") == "mail3"
    before = usher.mark()
    users.write(*(f"user{i}@example.org pool=main" for i in range(1_000_000)), "carol backend=mail1")
    # It is served meanwhile.
    slowest = 0.0
    while not usher.find("directory_read", after=before):
        begun = time.monotonic()
        assert backend_of(usher, "user7@example.org") in ("mail1", "mail2")
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < TIMEOUT_S
    assert backend_of(usher, "carol") == "mail1"


# --- rules and several directories --------------------------------------------------------------


def test_the_first_directory_that_knows_a_user_counts(start, users, server):
    users.write("ann backend=mail2")
    server.answers = {"ann": "pool=other", "bob": "pool=other"}
    usher = start(
        {
            "rules": {"driver": "static", "rules": ["root disabled=yes"]},
            "people": users.directory,
            "server": by(server),
        }
    )
    assert log_in(usher, "root").status == "NO"
    assert backend_of(usher, "ann") == "mail2"
    assert server.asked["ann"] == 0
    assert backend_of(usher, "bob") == "mail3"
    assert backend_of(usher, "zoe") in ("mail1", "mail2")
    assert server.asked["bob"] == server.asked["zoe"] == 1


# --- a server -----------------------------------------------------------------------------------


def test_a_server_says_where_users_are(start, server):
    server.answers = {"ann": "pool=other", "bob": "backend=mail2", "eve": 'disabled="Gone fishing"'}
    usher = start({"server": by(server)})
    assert backend_of(usher, "ann") == "mail3"
    assert backend_of(usher, "bob") == "mail2"
    assert b"Gone fishing" in log_in(usher, "eve").text
    assert server.connections == 1


def test_an_answer_is_kept_for_its_time(start, server):
    server.answers = {"ann": "pool=other"}
    usher = start({"server": by(server, cache_time="1h")})
    assert backend_of(usher, "ann") == "mail3"
    server.stop()
    assert backend_of(usher, "ann") == "mail3"
    assert server.asked["ann"] == 1
    assert not usher.find("directory_failed")


def test_while_a_server_is_down_old_answers_are_used(start, server):
    server.answers = {"ann": "pool=other"}
    usher = start({"server": by(server, cache_time="0s", cache_unknown_time="0s")})
    assert backend_of(usher, "ann") == "mail3"
    server.stop()
    assert backend_of(usher, "ann") == "mail3"
    failed = usher.wait_event("directory_failed", directory="server")
    assert server.endpoint in failed["detail"]
    # Of somebody else nothing is known.
    assert is_unavailable(usher, "bob")
    assert len(usher.find("directory_failed")) == 1


def test_a_server_that_comes_back_is_asked_again(start, server):
    usher = start({"server": by(server, cache_size="0")})
    assert backend_of(usher, "ann") in ("mail1", "mail2")
    server.stop()
    assert is_unavailable(usher, "ann")
    server.answers = {"ann": "pool=other"}
    server.start()
    # It is left alone for a moment after each failure.
    wait_until(lambda: is_served(usher, "ann"), 10, "asked again")
    assert backend_of(usher, "ann") == "mail3"


def test_a_server_that_closes_idle_connections_does_no_harm(start, server):
    server.answers = {"ann": "pool=other"}
    usher = start({"server": by(server, cache_size="0")})
    for n in range(1, 4):
        assert backend_of(usher, "ann") == "mail3"
        assert server.connections == n
        server.close_connections()
    assert not usher.find("directory_failed")


def test_a_server_that_hangs_delays_logins_and_no_more(start, server):
    usher = start(
        {"server": by(server, cache_time="0s", cache_unknown_time="0s")},
        directory_timeout=f"{TIMEOUT_S}s",
    )
    server.answers = {"ann": "pool=other", "bob": "pool=other"}
    assert backend_of(usher, "ann") == backend_of(usher, "bob") == "mail3"
    server.hang()
    begun = time.monotonic()
    assert backend_of(usher, "ann") == "mail3"
    assert TIMEOUT_S / 2 <= time.monotonic() - begun < TIMEOUT_S
    # It is known to be late by now.
    begun = time.monotonic()
    assert backend_of(usher, "bob") == "mail3"
    assert time.monotonic() - begun < TIMEOUT_S / 2
    begun = time.monotonic()
    assert is_unavailable(usher, "carol")
    assert time.monotonic() - begun >= TIMEOUT_S
    server.release()
    wait_until(lambda: is_served(usher, "carol"), 10, "answered again")
    assert len(usher.find("directory_failed")) == 1


def test_a_slow_server_is_waited_for(start, server):
    server.answers = {"ann": "pool=other"}
    server.delay_s = 0.5
    usher = start({"server": by(server)})
    assert backend_of(usher, "ann") == "mail3"
    assert not usher.find("directory_failed")


@pytest.mark.parametrize(
    "says",
    [
        netstring("TEMP no database"),
        netstring("PERM wrong map"),
        netstring("OK pool"),
        netstring("OK pool=main backend_password=hush"),
        netstring("YES"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"99999:OK ",
    ],
)
def test_what_a_server_should_not_say_fails_the_login(start, server, says):
    server.says = says
    usher = start({"server": by(server)})
    assert is_unavailable(usher, "ann")
    assert "hush" not in "\n".join(usher.lines)
    usher.wait_event("directory_failed", directory="server")
    server.says = None
    wait_until(lambda: is_served(usher, "ann"), 10, "well again")


def test_a_directory_cannot_send_users_to_servers_that_are_not_configured(start, server):
    server.answers = {"ann": "pool=none", "bob": "backend=mail9", "carol": "host=192.0.2.1"}
    usher = start({"server": by(server)})
    for user in server.answers:
        assert is_unavailable(usher, user)


# --- lookup dies --------------------------------------------------------------------------------


def test_a_login_outlives_the_lookup_that_was_asked(start, server):
    server.answers = {"ann": "pool=other"}
    usher = start({"server": by(server)}, directory_timeout="20s")
    old = usher.pid("lookup")
    server.hang()
    with usher.connect("plain") as imap:
        tag = imap.start(b"LOGIN ann " + PASSWORD.encode())
        wait_until(lambda: server.asked["ann"], 10, "asked")
        before = usher.mark()
        os.kill(old, signal.SIGKILL)
        usher.wait_event("process_ended", pid=old)
        wait_until(lambda: server.asked["ann"] == 2, 10, "asked again")
        server.release()
        assert imap.finish(tag).status == "OK"
        assert usher.wait_event("login", after=before)["backend"] == "mail3"


def test_a_client_that_goes_while_its_user_is_looked_up_does_no_harm(start, server):
    server.hang()
    usher = start({"server": by(server)}, directory_timeout="20s")
    imap = usher.connect("plain")
    imap.start(b"LOGIN ann " + PASSWORD.encode())
    wait_until(lambda: server.asked["ann"], 10, "asked")
    before = usher.mark()
    imap.close()
    server.release()
    usher.wait_event("session_end", after=before)
    assert is_served(usher, "ann")
