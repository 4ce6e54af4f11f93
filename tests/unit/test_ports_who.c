/* Who has an address, as somebody is told who could not bind to it. */
#include "ports_sockets.h"

#include <pwd.h>
#include <sys/utsname.h>

enum { NOBODY = 65534 };

static const char *who(const struct addr *addr, enum port_protocol protocol)
{
    static char text[512];

    return look_who(addr, protocol, text, sizeof text);
}

/* "test_ports_who (pid 812, user root": what follows depends on how the test is run. */
static const char *we(pid_t pid)
{
    static char text[512];
    const struct passwd *pw = getpwuid(geteuid());

    if (pw)
        snprintf(text, sizeof text, "test_ports_who (pid %d, user %s", (int)pid, pw->pw_name);
    else
        snprintf(text, sizeof text, "test_ports_who (pid %d, user %u", (int)pid, geteuid());
    return text;
}

static void assert_begins(const char *text, const char *beginning)
{
    if (strncmp(text, beginning, strlen(beginning)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", text, beginning);
}

static void assert_ends(const char *text, const char *end)
{
    if (strlen(text) < strlen(end) || strcmp(text + strlen(text) - strlen(end), end) != 0)
        fail_msg("\"%s\" does not end with \"%s\"", text, end);
}

static void test_listener_is_named(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);

    (void)state;
    assert_begins(who(&s.addr, PORT_TCP), we(getpid()));
    assert_ends(who(&s.addr, PORT_TCP), ")");
    close(s.fd);
    assert_string_equal(who(&s.addr, PORT_TCP), "");
}

static void test_protocols_are_told_apart(void **state)
{
    struct sock s = bound("127.0.0.1", 0, SOCK_DGRAM, 0);

    (void)state;
    assert_begins(who(&s.addr, PORT_UDP), we(getpid()));
    assert_string_equal(who(&s.addr, PORT_TCP), "");
    assert_string_equal(who(&s.addr, PORT_SCTP), "");
    close(s.fd);
}

static void test_no_address_is_nobodys(void **state)
{
    struct addr none = {.sa.sa_family = AF_UNSPEC};

    (void)state;
    assert_string_equal(who(&none, PORT_TCP), "");
}

/* Somebody is named for just those addresses that bind(2) refuses. */
static void test_who_is_named_is_whom_bind_meets(void **state)
{
    static const struct {
        const char *ip;
        unsigned options;
    } listeners[] = {
        {"127.0.0.1", 0},
        {"0.0.0.0", 0},
        {"::", DUAL},
        {"::", V6ONLY},
        {"::1", V6ONLY},
        {"::1", DUAL},
        {"::ffff:127.0.0.1", DUAL},
        {"127.0.0.2", REUSEPORT},
    };
    static const char *const asked[] = {"127.0.0.1", "127.0.0.2", "0.0.0.0",
                                        "::",        "::1",       "::ffff:127.0.0.1"};
    size_t met = 0;

    (void)state;
    for (size_t i = 0; i < sizeof listeners / sizeof listeners[0]; i++) {
        struct sock s = listening(listeners[i].ip, 0, listeners[i].options, 5);

        for (size_t k = 0; k < sizeof asked / sizeof asked[0]; k++) {
            struct addr addr = at(asked[k], addr_port(&s.addr)), as_bound = addr_unmapped(&addr);
            bool is_taken = bind_try(&as_bound, PORT_TCP) == EADDRINUSE;

            if (is_taken)
                assert_begins(who(&addr, PORT_TCP), we(getpid()));
            else
                assert_string_equal(who(&addr, PORT_TCP), "");
            met += is_taken;
        }
        close(s.fd);
    }
    assert_in_range(met, 10, sizeof listeners / sizeof listeners[0] * 6 - 10);
}

static uint32_t take_the_name(void *arg)
{
    assert_int_equal(prctl(PR_SET_NAME, arg), 0);
    return 0;
}

static char second[] = "second", third[] = "third", fourth[] = "fourth";

static void test_workers_of_one_name_are_counted(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);
    struct child children[3];
    uint32_t told;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char expected[64];

        children[i] = begin_child(do_nothing, NULL, &told);
        snprintf(expected, sizeof expected, ") and %zu more process%s", i + 1, i ? "es" : "");
        assert_ends(who(&s.addr, PORT_TCP), expected);
        /* A pid may have begun anew from a low number. */
        if (children[i].pid > getpid() && (i == 0 || children[i - 1].pid > getpid()))
            assert_begins(who(&s.addr, PORT_TCP), we(getpid()));
    }
    for (size_t i = 0; i < 3; i++)
        end_child(&children[i]);
    close(s.fd);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;

    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

static void test_the_first_few_of_different_names_are_named(void **state)
{
    static char *const names[] = {second, third, fourth};
    struct sock s = listening("127.0.0.1", 0, 0, 5);
    struct child children[3];
    uint32_t told;

    (void)state;
    children[0] = begin_child(take_the_name, names[0], &told);
    assert_int_equal(count(who(&s.addr, PORT_TCP), "(pid "), 2);
    assert_int_equal(count(who(&s.addr, PORT_TCP), ") and "), 1);
    children[1] = begin_child(take_the_name, names[1], &told);
    assert_int_equal(count(who(&s.addr, PORT_TCP), "(pid "), 3);
    assert_int_equal(count(who(&s.addr, PORT_TCP), "), "), 1);
    children[2] = begin_child(take_the_name, names[2], &told);
    assert_int_equal(count(who(&s.addr, PORT_TCP), "(pid "), 3);
    assert_int_equal(count(who(&s.addr, PORT_TCP), "), "), 2);
    assert_ends(who(&s.addr, PORT_TCP), ") and 1 more process");
    for (size_t i = 0; i < 3; i++)
        end_child(&children[i]);
    close(s.fd);
}

static uint32_t hide(void *arg)
{
    (void)arg;
    assert_int_equal(prctl(PR_SET_DUMPABLE, 0), 0);
    return listen_for_good("127.0.0.1");
}

static void ask_for_hidden(void *arg)
{
    struct addr addr = at("127.0.0.1", (uint16_t) * (uint32_t *)arg);
    const struct passwd *pw = getpwuid(geteuid());
    char expected[256];

    if (pw)
        snprintf(expected, sizeof expected, "a process of user %s that is hidden from us",
                 pw->pw_name);
    else
        snprintf(expected, sizeof expected, "a process of user %u that is hidden from us",
                 geteuid());
    if (geteuid() == 0) {
        assert_int_equal(setgid(NOBODY), 0);
        assert_int_equal(setuid(NOBODY), 0);
    }
    assert_string_equal(who(&addr, PORT_TCP), expected);
}

static void test_of_a_hidden_process_the_user_is_named(void **state)
{
    uint32_t port;
    struct child c = begin_child(hide, NULL, &port);

    (void)state;
    in_child(ask_for_hidden, &port);
    end_child(&c);
}

/* The kernel had given the port to a connection that goes out. */
static void test_connection_that_goes_out_from_the_port(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5), client;
    struct addr any;

    (void)state;
    client = bound("127.0.0.1", 0, SOCK_STREAM, 0);
    assert_int_equal(connect(client.fd, &s.addr.sa, addr_len(&s.addr)), 0);
    any = at("0.0.0.0", addr_port(&client.addr));
    assert_int_equal(bind_try(&any, PORT_TCP), EADDRINUSE);
    assert_begins(who(&any, PORT_TCP), we(getpid()));
    assert_ends(who(&any, PORT_TCP), "), which does not listen there");
    close(client.fd);
    close(s.fd);
}

/* Linux tells of such sockets from 6.8 on. */
static void test_socket_that_is_bound_and_does_not_listen(void **state)
{
    struct sock s = bound("127.0.0.1", 0, SOCK_STREAM, 0);
    struct utsname kernel;
    char *rest;
    unsigned long major, minor;

    (void)state;
    assert_int_equal(uname(&kernel), 0);
    major = strtoul(kernel.release, &rest, 10);
    minor = strtoul(rest + 1, NULL, 10);
    assert_int_equal(bind_try(&s.addr, PORT_TCP), EADDRINUSE);
    if (major > 6 || (major == 6 && minor >= 8))
        assert_begins(who(&s.addr, PORT_TCP), we(getpid()));
    else
        assert_string_equal(who(&s.addr, PORT_TCP), "");
    close(s.fd);
}

static void test_text_is_cut_to_its_room(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);
    char all[512], some[512];

    (void)state;
    look_who(&s.addr, PORT_TCP, all, sizeof all);
    for (size_t cap = 1; cap <= strlen(all) + 1; cap++) {
        memset(some, 'x', sizeof some);
        assert_ptr_equal(look_who(&s.addr, PORT_TCP, some, cap), some);
        assert_int_equal(strlen(some), cap - 1);
        assert_memory_equal(some, all, cap - 1);
    }
    close(s.fd);
}

static void ask_without_anything(void *arg)
{
    refuse_netlink(true);
    assert_string_equal(who(arg, PORT_TCP), "");
}

static void test_nobody_is_named_where_the_kernel_refuses(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);

    (void)state;
    in_child(ask_without_anything, &s.addr);
    close(s.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listener_is_named),
        cmocka_unit_test(test_protocols_are_told_apart),
        cmocka_unit_test(test_no_address_is_nobodys),
        cmocka_unit_test(test_who_is_named_is_whom_bind_meets),
        cmocka_unit_test(test_workers_of_one_name_are_counted),
        cmocka_unit_test(test_the_first_few_of_different_names_are_named),
        cmocka_unit_test(test_of_a_hidden_process_the_user_is_named),
        cmocka_unit_test(test_connection_that_goes_out_from_the_port),
        cmocka_unit_test(test_socket_that_is_bound_and_does_not_listen),
        cmocka_unit_test(test_text_is_cut_to_its_room),
        cmocka_unit_test(test_nobody_is_named_where_the_kernel_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
