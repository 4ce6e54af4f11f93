/* The URL of an account, as `usher sync` and `usher verify` take it (RFC 5092, less than it):
 *
 *     imaps://USER@HOST[:PORT]           TLS from the first byte, port 993
 *     imap+starttls://USER@HOST[:PORT]   STARTTLS, port 143
 *     imap://USER@HOST[:PORT]            in clear, port 143
 *
 * USER is percent-encoded, or not: the last "@" ends it, so that imaps://ann@example.org@mail is
 * what it looks like. ";AUTH=*" may stand behind it. HOST is a name, an IPv4 address, or an IPv6
 * address in brackets. There may be a "/" at the end and nothing behind it. A password is refused:
 * everybody on the machine may read command lines.
 *
 * Errors never repeat what stands before the last "@", as it may have a password in it.
 */
#ifndef USHER_CLI_SYNC_URL_H
#define USHER_CLI_SYNC_URL_H

#include "base/err.h"
#include "base/slice.h"
#include "sync/sync.h"

#include <stdbool.h>
#include <stdint.h>

enum { SYNC_URL_HOST = 256, SYNC_URL_USER = 512 };

struct sync_url {
    enum sync_tls tls;
    uint16_t port;            /* 0: the usual one */
    char host[SYNC_URL_HOST]; /* without brackets */
    char user[SYNC_URL_USER]; /* UTF-8 without control characters; "": none was named */
};

int sync_url_parse(struct slice text, struct sync_url *out_url, struct err *err) MUST_CHECK;

/* Whether `host` is a name or an address (IPv6 without brackets), be there such a one or not. */
int sync_url_check_host(struct slice host, struct err *err) MUST_CHECK;

/* Whether a server can be told it as a user's name: UTF-8 without control characters, not empty, no
 * longer than SYNC_URL_USER holds. */
int sync_url_check_user(struct slice user, struct err *err) MUST_CHECK;

/* 993 or 143. */
uint16_t sync_url_usual_port(enum sync_tls tls);

#endif
