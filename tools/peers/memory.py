"""Looking for secrets in the memory of a process, as somebody who took it over would.

Only root may look at processes that are not dumpable.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import struct
import subprocess
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Pieces of this length are looked for: the halves of a register that was put aside, or of a block
# whose beginning is overwritten, are found too.
PIECE = 8

PAGE = 4096
NUL_TO_LF = bytes.maketrans(b"\0", b"\n")
KERNELS = ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]")
READ_MOST = 1 << 16
HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ (\d+)\s*(.*)")

# What /proc/PID/pagemap says of a page: it is in memory; it is in swap; it is a file's.
IN_MEMORY, IN_SWAP, OF_FILE = 1 << 63, 1 << 62, 1 << 61

# Nothing is as large but the map in which a sanitizer notes what may be touched.
MAPPING_MOST = 1 << 40


@dataclass(frozen=True)
class Mapping:
    """A piece of a process' address space; `flags` are the VmFlags of proc(5)."""

    start: int
    end: int
    rights: str
    offset: int
    inode: int
    name: str
    flags: frozenset[str] = field(default=frozenset(), repr=False)
    resident_kib: int = field(default=0, repr=False)

    @property
    def is_for_secrets(self) -> bool:
        """Whether it is locked and left out of cores and of forked children."""
        return {"lo", "dd", "wf"} <= self.flags


@dataclass(frozen=True)
class Find:
    """A piece of a secret in memory, and what lies around it."""

    pid: int
    address: int
    piece: bytes
    around: bytes
    mapping: Mapping


def mappings(pid: int) -> list[Mapping]:
    found: list[Mapping] = []
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = HEAD.match(line)
        if head:
            start, end = int(head[1], 16), int(head[2], 16)
            found.append(Mapping(start, end, head[3], int(head[4], 16), int(head[5]), head[6]))
            continue
        key, _, value = line.partition(":")
        last = found[-1]
        if key == "VmFlags":
            flags = frozenset(value.split())
            found[-1] = Mapping(**{**vars(last), "flags": flags})
        elif key == "Rss":
            found[-1] = Mapping(**{**vars(last), "resident_kib": int(value.split()[0])})
    return found


def arena_of(pid: int) -> Mapping:
    """The memory in which a worker keeps passwords."""
    (arena,) = [mapping for mapping in mappings(pid) if mapping.is_for_secrets]
    return arena


def is_own(entry: int) -> bool:
    """Whether a page exists and is no unchanged copy of a file's."""
    return bool(entry & (IN_MEMORY | IN_SWAP)) and not entry & OF_FILE


def next_data(file: int, at: int) -> int | None:
    """Where the next data of a file begins; None where there is nothing but a hole up to its end."""
    try:
        return os.lseek(file, at, os.SEEK_DATA)
    except OSError as err:
        if err.errno == errno.ENXIO:
            return None
        raise


def shared_runs(pid: int, mapping: Mapping) -> Iterator[tuple[int, int]]:
    """The parts of a mapping, shared with others, that anybody may have written: the file behind it
    has holes elsewhere. To read those as memory would fill them, with zeros."""
    name = f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
    try:
        file = os.open(name, os.O_RDONLY)
    except PermissionError:  # in a container that lacks CAP_SYS_ADMIN
        yield mapping.start, mapping.end
        return
    to_address = mapping.start - mapping.offset
    at, end = mapping.offset, mapping.end - to_address
    try:
        while at < end:
            begin = next_data(file, at)
            if begin is None or begin >= end:
                break
            at = min(os.lseek(file, begin, os.SEEK_HOLE), end)
            yield to_address + begin, to_address + at
    finally:
        os.close(file)


def runs(pid: int, mapping: Mapping) -> Iterator[tuple[int, int]]:
    """The parts of a mapping that the process may have written: what there is of that which it
    shares with others, else the pages that it owns."""
    if mapping.rights[3] == "s":
        yield from shared_runs(pid, mapping)
        return
    begun = None
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        at = mapping.start
        while at < mapping.end:
            pagemap.seek(at // PAGE * 8)
            octets = pagemap.read(min((mapping.end - at) // PAGE * 8, READ_MOST))
            if begun is None and not octets.strip(b"\0"):
                at += len(octets) // 8 * PAGE
                continue
            for (entry,) in struct.iter_unpack("Q", octets):
                if is_own(entry) and begun is None:
                    begun = at
                elif not is_own(entry) and begun is not None:
                    yield begun, at
                    begun = None
                at += PAGE
    if begun is not None:
        yield begun, mapping.end


def contents(pid: int) -> Iterator[tuple[int, bytes, Mapping]]:
    """All that a process may have written into its memory: address, octets, and where that is."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for mapping in mappings(pid):
            if "r" not in mapping.rights or mapping.name in KERNELS:
                continue
            if mapping.end - mapping.start > MAPPING_MOST:
                continue
            for start, end in runs(pid, mapping):
                memory.seek(start)
                yield start, memory.read(end - start), mapping


def forms(secret: bytes) -> Iterator[bytes]:
    """A secret as it is, and what base64 makes of it behind anything."""
    yield secret
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        first = (8 * before + 5) // 6
        last = 8 * (before + len(secret)) // 6
        yield encoded[first:last]


def pieces(secrets: Iterable[bytes]) -> set[bytes]:
    found = set()
    for secret in secrets:
        for form in forms(secret):
            found |= {form[at : at + PIECE] for at in range(len(form) - PIECE + 1)}
    return found


def search(octets: bytes, patterns: Path) -> Iterator[tuple[int, bytes]]:
    """Where any line of a file occurs. By grep, which looks for thousands at once."""
    done = subprocess.run(
        ["grep", "-obaF", "-f", patterns],
        input=octets.translate(NUL_TO_LF),  # else all of it is one line
        capture_output=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    if done.returncode > 1:
        raise RuntimeError(f"grep: {done.stderr.decode()}")
    for line in done.stdout.splitlines():
        at, _, piece = line.partition(b":")
        yield int(at), piece


def find_in(pid: int, patterns: Path) -> Iterator[Find]:
    octets = bytearray()
    parts = []
    for start, part, mapping in contents(pid):
        parts.append((len(octets), start, mapping))
        octets += part + b"\0"
    for at, piece in search(octets, patterns):
        begin, start, mapping = parts[bisect_right(parts, at, key=lambda part: part[0]) - 1]
        around = bytes(octets[max(0, at - 32) : at + 64])
        yield Find(pid, start + at - begin, piece, around, mapping)


def find_secrets(pids: Iterable[int], *secrets: bytes) -> list[Find]:
    """Every place in the memory of these processes where a piece of any of these secrets lies, in
    clear or in base64."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n".join(sorted(pieces(secrets))))
        file.flush()
        return [find for pid in pids for find in find_in(pid, Path(file.name))]
