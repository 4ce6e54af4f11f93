"""Builds of a program where a package manager keeps them: a second release made of the first, ones that
are broken in chosen ways, and the exchange of one for another."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

C_FLAGS = ("-std=gnu17", "-Wall", "-Wextra", "-Werror", "-O1")


def version_of(program: Path) -> str:
    """As its first line of --version has it: `usher 1.2.3`."""
    ran = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30)
    found = re.match(r"usher (\S+)\n", ran.stdout)
    assert found, ran.stdout
    return found[1]


def other_version(version: str) -> str:
    """Another one of the same length."""
    last = "9" if version[-1] != "9" else "8"
    return version[:-1] + last


def make_release(program: Path, at: Path) -> str:
    """Copies a program so that the copy says that it is another version; returns that version."""
    old = version_of(program)
    new = other_version(old)
    before = program.read_bytes()
    # The text by itself, as a string of C: nothing before it, its end behind it.
    after = before.replace(b"\0" + old.encode() + b"\0", b"\0" + new.encode() + b"\0")
    assert after != before, f"{program} does not have the text {old!r}"
    at.write_bytes(after)
    at.chmod(0o755)
    assert version_of(at) == new
    return new


class Installed:
    """A program at a path of its own, from which usher is started, and what is put in its place:
    `first` and `second` are two releases, `versions` what they are called."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder / "programs"
        self.folder.mkdir()
        self.first = self._copy(program, "first")
        self.second = self.folder / "second"
        self.versions = {self.first: version_of(program), self.second: make_release(program, self.second)}
        self.path = self.folder / "usher"
        self.put(self.first)

    def _copy(self, program: Path, name: str) -> Path:
        copied = self.folder / name
        shutil.copyfile(program, copied)
        copied.chmod(0o755)
        return copied

    def put(self, program: Path) -> None:
        """As package managers do: a new file, given the name of the old one in one step."""
        fresh = self.path.with_suffix(".new")
        shutil.copyfile(program, fresh)
        fresh.chmod(program.stat().st_mode)
        os.rename(fresh, self.path)

    def put_other(self) -> str:
        """The second release where the first stands, or back; the version that stands there now."""
        other = self.second if version_of(self.path) == self.versions[self.first] else self.first
        self.put(other)
        return self.versions[other]

    # --- what is broken ---

    def script(self, text: str) -> Path:
        """A program of the shell."""
        made = self.folder / "script"
        made.write_text(f"#!/bin/sh\n{text}\n")
        made.chmod(0o755)
        return made


    def plain_file(self, content: bytes, mode: int) -> Path:
        made = self.folder / "file"
        made.write_bytes(content)
        made.chmod(mode)
        return made

    def compiled(self, source: Path, include: Path, defines: Sequence[str] = ()) -> Path:
        made = self.folder / source.stem
        flags = [*C_FLAGS, f"-I{include}", *(f"-D{define}" for define in defines)]
        subprocess.run(["cc", *flags, "-o", made, source], check=True, timeout=60)
        return made


# How a new program may be broken: its name, and what makes it.
Broken = Callable[[Installed], Path]
