"""npm's imapflow, a modern client with COMPRESS: fetched into a folder, never installed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

from .process import remove_dir

# Runs with Node.js 18, which Debian 12 has; the newest do not.
VERSION = "1.0.189"
SCRIPT = Path(__file__).with_suffix(".js")


def need(program: str) -> None:
    if not shutil.which(program):
        raise RuntimeError(
            f"imapflow needs Node.js 18 or later, and there is no {program} on PATH; "
            "tools/deps/install.sh long brings it"
        )


def fetch(folder: Path) -> Path:
    """Has npm put imapflow below `folder`, once. Returns the folder that node_modules is in."""
    need("node")
    tree = folder / f"imapflow-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "imapflow.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if tree.exists():
            return tree
        need("npm")
        fresh = folder / "imapflow.new"
        remove_dir(fresh)
        fresh.mkdir()
        done = subprocess.run(
            ["npm", "install", "--prefix", str(fresh), "--ignore-scripts", "--no-package-lock",
             "--no-audit", "--no-fund", f"imapflow@{VERSION}"],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"npm install: {done.stderr.strip()}")
        fresh.rename(tree)
    return tree
