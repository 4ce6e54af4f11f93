/* Facts: what is read, what is refused and in which words, and what goes between processes. */
#include "directory/facts.h"

#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define YESCRYPT "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC"
#define SHA512   "$6$salt$" /* and 86 characters */

static struct facts parse(const char *text)
{
    struct facts facts;
    struct err err;

    if (facts_parse(slice_str(text), &facts, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return facts;
}

static void expect_slice(struct slice got, const char *expected)
{
    if (!slice_eq(got, slice_str(expected)))
        fail_msg("%.*s is not %s", SLICE_ARG(got), expected);
}

static void test_each_word_is_read(void **state)
{
    const struct facts f = parse("pool=main tag=gold backend_user=ann2 max_sessions=7 "
                                 "password_hash=" YESCRYPT " backend_password=\"a b=c\"");
    const struct facts g = parse("host=Mail2.Internal\tport=10143   tls=implicit disabled=no "
                                 "password_hash=" YESCRYPT " master_user=root master_password=x");

    (void)state;
    expect_slice(f.pool, "main");
    expect_slice(f.tag, "gold");
    expect_slice(f.backend_user, "ann2");
    assert_int_equal(f.max_sessions, 7);
    expect_slice(f.password_hash, YESCRYPT);
    expect_slice(f.backend_password, "a b=c");
    assert_true(f.verifies);
    expect_slice(g.host, "Mail2.Internal");
    assert_int_equal(g.port, 10143);
    assert_int_equal(g.tls, FACTS_TLS_IMPLICIT);
    expect_slice(g.master_user, "root");
    expect_slice(g.master_password, "x");
    expect_slice(parse("backend=mail2").backend, "mail2");
    assert_int_equal(parse("host=h tls=off").tls, FACTS_TLS_OFF);
    assert_int_equal(parse("host=h tls=starttls").tls, FACTS_TLS_STARTTLS);
}

static void test_no_facts_are_facts_too(void **state)
{
    static const struct facts none;
    struct facts f = parse("");

    (void)state;
    assert_memory_equal(&f, &none, sizeof f);
    f = parse(" \t ");
    assert_memory_equal(&f, &none, sizeof f);
}

static void test_disabled_is_yes_no_or_a_text(void **state)
{
    (void)state;
    assert_false(parse("disabled=no").is_disabled);
    assert_false(parse("disabled=No").is_disabled);
    assert_true(parse("disabled=yes").is_disabled);
    assert_int_equal(parse("disabled=YES").disabled_text.n, 0);
    assert_true(parse("disabled=\"Moved away; ask the help desk\"").is_disabled);
    expect_slice(parse("disabled=\"Moved away; ask\"").disabled_text, "Moved away; ask");
    expect_slice(parse("disabled=gone").disabled_text, "gone");
    expect_slice(parse("disabled=\"umgezogen nach K\xc3\xb6ln\"").disabled_text,
                 "umgezogen nach K\xc3\xb6ln");
}

static void test_brackets_of_a_host_are_taken_off(void **state)
{
    (void)state;
    expect_slice(parse("host=[2001:db8::1] port=143").host, "2001:db8::1");
    expect_slice(parse("host=2001:db8::1").host, "2001:db8::1");
}

static void test_hashes_of_all_kinds_are_taken(void **state)
{
    (void)state;
    parse("password_hash=$6$salt$abc/DEF.");
    parse("password_hash=$2b$12$abcdefghijklmnopqrstuv");
    parse("password_hash=abJnggxhB/yWI");
    parse("password_hash=_J9..abcdabcdabcdabc");
}

static void test_each_mistake_has_its_words(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"pool", "pool has no value; write pool=..."},
        {"pool =main", "pool has no value"},
        {"pool= main", "the value of pool is empty"},
        {"pool=\"\"", "the value of pool is empty"},
        {"main", "word 1 has no value; write one as in pool=main"},
        {"pool=a b", "word 2 has no value"},
        {"=x", "unknown word \"\""},
        {"poool=main", "unknown word \"poool\"; did you mean pool?"},
        {"Pool=main", "unknown word \"Pool\"; did you mean pool?"},
        {"shoesize=7", "unknown word \"shoesize\""},
        {"pool:main=", "unknown word \"pool...\"; did you mean pool?"},
        {"donaudampfschiffahrtsgesellschaft=7", "unknown word \"donaudampfschiffahrt...\""},
        {"verify=yes", "verify has no place here"},
        {"pool=a tag=b pool=a", "pool stands twice"},
        {"disabled=no disabled=no", "disabled stands twice"},
        {"disabled=\"gone", "the value of disabled lacks its second '\"'"},
        {"disabled=\"a\"b\"", "the value of disabled has a '\"' in it"},
        {"disabled=a\"b", "the value of disabled has a '\"' in it"},
        {"disabled=\"a\tb\"", "the value of disabled has a control character in it"},
        {"disabled=a\rb", "the value of disabled has a control character in it"},
        {"disabled=a\x7f", "the value of disabled has a control character in it"},
        {"disabled=[ALERT]", "disabled=[ALERT] is not yes, no, or a text that does not begin"},
        {"disabled=False", "disabled=False is not yes, no, or a text"},
        {"disabled=0", "disabled=0 is not yes, no, or a text"},
        {"disabled=\xff", "disabled=? is not yes, no, or a text"},
        {"pool=-a", "pool=-a is not the name of a pool"},
        {"pool=a/b", "pool=a/b is not the name of a pool"},
        {"tag=\"a b\"", "tag=a?b is not a tag"},
        {"backend=a:1", "backend=a:1 is not the name of a backend"},
        {"host=a/b", "host=a/b is not the name or address of a host"},
        {"host=[::1", "host=[::1 is not the name or address of a host"},
        {"host=[]", "host=[] is not the name or address of a host"},
        {"host=h port=0", "port=0 is not a port from 1 to 65535"},
        {"host=h port=65536", "port=65536 is not a port from 1 to 65535"},
        {"host=h port=143x", "port=143x is not a port from 1 to 65535"},
        {"host=h port=+143", "port=+143 is not a port from 1 to 65535"},
        {"host=h port=99999999999999999999", "is not a port from 1 to 65535"},
        {"host=h tls=on", "tls=on is not off, starttls or implicit"},
        {"max_sessions=0", "max_sessions=0 is not a number from 1 to 1000000"},
        {"max_sessions=1000001", "is not a number from 1 to 1000000"},
        {"max_sessions=-1", "is not a number from 1 to 1000000"},
        {"backend=b host=h", "backend and host say the same"},
        {"port=143", "port needs a host"},
        {"tls=off", "tls needs a host"},
        {"password_hash=" SHA512 "x master_user=u", "master_user needs master_password"},
        {"password_hash=" SHA512 "x master_password=p", "master_password needs master_user"},
        {"password_hash=" SHA512 "x master_password=p master_user=u backend_password=q",
         "backend_password and master_user exclude each other"},
        {"backend_password=p", "backend_password needs password_hash"},
        {"master_user=u master_password=p", "master_user needs password_hash"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct facts untouched = {.port = 77};
        struct err err = {0};

        if (facts_parse(slice_str(rows[i].text), &untouched, &err) == 0)
            fail_msg("%s is taken", rows[i].text);
        if (!strstr(err.text, rows[i].words))
            fail_msg("%s: %s", rows[i].text, err.text);
        assert_int_equal(untouched.port, 77);
    }
}

/* However a secret is miswritten, no part of it comes into the words. */
static void test_words_about_a_mistake_show_no_secret(void **state)
{
    static const char *const texts[] = {
        "password_hash=sesam",
        "password_hash=sesam sesam",
        "password_hash=$sesam",
        "password_hash=\"$6$sesam$sesam sesam\"",
        "password_hash=" SHA512 "x backend_password=my sesam",
        "password_hash=" SHA512 "x backend_password=my sesam=x",
        "password_hash=" SHA512 "x backend_password=my sesam=sesam",
        "password_hash=" SHA512 "x backend_password=\"my sesam",
        "password_hash=" SHA512 "x backend_password=my\"sesam",
        "password_hash=" SHA512 "x backend_password=\"my\"sesam\"",
        "password_hash=" SHA512 "x backend_password=sesam backend_password=sesam",
        "password_hash=" SHA512 "x master_user=u master_password=my sesam",
        "password_hash=" SHA512 "x master_user=sesam\x01 master_password=x",
        "disabled=\"[gone backend_password=sesam\"",
        "backend_password=sesam",
        "bakcend_password=sesam",
        "bakcend_password=\"my sesam",
        "password_hash=" SHA512 "x backend_password=a\x01sesam",
        "sesam",
        "pool=a sesam",
        "backend_password:sesam",
        "backend_password sesam",
        "backend_pasword:sesam=",
        "{PLAIN}sesam",
        "{SSHA}sesam==",
        "pool=a:sesam=x",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct facts facts;
        struct err err;

        assert_int_equal(facts_parse(slice_str(texts[i]), &facts, &err), -1);
        if (strstr(err.text, "sesam"))
            fail_msg("%s: %s", texts[i], err.text);
    }
}

static void test_a_text_has_a_longest_length(void **state)
{
    char text[FACTS_MAX + 1];
    struct facts facts;
    struct err err;

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "disabled=", 9);
    assert_int_equal(facts_parse(slice_of(text, FACTS_MAX), &facts, &err), 0);
    assert_int_equal(facts.disabled_text.n, FACTS_MAX - 9);
    assert_int_equal(facts_parse(slice_of(text, FACTS_MAX + 1), &facts, &err), -1);
    assert_non_null(strstr(err.text, "more than 1024 bytes"));
}

static void expect_written(const char *text, const char *expected)
{
    const struct facts facts = parse(text);
    char out[FACTS_MAX + 16];
    const size_t n = facts_write(&facts, out);
    struct facts again;
    char twice[FACTS_MAX + 16];
    struct err err;

    expect_slice(slice_of(out, n), expected);
    assert_true(n <= strlen(text) + 11);
    if (facts_parse_wire(slice_of(out, n), &again, &err) < 0)
        fail_msg("%.*s: %s", (int)n, out, err.text);
    assert_int_equal(again.verifies, facts.verifies);
    assert_int_equal(facts_write(&again, twice), n);
    assert_memory_equal(twice, out, n);
}

static void test_what_is_written_has_no_secret_and_reads_the_same(void **state)
{
    (void)state;
    expect_written("", "");
    expect_written("max_sessions=007  disabled=\"a b\"   pool=main",
                   "pool=main disabled=\"a b\" max_sessions=7");
    expect_written("tls=starttls port=00143 host=[::1]", "host=::1 port=143 tls=starttls");
    expect_written("disabled=no tag=t", "tag=t");
    expect_written("disabled=YES", "disabled=yes");
    expect_written("backend_user=\"a b\" backend=b", "backend=b backend_user=\"a b\"");
    expect_written("password_hash=" SHA512 "x backend_password=p pool=a", "pool=a verify=yes");
    expect_written("password_hash=" SHA512 "x master_user=u master_password=p", "verify=yes");
    expect_written("password_hash=abJnggxhB/yWI", "verify=yes");
}

static void test_the_longest_text_can_be_written(void **state)
{
    char text[FACTS_MAX], out[FACTS_MAX + 16];
    struct facts facts;
    struct err err;
    size_t n;

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "password_hash=abJnggxhB/yWI disabled=", 37);
    assert_int_equal(facts_parse(slice_of(text, sizeof text), &facts, &err), 0);
    n = facts_write(&facts, out);
    assert_true(n <= sizeof text + 11);
    assert_int_equal(facts_parse_wire(slice_of(out, n), &facts, &err), 0);
    assert_true(facts.verifies);
}

static void test_between_processes_no_secret_is_taken(void **state)
{
    static const char *const secrets[] = {
        "password_hash=abJnggxhB/yWI", "backend_password=p", "verify=yes backend_password=p",
        "verify=yes master_user=u",    "verify=no",          "verify=1"};
    struct facts facts;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        if (facts_parse_wire(slice_str(secrets[i]), &facts, &err) == 0)
            fail_msg("%s is taken", secrets[i]);
    }
    assert_int_equal(facts_parse_wire(SLICE("verify=yes pool=p"), &facts, &err), 0);
    assert_true(facts.verifies);
}

/* Cut at any byte it is taken or refused, and never read beyond. */
static void test_a_text_cut_anywhere_is_read_no_further(void **state)
{
    static const char whole[] =
        "pool=main tag=a backend_user=\"x y\" disabled=\"some text\" max_sessions=12 "
        "password_hash=" SHA512 "abc master_user=m master_password=\"s t\"";

    (void)state;
    for (size_t n = 0; n < sizeof whole; n++) {
        char *text = malloc(n > 0 ? n : 1);
        struct facts facts = {0};
        struct err err;

        memcpy(text, whole, n);
        if (facts_parse(slice_of(text, n), &facts, &err) == 0 && facts.pool.n > 0)
            assert_ptr_equal(facts.pool.p, text + 5);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_word_is_read),
        cmocka_unit_test(test_no_facts_are_facts_too),
        cmocka_unit_test(test_disabled_is_yes_no_or_a_text),
        cmocka_unit_test(test_brackets_of_a_host_are_taken_off),
        cmocka_unit_test(test_hashes_of_all_kinds_are_taken),
        cmocka_unit_test(test_each_mistake_has_its_words),
        cmocka_unit_test(test_words_about_a_mistake_show_no_secret),
        cmocka_unit_test(test_a_text_has_a_longest_length),
        cmocka_unit_test(test_what_is_written_has_no_secret_and_reads_the_same),
        cmocka_unit_test(test_the_longest_text_can_be_written),
        cmocka_unit_test(test_between_processes_no_secret_is_taken),
        cmocka_unit_test(test_a_text_cut_anywhere_is_read_no_further),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
