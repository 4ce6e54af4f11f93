/* Follows a conversation after login, both directions, as it passes through the relay: tells where
 * a response of the backend ends, so that usher may put one of its own behind it ("* BYE ..."), and
 * what the client asks for that changes the connection under us.
 *
 * The bytes are looked at where they lie, in any pieces; nothing is kept of them and no memory is
 * taken. The outcome depends on the order in which the two directions are fed, never on how one of
 * them is cut. Literals are counted off, not looked at.
 *
 * How it must be fed, each byte once and in order:
 *   - follow_init() when the session begins to relay. The first byte of the client is then that of
 *     a command, the first of the backend that of a response. What usher itself says (the answer to
 *     the login) is not fed; until it has been written whole, there is no boundary to speak of.
 *   - follow_client() with what the client sent, pipelined behind its login or later, before it is
 *     written to the backend.
 *   - follow_server() with what has been written to the client, right behind the write. A boundary
 *     is where the written bytes end: while others wait in a buffer it is of no use, for TLS may
 *     have begun to send them.
 * So the cursor knows a command before the backend can answer it, and an answer before the client
 * can act on it.
 *
 * What is proven. At a boundary each byte since the first belongs to a whole response of RFC 9051
 * section 9, and whoever reads the grammar, or only lines and literals, sees the same end:
 *   - "* OK NO BAD BYE PREAUTH", tagged OK NO BAD and "+" end at their CRLF, also behind "{5}", for
 *     theirs is free text; not when a response code is still open, which might go on in a literal;
 *   - other untagged responses are data: "{n}" or "~{n}" at a line's end, where a string may begin,
 *     announces n bytes (below 2^63) and then the rest of the line. A brace that opens anywhere
 *     else outside of quotes, and a quoted string that is not closed in its line, prove nothing;
 *   - nor do a bare CR or LF, NUL outside of literals, or any other line.
 * The stream is in clear up to there: COMPRESS (RFC 4978), STARTTLS and AUTHENTICATE take effect
 * behind the CRLF of their tagged OK, and the client's commands are followed to know those three.
 *
 * Opaque. From that OK on, and from the first byte that cannot be followed in either direction, for
 * ever: no boundary any more, nothing more is told of the client, and bytes cost nothing. A client
 * that is not followed might ask for COMPRESS unseen: so both directions end together. On the
 * client's side this is what cannot be followed, none of it right by the RFCs but the last:
 *   - a line that is no command: bare LF or CR, NUL, no tag, two spaces, a quoted string or a brace
 *     left open, "{n}" where no string may begin;
 *   - bytes of a literal before the "+" that allows it, anything behind COMPRESS, STARTTLS or
 *     AUTHENTICATE before its answer, anything but DONE behind IDLE (RFC 2177);
 *   - from the backend, "+" when nothing waits for it, or OK when a literal does;
 *   - a synchronizing literal or another IDLE, when DONE was sent before the "+" of the last IDLE
 *     and that has not come: the next "+" could be for either.
 *
 * Whom it serves. A boundary is exact for clients and backends that keep to the RFCs, and given up
 * where one is seen not to. A client may still deceive it, about its own connection alone: by
 * "{n+}" (RFC 7888) where the backend reads no literal, or by the same tag twice. So UNAUTHENTICATE
 * is told as a service, for bookkeeping: no wall, as none can be that lets COMPRESS pass.
 */
#ifndef USHER_IMAP_FOLLOW_H
#define USHER_IMAP_FOLLOW_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One direction. Private to follow.c. */
struct follow_side {
    uint64_t n;          /* bytes of the literal that are to come */
    uint32_t tag;        /* hash of the tag that was read last */
    uint8_t state;       /* enum state */
    uint8_t kind;        /* enum kind: which response or command it is, as far as it matters */
    uint8_t candidates;  /* bits: the words that the one being read may still be */
    uint8_t at : 4;      /* bytes of it so far, as long as there are candidates */
    bool is_sync : 1;    /* client: the literal waits for "+" */
    bool owes_plus : 1;  /* client: the "+" of an IDLE is still to come */
    bool has_logout : 1; /* client */
};

/* Embedded in each session. */
struct follow {
    struct follow_side server, client;
};

_Static_assert(sizeof(struct follow) == 32, "budget of an idle session");

/* At a command and at a response. Needs no end: there is nothing to give back. */
void follow_init(struct follow *f);

/* `s` has been written to the client. */
void follow_server(struct follow *f, struct slice s);

/* `s` came from the client. Returns how many of its bytes were followed: all, unless a command
 * UNAUTHENTICATE (RFC 8437) begins; then those before the byte behind that word. Whoever passes on
 * no more than these keeps the command from the backend, wherever the bytes were cut; boundaries
 * can still be asked for. Whoever does pass on more feeds the rest: the conversation is opaque
 * then. */
size_t follow_client(struct follow *f, struct slice s);

/* Whether what has been written to the client ends at a proven boundary. */
bool follow_at_boundary(const struct follow *f);

/* Whether there never will be a boundary again. */
bool follow_is_opaque(const struct follow *f);

/* Whether the client has sent LOGOUT: the backend says BYE, usher need not. */
static inline bool follow_has_logout(const struct follow *f)
{
    return f->client.has_logout;
}

#endif
