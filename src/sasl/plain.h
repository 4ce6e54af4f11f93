/* PLAIN (RFC 4616): one message, [authzid] NUL authcid NUL passwd.
 *
 * As server: exactly two NULs and an authcid are asked for; an empty password is let through, since
 * it is the backend's to refuse. Whether the bytes are UTF-8 is not asked either: older clients
 * send Latin-1 and backends that know them accept it. */
#ifndef USHER_SASL_PLAIN_H
#define USHER_SASL_PLAIN_H

#include "sasl/sasl.h"

extern const struct sasl_mech sasl_plain;

#endif
