"""Five thousand sessions at one time."""

from __future__ import annotations

from peers.crowd import Crowd
from peers.fakebackend import PASSWORD, FakeBackend

COUNT = 5000


def test_five_thousand_sessions_over_two_workers(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, workers="2")
    with Crowd() as crowd:
        port = usher.port("plain")
        crowd.enter(COUNT, "127.0.0.1", port, user="user{}".format, password=PASSWORD)
        assert crowd.count_alive() == COUNT
        # All were placed, spread over both workers, and none was lost on the way.
        workers = {event["id"].partition(".")[0] for event in usher.wait_events("login", COUNT)}
        assert len(workers) == 2
        assert not usher.find("session_end")
        usher.stop(60)
    ends = usher.find("session_end")
    assert len(ends) == COUNT
    assert {event["reason"] for event in ends} == {"stopping"}
    totals = usher.find("stopped")[0]
    assert (totals["sessions"], totals["logins"], totals["log_dropped"]) == (str(COUNT), str(COUNT), "0")
