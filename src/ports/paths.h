/* Which unix sockets look like an IMAP server's. Pure. */
#ifndef USHER_PORTS_PATHS_H
#define USHER_PORTS_PATHS_H

#include "base/slice.h"

#include <stdbool.h>

/* Whether the socket's name, a path or an abstract name, has "imap" at the beginning of a word in
 * it ("/run/dovecot/imap-master", "/srv/uw.imapd.sock"; not "/tmp/minimap"), or lies in a folder
 * where Dovecot or Cyrus keep the sockets of logins ("/run/dovecot/login/...",
 * "/run/cyrus/socket/..."). */
bool path_is_imap(struct slice name);

#endif
