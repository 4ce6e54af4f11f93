/* Headers of the PROXY protocol, good and bad, and what is to be read from them. */
#ifndef USHER_TESTS_UNIT_PROXY_HEADERS_H
#define USHER_TESTS_UNIT_PROXY_HEADERS_H

#include "base/slice.h"

#include <stddef.h>

#define SIG "\r\n\r\n\0\r\nQUIT\n"

/* 192.0.2.1:50000 to 198.51.100.2:993, [2001:db8::1]:50000 to [2001:db8::2]:993 */
#define ENDS4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\xc3\x50\x03\xe1"
#define ENDS6                                                                                      \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xc3\x50" \
    "\x03\xe1"
#define TOLD4 "192.0.2.1:50000 > 198.51.100.2:993"
#define TOLD6 "[2001:db8::1]:50000 > [2001:db8::2]:993"

/* Two sockets' names, as a proxy of unix sockets would tell them. */
#define NAME36    "123456789012345678901234567890123456"
#define NAME108   NAME36 NAME36 NAME36
#define ENDS_UNIX NAME108 NAME108

struct good {
    struct slice header;
    const char *told;
};

static const struct good good_v1[] = {
    /* section 2.1's own example and longest lines */
    {SLICE("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
     "192.168.0.1:56324 > 192.168.0.11:443"},
    {SLICE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
     "255.255.255.255:65535 > 255.255.255.255:65535"},
    {SLICE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:"
           "ffff 65535 65535\r\n"),
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 > "
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    {SLICE("PROXY UNKNOWN\r\n"), "- > -"},
    {SLICE("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:"
           "ffff:ffff 65535 65535\r\n"),
     "- > -"},
    {SLICE("PROXY UNKNOWN \0\xff TCP4 anything  goes\r\n"), "- > -"},
    {SLICE("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0:0 > 0.0.0.0:0"},
    {SLICE("PROXY TCP6 2001:DB8::1 2001:0db8:0:0:0:0:0:2 50000 993\r\n"), TOLD6},
    {SLICE("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 50000 993\r\n"), TOLD4},
    {SLICE("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 50000 993\r\n"),
     "192.0.2.1:50000 > [2001:db8::2]:993"},
};

static const struct good good_v2[] = {
    {SLICE(SIG "\x21\x11\0\x0c" ENDS4), TOLD4},
    {SLICE(SIG "\x21\x21\0\x24" ENDS6), TOLD6},
    {SLICE(SIG "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\0\0\0\0\0\0\0\0\0\0\xff"
               "\xff\xc6\x33\x64\x02\xc3\x50\x03\xe1"),
     TOLD4},
    /* LOCAL: the block is discarded, whatever it is, a wrong checksum too */
    {SLICE(SIG "\x20\0\0\0"), "local - > -"},
    {SLICE(SIG "\x20\x11\0\x0c" ENDS4), "local - > -"},
    {SLICE(SIG "\x20\xff\0\x03???"), "local - > -"},
    {SLICE(SIG "\x20\0\0\x07\x03\0\x04????"), "local - > -"},
    /* unspecified family or protocol: what follows might be anything */
    {SLICE(SIG "\x21\0\0\0"), "- > -"},
    {SLICE(SIG "\x21\0\0\x02\x02\0"), "- > -"},
    {SLICE(SIG "\x21\x10\0\x0c" ENDS4), "- > -"},
    {SLICE(SIG "\x21\x01\0\x0c" ENDS4), "- > -"},
    {SLICE(SIG "\x21\x30\0\0"), "- > -"},
    /* known, but not ours: no addresses, but TLVs */
    {SLICE(SIG "\x21\x12\0\x0c" ENDS4), "- > -"},
    {SLICE(SIG "\x21\x22\0\x27" ENDS6 "\x02\0\0"), "- > -"},
    {SLICE(SIG "\x21\x31\0\xe0" ENDS_UNIX "\x20\0\x05\x01\0\0\0\0"), "- > - tls"},
    {SLICE(SIG "\x21\x32\0\xdc" ENDS_UNIX "\x02\0\x01z"), "- > - authority=z"},
    /* each TLV */
    {SLICE(SIG "\x21\x11\0\x13" ENDS4 "\x01\0\x04imap"), TOLD4 " alpn=imap"},
    {SLICE(SIG "\x21\x11\0\x1c" ENDS4 "\x02\0\x0dmail.test.org"), TOLD4 " authority=mail.test.org"},
    {SLICE(SIG "\x21\x11\0\x12" ENDS4 "\x04\0\x03???"), TOLD4},
    {SLICE(SIG "\x21\x11\0\x12" ENDS4 "\x04\0\0\x04\0\0"), TOLD4},
    {SLICE(SIG "\x21\x11\0\x11" ENDS4 "\x05\0\x02ID"), TOLD4 " id=ID"},
    {SLICE(SIG "\x21\x11\0\x12" ENDS4 "\x30\0\x03net"), TOLD4},
    {SLICE(SIG "\x21\x11\0\x15" ENDS4 "\xea\0\x01x\xff\0\x02yz"), TOLD4},
    {SLICE(SIG "\x21\x11\0\x12" ENDS4 "\x01\0\0\x05\0\0"), TOLD4},
    /* TLS: no certificate; a good one; a bad one; a good one shown on an earlier connection */
    {SLICE(SIG "\x21\x11\0\x1e" ENDS4 "\x20\0\x0f\x01\0\0\0\0\x21\0\x07TLSv1.3"),
     TOLD4 " tls version=TLSv1.3"},
    {SLICE(SIG "\x21\x11\0\x1a" ENDS4 "\x20\0\x0b\x03\0\0\0\0\x22\0\x03"
               "ann"),
     TOLD4 " tls verified cn=ann"},
    {SLICE(SIG "\x21\x11\0\x1a" ENDS4 "\x20\0\x0b\x07\0\0\0\x12\x22\0\x03"
               "ann"),
     TOLD4 " tls cn=ann"},
    {SLICE(SIG "\x21\x11\0\x14" ENDS4 "\x20\0\x05\x07\x01\0\0\0"), TOLD4 " tls"},
    {SLICE(SIG "\x21\x11\0\x14" ENDS4 "\x20\0\x05\x05\0\0\0\0"), TOLD4 " tls verified"},
    {SLICE(SIG "\x21\x11\0\x1f" ENDS4 "\x20\0\x10\x01\0\0\0\0\x23\0\x03"
               "AES"
               "\x24\0\x02xy"),
     TOLD4 " tls cipher=AES"},
    /* not TLS: what is told of it does not count */
    {SLICE(SIG "\x21\x11\0\x1e" ENDS4 "\x20\0\x0f\x06\0\0\0\0\x21\0\x07TLSv1.3"), TOLD4},
};

/* Taken from the wire: HAProxy 2.6.12 and nginx 1.22.1 of Debian 12 on 127.0.0.1 and [::1] and unix
 * sockets, in front of a listener that wrote down what came. HAProxy's server lines had send-proxy
 * or send-proxy-v2, also with check-send-proxy; for TLS, on a `bind ... ssl verify optional`:
 * send-proxy-v2-ssl-cn with proxy-v2-options
 * ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id. nginx is a stream server
 * with `proxy_protocol on`. */
static const struct good captured[] = {
    /* HAProxy, version 1: IPv4, IPv6, unix socket (nginx's look the same); then a health check */
    {SLICE("PROXY TCP4 127.0.0.1 127.0.0.1 36490 21001\r\n"), "127.0.0.1:36490 > 127.0.0.1:21001"},
    {SLICE("PROXY TCP6 ::1 ::1 41340 21001\r\n"), "[::1]:41340 > [::1]:21001"},
    {SLICE("PROXY UNKNOWN\r\n"), "- > -"},
    {SLICE("PROXY TCP4 127.0.0.1 127.0.0.1 35988 21997\r\n"), "127.0.0.1:35988 > 127.0.0.1:21997"},
    /* nginx */
    {SLICE("PROXY TCP4 127.0.0.1 127.0.0.1 55452 22001\r\n"), "127.0.0.1:55452 > 127.0.0.1:22001"},
    {SLICE("PROXY TCP6 ::1 ::1 42278 22001\r\n"), "[::1]:42278 > [::1]:22001"},
    /* HAProxy, version 2: a health check, IPv4, IPv6, unix sockets in clear and with TLS */
    {SLICE(SIG "\x20\0\0\0"), "local - > -"},
    {SLICE(SIG "\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xb8NR\n"),
     "127.0.0.1:47182 > 127.0.0.1:21002"},
    {SLICE(SIG "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
               "\x93^R\n"),
     "[::1]:37726 > [::1]:21002"},
    {SLICE(SIG "\x20\0\0\x0f\x03\0\x04\x88\x9d\xa1\xdf\x20\0\x05\0\0\0\0\0"), "local - > -"},
    {SLICE(SIG "\x20\0\0\x19\x03\0\x04\x33+\x91\xd6\x20\0\x0f\x01\0\0\0\0!\0\x07TLSv1.3"),
     "local - > -"},
    /* in clear with options for TLS; TLS; TLS with a certificate and ALPN */
    {SLICE(SIG "\x21\x11\0\x1b\x7f\0\0\x01\x7f\0\0\x01\xc9\x32R\x0c\x03\0\x04\x9d\xc8h[\x20\0\x05\0"
               "\0\0\0\0"),
     "checksum 127.0.0.1:51506 > 127.0.0.1:21004"},
    {SLICE(SIG "\x21\x11\0\x78\x7f\0\0\x01\x7f\0\0\x01\xc6\x18R\x0b\x03\0\x04\x05\x18\x92\x08\x02\0"
               "\x10mail.example.org\x05\0\r7F000001:C618\x20\0\x3f\x01\0\0\0\0!\0\x07TLSv1.3%\0"
               "\x07RSA2048$\0\nRSA-SHA256#\0\x16TLS_AES_256_GCM_SHA384"),
     "checksum 127.0.0.1:50712 > 127.0.0.1:21003 authority=mail.example.org id=7F000001:C618 tls "
     "version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384"},
    {SLICE(SIG "\x21\x11\0\x85\x7f\0\0\x01\x7f\0\0\x01\xc6\x28R\x0b\x03\0\x04<w\xad\xfa\x01\0\x04"
               "imap\x02\0\x10imap.example.org\x05\0\r7F000001:C628\x20\0\x45\x07\0\0\0\0!\0\x07"
               "TLSv1.3\"\0\x03"
               "ann%\0\x07RSA2048$\0\nRSA-SHA256#\0\x16TLS_AES_256_GCM_SHA384"),
     "checksum 127.0.0.1:50728 > 127.0.0.1:21003 alpn=imap authority=imap.example.org "
     "id=7F000001:C628 tls verified version=TLSv1.3 cn=ann cipher=TLS_AES_256_GCM_SHA384"},
};

/* Refused at byte `at` (counted from 1; 0: at the last), in words that have `words` in them. */
struct bad {
    struct slice bytes;
    size_t at;
    const char *words;
};

static const struct bad bad_v1[] = {
    /* strangers */
    {SLICE("\x16\x03\x01\x02\0\x01"), 1, "no PROXY header but a TLS handshake"},
    {SLICE("a1 LOGIN ann secret\r\n"), 1, "no PROXY header but text, such as an IMAP command"},
    {SLICE("P1 CAPABILITY\r\n"), 2, "no PROXY header but text"},
    {SLICE("PROX LOGIN\r\n"), 5, "no PROXY header but text"},
    {SLICE("proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n"), 1, "no PROXY header but text"},
    {SLICE("\n"), 1, "byte 1 is 0x0a"},
    {SLICE("\0\0"), 1, "byte 1 is 0x00"},
    {SLICE("\x80."), 1, "byte 1 is 0x80"},
    {SLICE("\x7f"), 1, "byte 1 is 0x7f"},
    {SLICE("PRO\x16"), 4, "byte 4 is 0x16"},
    /* not exactly one space */
    {SLICE("PROXY\r\n"), 6, "no space after \"PROXY\""},
    {SLICE("PROXY\tTCP4"), 6, "no space after \"PROXY\""},
    {SLICE("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), 0, "protocol"},
    {SLICE("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), 0, "source is no IPv4"},
    {SLICE("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n"), 0, "destination is no IPv4"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2  1 2\r\n"), 0, "port of the source"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n"), 0, "port of the destination"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"), 0, "port of the destination"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), 0, "port of the destination"},
    /* protocols */
    {SLICE("PROXY \r\n"), 0, "protocol"},
    {SLICE("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), 0, "protocol"},
    {SLICE("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n"), 0, "protocol"},
    {SLICE("PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n"), 0, "protocol"},
    {SLICE("PROXY UNKNOWNS\r\n"), 0, "protocol"},
    {SLICE("PROXY LOGIN secret\r\n"), 0, "protocol"},
    /* fields that are not there */
    {SLICE("PROXY TCP4\r\n"), 0, "source is no IPv4"},
    {SLICE("PROXY TCP4 192.0.2.1\r\n"), 0, "destination is no IPv4"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2\r\n"), 0, "port of the source"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), 0, "port of the destination"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n"), 0, "port of the destination"},
    /* addresses, families */
    {SLICE("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"), 0, "source is no IPv4"},
    {SLICE("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"), 0, "source is no IPv4"},
    {SLICE("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n"), 0, "source is no IPv4"},
    {SLICE("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"), 0, "source is no IPv4"},
    {SLICE("PROXY TCP4 ::1 192.0.2.2 1 2\r\n"), 0, "source is no IPv4"},
    {SLICE("PROXY TCP4 192.0.2.1 ::1 1 2\r\n"), 0, "destination is no IPv4"},
    {SLICE("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"), 0, "source is no IPv6"},
    {SLICE("PROXY TCP6 ::1 192.0.2.1 1 2\r\n"), 0, "destination is no IPv6"},
    {SLICE("PROXY TCP6 [::1] ::1 1 2\r\n"), 0, "source is no IPv6"},
    {SLICE("PROXY TCP6 fe80::1%lo ::1 1 2\r\n"), 0, "source is no IPv6"},
    {SLICE("PROXY TCP6 1::2::3 ::1 1 2\r\n"), 0, "source is no IPv6"},
    {SLICE("PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n"), 0, "source is no IPv6"},
    {SLICE("PROXY TCP6 00001:: ::1 1 2\r\n"), 0, "source is no IPv6"},
    /* ports */
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), 0, "port of the source"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 00 2\r\n"), 0, "port of the source"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"), 0, "port of the source"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n"), 0, "port of the destination"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"), 0, "port of the destination"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 1 0x2\r\n"), 0, "port of the destination"},
    {SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 18446744073709551617 2\r\n"), 0, "port of the source"},
    /* ends */
    {SLICE("PROXY UNKNOWN\nPROXY"), 14, "LF without CR"},
    {SLICE("PROXY UNKNOWN a\rb\r\n"), 17, "CR without LF"},
    {SLICE("PROXY UNKNOWN\r\r\n"), 15, "CR without LF"},
    {SLICE("PROXY \n"), 7, "LF without CR"},
};

static const struct bad bad_v2[] = {
    {SLICE("\ra1 NOOP"), 2, "begins as version 2, but byte 2 is 0x61"},
    {SLICE("\r\n\r\n\0\r\nQUIT\r\n"), 12, "byte 12 is 0x0d"},
    {SLICE("\r\n\r\nxx"), 5, "byte 5 is 0x78"},
    {SLICE(SIG "\x11\x11\0\x0c" ENDS4), 16, "version 1 in the form of version 2"},
    {SLICE(SIG "\x31\x11\0\x0c" ENDS4), 16, "version 3"},
    {SLICE(SIG "\x22\x11\0\x0c" ENDS4), 16, "unknown command 2"},
    {SLICE(SIG "\x2f\0\0\0"), 16, "unknown command 15"},
    {SLICE(SIG "\x21\x13\0\x0c" ENDS4), 16, "0x13"},
    {SLICE(SIG "\x21\x33\0\0"), 16, "0x33"},
    {SLICE(SIG "\x21\x03\0\0"), 16, "0x03"},
    {SLICE(SIG "\x21\x0f\0\0"), 16, "0x0f"},
    {SLICE(SIG "\x21\x41\0\x0c" ENDS4), 16, "unknown family and protocol 0x41"},
    {SLICE(SIG "\x21\x40\0\0"), 16, "0x40"},
    {SLICE(SIG "\x21\xff\0\0"), 16, "0xff"},
    {SLICE(SIG "\x21\x11\0\0"), 16, "0 bytes where the addresses need 12"},
    {SLICE(SIG "\x21\x11\0\x0b" ENDS4), 16, "11 bytes where the addresses need 12"},
    {SLICE(SIG "\x21\x12\0\x0b" ENDS4), 16, "need 12"},
    {SLICE(SIG "\x21\x21\0\x23" ENDS6), 16, "35 bytes where the addresses need 36"},
    {SLICE(SIG "\x21\x31\0\xd7" ENDS_UNIX), 16, "215 bytes where the addresses need 216"},
    {SLICE(SIG "\x21\x11\x0f\xf1"), 16, "PROXY header of 4097 bytes; at most 4096"},
    {SLICE(SIG "\x20\0\xff\xff"), 16, "PROXY header of 65551 bytes"},
    /* TLVs that do not fit */
    {SLICE(SIG "\x21\x11\0\x0d" ENDS4 "\x04"), 0, "1 bytes behind its last TLV"},
    {SLICE(SIG "\x21\x11\0\x0e" ENDS4 "\x04\0"), 0, "2 bytes behind its last TLV"},
    {SLICE(SIG "\x21\x11\0\x0f" ENDS4 "\x04\0\x01"), 0, "announces 1 bytes where 0 are left"},
    {SLICE(SIG "\x21\x11\0\x11" ENDS4 "\x02\0\x03xy"), 0, "announces 3 bytes where 2 are left"},
    {SLICE(SIG "\x21\x11\0\x11" ENDS4 "\xea\xff\xffxy"), 0, "0xea announces 65535 bytes"},
    {SLICE(SIG "\x21\x31\0\xda" ENDS_UNIX "\x04\0"), 0, "2 bytes behind its last TLV"},
    /* the checksum */
    {SLICE(SIG "\x21\x11\0\x13" ENDS4 "\x03\0\x04\0\0\0\0"), 0, "checksum is wrong"},
    {SLICE(SIG "\x21\x11\0\x12" ENDS4 "\x03\0\x03\0\0\0"), 0, "checksum of 3 bytes"},
    {SLICE(SIG "\x21\x11\0\x0f" ENDS4 "\x03\0\0"), 0, "checksum of 0 bytes"},
    {SLICE(SIG "\x21\x11\0\x14" ENDS4 "\x03\0\x05\0\0\0\0\0"), 0, "TLV 0x03 of 5 bytes"},
    {SLICE(SIG "\x21\x31\0\xdf" ENDS_UNIX "\x03\0\x04\0\0\0\0"), 0, "checksum is wrong"},
    /* twice */
    {SLICE(SIG "\x21\x11\0\x14" ENDS4 "\x01\0\x01x\x01\0\x01x"), 0, "a second TLV 0x01"},
    {SLICE(SIG "\x21\x11\0\x14" ENDS4 "\x02\0\x01x\x02\0\x01y"), 0, "a second TLV 0x02"},
    {SLICE(SIG "\x21\x11\0\x12" ENDS4 "\x05\0\0\x05\0\0"), 0, "a second TLV 0x05"},
    {SLICE(SIG "\x21\x11\0\x1a" ENDS4 "\x03\0\x04xxxx\x03\0\x04xxxx"), 0, "a second TLV 0x03"},
    {SLICE(SIG "\x21\x11\0\x1c" ENDS4 "\x20\0\x05\0\0\0\0\0\x20\0\x05\x01\0\0\0\0"), 0,
     "a second TLV 0x20"},
    {SLICE(SIG "\x21\x11\0\x1a" ENDS4 "\x20\0\x0b\x01\0\0\0\0\x22\0\0\x22\0\0"), 0,
     "a second TLV 0x22"},
    {SLICE(SIG "\x21\x11\0\x1d" ENDS4 "\x20\0\x0e\x01\0\0\0\0\x21\0\0\x21\0\0\x22\0\0"), 0,
     "a second TLV 0x21"},
    /* inside that of TLS */
    {SLICE(SIG "\x21\x11\0\x13" ENDS4 "\x20\0\x04\x01\0\0\0"), 0, "of 4 bytes, not of 5 or more"},
    {SLICE(SIG "\x21\x11\0\x0f" ENDS4 "\x20\0\0"), 0, "of 0 bytes, not of 5 or more"},
    {SLICE(SIG "\x21\x11\0\x15" ENDS4 "\x20\0\x06\x01\0\0\0\0\x21"), 0, "1 bytes behind its last"},
    {SLICE(SIG "\x21\x11\0\x18" ENDS4 "\x20\0\x09\x01\0\0\0\0\x21\0\x02x"), 0, "0x21 announces 2"},
    {SLICE(SIG "\x21\x11\0\x17" ENDS4 "\x20\0\x08\0\0\0\0\0\x21\0\x01"), 0, "0x21 announces 1"},
};

#endif
