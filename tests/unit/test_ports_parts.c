/* The pure parts of a look: lines of /proc/net, names of unix sockets, texts for showing. */
#include "cm.h"

#include "ports/look_parts.h"
#include "ports/paths.h"

#include <stdio.h>
#include <string.h>

/* --- /proc/net -------------------------------------------------------------------------------- */

/* The kernel writes 32 bits of an address as a number of the machine. */
static const char *word(const char *bytes)
{
    static char text[4][16];
    static unsigned turn;
    uint32_t number;

    memcpy(&number, bytes, 4);
    turn = (turn + 1) % 4;
    snprintf(text[turn], sizeof text[turn], "%08X", number);
    return text[turn];
}

static void check(const struct seen_socket *seen, const char *addr, unsigned state, uint32_t queue,
                  uint32_t uid, uint64_t inode)
{
    char text[ADDR_TEXT];

    assert_string_equal(addr_format(&seen->addr, text), addr);
    assert_int_equal(seen->state, state);
    assert_int_equal(seen->queue, queue);
    assert_int_equal(seen->uid, uid);
    assert_int_equal(seen->inode, inode);
}

static void test_line_of_a_tcp_socket(void **state)
{
    struct seen_socket seen;
    char line[256];

    (void)state;
    snprintf(line, sizeof line,
             "   0: %s:008F 00000000:0000 0A 00000000:0000001F 00:00000000 00000000   104        0 "
             "4294967295 1 0000000000000000 100 0 0 10 0",
             word("\x7f\0\0\x01"));
    assert_true(procnet_parse(slice_str(line), AF_INET, &seen));
    check(&seen, "127.0.0.1:143", LOOK_TCP_LISTEN, 31, 104, 4294967295);
}

static void test_line_of_an_ipv6_socket(void **state)
{
    struct seen_socket seen;
    char line[256];

    (void)state;
    snprintf(line, sizeof line,
             " 121: %s%s%s%s:27A3 00000000000000000000000000000000:0000 07 00000000:00000000 "
             "00:00000000 00000000     0        0 7 2 0000000000000000 0",
             word("\x20\x01\x0d\xb8"), word("\0\0\0\0"), word("\0\0\0\0"), word("\0\0\0\x05"));
    assert_true(procnet_parse(slice_str(line), AF_INET6, &seen));
    check(&seen, "[2001:db8::5]:10147", 7, 0, 0, 7);
    assert_false(procnet_parse(slice_str(line), AF_INET, &seen));
    snprintf(line, sizeof line,
             " 121: %s%s%s%s:27A3 00000000000000000000000000000000:0000 0A 00000000:00000000 "
             "00:00000000 00000000     0        0 7 2 0000000000000000 0",
             word("\0\0\0\0"), word("\0\0\0\0"), word("\0\0\xff\xff"), word("\xc0\0\x02\x01"));
    assert_true(procnet_parse(slice_str(line), AF_INET6, &seen));
    check(&seen, "192.0.2.1:10147", LOOK_TCP_LISTEN, 0, 0, 7);
}

static void test_what_is_no_line_of_a_socket(void **state)
{
    static const char *const lines[] = {
        "",
        "   ",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
        "timeout "
        "inode",
        "0: 0100007F:008F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 104 0",
        "0: 0100007F008F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 104 0 1",
        "0: 0100007F:1008F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 104 0 1",
        "0: 100007F:008F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 104 0 1",
        "0: 0100007G:008F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 104 0 1",
        "0: 0100007F:008F 00000000:0000 XX 00000000:00000000 00:00000000 00000000 104 0 1",
        "0: 0100007F:008F 00000000:0000 0A 0000000000000000 00:00000000 00000000 104 0 1",
        "0: 0100007F:008F 00000000:0000 0A 0:100000000 00:00000000 00000000 104 0 1",
        "0: 0100007F:008F 00000000:0000 0A 0:0 00:00000000 00000000 4294967296 0 1",
        "0: 0100007F:008F 00000000:0000 0A 0:0 00:00000000 00000000 104 0 99999999999999999",
        "0: 0100007F:008F 00000000:0000 0A 0:0 00:00000000 00000000 104 0 0x1",
    };
    struct seen_socket seen;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_false(procnet_parse(slice_str(lines[i]), AF_INET, &seen));
}

static void test_line_of_a_unix_socket(void **state)
{
    char name[PROCNET_NAME];
    struct seen_unix seen;

    (void)state;
    assert_true(procnet_parse_unix(SLICE("0000000022e6e3e1: 00000002 00000000 00010000 0001 01 "
                                         "27426 /run/dovecot/login/my imap"),
                                   name, &seen));
    assert_true(slice_eq(seen.name, SLICE("/run/dovecot/login/my imap")));
    assert_int_equal(seen.inode, 27426);
    assert_int_equal(seen.uid, UINT32_MAX);
    assert_true(procnet_parse_unix(
        SLICE("0000000022e6e3e1: 00000002 00000000 00010000 0001 01     9 @imap@x"), name, &seen));
    assert_true(slice_eq(seen.name, SLICE("\0imap@x")));
}

static void test_what_is_no_line_of_a_listening_unix_socket(void **state)
{
    static const char *const lines[] = {
        "",
        "Num       RefCount Protocol Flags    Type St Inode Path",
        /* Not listening, of datagrams, without a name. */
        "0000000022e6e3e1: 00000003 00000000 00000000 0001 03 27426 /run/imap",
        "0000000022e6e3e1: 00000002 00000000 00010000 0002 01 27426 /run/imap",
        "0000000022e6e3e1: 00000002 00000000 00010000 0001 01 27426",
        "0000000022e6e3e1: 00000002 00000000 00010000 0001 01 27426 ",
        "0000000022e6e3e1: 00000002 00000000 00010000 0001 01 x /run/imap",
    };
    char name[PROCNET_NAME], longer[600];
    struct seen_unix seen;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_false(procnet_parse_unix(slice_str(lines[i]), name, &seen));
    snprintf(longer, sizeof longer,
             "0000000022e6e3e1: 00000002 00000000 00010000 0001 01 27426 /imap/%0400d", 7);
    assert_false(procnet_parse_unix(slice_str(longer), name, &seen));
}

/* --- names of unix sockets -------------------------------------------------------------------- */

static void test_names_that_look_like_an_imap_servers(void **state)
{
    static const struct slice names[] = {
        SLICE("/run/dovecot/login/imap"),
        SLICE("/var/run/dovecot/imap-hibernate"),
        SLICE("/run/dovecot/login/login"),
        SLICE("/run/dovecot-backend/token-login/imap-urlauth"),
        SLICE("/run/cyrus/socket/imap"),
        SLICE("/run/cyrus/socket/lmtp"),
        SLICE("/srv/uw.IMAPd.sock"),
        SLICE("/srv/imapproxy/control"),
        SLICE("/srv/x_imap"),
        SLICE("imap"),
        SLICE("\0imap"),
        SLICE("\0login/imap\0more"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!path_is_imap(names[i]))
            fail_msg("%.*s", SLICE_ARG(names[i]));
    }
}

static void test_names_that_do_not(void **state)
{
    static const struct slice names[] = {
        SLICE(""),
        SLICE("\0"),
        SLICE("/"),
        SLICE("//"),
        SLICE("ima"),
        SLICE("/tmp/minimap"),
        SLICE("/run/dovecot/auth-client"),
        SLICE("/run/dovecot/login"),
        SLICE("/run/dovecot/login/deeper/x"),
        SLICE("/run/other/login/x"),
        SLICE("login/x"),
        SLICE("/run/cyrus/idle"),
        SLICE("/run/systemd/private"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (path_is_imap(names[i]))
            fail_msg("%.*s", SLICE_ARG(names[i]));
    }
}

/* --- texts ------------------------------------------------------------------------------------ */

static struct look_draft *draft;

static int begin_draft(void **state)
{
    (void)state;
    draft = draft_new();
    return draft ? 0 : -1;
}

static int end_draft(void **state)
{
    struct look *look = &draft->look;

    (void)state;
    look_free(&look);
    return 0;
}

static void test_texts_are_made_fit_for_showing(void **state)
{
    static const struct {
        struct slice bytes;
        const char *shown;
    } rows[] = {
        {SLICE(""), ""},
        {SLICE("dovecot"), "dovecot"},
        {SLICE("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x93\xab"), "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x93\xab"},
        {SLICE("a\nb\0c\x1b\x7f"), "a\\x0ab\\x00c\\x1b\\x7f"},
        {SLICE("\xc2\x85\xc2\xa0"), "\\xc2\\x85\xc2\xa0"},
        {SLICE("\xff\xc3"), "\\xff\\xc3"},
        {SLICE("back\\x2dslash"), "back\\x2dslash"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(draft_text(draft, rows[i].bytes, TEXT_MOST), rows[i].shown);
}

static void test_long_texts_are_cut_between_characters(void **state)
{
    static const struct {
        struct slice bytes;
        size_t most;
        const char *shown;
    } rows[] = {
        {SLICE("12345678"), 8, "12345678"},
        {SLICE("123456789"), 8, "12345..."},
        {SLICE("1234\xc3\xa4"
               "789"),
         8, "1234..."},
        {SLICE("1234\n"), 8, "1234\\x0a"},
        {SLICE("12345\n"), 8, "12345..."},
        {SLICE("\n\n\n"), 8, "\\x0a..."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(draft_text(draft, rows[i].bytes, rows[i].most), rows[i].shown);
}

static void test_texts_stay_where_they_are(void **state)
{
    enum { MANY = 300 };
    const char *texts[MANY];
    char text[200], big[40000];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "%0150d", i);
        texts[i] = i % 2 ? draft_text(draft, slice_str(text), TEXT_MOST)
                         : draft_copy(draft, slice_str(text));
    }
    memset(big, 'b', sizeof big);
    assert_memory_equal(draft_copy(draft, slice_of(big, sizeof big)), big, sizeof big);
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "%0150d", i);
        assert_string_equal(texts[i], text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_of_a_tcp_socket),
        cmocka_unit_test(test_line_of_an_ipv6_socket),
        cmocka_unit_test(test_what_is_no_line_of_a_socket),
        cmocka_unit_test(test_line_of_a_unix_socket),
        cmocka_unit_test(test_what_is_no_line_of_a_listening_unix_socket),
        cmocka_unit_test(test_names_that_look_like_an_imap_servers),
        cmocka_unit_test(test_names_that_do_not),
        cmocka_unit_test(test_texts_are_made_fit_for_showing),
        cmocka_unit_test(test_long_texts_are_cut_between_characters),
        cmocka_unit_test(test_texts_stay_where_they_are),
    };

    return cmocka_run_group_tests(tests, begin_draft, end_draft);
}
