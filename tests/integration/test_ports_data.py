"""The data of IANA's port registry: what renews it, what makes the program's table from it, and the file in the tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
DATA = TOP / "src/tables/iana-ports.tsv"
RENEW, TABLE = TOP / "tools/ports_renew.py", TOP / "tools/ports_table.py"

HEADER = (
    "Service Name,Port Number,Transport Protocol,Description,Assignee,Contact,Registration Date,"
    "Modification Date,Reference,Service Code,Unauthorized Use Reported,Assignment Notes"
)


def run(*command: str | Path, data: str = "") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-B", *map(str, command)]
    return subprocess.run(words, input=data, capture_output=True, text=True, encoding="utf-8", check=False)


def renewed(*lines: str) -> list[str]:
    """What the tool makes of a CSV file with these lines, without the head."""
    done = run(RENEW, "--date", "2026-02-13", "--output", "-", data="\r\n".join([HEADER, *lines, ""]))
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def refusal(*lines: str) -> str:
    """What the tool says of such a file that it refuses."""
    done = run(RENEW, "--output", "-", data="\n".join([HEADER, *lines, ""]))
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.removeprefix("standard input:").strip()


def as_csv(row: str) -> str:
    port, protocol, service, description = [*row.split("\t"), "", ""][:4]
    quoted = description.replace('"', '""')
    return f'{service},{port},{protocol},"{quoted}",,,,,,,,'


def table_of(tmp_path: Path, data: bytes) -> subprocess.CompletedProcess[str]:
    (tmp_path / "data.tsv").write_bytes(data)
    return run(TABLE, tmp_path / "data.tsv", tmp_path / "table.c")


# ---- The file in the tree ----


def test_the_data_is_as_the_tool_writes_it() -> None:
    text = DATA.read_text(encoding="utf-8")
    head = [line for line in text.splitlines() if line.startswith("#")]
    rows = text.splitlines()[len(head) :]
    assert head[1].startswith("# Origin: ") and "Date: 2" in head[1]
    assert renewed(*map(as_csv, rows)) == rows
    done = run(RENEW, "--output", "-", data="\n".join([HEADER, *map(as_csv, rows)]))
    written = done.stdout.splitlines()[: len(head)]
    assert written[:1] + written[2:] == head[:1] + head[2:]
    assert text.endswith("\n") and "\r" not in text


# ---- Renewing it ----


def test_rows_are_sorted_by_port_and_protocol() -> None:
    assert renewed(
        "imaps,993,tcp,IMAP over TLS protocol,,,,,,,,",
        "www,80,udp,World Wide Web HTTP,,,,,,,,",
        "http,80,tcp,World Wide Web HTTP,,,,,,,,",
        "www,80,tcp,World Wide Web HTTP,,,,,,,,",
        "http,80,sctp,HTTP,,,,,,,,",
    ) == [
        "80\tsctp\thttp\tHTTP",
        "80\ttcp\thttp\tWorld Wide Web HTTP",  # those of one port and protocol as IANA has them
        "80\ttcp\twww\tWorld Wide Web HTTP",
        "80\tudp\twww\tWorld Wide Web HTTP",
        "993\ttcp\timaps\tIMAP over TLS protocol",
    ]


def test_ranges_become_a_row_for_each_port() -> None:
    rows = renewed("x11,6000-6063,tcp,X Window System,,,,,,,,")
    assert rows == [f"{port}\ttcp\tx11\tX Window System" for port in range(6000, 6064)]


def test_rows_without_port_or_protocol_are_left_out() -> None:
    assert renewed(
        "_dns-sd,,tcp,A name alone,,,,,,,,",
        ",225-241,,Reserved,,,,,,,,",
        "imap,143,tcp,Internet Message Access Protocol,,,,,,,,",
        ",,,,,,,,,,,",
    ) == ["143\ttcp\timap\tInternet Message Access Protocol"]


def test_cells_over_several_lines_become_one() -> None:
    assert renewed(
        '"sql-net",66,tcp,"Oracle  SQL*NET\r\n        IANA assigned this name for ""sql*net"".",,,,,,,,"a\nb"',
        "next,67,TCP,  É  ,,,,,,,,",
    ) == ['66\ttcp\tsql-net\tOracle SQL*NET IANA assigned this name for "sql*net".', "67\ttcp\tnext\tÉ"]


def test_empty_columns_at_the_end_are_left_out() -> None:
    assert renewed("name,7,tcp,,,,,,,,,", ",8,tcp,Unassigned,,,,,,,,", "short,9,udp") == [
        "7\ttcp\tname",
        "8\ttcp\t\tUnassigned",
        "9\tudp\tshort",
    ]


def test_rows_that_say_the_same_are_one() -> None:
    assert renewed("a,1-2,tcp,A,x,,,,,,,", "a,2,tcp,A,y,,,,,,,") == ["1\ttcp\ta\tA", "2\ttcp\ta\tA"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a,65536,tcp,A", "3: port 65536 is not from 0 to 65535"),
        ("a,9-5,tcp,A", "3: the range 9-5 is the wrong way round"),
        ("a,1-2-3,tcp,A", "3: '1-2-3' is neither a port nor a range of ports"),
        ("a,-1,tcp,A", "3: '-1' is neither a port nor a range of ports"),
        ("a,1,quic,A", "3: the protocol 'quic' is none of tcp, udp, sctp, dccp"),
        ("a b,1,tcp,A", "3: the service 'a b' has something other than printable ASCII without blanks"),
        ("a,1,tcp,A\x1b[2J", "3: the description has the character U+001B"),
        ("a,1,tcp,A\u202e", "3: the description has the character U+202E"),
        (",1,tcp,", "3: the row has neither a service nor a description"),
        ('a,1,tcp,"A', "3: unexpected end of data"),
    ],
)
def test_a_row_that_is_not_understood_is_named(line: str, expected: str) -> None:
    assert refusal("good,1,tcp,Good", line) == expected


def test_the_line_of_a_row_counts_those_within_cells() -> None:
    assert refusal('good,1,tcp,"One\ntwo\nthree"', 'a,70000,tcp,"A\nB"') == "5: port 70000 is not from 0 to 65535"


def test_a_file_of_another_kind_is_refused() -> None:
    done = run(RENEW, "--output", "-", data="port,name\n143,imap\n")
    assert done.returncode == 1
    assert "no column is called Description, Port Number, Service Name, Transport Protocol" in done.stderr
    assert refusal() == "1: no row has a port and a protocol"
    done = run(RENEW, "--output", "-")
    assert done.returncode == 1 and "standard input:1: no column" in done.stderr


def test_a_file_is_read_and_written_whole_or_not_at_all(tmp_path: Path) -> None:
    source, target = tmp_path / "iana.csv", tmp_path / "out.tsv"
    source.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\na,1,tcp,A\n".encode())
    assert run(RENEW, "--date", "2026-02-13", "--output", target, source).returncode == 0
    text = target.read_text(encoding="utf-8")
    assert text.endswith("description\n1\ttcp\ta\tA\n") and "Date: 2026-02-13." in text
    source.write_bytes(f"{HEADER}\na,1,tcp,A\nb,2,tcp,\xff\n".encode("latin-1"))
    done = run(RENEW, "--output", target, source)
    assert done.returncode == 1 and done.stderr.startswith(f"{source}:3: not UTF-8")
    assert target.read_text(encoding="utf-8") == text


def test_a_date_that_is_none_is_refused() -> None:
    done = run(RENEW, "--date", "13.2.2026", "--output", "-", data=HEADER)
    assert done.returncode == 2 and "--date" in done.stderr


# ---- Making the table ----


def test_rows_that_differ_in_the_protocol_become_one_entry(tmp_path: Path) -> None:
    data = b"# head\n22\tsctp\tssh\tSSH\n22\ttcp\tssh\tSecure Shell\n22\tudp\tssh\tSecure Shell\n23\ttcp\tlong-ssh\n"
    assert table_of(tmp_path, data).returncode == 0
    text = (tmp_path / "table.c").read_text(encoding="ascii")
    assert "iana_table_n = 3;" in text
    # Port, protocols, offsets; tcp and udp before sctp.
    assert [line.strip()[2:7] for line in text.splitlines() if line.startswith("    0x")] == ["00163", "00164", "00171"]
    assert text.count('ssh\\000"') + text.count('ssh"') == 1  # "ssh" ends "long-ssh"


def test_texts_are_escaped_for_c(tmp_path: Path) -> None:
    data = '1\ttcp\ta\t"x" \\ ?? É1\n'.encode()
    assert table_of(tmp_path, data).returncode == 0
    text = (tmp_path / "table.c").read_text(encoding="ascii")
    assert r'"\042x\042 \134 \077\077 \303\2111' in text


@pytest.mark.parametrize(
    ("data", "line", "expected"),
    [
        (b"", 1, "no row is there"),
        (b"# head\n", 1, "no row is there"),
        (b"1\ttcp\ta\tA", 1, "the last line has no end"),
        (b"1\ttcp\ta\tA\n\n", 2, "a row is port"),
        (b"1\ttcp\ta\tA\n# late\n", 2, "a row is port"),
        (b"1\ttcp\ta\tA\tB\n", 1, "more than four columns"),
        (b"1\ttcp\ta\tA\t\n", 1, "more than four columns"),
        (b"1\ttcp\ta\t\n", 1, "a row is port"),
        (b"1\ttcp\n", 1, "neither a service nor a description"),
        (b"1\n", 1, "a row is port"),
        (b"01\ttcp\ta\tA\n", 1, "'01' is not a port"),
        (b"-1\ttcp\ta\tA\n", 1, "'-1' is not a port"),
        (b"65536\ttcp\ta\tA\n", 1, "port 65536 is not"),
        (b"1\tTCP\ta\tA\n", 1, "the protocol 'TCP'"),
        (b"1\ttcp\ta b\tA\n", 1, "the service 'a b'"),
        (b"1\ttcp\ta\tA\r\n", 1, "the description has the character U+000D"),
        (b"1\ttcp\ta\tA\x1b\n", 1, "the description has the character U+001B"),
        (b"1\ttcp\ta\tA\xc2\x85\n", 1, "the description has the character U+0085"),
        (b"1\ttcp\ta\tA\xff\n", 1, "not UTF-8"),
        (b"1\ttcp\ta\tA  B\n", 1, "the description has blanks"),
        (b"1\ttcp\ta\t A\n", 1, "the description has blanks"),
        (b"2\ttcp\ta\tA\n1\ttcp\ta\tA\n", 2, "the rows are not sorted"),
        (b"1\tudp\ta\tA\n1\ttcp\ta\tA\n", 2, "the rows are not sorted"),
        (b"1\ttcp\ta\tA\n1\ttcp\ta\tA\n", 2, "the row is there twice"),
    ],
)
def test_bad_data_is_named(tmp_path: Path, data: bytes, line: int, expected: str) -> None:
    done = table_of(tmp_path, data)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path}/data.tsv:{line}: ")
    assert expected in done.stderr
    assert not (tmp_path / "table.c").exists()


def test_a_table_that_is_too_large_is_refused(tmp_path: Path) -> None:
    def rows(n: int, length: int) -> bytes:
        return b"".join(b"%d\ttcp\ta\t%05d%s\n" % (i, i, b"x" * length) for i in range(n))

    done = table_of(tmp_path, rows(1000, 300))
    assert done.returncode == 1 and "the table takes 314" in done.stderr
    done = table_of(tmp_path, rows(4000, 300))
    assert done.returncode == 1 and "more than 20 bits can tell" in done.stderr
