/* Sockets that a service manager passes. */
#include "net/passed.h"

#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { SELF = 4711 };

static void parse(const char *pid, const char *fds, const char *names, struct passed *out_passed)
{
    const struct passed_words words = {pid, fds, names};
    struct err err;

    assert_int_equal(passed_parse(&words, SELF, out_passed, &err), 0);
}

static void forget(struct passed *p)
{
    /* The descriptors are the test's own, whatever they are. */
    for (size_t i = 0; i < p->n; i++)
        p->all[i].fd = -1;
    passed_close(p);
    passed_close(p);
}

static void test_sockets_have_their_names_in_order(void **state)
{
    struct passed p;

    (void)state;
    parse("4711", "3", "imap::usher.socket", &p);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.all[0].fd, 3);
    assert_int_equal(p.all[2].fd, 5);
    assert_string_equal(p.all[0].name, "imap");
    assert_string_equal(p.all[1].name, "");
    assert_string_equal(p.all[2].name, "usher.socket");
    forget(&p);
}

static void test_names_may_be_left_out(void **state)
{
    struct passed p;

    (void)state;
    parse("4711", "2", NULL, &p);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.all[1].name, "");
    forget(&p);
}

static void test_what_is_meant_for_others_is_left_alone(void **state)
{
    struct passed p;

    (void)state;
    parse("4712", "3", "a:b", &p);
    assert_int_equal(p.n, 0);
    parse(NULL, "3", NULL, &p);
    assert_int_equal(p.n, 0);
    parse("4711", NULL, NULL, &p);
    assert_int_equal(p.n, 0);
    parse("4711", "0", "", &p);
    assert_int_equal(p.n, 0);
    forget(&p);
}

static void test_nonsense_is_told(void **state)
{
    static const struct passed_words rows[] = {
        {"4711", "x", NULL},    {"4711", "-1", NULL},     {"4711", "", NULL},
        {"4711", "1025", NULL}, {"", "1", NULL},          {"4711 ", "1", NULL},
        {"4711", "2", "one"},   {"4711", "1", "one:two"}, {"4711", "1", "one:"},
    };
    struct passed p = {NULL, 7};
    char names[PASSED_NAME + 1];
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(passed_parse(&rows[i], SELF, &p, &err), -1);
        assert_non_null(strstr(err.text, "LISTEN_"));
        assert_int_equal(p.n, 7);
    }
    memset(names, 'n', PASSED_NAME);
    names[PASSED_NAME] = '\0';
    assert_int_equal(passed_parse(&(struct passed_words){"4711", "1", names}, SELF, &p, &err), -1);
    names[PASSED_NAME - 1] = '\0';
    parse("4711", "1", names, &p);
    assert_string_equal(p.all[0].name, names);
    forget(&p);
}

static int listening(const char *ip, struct addr *out_addr)
{
    struct err err;
    int fd;

    assert_true(addr_parse_ip(slice_str(ip), 0, out_addr));
    assert_int_equal(listen_open(out_addr, &fd, 1, &err), 0);
    return fd;
}

static void test_a_listening_socket_is_made_ready_for_the_loop(void **state)
{
    struct addr addr, seen;
    struct err err;
    int fd = listening("127.0.0.1", &addr);

    (void)state;
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
    assert_int_equal(passed_look(fd, &seen, &err), 0);
    assert_true(addr_equals(&seen, &addr));
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
}

static void refused(int fd, const char *words)
{
    struct addr addr;
    struct err err;

    assert_int_equal(passed_look(fd, &addr, &err), -1);
    assert_non_null(strstr(err.text, words));
    close(fd);
}

static void test_other_sockets_are_told_apart(void **state)
{
    (void)state;
    refused(socket(AF_INET, SOCK_DGRAM, 0), "UDP");
    refused(socket(AF_INET6, SOCK_STREAM, 0), "does not listen");
    refused(socket(AF_UNIX, SOCK_STREAM, 0), "unix socket");
    refused(socket(AF_NETLINK, SOCK_RAW, 0), "another kind");
    refused(open("/dev/null", O_RDONLY), "no socket");
    refused(1000000, "not open");
}

static void test_a_socket_fits_a_listener_by_its_address(void **state)
{
    static const struct {
        const char *ip;
        uint16_t port;
        const char *text;
        bool fits;
    } rows[] = {
        {"127.0.0.1", 143, "127.0.0.1:143", true},
        {"127.0.0.1", 143, "127.0.0.1:993", false},
        {"127.0.0.1", 143, "127.0.0.2:143", false},
        {"127.0.0.1", 143, "*:143", false},
        {"0.0.0.0", 143, "*:143", true},
        {"0.0.0.0", 143, "*:993", false},
        {"127.0.0.1", 143, "127.0.0.1:0", false},
        {"127.0.0.1", 143, "nonsense", false},
        {"::1", 993, "[::1]:993", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct addr addr;

        assert_true(addr_parse_ip(slice_str(rows[i].ip), rows[i].port, &addr));
        assert_int_equal(passed_fits(&addr, rows[i].text), rows[i].fits);
    }
}

static void test_the_environment_is_used_up(void **state)
{
    struct passed p;
    struct err err;

    (void)state;
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "imap", 1);
    assert_int_equal(passed_take(&p, &err), 0);
    assert_int_equal(p.n, 0);
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
    passed_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sockets_have_their_names_in_order),
        cmocka_unit_test(test_names_may_be_left_out),
        cmocka_unit_test(test_what_is_meant_for_others_is_left_alone),
        cmocka_unit_test(test_nonsense_is_told),
        cmocka_unit_test(test_a_listening_socket_is_made_ready_for_the_loop),
        cmocka_unit_test(test_other_sockets_are_told_apart),
        cmocka_unit_test(test_a_socket_fits_a_listener_by_its_address),
        cmocka_unit_test(test_the_environment_is_used_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
