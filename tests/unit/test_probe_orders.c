/* Orders of probes: connecting, how many there may be, what they may have open, how they end; and
 * memory that runs out. */
#include "worker_probes.h"

#include "base/secret.h"

/* Secret memory is not from malloc(). */
void *__real_secret_alloc(size_t n);
void *__wrap_secret_alloc(size_t n);

void *__wrap_secret_alloc(size_t n)
{
    return memory_is_out() ? NULL : __real_secret_alloc(n);
}

/* --- connecting ------------------------------------------------------------------------------- */

/* An address where nobody listens, though its port is taken. */
static struct addr deaf(sa_family_t family, int *out_fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct addr a;

    assert_true(addr_parse_ip(family == AF_INET6 ? SLICE("::1") : SLICE("127.0.0.1"), 0, &a));
    *out_fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*out_fd, &a.sa, addr_len(&a)), 0);
    assert_int_equal(getsockname(*out_fd, (struct sockaddr *)&ss, &len), 0);
    return addr_from_sockaddr(&ss);
}

static bool is_holding(void *arg)
{
    return the_worker()->probe_descriptors == *(unsigned *)arg;
}

/* Connected, it has given back what it has not used. */
static void holds_descriptors(unsigned n)
{
    assert_true(turns_until(is_holding, &n));
}

static void test_of_several_addresses_one_that_answers_is_enough(void **state)
{
    struct addr addresses[2];
    int fd;

    (void)state;
    begin_pool("", "", "check = greeting", "");
    addresses[0] = deaf(AF_INET6, &fd);
    addresses[1] = world.backend;
    order_probe_at(7, addresses, 2);
    backend_accepts(&backend);
    holds_descriptors(1);
    says(&backend, HELLO);
    assert_good(7);
    close(fd);
    all_done();
}

static void test_addresses_that_refuse_are_all_named(void **state)
{
    char text[2][ADDR_TEXT], words[256];
    struct addr addresses[2];
    int fds[2];

    (void)state;
    begin_pool("", "", "check = tcp", "");
    addresses[0] = deaf(AF_INET6, &fds[0]);
    addresses[1] = deaf(AF_INET, &fds[1]);
    order_probe_at(7, addresses, 2);
    snprintf(words, sizeof words, "connect: %s: Connection refused; %s: Connection refused",
             addr_format(&addresses[0], text[0]), addr_format(&addresses[1], text[1]));
    assert_bad(7, FAULT_BACKEND, words);
    close(fds[0]);
    close(fds[1]);
    all_done();
}

/* Its queue is full: the kernel answers nobody any more. */
static void fill_queue(struct addr *out_addr, int fds[3])
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(addr_parse_ip(SLICE("127.0.0.1"), 0, out_addr));
    assert_int_equal(bind(fds[0], &out_addr->sa, addr_len(out_addr)), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&ss, &len), 0);
    *out_addr = addr_from_sockaddr(&ss);
    for (int i = 1; i < 3; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], &out_addr->sa, addr_len(out_addr));
    }
}

static void test_connecting_takes_the_shorter_of_both_times(void **state)
{
    static const char *const rows[][2] = {
        {"connect_timeout = 1m", "check = tcp check_timeout = 100ms"},
        {"connect_timeout = 100ms", "check = tcp check_timeout = 1m"},
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char text[ADDR_TEXT], words[128];
        struct addr hole;
        int fds[3];

        begin_pool(rows[i][0], "", rows[i][1], "");
        fill_queue(&hole, fds);
        order_probe_at(7, &hole, 1);
        snprintf(words, sizeof words, "connect: %s: no answer within 100 ms",
                 addr_format(&hole, text));
        assert_bad(7, FAULT_BACKEND, words);
        for (int k = 0; k < 3; k++)
            close(fds[k]);
        all_done();
    }
}

static void test_what_connecting_took_is_not_given_again(void **state)
{
    struct addr addresses[2];
    uint64_t begun_ms;
    int fds[3];

    (void)state;
    begin_pool("", "", "check = greeting check_timeout = 400ms", "");
    fill_queue(&addresses[0], fds);
    addresses[1] = world.backend;
    begun_ms = loop_now_ms(world.child.loop);
    order_probe_at(7, addresses, 2);
    backend_accepts(&backend);
    assert_true(loop_now_ms(world.child.loop) - begun_ms >= 200);
    assert_bad(7, FAULT_BACKEND,
               "greeting: no answer within check_timeout; if it waits for a PROXY header, write "
               "proxy = v2 or v1");
    assert_in_range(loop_now_ms(world.child.loop) - begun_ms, 400, 600);
    for (int k = 0; k < 3; k++)
        close(fds[k]);
    all_done();
}

static void test_it_connects_from_the_source_and_blames_nobody_for_a_wrong_one(void **state)
{
    char text[ADDR_TEXT], words[256];
    struct addr peer;

    (void)state;
    begin_pool("", "", "check = tcp", "source = {127.0.0.7}");
    order_probe(7);
    while ((backend.fd = listen_accept(world.backend_fd, &peer, NULL)) < 0)
        turn_once();
    assert_int_equal(ntohl(peer.in.sin_addr.s_addr), 0x7f000007);
    assert_good(7);
    all_done();

    begin_pool("", "", "check = tcp", "source = {192.0.2.1}");
    order_probe(7);
    snprintf(words, sizeof words,
             "connect: %s: no local port is free towards it; widen the sysctl "
             "net.ipv4.ip_local_port_range",
             addr_format(&world.backend, text));
    assert_bad(7, FAULT_OURS, words);
    all_done();
}

/* --- orders ----------------------------------------------------------------------------------- */

static void order(uint32_t id, uint16_t pool, uint16_t of_pool, uint32_t n)
{
    struct msg_probe m = {.pool = pool, .backend = of_pool, .addresses_n = n};

    m.addresses[0] = world.backend;
    send_msg(&world.control, MSG_PROBE, id, &m, SLICE(""), -1);
}

static void test_orders_that_make_no_sense_are_not_answered(void **state)
{
    (void)state;
    begin_pool("", "", "check = tcp", "");
    order(1, 1, 0, 1);
    order(2, 0, 1, 1);
    order(3, UINT16_MAX, UINT16_MAX, 1);
    order(4, 0, 0, 0);
    order(5, 0, 0, IPC_ADDRESSES_MAX + 1);
    order(6, 0, 0, UINT32_MAX);
    order_probe(7);
    assert_good(7);
    assert_int_equal(count_of(METRIC_PROBES), 1);
    all_done();
}

static void test_where_nothing_is_checked_nobody_is_probed(void **state)
{
    struct peer client;

    (void)state;
    begin_pool("", "", "check = off", "");
    order_probe(7);
    /* The next that control hears. */
    is_greeted(&client);
    assert_int_equal(listen_accept(world.backend_fd, &(struct addr){0}, NULL), -1);
    peer_close(&client);
    control_hears(MSG_END);
    all_done();
}

static void test_sessions_and_probes_have_ids_of_their_own(void **state)
{
    struct peer client, of_client;
    uint32_t id;

    (void)state;
    begin_pool("", "", "check = greeting", "");
    id = reaches_backend(&client, &of_client);
    order_probe(id);
    backend_accepts(&backend);
    says(&backend, HELLO);
    assert_good(id);
    backend_says_ok(&of_client);
    assert_result(id, RESULT_OK);
    say_done(id);
    hears(&client, "a OK ");
    peer_close(&client);
    peer_close(&of_client);
    control_hears_of(id, MSG_END);
    all_done();
}

static void test_there_is_an_end_to_how_many(void **state)
{
    (void)state;
    begin_pool("", "", "check = greeting", "");
    the_worker()->descriptors = 2000;
    for (uint32_t i = 1; i <= PROBES_MAX; i++) {
        order_probe(i);
        turn_once();
    }
    order_probe(PROBES_MAX + 1);
    assert_bad(PROBES_MAX + 1, FAULT_OURS, "connect: too many probes are under way");
    assert_int_equal(the_worker()->probes_n, PROBES_MAX);
    /* One that ends makes room for one. */
    backend_accepts(&backend);
    peer_close(&backend);
    assert_bad(1, FAULT_BACKEND,
               "greeting: the server closed the connection without a word; if it waits for a PROXY "
               "header, write proxy = v2 or v1");
    order_probe(PROBES_MAX + 2);
    settle();
    assert_int_equal(the_worker()->probes_n, PROBES_MAX);
    probe_end_all(the_worker());
    all_done();
}

/* --- descriptors ------------------------------------------------------------------------------ */

/* The worker may have so many more than it keeps for others. */
static void leave_descriptors(uint64_t n)
{
    struct worker *w = the_worker();

    w->descriptors = 0;
    while (!worker_has_descriptors(w, (unsigned)n))
        w->descriptors++;
}

static void test_what_clients_need_is_not_given_to_probes(void **state)
{
    struct addr addresses[3];

    (void)state;
    begin_pool("", "", "check = greeting", "");
    for (size_t i = 0; i < 3; i++)
        addresses[i] = world.backend;
    leave_descriptors(2);
    order_probe_at(7, addresses, 3);
    assert_bad(7, FAULT_OURS, "connect: clients need all descriptors");
    order_probe_at(8, addresses, 2);
    backend_accepts(&backend);
    holds_descriptors(1);
    assert_true(worker_has_descriptors(the_worker(), 1));
    assert_false(worker_has_descriptors(the_worker(), 2));
    says(&backend, HELLO);
    assert_good(8);
    assert_true(worker_has_descriptors(the_worker(), 2));
    all_done();
}

static void test_probes_give_way_to_clients(void **state)
{
    struct peer client;

    (void)state;
    begin_pool("", "", "check = greeting", "");
    leave_descriptors(1);
    order_probe(7);
    backend_accepts(&backend);
    assert_false(worker_has_descriptors(the_worker(), 1));
    connects_with(&client, 0);
    assert_bad(7, FAULT_OURS, "greeting: given up, as clients need its descriptor");
    say_go(control_hears(MSG_OPEN).id);
    hears(&client, "* OK ");
    assert_not_logged("accept_failed");
    peer_close(&client);
    control_hears(MSG_END);
    all_done();
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool is_probing(void *arg)
{
    return the_worker()->probes_n == *(unsigned *)arg;
}

static void test_a_control_that_is_gone_is_not_told_and_nor_is_the_next(void **state)
{
    unsigned none = 0;

    (void)state;
    begin_pool("", "", "check = greeting check_timeout = 1m", "");
    order_probe(7);
    backend_accepts(&backend);
    lose_control();
    assert_true(turns_until(is_probing, &none));
    assert_string_equal(hears_end(&backend), "");
    peer_close(&backend);
    new_control();
    control_hears(MSG_REPLAYED);
    order_probe(8);
    backend_accepts(&backend);
    says(&backend, HELLO);
    assert_good(8);
    peer_close(&backend);

    /* One whose end was not noticed. */
    order_probe(9);
    backend_accepts(&backend);
    {
        int old = world.control.fd;

        new_control();
        close(old);
    }
    control_hears(MSG_REPLAYED);
    assert_int_equal(the_worker()->probes_n, 0);
    assert_string_equal(hears_end(&backend), "");
    all_done();
}

static void test_a_worker_that_stops_drops_its_probes(void **state)
{
    static const struct addr nowhere;
    struct addr hole;
    int fds[3];

    (void)state;
    begin_pool("", "", "check = greeting", "");
    fill_queue(&hole, fds);
    order_probe_at(7, &hole, 1);
    order_probe(8);
    backend_accepts(&backend);
    assert_int_equal(the_worker()->probes_n, 2);
    worker_role.on_stop(&world.child);
    assert_int_equal(the_worker()->probes_n, 0);
    probe_begin(the_worker(), 9, &(struct msg_probe){.addresses_n = 1, .addresses = {nowhere}});
    assert_int_equal(the_worker()->probes_n, 0);
    for (int k = 0; k < 3; k++)
        close(fds[k]);
    all_done();
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Says OK to every command, the PROXY header passed over; and to LOGOUT with silence. */
static void backend_plays(void)
{
    const char *end;
    char reply[64];

    if (backend.fd < 0) {
        if (!is_accepted(&backend))
            return;
        backend.at = backend.n = 0;
        backend.is_over = false;
        says(&backend, "* OK Hi\r\n");
    }
    peer_read(&backend);
    while ((end = strstr(backend.got + backend.at, "\r\n"))) {
        const char *line = backend.got + backend.at;

        backend.at = (size_t)(end - backend.got) + 2;
        if (strncmp(line, "PROXY ", 6) == 0 || strstr(line, "LOGOUT"))
            continue;
        snprintf(reply, sizeof reply, "%.*s OK [CAPABILITY IMAP4rev1] Of the backend\r\n",
                 (int)strcspn(line, " "), line);
        (void)send(backend.fd, reply, strlen(reply), MSG_NOSIGNAL);
    }
}

static bool is_told(void *arg)
{
    backend_plays();
    return next_msg(&world.control, arg) || world.control.is_closed;
}

/* The answer itself had no memory: the channel ends, and the next control orders anew. */
static void control_comes_again(void)
{
    lose_control();
    new_control();
    control_hears(MSG_REPLAYED);
}

static void assert_lacks_memory(const struct msg *m)
{
    assert_int_equal(m->type, MSG_PROBED);
    assert_int_equal(((const struct msg_probed *)m->body)->fault, FAULT_OURS);
    assert_non_null(memmem(m->tail.p, m->tail.n, "memory", 6));
}

/* Whether a probe is good; if not, it is for want of memory. */
static bool passes(size_t fails_at)
{
    struct msg m = {0};
    bool is_ok = false;

    order_probe(7);
    memory.n = 0;
    memory.fails_at = fails_at;
    memory.is_on = true;
    if (!turns_until(is_told, &m))
        fail_msg("stuck without request %zu", fails_at);
    memory.is_on = false;
    if (world.control.is_closed)
        control_comes_again();
    else if (((const struct msg_probed *)m.body)->is_ok)
        is_ok = true;
    else
        assert_lacks_memory(&m);
    assert_int_equal(the_worker()->probes_n, 0);
    /* One that was never connected to may lie in the queue. */
    if (backend.fd < 0)
        (void)is_accepted(&backend);
    peer_close(&backend);
    return is_ok;
}

static void test_without_memory_a_probe_says_so(void **state)
{
    size_t requests, secrets, failed = 0;

    (void)state;
    give_file("/password", strdup("secret\n"));
    begin_pool("", "", LOGIN, "proxy = v1");
    backend.fd = -1;
    assert_true(passes(0));
    assert_true(passes(0)); /* the first has let tables grow */
    requests = memory.n;
    secrets = secret_used();
    assert_in_range(requests, 8, 200);
    for (size_t at = 1; at <= requests; at++) {
        failed += !passes(at);
        assert_int_equal(secret_used(), secrets);
        assert_true(passes(0));
    }
    /* Without LOGOUT, or the words of an answer for the log, it goes on. */
    assert_in_range(failed, 10, requests);
    all_done();
}

#define T(test) cmocka_unit_test(test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_of_several_addresses_one_that_answers_is_enough),
        T(test_addresses_that_refuse_are_all_named),
        T(test_connecting_takes_the_shorter_of_both_times),
        T(test_what_connecting_took_is_not_given_again),
        T(test_it_connects_from_the_source_and_blames_nobody_for_a_wrong_one),
        T(test_orders_that_make_no_sense_are_not_answered),
        T(test_where_nothing_is_checked_nobody_is_probed),
        T(test_sessions_and_probes_have_ids_of_their_own),
        T(test_there_is_an_end_to_how_many),
        T(test_what_clients_need_is_not_given_to_probes),
        T(test_probes_give_way_to_clients),
        T(test_a_control_that_is_gone_is_not_told_and_nor_is_the_next),
        T(test_a_worker_that_stops_drops_its_probes),
        T(test_without_memory_a_probe_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
