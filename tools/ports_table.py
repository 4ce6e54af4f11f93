#!/usr/bin/python3
"""Makes the C source of the port registry's table (src/ports/iana_table.h) from src/tables/iana-ports.tsv; run by Meson:

    tools/ports_table.py iana-ports.tsv iana_table.c

Rows that differ in nothing but the protocol become one entry of 64 bits. All texts are in one pool, each once, and a
text that another one ends with lies in that one.
"""
from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterable

import ports_data

# As iana_table.h has them.
PORT_SHIFT, PROTOCOLS_SHIFT, SERVICE_SHIFT, OFFSET_BITS = 48, 44, 20, 20
MAX_BYTES = 300 * 1024  # what the table may take in the program
SHOWN_AS_IS = frozenset(b" !#$%&'()*+,-./0123456789:;<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~")


def entries_of(rows: Iterable[ports_data.Row]) -> list[tuple[int, int, str, str]]:
    """(port, protocols, service, description), sorted by port, those of one port by their first protocol."""
    masks: dict[tuple[int, str, str], int] = {}
    for row in rows:
        key = row.port, row.service, row.description
        masks[key] = masks.get(key, 0) | 1 << ports_data.PROTOCOLS.index(row.protocol)
    # A mask's lowest bit is its first protocol. What is equal stays in the order of the data.
    ordered = sorted(masks.items(), key=lambda entry: (entry[0][0], entry[1] & -entry[1]))
    return [(port, mask, service, description) for (port, service, description), mask in ordered]


def pool_of(texts: Iterable[str]) -> tuple[list[bytes], dict[str, int]]:
    """The texts of the pool, each of which a NUL follows, and where in it each of `texts` begins."""
    offsets: dict[str, int] = {}
    pool: list[bytes] = []
    end = 0
    last = b""
    # Of texts that end alike the longest comes first, and those that it ends with right behind it.
    for text in sorted(set(texts), key=lambda text: text.encode()[::-1], reverse=True):
        data = text.encode()
        if not pool or not last.endswith(data):
            pool.append(data)
            last = data
            end += len(data) + 1
        offsets[text] = end - 1 - len(data)
    return pool, offsets


def literal(data: bytes) -> str:
    """A C string literal; escapes have three digits, so that what follows does not belong to them."""
    return '"' + "".join(chr(byte) if byte in SHOWN_AS_IS else f"\\{byte:03o}" for byte in data) + '"'


def make(path: pathlib.Path) -> str:
    entries = entries_of(ports_data.read(path))
    pool, offsets = pool_of(text for entry in entries for text in entry[2:])
    size = sum(len(data) + 1 for data in pool)
    if max(offsets.values()) >> OFFSET_BITS:
        raise ports_data.BadData(f"{path}:1: the texts take {size} bytes, more than {OFFSET_BITS} bits can tell")
    if size + 8 * len(entries) > MAX_BYTES:
        raise ports_data.BadData(f"{path}:1: the table takes {size + 8 * len(entries)} bytes, more than {MAX_BYTES}")
    numbers = [
        port << PORT_SHIFT | mask << PROTOCOLS_SHIFT | offsets[service] << SERVICE_SHIFT | offsets[description]
        for port, mask, service, description in entries
    ]
    # The literal's own NUL ends the last text.
    return "\n".join([
        f"/* Made by tools/ports_table.py from {path.name}. */",
        '#include "ports/iana_table.h"',
        "",
        f"const size_t iana_table_n = {len(entries)};",
        f"const uint64_t iana_table[{len(entries)}] = {{",
        *(f"    0x{number:016x}," for number in numbers),
        "};",
        "",
        f"const size_t iana_texts_n = {size};",
        f"const char iana_texts[{size}] =",
        *(f"    {literal(data + bytes(1))}" for data in pool[:-1]),
        f"    {literal(pool[-1])};",
        "",
    ])


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: ports_table.py iana-ports.tsv iana_table.c")
    try:
        text = make(pathlib.Path(sys.argv[1]))
        pathlib.Path(sys.argv[2]).write_text(text, encoding="ascii")
    except (ports_data.BadData, OSError) as err:
        sys.exit(str(err))


if __name__ == "__main__":
    main()
