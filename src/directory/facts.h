/* Facts about a user, as a line of a map, a rule of the configuration, or the answer of a server
 * has them: words with a value, blanks between.
 *
 *     pool=main backend=mail2 disabled="Moved away; ask the help desk"
 *
 *     pool=NAME            the pool that serves the user
 *     tag=NAME             the same by the pools' tags, when there is no pool
 *     backend=NAME         one backend of it and no other, as a pin
 *     host=HOST port=N tls=off|starttls|implicit
 *                          the same by what the configuration says of the backend; port and tls may
 *                          be left out
 *     backend_user=NAME    what the backend is told instead of the name
 *     disabled=yes|no|TEXT whether the user may not log in, and what the client is told
 *     max_sessions=N       in place of max_sessions_per_user
 *     password_hash=HASH   crypt(3)'s, yescrypt, bcrypt, SHA-512 ...: usher itself verifies the
 *                          client's password, and only then goes on
 *     backend_password=PW  with password_hash: what the backend is shown instead of it
 *     master_user=NAME master_password=PW
 *                          with password_hash: the backend is logged in to as this user, for the
 *                          user of backend_user or of the name
 *
 * A value is bare, without blanks and '"', or stands between '"' and holds none. It is not empty
 * and has no control characters. A word that is not known, or stands twice, is an error. Pure.
 */
#ifndef USHER_DIRECTORY_FACTS_H
#define USHER_DIRECTORY_FACTS_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FACTS_MAX = 1024 /* bytes of the text */ };

enum facts_tls { FACTS_TLS_ANY, FACTS_TLS_OFF, FACTS_TLS_STARTTLS, FACTS_TLS_IMPLICIT };

/* Slices point into the text; empty ones were not given. A host has no brackets. */
struct facts {
    struct slice pool, tag, backend, host, backend_user;
    struct slice disabled_text;
    struct slice password_hash, backend_password, master_user, master_password;
    uint32_t max_sessions; /* 0: not given */
    uint16_t port;         /* 0: not given */
    uint8_t tls;           /* enum facts_tls */
    bool is_disabled;
    bool verifies; /* password_hash is there, or was before facts_write() left it out */
};

/* Words without '=', unknown or twice; values that are none; a backend and a host; port or tls
 * without host; secrets without password_hash, one of master_user and master_password without the
 * other, or both and backend_password: errors, whose text names the word but no secret, nor what
 * stands behind one. A text of disabled does not begin with '[', where a client would take it for
 * a response code, and is no word that might mean yes or no, as false or off; yes and no have no
 * case. */
int facts_parse(struct slice text, struct facts *out_facts, struct err *err) MUST_CHECK;

/* The text anew without the four secrets; in place of password_hash stands verify=yes, which
 * facts_parse_wire() takes beside the words above. Returns its length, at most that of the text
 * plus 11. */
size_t facts_write(const struct facts *facts, char out[FACTS_MAX + 16]);

/* What facts_write() has written, as control reads it. Secrets are errors here. */
int facts_parse_wire(struct slice text, struct facts *out_facts, struct err *err) MUST_CHECK;

#endif
