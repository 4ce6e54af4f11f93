"""A small IMAP server in memory that follows RFC 3501 and some extensions, but for the ways in which a
test wants it to be wrong, poor or slow (fakestore.py).

What a client does that the server's capabilities do not allow is answered BAD and kept in
`violations`.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date as calendar_date
from datetime import datetime

from .fakestore import DATE, SYSTEM_FLAGS, Store, Stored, StoredFolder, Ways
from .scripted import Connection, PeerClosed, ScriptedServer

TOKEN = re.compile(
    rb"[ \t]+|(?P<mark>[()])|\"(?P<quoted>(?:[^\"\\]|\\.)*)\""
    rb"|(?P<atom>(?:BODY|BINARY)(?:\.PEEK)?\[[^\]]*\](?:<\d+\.\d+>)?|[^\s()\"]+)",
    re.IGNORECASE,
)
LITERAL_AT_END = re.compile(rb"~?\{(\d+)(\+?)\}\r?\n$")
LITERAL_MINUS_MOST = 4096
SENT_AT_ONCE = 1 << 20


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


def wire_string(octets: bytes) -> bytes:
    if re.search(rb'[\x00-\x1f\x7f-\xff"\\]', octets):
        return b"{%d}\r\n%s" % (len(octets), octets)
    return b'"' + octets + b'"'


class FakeImap(ScriptedServer):
    """Serves one account, `user` with `password`, out of `store`, in `ways`. `log` has each command
    that came, without literals: (name, arguments). Of all connections together."""

    def __init__(
        self,
        store: Store | None = None,
        ways: Ways | None = None,
        *,
        user: str = "ann",
        password: str = "secret-ann",
        **options,
    ) -> None:
        self.store = store or Store()
        self.ways = ways or Ways()
        self.user = user
        self.password = password
        self.log: list[tuple[str, str]] = []
        self.violations: list[str] = []
        super().__init__(lambda connection: Session(connection, self).serve(), **options)

    def count(self, *names: str) -> int:
        """How often commands of these names have come."""
        return sum(name in names for name, _ in self.log)

    def writes(self) -> list[tuple[str, str]]:
        """The commands that change something."""
        return [row for row in self.log if row[0] in WRITING]


WRITING = {
    "APPEND", "STORE", "UID STORE", "EXPUNGE", "UID EXPUNGE", "CLOSE", "CREATE", "DELETE", "RENAME",
    "SUBSCRIBE", "UNSUBSCRIBE", "COPY", "UID COPY", "MOVE", "UID MOVE", "SETACL", "SETMETADATA",
    "SETQUOTA", "REPLACE", "UID REPLACE",
}  # fmt: skip


@dataclass
class Selected:
    """The open folder as a session sees it: what was expunged elsewhere stays until it is told."""

    folder: StoredFolder
    is_read_only: bool
    uidvalidity: int
    seen: list[Stored] = field(default_factory=list)


class Session:
    """One connection."""

    def __init__(self, connection: Connection, server: FakeImap) -> None:
        self.connection = connection
        self.server = server
        self.ways = server.ways
        self.store = server.store
        self.is_logged_in = False
        self.has_condstore = False
        self.selected: Selected | None = None
        self.commands = 0
        self.tag = b"*"

    # ---- saying ----

    def send(self, *parts: bytes) -> None:
        self.connection.send(b"".join(parts))

    def untagged(self, *parts: bytes) -> None:
        self.send(b"* ", *parts, b"\r\n")

    def tagged(self, answer: str | bytes) -> None:
        self.send(self.tag, b" ", octets_of(answer) if isinstance(answer, str) else answer, b"\r\n")

    def violation(self, what: str) -> Refused:
        self.server.violations.append(what)
        return Refused(f"BAD {what}")

    # ---- the dialogue ----

    def serve(self) -> None:
        self.send(b"* OK [CAPABILITY ", self.capability_words(), b"] fake ready\r\n")
        while True:
            try:
                self.ways = self.server.ways
                pieces = self.read_command()
            except Refused as refusal:
                self.tagged(str(refusal))
                continue
            if pieces is None:
                continue
            if not self.dispatch(pieces):
                return

    def capability_words(self) -> bytes:
        return " ".join(self.ways.capabilities()).encode()

    def read_command(self) -> list[bytes] | None:
        """Lines and literals of a command. None: it has been answered already."""
        line = self.connection.line()
        self.tag = line.split(b" ", 1)[0].strip() or b"*"
        pieces = [line]
        answered = False
        while found := LITERAL_AT_END.search(pieces[-1]):
            size, is_free = int(found[1]), bool(found[2])
            refusal = self.literal_refusal(pieces, size, is_free)
            if not is_free:
                if answered:
                    return None  # who has heard NO goes no further
                if refusal:
                    raise Refused(refusal)
                self.send(b"+ go on\r\n")
            pieces += [self.connection.octets(size), self.connection.line()]
            if self.ways.answers_early and not answered and self.is_append(pieces):
                if refusal := self.message_refusal(pieces):
                    self.note_command(pieces)
                    self.tagged(refusal)
                    answered = True
        return None if answered else pieces

    def literal_refusal(self, pieces: list[bytes], size: int, is_free: bool) -> str:
        """What is wrong with a literal that is announced; a violation of what is offered ends the
        connection, since nobody knows what would be a command then."""
        free_most = -1
        if self.ways.can("LITERAL+"):
            free_most = 1 << 62
        elif self.ways.can("LITERAL-"):
            free_most = LITERAL_MINUS_MOST
        if is_free and size > free_most:
            self.server.violations.append(f"a free literal of {size} bytes")
            self.untagged(b"BYE Your literal was not asked for")
            raise PeerClosed
        most = self.ways.message_most
        if self.is_append(pieces) and most is not None and size > most:
            return "NO [TOOBIG] The message is too long"
        return ""

    def is_append(self, pieces: list[bytes]) -> bool:
        return pieces[0].split(b" ", 2)[1:2] == [b"APPEND"]

    def message_refusal(self, pieces: list[bytes]) -> str:
        """Whether the last message that has come is refused."""
        try:
            for raw, flags, date in append_messages(parse(pieces)[2:]):
                self.check_message(raw, flags, date)
        except Refused as refusal:
            return str(refusal)
        return ""

    def note_command(self, pieces: list[bytes]) -> tuple[str, str]:
        words = b" ".join(LITERAL_AT_END.sub(b"{}", line).strip() for line in pieces[::2])
        _, _, rest = words.partition(b" ")
        name, _, arguments = rest.partition(b" ")
        if name.upper() == b"UID":
            second, _, arguments = arguments.partition(b" ")
            name += b" " + second
        row = (name.decode().upper(), arguments.decode("utf-8", "replace"))
        if row[0] in ("LOGIN", "AUTHENTICATE"):
            row = (row[0], "")
        self.server.log.append(row)
        return row

    def dispatch(self, pieces: list[bytes]) -> bool:
        """Answers a command. False: the connection is to end."""
        name, arguments = self.note_command(pieces)
        self.commands += 1
        if self.ways.delay_s:
            time.sleep(self.ways.delay_s)
        if self.ways.commands_a_connection is not None:
            if self.commands > self.ways.commands_a_connection:
                self.untagged(b"BYE ", self.ways.bye)
                return False
        if self.is_logged_in and self.ways.on_command and name != "LOGOUT":
            answer = self.ways.on_command(len(self.server.log), name, arguments)
            if answer == b"":
                return False
            if answer is not None:
                self.tagged(answer)
                return True
        if name == "LOGOUT":
            self.untagged(b"BYE see you")
            self.tagged("OK done")
            return False
        try:
            tokens = parse(pieces)
            handler = HANDLERS.get(name)
            if not handler or (name not in BEFORE_LOGIN and not self.is_logged_in):
                raise self.violation(f"{name} is no command here")
            with self.store.lock:
                answer = handler(self, tokens[3:] if name.startswith("UID ") else tokens[2:])
            self.tagged(answer or "OK done")
        except Refused as refusal:
            self.tagged(str(refusal))
        except (ValueError, IndexError) as error:
            self.server.violations.append(f"{name} {arguments}: {error!r}")
            self.tagged("BAD Cannot be understood")
        return True

    # ---- the login ----

    def do_capability(self, _: list) -> None:
        self.untagged(b"CAPABILITY ", self.capability_words())

    def do_noop(self, _: list) -> None:
        self.tell_changes()

    def do_id(self, _: list) -> None:
        self.untagged(b"ID NIL")

    def do_login(self, tokens: list) -> str:
        return self.log_in(text(tokens[0]), text(tokens[1]))

    def do_authenticate(self, tokens: list) -> str:
        if len(tokens) > 1:
            given = text(tokens[1])
        else:
            self.send(b"+ \r\n")
            given = self.connection.line().decode()
        _, user, password = base64.b64decode(given).decode().split("\0")
        return self.log_in(user, password)

    def log_in(self, user: str, password: str) -> str:
        if self.ways.logins:
            answer = self.ways.logins.pop(0)
            if answer.startswith(b"*"):
                self.send(answer, b"\r\n")
                raise PeerClosed
            if answer:
                return answer.decode()
        if (user, password) != (self.server.user, self.server.password):
            return "NO [AUTHENTICATIONFAILED] Wrong"
        self.is_logged_in = True
        return f"OK [CAPABILITY {self.capability_words().decode()}] Logged in"

    def do_enable(self, tokens: list) -> None:
        words = [text(token).upper() for token in tokens]
        known = [word for word in words if word in ("CONDSTORE",) and self.ways.can(word)]
        self.has_condstore |= "CONDSTORE" in known
        self.untagged(" ".join(["ENABLED", *known]).encode())

    # ---- folders ----

    def do_namespace(self, _: list) -> None:
        self.need("NAMESPACE")
        prefix, separator = (word.encode() for word in (self.store.prefix, self.store.separator))
        self.untagged(b'NAMESPACE (("', prefix, b'" "', separator, b'")) NIL NIL')

    def need(self, capability: str) -> None:
        if not self.ways.can(capability):
            raise self.violation(f"{capability} is not offered")

    def do_list(self, tokens: list) -> None:
        self.list_folders(tokens, b"LIST")

    def do_lsub(self, tokens: list) -> None:
        self.list_folders([*tokens[:2], b"RETURN", [b"ONLY"]], b"LSUB")

    def list_folders(self, tokens: list, word: bytes) -> None:
        chosen: list[str] = []
        if isinstance(tokens[0], list):
            self.need("LIST-EXTENDED")
            chosen = [text(token).upper() for token in tokens.pop(0)]
        patterns = tokens[1] if isinstance(tokens[1], list) else [tokens[1]]
        wanted = [text(pattern) for pattern in patterns]
        asked = tokens[3] if len(tokens) > 3 else []
        if asked and word == b"LIST":
            self.need("LIST-EXTENDED")
        words = [text(token).upper() for token in asked if not isinstance(token, list)]
        items = next((token for token in asked if isinstance(token, list)), [])
        if wanted == [""]:
            self.untagged(word, b' (\\Noselect) "', self.store.separator.encode(), b'" ""')
            return
        only = "SUBSCRIBED" in chosen or "ONLY" in words
        for folder in sorted(self.store.folders.values(), key=lambda one: one.wire):
            if not any(matches(folder.wire, one, self.store.separator) for one in wanted):
                continue
            if only and not folder.is_subscribed:
                continue
            self.list_one(folder, word, words)
            if "STATUS" in words and folder.is_selectable:
                self.need("LIST-STATUS")
                self.status_of(folder, items)

    def list_one(self, folder: StoredFolder, word: bytes, words: list[str]) -> None:
        attributes = [] if folder.is_selectable else ["\\Noselect"]
        if "SUBSCRIBED" in words and folder.is_subscribed:
            attributes.append("\\Subscribed")
        if folder.use and self.ways.can("SPECIAL-USE"):
            attributes.append(folder.use)
        self.untagged(
            word,
            f' ({" ".join(attributes)}) "{self.store.separator}" '.encode(),
            wire_string(octets_of(folder.wire)),
        )

    def folder(self, token: Token) -> StoredFolder:
        found = self.store.find(text(token))
        if not found or not found.is_selectable:
            raise Refused("NO [NONEXISTENT] No such folder")
        return found

    def do_status(self, tokens: list) -> None:
        self.status_of(self.folder(tokens[0]), tokens[1])

    def status_of(self, folder: StoredFolder, items: list) -> None:
        values = {
            "MESSAGES": len(folder.messages),
            "RECENT": 0,
            "UIDNEXT": folder.uidnext,
            "UIDVALIDITY": folder.uidvalidity,
            "UNSEEN": sum("\\Seen" not in one.flags for one in folder.messages),
        }
        if self.ways.can("CONDSTORE"):
            values["HIGHESTMODSEQ"] = folder.modseq
        words = [text(item).upper() for item in items]
        for word in words:
            if word not in values:
                raise self.violation(f"STATUS of {word}")
        told = " ".join(f"{word} {values[word]}" for word in words)
        self.untagged(b"STATUS ", wire_string(octets_of(folder.wire)), f" ({told})".encode())

    def do_create(self, tokens: list) -> str:
        wire = text(tokens[0])
        use = ""
        if len(tokens) > 1:
            self.need("CREATE-SPECIAL-USE")
            use = text(tokens[1][1][0])
        if self.store.find(wire):
            return "NO [ALREADYEXISTS] It is there"
        separator = self.store.separator
        parts = wire.rstrip(separator).split(separator)
        if "" in parts:
            return "NO [CANNOT] An empty level"
        for depth in range(1, len(parts)):
            parent = separator.join(parts[:depth])
            if not self.store.find(parent):
                self.store.create(parent).is_selectable = False
        self.store.create(wire.rstrip(separator), use)
        return "OK Created"

    def do_subscribe(self, tokens: list) -> None:
        self.folder(tokens[0]).is_subscribed = True

    def do_unsubscribe(self, tokens: list) -> None:
        self.folder(tokens[0]).is_subscribed = False

    def do_delete(self, tokens: list) -> None:
        self.store.folders.pop(self.folder(tokens[0]).wire)

    def do_select(self, tokens: list, is_read_only: bool = False) -> str:
        self.selected = None
        folder = self.folder(tokens[0])
        if len(tokens) > 1:
            self.need("CONDSTORE")
            self.has_condstore = True
        self.selected = Selected(folder, is_read_only, folder.uidvalidity, list(folder.messages))
        flags = " ".join([*SYSTEM_FLAGS, *sorted(folder.keywords())])
        permanent = flags + (" \\*" if self.ways.keywords == "any" else "")
        self.untagged(f"FLAGS ({flags})".encode())
        self.untagged(f"OK [PERMANENTFLAGS ({'' if is_read_only else permanent})] Kept".encode())
        self.untagged(b"%d EXISTS" % len(folder.messages))
        self.untagged(b"0 RECENT")
        self.untagged(b"OK [UIDVALIDITY %d] Valid" % folder.uidvalidity)
        self.untagged(b"OK [UIDNEXT %d] Next" % folder.uidnext)
        if self.ways.can("CONDSTORE"):
            self.untagged(b"OK [HIGHESTMODSEQ %d] Highest" % folder.modseq)
        return f"OK [READ-{'ONLY' if is_read_only else 'WRITE'}] Selected"

    def do_examine(self, tokens: list) -> str:
        return self.do_select(tokens, is_read_only=True)

    def open_folder(self) -> Selected:
        if not self.selected:
            raise self.violation("no folder is open")
        if self.selected.uidvalidity != self.selected.folder.uidvalidity:
            self.untagged(b"BYE The folder was numbered anew")
            raise PeerClosed
        return self.selected

    def do_close(self, _: list) -> None:
        selected = self.open_folder()
        if not selected.is_read_only:
            self.expunge(lambda one: "\\Deleted" in one.flags, silently=True)
        self.selected = None

    def do_unselect(self, _: list) -> None:
        self.need("UNSELECT")
        self.selected = None

    def do_check(self, _: list) -> None:
        self.open_folder()

    def tell_changes(self) -> None:
        """What other sessions have added or expunged."""
        if not self.selected:
            return
        selected = self.open_folder()
        there = {id(one) for one in selected.folder.messages}
        for number in range(len(selected.seen), 0, -1):
            if id(selected.seen[number - 1]) not in there:
                del selected.seen[number - 1]
                self.untagged(b"%d EXPUNGE" % number)
        if len(selected.seen) != len(selected.folder.messages):
            selected.seen = list(selected.folder.messages)
            self.untagged(b"%d EXISTS" % len(selected.seen))

    # ---- messages ----

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
        folder.messages = [one for one in folder.messages if not is_chosen(one)]
        folder.modseq += 1
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
        has_options = text(tokens[0]).upper() == "RETURN" if tokens and not isinstance(tokens[0], list) else False
        if has_options:
            self.need("ESEARCH")
            tokens = tokens[2:]
        if tokens and not isinstance(tokens[0], list) and text(tokens[0]).upper() == "CHARSET":
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
BEFORE_LOGIN = {"CAPABILITY", "NOOP", "ID", "LOGIN", "AUTHENTICATE"}
HANDLERS: dict[str, Callable[[Session, list], str | None]] = {
    name.removeprefix("do_").replace("uid_", "UID ").upper(): handler
    for name, handler in vars(Session).items()
    if name.startswith("do_")
}
