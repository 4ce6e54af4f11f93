"""usher ctl by itself: what it says when nobody answers, and what it makes of an answer."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from pwd import getpwnam

import pytest
from conftest import TOP
from ctl import BINARY, DONE, FAILED, NOBODY, WRONG, ask, on_terminal, run_ctl
from peers.process import wait_until

COMMAND = re.compile(r'^COMMAND\((\w+), "([^"]+)", (SEE|STEER), "([^"]*)", "([^"]*)", "', re.MULTILINE)
COMMANDS = COMMAND.findall((TOP / "src/tables/commands.def").read_text())


class Door:
    """A server at a unix socket that answers each request with the next of its answers, and keeps
    the requests. An answer is bytes, or None: it hangs up, as it does behind the last one."""

    def __init__(self, path: Path, answers: Sequence[bytes | None]) -> None:
        self.path = path
        self.requests: list[bytes] = []
        self.answered = 0
        self._answers = list(answers)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._answers:
            client, _ = self._server.accept()
            with client, client.makefile("rb") as lines, suppress(OSError):
                while self._answers and (line := lines.readline()):
                    self.requests.append(line)
                    answer = self._answers.pop(0)
                    if answer is None:
                        break
                    client.sendall(answer)
                    self.answered += 1

    def close(self) -> None:
        self._server.close()


def lines(*objects: dict) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


@pytest.fixture
def door(stack, folder) -> Callable[..., Door]:
    def start(*answers: bytes | None) -> Door:
        started = Door(folder / "ctl", answers)
        stack.callback(started.close)
        return started

    return start


def test_a_request_is_one_line_of_json(door):
    server = door(lines({"done": {"text": "done"}}))
    assert ask(server.path, "pin", "änn", "mail2").done == {"text": "done"}
    assert server.requests[0].endswith(b"\n")
    assert json.loads(server.requests[0]) == {"command": "pin", "user": "änn", "backend": "mail2"}


def test_behind_two_hyphens_is_nothing_but_arguments(door):
    server = door(lines({"done": {}}))
    ask(server.path, "penalties", "--address", "192.0.2.1", "--", "clear")
    assert json.loads(server.requests[0]) == {
        "command": "penalties", "address": "192.0.2.1", "user": "clear"
    }  # fmt: skip


def test_rows_and_the_end_make_one_object(door):
    rows = [{"row": {"user": f"u{n}"}} for n in range(3)]
    server = door(lines(*rows, {"done": {"rows": 3}}))
    answer = ask(server.path, "users")
    assert (answer.status, answer.rows) == (DONE, [{"user": f"u{n}"} for n in range(3)])


@pytest.mark.parametrize(
    ("code", "status"), [("usage", WRONG), ("denied", FAILED), ("failed", FAILED)]
)
def test_an_error_has_its_reason_and_status(door, code, status):
    server = door(lines({"error": "no \x1b[31mmial1", "code": code}))
    ran = run_ctl("--socket", server.path, "backend", "down", "mial1")
    assert (ran.returncode, ran.stdout) == (status, "")
    assert ran.stderr == "usher ctl: no \\x1b[31mmial1\n"


@pytest.mark.parametrize("answer", [None, b"* OK this is IMAP\r\n", b"[]\n", b'{"row": {}}\n{"do'])
def test_who_is_no_usher_or_goes_away_is_nobody(door, answer):
    assert ask(door(answer).path, "users").status == NOBODY


def test_no_socket_and_nobody_at_it_are_told_apart(folder):
    ran = run_ctl("--socket", folder / "ctl", "status")
    assert (ran.returncode, "there is no socket" in ran.stderr) == (NOBODY, True)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(folder / "ctl"))
    ran = run_ctl("--socket", folder / "ctl", "status")
    assert (ran.returncode, "nobody listens" in ran.stderr) == (NOBODY, True)


@pytest.mark.root
def test_who_cannot_reach_the_socket_is_told_who_may(door):
    server = door(lines({"done": {}}))
    server.path.chmod(0o600)
    ran = run_ctl("--socket", server.path, "status", account=getpwnam("daemon"))
    assert ran.returncode == FAILED
    assert "admin_see" in ran.stderr
    assert ask(server.path, "status", account=getpwnam("daemon")).code == "denied"


def test_the_configuration_says_where_the_socket_is(door, folder):
    server = door(lines({"done": {}}), lines({"done": {}}))
    config = folder / "usher.conf"
    config.write_text(f'state = "{folder}"\n')
    assert run_ctl("-c", config, "status").returncode == DONE
    config.write_text(f'state = "/nowhere"\nadmin_socket = "{server.path}"\n')
    assert run_ctl("-c", config, "status").returncode == DONE
    config.write_text('admin_socket = "off"\n')
    ran = run_ctl("-c", config, "status")
    assert (ran.returncode, "admin_socket = off" in ran.stderr) == (NOBODY, True)
    ran = run_ctl("-c", folder / "none.conf", "status")
    assert (ran.returncode, "none.conf" in ran.stderr) == (FAILED, True)


def test_colours_and_widths_are_for_terminals(door):
    answer = lines({"row": {"backend": "mail1", "state": "drain"}}, {"done": {"rows": 1}})
    server = door(answer, answer)
    assert run_ctl("--socket", server.path, "backends").stdout == "BACKEND  STATE\nmail1    drain\n"
    status, shown = on_terminal("--socket", server.path, "backends")
    assert status == DONE
    assert "\x1b[33mdrain\x1b[0m" in shown


def test_no_control_character_reaches_a_terminal(door):
    evil = {"user": "\x1b]0;title\x07\x9b2J\u202e"}
    server = door(
        lines({"row": evil}, {"done": {}}),
        lines({"row": evil}, {"done": {}}),
        lines({"error": evil["user"], "code": "failed"}),
    )
    for words in (["users"], ["users", "--json"], ["status"]):
        _, shown = on_terminal("--socket", server.path, *words)
        plain = re.sub(r"\x1b\[\d*m", "", shown)
        assert not [c for c in plain if (c < " " or "\x7f" <= c <= "\x9f" or c == "\u202e") and c not in "\r\n"]


def test_a_code_that_is_none_leaves_json_whole(door):
    hostile = 'us"age\x1b[31m'
    server = door(lines({"error": "no", "code": hostile}))
    ran = run_ctl("--socket", server.path, "--json", "status")
    assert json.loads(ran.stdout)["code"] == hostile
    assert "\x1b" not in ran.stdout


def test_a_reason_without_end_is_told_in_part(door):
    ran = run_ctl("--socket", door(lines({"error": "\x01" * (2 << 20), "code": "failed"})).path, "status")
    assert ran.returncode == FAILED
    assert ran.stderr.startswith("usher ctl: \\x01\\x01")


def test_who_is_no_usher_is_not_waited_for(door):
    server = door(lines({"what": 1}, {"what": 2}) * 1000)
    answer = ask(server.path, "move", "ann", "mail2", "--wait")
    assert (answer.status, answer.code) == (NOBODY, "unreachable")
    assert "does not speak as usher does" in answer.error


def test_a_very_long_list_comes_whole(door):
    n = 60_000
    row = json.dumps({"row": {"id": "3.1", "user": "u" * 40, "backend": "mail1"}}).encode() + b"\n"
    server = door(row * n + lines({"done": {"rows": n}}))
    ran = run_ctl("--socket", server.path, "sessions")
    printed = ran.stdout.splitlines()
    titles = sum(line.startswith("ID ") for line in printed)
    assert (len(printed) - titles, ran.returncode) == (n, DONE)


def test_a_slow_reader_keeps_nobody_waiting(door):
    """usher hangs up on who does not read; people with a pager do not for hours."""
    server = door(lines(*[{"row": {"n": 1}}] * 100_000, {"done": {}}))
    argv = [BINARY, "ctl", "--socket", server.path, "users"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as reading:
        wait_until(lambda: server.answered, 20, "the answer is taken")
        printed = reading.stdout.read().decode().splitlines()
    assert printed.count("1") == 100_000


def test_a_reader_who_goes_away_ends_it_without_a_word(door):
    server = door(lines(*[{"row": {"n": 1}}] * 20_000, {"done": {}}))
    reader, writer = os.pipe()
    os.close(reader)
    argv = [BINARY, "ctl", "--socket", server.path, "users"]
    ran = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, timeout=30)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (-signal.SIGPIPE, b"")


def test_waiting_for_a_move_ends_with_the_move(door):
    status = lines({"done": {"epoch": 3, "moves_since": 3, "moves": 0}})
    row = {"row": {"user": "ann", "from": "mail1", "to": "mail2", "sessions": 2}}
    server = door(
        status,
        lines({"done": {"text": "the move has begun"}}),
        lines(row, {"done": {}}),
        None,  # control is replaced; asked again
        lines({"row": {**row["row"], "user": "bob"}}, {"done": {}}),
        status,
    )
    ran = run_ctl("--socket", server.path, "move", "ann", "mail2", "--wait")
    assert (ran.returncode, ran.stdout) == (DONE, "the move has begun\nIt is over.\n")
    asked = [json.loads(line)["command"] for line in server.requests]
    assert asked == ["status", "move", "moves", "moves", "moves", "status"]


def test_waiting_for_a_move_tells_that_control_gave_it_up(door):
    server = door(
        lines({"done": {"epoch": 3, "moves_since": 3}}),
        lines({"done": {"text": "it has begun"}}),
        lines({"done": {}}),
        lines({"done": {"epoch": 4, "moves_since": 4}}),
    )
    answer = ask(server.path, "move", "--wait", "ann", "mail2")
    assert (answer.status, answer.code) == (FAILED, "failed")
    assert "given up" in answer.error


def test_waiting_for_a_move_tells_that_it_failed(door):
    server = door(
        lines({"done": {"epoch": 3, "moves_since": 3, "given_up": 1}}),
        lines({"done": {"text": "it has begun"}}),
        lines({"done": {}}),
        lines({"done": {"epoch": 3, "moves_since": 3, "given_up": 2}}),
    )
    answer = ask(server.path, "move", "--wait", "ann", "mail2")
    assert (answer.status, answer.code) == (FAILED, "failed")
    assert "1 of the moves meanwhile could not be done" in answer.error


def test_waiting_for_many_shows_how_far_it_is_on_a_terminal(door):
    server = door(
        lines({"done": {"epoch": 3, "moves_since": 3, "moves": 0}}),
        lines({"done": {"text": "4 users will be moved"}}),
        *(lines({"done": {"epoch": 3, "moves_since": 3, "moves": left}}) for left in (4, 1, 0)),
        lines({"done": {"epoch": 3, "moves_since": 3, "moves": 0}}),
    )
    status, shown = on_terminal(
        "--socket", server.path, "move", "--from", "a", "--to", "b", "--wait"
    )
    assert status == DONE
    assert "3 of 4 users moved" in shown
    assert shown.rstrip().endswith("It is over.\x1b[0m")


def test_what_a_reload_changes_is_told_line_by_line(door):
    added = "backend mail3 (pool main): added"
    done = {"generation": 2, "changes": 1, "text": "reloaded: generation 2"}
    answer = lines({"row": {"change": added}}, {"done": done})
    # Behind the change it is asked whether the next control is there.
    settled = lines({"done": {"recovered": True}})
    server = door(answer, settled, answer, settled)
    assert run_ctl("--socket", server.path, "reload").stdout == f"{added}\nreloaded: generation 2\n"
    told = ask(server.path, "reload")
    assert (told.status, told.rows, told.done) == (DONE, [{"change": added}], done)


def test_mistakes_are_told_where_they_are_before_the_refusal(door):
    mistake = "/etc/usher.conf:3: there is no setting wrokers"
    refused = {"error": "2 mistakes; nothing was changed", "code": "failed"}
    ran = run_ctl("--socket", door(lines({"row": {"change": mistake}}, refused)).path, "reload")
    assert (ran.returncode, ran.stdout) == (FAILED, f"{mistake}\n")
    assert ran.stderr == f"usher ctl: {refused['error']}\n"


@pytest.mark.parametrize("command", ["reload", "upgrade"])
@pytest.mark.parametrize("answer", [None, b'{"row": {"change": "x"}}\n{"do'])
def test_an_answer_that_is_lost_in_a_change_is_no_word_on_how_it_went(door, answer, command):
    told = ask(door(answer).path, command)
    assert (told.status, told.code, told.rows) == (FAILED, "failed", [])
    assert "changing over" in told.error
    assert "usher ctl workers" in told.error


def test_without_an_usher_nothing_is_changed(folder):
    assert ask(folder / "ctl", "reload").status == NOBODY


def test_a_list_that_is_cut_is_an_error_and_not_a_short_list(door):
    ran = run_ctl("--socket", door(b'{"row": {"id": "3.1"}}\n' * 100).path, "sessions")
    assert (ran.returncode, ran.stdout) == (NOBODY, "")
    assert "hung up before it had answered: ask again" in ran.stderr


def test_health_asks_again_when_control_is_replaced(door, folder):
    (folder / "usher.conf").write_text(f'admin_socket = "{folder}/ctl"\n')
    argv = [BINARY, "health", "-c", folder / "usher.conf"]
    server = door(None, lines({"done": {"recovered": True, "workers": 2}}), None, None)
    assert subprocess.run(argv, timeout=30).returncode == DONE
    assert subprocess.run(argv, timeout=30).returncode == NOBODY
    assert len(server.requests) == 4


def test_waiting_for_moves_goes_on_with_the_next_control(door):
    """A reload in the middle: another epoch, but the moves are the same."""
    server = door(
        lines({"done": {"epoch": 3, "moves_since": 2, "moves": 0}}),
        lines({"done": {"text": "4 users will be moved"}}),
        lines({"done": {"epoch": 3, "moves_since": 2, "moves": 4}}),
        None,
        lines({"done": {"epoch": 4, "moves_since": 2, "moves": 2}}),
        lines({"done": {"epoch": 4, "moves_since": 2, "moves": 0}}),
        lines({"done": {"epoch": 4, "moves_since": 2, "moves": 0}}),
    )
    status, shown = on_terminal(
        "--socket", server.path, "move", "--from", "a", "--to", "b", "--wait"
    )
    assert status == DONE
    assert "2 of 4 users moved" in shown
    assert shown.rstrip().endswith("It is over.\x1b[0m")


# --- the words themselves -------------------------------------------------------------------------


def test_help_lists_every_command_with_its_right():
    seen, _, steered = run_ctl("help").stdout.partition("steer (admin_steer)")
    for _, words, right, *_ in COMMANDS:
        assert f"\n    {words}" in (seen if right == "SEE" else steered)
        one = run_ctl("help", *words.split())
        assert (one.returncode, f"may {right.lower()}" in one.stdout) == (DONE, True)
    assert run_ctl("--help").stdout == run_ctl("help").stdout


@pytest.mark.parametrize(
    "words", [[], ["frobnicate"], ["pin", "ann"], ["pins", "x"], ["help", "nothing"], ["--x"]]
)
def test_what_makes_no_sense_is_told_before_anybody_is_asked(words, folder):
    ran = run_ctl("--socket", folder / "none", *words)
    assert (ran.returncode, ran.stdout) == (WRONG, "")
    assert "usher" in ran.stderr


def test_the_manual_has_every_command():
    manual = (TOP / "man/usher-ctl.8").read_text()
    for _, words, _, arguments, _ in COMMANDS:
        items = re.findall(rf"^\.It Cm {words}(?: (.*)|)$", manual, re.MULTILINE)
        assert items, words
        told = " ".join(items).replace("\\-", "-").split()
        for argument in re.sub(r"[\[\]]", "", arguments).split():
            assert argument[1:].lower() in told or argument.lower() in told, (words, argument)


def test_the_page_for_operators_has_what_directors_had():
    told = (TOP / "docs/operating.md").read_text()
    for _, words, _, _, director in COMMANDS:
        assert f"usher ctl {words}" in told, words
        if director:
            assert f"doveadm {director.split(' USER')[0]}" in told, director
