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
    const char *name;    /* "PLAIN" */
    bool sends_password; /* readable by whoever sees the connection: needs TLS */

    /* Client: answers `challenge` (empty when none came) out of `me`. `step` counts from 0. */
    enum sasl_result (*client_step)(const struct sasl_identity *me, unsigned step,
                                    struct slice challenge, struct buf *out_response);

    /* Server: takes `response`. On SASL_DONE *out_claim is what the client claims to be, in the
     * bytes of `response`; proving it is the caller's matter. */
    enum sasl_result (*server_step)(unsigned step, struct slice response, struct buf *out_challenge,
                                    struct sasl_identity *out_claim);
};

/* By name, in any case of letters; NULL when there is none. */
const struct sasl_mech *sasl_find(struct slice name);

#endif
