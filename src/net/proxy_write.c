/* The PROXY protocol of net/proxy.h: writing both versions. */
#include "net/proxy.h"

#include "net/proxy_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    /* What proxy_write_v2() can come to. */
    V2_WRITTEN = V2_FIXED + ADDRESSES_V6 + 2 * (TLV_HEAD + PROXY_TEXT) + TLV_HEAD +
                 PROXY_UNIQUE_ID + TLV_HEAD + SSL_HEAD + 3 * (TLV_HEAD + PROXY_TEXT) + TLV_HEAD +
                 CRC_SIZE,
};

_Static_assert(V2_WRITTEN == 1493, "the manual says so");

static bool both_set(const struct addr *a, const struct addr *b)
{
    return addr_is_set(a) && addr_is_set(b);
}

static bool both_v4(const struct addr *a, const struct addr *b)
{
    return a->sa.sa_family == AF_INET && b->sa.sa_family == AF_INET;
}

/* 4 bytes, or 16: of the address, or of the IPv6 address that holds the IPv4 one (RFC 4291 section
 * 2.5.5.2). Returns how many. */
static size_t address_bytes(const struct addr *a, bool is_v4, unsigned char out[16])
{
    if (is_v4) {
        memcpy(out, &a->in.sin_addr, 4);
        return 4;
    }
    if (a->sa.sa_family == AF_INET6) {
        memcpy(out, &a->in6.sin6_addr, 16);
    } else {
        memset(out, 0, 10);
        memset(out + 10, 0xff, 2);
        memcpy(out + 12, &a->in.sin_addr, 4);
    }
    return 16;
}

/* The address without port, brackets and scope. IPv4 in IPv6 in hexadecimal: section 2.1 knows no
 * dots in IPv6. */
static void address_text(const struct addr *a, bool is_v4, char out[ADDR_TEXT])
{
    char full[ADDR_TEXT];
    struct addr plain = *a;
    unsigned char ip[16];
    size_t n, from;

    address_bytes(a, is_v4, ip);
    if (!is_v4 && (a->sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))) {
        snprintf(out, ADDR_TEXT, "::ffff:%x:%x", ip[12] << 8 | ip[13], ip[14] << 8 | ip[15]);
        return;
    }
    if (plain.sa.sa_family == AF_INET6)
        plain.in6.sin6_scope_id = 0;
    addr_format(&plain, full);
    from = full[0] == '[';
    n = (size_t)(strrchr(full, ':') - full) - 2 * from;
    memcpy(out, full + from, n);
    out[n] = '\0';
}

int proxy_write_v1(struct buf *out, const struct addr *source, const struct addr *destination)
{
    char line[PROXY_V1_MOST + 1], from[ADDR_TEXT], to[ADDR_TEXT];
    bool is_v4 = both_v4(source, destination);
    int n;

    if (!both_set(source, destination))
        return buf_puts(out, "PROXY UNKNOWN\r\n");
    address_text(source, is_v4, from);
    address_text(destination, is_v4, to);
    n = snprintf(line, sizeof line, "PROXY %s %s %s %u %u\r\n", is_v4 ? "TCP4" : "TCP6", from, to,
                 addr_port(source), addr_port(destination));
    INSIST(n > 0 && (size_t)n < sizeof line);
    return buf_puts(out, line);
}

/* A header of version 2 while it grows. */
struct header {
    size_t n;
    char p[V2_WRITTEN];
};

static void put(struct header *h, const void *p, size_t n)
{
    INSIST(n <= sizeof h->p - h->n);
    if (n)
        memcpy(h->p + h->n, p, n);
    h->n += n;
}

static void put_byte(struct header *h, unsigned value)
{
    unsigned char c = (unsigned char)value;

    put(h, &c, 1);
}

static void put_u16(struct header *h, size_t value)
{
    put_byte(h, (unsigned)(value >> 8 & 0xff));
    put_byte(h, (unsigned)(value & 0xff));
}

/* Puts a length, which was left empty, now that all it counts is there. */
static void set_length(struct header *h, size_t at)
{
    size_t n = h->n - at - 2;

    h->p[at] = (char)(n >> 8);
    h->p[at + 1] = (char)(n & 0xff);
}

static void put_text(struct header *h, unsigned type, struct slice s, size_t most)
{
    if (s.n == 0 || s.n > most)
        return;
    put_byte(h, type);
    put_u16(h, s.n);
    put(h, s.p, s.n);
}

static void put_addresses(struct header *h, const struct addr *source,
                          const struct addr *destination)
{
    bool is_v4 = both_v4(source, destination);
    unsigned char ip[16];

    put(h, ip, address_bytes(source, is_v4, ip));
    put(h, ip, address_bytes(destination, is_v4, ip));
    put_u16(h, addr_port(source));
    put_u16(h, addr_port(destination));
}

/* Section 2.2.6. Of the two bits for a certificate, only that of the TLS session is sure to hold: a
 * resumed one showed it on an earlier connection. */
static void put_ssl(struct header *h, const struct proxy_info *info)
{
    bool has_cert = info->is_tls_verified || info->tls_cn.n > 0;
    size_t length_at;

    put_byte(h, TLV_SSL);
    length_at = h->n;
    put_u16(h, 0);
    put_byte(h, has_cert ? CLIENT_SSL | CLIENT_CERT_SESS : CLIENT_SSL);
    put_u16(h, 0);
    put_u16(h, info->is_tls_verified ? 0 : 1);
    put_text(h, TLV_SSL_VERSION, info->tls_version, PROXY_TEXT);
    put_text(h, TLV_SSL_CN, info->tls_cn, PROXY_TEXT);
    put_text(h, TLV_SSL_CIPHER, info->tls_cipher, PROXY_TEXT);
    set_length(h, length_at);
}

static void put_crc(struct header *h)
{
    uint32_t crc;

    put_byte(h, TLV_CRC32C);
    put_u16(h, CRC_SIZE);
    put(h, "\0\0\0\0", CRC_SIZE);
    set_length(h, V2_LENGTH); /* is summed too */
    crc = proxy_crc32c(0, slice_of(h->p, h->n));
    h->n -= CRC_SIZE;
    put_u16(h, crc >> 16);
    put_u16(h, crc & 0xffff);
}

int proxy_write_v2(struct buf *out, const struct proxy_info *info)
{
    bool is_local = info->is_local || !both_set(&info->source, &info->destination);
    struct header h;

    h.n = 0;
    put(&h, PROXY_V2_SIGNATURE.p, PROXY_V2_SIGNATURE.n);
    put_byte(&h, 2 << 4 | (is_local ? CMD_LOCAL : CMD_PROXY));
    if (is_local) {
        put_byte(&h, FAM_UNSPEC);
        put_u16(&h, 0);
        return buf_put(out, slice_of(h.p, h.n));
    }
    put_byte(&h, both_v4(&info->source, &info->destination) ? FAM_TCP4 : FAM_TCP6);
    put_u16(&h, 0);
    put_addresses(&h, &info->source, &info->destination);
    put_text(&h, TLV_ALPN, info->alpn, PROXY_TEXT);
    put_text(&h, TLV_AUTHORITY, info->authority, PROXY_TEXT);
    put_text(&h, TLV_UNIQUE_ID, info->unique_id, PROXY_UNIQUE_ID);
    if (info->has_tls)
        put_ssl(&h, info);
    set_length(&h, V2_LENGTH);
    if (info->has_checksum)
        put_crc(&h);
    return buf_put(out, slice_of(h.p, h.n));
}
