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
 *   - follow_client() with what the client sent, before it is written to the backend.
 *   - follow_server() with what has been written to the client, right behind the write: bytes that
 *     wait in a buffer are on the far side of the boundary.
 *   So the cursor knows a command before the backend can answer it, and knows an answer before the
 *   client can act on it.
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
 * ever: there is no boundary any more, all questions are answered with no, and bytes cost nothing.
 * A client that is not followed might ask for COMPRESS unseen, which is why both directions end
 * together. On the client's side this is what cannot be followed, none of it right by the RFCs:
 *   - a line that is no command: bare LF or CR, NUL, no tag, two spaces, a quoted string or a brace
 *     left open, "{n}" where no string may begin;
 *   - bytes of a literal before the "+" that allows it, or anything behind COMPRESS, STARTTLS or
 *     AUTHENTICATE before its answer, or behind IDLE but DONE (RFC 2177);
 *   - "+" when nothing waits for it, or when two things do: DONE was sent before the "+" of its
 * IDLE, and now a synchronizing literal or another IDLE waits too.
 *
 * Whom it serves. A boundary is exact for clients and backends that keep to the RFCs, and given up
 * where one is seen not to. A client may still deceive it, about its own connection alone: by
 * "{n+}" (RFC 7888) to a backend that takes no such literals, or by the same tag twice. So
 * UNAUTHENTICATE is told as a service, for bookkeeping: no wall, as none can be that lets COMPRESS
 * pass.
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

/* `s` came from the client. How much of it was followed: all, unless the client says
 * UNAUTHENTICATE (RFC 8437) at the beginning of a command: then what stands before the end of that
 * word's line. Whoever passes on no more than this keeps the command from the backend, wherever the
 * bytes were cut; boundaries can still be asked for. Whoever does pass on more feeds the rest, and
 * the conversation is opaque. */
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
