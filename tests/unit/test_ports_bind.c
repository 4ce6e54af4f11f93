/* Whether a port is free: found out by binding to it, and disturbing nobody. */
#include "ports_sockets.h"

#include <fcntl.h>

static uint16_t port_of(const struct sock *s)
{
    return addr_port(&s->addr);
}

static void test_free_port_can_be_bound_again_and_again(void **state)
{
    struct addr addr = at("127.0.0.1", free_port());

    (void)state;
    assert_int_equal(bind_try(&addr, PORT_TCP), 0);
    assert_int_equal(bind_try(&addr, PORT_TCP), 0);
    assert_int_equal(bind_try(&addr, PORT_UDP), 0);
    addr = at("::1", addr_port(&addr));
    assert_int_equal(bind_try(&addr, PORT_TCP), 0);
    assert_int_equal(bind_try(&addr, PORT_UDP), 0);
}

static void test_listener_is_found_and_keeps_its_connections(void **state)
{
    struct sock s = listening("127.0.0.1", 0, REUSEADDR | REUSEPORT, 5);
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    int client, conn;

    (void)state;
    assert_int_equal(bind_try(&s.addr, PORT_TCP), EADDRINUSE);
    client = connected(&s.addr);
    assert_int_equal(bind_try(&s.addr, PORT_TCP), EADDRINUSE);
    conn = accept(s.fd, (struct sockaddr *)&ss, &n);
    assert_true(conn >= 0);
    close(conn);
    close(client);
    close(s.fd);
}

static void test_protocols_are_told_apart(void **state)
{
    struct sock udp = bound("127.0.0.1", 0, SOCK_DGRAM, 0);

    (void)state;
    assert_int_equal(bind_try(&udp.addr, PORT_UDP), EADDRINUSE);
    assert_int_equal(bind_try(&udp.addr, PORT_TCP), 0);
    assert_int_equal(bind_try(&udp.addr, PORT_SCTP), EPROTONOSUPPORT);
    assert_int_equal(bind_try(&udp.addr, PORT_DCCP), EPROTONOSUPPORT);
    close(udp.fd);
}

static void test_ipv6_is_bound_for_itself_alone(void **state)
{
    struct sock s = listening("0.0.0.0", 0, 0, 5);
    struct addr any6 = at("::", port_of(&s));

    (void)state;
    assert_int_equal(bind_try(&any6, PORT_TCP), 0);
    assert_int_equal(bind_try_all(port_of(&s), PORT_TCP), EADDRINUSE);
    close(s.fd);
    s = listening("::", 0, V6ONLY, 5);
    assert_int_equal(bind_try_all(port_of(&s), PORT_TCP), EADDRINUSE);
    close(s.fd);
    assert_int_equal(bind_try_all(port_of(&s), PORT_TCP), 0);
}

static void test_connections_that_linger_do_not_count(void **state)
{
    struct sock s = listening("127.0.0.1", 0, REUSEADDR, 5);
    int client = connected(&s.addr), conn = accept(s.fd, NULL, NULL);
    char end;

    (void)state;
    assert_true(conn >= 0);
    /* Who closes first waits. */
    close(conn);
    assert_int_equal(read(client, &end, 1), 0);
    close(client);
    close(s.fd);
    assert_int_equal(bind_try(&s.addr, PORT_TCP), 0);
}

static void test_address_that_the_machine_does_not_have(void **state)
{
    struct addr addr = at("192.0.2.77", free_port());

    (void)state;
    assert_int_equal(bind_try(&addr, PORT_TCP), EADDRNOTAVAIL);
}

static bool machine_lets_us_bind_anywhere(void)
{
    int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
    char text[16] = "";

    if (fd >= 0) {
        assert_true(read(fd, text, sizeof text - 1) > 0);
        close(fd);
    }
    return geteuid() == 0 || strtol(text, NULL, 10) == 0;
}

static void test_port_that_needs_rights(void **state)
{
    /* Nobody of the machine has an address like this. */
    struct addr addr = at("127.211.7.3", 1);

    (void)state;
    assert_int_equal(bind_try(&addr, PORT_TCP), machine_lets_us_bind_anywhere() ? 0 : EACCES);
}

/* --- finding ---------------------------------------------------------------------------------- */

/* Three ports in a row, the middle one taken on all addresses. */
static struct sock three(uint16_t *out_first)
{
    for (;;) {
        struct sock s = listening("0.0.0.0", 0, 0, 5);
        uint16_t port = port_of(&s);

        if (port < 65535 && bind_try_all((uint16_t)(port - 1), PORT_TCP) == 0 &&
            bind_try_all((uint16_t)(port + 1), PORT_TCP) == 0) {
            *out_first = (uint16_t)(port - 1);
            return s;
        }
        close(s.fd);
    }
}

static void test_free_ports_are_found_lowest_first(void **state)
{
    uint16_t first, ports[3] = {0};
    struct sock s = three(&first);

    (void)state;
    assert_int_equal(
        bind_find_free(first, (uint16_t)(first + 2), NULL, PORT_TCP, NULL, NULL, ports, 3), 2);
    assert_int_equal(ports[0], first);
    assert_int_equal(ports[1], first + 2);
    assert_int_equal(
        bind_find_free(first, (uint16_t)(first + 2), NULL, PORT_TCP, NULL, NULL, ports, 1), 1);
    close(s.fd);
}

static void test_free_ports_of_one_address(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);
    struct addr other = at("127.0.0.2", 0);
    uint16_t port = port_of(&s), found = 0;

    (void)state;
    assert_int_equal(bind_find_free(port, port, &s.addr, PORT_TCP, NULL, NULL, &found, 1), 0);
    assert_int_equal(bind_find_free(port, port, &other, PORT_TCP, NULL, NULL, &found, 1), 1);
    assert_int_equal(found, port);
    assert_int_equal(addr_port(&other), 0);
    close(s.fd);
}

static bool is_not(void *arg, uint16_t port)
{
    return port != *(const uint16_t *)arg;
}

static void test_ports_that_do_not_pass_are_left_out(void **state)
{
    uint16_t first, unwanted, ports[3] = {0};
    struct sock s = three(&first);

    (void)state;
    unwanted = first;
    assert_int_equal(
        bind_find_free(first, (uint16_t)(first + 2), NULL, PORT_TCP, is_not, &unwanted, ports, 3),
        1);
    assert_int_equal(ports[0], first + 2);
    close(s.fd);
}

static void test_range_may_end_at_the_last_port_or_be_empty(void **state)
{
    struct addr addr = at("127.211.7.3", 0);
    uint16_t ports[2];

    (void)state;
    assert_int_equal(bind_find_free(65535, 65535, &addr, PORT_TCP, NULL, NULL, ports, 2), 1);
    assert_int_equal(ports[0], 65535);
    assert_int_equal(bind_find_free(3001, 3000, &addr, PORT_TCP, NULL, NULL, ports, 2), 0);
    assert_int_equal(bind_find_free(3000, 3001, &addr, PORT_TCP, NULL, NULL, ports, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_free_port_can_be_bound_again_and_again),
        cmocka_unit_test(test_listener_is_found_and_keeps_its_connections),
        cmocka_unit_test(test_protocols_are_told_apart),
        cmocka_unit_test(test_ipv6_is_bound_for_itself_alone),
        cmocka_unit_test(test_connections_that_linger_do_not_count),
        cmocka_unit_test(test_address_that_the_machine_does_not_have),
        cmocka_unit_test(test_port_that_needs_rights),
        cmocka_unit_test(test_free_ports_are_found_lowest_first),
        cmocka_unit_test(test_free_ports_of_one_address),
        cmocka_unit_test(test_ports_that_do_not_pass_are_left_out),
        cmocka_unit_test(test_range_may_end_at_the_last_port_or_be_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
