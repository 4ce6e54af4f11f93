"""`usher sync` and `usher verify` as commands: help, mistakes, where passwords come from."""

from __future__ import annotations

import signal

import pytest
from way import on_terminal, run

USAGE, NOINPUT = 64, 66
UNREACHED = {"from": 101, "to": 102}
SECRET = "wachtwoord-7"
# Nobody is asked there: a mistake must be told before.
URLS = ("imaps://ann@127.0.0.1:1", "imaps://ann@127.0.0.1:2")


@pytest.fixture
def home(folder) -> dict[str, str]:
    """An environment whose journals lie in a folder of the test's own."""
    return {"HOME": str(folder), "XDG_STATE_HOME": ""}


def refused(*words: object, command: str = "sync", status: int = USAGE, **options) -> str:
    done = run(command, *words, **options)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert done.stderr.startswith(f"usher {command}: "), done.stderr
    return done.stderr


# ---- help ----


@pytest.mark.parametrize("command", ["sync", "verify"])
@pytest.mark.parametrize("how", ["help", "--help", "-h"])
def test_help_has_every_option(command, how):
    done = run("help", command) if how == "help" else run(command, how)
    assert done.returncode == 0 and not done.stderr
    assert f"usage: usher {command} FROM TO" in done.stdout
    for option in ("--password-file1 FILE", "--folder FOLDER", "--full", "--connections N (4)"):
        assert option in done.stdout
    assert ("    --delete2\n" in done.stdout) == (command == "sync")
    assert all(len(line) < 100 for line in done.stdout.splitlines())


def test_the_list_of_commands_has_both():
    listed = run("help").stdout
    assert "    sync " in listed and "    verify " in listed


# ---- mistakes ----


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "FROM and TO are missing"),
        ((URLS[0],), "both accounts as URLs"),
        ((*URLS, "imaps://c@d"), "a word too many"),
        (("imap://ann@a/INBOX", URLS[1]), "FROM: nothing may stand behind the host"),
        ((*URLS, "--foldre", "A"), "did you mean --folder?"),
        ((*URLS, "--syncinternaldates"), "imapsync's --syncinternaldates is not here: not needed"),
        ((*URLS, "--maxsize", "huge"), "--maxsize: "),
        ((*URLS, "--include", "("), "--include"),
        ((*URLS, "--regextrans2", "x"), "--regextrans2"),
        ((*URLS, "--delete2-share", "10"), "means nothing without --delete2"),
    ],
)
def test_a_mistake_is_told_before_anybody_is_asked(words, told):
    text = refused(*words)
    assert told in text
    assert '"usher help sync" explains it.' in text


def test_verify_has_no_option_that_would_change_something():
    assert 'for "usher sync"' in refused(*URLS, "--delete2", command="verify")


def test_a_password_in_a_url_is_refused_and_not_shown():
    text = refused(f"imaps://ann:{SECRET}@127.0.0.1:1", URLS[1])
    assert "a password may not stand in the URL" in text
    assert SECRET not in text


@pytest.mark.parametrize("scheme", ["imap://ann@{}", "--host1"])
def test_a_password_is_not_sent_in_clear_to_another_machine(scheme, home):
    # TEST-NET-1 (RFC 5737): nothing is sent there, as the mistake is seen before.
    if scheme == "--host1":
        words = "--host1 192.0.2.1 --user1 ann --nossl1 --notls1 --host2 127.0.0.1 --user2 ann"
        text = refused(*words.split(), env=home)
    else:
        text = refused(scheme.format("192.0.2.1"), URLS[1], env=home)
    assert "FROM: the password would go to 192.0.2.1 in clear" in text
    assert "imaps://" in text and "--cleartext1" in text


def test_a_name_that_is_not_known_is_told(home):
    for side, words in {
        "from": ("imaps://ann@nobody.invalid", URLS[1]),
        "to": (URLS[0], "imaps://ann@nobody.invalid"),
    }.items():
        text = refused(*words, status=UNREACHED[side], env=home)
        assert f"{side.upper()}: nobody.invalid: " in text


@pytest.mark.parametrize("what", ["missing", "empty", "rubbish"])
def test_cas_that_are_none_are_told(folder, home, what):
    path = folder / "ca.pem"
    if what != "missing":
        path.write_text("" if what == "empty" else "no certificate\n")
    text = refused(*URLS, "--ca", path, env=home)
    assert f"--ca {path}" in text


# ---- passwords ----


def test_without_a_terminal_a_script_is_told_what_to_write(home):
    text = refused(*URLS, env=home, status=NOINPUT)
    assert "FROM: there is no terminal" in text
    assert "--password-file1" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--password-file1", "/no/such/file"), "/no/such/file: "),
        (("--password-file1", "/dev/null"), "the password is empty"),
        (("--password-env1", "NO_SUCH_NAME"), "--password-env1: NO_SUCH_NAME is not set"),
        (("--password-env1", "EMPTY"), "--password-env1: EMPTY is empty"),
        (("--password-command1", "exit 3"), "--password-command1: it ended with status 3"),
        (("--password-command1", "echo x; exit 4"), "it ended with status 4"),
        (("--password-command1", "true"), "--password-command1: the password is empty"),
        (("--password-command1", "kill -9 $$"), "it was ended by signal 9"),
        (("--password-command1", "yes | tr -d '\\n' | head -c 3000"), "longer than"),
    ],
)
def test_a_password_that_cannot_be_had_is_told(words, told, home):
    text = refused(*URLS, *words, env={**home, "EMPTY": ""}, status=NOINPUT)
    assert told in text


def test_variables_are_gone_when_a_command_runs(home):
    """The command fails, and so tells what it was given."""
    ours = "{ tr '\\0' '\\n' < /proc/$PPID/environ; } 2> /dev/null"
    seen = f"env | grep -c ^PW= >&2; {ours} | grep -c seven >&2; exit 1"
    text = run(
        *("sync", *URLS, "--password-env1", "PW", "--password-command2", seen),
        env={**home, "PW": "seven"},
    ).stderr
    assert text.startswith("0\n0\n"), text


def test_a_password_on_the_command_line_is_warned_of_and_gone_at_once(home):
    """The command of TO's password looks at the command line of the process that runs it."""
    seen = "tr '\\0' '\\n' < /proc/$PPID/cmdline >&2; exit 1"
    text = run(
        *("sync", *URLS, "--password1", SECRET, "--password-command2", seen), env=home
    ).stderr
    assert "warning: the password of FROM stood on the command line" in text
    assert "--password1\n" in text and SECRET not in text


def test_no_password_is_in_what_is_told(home, folder):
    """Of whichever kind, and however the run ends."""
    path = folder / "password"
    path.write_text(f"{SECRET}\nsecond line\n")
    done = run(
        *("sync", *URLS, "--password1", SECRET, "--passfile2", path, "--verbose", "--timeout", "5"),
        *("--log", folder / "log", "--html", folder / "page.html"),
        env=home,
    )
    assert done.returncode not in (0, USAGE, NOINPUT), done
    told = done.stdout + done.stderr
    for name in ("log", "page.html"):
        if (folder / name).exists():
            told += (folder / name).read_text()
    assert SECRET not in told and "second line" not in told


def test_passwords_are_asked_on_a_terminal_one_after_the_other_and_not_shown():
    with on_terminal("sync", *URLS, "--no-journal", "--timeout", "5") as terminal:
        for side in ("FROM", "TO"):
            prompt = f"Password of ann at 127.0.0.1 ({side}): "
            assert prompt in terminal.read_until(lambda shown, prompt=prompt: prompt in shown)
            terminal.type(f"{SECRET}\n")
        assert terminal.end() not in (0, USAGE, NOINPUT)
        assert SECRET not in terminal.shown


def test_who_gives_up_at_the_prompt_is_let_go():
    with on_terminal("sync", *URLS, "--no-journal") as terminal:
        terminal.read_until(lambda shown: "(FROM): " in shown)
        terminal.type("\x03")
        assert terminal.end() == -signal.SIGINT
