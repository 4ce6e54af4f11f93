/* The PROXY protocol: every header whole, in pieces, cut off and damaged; what is written is read
 * again. */
#include "net/proxy.h"

#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm.h"
#include "proxy_headers.h"

/* ---- Helpers ---- */

static void tell_text(char *to, size_t size, const char *name, struct slice s)
{
    size_t n = strlen(to);

    if (s.n > 0)
        snprintf(to + n, size - n, " %s=%.*s", name, SLICE_ARG(s));
}

/* All of `info` in one line; in the program's own memory, until the next call. */
static const char *told(const struct proxy_info *info)
{
    static char text[2048];
    char from[ADDR_TEXT], to[ADDR_TEXT];

    snprintf(text, sizeof text, "%s%s%s > %s", info->is_local ? "local " : "",
             info->has_checksum ? "checksum " : "", addr_format(&info->source, from),
             addr_format(&info->destination, to));
    tell_text(text, sizeof text, "alpn", info->alpn);
    tell_text(text, sizeof text, "authority", info->authority);
    tell_text(text, sizeof text, "id", info->unique_id);
    if (info->has_tls)
        strcat(text, info->is_tls_verified ? " tls verified" : " tls");
    tell_text(text, sizeof text, "version", info->tls_version);
    tell_text(text, sizeof text, "cn", info->tls_cn);
    tell_text(text, sizeof text, "cipher", info->tls_cipher);
    return text;
}

/* Parses a copy that ends where the memory does, so that the sanitizer sees a byte read too many.
 * The caller frees *out_copy. Results other than OK leave the outputs alone. */
static enum proxy_result parse(struct slice in, struct proxy_info *info, size_t *used,
                               struct err *err, char **out_copy)
{
    static const struct proxy_info untouched = {.is_local = true, .has_tls = true};
    enum proxy_result result;

    *out_copy = malloc(in.n ? in.n : 1);
    assert_non_null(*out_copy);
    memcpy(*out_copy, in.p, in.n);
    *info = untouched;
    *used = 12345;
    err->text[0] = '\0';
    result = proxy_parse(slice_of(*out_copy, in.n), info, used, err);
    if (result != PROXY_OK) {
        assert_memory_equal(info, &untouched, sizeof untouched);
        assert_int_equal(*used, 12345);
    }
    assert_int_equal(err->text[0] != '\0', result == PROXY_BAD);
    return result;
}

static void assert_parse(struct slice in, enum proxy_result expected, size_t expected_used,
                         const char *expected_told)
{
    struct proxy_info info;
    struct err err;
    size_t used;
    char *copy;
    enum proxy_result result = parse(in, &info, &used, &err, &copy);

    if (result != expected)
        print_error("%s: %s\n", expected_told, err.text);
    assert_int_equal(result, expected);
    if (result == PROXY_OK) {
        assert_int_equal(used, expected_used);
        assert_string_equal(told(&info), expected_told);
    }
    free(copy);
}

/* Each beginning wants more, the whole is taken, and what follows it left. */
static void assert_good(const struct good *g)
{
    static const char after[] = "\r\n* \0PROXY\x16";
    char bytes[1024];

    for (size_t n = 0; n < g->header.n; n++)
        assert_parse(slice_sub(g->header, 0, n), PROXY_MORE, 0, g->told);
    assert_parse(g->header, PROXY_OK, g->header.n, g->told);
    assert_in_range(g->header.n, 1, sizeof bytes - sizeof after);
    memcpy(bytes, g->header.p, g->header.n);
    for (size_t n = 1; n <= sizeof after; n++) {
        memcpy(bytes + g->header.n, after, n);
        assert_parse(slice_of(bytes, g->header.n + n), PROXY_OK, g->header.n, g->told);
    }
}

/* Refused as soon as it can be known, and in the same words however much is there. */
static void assert_bad(const struct bad *b)
{
    size_t at = b->at ? b->at : b->bytes.n;
    struct proxy_info info;
    struct err err, first = {0};
    size_t used;
    char *copy;

    for (size_t n = 0; n <= b->bytes.n; n++) {
        enum proxy_result result = parse(slice_sub(b->bytes, 0, n), &info, &used, &err, &copy);

        free(copy);
        if (result != (n < at ? PROXY_MORE : PROXY_BAD))
            print_error("after %zu of %zu bytes; expected words: %s\n", n, b->bytes.n, b->words);
        assert_int_equal(result, n < at ? PROXY_MORE : PROXY_BAD);
        if (n == at)
            first = err;
        if (n >= at)
            assert_string_equal(err.text, first.text);
    }
    if (!strstr(first.text, b->words))
        print_error("\"%s\" has no \"%s\"\n", first.text, b->words);
    assert_non_null(strstr(first.text, b->words));
}

#define FOR_ALL(check, table)                                              \
    do {                                                                   \
        for (size_t i_ = 0; i_ < sizeof(table) / sizeof((table)[0]); i_++) \
            check(&(table)[i_]);                                           \
    } while (0)

static struct addr addr(const char *ip, uint16_t port)
{
    struct addr a = {0};

    if (*ip)
        assert_true(addr_parse_ip(slice_str(ip), port, &a));
    return a;
}

/* A header of version 2 with one TLV of `n` bytes 'x', in `to`. */
static struct slice header_with(unsigned char type, size_t n, char *to)
{
    static const char start[] = SIG "\x21\x11\0\0" ENDS4;
    size_t length = sizeof start - 1 - 16 + 3 + n;
    char *p = to + sizeof start - 1;

    memcpy(to, start, sizeof start - 1);
    to[14] = (char)(length >> 8);
    to[15] = (char)(length & 0xff);
    *p++ = (char)type;
    *p++ = (char)(n >> 8);
    *p++ = (char)(n & 0xff);
    memset(p, 'x', n);
    return slice_of(to, 16 + length);
}

/* ---- Reading ---- */

static void test_version_1_headers_are_read_however_they_are_cut(void **state)
{
    (void)state;
    FOR_ALL(assert_good, good_v1);
}

static void test_version_2_headers_are_read_however_they_are_cut(void **state)
{
    (void)state;
    FOR_ALL(assert_good, good_v2);
}

static void test_what_haproxy_and_nginx_sent_is_read(void **state)
{
    (void)state;
    FOR_ALL(assert_good, captured);
}

static void test_strangers_and_broken_version_1_headers_are_refused_at_once(void **state)
{
    (void)state;
    FOR_ALL(assert_bad, bad_v1);
}

static void test_broken_version_2_headers_are_refused_at_once(void **state)
{
    (void)state;
    FOR_ALL(assert_bad, bad_v2);
}

static void test_line_of_107_bytes_is_taken_and_one_of_108_is_not(void **state)
{
    char line[PROXY_V1_MOST + 2];
    struct bad bad;

    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + PROXY_V1_MOST - 2, "\r\n", 2);
    assert_good(&(struct good){slice_of(line, PROXY_V1_MOST), "- > -"});

    memcpy(line + PROXY_V1_MOST - 2, "x\r\n", 3);
    bad = (struct bad){slice_of(line, PROXY_V1_MOST + 1), PROXY_V1_MOST, "no CRLF within 107"};
    assert_bad(&bad);
    line[PROXY_V1_MOST - 1] = 'x';
    assert_bad(&bad);
    line[PROXY_V1_MOST - 1] = '\n';
    bad.words = "LF without CR";
    assert_bad(&bad);
}

static void test_header_may_have_4096_bytes(void **state)
{
    char bytes[PROXY_MOST];
    struct slice header = header_with(0xea, PROXY_MOST - 16 - 12 - 3, bytes);

    (void)state;
    assert_int_equal(header.n, PROXY_MOST);
    assert_parse(slice_sub(header, 0, PROXY_MOST - 1), PROXY_MORE, 0, TOLD4);
    assert_parse(header, PROXY_OK, PROXY_MOST, TOLD4);
}

static void test_texts_have_ceilings(void **state)
{
    static const struct {
        unsigned char type;
        size_t most;
        const char *words;
    } rows[] = {
        {0x01, PROXY_TEXT, "TLV 0x01 of 257 bytes; at most 256"},
        {0x02, PROXY_TEXT, "TLV 0x02 of 257 bytes; at most 256"},
        {0x05, PROXY_UNIQUE_ID, "TLV 0x05 of 129 bytes; at most 128"},
    };
    char bytes[1024];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice header = header_with(rows[i].type, rows[i].most, bytes);
        struct proxy_info info;
        struct err err;
        size_t used;

        assert_int_equal(proxy_parse(header, &info, &used, &err), PROXY_OK);
        assert_int_equal(info.alpn.n + info.authority.n + info.unique_id.n, rows[i].most);
        header = header_with(rows[i].type, rows[i].most + 1, bytes);
        assert_bad(&(struct bad){header, 0, rows[i].words});
    }
}

static void test_kept_texts_lie_in_the_input(void **state)
{
    struct slice in = captured[sizeof captured / sizeof captured[0] - 1].header;
    struct proxy_info info;
    struct err err;
    size_t used;

    (void)state;
    assert_int_equal(proxy_parse(in, &info, &used, &err), PROXY_OK);
    assert_ptr_equal(info.alpn.p, in.p + 38);
    assert_memory_equal(info.authority.p, "imap.example.org", 16);
    assert_in_range(info.tls_cipher.p - in.p, 16, in.n - info.tls_cipher.n);
}

/* A checksum finds each single bit; only damage that hides it, or makes the header LOCAL or
 * unspecified, can pass. */
static void test_no_flipped_bit_passes_with_a_checksum(void **state)
{
    struct slice in = captured[sizeof captured / sizeof captured[0] - 1].header;
    char bytes[512];
    size_t passed = 0;

    (void)state;
    memcpy(bytes, in.p, in.n);
    for (size_t bit = 0; bit < 8 * in.n; bit++) {
        struct proxy_info info;
        struct err err;
        size_t used;
        char *copy;

        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        if (parse(slice_of(bytes, in.n), &info, &used, &err, &copy) == PROXY_OK) {
            assert_false(info.has_checksum);
            passed++;
        }
        free(copy);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    assert_in_range(passed, 1, 16);
}

static void mutate(const struct good *g)
{
    uint64_t seed = g->header.n;
    char bytes[512];

    for (int round = 0; round < 2000; round++) {
        size_t n = g->header.n;
        struct proxy_info info;
        struct err err;
        size_t used;
        char *copy;

        memcpy(bytes, g->header.p, n);
        for (int changes = 0; changes <= round % 4; changes++) {
            seed = num_mix(seed + 1);
            bytes[seed % n] = (char)(seed >> 32);
        }
        if (seed >> 60 == 0)
            n -= seed >> 40 & 7 & (n - 1);
        if (parse(slice_of(bytes, n), &info, &used, &err, &copy) == PROXY_OK) {
            assert_in_range(used, 15, n);
            assert_true(strlen(told(&info)) > 0);
            assert_int_equal(addr_is_set(&info.source), addr_is_set(&info.destination));
        }
        free(copy);
    }
}

static void test_damaged_headers_do_no_harm(void **state)
{
    (void)state;
    FOR_ALL(mutate, good_v1);
    FOR_ALL(mutate, good_v2);
    FOR_ALL(mutate, captured);
}

/* ---- The checksum ---- */

static void test_crc32c_is_that_of_the_known_vectors(void **state)
{
    char bytes[32];
    uint32_t crc = 0;

    (void)state;
    assert_int_equal(proxy_crc32c(0, SLICE("")), 0);
    assert_int_equal(proxy_crc32c(0, SLICE("123456789")), 0xe3069283);
    /* RFC 3720 appendix B.4 */
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(proxy_crc32c(0, slice_of(bytes, sizeof bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(proxy_crc32c(0, slice_of(bytes, sizeof bytes)), 0x62a8ab43);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    assert_int_equal(proxy_crc32c(0, slice_of(bytes, sizeof bytes)), 0x46dd794e);
    for (size_t i = 0; i < sizeof bytes; i++)
        crc = proxy_crc32c(crc, slice_of(bytes + i, 1));
    assert_int_equal(crc, 0x46dd794e);
}

/* ---- Writing ---- */

static void test_version_1_is_written_for_every_pair_of_addresses(void **state)
{
    static const char most[] = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    static const struct {
        const char *source, *destination, *line, *told;
    } rows[] = {
        {"192.0.2.1", "198.51.100.2", "PROXY TCP4 192.0.2.1 198.51.100.2 50000 993\r\n", TOLD4},
        {"2001:db8::1", "2001:db8::2", "PROXY TCP6 2001:db8::1 2001:db8::2 50000 993\r\n", TOLD6},
        {"192.0.2.1", "2001:db8::2", "PROXY TCP6 ::ffff:c000:201 2001:db8::2 50000 993\r\n",
         "192.0.2.1:50000 > [2001:db8::2]:993"},
        {"2001:db8::1", "10.0.0.1", "PROXY TCP6 2001:db8::1 ::ffff:a00:1 50000 993\r\n",
         "[2001:db8::1]:50000 > 10.0.0.1:993"},
        {"::ffff:10.0.0.1", "::1", "PROXY TCP6 ::ffff:a00:1 ::1 50000 993\r\n",
         "10.0.0.1:50000 > [::1]:993"},
        {"192.0.2.1", "", "PROXY UNKNOWN\r\n", "- > -"},
        {"", "192.0.2.1", "PROXY UNKNOWN\r\n", "- > -"},
        {"", "", "PROXY UNKNOWN\r\n", "- > -"},
    };
    struct addr longest = addr(most, 65535);
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct addr source = addr(rows[i].source, 50000), to = addr(rows[i].destination, 993);

        if (!*rows[i].source)
            memset(&source, 0, sizeof source);
        buf_init(&out, strlen(rows[i].line) - 1, false);
        assert_int_equal(proxy_write_v1(&out, &source, &to), -1);
        assert_int_equal(buf_len(&out), 0);
        buf_release(&out);
        buf_init(&out, strlen(rows[i].line), false);
        assert_int_equal(proxy_write_v1(&out, &source, &to), 0);
        assert_true(slice_eq(buf_slice(&out), slice_str(rows[i].line)));
        assert_good(&(struct good){buf_slice(&out), rows[i].told});
        buf_release(&out);
    }
    buf_init(&out, PROXY_V1_MOST, false);
    assert_int_equal(proxy_write_v1(&out, &longest, &longest), 0);
    assert_int_equal(buf_len(&out), 104);
    buf_release(&out);
}

/* A scope is a matter of this machine alone. */
static void test_scope_of_an_address_is_not_written(void **state)
{
    struct addr a = addr("fe80::1", 1);
    struct proxy_info info = {0};
    struct buf out;

    (void)state;
    a.in6.sin6_scope_id = 2;
    buf_init(&out, 256, false);
    assert_int_equal(proxy_write_v1(&out, &a, &a), 0);
    assert_good(&(struct good){buf_slice(&out), "[fe80::1]:1 > [fe80::1]:1"});
    buf_take(&out, buf_len(&out));
    info.source = info.destination = a;
    assert_int_equal(proxy_write_v2(&out, &info), 0);
    assert_good(&(struct good){buf_slice(&out), "[fe80::1]:1 > [fe80::1]:1"});
    buf_release(&out);
}

static void assert_written(const struct proxy_info *info, const char *expected_told, size_t size)
{
    struct buf out;

    buf_init(&out, size - 1, false);
    assert_int_equal(proxy_write_v2(&out, info), -1);
    assert_int_equal(buf_len(&out), 0);
    buf_release(&out);
    buf_init(&out, size, false);
    assert_int_equal(proxy_write_v2(&out, info), 0);
    assert_int_equal(buf_len(&out), size);
    assert_good(&(struct good){buf_slice(&out), expected_told});
    buf_release(&out);
}

static void test_version_2_is_read_as_it_was_written(void **state)
{
    struct proxy_info info = {.source = addr("192.0.2.1", 50000),
                              .destination = addr("198.51.100.2", 993)};

    (void)state;
    assert_written(&info, TOLD4, 28);
    info.has_checksum = true;
    assert_written(&info, "checksum " TOLD4, 35);
    info.source = addr("2001:db8::1", 50000);
    assert_written(&info, "checksum [2001:db8::1]:50000 > 198.51.100.2:993", 59);
    info.destination = addr("2001:db8::2", 993);
    info.tls_version = SLICE("TLSv1.2"); /* of no meaning without has_tls */
    assert_written(&info, "checksum " TOLD6, 59);
    info.source = addr("192.0.2.1", 50000);
    assert_written(&info, "checksum 192.0.2.1:50000 > [2001:db8::2]:993", 59);

    info.source = addr("2001:db8::1", 50000);
    info.has_checksum = false;
    info.has_tls = true;
    assert_written(&info, TOLD6 " tls version=TLSv1.2", 52 + 8 + 10);
    info.tls_cn = SLICE("ann");
    assert_written(&info, TOLD6 " tls version=TLSv1.2 cn=ann", 52 + 8 + 10 + 6);
    info.is_tls_verified = true;
    info.tls_cipher = SLICE("AES");
    info.alpn = SLICE("imap");
    info.authority = SLICE("mail.test.org");
    info.unique_id = SLICE("7f-1");
    info.has_checksum = true;
    assert_written(&info,
                   "checksum " TOLD6 " alpn=imap authority=mail.test.org id=7f-1 tls verified "
                   "version=TLSv1.2 cn=ann cipher=AES",
                   52 + 7 + 16 + 7 + 8 + 10 + 6 + 6 + 7);
    info.tls_version = info.tls_cn = info.tls_cipher = (struct slice){0};
    assert_written(&info,
                   "checksum " TOLD6 " alpn=imap authority=mail.test.org id=7f-1 tls verified",
                   52 + 7 + 16 + 7 + 8 + 7);

    info.is_local = true;
    assert_written(&info, "local - > -", 16);
    info.is_local = false;
    memset(&info.destination, 0, sizeof info.destination);
    assert_written(&info, "local - > -", 16);
    assert_written(&(struct proxy_info){0}, "local - > -", 16);
}

static void test_texts_of_the_longest_size_are_written_and_longer_ones_left_out(void **state)
{
    char longest[PROXY_TEXT + 1] = {0};
    struct slice text = slice_of(longest, PROXY_TEXT), id = slice_of(longest, PROXY_UNIQUE_ID);
    struct proxy_info info = {.source = addr("2001:db8::1", 50000),
                              .destination = addr("2001:db8::2", 993),
                              .has_tls = true,
                              .has_checksum = true};
    struct proxy_info back;
    struct err err;
    struct buf out;
    size_t used;

    (void)state;
    memset(longest, 'x', sizeof longest);
    info.alpn = info.authority = info.tls_version = info.tls_cn = info.tls_cipher = text;
    info.unique_id = id;
    buf_init(&out, PROXY_MOST, false);
    assert_int_equal(proxy_write_v2(&out, &info), 0);
    assert_int_equal(buf_len(&out), 1493);
    assert_int_equal(proxy_parse(buf_slice(&out), &back, &used, &err), PROXY_OK);
    assert_int_equal(used, 1493);
    assert_true(back.has_checksum);
    assert_true(slice_eq(back.alpn, text) && slice_eq(back.authority, text));
    assert_true(slice_eq(back.tls_version, text) && slice_eq(back.tls_cn, text));
    assert_true(slice_eq(back.tls_cipher, text) && slice_eq(back.unique_id, id));
    buf_release(&out);

    text = slice_of(longest, PROXY_TEXT + 1);
    info.alpn = info.authority = info.tls_version = info.tls_cn = info.tls_cipher = text;
    info.unique_id = slice_of(longest, PROXY_UNIQUE_ID + 1);
    assert_written(&info, "checksum " TOLD6 " tls", 52 + 8 + 7);
}

/* The exact bytes that HAProxy sent for the same facts. */
static void test_version_2_is_written_as_haproxy_does(void **state)
{
    struct slice theirs = captured[7].header;
    struct proxy_info info;
    struct err err;
    struct buf out;
    size_t used;

    (void)state;
    assert_int_equal(proxy_parse(theirs, &info, &used, &err), PROXY_OK);
    buf_init(&out, PROXY_MOST, false);
    assert_int_equal(proxy_write_v2(&out, &info), 0);
    assert_true(slice_eq(buf_slice(&out), theirs));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1_headers_are_read_however_they_are_cut),
        cmocka_unit_test(test_version_2_headers_are_read_however_they_are_cut),
        cmocka_unit_test(test_what_haproxy_and_nginx_sent_is_read),
        cmocka_unit_test(test_strangers_and_broken_version_1_headers_are_refused_at_once),
        cmocka_unit_test(test_broken_version_2_headers_are_refused_at_once),
        cmocka_unit_test(test_line_of_107_bytes_is_taken_and_one_of_108_is_not),
        cmocka_unit_test(test_header_may_have_4096_bytes),
        cmocka_unit_test(test_texts_have_ceilings),
        cmocka_unit_test(test_kept_texts_lie_in_the_input),
        cmocka_unit_test(test_no_flipped_bit_passes_with_a_checksum),
        cmocka_unit_test(test_damaged_headers_do_no_harm),
        cmocka_unit_test(test_crc32c_is_that_of_the_known_vectors),
        cmocka_unit_test(test_version_1_is_written_for_every_pair_of_addresses),
        cmocka_unit_test(test_scope_of_an_address_is_not_written),
        cmocka_unit_test(test_version_2_is_read_as_it_was_written),
        cmocka_unit_test(test_texts_of_the_longest_size_are_written_and_longer_ones_left_out),
        cmocka_unit_test(test_version_2_is_written_as_haproxy_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
