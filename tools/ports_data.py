"""The format of src/tables/iana-ports.tsv: what the tools that write it and read it share.

A head of lines that begin with `#`, then a row for each port, protocol and service:

    port TAB protocol TAB service TAB description

in UTF-8, sorted by port and protocol, several services of one port and protocol in IANA's order. Service and
description may be empty, though not both; empty columns at the end of a row are left out, with their tabs.
"""
from __future__ import annotations

import pathlib
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

PROTOCOLS = ("tcp", "udp", "sctp", "dccp")  # as enum port_protocol has them
MAX_PORT = 65535
COLUMNS = "# port\tprotocol\tservice\tdescription"


class BadData(Exception):
    """The data is not what it should be; the text is `file:line: what`."""


class Row(NamedTuple):
    port: int
    protocol: str
    service: str
    description: str

    def place(self) -> tuple[int, str]:
        """What rows are sorted by."""
        return self.port, self.protocol


def judge(row: Row) -> str | None:
    """What is wrong with a row by itself; None: nothing."""
    if not 0 <= row.port <= MAX_PORT:
        return f"port {row.port} is not from 0 to {MAX_PORT}"
    if row.protocol not in PROTOCOLS:
        return f"the protocol {row.protocol!r} is none of {', '.join(PROTOCOLS)}"
    if not row.service and not row.description:
        return "the row has neither a service nor a description"
    if not all("!" <= c <= "~" for c in row.service):
        return f"the service {row.service!r} has something other than printable ASCII without blanks"
    for c in row.description:
        # Whatever steers a terminal or cannot be shown; of blanks only the plain one.
        if unicodedata.category(c)[0] in "CZ" and c != " ":
            return f"the description has the character U+{ord(c):04X}"
    if row.description != " ".join(row.description.split()):
        return "the description has blanks at an end, or two in a row"
    return None


def _parse(line: str) -> Row:
    columns = line.split("\t")
    if len(columns) > 4:
        raise ValueError("more than four columns; only single tabs may stand between them")
    if len(columns) < 2 or not columns[-1]:
        raise ValueError("a row is port, protocol, service, description, with empty ones at its end left out")
    port = columns[0]
    if not (port.isascii() and port.isdigit() and (port == "0" or port[0] != "0")):
        raise ValueError(f"{port!r} is not a port")
    service, description = [*columns[2:], "", ""][:2]
    row = Row(int(port), columns[1], service, description)
    trouble = judge(row)
    if trouble:
        raise ValueError(trouble)
    return row


def _lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as err:
            raise BadData(f"{path}:{number}: not UTF-8: {err.reason}") from None


def read(path: pathlib.Path) -> list[Row]:
    """The rows of a file, which must be in the form above throughout."""
    rows: list[Row] = []
    seen: set[Row] = set()
    lines = list(_lines(path))
    if not lines or lines.pop()[1]:
        raise BadData(f"{path}:{len(lines) + 1}: the last line has no end")
    for number, line in lines:
        if line.startswith("#") and not rows:
            continue
        try:
            row = _parse(line)
            if rows and row.place() < rows[-1].place():
                raise ValueError("the rows are not sorted by port and protocol")
            if row in seen:
                raise ValueError("the row is there twice")
        except ValueError as err:
            raise BadData(f"{path}:{number}: {err}") from None
        seen.add(row)
        rows.append(row)
    if not rows:
        raise BadData(f"{path}:1: no row is there")
    return rows


def write(rows: Iterable[Row], origin: str, date: str) -> str:
    """The text of a file. Rows are sorted, and those that say the same are one."""
    head = [
        "# IANA's Service Name and Transport Protocol Port Number Registry (RFC 6335).",
        f"# Origin: {origin}. Date: {date}.",
        "# Renewed by tools/ports_renew.py, never by hand; the form is told in tools/ports_data.py.",
        COLUMNS,
    ]
    ordered = sorted(dict.fromkeys(rows), key=Row.place)  # keeps the order of what is equal
    body = ("\t".join((str(row.port), *row[1:])).rstrip("\t") for row in ordered)
    return "\n".join([*head, *body]) + "\n"
