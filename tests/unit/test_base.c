/* The small things of base/: numbers, base 64, UTF-8, addresses, slices, buffers, errors. */
#include "base/addr.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/room.h"
#include "base/utf8.h"

#include "cm.h"
#include "no_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_number_takes_digits_up_to_its_limit_only(void **state)
{
    static const char *const bad[] = {"",   "-1",  "+1",  " 1",
                                      "1 ", "0x1", "256", "99999999999999999999999"};
    uint64_t v = 7;

    (void)state;
    assert_true(num_parse(SLICE("255"), 255, &v));
    assert_int_equal(v, 255);
    assert_true(num_parse(SLICE("0000"), 255, &v));
    assert_int_equal(v, 0);
    assert_true(num_parse(SLICE("18446744073709551615"), UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    assert_false(num_parse(SLICE("18446744073709551616"), UINT64_MAX, &v));
    assert_false(num_parse(SLICE("9"), 5, &v));
    assert_true(num_parse(SLICE("5"), 5, &v));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        v = 7;
        assert_false(num_parse(slice_str(bad[i]), 255, &v));
        assert_int_equal(v, 7);
    }
}

static void test_base64_agrees_with_rfc_4648_both_ways(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct slice plain = slice_str(pairs[i][0]), coded = slice_str(pairs[i][1]);
        char out[32];

        assert_int_equal(BASE64_LEN(plain.n), coded.n);
        base64_encode(plain, out);
        assert_memory_equal(out, coded.p, coded.n);
        assert_int_equal(base64_decode(coded, out), plain.n);
        assert_memory_equal(out, plain.p, plain.n);
    }
}

static void test_base64_refuses_what_is_not_canonical(void **state)
{
    static const char *const bad[] = {"Z",    "Zg",    "Zg=",  "Zg==\n",  "Zg= =",
                                      "Zh==", "Zm9=",  "====", "=Zg=",    "Zg=a",
                                      "Z===", "Zm9v ", "Zm-_", "Zg==Zg=="};
    char out[32];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(base64_decode(slice_str(bad[i]), out), -1);
}

static void test_base64_carries_all_bytes_at_all_lengths(void **state)
{
    char in[256], coded[BASE64_LEN(256)], out[256];

    (void)state;
    for (int i = 0; i < 256; i++)
        in[i] = (char)(i * 7);
    for (size_t n = 0; n <= sizeof in; n++) {
        base64_encode(slice_of(in, n), coded);
        assert_int_equal(base64_decode(slice_of(coded, BASE64_LEN(n)), out), n);
        assert_memory_equal(in, out, n);
    }
}

static void test_utf8_takes_well_formed_characters_only(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {{"a", 1},
                {"\xc2\x80", 2},
                {"\xdf\xbf", 2},
                {"\xe0\xa0\x80", 3},
                {"\xed\x9f\xbf", 3},
                {"\xef\xbf\xbf", 3},
                {"\xf0\x90\x80\x80", 4},
                {"\xf4\x8f\xbf\xbf", 4},
                /* overlong, surrogate, too large, cut off, stray */
                {"\xc0\x80", 0},
                {"\xc1\xbf", 0},
                {"\xe0\x9f\xbf", 0},
                {"\xed\xa0\x80", 0},
                {"\xf0\x8f\xbf\xbf", 0},
                {"\xf4\x90\x80\x80", 0},
                {"\xf5\x80\x80\x80", 0},
                {"\xc2", 0},
                {"\xe2\x82", 0},
                {"\xe2\x82\x41", 0},
                {"\x80", 0},
                {"", 0}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(utf8_char(slice_str(rows[i].bytes)), rows[i].n);
}

static void test_address_is_split_and_mistakes_are_named(void **state)
{
    struct slice host;
    uint16_t port;
    struct err err;

    (void)state;
    assert_int_equal(addr_split(SLICE("mail2.internal:10143"), &host, &port, &err), 0);
    assert_true(slice_eq(host, SLICE("mail2.internal")));
    assert_int_equal(port, 10143);
    assert_int_equal(addr_split(SLICE("[2001:db8::1]:143"), &host, &port, &err), 0);
    assert_true(slice_eq(host, SLICE("2001:db8::1")));
    assert_int_equal(addr_split(SLICE("*:0"), &host, &port, &err), 0);
    assert_int_equal(port, 0);
    assert_int_equal(addr_split(SLICE("mail2"), &host, &port, &err), -1);
    assert_non_null(strstr(err.text, "no port"));
    assert_int_equal(addr_split(SLICE("mail2:65536"), &host, &port, &err), -1);
    assert_non_null(strstr(err.text, "65536"));
    assert_int_equal(addr_split(SLICE("2001:db8::1:143"), &host, &port, &err), -1);
    assert_non_null(strstr(err.text, "brackets"));
    assert_int_equal(addr_split(SLICE(":143"), &host, &port, &err), -1);
    assert_int_equal(addr_split(SLICE("host:"), &host, &port, &err), -1);
}

static void test_address_is_printed_as_it_is_written(void **state)
{
    static const char *const texts[][2] = {{"192.0.2.1", "192.0.2.1:143"},
                                           {"2001:db8::1", "[2001:db8::1]:143"}};
    char out[ADDR_TEXT];
    struct addr a;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_true(addr_parse_ip(slice_str(texts[i][0]), 143, &a));
        assert_int_equal(addr_port(&a), 143);
        assert_string_equal(addr_format(&a, out), texts[i][1]);
    }
    memset(&a, 0, sizeof a);
    assert_string_equal(addr_format(&a, out), "-");
    assert_false(addr_parse_ip(SLICE("mail"), 143, &a));
    assert_false(addr_parse_ip(slice_of("1.2.3.4\0", 8), 143, &a));
    assert_false(addr_parse_ip(SLICE("1.2.3"), 143, &a));
}

static void test_mapped_address_counts_as_ipv4(void **state)
{
    struct sockaddr_storage ss = {0};
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
    char out[ADDR_TEXT];
    struct addr a;

    (void)state;
    assert_true(addr_parse_ip(SLICE("::ffff:192.0.2.7"), 993, &a));
    *in6 = a.in6;
    a = addr_from_sockaddr(&ss);
    assert_string_equal(addr_format(&a, out), "192.0.2.7:993");
    ss.ss_family = AF_UNIX;
    a = addr_from_sockaddr(&ss);
    assert_false(addr_is_set(&a));
}

static void test_networks_hold_the_addresses_that_share_their_bits(void **state)
{
    static const struct {
        const char *net, *in, *out;
    } rows[] = {
        {"192.0.2.0/24", "192.0.2.255", "192.0.3.0"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
        {"10.0.0.0/9", "10.127.255.255", "10.128.0.0"},
        {"0.0.0.0/0", "255.255.255.255", "::1"},
        {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
        {"::/0", "2001:db8::1", "192.0.2.1"},
        {"::1/128", "::1", "::2"},
    };
    static const char *const bad[] = {
        "", "/8", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "::/129", "mail", "1.2.3/8"};
    struct addr_net net;
    struct addr a;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(addr_net_parse(slice_str(rows[i].net), &net, &err), 0);
        assert_true(addr_parse_ip(slice_str(rows[i].in), 143, &a));
        assert_true(addr_in_net(&a, &net));
        assert_true(addr_parse_ip(slice_str(rows[i].out), 143, &a));
        assert_false(addr_in_net(&a, &net));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(addr_net_parse(slice_str(bad[i]), &net, &err), -1);
}

static void test_slices_compare_and_cut(void **state)
{
    (void)state;
    assert_true(slice_ieq(SLICE("LOGIN"), SLICE("login")));
    assert_false(slice_ieq(SLICE("LOGIN"), SLICE("logi")));
    assert_true(slice_istarts(SLICE("AUTH=PLAIN"), SLICE("auth=")));
    assert_false(slice_istarts(SLICE("AU"), SLICE("auth=")));
    assert_true(slice_eq_secret(SLICE("a\0b"), slice_of("a\0b", 3)));
    assert_false(slice_eq_secret(SLICE("abc"), SLICE("abd")));
    assert_false(slice_eq_secret(SLICE("abc"), SLICE("ab")));
    assert_true(slice_eq(slice_of(NULL, 0), SLICE("")));
    assert_true(slice_eq(slice_sub(SLICE("hello"), 1, 3), SLICE("el")));
    assert_int_equal(slice_sub(SLICE("hello"), 9, 20).n, 0);
    assert_int_equal(slice_sub(SLICE("hello"), 3, 1).n, 0);
}

static void test_buffer_never_holds_more_than_its_ceiling(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000, false);
    assert_int_equal(b.cap, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_put(&b, SLICE("0123456789")), 0);
    assert_int_equal(buf_put(&b, SLICE("x")), -1);
    assert_int_equal(buf_len(&b), 1000);
    assert_int_equal(buf_left(&b), 0);
    buf_take(&b, 15);
    assert_int_equal(buf_left(&b), 15);
    assert_int_equal(buf_put(&b, SLICE("abcdefghijklmno")), 0);
    assert_memory_equal(buf_slice(&b).p, "56789", 5);
    assert_memory_equal(buf_slice(&b).p + 985, "abcdefghijklmno", 15);
    assert_true(b.cap <= 1000);
    buf_release(&b);
    assert_null(b.p);
}

static void test_buffer_prints_and_is_empty_when_all_is_taken(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 64, true);
    assert_int_equal(buf_printf(&b, "%s %d", "tag", 42), 0);
    assert_int_equal(buf_printf(&b, "%0100d", 1), -1);
    assert_true(slice_eq(buf_slice(&b), SLICE("tag 42")));
    buf_take(&b, 4);
    /* What was taken from a secret buffer is not there any more. */
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(b.p[i], 0);
    buf_take(&b, 2);
    assert_int_equal(b.r, 0);
    assert_int_equal(b.w, 0);
    buf_release(&b);
}

static void test_buffer_gives_all_the_room_that_it_has(void **state)
{
    struct buf b;
    size_t n;

    (void)state;
    buf_init(&b, 1000, false);
    assert_non_null(buf_room_some(&b, 100, &n));
    assert_int_equal(n, b.cap);
    buf_added(&b, n);
    assert_non_null(buf_room_some(&b, 900, &n));
    assert_int_equal(n, 1000 - buf_len(&b));
    buf_added(&b, n);
    buf_take(&b, 700);
    /* The ceiling is lowered: what lies there may stay, but no more may come than it allows. */
    b.max = 400;
    assert_non_null(buf_room_some(&b, 1, &n));
    assert_int_equal(n, 100);
    buf_release(&b);
}

static void test_an_array_has_room_for_one_more_and_keeps_what_it_holds(void **state)
{
    size_t cap = 0, moves = 0;
    uint32_t *all = NULL;

    (void)state;
    for (uint32_t n = 0; n < 1000; n++) {
        size_t before = cap;
        uint32_t *more = room_for_one(all, n, &cap, sizeof *more);

        assert_non_null(more);
        assert_true(n < cap);
        assert_true(before > n ? cap == before && more == all : cap >= 2 * before);
        moves += cap != before;
        all = more;
        all[n] = n * 7;
    }
    for (uint32_t n = 0; n < 1000; n++)
        assert_int_equal(all[n], n * 7);
    assert_true(moves < 10);
    free(all);
}

static void test_an_array_that_finds_no_room_is_as_it_was(void **state)
{
    size_t cap = 1;
    char *all = malloc(1);

    (void)state;
    assert_non_null(all);
    all[0] = 'x';
    memory.fails_at = 1;
    memory.is_on = true;
    assert_null(room_for_one(all, 1, &cap, 1));
    memory.is_on = false;
    assert_int_equal(cap, 1);
    assert_int_equal(all[0], 'x');
    free(all);
}

static void test_errors_gather_prefix_and_system_words(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(err_sys(&err, ENOENT, "cannot open %s", "x"), -1);
    assert_string_equal(err.text, "cannot open x: No such file or directory");
    assert_int_equal(err.code, ENOENT);
    assert_int_equal(err_prefix(&err, "listener %s", "imap"), -1);
    assert_string_equal(err.text, "listener imap: cannot open x: No such file or directory");
    assert_int_equal(err_set(NULL, 0, "nobody asks"), -1);
}

static void test_stable_hash_is_sha_256(void **state)
{
    /* SHA-256 of "abc" begins with ba7816bf 8f01cfea 414140de 5dae2223 (FIPS 180-2, B.1). */
    struct hash128 h = hash_stable(SLICE("abc"));

    (void)state;
    assert_true(h.high == 0xba7816bf8f01cfeaU);
    assert_true(h.low == 0x414140de5dae2223U);
    assert_true(hash_key(SLICE("abc")) == hash_key(SLICE("abc")));
    assert_true(hash_key(SLICE("abc")) != hash_key(SLICE("abd")));
    assert_true(hash_key(SLICE("abc")) != h.high);
}

static struct addr addr_of(const char *ip, uint16_t port)
{
    struct addr a = {0};

    assert_true(addr_parse_ip(slice_str(ip), port, &a));
    return a;
}

static void test_addresses_are_equal_by_family_ip_port_and_scope(void **state)
{
    const struct addr none = {.sa = {.sa_family = AF_UNSPEC}};
    const struct addr all[] = {none,
                               addr_of("192.0.2.1", 143),
                               addr_of("192.0.2.1", 993),
                               addr_of("192.0.2.2", 143),
                               addr_of("2001:db8::1", 143),
                               addr_of("2001:db8::1", 993),
                               addr_of("fe80::1", 143)};
    struct addr scoped = all[6];

    (void)state;
    for (size_t i = 0; i < 7; i++)
        for (size_t k = 0; k < 7; k++)
            assert_int_equal(addr_equals(&all[i], &all[k]), i == k);
    scoped.in6.sin6_scope_id = 2;
    assert_false(addr_equals(&scoped, &all[6]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_takes_digits_up_to_its_limit_only),
        cmocka_unit_test(test_base64_agrees_with_rfc_4648_both_ways),
        cmocka_unit_test(test_base64_refuses_what_is_not_canonical),
        cmocka_unit_test(test_base64_carries_all_bytes_at_all_lengths),
        cmocka_unit_test(test_utf8_takes_well_formed_characters_only),
        cmocka_unit_test(test_address_is_split_and_mistakes_are_named),
        cmocka_unit_test(test_address_is_printed_as_it_is_written),
        cmocka_unit_test(test_mapped_address_counts_as_ipv4),
        cmocka_unit_test(test_networks_hold_the_addresses_that_share_their_bits),
        cmocka_unit_test(test_slices_compare_and_cut),
        cmocka_unit_test(test_buffer_never_holds_more_than_its_ceiling),
        cmocka_unit_test(test_buffer_prints_and_is_empty_when_all_is_taken),
        cmocka_unit_test(test_buffer_gives_all_the_room_that_it_has),
        cmocka_unit_test(test_an_array_has_room_for_one_more_and_keeps_what_it_holds),
        cmocka_unit_test(test_an_array_that_finds_no_room_is_as_it_was),
        cmocka_unit_test(test_errors_gather_prefix_and_system_words),
        cmocka_unit_test(test_stable_hash_is_sha_256),
        cmocka_unit_test(test_addresses_are_equal_by_family_ip_port_and_scope),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
