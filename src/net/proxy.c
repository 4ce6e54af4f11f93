/* The PROXY protocol of net/proxy.h: reading both versions. */
#include "net/proxy.h"

#include "base/num.h"
#include "net/proxy_internal.h"

#include <string.h>

enum { SKIP = 0 }; /* in place of a size of addresses */

#define V1_START SLICE("PROXY ")

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

static int read_v1_ip(struct slice s, int family, const char *whose, struct addr *out_addr,
                      struct err *err)
{
    struct addr a;

    if (!addr_parse_ip(s, 0, &a) || a.sa.sa_family != family)
        return err_set(err, 0, "broken PROXY header: the %s is no %s address", whose,
                       family == AF_INET ? "IPv4" : "IPv6");
    *out_addr = addr_unmapped(&a);
    return 0;
}

/* Of section 2.1: no sign, and no zeros before others. */
static int read_v1_port(struct slice s, const char *whose, struct addr *addr, struct err *err)
{
    uint64_t port;

    if ((s.n > 1 && s.p[0] == '0') || !num_parse(s, 65535, &port))
        return err_set(err, 0, "broken PROXY header: the port of the %s is no port", whose);
    addr_set_port(addr, (uint16_t)port);
    return 0;
}

/* `line`: what is between "PROXY " and CRLF. */
static int read_v1_line(struct slice line, struct proxy_info *info, struct err *err)
{
    struct slice rest = line, word = take_field(&rest);
    int family;

    if (slice_eq(word, SLICE("UNKNOWN")))
        return 0;
    if (slice_eq(word, SLICE("TCP4")))
        family = AF_INET;
    else if (slice_eq(word, SLICE("TCP6")))
        family = AF_INET6;
    else
        return err_set(err, 0, "broken PROXY header: its protocol is not TCP4, TCP6 or UNKNOWN");
    if (read_v1_ip(take_field(&rest), family, "source", &info->source, err) < 0 ||
        read_v1_ip(take_field(&rest), family, "destination", &info->destination, err) < 0 ||
        read_v1_port(take_field(&rest), "source", &info->source, err) < 0)
        return -1;
    /* all that is left: a further field makes it no port */
    return read_v1_port(rest, "destination", &info->destination, err);
}

/* Says what came in place of a header, as far as the byte in which it differs tells. */
static enum proxy_result not_a_header(struct slice in, size_t at, struct err *err)
{
    unsigned c = byte_at(in, at);

    if (at == V1_START.n - 1)
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
    size_t n = same_bytes(in, V1_START);

    if (n < V1_START.n)
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
    if (read_v1_line(slice_sub(in, V1_START.n, n), info, err) < 0)
        return PROXY_BAD;
    *out_used = n + 2;
    return PROXY_OK;
}

/* ---- Reading version 2 ---- */

/* The bytes of addresses that the 14th byte announces, or SKIP: all is to be passed over, since
 * where TLVs would begin is not known. -1 when such a byte must be refused. */
static int address_size(unsigned family)
{
    switch (family) {
    case FAM_TCP4:
    case FAM_UDP4:
        return ADDRESSES_V4;
    case FAM_TCP6:
    case FAM_UDP6:
        return ADDRESSES_V6;
    case FAM_UNIX_STREAM:
    case FAM_UNIX_DGRAM:
        return ADDRESSES_UNIX;
    default: /* either half may be unspecified, 0 */
        return family <= FAM_UNIX_DGRAM && (family & 15) <= 2 ? SKIP : -1;
    }
}

/* The 13th to 16th byte. *out_addresses is as address_size() says, but never -1. */
static int read_v2_start(struct slice in, bool *out_is_local, int *out_addresses, struct err *err)
{
    unsigned version = byte_at(in, V2_COMMAND) >> 4, command = byte_at(in, V2_COMMAND) & 15;
    unsigned family = byte_at(in, V2_FAMILY);
    size_t length = u16_at(in, V2_LENGTH);
    int addresses = command == CMD_LOCAL ? SKIP : address_size(family);

    if (version != 2)
        return err_set(err, 0, "broken PROXY header: version %u in the form of version 2", version);
    if (command != CMD_LOCAL && command != CMD_PROXY)
        return err_set(err, 0, "broken PROXY header: unknown command %u", command);
    if (addresses < 0)
        return err_set(err, 0, "broken PROXY header: unknown family and protocol 0x%02x", family);
    if (V2_FIXED + length > PROXY_MOST)
        return err_set(err, 0, "PROXY header of %zu bytes; at most %d are taken", V2_FIXED + length,
                       (int)PROXY_MOST);
    if (addresses != SKIP && length < (size_t)addresses)
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
    return addr_unmapped(&a);
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
    size_t n = same_bytes(in, PROXY_V2_SIGNATURE), total;
    int addresses = SKIP;

    if (n < PROXY_V2_SIGNATURE.n && n < in.n) {
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
    if (addresses != SKIP) {
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
    if (in.p[0] == '\r')
        result = parse_v2(in, &info, out_used, err);
    else
        result = parse_v1(in, &info, out_used, err);
    if (result == PROXY_OK)
        *out_info = info;
    return result;
}
