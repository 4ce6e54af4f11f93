/* The words that name ports: each kind, the edges of each, and what is said of those that are
 * none. */
#include "ports/target.h"

#include "ports/custom.h"
#include "ports/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm.h"

/* ---- Helpers ---- */

/* The machine's own names for all tests. "imaps" has another port here than IANA's. */
static struct services *services;

static int read_services(void **state)
{
    (void)state;
    return services_parse(SLICE("our-imap 10143/tcp our-alias\n"
                                "imaps 994/tcp\n"
                                "odd:name 7/tcp\n"),
                          &services, NULL);
}

static int free_services(void **state)
{
    (void)state;
    services_free(&services);
    return 0;
}

/* Parses a copy that ends where the memory does. What fails leaves the target alone. */
static int parse(struct slice word, struct target *t, struct err *err)
{
    char *copy = malloc(word.n ? word.n : 1);
    struct target before;
    int result;

    assert_non_null(copy);
    memcpy(copy, word.p, word.n);
    memset(t, 0x5a, sizeof *t);
    before = *t;
    err->text[0] = '\0';
    result = target_parse(slice_of(copy, word.n), services, t, err);
    free(copy);
    assert_int_equal(result != 0, err->text[0] != '\0');
    if (result)
        assert_memory_equal(t, &before, sizeof before);
    return result;
}

/* "143", "10000-10100", "HOST 143", "HOST 143 ADDRESS", with " name" for one; else "! " and the
 * error. In the program's own memory, until the next call. */
static const char *told(struct slice word)
{
    static char text[1024];
    char range[32], address[ADDR_TEXT];
    struct target t;
    struct err err;

    if (parse(word, &t, &err)) {
        snprintf(text, sizeof text, "! %s", err.text);
        return text;
    }
    snprintf(range, sizeof range, t.first == t.last ? "%u" : "%u-%u", t.first, t.last);
    snprintf(text, sizeof text, "%s%s%s%s%s%s", t.host, t.host[0] ? " " : "", range,
             addr_is_set(&t.addr) ? " " : "",
             addr_is_set(&t.addr) ? addr_format(&t.addr, address) : "",
             t.is_service ? " name" : "");
    return text;
}

struct row {
    const char *word, *expected;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_string_equal(told(slice_str(rows[i].word)), rows[i].expected);
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof *(rows))

/* ---- What is understood ---- */

static void test_ports_and_ranges(void **state)
{
    static const struct row rows[] = {
        {"143", "143"},         {"1", "1"},
        {"65535", "65535"},     {"10000-10100", "10000-10100"},
        {"1-65535", "1-65535"}, {"993-993", "993"},
    };

    (void)state;
    CHECK(rows);
}

static void test_names_of_services(void **state)
{
    static const struct row rows[] = {
        {"imap", "143 name"},       {"IMAP", "143 name"},
        {"imaps", "993 name"}, /* IANA's comes before the machine's */
        {"sieve", "4190 name"},     {"cl/1", "172 name"},
        {"3com-tsmux", "106 name"}, {"whois++", "63 name"},
        {"z39.50", "210 name"},     {"802-11-iapp", "3517 name"},
        {"our-imap", "10143 name"}, {"our-alias", "10143 name"},
    };

    (void)state;
    CHECK(rows);
}

static void test_a_name_of_several_ports_is_the_lowest_of_tcp(void **state)
{
    static const struct row rows[] = {
        {"http", "80 name"},                                     /* sctp's, as tcp has none */
        {"submissions", "465 name"}, {"igmpv3lite", "465 name"}, /* udp's */
        {"exec", "512 name"},        {"biff", "512 name"},
    };

    (void)state;
    CHECK(rows);
}

static void test_every_custom_name(void **state)
{
    const struct custom_port *custom;
    size_t n = custom_ports(&custom);

    (void)state;
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        struct target t;
        struct err err;

        assert_int_equal(parse(slice_str(custom[i].name), &t, &err), 0);
        assert_int_equal(t.first, custom[i].port);
        assert_true(t.is_service);
    }
}

static void test_addresses_with_ports(void **state)
{
    static const struct row rows[] = {
        {"127.0.0.1:143", "127.0.0.1 143 127.0.0.1:143"},
        {"0.0.0.0:imap", "0.0.0.0 143 0.0.0.0:143 name"},
        {"[::1]:imap", "::1 143 [::1]:143 name"},
        {"[::]:65535", ":: 65535 [::]:65535"},
        {"[2001:DB8::1]:993", "2001:DB8::1 993 [2001:db8::1]:993"},
        {"[::ffff:192.0.2.1]:25", "::ffff:192.0.2.1 25 192.0.2.1:25"},
        {"[fe80::1%2]:25", "fe80::1%2 25 [fe80::1%2]:25"},
        {"[fe80::1%eth0]:25", "fe80::1%eth0 25"},
        {"*:143", "143"},
        {"*:imaps", "993 name"},
    };

    (void)state;
    CHECK(rows);
}

static void test_hosts_with_ports(void **state)
{
    static const struct row rows[] = {
        {"localhost:143", "localhost 143"},
        {"Mail.Example.ORG:imaps", "Mail.Example.ORG 993 name"},
        {"mail.example.org.:993", "mail.example.org. 993"},
        {"my_mail-1:our-imap", "my_mail-1 10143 name"},
        {"xn--mnchen-3ya.example:25", "xn--mnchen-3ya.example 25"},
        {"1and1.example:25", "1and1.example 25"},
    };

    (void)state;
    CHECK(rows);
}

static void test_a_host_may_have_255_characters(void **state)
{
    char word[300];
    struct target t;
    struct err err;

    (void)state;
    memset(word, 'a', sizeof word);
    for (size_t i = 63; i < sizeof word; i += 64)
        word[i] = '.';
    memcpy(word + 255, ":25", 3);
    assert_int_equal(parse(slice_of(word, 258), &t, &err), 0);
    assert_int_equal(strlen(t.host), 255);
    memcpy(word + 256, ":25", 3);
    word[255] = 'a';
    assert_int_equal(parse(slice_of(word, 259), &t, &err), -1);
    assert_non_null(strstr(err.text, "has 256 characters; no name has more than 255"));
    assert_true(strlen(err.text) < 200);
}

static void test_without_services_of_the_machine(void **state)
{
    struct err err = {.code = 0};
    struct target t;

    (void)state;
    assert_int_equal(target_parse(SLICE("imap"), NULL, &t, NULL), 0);
    assert_int_equal(target_parse(SLICE("our-imap"), NULL, &t, &err), -1);
    assert_non_null(strstr(err.text, "no service is called \"our-imap\""));
    assert_int_equal(target_parse(SLICE("our-imap"), NULL, &t, NULL), -1);
}

/* ---- What is refused, and how ---- */

static void test_numbers_that_are_no_ports(void **state)
{
    static const struct row rows[] = {
        {"65536", "! 65536 is too high: ports go to 65535"},
        {"70000", "! 70000 is too high: ports go to 65535"},
        {"99999999999999999999999", "! 99999999999999999999999 is too high: ports go to 65535"},
        {"0", "! 0 is no port: a program that asks the kernel for port 0 gets any that is free; "
              "ports begin with 1"},
        {"0-100", "! 0 is no port: a program that asks the kernel for port 0 gets any that is "
                  "free; ports begin with 1"},
        {"*:0", "! 0 is no port: a program that asks the kernel for port 0 gets any that is free; "
                "ports begin with 1"},
        {"0143", "! \"0143\" has zeros before it; write 143"},
        {"1-0002", "! \"0002\" has zeros before it; write 2"},
        {"-143", "! -143 is negative; ports go from 1 to 65535"},
        {"+143", "! \"+143\" is no port; write its digits alone"},
        {"#143", "! \"#143\" is no port; write its digits alone"},
        {"0x8f", "! \"0x8f\" is no port; write it in decimal digits"},
        {"0X8F", "! \"0X8F\" is no port; write it in decimal digits"},
    };

    (void)state;
    CHECK(rows);
}

static void test_ranges_that_are_none(void **state)
{
    static const struct row rows[] = {
        {"143-10", "! the range 143-10 is the wrong way round; write 10-143"},
        {"143-70000", "! 70000 is too high: ports go to 65535"},
        {"143-", "! \"143-\" is no range; write FIRST-LAST, as in 10000-10100"},
        {"-", "! \"-\" is no range; write FIRST-LAST, as in 10000-10100"},
        {"--", "! \"--\" is no range; write FIRST-LAST, as in 10000-10100"},
        {"1-2-3", "! \"1-2-3\" is no range; write FIRST-LAST, as in 10000-10100"},
        {"1--2", "! \"1--2\" is no range; write FIRST-LAST, as in 10000-10100"},
        {"143:993", "! \"143\" is no host; a range of ports has a hyphen, as in 143-993"},
        {"143\xe2\x80\x93"
         "993",
         "! \"143???993\" is not ASCII; a range has a plain hyphen, as in 143-993, and a name of "
         "other letters its xn-- form"},
        {"*:143-993", "! \"143-993\": behind a host belongs one port, no range"},
        {"143,993", "! \"143,993\" has commas; write a word for each port, blanks between"},
        {"143/tcp", "! \"143/tcp\" has a slash; write the port or service alone"},
    };

    (void)state;
    CHECK(rows);
}

static void test_names_that_nobody_has(void **state)
{
    static const struct row rows[] = {
        {"imasp", "! no service is called \"imasp\"; did you mean \"imap\"?"},
        {"IMAPSS", "! no service is called \"IMAPSS\"; did you mean \"imaps\"?"},
        {"sumbission", "! no service is called \"sumbission\"; did you mean \"submission\"?"},
        {"our-imao", "! no service is called \"our-imao\"; did you mean \"our-imap\"?"},
        {"localhost:imasp", "! no service is called \"imasp\"; did you mean \"imap\"?"},
        {"managesieve-of-ours", "! no service is called \"managesieve-of-ours\"; write PORT, "
                                "FIRST-LAST, SERVICE or HOST:PORT"},
        {"our-Imap-x-y-z", "! no service is called \"our-Imap-x-y-z\"; write PORT, FIRST-LAST, "
                           "SERVICE or HOST:PORT"},
        {"mail.front.example.org",
         "! \"mail.front.example.org\" has no port; write HOST:PORT, as in "
         "mail.front.example.org:143"},
        {"127.0.0.1",
         "! \"127.0.0.1\" is an address without a port; write ADDRESS:PORT, as in 127.0.0.1:143"},
    };

    (void)state;
    CHECK(rows);
}

static void test_hosts_without_port_and_ports_without_host(void **state)
{
    static const struct row rows[] = {
        {"mail:", "! \"mail:\" has no port; write a port or service behind the colon"},
        {"[::1]:", "! \"[::1]:\" has no port; write a port or service behind the colon"},
        {":", "! \":\" has no port; write a port or service behind the colon"},
        {"[::1]", "! \"[::1]\" has no port; write [::1]:143"},
        {":143", "! \":143\" has no host; for all addresses write *:143"},
        {":imap", "! \":imap\" has no host; for all addresses write *:imap"},
    };

    (void)state;
    CHECK(rows);
}

static void test_ipv6_addresses_that_are_written_otherwise(void **state)
{
    static const struct row rows[] = {
        {"::1", "! \"::1\" may be an address alone or one with a port; write [::1]:PORT"},
        {"::1:143", "! \"::1:143\" may be an address alone or one with a port; write "
                    "[::1:143]:PORT"},
        {"::1:imap", "! write the IPv6 address in brackets: [::1]:imap"},
        {"2001:db8:1:2:3:4:5:6:993",
         "! write the IPv6 address in brackets: [2001:db8:1:2:3:4:5:6]:993"},
        {"a:b:c", "! \"a:b:c\" has more than one colon; write HOST:PORT, IPv6 as [::1]:143"},
        {"[::1:143", "! \"[::1:143\" has no closing bracket"},
        {"[::1]143:1", "! \"[::1]143:1\": behind the bracket belong a colon and the port"},
        {"[127.0.0.1]:143", "! \"127.0.0.1\" is no IPv6 address; brackets are for those alone"},
        {"[mail]:143", "! \"mail\" is no IPv6 address; brackets are for those alone"},
        {"[]:143", "! \"\" is no IPv6 address; brackets are for those alone"},
        {"[fe80::1%]:143",
         "! \"fe80::1%\": behind the % belongs the name or number of an interface"},
        {"[fe80::1%a/b]:143",
         "! \"fe80::1%a/b\": behind the % belongs the name or number of an interface"},
        {"[fe80::1%[::1]:143",
         "! \"fe80::1%[::1\": behind the % belongs the name or number of an interface"},
    };

    (void)state;
    CHECK(rows);
}

static void test_hosts_that_are_none(void **state)
{
    static const struct row rows[] = {
        {"300.0.0.1:143", "! \"300.0.0.1\" is no IPv4 address; write four numbers from 0 to 255"},
        {"127.1:143", "! \"127.1\" is no IPv4 address; write four numbers from 0 to 255"},
        {"a..b:143", "! \"a..b\" is no name of a host"},
        {".:143", "! \".\" is no IPv4 address; write four numbers from 0 to 255"},
        {".a:143", "! \".a\" is no name of a host"},
        {"-a:143", "! \"-a\" is no name of a host"},
        {"a.-b:143", "! \"a.-b\" is no name of a host"},
        {"user@mail:143", "! \"user@mail\" is no name of a host"},
        {"**:143", "! \"**\" is no name of a host"},
        {"imap://mail:143", "! \"imap://mail:143\" is a URL; write HOST:PORT"},
        {"imap://mail", "! \"imap://mail\" is a URL; write HOST:PORT"},
        {"a123456789a123456789a123456789a123456789a123456789a123456789abcd:25",
         "! \"a123456789a123456789a123456789a123456789a123456789a123456789abcd\" is no name of a "
         "host"},
    };

    (void)state;
    CHECK(rows);
}

static void test_bytes_that_no_word_has(void **state)
{
    (void)state;
    assert_string_equal(told(SLICE("")), "! an empty word names no port");
    assert_string_equal(told(SLICE(" 143")),
                        "! \" 143\" has a blank in it; write one port or range in a word");
    assert_string_equal(told(SLICE("143\t993")),
                        "! \"143?993\" has a blank in it; write one port or range in a word");
    assert_string_equal(told(SLICE("im\0ap")), "! \"im?ap\" has a control character in it");
    assert_string_equal(told(SLICE("143\n")), "! \"143?\" has a control character in it");
    assert_string_equal(told(SLICE("\033[2Jmail:143")),
                        "! \"?[2Jmail:143\" has a control character in it");
}

static void test_a_long_word_is_shown_cut(void **state)
{
    char word[5000];
    struct target t;
    struct err err;

    (void)state;
    memset(word, 'x', sizeof word);
    assert_int_equal(parse(slice_of(word, sizeof word), &t, &err), -1);
    assert_non_null(strstr(err.text, "xxx...\"; write PORT"));
    memset(word, '1', sizeof word);
    assert_int_equal(parse(slice_of(word, sizeof word), &t, &err), -1);
    assert_non_null(strstr(err.text, "111... is too high"));
    memset(word, ':', sizeof word);
    assert_int_equal(parse(slice_of(word, sizeof word), &t, &err), -1);
    assert_non_null(strstr(err.text, ":::...\" has more than one colon"));
    memset(word, '[', sizeof word);
    word[4999] = ':';
    assert_int_equal(parse(slice_of(word, sizeof word), &t, &err), -1);
    assert_non_null(strstr(err.text, "[[[...\" has no closing bracket"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports_and_ranges),
        cmocka_unit_test(test_names_of_services),
        cmocka_unit_test(test_a_name_of_several_ports_is_the_lowest_of_tcp),
        cmocka_unit_test(test_every_custom_name),
        cmocka_unit_test(test_addresses_with_ports),
        cmocka_unit_test(test_hosts_with_ports),
        cmocka_unit_test(test_a_host_may_have_255_characters),
        cmocka_unit_test(test_without_services_of_the_machine),
        cmocka_unit_test(test_numbers_that_are_no_ports),
        cmocka_unit_test(test_ranges_that_are_none),
        cmocka_unit_test(test_names_that_nobody_has),
        cmocka_unit_test(test_hosts_without_port_and_ports_without_host),
        cmocka_unit_test(test_ipv6_addresses_that_are_written_otherwise),
        cmocka_unit_test(test_hosts_that_are_none),
        cmocka_unit_test(test_bytes_that_no_word_has),
        cmocka_unit_test(test_a_long_word_is_shown_cut),
    };

    return cmocka_run_group_tests_name("ports_target", tests, read_services, free_services);
}
