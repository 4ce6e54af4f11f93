/* LOGIN (draft-murchison-sasl-login-00), obsolete and without a standard, but all that some clients
 * know, Outlook among them: the server asks for the user name, then for the password.
 *
 * As server: asks "Username:" and "Password:", as Dovecot and Cyrus do and as some clients compare,
 * and takes the user name as initial response too, though RFC 4959 has none where the server speaks
 * first. An empty name or NUL is malformed; an empty password is the backend's to refuse.
 *
 * As client: the first challenge is answered with the user name and the second with the password,
 * whatever they ask, as the draft says. It cannot carry an authorization identity. */
#ifndef USHER_SASL_LOGIN_H
#define USHER_SASL_LOGIN_H

#include "sasl/sasl.h"

extern const struct sasl_mech sasl_login;

#endif
