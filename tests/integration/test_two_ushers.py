"""Two ushers with the same pools before the same servers, which share nothing: the hash agrees."""

from __future__ import annotations

import pytest
from ctl import ask
from peers.fakebackend import PASSWORD
from peers.process import private_dir, remove_dir
from peers.usher import Backend, Listener
from watched import Watched

USERS = [f"user{number}@example.org" for number in range(40)]


@pytest.mark.parametrize("storage", ["own", "shared"])
def test_users_go_to_the_same_backend_by_either(start_usher, stack, folder, storage):
    second = private_dir("second")
    stack.callback(remove_dir, second)
    world = stack.enter_context(Watched(("mail1", "mail2", "mail3")))
    backends = {
        name: Backend(end.endpoint, weight=weight)
        for weight, (name, end) in enumerate(world.backends.items(), 1)
    }
    ushers = [
        start_usher(
            # The order in the file does not matter.
            dict(reversed(backends.items())) if number else backends,
            storage=storage,
            listeners={"imap": Listener()},
            place=place,
        )
        for number, place in enumerate((folder, second))
    ]
    for user in USERS:
        homes = set()
        sessions = [stack.enter_context(usher.connect()) for usher in ushers]
        for usher, imap in zip(ushers, sessions):
            assert imap.login(user, PASSWORD).status == "OK"
            homes.add(ask(usher, "route", user).done["chosen"])
        assert len(homes) == 1
    assert world.overlaps == []
    assert all(world.logins[name] for name in world.backends)
