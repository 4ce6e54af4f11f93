/* Who listens, on sockets of the test's own. */
#include "ports_talk.h"

#include <pwd.h>

/* --- what a look tells of a socket ------------------------------------------------------------ */

static void test_tcp_socket_and_its_process(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);
    struct look *look = look_at(&s);
    const struct look_socket *found = seen(look, &s);
    const struct look_process *p = owner(look, found, 0);
    const struct passwd *pw = getpwuid(geteuid());
    char expected[ADDR_TEXT];

    (void)state;
    assert_int_equal(look->sockets_n, 1);
    assert_int_equal(found->protocol, PORT_TCP);
    assert_addr(found, addr_format(&s.addr, expected));
    assert_string_equal(found->path, "");
    assert_string_equal(found->interface, "");
    assert_false(found->takes_ipv4);
    assert_int_equal(found->uid, geteuid());
    assert_int_equal(found->queue, 0);
    assert_int_equal(found->backlog, 5);
    assert_int_equal(found->group, 1);
    assert_int_equal(found->namespace_i, 0);
    assert_int_equal(found->processes_n, 1);
    assert_int_equal(look->processes_n, 1);
    assert_int_equal(p->pid, getpid());
    assert_int_equal(p->uid, geteuid());
    assert_string_equal(p->name, "test_ports_look");
    assert_non_null(strstr(p->command, "test_ports_look"));
    if (pw)
        assert_string_equal(p->user, pw->pw_name);
    assert_int_equal(look->namespaces_n, 1);
    assert_true(look->namespaces[0].is_ours);
    assert_int_equal(look->namespaces[0].pid, getpid());
    assert_int_equal(look->connections_n, 0);
    look_free(&look);
    assert_null(look);
    look_free(&look);
    close(s.fd);
}

static void test_ipv6_with_and_without_ipv4(void **state)
{
    static const struct {
        const char *ip, *shown;
        unsigned options;
        bool takes_ipv4;
    } rows[] = {
        {"::", "[::]", DUAL, true},
        {"::", "[::]", V6ONLY, false},
        {"::1", "[::1]", DUAL, false},
        {"0.0.0.0", "0.0.0.0", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sock s = listening(rows[i].ip, 0, rows[i].options, 5);
        struct look *look = look_at(&s);
        char expected[ADDR_TEXT];

        snprintf(expected, sizeof expected, "%s:%u", rows[i].shown, addr_port(&s.addr));
        assert_addr(seen(look, &s), expected);
        assert_int_equal(seen(look, &s)->takes_ipv4, rows[i].takes_ipv4);
        look_free(&look);
        close(s.fd);
    }
}

static void test_ipv4_address_of_an_ipv6_socket_is_ipv4(void **state)
{
    struct sock s = listening("::ffff:127.0.0.1", 0, DUAL, 5);
    struct look *look = look_at(&s);
    char expected[ADDR_TEXT];

    (void)state;
    snprintf(expected, sizeof expected, "127.0.0.1:%u", addr_port(&s.addr));
    assert_addr(seen(look, &s), expected);
    look_free(&look);
    close(s.fd);
}

static void test_udp_sockets_when_asked_for_and_not_connected(void **state)
{
    struct sock s = bound("127.0.0.1", 0, SOCK_DGRAM, 0), s6 = bound("::1", 0, SOCK_DGRAM, 0);
    struct sock connected_udp = bound("127.0.0.1", 0, SOCK_DGRAM, 0);
    struct question q = {.params.with_udp = true};
    struct look *look;

    (void)state;
    assert_int_equal(connect(connected_udp.fd, &s.addr.sa, addr_len(&s.addr)), 0);
    assert_int_equal(send(connected_udp.fd, "hello", 5, 0), 5);
    wait_readable(s.fd);
    ask_for(&q, addr_port(&s.addr));
    ask_for(&q, addr_port(&s6.addr));
    ask_for(&q, addr_port(&connected_udp.addr));
    look = answer(&q);
    assert_int_equal(seen(look, &s)->protocol, PORT_UDP);
    assert_true(seen(look, &s)->queue >= 5);
    assert_int_equal(seen(look, &s)->backlog, 0);
    assert_int_equal(owner(look, seen(look, &s), 0)->pid, getpid());
    assert_int_equal(seen(look, &s6)->protocol, PORT_UDP);
    assert_int_equal(seen(look, &s6)->queue, 0);
    assert_null(find_inode(look, connected_udp.inode));
    look_free(&look);
    q.params.with_udp = false;
    look = answer(&q);
    assert_null(find_inode(look, s.inode));
    look_free(&look);
    close(s.fd);
    close(s6.fd);
    close(connected_udp.fd);
}

static void test_connections_that_wait_to_be_accepted(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 7);
    int clients[3];
    struct look *look;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        clients[i] = connected(&s.addr);
    close(accept(s.fd, NULL, NULL));
    look = look_at(&s);
    assert_int_equal(seen(look, &s)->queue, 2);
    assert_int_equal(seen(look, &s)->backlog, 7);
    look_free(&look);
    for (size_t i = 0; i < 3; i++)
        close(clients[i]);
    close(s.fd);
}

static void test_sockets_that_share_an_address_are_a_group(void **state)
{
    struct sock s[3], other;
    struct look *look;

    (void)state;
    s[0] = listening("127.0.0.1", 0, REUSEPORT, 5);
    for (size_t i = 1; i < 3; i++)
        s[i] = listening("127.0.0.1", addr_port(&s[0].addr), REUSEPORT, 5);
    other = listening("127.0.0.2", addr_port(&s[0].addr), REUSEPORT, 5);
    look = look_at(&s[0]);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(seen(look, &s[i])->group, 3);
    assert_int_equal(seen(look, &other)->group, 1);
    for (size_t i = 1; i < look->sockets_n; i++)
        assert_true(look->sockets[i - 1].inode < look->sockets[i].inode || i == 3);
    look_free(&look);
    for (size_t i = 0; i < 3; i++)
        close(s[i].fd);
    close(other.fd);
}

static void test_socket_of_one_interface(void **state)
{
    struct sock s = bound("127.0.0.1", 0, SOCK_STREAM, 0);
    bool may = setsockopt(s.fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0;
    struct look *look;

    (void)state;
    if (!may)
        assert_int_equal(errno, EPERM);
    assert_int_equal(listen(s.fd, 5), 0);
    look = look_at(&s);
    assert_string_equal(seen(look, &s)->interface, may ? "lo" : "");
    look_free(&look);
    close(s.fd);
}

static void test_sockets_are_in_order_and_of_the_ports_asked_for(void **state)
{
    struct sock low = listening("0.0.0.0", 0, 0, 5), high = listening("::1", 0, V6ONLY, 5), between;
    struct question q = {0};
    struct look *look;

    (void)state;
    while (addr_port(&high.addr) < addr_port(&low.addr) + 2) {
        close(low.fd);
        close(high.fd);
        low = listening("0.0.0.0", 0, 0, 5);
        high = listening("::1", 0, V6ONLY, 5);
    }
    do
        between = listening("127.0.0.1", 0, 0, 5);
    while (addr_port(&between.addr) <= addr_port(&low.addr) ||
           addr_port(&between.addr) >= addr_port(&high.addr));
    ask_for(&q, addr_port(&low.addr));
    ask_for(&q, addr_port(&high.addr));
    look = answer(&q);
    assert_true(seen(look, &low) < seen(look, &high));
    assert_null(find_inode(look, between.inode));
    look_free(&look);
    close(low.fd);
    close(high.fd);
    close(between.fd);
}

static void test_nothing_is_asked_and_nothing_told(void **state)
{
    struct question q = {.params = {.with_udp = true, .with_connections = true}};
    struct look *look = answer(&q);

    (void)state;
    assert_int_equal(look->sockets_n, 0);
    assert_int_equal(look->processes_n, 0);
    assert_int_equal(look->connections_n, 0);
    look_free(&look);
}

/* --- connections ------------------------------------------------------------------------------ */

static void test_connections_are_counted_by_state_when_asked_for(void **state)
{
    static const char *const ips[] = {"127.0.0.1", "::1"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct talk t = begin_talk(ips[i]);
        struct question q = {.params.with_connections = true};
        struct look *look;

        ask_for(&q, addr_port(&t.s.addr));
        look = answer(&q);
        assert_talk(look, &t);
        assert_int_equal(look->connections_n, 1);
        assert_int_equal(look->sockets_n, 1);
        look_free(&look);
        q.params.with_connections = false;
        look = answer(&q);
        assert_int_equal(look->connections_n, 0);
        look_free(&look);
        end_talk(&t);
    }
}

static void test_connections_are_sorted_by_port(void **state)
{
    struct talk t[3];
    struct question q = {.params.with_connections = true};
    struct look *look;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        t[i] = begin_talk("127.0.0.1");
        ask_for(&q, addr_port(&t[i].s.addr));
    }
    look = answer(&q);
    assert_int_equal(look->connections_n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_talk(look, &t[i]);
        assert_true(i == 0 || look->connections[i - 1].port < look->connections[i].port);
        end_talk(&t[i]);
    }
    look_free(&look);
}

static void test_states_have_the_words_of_ss(void **state)
{
    (void)state;
    assert_string_equal(look_state_name(LOOK_TCP_ESTABLISHED), "established");
    assert_string_equal(look_state_name(6), "time-wait");
    assert_string_equal(look_state_name(8), "close-wait");
    assert_string_equal(look_state_name(LOOK_TCP_LISTEN), "listening");
    assert_string_equal(look_state_name(12), "new-syn-recv");
    assert_string_equal(look_state_name(0), "unknown");
    assert_string_equal(look_state_name(LOOK_TCP_STATES), "unknown");
}

/* --- unix sockets ----------------------------------------------------------------------------- */

static void test_unix_sockets_of_imap_servers(void **state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct question q = {.params.with_unix = true};
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct look_socket *s;
    struct look *look;

    (void)state;
    open_unix();
    memcpy(to.sun_path, un.imap, strlen(un.imap));
    assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    look = answer(&q);
    s = seen(look, &un.imap_s);
    assert_string_equal(s->path, un.imap);
    assert_false(addr_is_set(&s->addr));
    assert_int_equal(s->queue, 1);
    assert_int_equal(s->backlog, 9);
    assert_int_equal(s->uid, geteuid());
    assert_int_equal(s->group, 1);
    assert_int_equal(owner(look, s, 0)->pid, getpid());
    assert_string_equal(seen(look, &un.abstract_s)->path, un.abstract);
    assert_null(find_inode(look, un.other_s.inode));
    look_free(&look);
    q.params.with_unix = false;
    look = answer(&q);
    assert_null(find_inode(look, un.imap_s.inode));
    look_free(&look);
    close(client);
    close_unix();
}

static void test_unix_sockets_come_last(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);
    struct question q = {.params.with_unix = true};
    struct look *look;

    (void)state;
    open_unix();
    ask_for(&q, addr_port(&s.addr));
    look = answer(&q);
    assert_ptr_equal(seen(look, &s), look->sockets);
    assert_true(seen(look, &un.imap_s) > look->sockets);
    look_free(&look);
    close_unix();
    close(s.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_socket_and_its_process),
        cmocka_unit_test(test_ipv6_with_and_without_ipv4),
        cmocka_unit_test(test_ipv4_address_of_an_ipv6_socket_is_ipv4),
        cmocka_unit_test(test_udp_sockets_when_asked_for_and_not_connected),
        cmocka_unit_test(test_connections_that_wait_to_be_accepted),
        cmocka_unit_test(test_sockets_that_share_an_address_are_a_group),
        cmocka_unit_test(test_socket_of_one_interface),
        cmocka_unit_test(test_sockets_are_in_order_and_of_the_ports_asked_for),
        cmocka_unit_test(test_nothing_is_asked_and_nothing_told),
        cmocka_unit_test(test_connections_are_counted_by_state_when_asked_for),
        cmocka_unit_test(test_connections_are_sorted_by_port),
        cmocka_unit_test(test_states_have_the_words_of_ss),
        cmocka_unit_test(test_unix_sockets_of_imap_servers),
        cmocka_unit_test(test_unix_sockets_come_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
