"""`usher login`: one real login, told step by step, whatever the backend makes of it."""

from __future__ import annotations

import base64
import os
import re
import signal
import termios
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import BACKEND_NAME, USERS, configure
from later import logged
from peers.certs import Tls
from peers.process import free_address
from peers.scripted import (
    answering,
    at_login,
    bad_at_login,
    bye,
    closing,
    closing_at_login,
    context_of,
    ending_at,
    endless_greeting,
    endless_untagged,
    injecting_starttls,
    preauth,
    refusing_starttls,
    resetting,
    rubbish,
    saying,
    silent,
    silent_after_greeting,
    untagged_bye_at_login,
    within_tls,
)
from peers.usher import Backend
from way import FAILED, REFUSED, SERVED, USAGE, Answer, directory, on_terminal, page, run, tell

PASSWORD = USERS["ann"]
NO = b"NO [AUTHENTICATIONFAILED] Authentication failed."
PROXY_HINT = "if it waits for a PROXY header, write proxy = v2 or v1"


@pytest.fixture
def config(folder, certificate) -> Callable[..., Path]:
    """Writes a configuration with these backends, and with more text behind it."""

    def write(backends: Mapping[str, object], more: str = "", **settings) -> Path:
        path = folder / "usher.conf"
        usual = {"connect_timeout": "2s", "backend_login_timeout": "1s"}
        path.write_text(
            configure(folder, certificate, {"main": backends}, **{**usual, **settings}) + more
        )
        return path

    return write


def log_in(config: Path, *words: object, password: str = PASSWORD, user: str = "ann") -> Answer:
    answer = tell("login", "-c", config, *words, user, given=password + "\n")
    assert password not in str(answer)
    return answer


# ---- good logins ----


@pytest.mark.parametrize("haproxy", [False, True])
@pytest.mark.parametrize("tls", Tls)
def test_a_dovecot_lets_the_user_in(
    config, start_dovecot, authority, backend_certificate, tls, haproxy
):
    secured = tls is not Tls.OFF
    dovecot = start_dovecot(
        "mail1", tls=tls, certificate=backend_certificate if secured else None, haproxy=haproxy
    )
    trust = {"tls_ca": authority.certificate, "tls_name": BACKEND_NAME} if secured else {}
    proxy = "v2" if haproxy else "off"
    backend = Backend(dovecot.endpoint, tls=tls, proxy=proxy, **trust)
    answer = log_in(config({"mail1": backend}, backend_login_timeout="10s"))
    assert answer.status == SERVED, answer
    done = answer.done
    assert (done["result"], done["user"], done["pool"]) == ("ok", "ann", "main")
    assert (done["backend"], done["address"]) == ("mail1", dovecot.endpoint)
    expected = ["choice", "connect"] + ["proxy"] * haproxy + ["tls"] * (tls is Tls.IMPLICIT)
    expected += ["greeting"] + ["starttls", "tls", "capability"] * (tls is Tls.STARTTLS)
    assert answer.steps()[: len(expected)] == expected
    assert answer.steps()[-3:] == ["login", "noop", "logout"]
    assert all(row["ok"] and row["ms"] >= 0 for row in answer.rows)
    assert "mail1 ready." in answer.step("greeting")["text"]
    assert answer.step("login")["text"].startswith("AUTHENTICATE PLAIN")
    if secured:
        assert re.search(
            rf"^TLSv1.3, .* certificate of {BACKEND_NAME} until \d{{4}}-\d\d-\d\d, verified",
            answer.step("tls")["text"],
        )
    logged(dovecot, "Login: user=<ann>")


def test_a_wrong_password_is_refused_and_told_as_such(config, start_dovecot):
    path = config({"mail1": start_dovecot("mail1")}, backend_login_timeout="10s")
    answer = log_in(path, password="wrong")
    assert (answer.status, answer.done["result"]) == (REFUSED, "refused")
    assert "AUTHENTICATIONFAILED" in answer.done["text"]
    assert not answer.step("login")["ok"] and answer.step("logout")["ok"]


def test_a_name_is_resolved_and_the_address_is_told(config, start_scripted):
    server = start_scripted(answering(), address="127.0.0.1", port=0)
    port = server.listener.getsockname()[1]
    answer = log_in(config({"mail1": Backend(f"localhost:{port}")}))
    assert answer.status == SERVED
    assert "127.0.0.1" in answer.step("resolve")["text"]
    assert answer.done["address"] == f"127.0.0.1:{port}"


def test_a_name_that_is_not_found_is_told(config):
    server = f"{free_address()}:5353"
    path = config({"mail1": Backend("mail1.example.org:10143")}, nameservers=[server])
    answer = log_in(path)
    assert (answer.status, answer.steps()[-1]) == (FAILED, "resolve")
    assert "mail1.example.org" in answer.done["text"]


def test_the_password_comes_from_a_file(config, folder, start_scripted):
    server = start_scripted(answering())
    word = folder / "password"
    word.write_text(f"{PASSWORD}\r\nsecond line\n")
    path = config({"mail1": server})
    assert log_in(path, "--password-file", word, password="other").status == SERVED
    assert shown_to(server) == f"\0ann\0{PASSWORD}".encode()


def shown_to(server) -> bytes:
    """The credentials that a server was shown by AUTHENTICATE PLAIN."""
    (line,) = (line for line in server.commands if b"AUTHENTICATE" in line)
    return base64.b64decode(line.split()[-1])


# ---- what backends do wrong ----

HOSTILE = {
    "silent": (silent, "greeting", f"no answer within backend_login_timeout; {PROXY_HINT}"),
    "closing": (closing, "greeting", f"without a word; {PROXY_HINT}"),
    "resetting": (resetting, "greeting|connect", "reset"),
    "rubbish": (rubbish, "greeting", ""),
    "endless greeting": (endless_greeting, "greeting", "no end"),
    "endless answer": (endless_untagged, "capability", "too many untagged responses"),
    "bye": (bye, "greeting", "greets with BYE"),
    "preauth": (preauth, "greeting", "PREAUTH"),
    "tls": (saying(b"\x16\x03\x01"), "greeting", "not IMAP but TLS"),
    "silent after greeting": (silent_after_greeting, "login", "no answer within"),
    "closing at login": (closing_at_login, "login", "closed the connection"),
    "bye at login": (untagged_bye_at_login, "login", "BYE"),
    "bad at login": (bad_at_login, "login", "does not understand the login"),
    "silent at noop": (ending_at(b"NOOP", lambda c: c.until_closed()), "noop", "no answer within"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_backend_without_a_verdict_is_told_with_the_step(config, start_scripted, name):
    script, stage, words = HOSTILE[name]
    answer = log_in(config({"mail1": start_scripted(script)}))
    assert (answer.status, answer.done["result"]) == (FAILED, "failed"), answer
    last = answer.rows[-1]
    assert re.fullmatch(stage, last["step"]) and not last["ok"], answer
    assert words in last["text"] and answer.done["text"] == f"{last['step']}: {last['text']}"


def test_nobody_there_is_told_with_the_address(config):
    address = f"{free_address()}:10143"
    answer = log_in(config({"mail1": Backend(address)}))
    assert (answer.status, answer.steps()[-1]) == (FAILED, "connect")
    assert answer.done["text"] == f"connect: {address}: Connection refused"
    assert answer.done["address"] is None


def test_a_header_that_is_not_expected_is_hinted_at(config, start_dovecot):
    backend = Backend(start_dovecot("mail1").endpoint, proxy="v1")
    answer = log_in(config({"mail1": backend}, backend_login_timeout="10s"))
    assert answer.status == FAILED
    assert "if it does not expect one, write proxy = off" in answer.done["text"]


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_a_wrong_certificate_ends_it_before_the_password(
    config, start_scripted, authority, certificate, tls
):
    script = within_tls(answering()) if tls is Tls.IMPLICIT else injecting_starttls
    if tls is Tls.STARTTLS:
        script = starttls_then_serve
    server = start_scripted(script, context=context_of(certificate))
    backend = Backend(
        server.endpoint, tls=tls, tls_ca=authority.certificate, tls_name=BACKEND_NAME
    )
    answer = log_in(config({"mail1": backend}))
    assert (answer.status, answer.steps()[-1]) == (FAILED, "tls"), answer
    assert "certificate" in answer.done["text"] or "mismatch" in answer.done["text"]
    assert not [line for line in server.commands if b"AUTH" in line or b"LOGIN" in line]


def starttls_then_serve(connection) -> None:
    connection.send(b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] scripted\r\n")
    tag, _, _ = connection.command()
    connection.send(tag + b" OK go\r\n")
    connection.start_tls()
    connection.until_closed()


@pytest.mark.parametrize("script", [refusing_starttls, injecting_starttls])
def test_starttls_never_falls_back(config, start_scripted, authority, backend_certificate, script):
    server = start_scripted(script, context=context_of(backend_certificate))
    backend = Backend(server.endpoint, tls=Tls.STARTTLS, tls_ca=authority.certificate)
    answer = log_in(config({"mail1": backend}))
    assert (answer.status, answer.steps()[-1]) == (FAILED, "starttls")
    assert PASSWORD.encode() not in server.in_clear


def test_what_a_backend_says_cannot_steer_the_terminal(config, start_scripted):
    path = config({"mail1": start_scripted(answering(b"NO \x1b[31mred\x9b"))})
    shown = page("login", "-c", path, "--explain", "ann", status=REFUSED, given="x\n")
    assert "\x1b" not in shown and "\\x1b[31mred" in shown


# ---- where to ----


def test_the_user_is_sent_where_the_directory_says(config, start_scripted):
    here, there = start_scripted(answering()), start_scripted(answering())
    rules = directory("people", driver="static", rules=["ann backend=mail2 backend_user=a.n"])
    answer = log_in(config({"mail1": here, "mail2": there}, rules))
    assert (answer.status, answer.done["backend"]) == (SERVED, "mail2")
    assert answer.step("directory")["text"] == "people: backend=mail2 backend_user=a.n"
    assert here.connections == 0
    assert shown_to(there) == f"\0a.n\0{PASSWORD}".encode()


def test_the_operator_may_name_another_backend(config, start_scripted):
    here, there = start_scripted(answering()), start_scripted(answering())
    path = config(
        {"mail1": here, "mail2": there},
        directory("people", driver="static", rules=["ann backend=mail1"]),
    )
    answer = log_in(path, "--backend", "mail2")
    assert (answer.status, answer.done["backend"]) == (SERVED, "mail2")
    assert "mail2, by --backend; without it mail1: " in answer.step("choice")["text"]
    assert here.connections == 0


# Of PASSWORD.
HASH = (
    "$6$saltsalt$"
    "rFPuoOCD/k2zWkCbstm0.l76WFl7eFQnbfljglJbcb3ClLD0wixTGhdjz8jSsARvzH1LzuByJkv8vjgR/UGzq."
)


@pytest.mark.parametrize(
    "facts, shown",
    [
        ("", f"\0ann\0{PASSWORD}"),
        (" backend_password=inner", "\0ann\0inner"),
        (" master_user=root master_password=inner", "ann\0root\0inner"),
    ],
)
def test_a_password_with_a_hash_is_verified_first(config, start_scripted, facts, shown):
    server = start_scripted(answering())
    rules = directory("people", driver="static", rules=[f"ann password_hash={HASH}{facts}"])
    path = config({"mail1": server}, rules)
    refused = log_in(path, password="wrong")
    assert (refused.status, refused.steps()[-1]) == (REFUSED, "verify")
    assert server.connections == 0
    answer = log_in(path)
    assert answer.status == SERVED, answer
    assert shown_to(server) == shown.encode()
    assert HASH not in str(answer) and "inner" not in str(answer)
    assert "password_hash=(set)" in answer.step("directory")["text"]


@pytest.mark.parametrize(
    "rule, status, words",
    [
        ("ann disabled=Gone", REFUSED, "disabled"),
        ("ann pool=nowhere", FAILED, "pool=nowhere is not in the configuration"),
    ],
)
def test_nobody_is_logged_in_whom_usher_would_not_serve(
    config, folder, start_scripted, rule, status, words
):
    server = start_scripted(answering())
    (folder / "users.map").write_text(rule + "\n")
    people = directory("people", driver="file", path=folder / "users.map")
    path = config({"mail1": server}, people)
    answer = log_in(path)
    assert answer.status == status and words in answer.done["text"]
    assert answer.done["backend"] is None and server.connections == 0
    assert log_in(path, "--backend", "mail1").status == SERVED


# ---- words ----


@pytest.mark.parametrize(
    "words, told",
    [
        (["--backend", "mial1", "ann"], 'no backend "mial1"; did you mean "mail1"?'),
        (["--pool", "mian", "ann"], 'no pool "mian"; did you mean "main"?'),
        (["--listener", "imp", "ann"], 'no listener "imp"; did you mean "imap"?'),
        (["--explian", "ann"], "unknown option --explian; did you mean --explain?"),
        (["--password", "secret", "ann"], "a password does not belong on a command line"),
        (["--password=secret", "ann"], "a password does not belong on a command line"),
        (["--backend"], "a value is missing behind --backend"),
        ([], "Name a user"),
        (["ann", "bob"], "one user at a time, not also bob"),
        (["--pool", "main", "--listener", "imap", "ann"], "write one of them"),
        ([""], "is not a user's name"),
    ],
)
def test_wrong_words_are_told_and_nobody_is_asked(config, start_scripted, words, told):
    server = start_scripted(answering())
    done = run("login", "-c", config({"mail1": server}), *words, given=PASSWORD)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert told in done.stderr and "secret" not in done.stderr, done.stderr
    assert server.connections == 0


def test_an_abbreviated_option_is_taken_as_getopt_takes_it(config, start_scripted):
    path = config({"mail1": start_scripted(answering())})
    assert log_in(path, "--back", "mail1").status == SERVED


@pytest.mark.parametrize("given", ["", "\n"])
def test_no_password_is_no_login(config, start_scripted, given):
    server = start_scripted(answering())
    done = run("login", "-c", config({"mail1": server}), "ann", given=given)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "the password is empty" in done.stderr and server.connections == 0


def test_a_password_file_that_cannot_be_read_is_named(config, start_scripted, folder):
    path = config({"mail1": start_scripted(answering())})
    done = run("login", "-c", path, "--password-file", folder / "none", "ann")
    assert done.returncode == USAGE and f"{folder}/none: No such file" in done.stderr


def test_a_password_that_is_too_long_is_not_cut(config, start_scripted):
    server = start_scripted(answering())
    done = run("login", "-c", config({"mail1": server}), "ann", given="x" * 5000)
    assert done.returncode == USAGE and "longer than" in done.stderr
    assert server.connections == 0


def test_a_bad_configuration_is_told(config, folder):
    path = config({}, "no_such_setting = 1\n")
    done = run("login", "-c", path, "ann", given="x\n")
    assert (done.returncode, done.stdout) == (USAGE, "") and f"{path}:" in done.stderr


# ---- what is shown ----


def test_without_explain_there_is_one_line(config, start_scripted):
    path = config({"mail1": (server := start_scripted(answering()))})
    shown = page("login", "-c", path, "ann", given=PASSWORD)
    assert re.fullmatch(
        rf"ann is logged in at mail1 \({re.escape(server.endpoint)}\), after \d+ ms: Logged in\n", shown
    )


def test_with_explain_each_step_has_a_line_and_a_time(config, start_scripted):
    path = config({"mail1": start_scripted(answering())})
    shown = page("login", "-c", path, "--explain", "ann", given=PASSWORD)
    steps, _, result = shown.partition("\n\n")
    lines = [re.fullmatch(r"  (\w+) +(\d+\.\d) ms  (.+)", line) for line in steps.splitlines()]
    assert all(lines), shown
    assert [line[1] for line in lines] == [
        "choice", "connect", "greeting", "login", "after_login", "noop", "logout"
    ]  # fmt: skip
    assert result.startswith("ann is logged in at mail1")


# ---- the terminal ----


def has_echo(terminal) -> bool:
    return bool(termios.tcgetattr(terminal.main)[3] & termios.ECHO)


def test_the_password_is_asked_without_echo(config, start_scripted):
    server = start_scripted(answering())
    with on_terminal("login", "-c", config({"mail1": server}), "ann") as terminal:
        terminal.read_until(lambda shown: "Password of ann, for mail1: " in shown)
        assert not has_echo(terminal)
        terminal.type(PASSWORD + "\n")
        assert terminal.end() == SERVED
        assert PASSWORD not in terminal.shown and "is logged in" in terminal.shown
    assert shown_to(server) == f"\0ann\0{PASSWORD}".encode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_its_echo_back(config, start_scripted, number):
    server = start_scripted(answering())
    with on_terminal("login", "-c", config({"mail1": server}), "ann") as terminal:
        terminal.read_until(lambda shown: "for mail1: " in shown)
        assert not has_echo(terminal)
        keeper = os.dup(terminal.main)
        if number == signal.SIGINT:
            terminal.type("secr\x03")
        else:
            terminal.process.send_signal(number)
        assert terminal.process.wait(10) == -number
        assert termios.tcgetattr(keeper)[3] & termios.ECHO
        os.close(keeper)
    assert server.connections == 0


def test_after_a_stop_the_password_is_asked_anew(config, start_scripted):
    server = start_scripted(answering())
    with on_terminal("login", "-c", config({"mail1": server}), "ann") as terminal:
        terminal.read_until(lambda shown: shown.count("for mail1: ") == 1)
        terminal.type("half")
        # A session's leader is not stopped by it, so that it comes back at once.
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.read_until(lambda shown: shown.count("for mail1: ") == 2)
        terminal.type(PASSWORD + "\n")
        assert terminal.end() == SERVED
    assert shown_to(server) == f"\0ann\0{PASSWORD}".encode()
