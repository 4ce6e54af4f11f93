/* The PROXY protocol, both roles: the header with which a proxy tells the server behind it who the
 * client is. Pure: bytes in, bytes out.
 *
 * Sections are those of HAProxy's doc/proxy-protocol.txt: 2.1 is version 1, a line of text; 2.2 is
 * version 2, binary, with more facts as TLVs (type, length, value).
 *
 * Whoever sends a header is believed in all it says. So a listener either wants one from everybody
 * or from nobody, is open to known proxies only (section 5), and does nothing else before it is
 * there (section 2).
 *
 * How to read a header, and no byte of what follows it, which may be TLS that OpenSSL wants to read
 * from the socket by itself: look with MSG_PEEK and parse what was taken before and what is seen
 * now, as one piece. With MORE all of it belongs to the header: take what was seen and wait. With
 * OK take *out_used less what was taken before. A buffer of PROXY_MOST bytes is enough.
 */
#ifndef USHER_NET_PROXY_H
#define USHER_NET_PROXY_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Version 1: the longest line, with its CRLF (section 2.1). */
    PROXY_V1_MOST = 107,

    /* The longest header taken. Version 2 could announce 65551 bytes, and they would have to be
     * kept before anything is known of the sender. All that is defined fits in 1500, and what the
     * clouds add of their own is some tens. */
    PROXY_MOST = 4096,

    /* The longest name or text in a TLV. A host name of TLS has at most 255 bytes, a protocol of
     * ALPN too, a certificate's common name 64 characters. */
    PROXY_TEXT = 256,

    /* Section 2.2.5. */
    PROXY_UNIQUE_ID = 128,
};

/* What a header says. The slices are whatever bytes the sender chose, NUL and control characters
 * too: escape them. An empty one: not told.
 *
 * All zero is a good value: nothing known. */
struct proxy_info {
    /* The proxy speaks for itself, as in a health check (LOCAL; version 2 only). Nothing else is
     * known then. HAProxy says so too of the clients of its unix sockets. */
    bool is_local;

    /* Version 2: the header has a checksum (section 2.2.3); when read, it was right. */
    bool has_checksum;

    /* The ends of the client's connection to the proxy. Both are known, or none (LOCAL, UNKNOWN, a
     * unix socket, UDP): then those of the connection itself stay. */
    struct addr source, destination;

    struct slice alpn;      /* section 2.2.1 */
    struct slice authority; /* section 2.2.2: the SNI, or another name that the client asked for */
    struct slice unique_id; /* section 2.2.5: for finding the connection in the proxy's log */

    /* Section 2.2.6. The client speaks TLS with the proxy; if not, the others are not told. */
    bool has_tls;
    bool is_tls_verified;     /* it showed a certificate, which the proxy found good */
    struct slice tls_version; /* "TLSv1.3" */
    struct slice tls_cn;      /* the common name in its certificate, good or not */
    struct slice tls_cipher;  /* "TLS_AES_256_GCM_SHA384" */
};

enum proxy_result {
    PROXY_MORE, /* good so far, not whole yet */
    PROXY_OK,
    PROXY_BAD, /* no header that we take: drop the connection without an answer */
};

/* Reads the header that `in` begins with: all bytes of the connection from its first on. Keeps
 * nothing between calls, and what it says does not depend on how the bytes came: call again with
 * the same bytes and more behind them. A call that says MORE costs next to nothing.
 *
 * OK: *out_used bytes are the header, at most PROXY_MOST; the slices of *out_info point into `in`.
 * BAD: the error's words tell a stranger (TLS or a command where the header should be) from a
 * broken header, and have nothing of the peer's bytes in them but numbers.
 *
 * Strict, with these liberties, all the specification's own:
 *   - after "PROXY UNKNOWN " anything goes up to CRLF;
 *   - LOCAL, and PROXY with an unspecified family or protocol: what follows is skipped unread;
 *   - PROXY with a unix socket or UDP: the addresses are skipped, the TLVs count;
 *   - TLVs that are not known, or not kept (NOOP, NETNS, the algorithms of the proxy's own
 *     certificate), are skipped.
 * A TLV that is kept may come once only, since of two another receiver might believe the other. An
 * IPv6 address that holds an IPv4 one (::ffff:192.0.2.1) becomes that. */
enum proxy_result proxy_parse(struct slice in, struct proxy_info *out_info, size_t *out_used,
                              struct err *err) MUST_CHECK;

/* The header must be the first that is sent on a connection, and goes at once (section 2). -1 when
 * it does not fit in `out`, which is unchanged then. An IPv4 address beside an IPv6 one is written
 * as IPv6. */

/* At most PROXY_V1_MOST bytes. UNKNOWN when an address is not set. */
int proxy_write_v1(struct buf *out, const struct addr *source,
                   const struct addr *destination) MUST_CHECK;

/* LOCAL if `is_local`, and then nothing else (section 2.2). LOCAL too when an address is not set:
 * PROXY without a family would be the truer word, but Dovecot refuses it, and this is how HAProxy
 * does it. A text that is longer than it may be (PROXY_TEXT, PROXY_UNIQUE_ID) is left out: better
 * none than half a name. At most 1493 bytes. Who takes how many: Dovecot 1500, nginx 1.22 only 107,
 * TLVs included; less than 536, as without long names, pass every network in one packet. */
int proxy_write_v2(struct buf *out, const struct proxy_info *info) MUST_CHECK;

/* CRC32C (RFC 4960 appendix B; Castagnoli's polynomial) of the bytes that gave `crc` (0: none) and
 * then `s`. Our own: neither zlib nor OpenSSL has this polynomial, and a library for a table of 16
 * numbers would be one more to trust. */
uint32_t proxy_crc32c(uint32_t crc, struct slice s);

#endif
