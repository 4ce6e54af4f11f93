/* The numbers of the PROXY protocol's version 2 (sections 2.2 to 2.2.7), for those who read and
 * write it: net/proxy.c and net/proxy_write.c. */
#ifndef USHER_NET_PROXY_INTERNAL_H
#define USHER_NET_PROXY_INTERNAL_H

#include "base/slice.h"

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
};

#define PROXY_V2_SIGNATURE SLICE("\r\n\r\n\0\r\nQUIT\n")

#endif
