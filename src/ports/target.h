/* The words that name ports: PORT, FIRST-LAST, SERVICE, ADDRESS:PORT. Pure; names of hosts are left
 * as they are.
 *
 *     143                     one port
 *     10000-10100             a range, both ends in it
 *     imap, imaps             a service of IANA's registry (case folded), of the custom table
 *                             (likewise) or of /etc/services
 *     127.0.0.1:143  [::1]:imap  mail.example.org:993  *:143
 *                             an address or a host, and a port or service
 */
#ifndef USHER_PORTS_TARGET_H
#define USHER_PORTS_TARGET_H

#include "base/addr.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct services;

enum { TARGET_HOST = 256 };

struct target {
    uint16_t first, last;   /* equal unless it is a range; never 0 */
    char host[TARGET_HOST]; /* as written, without brackets; "" when only a port was named or "*" */
    struct addr addr;       /* of a numeric host, with the port; IPv4-mapped ones as IPv4. None also
                               of an IPv6 address with an interface's name: "fe80::1%eth0", which is
                               left to whoever resolves names */
    bool is_service;        /* the port was written as a name */
};

/* A name of several ports is the lowest that IANA has for tcp, else for another protocol, else that
 * of the custom table, else that of /etc/services. The error is one line of printable ASCII that
 * says what is wrong with the word and what may be meant. `services` may be NULL. */
int target_parse(struct slice word, const struct services *services, struct target *out_target,
                 struct err *err) MUST_CHECK;

#endif
