"""A small IMAP server in memory that follows RFC 3501 and some extensions, but for the ways in which a
test wants it to be wrong, poor or slow (fakestore.py).

What a client does that the server's capabilities do not allow is answered BAD and kept in
`violations`.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

from .fakemessages import Messages, Selected
from .fakeshared import Shared
from .fakestore import SYSTEM_FLAGS, Store, StoredFolder, Ways
from .fakewords import (
    LITERAL_AT_END,
    Refused,
    Token,
    append_messages,
    matches,
    octets_of,
    parse,
    text,
    wire_string,
)
from .scripted import Connection, PeerClosed, ScriptedServer

LITERAL_MINUS_MOST = 4096


class FakeImap(ScriptedServer):
    """Serves one account, `user` with `password`, out of `store`, in `ways`. `log` has each command
    that came, without literals: (name, arguments); `cancelled` counts the APPENDs that an empty
    message has ended. Of all connections together."""

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
        self.cancelled = 0
        super().__init__(lambda connection: self.begin(connection).serve(), **options)

    def begin(self, connection: Connection) -> Session:
        return Session(connection, self)

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


class Session(Messages, Shared):
    """One connection."""

    def __init__(self, connection: Connection, server: FakeImap) -> None:
        self.connection = connection
        self.server = server
        self.ways = server.ways
        self.store = server.store
        self.is_logged_in = False
        self.has_condstore = False
        self.has_qresync = False
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
        if self.selected:
            raise self.violation("ENABLE with an open folder")
        words = [text(token).upper() for token in tokens]
        known = [word for word in words if word in ("CONDSTORE", "QRESYNC") and self.ways.can(word)]
        self.has_condstore |= bool(known)
        self.has_qresync |= "QRESYNC" in known
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
        separator = self.store.separator
        found = self.store.find(wire.rstrip(separator))
        if found and not found.is_selectable:
            found.is_selectable = True
            return "OK Created"
        if found:
            return "NO [ALREADYEXISTS] It is there"
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
            if id(one := selected.seen[number - 1]) not in there:
                del selected.seen[number - 1]
                told = b"VANISHED %d" % one.uid if self.has_qresync else b"%d EXPUNGE" % number
                self.untagged(told)
        if len(selected.seen) != len(selected.folder.messages):
            selected.seen = list(selected.folder.messages)
            self.untagged(b"%d EXISTS" % len(selected.seen))


BEFORE_LOGIN = {"CAPABILITY", "NOOP", "ID", "LOGIN", "AUTHENTICATE"}
HANDLERS: dict[str, Callable[[Session, list], str | None]] = {
    name.removeprefix("do_").replace("uid_", "UID ").upper(): handler
    for name, handler in ((name, getattr(Session, name)) for name in dir(Session))
    if name.startswith("do_")
}
