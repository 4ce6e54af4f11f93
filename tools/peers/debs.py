"""Programs of Debian packages, unpacked into a folder and never installed.

Debian lets only one IMAP server be installed at a time; the others are run from such a folder.
"""

from __future__ import annotations

import fcntl
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from .process import remove_dir


def run(*argv: str | Path, **options: object) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: {done.stderr.strip()}")
    return done.stdout


def unpack(
    folder: Path,
    name: str,
    packages: tuple[str, ...],
    wanted: str,
    complete: Callable[[Path], None] | None = None,
) -> Path:
    """Unpacks below `folder`, once, `packages` and what apt would install for them on this machine,
    as far as the names of all these begin as the pattern `wanted` says. `complete` adds to the tree
    what else it needs.

    Returns the root of the unpacked tree. Needs apt's package lists, and no rights.
    """
    tree = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if tree.exists():
            return tree
        debs = folder / f"{name}.debs"
        fresh = folder / f"{name}.new"
        for old in (debs, fresh):
            remove_dir(old)
            old.mkdir()
        plan = run("apt-get", "-s", "install", "--no-install-recommends", *packages)
        names = {name for name in packages if re.match(wanted, name)}
        names |= set(re.findall(rf"^Inst ((?:{wanted})\S*)", plan, re.MULTILINE))
        run("apt-get", "download", *sorted(names), cwd=debs)
        for deb in debs.iterdir():
            run("dpkg", "-x", deb, fresh)
        if complete:
            complete(fresh)
        fresh.rename(tree)
    return tree


def libraries(tree: Path) -> dict[str, str]:
    """The environment in which programs of an unpacked tree find their libraries there first."""
    return {"LD_LIBRARY_PATH": ":".join(map(str, tree.glob("usr/lib/*-linux-gnu*")))}
