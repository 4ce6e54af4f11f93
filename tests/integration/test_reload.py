"""Reload: the configuration is read again while usher runs. What changes holds for whoever comes from then
on, and sessions go on as they began."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from changing import Changing, both, home_of, instance_of, is_refused, log_in, only, starting
from conftest import LISTENERS
from ctl import DONE, run_ctl, steer
from peers.certs import Certificate, Tls
from peers.fakebackend import PASSWORD, FakeBackend
from peers.manager import Manager, passing
from peers.process import chown_tree, free_address, is_alive, unprivileged, wait_until
from peers.rawimap import RawImap
from peers.scripted import answering, context_of
from peers.usher import Backend, Listener
from tls_peers import client, greeted, serial_of

PLAIN = {"plain": Listener()}
HIGH_PORT = 10144


@pytest.fixture
def fakes(stack) -> list[FakeBackend]:
    return [stack.enter_context(FakeBackend(f"mail{number}")) for number in (1, 2)]


@pytest.fixture
def start(stack, folder, certificate, fakes) -> Callable[..., Changing]:
    """Starts an usher before mail1, unless told otherwise; settings are Changing's."""
    return starting(stack, folder, certificate=certificate, pools=only(fakes[0]))


def told(changing: Changing, after: int) -> list[str]:
    return [event["detail"] for event in changing.usher.find("change_told", after)]


# --- what a reload is -----------------------------------------------------------------------------


def test_nothing_that_has_changed_changes_nothing(start):
    changing = start()
    before = changing.usher.process_ids()
    event = changing.usher.reload()
    assert (event["generation"], event["changes"], event["files"]) == ("1", "0", "0")
    wait_until(lambda: changing.usher.process_ids() == before, 10, "who prepared it ends")
    assert not changing.usher.find("worker_retired")


def test_sessions_go_on_in_the_workers_of_before(start):
    changing = start()
    usher = changing.usher
    with log_in(usher, "ann") as ann, log_in(usher, "bob", "imaps", tls=Tls.IMPLICIT) as bob:
        before = {row["pid"] for row in changing.workers()}
        event = changing.renew()
        assert (event["generation"], event["changes"], event["workers"]) == ("2", "1", "2")
        retired = usher.wait_events("worker_retired", 2)
        assert {int(worker["pid"]) for worker in retired} == before
        assert ann.is_alive() and bob.is_alive()
        with log_in(usher, "carol") as carol:
            assert instance_of(usher, carol) not in {instance_of(usher, imap) for imap in (ann, bob)}
        rows = steer(usher, "sessions").rows
        assert {"ann", "bob"} <= {row["user"] for row in rows}
        kept = {row["pid"]: row["sessions"] for row in changing.workers(retired=True)}
        assert sum(kept.values()) == 2
    # The last session's end is the worker's.
    gone = usher.wait_events("worker_gone", 2)
    assert {int(worker["pid"]) for worker in gone} == before
    wait_until(lambda: not any(map(is_alive, before)), 10, "workers of before end")
    assert not usher.find("process_ended")


def test_an_operator_is_told_what_changes(start, fakes):
    changing = start()
    changing.write(pools=both(fakes), login_timeout="30s")
    answer = changing.ask("reload")
    assert answer.status == DONE
    assert answer.done["generation"] == 2
    lines = [row["change"] for row in answer.rows]
    assert any("mail2" in line and "added" in line for line in lines)
    assert any("login_timeout" in line and "20s" in line and "30s" in line for line in lines)
    changing.usher.wait_event("reloaded")
    assert [row["change"] for row in answer.rows] == told(changing, 0)
    # The control that has answered is not the one that decides now.
    assert steer(changing.usher, "status").done["epoch"] == 2


def test_an_operator_reloads_where_nothing_has_changed(start):
    answer = start().ask("reload")
    assert (answer.status, answer.rows) == (DONE, [])


def test_two_signals_in_a_row_end_with_the_newest(start, fakes):
    changing = start(storage="shared")
    usher = changing.usher
    for pools in (both(fakes), only(fakes[0]), both(fakes), only(fakes[1])):
        changing.write(pools=pools)
        usher.process.send_signal(signal.SIGHUP)

    def is_the_newest() -> bool:
        with usher.connect("plain") as imap:
            return imap.login("ann", PASSWORD).text.endswith(b"mail2")

    wait_until(
        lambda: [row["backend"] for row in changing.ask("backends").rows] == ["mail2"],
        30,
        "the newest configuration is used",
    )
    wait_until(is_the_newest, 30, "workers of before have gone")
    assert not usher.find("change_refused")


def test_a_second_operator_is_told_to_wait(start):
    """While one change is under way there is no other."""
    changing = start()
    usher = changing.usher
    changing.write(idle_timeout="32m")
    mark = usher.mark()
    usher.process.send_signal(signal.SIGHUP)
    usher.wait_event("process_started", after=mark)
    answer = changing.ask("reload")
    usher.wait_event("reloaded", after=mark)
    # Where the question came too late there is nothing left to do.
    assert "under way" in answer.error or "hung up" in answer.error or answer.status == DONE, answer
    assert all("under way" in event["detail"] for event in usher.find("change_refused"))


def test_a_signal_during_the_start_is_kept_for_later(start, fakes):
    changing = start(usher={"waits": False})
    usher = changing.usher
    # From here on the parent listens to signals.
    usher.wait_event("process_started")
    changing.write(pools=both(fakes))
    usher.process.send_signal(signal.SIGHUP)
    assert usher.wait_change(0).name == "reloaded"
    usher.wait_event("ready")
    usher.wait_event("control_recovered")
    assert {row["backend"] for row in steer(usher, "backends").rows} == {"mail1", "mail2"}


def test_a_reload_ends_where_usher_stops(start, fakes):
    changing = start()
    usher = changing.usher
    changing.write(pools=both(fakes))
    mark = usher.mark()
    usher.process.send_signal(signal.SIGHUP)
    usher.wait_event("process_started", after=mark)
    usher.stop()
    assert not usher.process_ids()


def test_a_usher_that_stops_reloads_nothing(start):
    changing = start()
    usher = changing.usher
    with log_in(usher) as imap:
        changing.write(idle_timeout="32m")
        usher.process.send_signal(signal.SIGTERM)
        usher.process.send_signal(signal.SIGHUP)
        assert b"BYE" in imap.rest()
    usher.stop()
    assert not usher.find("reloaded")


def test_a_reload_meanwhile_is_nothing_to_who_types_slowly(start):
    """A session without a login stays with its worker, which serves it by what it knows."""
    changing = start()
    usher = changing.usher
    with usher.connect("plain") as slow, usher.connect("imap", tls=Tls.STARTTLS) as secured:
        slow.send(b'a LOGIN "ann" ')
        changing.renew()
        usher.wait_events("worker_retired", 2)
        slow.send(b'"%s"\r\n' % PASSWORD.encode())
        assert slow.response().startswith(b"a OK")
        assert slow.is_alive()
        assert secured.login("bob", PASSWORD).status == "OK"


# --- listeners ------------------------------------------------------------------------------------


def test_an_added_listener_is_reached_and_the_others_keep_their_ports(start):
    changing = start()
    usher = changing.usher
    before = {name: usher.port(name) for name in LISTENERS}
    address = free_address(HIGH_PORT)
    more = {**LISTENERS, "more": Listener(address=f"{address}:{HIGH_PORT}")}
    changing.reload(listeners=more)
    with RawImap(address, HIGH_PORT) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    # Also those whose port the kernel has chosen.
    assert {event["listener"] for event in usher.find("listening")} == set(more)
    for name in LISTENERS:
        with RawImap("127.0.0.1", before[name], tls=LISTENERS[name].tls) as imap:
            assert imap.login("ann", PASSWORD).status == "OK"


def test_a_removed_listener_is_gone_but_its_sessions_are_not(start):
    changing = start()
    usher = changing.usher
    port = usher.port("imap")
    with log_in(usher, "ann", "imap", tls=Tls.STARTTLS) as ann:
        left = {name: given for name, given in LISTENERS.items() if name != "imap"}
        changing.reload(listeners=left)
        wait_until(lambda: is_refused("127.0.0.1", port), 20, "nobody listens there any more")
        assert ann.is_alive()
        (row,) = steer(usher, "sessions", "--user", "ann").rows
        assert row["stage"] != "open"
        log_in(usher, "bob").close()
        assert steer(usher, "kick", "ann").status == DONE
        assert b"* BYE" in ann.rest()


def test_who_waits_in_the_queue_of_a_removed_listener_is_served(start):
    changing = start()
    usher = changing.usher
    left = {name: given for name, given in LISTENERS.items() if name != "plain"}
    with changing.stopped_workers(2):
        waiting = [usher.connect("plain", reads_greeting=False) for _ in range(20)]
        changing.begin_reload(listeners=left)
    for imap in waiting:
        with imap:
            assert imap.response().startswith(b"* OK")
            assert imap.login("ann", PASSWORD).status == "OK"


def test_a_listener_keeps_its_address_while_all_else_of_it_changes(start, fakes):
    changing = start(pools={**only(fakes[0]), "other": {"mail2": fakes[1]}}, listeners=PLAIN)
    usher = changing.usher
    port = usher.port("plain")
    with log_in(usher, "ann") as ann:
        assert home_of(usher, "ann") == "mail1"
        changed = Listener(tls=Tls.IMPLICIT, auth_allow_cleartext=False, pool="other")
        changing.reload(listeners={"plain": changed})
        with RawImap("127.0.0.1", port, tls=Tls.IMPLICIT) as imap:
            answer = imap.login("ann", PASSWORD)
            assert answer.text.endswith(b"at mail2")
        assert ann.is_alive()


def test_a_listener_moves_to_another_address(start):
    changing = start(listeners=PLAIN)
    before = changing.usher.port("plain")
    address = free_address(HIGH_PORT)
    changing.reload(listeners={"plain": Listener(address=f"{address}:{HIGH_PORT}")})
    with RawImap(address, HIGH_PORT) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    wait_until(lambda: is_refused("127.0.0.1", before), 20, "nobody listens there any more")


def test_two_listeners_exchange_their_addresses(start, fakes):
    address = free_address(HIGH_PORT, HIGH_PORT + 1)
    here, there = (Listener(address=f"{address}:{HIGH_PORT + i}", pool="main") for i in (0, 1))
    pools = {**only(fakes[0]), "other": {"mail2": fakes[1]}}
    changing = start(pools=pools, listeners={"one": here, "two": Listener(there.address, pool="other")})
    changing.reload(listeners={"one": there, "two": Listener(here.address, pool="other")})
    for port, home in ((HIGH_PORT, b"mail2"), (HIGH_PORT + 1, b"mail1")):
        with RawImap(address, port) as imap:
            assert imap.login("ann", PASSWORD).text.endswith(home)


# --- workers --------------------------------------------------------------------------------------


def test_workers_become_more_and_fewer_and_nobody_who_waits_is_lost(start):
    changing = start()
    usher = changing.usher
    for before, count in ((2, 4), (4, 1), (1, 3)):
        with changing.stopped_workers(before):
            # They lie in the sockets of workers that go.
            waiting = [usher.connect("plain", reads_greeting=False) for _ in range(20)]
            event = changing.begin_reload(workers=str(count))
        assert event["workers"] == str(count)
        fresh = [usher.connect("plain", reads_greeting=False) for _ in range(20)]
        for imap in waiting + fresh:
            with imap:
                assert imap.response().startswith(b"* OK")
                assert imap.login("ann", PASSWORD).status == "OK"
        usher.wait_event("control_recovered", epoch=event["generation"])
        wait_until(lambda: not changing.workers(retired=True), 20, "workers of before end")
        assert len(changing.workers()) == count


# --- backends and pools ---------------------------------------------------------------------------


def test_an_added_backend_takes_users(start, fakes):
    changing = start()
    usher = changing.usher
    assert home_of(usher, "ann") == "mail1"
    changing.reload(pools=both(fakes))
    assert home_of(usher, "ann") == "mail1"
    assert {home_of(usher, f"user{number}") for number in range(30)} == {"mail1", "mail2"}


def test_the_sessions_of_a_removed_backend_live_and_its_users_wait_for_an_operator(start, fakes):
    """Own storage: their mail is there and nowhere else."""
    changing = start()
    usher = changing.usher
    with log_in(usher, "ann") as ann, log_in(usher, "bob") as bob:
        changing.reload(pools=only(fakes[1]))
        assert ann.is_alive() and bob.is_alive()
        rows = {row["user"]: row for row in steer(usher, "sessions").rows}
        assert set(rows) == {"ann", "bob"}
        with usher.connect("plain") as imap:
            answer = imap.login("ann", PASSWORD)
            assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
        assert home_of(usher, "carol") == "mail2"
        steer(usher, "kick", "ann")
        assert b"* BYE" in ann.rest()
        assert bob.is_alive()
        # It comes back as it was.
        changing.reload(pools=both(fakes))
        assert home_of(usher, "ann") == "mail1"
        assert bob.is_alive()


def test_with_shared_storage_the_users_of_a_removed_backend_go_elsewhere(start, fakes):
    """And never are on two backends: the session that is left there is ended."""
    changing = start(pools=both(fakes), storage="shared")
    usher = changing.usher
    user = next(f"user{n}" for n in range(100) if home_of(usher, f"user{n}") == "mail1")
    with log_in(usher, user) as old:
        changing.reload(pools=only(fakes[1]))
        assert home_of(usher, user) == "mail2"
        assert b"* BYE" in old.rest()
    ended = usher.wait_event("session_end", client=old.local)
    assert ended["reason"] in ("moved", "kicked", "backend_down")


def test_a_backend_that_moves_to_another_address_is_found_there(start, fakes):
    changing = start()
    usher = changing.usher
    with log_in(usher, "ann") as ann:
        second = FakeBackend("mail1")
        with second:
            changing.reload(pools={"main": {"mail1": second}})
            assert ann.is_alive()
            with log_in(usher, "bob") as bob:
                assert usher.wait_event("login", user="bob")["address"] == second.endpoint
                assert bob.is_alive() and ann.is_alive()


def test_a_login_in_an_old_worker_whose_backend_has_changed_comes_again(start, fakes, authority):
    changing = start()
    usher = changing.usher
    with usher.connect("plain") as early:
        changed = Backend(fakes[1].endpoint)
        changing.reload(pools={"main": {"mail1": changed}})
        usher.wait_events("worker_retired", 2)
        tag = early.start(f'LOGIN "ann" "{PASSWORD}"'.encode())
        answer = early.finish(tag)
        assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
        assert b"* BYE" in early.rest()
        assert usher.wait_event("session_end", client=early.local)["reason"] == "retired"
    with log_in(usher, "ann") as again:
        assert usher.wait_event("login", client=again.local)["address"] == fakes[1].endpoint


def test_what_control_alone_decides_by_is_nothing_to_old_workers(start, fakes):
    """They serve the backend as before; weights and limits are not theirs."""
    changing = start()
    usher = changing.usher
    with usher.connect("plain") as early:
        heavy = Backend(fakes[0].endpoint, weight=7, max_sessions=100, login_rate=1000)
        changing.reload(pools={"main": {"mail1": heavy, "mail2": fakes[1]}}, log_level="notice")
        steer(usher, "pin", "ann", "mail1")
        assert early.login("ann", PASSWORD).status == "OK"


def test_a_backend_is_spoken_with_in_tls_from_now_on(start, start_scripted, fakes, authority):
    address = free_address()
    made = authority.issue(address, address)

    def script(connection):
        connection.start_tls()
        answering()(connection)

    secured = start_scripted(script, address=address, context=context_of(made))
    changing = start()
    usher = changing.usher
    with log_in(usher, "ann") as ann, usher.connect("plain") as early:
        shown = Backend(secured.endpoint, tls=Tls.IMPLICIT, tls_ca=authority.certificate)
        changing.reload(pools={"main": {"mail1": shown}})
        log_in(usher, "bob").close()
        assert usher.wait_event("login", user="bob")["backend_tls"].startswith("TLS")
        assert early.login("carol", PASSWORD).code == "UNAVAILABLE"
        assert ann.is_alive()


def test_a_pool_comes_and_goes(start, fakes):
    changing = start(listeners=PLAIN)
    usher = changing.usher
    more = {**PLAIN, "other": Listener(pool="other")}
    changing.reload(pools={**only(fakes[0]), "other": {"mail2": fakes[1]}}, listeners=more)
    assert home_of(usher, "ann", "other") == "mail2"
    with log_in(usher, "ann", "other") as ann, log_in(usher, "bob") as bob:
        changing.reload(pools=only(fakes[0]), listeners=PLAIN)
        assert ann.is_alive() and bob.is_alive()
        assert {row["user"] for row in steer(usher, "sessions").rows} == {"ann", "bob"}
        assert home_of(usher, "bob") == "mail1"
        steer(usher, "kick", "ann")
        assert b"* BYE" in ann.rest()


def test_the_places_of_pools_and_backends_may_change(start, fakes):
    """Old workers have other indices than control."""
    pools = {"one": {"mail1": fakes[0]}, "two": {"mail2": fakes[1]}}
    listeners = {"first": Listener(pool="one"), "second": Listener(pool="two")}
    changing = start(pools=pools, listeners=listeners)
    usher = changing.usher
    with (
        log_in(usher, "ann", "first") as ann,
        log_in(usher, "bob", "second") as bob,
        usher.connect("first") as early,
    ):
        turned = dict(reversed(pools.items()))
        changing.reload(pools=turned, listeners=dict(reversed(listeners.items())))
        rows = {row["user"]: row for row in steer(usher, "sessions").rows if row["user"]}
        assert {user: row["backend"] for user, row in rows.items()} == {"ann": "mail1", "bob": "mail2"}
        assert early.login("carol", PASSWORD).text.endswith(b"mail1")
        assert home_of(usher, "carol", "second") == "mail2"
        steer(usher, "kick", "--backend", "mail1")
        assert b"* BYE" in ann.rest()
        assert bob.is_alive()


# --- all else -------------------------------------------------------------------------------------


def test_the_log_tells_more_from_now_on(start):
    changing = start()
    usher = changing.usher
    changing.reload(log_level="debug")
    usher.wait_event("sandbox", role="worker")
    changing.reload(log_level="notice")
    mark = usher.mark()
    log_in(usher, "ann").close()
    # What is told behind it has come.
    steer(usher, "hold", "ann")
    usher.wait_event("steered", after=mark)
    assert not usher.find("login", mark)


def test_limits_hold_from_now_on_and_count_who_was_there(start):
    changing = start(max_sessions_per_user="0")
    usher = changing.usher
    with log_in(usher, "ann"), log_in(usher, "ann"), usher.connect("plain") as third:
        changing.reload(max_sessions_per_user="2")
        with usher.connect("plain") as imap:
            assert imap.login("ann", PASSWORD).code == "LIMIT"
        assert third.login("bob", PASSWORD).status == "OK"


def test_rules_of_directories_are_followed_at_once(start, fakes):
    rules = {"people": {"driver": "static", "rules": ["ann backend=mail1", "* pool=main"]}}
    changing = start(pools=both(fakes), directories=rules, storage="shared", user_expire="1s")
    usher = changing.usher
    assert home_of(usher, "ann") == "mail1"
    rules = {"people": {"driver": "static", "rules": ["ann backend=mail2", "bob disabled=yes"]}}
    mark = usher.mark()
    changing.reload(directories=rules)
    # Rules may be secrets.
    assert not any("mail2" in line or "bob" in line for line in told(changing, mark))
    wait_until(lambda: home_of(usher, "ann") == "mail2", 20, "the new rule is followed")
    with usher.connect("plain") as imap:
        assert imap.login("bob", PASSWORD).code == "CONTACTADMIN"


def test_the_door_moves(start, folder):
    changing = start()
    usher = changing.usher
    old = folder / "state/ctl"
    assert run_ctl("--socket", old, "status").returncode == DONE
    new = folder / "door"
    changing.reload(admin_socket=new)
    assert steer(usher, "status").status == DONE
    assert run_ctl("--socket", new, "status").returncode == DONE
    assert not old.exists()
    changing.reload(admin_socket="off")
    assert not new.exists()
    changing.reload(admin_socket=None)
    assert run_ctl("--socket", old, "status").returncode == DONE


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def shown(folder, authority) -> Certificate:
    """Certificate and key that usher shows; issue() puts another in their place."""
    files = Certificate(folder / "shown.crt", folder / "shown.key")
    issue(authority, files, "one")
    return files


def issue(authority, files: Certificate, label: str) -> None:
    made = authority.issue(f"{files.certificate.parent.name}-{label}", "localhost", "127.0.0.1")
    shutil.copy(made.certificate, files.certificate)
    shutil.copy(made.key, files.key)


def shown_by(usher, authority) -> str:
    with greeted(usher, client(authority)) as secured:
        return serial_of(secured)


def test_files_alone_need_no_new_processes(start, authority, shown):
    changing = start(certificate=shown)
    usher = changing.usher
    before = usher.process_ids()
    old = shown_by(usher, authority)
    with log_in(usher, "ann", "imaps", tls=Tls.IMPLICIT) as ann:
        issue(authority, shown, "two")
        event = usher.reload()
        assert (event["generation"], event["changes"], event["files"]) == ("1", "0", "2")
        wait_until(lambda: shown_by(usher, authority) != old, 20, "the new certificate is shown")
        assert ann.is_alive()
    assert set(before) <= set(usher.process_ids())


def test_files_and_settings_change_together(start, authority, shown):
    changing = start(certificate=shown)
    usher = changing.usher
    old = shown_by(usher, authority)
    issue(authority, shown, "two")
    assert changing.renew()["files"] == "2"
    # Each new worker has the new one, and a session of before may be resumed or not.
    assert old not in {shown_by(usher, authority) for _ in range(8)}


def test_another_certificate_is_shown(start, authority, folder):
    changing = start()
    usher = changing.usher
    old = shown_by(usher, authority)
    changing.reload(certificate=authority.issue(f"{folder.name}-new", "localhost"))
    assert old not in {shown_by(usher, authority) for _ in range(8)}


# --- as a service ---------------------------------------------------------------------------------


def test_a_manager_is_told_of_a_reload(stack, folder, start):
    manager = stack.enter_context(Manager(folder))
    changing = start(usher={"env": manager.env})
    manager.wait("READY")
    changing.renew()
    assert int(manager.wait("RELOADING")["MONOTONIC_USEC"]) > 0
    manager.wait("READY")
    changing.refused(login_timeout="soon")
    manager.wait("RELOADING")
    assert "refused" in manager.wait("READY")["STATUS"]


def listening(address: str, port: int) -> socket.socket:
    return socket.create_server((address, port), backlog=128)


def test_passed_sockets_are_kept(stack, start):
    address = free_address(HIGH_PORT)
    passed = stack.enter_context(listening(address, HIGH_PORT))
    listeners = {"plain": Listener(address=f"{address}:{HIGH_PORT}")}
    changing = start(listeners=listeners, usher=passing([passed], "plain"))
    for workers in ("3", "1", "2"):
        changing.reload(workers=workers)
        for number in range(6):
            with RawImap(address, HIGH_PORT) as imap:
                assert imap.login(f"user{number}", PASSWORD).status == "OK"


@pytest.mark.root
def test_without_rights_high_ports_are_opened_anew(start, folder, certificate):
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    changing = start(usher={"account": account})
    usher = changing.usher
    address = free_address(HIGH_PORT)
    more = {**LISTENERS, "more": Listener(address=f"{address}:{HIGH_PORT}")}
    changing.reload(listeners=more)
    with RawImap(address, HIGH_PORT) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    low = {**more, "low": Listener(address=f"{address}:143")}
    if Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip() == "1024":
        assert changing.refused(listeners=low)
    log_in(usher).close()
