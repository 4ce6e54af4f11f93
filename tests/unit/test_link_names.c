/* Names of mailboxes over a link (sync/link.h): modified UTF-7, and UTF-8 where the server takes
 * nothing else. */
#include "link_world.h"

static void assert_name(struct world *w, const char *name, const char *wire)
{
    struct buf out;

    buf_init(&out, 256, false);
    assert_int_equal(link_put_name(w->link, slice_str(name), &out), 0);
    assert_int_equal(buf_len(&out), strlen(wire));
    assert_memory_equal(buf_slice(&out).p, wire, strlen(wire));
    buf_release(&out);
}

static void assert_no_name(struct world *w, struct slice name)
{
    struct buf out;

    buf_init(&out, 256, false);
    assert_int_equal(link_put_name(w->link, name, &out), -1);
    buf_release(&out);
}

static void assert_reads(struct world *w, const char *wire, const char *name)
{
    struct buf out;

    buf_init(&out, 256, false);
    assert_int_equal(link_read_name(w->link, slice_str(wire), &out), name != NULL);
    if (name) {
        assert_int_equal(buf_len(&out), strlen(name));
        assert_memory_equal(buf_slice(&out).p, name, strlen(name));
    }
    buf_release(&out);
}

static void test_names_are_modified_utf7(void **state)
{
    static const struct exchange script[] = {COMMON("UTF8=ACCEPT ENABLE"), ELSE("% OK\r\n")};
    struct peer p = {.greeting = HI, .exchanges = script};
    struct world w;

    (void)state;
    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    assert_open(&w);
    assert_false(link_has_utf8(w.link));
    assert_name(&w, "INBOX", "\"INBOX\"");
    assert_name(&w, " a \"b\\c", "\" a \\\"b\\\\c\"");
    assert_name(&w, "Entw\xc3\xbcrfe & mehr", "\"Entw&APw-rfe &- mehr\"");
    assert_no_name(&w, SLICE("a\r\nb"));
    assert_no_name(&w, SLICE("a\nb"));
    assert_no_name(&w, SLICE("a\0b"));
    assert_no_name(&w, SLICE("\xff"));
    assert_reads(&w, "Entw&APw-rfe", "Entw\xc3\xbcrfe");
    assert_reads(&w, "&bad", NULL);
    world_end(&w);
    peer_stop(&p);
    assert_null(strstr(p.heard, "ENABLE"));
}

static void test_names_are_utf8_where_the_server_takes_nothing_else(void **state)
{
    static const struct {
        const char *in;
        bool enables;
    } rows[] = {{"% OK [CAPABILITY IMAP4rev1 ENABLE UTF8=ONLY] In\r\n", true},
                {"% OK [CAPABILITY IMAP4rev2 UTF8=ACCEPT] In\r\n", true},
                {"% OK [CAPABILITY IMAP4rev2] In\r\n", false}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct exchange script[] = {ID_ANSWER,
                                          {"AUTHENTICATE", rows[i].in, false},
                                          BYE_BYE,
                                          ELSE("* ENABLED UTF8=ACCEPT\r\n% OK\r\n")};
        struct peer p = {.greeting = HI, .exchanges = script};
        struct world w;

        peer_start(&p);
        world_begin(&w, &p, LONG_MS);
        assert_open(&w);
        assert_true(link_has_utf8(w.link));
        assert_name(&w, "Entw\xc3\xbcrfe & \"mehr", "\"Entw\xc3\xbcrfe & \\\"mehr\"");
        assert_no_name(&w, SLICE("a\rb"));
        assert_reads(&w, "&\xc3\xbc", "&\xc3\xbc");
        assert_reads(&w, "\xc3", NULL);
        world_end(&w);
        peer_stop(&p);
        assert_int_equal(strstr(p.heard, "ENABLE UTF8=ACCEPT\r\n") != NULL, rows[i].enables);
    }
}

static void test_a_server_that_wants_utf8_and_refuses_it(void **state)
{
    static const struct exchange script[] = {COMMON("UTF8=ONLY"), ELSE("% NO Nobody has it\r\n")};

    (void)state;
    assert_opens_to(&(struct peer){.greeting = HI, .exchanges = script}, SYNC_TLS_OFF, LINK_FOREIGN,
                    "refuses it: Nobody has it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_modified_utf7),
        cmocka_unit_test(test_names_are_utf8_where_the_server_takes_nothing_else),
        cmocka_unit_test(test_a_server_that_wants_utf8_and_refuses_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
