/* The PROXY protocol of net/proxy.h: versions 1 and 2, reading and writing. */
#include "net/proxy.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

enum {
    V2_FIXED = 16, /* signature, version and command, family and protocol, length */
    V2_COMMAND = 12,
    V2_FAMILY = 13,
    V2_LENGTH = 14,

    CMD_LOCAL = 0,
    CMD_PROXY = 1,

    FAM_UNSPEC = 0x00,
    FAM_TCP4 = 0x11,
    FAM_UDP4 = 0x12,
    FAM_TCP6 = 0x21,
    FAM_UDP6 = 0x22,
    FAM_UNIX_STREAM = 0x31,
    FAM_UNIX_DGRAM = 0x32,

    ADDRESSES_V4 = 2 * 4 + 2 * 2,
    ADDRESSES_V6 = 2 * 16 + 2 * 2,
    ADDRESSES_UNIX = 2 * 108,

    TLV_HEAD = 3, /* type, length in two bytes */
    TLV_ALPN = 0x01,
    TLV_AUTHORITY = 0x02,
    TLV_CRC32C = 0x03,
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22,
    TLV_SSL_CIPHER = 0x23,

    CRC_SIZE = 4,
    SSL_HEAD = 5, /* client's bits, verify in four bytes */
    CLIENT_SSL = 0x01,
    CLIENT_CERT_CONN = 0x02,
    CLIENT_CERT_SESS = 0x04,

    /* What proxy_write_v2() can come to. */
    V2_WRITTEN = V2_FIXED + ADDRESSES_V6 + 2 * (TLV_HEAD + PROXY_TEXT) + TLV_HEAD +
                 PROXY_UNIQUE_ID + TLV_HEAD + SSL_HEAD + 3 * (TLV_HEAD + PROXY_TEXT) + TLV_HEAD +
                 CRC_SIZE,
};

_Static_assert(V2_WRITTEN == 1493, "the manual says so");

static const struct slice v1_start = SLICE("PROXY ");
static const struct slice v2_signature = SLICE("\r\n\r\n\0\r\nQUIT\n");

/* ---- Small parts ---- */

static unsigned byte_at(struct slice s, size_t i)
{
    return (unsigned char)s.p[i];
}

static unsigned u16_at(struct slice s, size_t i)
{
    return byte_at(s, i) << 8 | byte_at(s, i + 1);
}

static uint32_t u32_at(struct slice s, size_t i)
{
    return (uint32_t)u16_at(s, i) << 16 | u16_at(s, i + 2);
}

/* How many bytes both begin with. */
static size_t same_bytes(struct slice a, struct slice b)
{
    size_t n = 0;

    while (n < a.n && n < b.n && a.p[n] == b.p[n])
        n++;
    return n;
}

uint32_t proxy_crc32c(uint32_t crc, struct slice s)
{
    /* Half a byte at a time: a header is too short for a larger table to pay. */
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };

    crc = ~crc;
    for (size_t i = 0; i < s.n; i++) {
        crc ^= byte_at(s, i);
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* The checksum of a header whose own field for it, at `at`, counts as zero (section 2.2.3). */
static uint32_t header_crc(struct slice header, size_t at)
{
    static const char zeros[CRC_SIZE] = {0};
    uint32_t crc = proxy_crc32c(0, slice_sub(header, 0, at));

    crc = proxy_crc32c(crc, slice_of(zeros, sizeof zeros));
    return proxy_crc32c(crc, slice_sub(header, at + CRC_SIZE, header.n));
}

/* ---- Reading version 1 ---- */

/* Cuts off what is before the next space, and the space. */
static struct slice take_field(struct slice *rest)
{
    size_t n = 0;
    struct slice field;

    while (n < rest->n && rest->p[n] != ' ')
        n++;
    field = slice_sub(*rest, 0, n);
    *rest = slice_sub(*rest, n + 1, rest->n);
    return field;
}

static bool read_port(struct slice s, uint16_t *out_port)
{
    uint64_t port;

    if ((s.n > 1 && s.p[0] == '0') || !num_parse(s, 65535, &port))
        return false;
    *out_port = (uint16_t)port;
    return true;
}

/* As what accept() would have given: an IPv4 address in an IPv6 one becomes that. */
static struct addr unmapped(const struct addr *a)
{
    struct sockaddr_storage ss;

    memset(&ss, 0, sizeof ss);
    memcpy(&ss, a, sizeof *a);
    return addr_from_sockaddr(&ss);
}

static int read_v1_address(struct slice ip, struct slice port, int family, const char *whose,
                           struct addr *out_addr, struct err *err)
{
    const char *version = family == AF_INET ? "IPv4" : "IPv6";
    struct addr a;
    uint16_t number;

    if (!addr_parse_ip(ip, 0, &a) || a.sa.sa_family != family)
        return err_set(err, 0, "broken PROXY header: the %s is no %s address", whose, version);
    if (!read_port(port, &number))
        return err_set(err, 0, "broken PROXY header: the port of the %s is no port", whose);
    addr_set_port(&a, number);
    *out_addr = unmapped(&a);
    return 0;
}

/* `line`: what is between "PROXY " and CRLF. */
static int read_v1_line(struct slice line, struct proxy_info *info, struct err *err)
{
    struct slice rest = line, word = take_field(&rest);
    struct slice source, destination, source_port, destination_port;
    int family;

    if (slice_eq(word, SLICE("UNKNOWN")))
        return 0;
    if (slice_eq(word, SLICE("TCP4")))
        family = AF_INET;
    else if (slice_eq(word, SLICE("TCP6")))
        family = AF_INET6;
    else
        return err_set(err, 0, "broken PROXY header: its protocol is not TCP4, TCP6 or UNKNOWN");
    source = take_field(&rest);
    destination = take_field(&rest);
    source_port = take_field(&rest);
    destination_port = rest; /* all of it: a further field is no part of a port */
    if (read_v1_address(source, source_port, family, "source", &info->source, err) < 0)
        return -1;
    return read_v1_address(destination, destination_port, family, "destination",
                           &info->destination, err);
}

/* Says what came in place of a header, as far as the byte in which it differs tells. */
static enum proxy_result not_a_header(struct slice in, size_t at, struct err *err)
{
    unsigned c = byte_at(in, at);

    if (at == v1_start.n - 1)
        err_set(err, 0, "broken PROXY header: no space after \"PROXY\"");
    else if (at == 0 && c == 0x16)
        err_set(err, 0,
                "no PROXY header but a TLS handshake: a client that came past the proxy, or a "
                "proxy that sends no header");
    else if (c >= ' ' && c < 0x7f)
        err_set(err, 0,
                "no PROXY header but text, such as an IMAP command: a client that came past the "
                "proxy, or a proxy that sends no header");
    else
        err_set(err, 0, "no PROXY header: byte %zu is 0x%02x", at + 1, c);
    return PROXY_BAD;
}

static enum proxy_result parse_v1(struct slice in, struct proxy_info *info, size_t *out_used,
                                  struct err *err)
{
    size_t n = same_bytes(in, v1_start);

    if (n < v1_start.n)
        return n == in.n ? PROXY_MORE : not_a_header(in, n, err);
    while (n < in.n && n < PROXY_V1_MOST - 1 && in.p[n] != '\r' && in.p[n] != '\n')
        n++;
    if (n == in.n)
        return PROXY_MORE;
    if (in.p[n] == '\n') {
        err_set(err, 0, "broken PROXY header: LF without CR");
        return PROXY_BAD;
    }
    if (n == PROXY_V1_MOST - 1) {
        err_set(err, 0, "broken PROXY header: no CRLF within %d bytes", (int)PROXY_V1_MOST);
        return PROXY_BAD;
    }
    if (n + 1 == in.n)
        return PROXY_MORE;
    if (in.p[n + 1] != '\n') {
        err_set(err, 0, "broken PROXY header: CR without LF");
        return PROXY_BAD;
    }
    if (read_v1_line(slice_sub(in, v1_start.n, n), info, err) < 0)
        return PROXY_BAD;
    *out_used = n + 2;
    return PROXY_OK;
}

/* ---- Reading version 2 ---- */

/* The 13th to 16th byte. *out_addresses: the bytes of addresses before the TLVs; -1 when all that
 * follows is to be skipped. */
static int read_v2_start(struct slice in, bool *out_is_local, int *out_addresses, struct err *err)
{
    unsigned version = byte_at(in, V2_COMMAND) >> 4, command = byte_at(in, V2_COMMAND) & 15;
    unsigned family = byte_at(in, V2_FAMILY);
    size_t length = u16_at(in, V2_LENGTH);
    int addresses = -1;

    if (version != 2)
        return err_set(err, 0, "broken PROXY header: version %u in the form of version 2", version);
    if (command != CMD_LOCAL && command != CMD_PROXY)
        return err_set(err, 0, "broken PROXY header: unknown command %u", command);
    if (V2_FIXED + length > PROXY_MOST)
        return err_set(err, 0, "PROXY header of %zu bytes; at most %d are taken",
                       V2_FIXED + length, (int)PROXY_MOST);
    if (command == CMD_PROXY) {
        if (family == FAM_TCP4 || family == FAM_UDP4)
            addresses = ADDRESSES_V4;
        else if (family == FAM_TCP6 || family == FAM_UDP6)
            addresses = ADDRESSES_V6;
        else if (family == FAM_UNIX_STREAM || family == FAM_UNIX_DGRAM)
            addresses = ADDRESSES_UNIX;
        else if (family >> 4 > FAM_UNIX_STREAM >> 4 || (family & 15) > (FAM_UNIX_DGRAM & 15))
            return err_set(err, 0, "broken PROXY header: unknown family and protocol 0x%02x",
                           family);
    }
    if (addresses >= 0 && length < (size_t)addresses)
        return err_set(err, 0, "broken PROXY header: %zu bytes where the addresses need %d", length,
                       addresses);
    *out_is_local = command == CMD_LOCAL;
    *out_addresses = addresses;
    return 0;
}

/* `ip`: 4 or 16 bytes. */
static struct addr binary_address(struct slice ip, unsigned port)
{
    struct addr a;

    memset(&a, 0, sizeof a);
    if (ip.n == 4) {
        a.in.sin_family = AF_INET;
        memcpy(&a.in.sin_addr, ip.p, 4);
    } else {
        a.in6.sin6_family = AF_INET6;
        memcpy(&a.in6.sin6_addr, ip.p, 16);
    }
    addr_set_port(&a, (uint16_t)port);
    return unmapped(&a);
}

static void read_v2_addresses(struct slice block, unsigned family, struct proxy_info *info)
{
    size_t n = family == FAM_TCP4 ? 4 : 16;

    if (family != FAM_TCP4 && family != FAM_TCP6)
        return;
    info->source = binary_address(slice_sub(block, 0, n), u16_at(block, 2 * n));
    info->destination = binary_address(slice_sub(block, n, 2 * n), u16_at(block, 2 * n + 2));
}

static int take_tlv(struct slice *rest, unsigned *out_type, struct slice *out_value,
                    struct err *err)
{
    size_t n;

    if (rest->n < TLV_HEAD)
        return err_set(err, 0, "broken PROXY header: %zu bytes behind its last TLV", rest->n);
    n = u16_at(*rest, 1);
    if (n > rest->n - TLV_HEAD)
        return err_set(err, 0,
                       "broken PROXY header: TLV 0x%02x announces %zu bytes where %zu are left",
                       byte_at(*rest, 0), n, rest->n - TLV_HEAD);
    *out_type = byte_at(*rest, 0);
    *out_value = slice_sub(*rest, TLV_HEAD, TLV_HEAD + n);
    *rest = slice_sub(*rest, TLV_HEAD + n, rest->n);
    return 0;
}

/* A value that was kept points into the input even when it is empty, so that a second is seen. */
static int keep(struct slice *to, unsigned type, struct slice value, size_t most, struct err *err)
{
    if (to->p)
        return err_set(err, 0, "broken PROXY header: a second TLV 0x%02x", type);
    if (value.n > most)
        return err_set(err, 0, "PROXY header with TLV 0x%02x of %zu bytes; at most %zu are taken",
                       type, value.n, most);
    *to = value;
    return 0;
}

static int read_ssl(struct slice ssl, struct proxy_info *info, struct err *err)
{
    struct slice rest, value, version = {0}, cn = {0}, cipher = {0};
    unsigned type, client;
    int kept = 0;

    if (ssl.n < SSL_HEAD)
        return err_set(err, 0, "broken PROXY header: TLV 0x%02x of %zu bytes, not of %d or more",
                       (unsigned)TLV_SSL, ssl.n, (int)SSL_HEAD);
    rest = slice_sub(ssl, SSL_HEAD, ssl.n);
    while (rest.n > 0 && kept == 0) {
        if (take_tlv(&rest, &type, &value, err) < 0)
            return -1;
        if (type == TLV_SSL_VERSION)
            kept = keep(&version, type, value, PROXY_TEXT, err);
        else if (type == TLV_SSL_CN)
            kept = keep(&cn, type, value, PROXY_TEXT, err);
        else if (type == TLV_SSL_CIPHER)
            kept = keep(&cipher, type, value, PROXY_TEXT, err);
    }
    if (kept < 0)
        return -1;
    client = byte_at(ssl, 0);
    if (!(client & CLIENT_SSL))
        return 0;
    info->has_tls = true;
    /* Without the bits, HAProxy's `verify` is zero although there is no certificate. */
    info->is_tls_verified =
        (client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS)) != 0 && u32_at(ssl, 1) == 0;
    info->tls_version = version;
    info->tls_cn = cn;
    info->tls_cipher = cipher;
    return 0;
}

static int check_crc(struct slice header, struct slice crc, struct proxy_info *info,
                     struct err *err)
{
    if (crc.n != CRC_SIZE)
        return err_set(err, 0, "broken PROXY header: a checksum of %zu bytes, not of %d", crc.n,
                       (int)CRC_SIZE);
    if (header_crc(header, (size_t)(crc.p - header.p)) != u32_at(crc, 0))
        return err_set(err, 0, "broken PROXY header: its checksum is wrong");
    info->has_checksum = true;
    return 0;
}

/* The TLVs from `at` on. */
static int read_tlvs(struct slice header, size_t at, struct proxy_info *info, struct err *err)
{
    struct slice rest = slice_sub(header, at, header.n), value, crc = {0}, ssl = {0};
    unsigned type;
    int kept = 0;

    while (rest.n > 0 && kept == 0) {
        if (take_tlv(&rest, &type, &value, err) < 0)
            return -1;
        if (type == TLV_ALPN)
            kept = keep(&info->alpn, type, value, PROXY_TEXT, err);
        else if (type == TLV_AUTHORITY)
            kept = keep(&info->authority, type, value, PROXY_TEXT, err);
        else if (type == TLV_UNIQUE_ID)
            kept = keep(&info->unique_id, type, value, PROXY_UNIQUE_ID, err);
        else if (type == TLV_CRC32C)
            kept = keep(&crc, type, value, CRC_SIZE, err);
        else if (type == TLV_SSL)
            kept = keep(&ssl, type, value, PROXY_MOST, err);
    }
    if (kept < 0 || (crc.p && check_crc(header, crc, info, err) < 0))
        return -1;
    return ssl.p ? read_ssl(ssl, info, err) : 0;
}

static enum proxy_result parse_v2(struct slice in, struct proxy_info *info, size_t *out_used,
                                  struct err *err)
{
    size_t n = same_bytes(in, v2_signature), total;
    int addresses;

    if (n < v2_signature.n && n < in.n) {
        err_set(err, 0, "no PROXY header: begins as version 2, but byte %zu is 0x%02x", n + 1,
                byte_at(in, n));
        return PROXY_BAD;
    }
    if (in.n < V2_FIXED)
        return PROXY_MORE;
    if (read_v2_start(in, &info->is_local, &addresses, err) < 0)
        return PROXY_BAD;
    total = V2_FIXED + u16_at(in, V2_LENGTH);
    if (in.n < total)
        return PROXY_MORE;
    if (addresses >= 0) {
        read_v2_addresses(slice_sub(in, V2_FIXED, total), byte_at(in, V2_FAMILY), info);
        if (read_tlvs(slice_sub(in, 0, total), V2_FIXED + (size_t)addresses, info, err) < 0)
            return PROXY_BAD;
    }
    *out_used = total;
    return PROXY_OK;
}

enum proxy_result proxy_parse(struct slice in, struct proxy_info *out_info, size_t *out_used,
                              struct err *err)
{
    struct proxy_info info;
    enum proxy_result result;

    if (in.n == 0)
        return PROXY_MORE;
    memset(&info, 0, sizeof info);
    if (in.p[0] == v2_signature.p[0])
        result = parse_v2(in, &info, out_used, err);
    else
        result = parse_v1(in, &info, out_used, err);
    if (result == PROXY_OK)
        *out_info = info;
    return result;
}

/* ---- Writing ---- */

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

/* Section 2.2.6. Which of the two bits for a certificate holds is not known: that it came on this
 * connection is the one that is true for all TLS sessions that are not resumed. */
static void put_ssl(struct header *h, const struct proxy_info *info)
{
    bool has_cert = info->is_tls_verified || info->tls_cn.n > 0;
    size_t length_at;

    put_byte(h, TLV_SSL);
    length_at = h->n;
    put_u16(h, 0);
    put_byte(h, has_cert ? CLIENT_SSL | CLIENT_CERT_CONN : CLIENT_SSL);
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
    put(&h, v2_signature.p, v2_signature.n);
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
