"""What the gates share: where the tree is, which files belong to it, how a finding is told.

A gate is a script: it prints `file:line: message` for each finding and exits 1; 0 when all is well; 2 when it
could not look. Every gate takes --root, so that selftest.py can show it a small tree with a planted fault.
"""
import argparse
import fnmatch
import json
import os
import pathlib
import shlex
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]


class CannotLook(Exception):
    """The gate lacks what it needs (a build, a tool); never to be taken for a pass."""


def arguments(description, *, build=False):
    """A parser with what every gate understands; the gate adds its own and calls parse_args()."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=pathlib.Path, default=TOP, help="the tree to look at")
    if build:
        parser.add_argument("--build", type=pathlib.Path, help="its build directory (ROOT/build/release)")
    return parser


def run(main):
    """Runs a gate's main(), which returns its findings, and exits as a gate does."""
    try:
        findings = main()
    except CannotLook as err:
        print(f"cannot look: {err}")
        sys.exit(2)
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)


def tree_files(root, *patterns):
    """The files of the tree that match a pattern (`src/*.c` goes through all depths), sorted, relative to root.

    With git: what is tracked or could be added. Without (a tarball): all but what is hidden or built.
    """
    root = pathlib.Path(root)
    names = _from_git(root)
    if names is None:
        names = _from_walk(root)
    return sorted(
        name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns) and (root / name).is_file()
    )


def _from_git(root):
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return set(filter(None, listed.stdout.split("\0")))


def _from_walk(root):
    names = set()
    for folder, folders, files in os.walk(root):
        here = pathlib.Path(folder).relative_to(root)
        folders[:] = [f for f in folders if not f.startswith(".") and f != "__pycache__" and str(here / f) != "build"]
        names.update(str(here / name) for name in files)
    return names


def read(root, name):
    return (pathlib.Path(root) / name).read_text(encoding="utf-8", errors="replace")


class Unit:
    """One entry of compile_commands.json: a source, its object, the flags that matter to a reader of it."""

    def __init__(self, root, entry):
        self.directory = pathlib.Path(entry["directory"])
        self.source = os.path.relpath(self.directory / entry["file"], root)
        self.object = self.directory / entry["output"]
        self.input = self.directory / entry["file"]
        command = shlex.split(entry["command"])
        self.compiler, self.arguments = (command[1], command[2:]) if "ccache" in command[0] else (command[0], command[1:])

    def flags(self):
        """The compiler's arguments without input, output and dependency files."""
        kept, words = [], iter(self.arguments)
        for word in words:
            if word in ("-o", "-MF", "-MQ", "-MT"):
                next(words)
            elif word not in ("-c", "-MD", "-MMD") and not word.endswith((".c", ".o")):
                kept.append(word)
        return kept


def units(root, build, prefix="src/"):
    """The compiled sources below `prefix`, one entry each."""
    database = pathlib.Path(build) / "compile_commands.json"
    if not database.exists():
        raise CannotLook(f"{database} is not there; build first (make)")
    found = {}
    for entry in json.loads(database.read_text()):
        unit = Unit(pathlib.Path(root).resolve(), entry)
        if unit.source.startswith(prefix) and unit.source.endswith(".c"):
            found.setdefault(unit.source, unit)
    if not found:
        raise CannotLook(f"{database} names no source below {prefix}")
    return [found[name] for name in sorted(found)]
