/* Listening sockets. */
#include "net/listen.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct addr loopback(int family)
{
    struct addr a;

    assert_true(addr_parse_ip(slice_str(family == AF_INET6 ? "::1" : "127.0.0.1"), 0, &a));
    return a;
}

/* A blocking connection. */
static int connection(const struct addr *to)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &to->sa, addr_len(to)), 0);
    return fd;
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

static void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, 10000), 1);
}

static void one_port_for_several_sockets(int family)
{
    struct addr addr = loopback(family), peer, local, client;
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct err err;
    int fds[3], fd, conn;

    assert_int_equal(listen_open(&addr, fds, 3, &err), 0);
    assert_int_not_equal(addr_port(&addr), 0);
    for (int i = 0; i < 3; i++) {
        struct addr own;

        len = sizeof ss;
        assert_int_equal(getsockname(fds[i], (struct sockaddr *)&ss, &len), 0);
        own = addr_from_sockaddr(&ss);
        assert_int_equal(addr_port(&own), addr_port(&addr));
        assert_int_equal(listen_accept(fds[i], &peer, NULL), -1);
        assert_int_equal(errno, EAGAIN);
    }
    /* With two closed, the connection comes to the third. */
    close_all(fds, 2);
    fd = connection(&addr);
    wait_readable(fds[2]);
    conn = listen_accept(fds[2], &peer, &local);
    assert_true(conn >= 0);
    len = sizeof ss;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    client = addr_from_sockaddr(&ss);
    assert_int_equal(addr_port(&peer), addr_port(&client));
    assert_int_equal(addr_port(&local), addr_port(&addr));
    assert_int_equal(peer.sa.sa_family, family);
    close(conn);
    close(fd);
    close(fds[2]);
}

static void test_several_sockets_share_the_port_that_the_kernel_chose(void **state)
{
    (void)state;
    one_port_for_several_sockets(AF_INET);
}

static void test_several_sockets_share_a_port_in_ipv6(void **state)
{
    (void)state;
    one_port_for_several_sockets(AF_INET6);
}

static void assert_taken(struct addr addr)
{
    struct addr asked = addr;
    struct err err;
    int fds[2];

    assert_int_equal(listen_open(&addr, fds, 2, &err), -1);
    assert_int_equal(err.code, EADDRINUSE);
    assert_non_null(strstr(err.text, "cannot listen on 127.0.0.1:"));
    assert_non_null(strstr(err.text, "somebody listens there already; `usher ports "));
    assert_memory_equal(&addr, &asked, sizeof addr);
}

static int plain_listener(struct addr *addr, int option)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    assert_true(fd >= 0);
    if (option)
        assert_int_equal(setsockopt(fd, SOL_SOCKET, option, &on, sizeof on), 0);
    assert_int_equal(bind(fd, &addr->sa, addr_len(addr)), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    *addr = addr_from_sockaddr(&ss);
    return fd;
}

static void test_a_port_with_a_plain_listener_is_taken(void **state)
{
    static const int options[] = {0, SO_REUSEADDR, SO_REUSEPORT};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct addr addr = loopback(AF_INET);
        int fd = plain_listener(&addr, options[i]);

        assert_taken(addr);
        close(fd);
    }
}

/* The kernel would let us share, as the same user. */
static void test_a_port_that_another_process_of_ours_shares_is_taken_and_not_disturbed(void **state)
{
    struct addr addr = loopback(AF_INET);
    int ready[2], stop[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(stop), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err err;
        struct addr peer;
        int fds[2], accepted = 0;
        char c;

        close(stop[1]);
        if (listen_open(&addr, fds, 2, &err) != 0 ||
            write(ready[1], &addr, sizeof addr) != sizeof addr || read(stop[0], &c, 1) != 0)
            _exit(99);
        while (listen_accept(fds[0], &peer, NULL) >= 0 || listen_accept(fds[1], &peer, NULL) >= 0)
            accepted++;
        _exit(accepted);
    }
    assert_int_equal(read(ready[0], &addr, sizeof addr), sizeof addr);
    for (int i = 0; i < 5; i++) {
        int fd = connection(&addr);

        assert_taken(addr);
        close(fd);
    }
    close(stop[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 5);
    close(stop[0]);
    close_all(ready, 2);
}

static void test_connections_in_time_wait_do_not_block_a_new_start(void **state)
{
    struct addr addr = loopback(AF_INET), peer, again;
    struct err err;
    int fd, conn, client;
    char c;

    (void)state;
    assert_int_equal(listen_open(&addr, &fd, 1, &err), 0);
    client = connection(&addr);
    wait_readable(fd);
    conn = listen_accept(fd, &peer, NULL);
    assert_true(conn >= 0);
    /* We close first, so that TIME_WAIT is on our side; the client's end of file tells that it has
     * come. */
    close(conn);
    assert_int_equal(read(client, &c, 1), 0);
    close(client);
    close(fd);
    again = addr;
    assert_int_equal(listen_open(&again, &fd, 1, &err), 0);
    close(fd);
}

/* --- what a process may do to a socket that it shares ------------------------------------------
 */

static void shut_down(int fd)
{
    assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
}

static void disconnect(int fd)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};

    assert_int_equal(connect(fd, &none, sizeof none), 0);
}

static void connect_elsewhere(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct addr peer, own, to;
    struct err err;
    int other, conn;
    char c;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    own = addr_from_sockaddr(&ss);
    to = loopback(own.sa.sa_family);
    assert_int_equal(listen_open(&to, &other, 1, &err), 0);
    disconnect(fd);
    (void)connect(fd, &to.sa, addr_len(&to));
    wait_readable(other);
    conn = listen_accept(other, &peer, NULL);
    assert_true(conn >= 0);
    close(other);
    /* It goes when the socket is mended, which is not to wait for us. */
    assert_int_equal(recv(conn, &c, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    close(conn);
}

/* The first socket has its port from the kernel, the second by name, as ports mostly are. */
static void mended_after(int family, void (*spoil)(int fd))
{
    for (int i = 0; i < 2; i++) {
        struct addr addr = loopback(family), peer, local;
        struct err err;
        int fds[2], client, conn;

        assert_int_equal(listen_open(&addr, fds, 2, &err), 0);
        spoil(fds[i]);
        assert_int_equal(listen_mend(fds[i], &addr, &err), 1);
        assert_int_equal(listen_mend(fds[i], &addr, &err), 0);
        /* Beside the other one, and then alone. */
        close(fds[1 - i]);
        client = connection(&addr);
        wait_readable(fds[i]);
        conn = listen_accept(fds[i], &peer, &local);
        assert_true(conn >= 0);
        assert_int_equal(addr_port(&local), addr_port(&addr));
        assert_int_equal(local.sa.sa_family, family);
        close(conn);
        close(client);
        close(fds[i]);
    }
}

static void test_a_socket_that_was_spoilt_listens_again(void **state)
{
    static void (*const ways[])(int fd) = {shut_down, disconnect, connect_elsewhere};

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        mended_after(AF_INET, ways[i]);
        mended_after(AF_INET6, ways[i]);
    }
}

static void test_mending_a_socket_that_listens_leaves_its_queue_alone(void **state)
{
    struct addr addr = loopback(AF_INET), peer;
    struct err err;
    int fd, client, conn;

    (void)state;
    assert_int_equal(listen_open(&addr, &fd, 1, &err), 0);
    client = connection(&addr);
    assert_int_equal(listen_mend(fd, &addr, &err), 0);
    wait_readable(fd);
    conn = listen_accept(fd, &peer, NULL);
    assert_true(conn >= 0);
    assert_int_equal(write(client, "x", 1), 1);
    close(conn);
    close(client);
    close(fd);
}

static void test_a_spoilt_socket_whose_port_somebody_has_taken_stays_so(void **state)
{
    struct addr addr = loopback(AF_INET);
    struct err err;
    int fd, other;

    (void)state;
    assert_int_equal(listen_open(&addr, &fd, 1, &err), 0);
    shut_down(fd);
    other = plain_listener(&addr, 0);
    assert_int_equal(listen_mend(fd, &addr, &err), -1);
    assert_int_equal(err.code, EADDRINUSE);
    assert_non_null(strstr(err.text, "somebody listens there already"));
    close(other);
    assert_int_equal(listen_mend(fd, &addr, &err), 1);
    close(fd);
}

static void test_ipv4_and_ipv6_may_have_the_same_port(void **state)
{
    struct addr both[2];
    struct err err;
    int fds[2];

    (void)state;
    assert_int_equal(listen_addresses("*:0", both, &err), 2);
    assert_int_equal(both[0].sa.sa_family, AF_INET);
    assert_int_equal(both[1].sa.sa_family, AF_INET6);
    assert_int_equal(listen_open(&both[0], &fds[0], 1, &err), 0);
    addr_set_port(&both[1], addr_port(&both[0]));
    assert_int_equal(listen_open(&both[1], &fds[1], 1, &err), 0);
    close_all(fds, 2);
}

static void test_an_address_that_the_machine_lacks_is_told(void **state)
{
    struct addr addr;
    struct err err;
    int fd;

    (void)state;
    assert_true(addr_parse_ip(SLICE("192.0.2.1"), 0, &addr));
    assert_int_equal(listen_open(&addr, &fd, 1, &err), -1);
    assert_int_equal(err.code, EADDRNOTAVAIL);
    assert_non_null(strstr(err.text, "does not have the address"));
}

static void test_a_port_that_needs_privileges_is_told(void **state)
{
    struct addr addr = loopback(AF_INET);
    int status;
    pid_t pid;

    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err err = {0};
        int fd;

        addr_set_port(&addr, 1);
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(2);
        /* Where the machine lets everybody have all ports, there is nothing to tell. */
        if (listen_open(&addr, &fd, 1, &err) == 0)
            _exit(0);
        _exit(err.code == EACCES && strstr(err.text, "CAP_NET_BIND_SERVICE") ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_a_failure_half_way_leaves_nothing_open(void **state)
{
    struct addr addr = loopback(AF_INET);
    struct rlimit old, few;
    struct err err;
    int fds[8], next, after;

    (void)state;
    next = dup(0);
    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = (rlim_t)next + 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(listen_open(&addr, fds, 8, &err), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(err.code, EMFILE);
    assert_non_null(strstr(err.text, "LimitNOFILE"));
    assert_int_equal(addr_port(&addr), 0);
    after = dup(0);
    assert_int_equal(after, next);
    close(after);
}

static void test_addresses_are_numbers_or_a_star(void **state)
{
    struct addr out[2];
    char text[ADDR_TEXT];
    struct err err;

    (void)state;
    assert_int_equal(listen_addresses("192.0.2.1:143", out, &err), 1);
    assert_string_equal(addr_format(&out[0], text), "192.0.2.1:143");
    assert_int_equal(listen_addresses("[2001:db8::1]:993", out, &err), 1);
    assert_string_equal(addr_format(&out[0], text), "[2001:db8::1]:993");
    assert_true(listen_addresses("*:143", out, &err) >= 1);
    assert_string_equal(addr_format(&out[0], text), "0.0.0.0:143");

    assert_int_equal(listen_addresses("localhost:143", out, &err), -1);
    assert_string_equal(err.text,
                        "\"localhost:143\": \"localhost\" is not an address to listen on; "
                        "write 192.0.2.1:143, [2001:db8::1]:143 or *:143");
    assert_int_equal(listen_addresses("192.0.2.1", out, &err), -1);
    assert_int_equal(listen_addresses("192.0.2.1:65536", out, &err), -1);
    assert_int_equal(listen_addresses("::1:143", out, &err), -1);
    assert_int_equal(listen_addresses("", out, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_several_sockets_share_the_port_that_the_kernel_chose),
        cmocka_unit_test(test_several_sockets_share_a_port_in_ipv6),
        cmocka_unit_test(test_a_port_with_a_plain_listener_is_taken),
        cmocka_unit_test(
            test_a_port_that_another_process_of_ours_shares_is_taken_and_not_disturbed),
        cmocka_unit_test(test_connections_in_time_wait_do_not_block_a_new_start),
        cmocka_unit_test(test_a_socket_that_was_spoilt_listens_again),
        cmocka_unit_test(test_mending_a_socket_that_listens_leaves_its_queue_alone),
        cmocka_unit_test(test_a_spoilt_socket_whose_port_somebody_has_taken_stays_so),
        cmocka_unit_test(test_ipv4_and_ipv6_may_have_the_same_port),
        cmocka_unit_test(test_an_address_that_the_machine_lacks_is_told),
        cmocka_unit_test(test_a_port_that_needs_privileges_is_told),
        cmocka_unit_test(test_a_failure_half_way_leaves_nothing_open),
        cmocka_unit_test(test_addresses_are_numbers_or_a_star),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
