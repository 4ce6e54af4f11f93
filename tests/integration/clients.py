"""Real mail programs, run against an address. Each returns what it got or raises."""

from __future__ import annotations

import imaplib
import json
import os
import pty
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from peers import imapflow as imapflow_peer
from peers.certs import Tls
from peers.greeting import unverified_context

TIMEOUT_S = 60


@dataclass(frozen=True)
class Account:
    """Where a mail program is told to log in, and as whom. `ca` is what it shall trust."""

    port: int
    tls: Tls = Tls.OFF
    host: str = "localhost"
    user: str = "ann"
    password: str = "secret-ann"
    ca: Path | None = None

    @property
    def scheme(self) -> str:
        return "imaps" if self.tls is Tls.IMPLICIT else "imap"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca) if self.ca else unverified_context()


def attempt(
    *argv: str | Path, folder: Path | None = None, timeout: float = TIMEOUT_S
) -> subprocess.CompletedProcess[bytes]:
    """A program's end, good or bad, without settings or terminal of ours."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder or "/nonexistent"), "LC_ALL": "C.UTF-8"}
    words = [str(word) for word in argv]
    return subprocess.run(
        words, capture_output=True, env=env, cwd=folder, stdin=subprocess.DEVNULL, timeout=timeout
    )


def run(*argv: str | Path, folder: Path | None = None, timeout: float = TIMEOUT_S) -> bytes:
    """A program's output; it must end well."""
    done = attempt(*argv, folder=folder, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def curl(account: Account, path: str = "", *options: str) -> bytes:
    """curl with the path of a URL, such as "INBOX;MAILINDEX=1"."""
    return run(*curl_words(account, path, *options))


def curl_words(account: Account, path: str = "", *options: str) -> list[str]:
    """The command line of curl()."""
    argv = ["curl", "-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]
    if account.ca:
        argv += ["--cacert", str(account.ca)]
    if account.tls is Tls.STARTTLS:
        argv.append("--ssl-reqd")
    return [*argv, "--user", f"{account.user}:{account.password}", *options, account.url + path]


def imap(account: Account) -> imaplib.IMAP4:
    """Python's imaplib, connected, TLS started, not logged in."""
    if account.tls is Tls.IMPLICIT:
        return imaplib.IMAP4_SSL(
            account.host, account.port, ssl_context=account.context(), timeout=TIMEOUT_S
        )
    client = imaplib.IMAP4(account.host, account.port, timeout=TIMEOUT_S)
    if account.tls is Tls.STARTTLS:
        client.starttls(account.context())
    return client


def logged_in(account: Account) -> imaplib.IMAP4:
    client = imap(account)
    client.login(account.user, account.password)
    return client


MBSYNC_RC = """
FSync no

IMAPAccount far
Host {host}
Port {port}
User {user}
Pass {password}
SSLType {tls}
{certificate}

IMAPStore far
Account far

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel inbox
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync {sync}
Expunge {expunge}
SyncState *
"""


def mbsync(
    account: Account,
    folder: Path,
    *,
    sync: str = "Pull",
    expunge: str = "None",
    timeout: float = TIMEOUT_S,
) -> Path:
    """Synchronises INBOX with a Maildir below `folder`, which it returns; pulls only, unless told
    otherwise. `sync` and `expunge` are mbsync's words."""
    rc = folder / "mbsyncrc"
    rc.write_text(
        MBSYNC_RC.format(
            host=account.host,
            port=account.port,
            user=account.user,
            password=account.password,
            tls={Tls.OFF: "None", Tls.STARTTLS: "STARTTLS", Tls.IMPLICIT: "IMAPS"}[account.tls],
            certificate=f"CertificateFile {account.ca}" if account.ca else "",
            folder=folder,
            sync=sync,
            expunge=expunge,
        )
    )
    run("mbsync", "-c", rc, "inbox", folder=folder, timeout=timeout)
    return folder / "INBOX"


def muttrc(account: Account, folder: Path) -> Path:
    settings = {
        "imap_user": account.user,
        "imap_pass": account.password,
        "ssl_starttls": "yes" if account.tls is Tls.STARTTLS else "no",
        "ssl_force_tls": "no" if account.tls is Tls.OFF else "yes",
        "from": "ann@example.org",
        "sendmail": "/bin/true",
        "copy": "yes",
        "folder": account.url,
        "wait_key": "no",
        "quit": "yes",
        "move": "no",
        "delete": "no",
        "imap_check_subscribed": "no",
        "postponed": "",
        "tmpdir": str(folder),
        "certificate_file": str(folder / "accepted"),
    }
    if account.ca:
        settings["ssl_ca_certificates_file"] = str(account.ca)
    rc = folder / "muttrc"
    rc.write_text("".join(f'set {key}="{value}"\n' for key, value in settings.items()))
    return rc


def mutt_send(account: Account, folder: Path, subject: str, mailbox: str) -> None:
    """mutt in batch mode: "sends" a mail, of which it puts a copy into a mailbox by IMAP."""
    record = f'set record="{account.url}{mailbox}"'
    run("mutt", "-n", "-F", muttrc(account, folder), "-e", record, "-s", subject, "bob@example.org",
        folder=folder)  # fmt: skip


def mutt_read(account: Account, folder: Path, keys: str) -> None:
    """mutt with a mailbox open, on a terminal of its own, pressing `keys` (mutt's push)."""
    argv = [
        "mutt", "-n", "-F", str(muttrc(account, folder)), "-e", f'push "{keys}"',
        "-f", f"{account.url}INBOX",
    ]  # fmt: skip
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
    }
    main, terminal = pty.openpty()
    with subprocess.Popen(
        argv, stdin=terminal, stdout=terminal, stderr=terminal, env=env, cwd=folder
    ) as mutt:
        os.close(terminal)
        watchdog = threading.Timer(TIMEOUT_S, mutt.kill)
        watchdog.start()
        shown = bytearray()
        try:
            while octets := os.read(main, 65536):
                shown += octets
        except OSError:
            pass  # the terminal's other end has been closed
        finally:
            watchdog.cancel()
            os.close(main)
        if mutt.wait(TIMEOUT_S) != 0:
            sys.stderr.write(shown.decode(errors="replace"))
            raise RuntimeError(f"mutt ended with {mutt.returncode}")


def imapflow(account: Account, tree: Path) -> bytes:
    """What imapflow.js reports of its work, lines of JSON; `tree` is what peers.imapflow.fetch() gave."""
    where = {
        "host": socket.gethostbyname(account.host),
        "port": account.port,
        "tls": account.tls.value,
        "user": account.user,
        "password": account.password,
        "ca": str(account.ca or ""),
    }
    return run("node", imapflow_peer.SCRIPT, tree, json.dumps(where))
