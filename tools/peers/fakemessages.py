"""What a fake IMAP server does with the messages of an open folder: FETCH, STORE, SEARCH, EXPUNGE and
APPEND. The session itself is in fakeimap.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from .fakestore import DATE, Store, Stored, StoredFolder, Ways
from .fakewords import (
    DAY_SEARCHES,
    FLAG_SEARCHES,
    Refused,
    append_messages,
    fields_of,
    in_set,
    set_of,
    text,
)

SENT_AT_ONCE = 1 << 20


@dataclass
class Selected:
    """The open folder as a session sees it: what was expunged elsewhere stays until it is told."""

    folder: StoredFolder
    is_read_only: bool
    uidvalidity: int
    seen: list[Stored] = field(default_factory=list)


def begins_with(tokens: list, word: str) -> bool:
    return bool(tokens) and not isinstance(tokens[0], list) and text(tokens[0]).upper() == word


class Messages:
    """The part of a session that is about messages; what it uses beside is the session's."""

    ways: Ways
    store: Store
    selected: Selected | None
    has_condstore: bool
    has_qresync: bool
    tag: bytes
    send: Callable[..., None]
    untagged: Callable[..., None]
    need: Callable[[str], None]
    violation: Callable[[str], Refused]

    def chosen(self, words: str, by_uid: bool) -> Iterator[tuple[int, Stored]]:
        """Numbers and messages of a set."""
        seen = self.open_folder().seen
        highest = (seen[-1].uid if seen else 0) if by_uid else len(seen)
        is_in = in_set(words, highest)
        for number, stored in enumerate(seen, 1):
            if is_in(stored.uid if by_uid else number):
                yield number, stored

    def do_fetch(self, tokens: list, by_uid: bool = False) -> None:
        since = None
        if len(tokens) > 2:
            self.need("CONDSTORE")
            since = int(text(tokens[2][1]))
            self.has_condstore = True
            if len(tokens[2]) > 2:
                self.tell_vanished(text(tokens[2][2]), since, text(tokens[0]), by_uid)
        asked = tokens[1] if isinstance(tokens[1], list) else [tokens[1]]
        items = [text(item).upper() for item in asked]
        if by_uid and "UID" not in items:
            items.insert(0, "UID")
        if since is not None and "MODSEQ" not in items:
            items.append("MODSEQ")
        if self.ways.uid_is_last and "UID" in items:
            items.append(items.pop(items.index("UID")))
        waiting = bytearray()
        for number, stored in self.chosen(text(tokens[0]), by_uid):
            if since is None or stored.modseq > since:
                told = b" ".join(self.item(stored, item) for item in items)
                waiting += b"* %d FETCH (%s)\r\n" % (number, told)
            if len(waiting) > SENT_AT_ONCE:
                self.send(bytes(waiting))
                waiting.clear()
        self.send(bytes(waiting))

    def tell_vanished(self, word: str, since: int, words: str, by_uid: bool) -> None:
        if not (self.has_qresync and by_uid and word == "VANISHED"):
            raise self.violation(f"a modifier of FETCH: {word}")
        folder = self.open_folder().folder
        is_in = in_set(words, folder.messages[-1].uid if folder.messages else 0)
        gone = [uid for uid in folder.vanished(since) if is_in(uid)]
        for told in self.ways.vanished(gone) if self.ways.vanished else [set_of(gone)]:
            if told:
                self.untagged(f"VANISHED (EARLIER) {told}".encode())

    def do_uid_fetch(self, tokens: list) -> None:
        self.do_fetch(tokens, by_uid=True)

    def item(self, stored: Stored, item: str) -> bytes:
        if item == "UID":
            return b"UID %d" % stored.uid
        if item == "FLAGS":
            return f"FLAGS ({' '.join(sorted(stored.flags))})".encode()
        if item == "INTERNALDATE":
            return f'INTERNALDATE "{stored.date}"'.encode()
        if item == "RFC822.SIZE":
            return b"RFC822.SIZE %d" % self.ways.size(stored.raw)
        if item == "MODSEQ":
            self.need("CONDSTORE")
            return b"MODSEQ (%d)" % stored.modseq
        found = re.fullmatch(r"BODY(\.PEEK)?\[([^]]*)\](?:<(\d+)\.(\d+)>)?", item)
        if not found:
            raise self.violation(f"FETCH of {item}")
        return self.body(stored, not found[1], found[2], found[3], found[4])

    def body(
        self, stored: Stored, marks_seen: bool, section: str, first: str | None, count: str | None
    ) -> bytes:
        if marks_seen and not self.open_folder().is_read_only:
            stored.flags.add("\\Seen")
            self.open_folder().folder.touch(stored)
        octets = self.ways.body(stored.uid, stored.raw)
        if octets is None:
            return f"BODY[{section}] NIL".encode()
        head, gap, behind = octets.partition(b"\r\n\r\n")
        if section == "HEADER":
            octets = head + gap
        elif section == "TEXT":
            octets = behind
        elif section.startswith("HEADER.FIELDS ("):
            octets = fields_of(head, section[len("HEADER.FIELDS (") : -1].split())
        elif section:
            raise self.violation(f"FETCH of a section {section}")
        place = ""
        if first is not None and count is not None:
            octets = octets[int(first) : int(first) + int(count)]
            place = f"<{first}>"
        return f"BODY[{section}]{place} {{{len(octets)}}}\r\n".encode() + octets

    def do_store(self, tokens: list, by_uid: bool = False) -> str | None:
        selected = self.open_folder()
        if selected.is_read_only:
            return "NO [READ-ONLY] The folder is open for reading"
        if isinstance(tokens[1], list):
            self.need("CONDSTORE")
            del tokens[1]
        how = text(tokens[1]).upper()
        given = tokens[2] if isinstance(tokens[2], list) else tokens[2:]
        flags = self.kept({text(flag) for flag in given}, selected.folder.keywords())
        for number, stored in self.chosen(text(tokens[0]), by_uid):
            if how.startswith("+"):
                stored.flags |= flags
            elif how.startswith("-"):
                lower = {flag.lower() for flag in flags}
                stored.flags = {flag for flag in stored.flags if flag.lower() not in lower}
            else:
                stored.flags = set(flags)
            selected.folder.touch(stored)
            if not how.endswith(".SILENT") or self.has_condstore:
                self.untagged(b"%d FETCH (" % number, self.stored_items(stored, how), b")")
        return None

    def stored_items(self, stored: Stored, how: str) -> bytes:
        items = ["UID"] + ([] if how.endswith(".SILENT") else ["FLAGS"])
        return b" ".join(
            self.item(stored, item) for item in items + ["MODSEQ"] * self.has_condstore
        )

    def do_uid_store(self, tokens: list) -> str | None:
        return self.do_store(tokens, by_uid=True)

    def kept(self, flags: set[str], known: set[str]) -> set[str]:
        """What of these is kept where those keywords are `known`; Refused if the server says NO."""
        keywords = {flag for flag in flags if not flag.startswith("\\")}
        flags = {flag for flag in flags if flag != "\\Recent"}
        if self.ways.keywords == "refused" and keywords:
            raise Refused("NO [CANNOT] No keywords here")
        if self.ways.keywords == "none":
            return flags - (keywords - known)
        most = self.ways.keywords_most
        if most is not None and len(known | keywords) > most:
            raise Refused("NO [LIMIT] Too many keywords")
        return flags

    def expunge(self, is_chosen: Callable[[Stored], bool], silently: bool = False) -> None:
        selected = self.open_folder()
        if selected.is_read_only:
            raise Refused("NO [READ-ONLY] The folder is open for reading")
        folder = selected.folder
        folder.modseq += 1
        folder.gone |= {one.uid: folder.modseq for one in folder.messages if is_chosen(one)}
        folder.messages = [one for one in folder.messages if one.uid not in folder.gone]
        if silently:
            selected.seen = list(folder.messages)
        else:
            self.tell_changes()

    def do_expunge(self, _: list) -> None:
        self.expunge(lambda one: "\\Deleted" in one.flags)

    def do_uid_expunge(self, tokens: list) -> None:
        self.need("UIDPLUS")
        chosen = {id(one) for _, one in self.chosen(text(tokens[0]), by_uid=True)}
        self.expunge(lambda one: id(one) in chosen and "\\Deleted" in one.flags)

    def do_search(self, tokens: list, by_uid: bool = False) -> None:
        has_options = begins_with(tokens, "RETURN")
        if has_options:
            self.need("ESEARCH")
            tokens = tokens[2:]
        if begins_with(tokens, "CHARSET"):
            tokens = tokens[2:]
        test = self.criteria(list(tokens))
        seen = self.open_folder().seen
        found = [one.uid if by_uid else n for n, one in enumerate(seen, 1) if test(n, one)]
        if has_options:
            told = " ALL " + ",".join(map(str, found)) if found else ""
            uid = " UID" if by_uid else ""
            self.untagged(b'ESEARCH (TAG "', self.tag, b'")', f"{uid}{told}".encode())
        else:
            self.untagged(" ".join(["SEARCH", *map(str, found)]).encode())

    def do_uid_search(self, tokens: list) -> None:
        self.do_search(tokens, by_uid=True)

    def criteria(self, tokens: list) -> Callable[[int, Stored], bool]:
        tests = []
        while tokens:
            tests.append(self.criterion(tokens))
        return lambda number, one: all(test(number, one) for test in tests)

    def criterion(self, tokens: list) -> Callable[[int, Stored], bool]:
        token = tokens.pop(0)
        if isinstance(token, list):
            return self.criteria(token)
        word = text(token).upper()
        if word in FLAG_SEARCHES:
            flag, is_set = FLAG_SEARCHES[word]
            return lambda number, one: (flag in one.flags) is is_set
        if word == "ALL":
            return lambda number, one: True
        if word == "NOT":
            inner = self.criterion(tokens)
            return lambda number, one: not inner(number, one)
        if word == "OR":
            first, second = self.criterion(tokens), self.criterion(tokens)
            return lambda number, one: first(number, one) or second(number, one)
        seen = self.open_folder().seen
        if word == "UID":
            is_in = in_set(text(tokens.pop(0)), seen[-1].uid if seen else 0)
            return lambda number, one: is_in(one.uid)
        if re.fullmatch(r"[\d*:,]+", word):
            is_in = in_set(word, len(seen))
            return lambda number, one: is_in(number)
        if word in ("LARGER", "SMALLER"):
            size = int(text(tokens.pop(0)))
            sign = 1 if word == "LARGER" else -1
            return lambda number, one: (self.ways.size(one.raw) - size) * sign > 0
        if word in ("SINCE", "BEFORE", "ON"):
            day = datetime.strptime(text(tokens.pop(0)), "%d-%b-%Y").date()
            return lambda number, one: DAY_SEARCHES[word](one.moment().date(), day)
        if word in ("SUBJECT", "FROM"):
            part = text(tokens.pop(0)).encode().lower()
            return lambda number, one: part in fields_of(one.raw, [word]).lower()
        raise self.violation(f"SEARCH {word}")

    # ---- appending ----

    def check_message(self, raw: bytes, flags: set[str], date: str) -> None:
        """Refused says why a message is not taken."""
        ways = self.ways
        if ways.message_most is not None and len(raw) > ways.message_most:
            raise Refused("NO [TOOBIG] The message is too long")
        if ways.refuses and (said := ways.refuses(raw, flags, date)):
            raise Refused("NO " + said.decode())
        if ways.oldest and date and datetime.strptime(date.strip(), DATE) < ways.oldest:
            raise Refused("NO Invalid date-time in Append command")

    def do_append(self, tokens: list) -> str:
        folder = self.store.find(text(tokens[0]))
        if not folder or not folder.is_selectable:
            return "NO [TRYCREATE] No such folder"
        messages = list(append_messages(tokens[1:]))
        if len(messages) > 1:
            self.need("MULTIAPPEND")
        if self.ways.batch_most is not None and len(messages) > self.ways.batch_most:
            return f"NO [LIMIT] At most {self.ways.batch_most} messages at a time"
        if self.ways.cancels and len(messages) > 1 and not all(raw for raw, _, _ in messages):
            self.server.cancelled += 1
            return "NO An empty message cancels all"
        room = None if self.ways.quota is None else self.ways.quota - self.store.bytes()
        checked = []
        known = folder.keywords()
        for raw, flags, date in messages:
            self.check_message(raw, flags, date)
            flags = self.kept(flags, known)
            known |= {flag for flag in flags if not flag.startswith("\\")}
            checked.append((raw, flags, date))
        if room is not None and sum(len(raw) for raw, _, _ in checked) > room:
            return "NO [OVERQUOTA] No room is left"
        uids = []
        for raw, flags, date in checked:
            kept = self.ways.stores(raw)
            if kept is not None:
                uids.append(folder.add(kept, flags, date or "01-Jan-2024 00:00:00 +0000").uid)
        code = ""
        if self.ways.can("UIDPLUS") and self.ways.tells_appenduid and uids:
            code = f"[APPENDUID {folder.uidvalidity} {','.join(map(str, uids))}] "
        self.tell_changes()
        return f"OK {code}Appended"
