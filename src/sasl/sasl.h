/* Authentication mechanisms (RFC 4422), both roles, as pure steps: a message of the other side goes
 * in, ours comes out. Base 64 and the dialogue around it are the protocol's (RFC 9051 section
 * 6.2.2).
 *
 * A mechanism is one file that defines a struct sasl_mech, and a row in sasl.c.
 */
#ifndef USHER_SASL_SASL_H
#define USHER_SASL_SASL_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

enum sasl_result {
    SASL_MORE, /* send the message, wait for the other side's next */
    SASL_DONE, /* send the message if there is one; nothing more is to come */
    SASL_BAD,  /* the other side broke the mechanism's rules, or memory is out */
};

struct sasl_identity {
    struct slice user;     /* authentication identity; never empty */
    struct slice authzid;  /* authorization identity; empty: the same as user */
    struct slice password; /* may be empty */
};

struct sasl_mech {
    const char *name;     /* "PLAIN": what stands in AUTH= */
    const char *title;    /* for logs; differs from `name` where a command has that name already */
    bool sends_password;  /* readable by whoever sees the connection: needs TLS */
    bool is_client_first; /* the client speaks first, so it may do so with the command (RFC 4959) */
    struct slice prompt;  /* the server's first challenge, empty where the client speaks first. A
                             server that got a message with the command does not send it */

    /* Client: answers `challenge` (empty when none came) out of `me`. `step` counts from 0. */
    enum sasl_result (*client_step)(const struct sasl_identity *me, unsigned step,
                                    struct slice challenge, struct buf *out_response);

    /* Server: takes the client's message number `step`, from 0. *claim is all zero at first, is
     * handed on from step to step, and on SASL_DONE is what the client claims to be; proving it is
     * the caller's matter. Its slices lie in the messages, which the caller keeps, all of them. */
    enum sasl_result (*server_step)(unsigned step, struct slice message, struct buf *out_challenge,
                                    struct sasl_identity *claim);
};

/* By name, in any case of letters; NULL when there is none. */
const struct sasl_mech *sasl_find(struct slice name);

/* All of them, the best first: NULL behind the last. */
const struct sasl_mech *sasl_at(size_t i);

#endif
