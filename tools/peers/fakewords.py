"""The words of IMAP for a fake server: commands taken apart, strings and sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date as calendar_date

from .fakestore import SYSTEM_FLAGS

TOKEN = re.compile(
    rb"[ \t]+|(?P<mark>[()])|\"(?P<quoted>(?:[^\"\\]|\\.)*)\""
    rb"|(?P<atom>(?:BODY|BINARY)(?:\.PEEK)?\[[^\]]*\](?:<\d+\.\d+>)?|[^\s()\"]+)",
    re.IGNORECASE,
)
LITERAL_AT_END = re.compile(rb"~?\{(\d+)(\+?)\}\r?\n$")
class Refused(Exception):
    """Ends a command; says how."""


@dataclass
class Quoted:
    """A string that was no atom."""

    octets: bytes


Token = bytes | Quoted


def text(token: Token | list) -> str:
    octets = token.octets if isinstance(token, Quoted) else token
    if not isinstance(octets, bytes):
        raise Refused("BAD A string is expected")
    return octets.decode("utf-8", "surrogateescape")


def octets_of(words: str) -> bytes:
    return words.encode("utf-8", "surrogateescape")


def parse(pieces: list[bytes]) -> list:
    """Tokens of a command, lists as lists; pieces are lines and, between them, literals."""
    stack: list[list] = [[]]
    for place, piece in enumerate(pieces):
        if place % 2:
            stack[-1].append(Quoted(piece))
            continue
        line = LITERAL_AT_END.sub(b"", piece).rstrip(b"\r\n")
        end = 0
        while end < len(line):
            found = TOKEN.match(line, end)
            if not found:
                raise Refused("BAD Cannot be parsed")
            end = found.end()
            if found["mark"] == b"(":
                stack.append([])
            elif found["mark"]:
                if len(stack) == 1:
                    raise Refused("BAD No such list")
                whole = stack.pop()
                stack[-1].append(whole)
            elif found["quoted"] is not None:
                stack[-1].append(Quoted(re.sub(rb"\\(.)", rb"\1", found["quoted"])))
            elif found["atom"]:
                stack[-1].append(found["atom"])
    if len(stack) != 1:
        raise Refused("BAD The list has no end")
    return stack[0]


def in_set(words: str, highest: int) -> Callable[[int], bool]:
    """A sequence set as a question."""
    ranges = []
    for part in words.split(","):
        first, _, last = part.partition(":")
        ends = sorted(highest if end == "*" else int(end) for end in (first, last or first))
        ranges.append(ends)
    return lambda number: any(first <= number <= last for first, last in ranges)


def set_of(numbers: list[int]) -> str:
    """Ascending numbers as a set."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ranges)


def wire_string(octets: bytes) -> bytes:
    if re.search(rb'[\x00-\x1f\x7f-\xff"\\]', octets):
        return b"{%d}\r\n%s" % (len(octets), octets)
    return b'"' + octets + b'"'


def append_messages(tokens: list) -> Iterator[tuple[bytes, set[str], str]]:
    """Bytes, flags and date of each message of an APPEND, behind the folder's name."""
    while tokens:
        flags: set[str] = set()
        date = ""
        if isinstance(tokens[0], list):
            flags = {text(flag) for flag in tokens.pop(0)}
        if len(tokens) > 1 and isinstance(tokens[1], Quoted) and is_date(tokens[0]):
            date = text(tokens.pop(0))
        if not tokens or not isinstance(tokens[0], Quoted):
            raise Refused("BAD A message is expected")
        yield tokens.pop(0).octets, flags, date


def is_date(token: Token | list) -> bool:
    if not isinstance(token, Quoted):
        return False
    return bool(re.fullmatch(rb"[ \d]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [+-]\d{4}", token.octets))


def fields_of(head: bytes, names: list[str]) -> bytes:
    """The fields of a header that have these names, and an empty line."""
    fields = re.findall(rb"(?m)^([^\s:]+:(?:[^\r\n]|\r\n[ \t])*)", head.partition(b"\r\n\r\n")[0])
    lower = {name.strip('"').lower().encode() for name in names}
    kept = [one for one in fields if one.partition(b":")[0].strip().lower() in lower]
    return b"".join(one + b"\r\n" for one in kept) + b"\r\n"


def matches(wire: str, pattern: str, separator: str) -> bool:
    level = f"[^{re.escape(separator)}]*" if separator else ".*"
    parts = [{"*": ".*", "%": level}.get(part, re.escape(part)) for part in re.split(r"([*%])", pattern)]
    return bool(re.fullmatch("".join(parts), wire, re.DOTALL))


def on_or_after(day: calendar_date, other: calendar_date) -> bool:
    return day >= other


def before(day: calendar_date, other: calendar_date) -> bool:
    return day < other


def on(day: calendar_date, other: calendar_date) -> bool:
    return day == other


DAY_SEARCHES = {"SINCE": on_or_after, "BEFORE": before, "ON": on}
FLAG_SEARCHES = {
    prefix + flag[1:].upper(): (flag, not prefix) for flag in SYSTEM_FLAGS for prefix in ("", "UN")
}
