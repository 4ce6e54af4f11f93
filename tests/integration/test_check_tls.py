"""What `usher check` says of certificates, keys, CAs, CRLs and suites: mistakes and warnings."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from peers.certs import Authority, Certificate, Tls, openssl
from peers.usher import DEFAULT_BINARY, Backend, Listener, configuration

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))
IMAPS = Listener(tls=Tls.IMPLICIT)
PLAIN = Backend("127.0.0.2:10143")


class Checked:
    """A run of usher check, with what it said taken apart."""

    def __init__(self, path: Path, *options: str) -> None:
        done = subprocess.run(
            [BINARY, "check", "-c", path, *options],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
        self.status = done.returncode
        self.out = done.stdout.strip()
        self.err = done.stderr
        self.text = path.read_text().splitlines()
        self.said = [
            (int(line), bool(warning), words)
            for line, warning, words in re.findall(
                rf"^{re.escape(str(path))}:(\d+): (warning: )?(.*)", done.stderr, re.MULTILINE
            )
        ]

    def only(self, is_warning: bool, at: str) -> str:
        """The one thing that was said, of this kind and of a line with `at`."""
        assert len(self.said) == 1, self.err
        line, warning, words = self.said[0]
        assert warning == is_warning, self.err
        assert at in self.text[line - 1], self.err
        return words


@pytest.fixture
def check(folder, authority):
    """Writes a configuration and has it checked."""
    usual = authority.issue("checked", "imap.example.org")

    def checked(*options: str, backend: Backend = PLAIN, **settings) -> Checked:
        path = folder / "usher.conf"
        given = {"listeners": {"imaps": IMAPS}, "certificate": usual, **settings}
        path.write_text(configuration(folder / "state", {"main": {"mail1": backend}}, **given))
        return Checked(path, *options)

    return checked


def test_good_files_are_good(check):
    done = check()
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith("usher.conf: ok")


# --- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["tls", "certificate", "backend"])
def test_a_key_of_another_certificate_is_a_mistake(check, authority, where):
    one, other = (authority.issue(label, f"{label}.example.org") for label in ("one", "other"))
    wrong = Certificate(one.certificate, other.key)
    done = {
        "tls": lambda: check(certificate=wrong),
        "certificate": lambda: check(certificates={"wrong": wrong}),
        "backend": lambda: check(
            backend=replace(PLAIN, tls=Tls.IMPLICIT, tls_certificate=wrong, tls_verify=False)
        ),
    }[where]()
    assert done.status == 1
    words = done.only(False, "one.crt")
    assert str(wrong.certificate) in words and str(wrong.key) in words
    assert "does not belong" in words
    assert done.err.endswith("1 mistake\n")


def test_all_wrong_pairs_are_told_at_once(check, authority):
    one, other = (authority.issue(label, f"{label}.example.org") for label in ("one", "other"))
    done = check(
        certificate=Certificate(one.certificate, other.key),
        certificates={"other": Certificate(other.certificate, one.key)},
    )
    assert len(done.said) == 2 and done.err.endswith("2 mistakes\n")


def test_a_key_with_a_passphrase_is_a_mistake(check, authority, folder):
    made = authority.issue("locked", "imap.example.org")
    locked = folder / "locked.key"
    openssl("pkey", "-in", made.key, "-aes128", "-passout", "pass:secret", "-out", locked)
    done = check(certificate=Certificate(made.certificate, locked))
    assert "passphrase" in done.only(False, "locked.crt")


def test_a_weak_key_is_a_mistake(check, authority):
    weak = authority.issue("weak", "weak.example.org", kind="weak")
    assert "key too small" in check(certificates={"weak": weak}).only(False, "weak.crt")


@pytest.mark.parametrize("content", ["", "nothing of the kind\n"])
def test_what_is_no_pem_is_a_mistake(check, authority, folder, content):
    made = authority.issue("half", "imap.example.org")
    bad = folder / "bad.pem"
    bad.write_text(content)
    assert "bad.pem" in check(certificate=Certificate(bad, made.key)).only(False, "bad.pem")
    assert "bad.pem" in check(certificate=Certificate(made.certificate, bad)).only(False, "half.crt")
    backend = replace(PLAIN, tls=Tls.IMPLICIT, tls_ca=bad)
    assert "bad.pem" in check(backend=backend).only(False, "tls_ca")


def test_cas_and_crls_of_clients(check, authority, folder):
    clients, strangers = (Authority(folder / label, label) for label in ("clients", "strangers"))
    bad = folder / "bad.pem"
    bad.write_text("nothing of the kind\n")
    asking = replace(IMAPS, client_certificate="required", client_ca=clients.certificate)
    assert check(listeners={"imaps": asking}).err == ""
    good = replace(asking, client_crl=clients.revocation_list())
    assert check(listeners={"imaps": good}).err == ""
    for listener, at in (
        (replace(asking, client_ca=bad), "client_ca"),
        (replace(asking, client_crl=bad), "client_crl"),
        (replace(asking, client_crl=strangers.revocation_list()), "client_crl"),
    ):
        done = check(listeners={"imaps": listener})
        assert done.status == 1
        done.only(False, at)


@pytest.mark.parametrize("setting", ["ciphers", "ciphersuites"])
def test_suites_that_nobody_knows_are_a_mistake(check, setting):
    assert "nonsense" in check(tls={setting: "nonsense"}).only(False, setting)
    backend = replace(PLAIN, tls=Tls.IMPLICIT, tls_verify=False, **{f"tls_{setting}": "nonsense"})
    assert "nonsense" in check(backend=backend).only(False, f"tls_{setting}")


# --- warnings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("validity", "words"),
    [
        ({"expired": True}, "expired on 2020-02-01 00:00 UTC"),
        ({"lasts": timedelta(days=13, hours=23)}, "within 14 days"),
        ({"lasts": timedelta(hours=1)}, "within 1 day"),
        ({"starts": timedelta(days=1)}, "is not valid before"),
    ],
)
@pytest.mark.parametrize("where", ["tls", "certificate", "backend"])
def test_dates(check, authority, validity, words, where):
    made = authority.issue("dated", "dated.example.org", **validity)
    done = {
        "tls": lambda: check(certificate=made),
        "certificate": lambda: check(certificates={"dated": made}),
        "backend": lambda: check(
            backend=replace(PLAIN, tls=Tls.IMPLICIT, tls_certificate=made, tls_verify=False)
        ),
    }[where]()
    assert done.status == 0
    assert done.out.endswith("usher.conf: ok, 1 warning")
    said = done.only(True, "dated.crt")
    assert words in said and str(made.certificate) in said


def test_names_that_no_certificate_covers(check, authority):
    more = authority.issue("more", "*.example.net")
    names = ("imap.example.org", "IMAP.example.org", "a.example.net", "b.a.example.net", "example.net")
    done = check(
        certificates={"more": more}, listeners={"imaps": replace(IMAPS, server_names=names)}
    )
    assert done.status == 0
    assert done.out.endswith("2 warnings")
    assert [warning for _, warning, _ in done.said] == [True, True]
    for (line, _, words), name in zip(done.said, ("b.a.example.net", "example.net")):
        assert f" {name}," in words
        assert "server_names" in done.text[line - 1]


def test_two_certificates_of_one_kind_for_a_name(check, authority):
    names = ("mail.example.org", "imap.example.org")
    twin = authority.issue("twin", *names)
    said = check(certificates={"twin": twin}).only(True, "twin.crt")
    assert "imap.example.org" in said and "ECDSA" in said and "checked.crt" in said
    rsa = authority.issue("rsa", *names, kind="rsa")
    assert check(certificates={"rsa": rsa}).err == ""


def test_a_wildcard_that_an_exact_name_hides(check, authority):
    wild = authority.issue("wild", "*.example.org", kind="rsa")
    said = check(certificates={"wild": wild}).only(True, "checked.crt")
    assert "imap.example.org" in said and "RSA" in said and "wild.crt" in said
    same_kind = authority.issue("same", "*.example.org")
    assert check(certificates={"same": same_kind}).err == ""


def test_a_certificate_without_a_name(check, authority):
    nameless = authority.issue("nameless", subject="/O=Nobody")
    assert "no name" in check(certificates={"nameless": nameless}).only(True, "nameless.crt")
    assert "no name" in check(certificate=nameless).only(True, "nameless.crt")


def test_a_crl_that_is_out_of_date(check, folder):
    clients = Authority(folder / "clients", "clients")
    crl = folder / "old.pem"
    openssl(
        "ca", "-config", clients.config, "-gencrl", "-out", crl,
        "-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200201000000Z",
    )
    asking = replace(
        IMAPS, client_certificate="required", client_ca=clients.certificate, client_crl=crl
    )
    assert "2020-02-01" in check(listeners={"imaps": asking}).only(True, "client_crl")


def test_without_files_nothing_is_said_of_them(check, folder):
    missing = Certificate(folder / "missing.crt", folder / "missing.key")
    done = check("--no-files", certificate=missing)
    assert (done.status, done.err) == (0, "")


def test_warnings_do_not_stand_in_the_way_of_print(check, authority):
    done = check("--print", certificate=authority.issue("old", "old.example.org", expired=True))
    assert done.status == 0
    assert "listener" in done.out and "ok" not in done.out.splitlines()[-1]
    done.only(True, "old.crt")
