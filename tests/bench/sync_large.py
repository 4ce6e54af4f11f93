#!/usr/bin/python3
"""What a folder of very many small messages costs `usher sync`, and what a rerun does.

    tests/bench/sync_large.py [--messages 300000] [--size 400] [--store sdbox] [--changes 100]

Prints a table in Markdown: the first run; one when nothing has changed; one when some messages were
given a flag and as many are new; the same without a journal, when all has to be compared.
usher is build/usher (tools/build.sh release), or what USHER_BIN names.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tools"), str(TOP / "tests/bench")]

from sync_speed import PASSWORD, Cost, End, Job, count, run_usher, watched  # noqa: E402

from peers.corpus import append_all, plain_messages  # noqa: E402
from peers.dovecot import Dovecot  # noqa: E402
from peers.process import free_address, private_dir, remove_dir  # noqa: E402
from peers.rawimap import RawImap  # noqa: E402

USERS = {"many": PASSWORD, "target": PASSWORD}
AT_ONCE = 10_000


class Large:
    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args = args
        self.folder = folder
        self.rows: list[tuple[str, Cost]] = []
        self.source, self.target = (
            Dovecot(folder / name, name=name, address=free_address(), users=USERS, driver=args.store)
            for name in ("from", "to")
        )

    def run(self) -> None:
        with self.source, self.target:
            with RawImap(self.source.address, self.source.port, timeout=600) as imap:
                imap.login("many", PASSWORD)
                for first in range(0, self.args.messages, AT_ONCE):
                    n = min(AT_ONCE, self.args.messages - first)
                    items = plain_messages(n, self.args.size, first=first + 1)
                    append_all(imap, "INBOX", items)
            self.measure("the first run")
            self.measure("nothing has changed")
            self.change(0)
            self.measure(f"{self.args.changes} flags, {self.args.changes} new")
            self.change(1)
            self.measure("the same, without a journal", "--no-journal")
            self.measure("nothing has changed, without a journal", "--no-journal")

    def change(self, time: int) -> None:
        first = self.args.messages // 2 + time * self.args.changes
        with RawImap(self.source.address, self.source.port, timeout=600) as imap:
            imap.login("many", PASSWORD)
            items = plain_messages(self.args.changes, self.args.size, about=f"new {time}")
            append_all(imap, "INBOX", items)
            imap.command(b"SELECT INBOX")
            last = first + self.args.changes - 1
            imap.command(b"STORE %d:%d +FLAGS.SILENT (\\Flagged)" % (first, last))

    def measure(self, name: str, *words: str) -> None:
        ends = (End(server.address, server.port, server) for server in (self.source, self.target))
        job = Job("many", "target", *ends, self.folder, None)
        self.rows.append((name, watched(lambda: run_usher(job, *words))))
        print(f"{name}: {self.rows[-1][1].seconds:.1f} s", file=sys.stderr)
        there = [count(self.source, "many"), count(self.target, "target")]
        if there[0] != there[1]:
            raise RuntimeError(f"{name}: {there[1]} of {there[0]} messages are there")

    def table(self) -> str:
        lines = ["| run | s | CPU s | the servers' | peak MiB | others |", "|---|--:|--:|--:|--:|--:|"]
        for name, cost in self.rows:
            lines.append(
                f"| {name} | {cost.seconds:.1f} | {cost.cpu_s:.2f} | {cost.servers_s:.1f} |"
                f" {cost.peak_kib / 1024:.0f} | {cost.others:.0%} |"
            )
        return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--store", default="sdbox")
    parser.add_argument("--changes", type=int, default=100)
    args = parser.parse_args()
    folder = private_dir("large")
    try:
        large = Large(args, folder)
        large.run()
        print(large.table())
    finally:
        remove_dir(folder)


if __name__ == "__main__":
    main()
