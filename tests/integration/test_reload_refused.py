"""Reload with a mistake in the configuration, or in what it names: nothing changes, and the operator is told
what it is and where."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from changing import Changing, is_refused, log_in, only, starting
from conftest import LISTENERS
from ctl import FAILED, run_ctl, steer
from peers.certs import Certificate
from peers.fakebackend import FakeBackend
from peers.process import free_address
from peers.usher import Listener

HIGH_PORT = 10144


@pytest.fixture
def fakes(stack) -> list[FakeBackend]:
    return [stack.enter_context(FakeBackend(f"mail{number}")) for number in (1, 2)]


@pytest.fixture
def start(stack, folder, certificate, fakes) -> Callable[..., Changing]:
    """Starts an usher before mail1, unless told otherwise; settings are Changing's."""
    return starting(stack, folder, certificate=certificate, pools=only(fakes[0]))


def line_of(changing: Changing, text: str) -> int:
    lines = changing.usher.config.read_text().splitlines()
    return 1 + next(number for number, line in enumerate(lines) if text in line)


def check_refused(changing: Changing, *words: str, mark: int) -> None:
    """It was refused with these words in the log, is refused again with them when an operator asks,
    and all is as before."""
    usher = changing.usher
    log = "\n".join(str(event.fields) for event in usher.events_after(mark))
    answer = changing.ask_refused("reload")
    said = answer.error + "\n".join(row["change"] for row in answer.rows)
    for word in words:
        assert word in said, (word, said)
        assert word in log, (word, log)
    assert not usher.find("reloaded")
    assert steer(changing.door, "status").done["epoch"] == 1
    log_in(usher, "dave").close()
    # What was wrong is put right.
    changing.renew()
    log_in(usher, "dave").close()


def test_a_mistake_of_grammar_changes_nothing(start):
    changing = start()
    usher = changing.usher
    usher.rewrite(changing.text() + "listener broken {\n    address = \n")
    mark = usher.mark()
    assert usher.change().name == "change_refused"
    check_refused(changing, f"{usher.config}:", mark=mark)


def test_a_setting_that_means_nothing_changes_nothing(start):
    changing = start()
    usher = changing.usher
    mark = usher.mark()
    changing.refused(login_timeout="soon")
    place = f"{usher.config}:{line_of(changing, 'soon')}"
    check_refused(changing, place, "login_timeout", mark=mark)


def test_a_listener_for_no_pool_changes_nothing(start):
    changing = start()
    usher = changing.usher
    mark = usher.mark()
    changing.refused(listeners={**LISTENERS, "odd": Listener(pool="nowhere")})
    check_refused(changing, f"{usher.config}:", "nowhere", mark=mark)


def test_a_certificate_that_is_not_there_changes_nothing(start, folder):
    changing = start()
    mark = changing.usher.mark()
    changing.refused(certificate=Certificate(folder / "none.crt", folder / "none.key"))
    check_refused(changing, "none.crt", mark=mark)


def test_a_configuration_that_is_not_there_changes_nothing(start):
    changing = start()
    usher = changing.usher
    usher.config.unlink()
    mark = usher.mark()
    assert usher.change().name == "change_refused"
    check_refused(changing, str(usher.config), mark=mark)


def test_a_port_that_is_taken_changes_nothing(stack, start):
    changing = start()
    address = free_address(HIGH_PORT)
    stack.enter_context(socket.create_server((address, HIGH_PORT)))
    # The one before it could be opened, and is closed again.
    other = free_address(HIGH_PORT)
    more = {
        **LISTENERS,
        "good": Listener(address=f"{other}:{HIGH_PORT}"),
        "taken": Listener(address=f"{address}:{HIGH_PORT}"),
    }
    mark = changing.usher.mark()
    changing.refused(listeners=more)
    assert is_refused(other, HIGH_PORT)
    check_refused(changing, f"{address}:{HIGH_PORT}", "taken", mark=mark)


@pytest.mark.parametrize("setting", ["state", "user", "worker_user"])
def test_what_may_not_change_while_usher_runs_is_refused_with_words(start, folder, setting):
    wanted = {"state": folder / "elsewhere", "user": "daemon", "worker_user": "daemon"}
    changing = start()
    usher = changing.usher
    mark = usher.mark()
    config = changing.text().replace(f'state = "{folder}/state"', f'state = "{wanted["state"]}"')
    if setting != "state":
        config = changing.text(**{setting: wanted[setting]})
    usher.rewrite(config)
    assert usher.change().name == "change_refused"
    text = "\n".join(str(event.fields) for event in usher.events_after(mark))
    assert setting in text
    answer = run_ctl("--socket", folder / "state/ctl", "reload")
    assert answer.returncode == FAILED
    assert setting in answer.stdout + answer.stderr
    log_in(usher).close()
