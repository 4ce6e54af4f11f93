/* A look where the kernel refuses answers, tears them, or has no memory left. */
#include "no_memory.h"
#include "ports_talk.h"

#include <linux/netlink.h>

/* What the kernel answers passes by here: the linker sends it. */
struct mnl_socket;
ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *nl, void *bytes, size_t n);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *bytes, size_t n);

static struct {
    unsigned torn;    /* how many answers still say that they are torn */
    unsigned answers; /* how many answers there were */
    unsigned refused; /* the answer with this number, from 1, is a refusal instead */
} kernel;

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *bytes, size_t n)
{
    ssize_t got = __real_mnl_socket_recvfrom(nl, bytes, n);
    struct nlmsghdr *message = bytes;

    kernel.answers++;
    if (got > 0 && kernel.torn > 0) {
        message->nlmsg_flags |= NLM_F_DUMP_INTR;
        kernel.torn--;
    }
    if (got > 0 && kernel.answers == kernel.refused) {
        const struct nlmsgerr refusal = {.error = -ENOENT};

        message->nlmsg_type = NLMSG_ERROR;
        message->nlmsg_len = NLMSG_LENGTH(sizeof refusal);
        memcpy(NLMSG_DATA(message), &refusal, sizeof refusal);
        return (ssize_t)message->nlmsg_len;
    }
    return got;
}

static void test_torn_answers_are_asked_for_again_and_taken_at_last(void **state)
{
    static const unsigned torn[] = {0, 1, 2, 3, 1000};
    struct talk t = begin_talk("127.0.0.1");
    struct question q = {.params = {.with_connections = true, .with_udp = true}};

    (void)state;
    ask_for(&q, addr_port(&t.s.addr));
    for (size_t i = 0; i < sizeof torn / sizeof torn[0]; i++) {
        struct look *look;

        kernel.torn = torn[i];
        kernel.answers = 0;
        look = answer(&q);
        assert_talk(look, &t);
        assert_int_equal(look->sockets_n, 1);
        look_free(&look);
        assert_true(kernel.answers < 100);
    }
    kernel.torn = 0;
    end_talk(&t);
}

/* Whichever dump is refused is made up for from /proc/net. */
static void test_refused_answers_are_made_up_for(void **state)
{
    struct talk t = begin_talk("127.0.0.1"), t6 = begin_talk("::1");
    struct sock udp = bound("127.0.0.1", 0, SOCK_DGRAM, 0), udp6 = bound("::1", 0, SOCK_DGRAM, 0);
    struct question q = {.params = {.with_connections = true, .with_udp = true, .with_unix = true}};

    (void)state;
    open_unix();
    ask_for(&q, addr_port(&t.s.addr));
    ask_for(&q, addr_port(&t6.s.addr));
    ask_for(&q, addr_port(&udp.addr));
    ask_for(&q, addr_port(&udp6.addr));
    kernel.answers = 0;
    for (kernel.refused = 1; kernel.refused < 12; kernel.refused++) {
        struct look *look;

        kernel.answers = 0;
        look = answer(&q);
        assert_talk(look, &t);
        assert_talk(look, &t6);
        (void)seen(look, &udp);
        (void)seen(look, &udp6);
        assert_string_equal(seen(look, &un.imap_s)->path, un.imap);
        look_free(&look);
    }
    kernel.refused = 0;
    close_unix();
    end_talk(&t);
    end_talk(&t6);
    close(udp.fd);
    close(udp6.fd);
}

struct refusal {
    struct talk t, t6;
    struct sock dual, alone, udp;
};

static void look_without_netlink(void *arg)
{
    const struct refusal *r = arg;
    struct question q = {.params = {.with_connections = true, .with_udp = true, .with_unix = true}};
    struct look *look;

    refuse_netlink(false);
    ask_for(&q, addr_port(&r->t.s.addr));
    ask_for(&q, addr_port(&r->t6.s.addr));
    ask_for(&q, addr_port(&r->dual.addr));
    ask_for(&q, addr_port(&r->alone.addr));
    ask_for(&q, addr_port(&r->udp.addr));
    look = answer(&q);
    assert_talk(look, &r->t);
    assert_talk(look, &r->t6);
    assert_true(seen(look, &r->dual)->takes_ipv4);
    assert_false(seen(look, &r->alone)->takes_ipv4);
    assert_int_equal(seen(look, &r->dual)->queue, 1);
    assert_int_equal(seen(look, &r->dual)->backlog, 0);
    assert_int_equal(seen(look, &r->dual)->uid, geteuid());
    assert_int_equal(seen(look, &r->udp)->protocol, PORT_UDP);
    assert_string_equal(seen(look, &un.imap_s)->path, un.imap);
    assert_string_equal(seen(look, &un.abstract_s)->path, un.abstract);
    assert_int_equal(seen(look, &un.imap_s)->uid, UINT32_MAX);
    assert_null(find_inode(look, un.other_s.inode));
    assert_true(seen(look, &r->t.s)->processes_n >= 1);
    look_free(&look);
}

static void test_without_netlink_proc_net_tells(void **state)
{
    struct refusal r = {begin_talk("127.0.0.1"), begin_talk("::1"), listening("::", 0, DUAL, 5),
                        listening("::", 0, V6ONLY, 5), bound("127.0.0.1", 0, SOCK_DGRAM, 0)};
    struct sock ipv4 = listening("0.0.0.0", addr_port(&r.alone.addr), 0, 5);
    int client = connected(&r.dual.addr);

    (void)state;
    open_unix();
    in_child(look_without_netlink, &r);
    close_unix();
    end_talk(&r.t);
    end_talk(&r.t6);
    close(r.dual.fd);
    close(r.alone.fd);
    close(r.udp.fd);
    close(ipv4.fd);
    close(client);
}

static void look_without_anything(void *arg)
{
    struct question q = {0};
    struct look *look = NULL;
    struct err err = {0};

    (void)arg;
    refuse_netlink(true);
    ask_for(&q, 143);
    q.params.ports = q.ports;
    assert_int_equal(look_take(&q.params, &look, &err), -1);
    assert_null(look);
    assert_int_equal(err.code, EACCES);
    assert_string_equal(err.text,
                        "the kernel does not show its sockets: sock_diag: Permission denied; "
                        "/proc/net/tcp: Permission denied");
}

static void test_error_says_what_the_kernel_refuses(void **state)
{
    (void)state;
    in_child(look_without_anything, NULL);
}

/* Every request for memory fails once. */
static void test_memory_that_runs_out_is_told(void **state)
{
    struct talk t = begin_talk("127.0.0.1");
    struct question q = {.params = {.with_udp = true,
                                    .with_unix = true,
                                    .with_connections = true,
                                    .with_other_namespaces = true}};
    struct look *look = NULL;
    struct err err = {0};

    (void)state;
    open_unix();
    ask_for(&q, addr_port(&t.s.addr));
    q.params.ports = q.ports;
    for (memory.fails_at = 1; !look; memory.fails_at++) {
        int done;

        memory.n = 0;
        memory.is_on = true;
        done = look_take(&q.params, &look, &err);
        memory.is_on = false;
        assert_int_equal(done, look ? 0 : -1);
        if (!look)
            assert_int_equal(err.code, ENOMEM);
    }
    assert_true(memory.fails_at > 8);
    assert_talk(look, &t);
    look_free(&look);
    close_unix();
    end_talk(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torn_answers_are_asked_for_again_and_taken_at_last),
        cmocka_unit_test(test_refused_answers_are_made_up_for),
        cmocka_unit_test(test_without_netlink_proc_net_tells),
        cmocka_unit_test(test_error_says_what_the_kernel_refuses),
        cmocka_unit_test(test_memory_that_runs_out_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
