/* What speaks on a port: asks it, without ever logging in.
 *
 * One connection at a time, each step and the whole with a deadline, at most 12 connections, and
 * only to the address that is named. Steps, until one is answered:
 *
 *     plain      connect and wait for a greeting (IMAP, POP3, SMTP, LMTP, ManageSieve,
 *                Mirapoint's administration protocol, SSH, FTP ... speak first)
 *     tls        a TLS handshake, then as plain within it, then as http. First where the port
 *                says TLS (993 ...)
 *     http       a HEAD request, for servers that wait
 *     proxy v1   a PROXY header (HAProxy's doc/proxy-protocol.txt), then as plain, then TLS,
 *                and HTTP where that was heard of
 *     proxy v2   the same; tried beside v1 when that is answered, to tell which are taken
 *     patiently  as plain, with 3.5 times the silence: for those who greet late, as
 *                postscreen(8) of Postfix does. Earlier where a server has greeted one whom it
 *                should not have
 *
 * A greeting behind a PROXY header is believed to be due to it when the server has dropped those
 * who began with TLS or HTTP (without a word, or with a complaint), and goes on to understand what
 * it is asked; else the patient step is taken first, and decides. So a server that greets late, or
 * complains about the header, is not taken for one that waits for it.
 *
 * An IMAP server is asked for CAPABILITY and ID (saying that we are "usher"); with STARTTLS
 * offered, again within TLS, by another connection. POP3 (CAPA, STLS), SMTP and LMTP (EHLO, LHLO,
 * STARTTLS) and ManageSieve (STARTTLS) likewise. Who was asked is told good-bye.
 *
 * TLS is tried with every suite that OpenSSL would still speak, 1.2 and above; a certificate is
 * looked at whatever is wrong with it.
 *
 * Whatever the peer sends is bounded, and shown only escaped.
 */
#ifndef USHER_PORTS_PROBE_H
#define USHER_PORTS_PROBE_H

#include "base/addr.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum speaks {
    SPEAKS_NOTHING, /* connects, and says nothing that we know a question for */
    SPEAKS_UNKNOWN, /* says something that we do not know: `greeting` */
    SPEAKS_IMAP,
    SPEAKS_POP3,
    SPEAKS_SMTP,
    SPEAKS_LMTP,
    SPEAKS_SIEVE,
    SPEAKS_ADMIND, /* Mirapoint's administration protocol */
    SPEAKS_HTTP,
    SPEAKS_SSH,
    SPEAKS_FTP,
    SPEAKS_NNTP,
    SPEAKS_TLS, /* TLS, with something within it that we do not know */
    SPEAKS_COUNT
};

/* "IMAP"; `key` is for JSON: "imap". */
const char *speaks_name(enum speaks speaks);
const char *speaks_key(enum speaks speaks);

/* What a first line tells. Pure; any bytes. `SPEAKS_NOTHING` while more bytes are needed and
 * `is_end` is false: a greeting is judged when its first line is whole, the peer has closed or
 * stopped sending, or 512 bytes are there. SMTP, LMTP and FTP all greet with 220: one without a
 * word that tells is SMTP here, and probe_run() finds out. */
enum speaks speaks_recognize(struct slice greeting, bool is_end);

enum { PROBE_TEXT = 512, PROBE_CAPS = 2048 };

struct probe_params {
    struct addr addr;
    const char *name;    /* for SNI and verification; NULL: none is known */
    bool tls_first;      /* the port's custom says implicit TLS */
    uint32_t connect_ms; /* 3000 */
    uint32_t silence_ms; /* how long to wait for one who says nothing: 2000 */
    uint32_t total_ms;   /* of all connections together: 20000 */
    struct slice ca_pem; /* whom to believe; empty: the certificate's issuer is not judged */
};

enum probe_proxy { PROBE_PROXY_NONE, PROBE_PROXY_V1 = 1, PROBE_PROXY_V2 = 2 };

/* Texts have UTF-8 without control characters (escaped as by term_escape() of base/term.h) and are
 * cut; "": not told. */
struct probe_report {
    bool is_connected;        /* else `trouble` says why not */
    char trouble[PROBE_TEXT]; /* what went wrong, also later on the way */
    enum speaks speaks;
    unsigned proxy; /* bits of enum probe_proxy: answers only behind such a header */
    bool is_implicit_tls;
    bool offers_starttls;
    char greeting[PROBE_TEXT];
    char server[PROBE_TEXT];     /* what it calls itself: ID's name and version, HTTP's Server,
                                    IMPLEMENTATION of POP3 and ManageSieve */
    char caps_clear[PROBE_CAPS]; /* IMAP, POP3, SMTP, Sieve, before TLS: whole words with one blank
                                    between. Those with values as "AUTH=PLAIN,LOGIN" */
    char caps_tls[PROBE_CAPS];   /* within TLS, implicit or by STARTTLS */
    char tls_version[16], tls_cipher[64];
    bool has_certificate;
    struct tls_facts certificate; /* of the peer's own */
    char subject[PROBE_TEXT], issuer[PROBE_TEXT];
    char untrusted[PROBE_TEXT]; /* all reasons why a client would refuse the certificate, in
                                   OpenSSL's words; "" it would not, or ca_pem was empty */
    unsigned connections;       /* how many were made */
};

/* Runs a loop of its own until done. Returns 0 also when nobody answers; -1 only for what is ours:
 * memory, descriptors, a ca_pem or name that can be none. `out_report` is large: not for the stack.
 */
int probe_run(const struct probe_params *params, struct probe_report *out_report,
              struct err *err) MUST_CHECK;

#endif
