#!/usr/bin/python3
"""Renews src/tables/iana-ports.tsv from IANA's CSV file of the Service Name and Transport Protocol Port Number Registry:

    tools/ports_renew.py --date 2026-02-13 service-names-port-numbers.csv

Ranges of ports become a row for each port. Rows without a port (names for DNS-SD) and rows without a protocol (ranges
that nobody has) are left out. Nothing is written unless all of the file is understood.
"""
from __future__ import annotations

import argparse
import csv
import datetime
import io
import pathlib
import re
import sys
from collections.abc import Iterator

import ports_data

TABLE = pathlib.Path(__file__).resolve().parents[1] / "src/tables/iana-ports.tsv"
ORIGIN = "IANA's file service-names-port-numbers.csv"
SERVICE, PORT, PROTOCOL, DESCRIPTION = "Service Name", "Port Number", "Transport Protocol", "Description"
RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)


def ports_of(text: str) -> range:
    """What a cell of the column of ports means."""
    found = RANGE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is neither a port nor a range of ports")
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        raise ValueError(f"the range {text} is the wrong way round")
    return range(first, last + 1)


def rows_of(name: str, text: str) -> Iterator[ports_data.Row]:
    """The rows of a CSV file, in its order. A cell may go over several lines."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        missing = {SERVICE, PORT, PROTOCOL, DESCRIPTION} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"no column is called {', '.join(sorted(missing))}")
        number = reader.line_num + 1
        for cells in reader:
            # A row that is too short has None in the columns that it lacks.
            service, port, protocol, description = (
                " ".join((cells[column] or "").split()) for column in (SERVICE, PORT, PROTOCOL, DESCRIPTION)
            )
            for each in ports_of(port) if port and protocol else ():
                row = ports_data.Row(each, protocol.lower(), service, description)
                trouble = ports_data.judge(row)
                if trouble:
                    raise ValueError(trouble)
                yield row
            number = reader.line_num + 1
    except (ValueError, csv.Error) as err:
        raise ports_data.BadData(f"{name}:{number}: {err}") from None


def renew(name: str, data: bytes, date: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise ports_data.BadData(f"{name}:{line}: not UTF-8: {err.reason}") from None
    rows = list(rows_of(name, text))
    if not rows:
        raise ports_data.BadData(f"{name}:1: no row has a port and a protocol")
    return ports_data.write(rows, ORIGIN, date)


def a_date(text: str) -> str:
    return datetime.date.fromisoformat(text).isoformat()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", nargs="?", default="-", help="IANA's file; - is standard input (-)")
    parser.add_argument("--date", type=a_date, default=datetime.date.today().isoformat(),
                        help="when IANA had it so, as 2026-02-13 (today)")
    parser.add_argument("--output", default=str(TABLE), help="what to write; - is standard output (%(default)s)")
    args = parser.parse_args()
    try:
        data = sys.stdin.buffer.read() if args.csv == "-" else pathlib.Path(args.csv).read_bytes()
        text = renew("standard input" if args.csv == "-" else args.csv, data, args.date).encode()
        if args.output == "-":
            sys.stdout.buffer.write(text)
        else:
            pathlib.Path(args.output).write_bytes(text)
    except (ports_data.BadData, OSError) as err:
        sys.exit(str(err))


if __name__ == "__main__":
    main()
