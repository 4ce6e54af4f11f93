/* The resolver, against a small DNS server on the same loop. The clock is ours and moves on instead
 * of sleeping, so that timeouts take no time. */
#include "lookup/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t skipped_ms;

/* These two stand before those of libc, for libev and c-ares too. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int ret = (int)syscall(SYS_clock_gettime, clock, ts);

    ts->tv_sec += (time_t)(skipped_ms / 1000);
    ts->tv_nsec += (long)(skipped_ms % 1000) * 1000000;
    if (ts->tv_nsec >= 1000000000) {
        ts->tv_sec++;
        ts->tv_nsec -= 1000000000;
    }
    return ret;
}

int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    int n = (int)syscall(SYS_epoll_pwait, epfd, events, max, 0, NULL, (size_t)0);

    if (n == 0 && timeout_ms > 0)
        skipped_ms += (uint64_t)timeout_ms;
    return n;
}

/* ---- the DNS server ---- */

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, RCODE_NXDOMAIN = 3, FLAG_TC = 0x02 };

struct record {
    const char *name;
    int type;
    uint32_t ttl_s;
    const char *value;
};

static const struct record records[] = {
    {"mail1.test", TYPE_A, 300, "192.0.2.1"},
    {"mail1.test", TYPE_A, 60, "192.0.2.2"},
    {"mail1.test", TYPE_AAAA, 500, "2001:db8::1"},
    {"alias.test", TYPE_CNAME, 5, "real.test"},
    {"real.test", TYPE_A, 300, "192.0.2.3"},
    {"six.test", TYPE_AAAA, 77, "2001:db8::6"},
    {"empty.test", 0, 0, ""},
    {"many.test", 0, 0, ""},   /* 12 addresses */
    {"big.test", 0, 0, ""},    /* by TCP only */
    {"silent.test", 0, 0, ""}, /* no answer */
};

struct server {
    struct watch udp, tcp, conn;
    int udp_fd, tcp_fd, conn_fd;
    bool is_silent;
    unsigned asked;
    char address[32];
};

static struct loop *loop;
static struct server servers[2];

static size_t put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return 2;
}

static size_t put_name(uint8_t *p, const char *name)
{
    size_t n = 0;

    while (*name) {
        size_t label = strcspn(name, ".");

        p[n++] = (uint8_t)label;
        memcpy(p + n, name, label);
        n += label;
        name += label + (name[label] == '.');
    }
    p[n++] = 0;
    return n;
}

static size_t put_record(uint8_t *p, const char *owner, int type, uint32_t ttl_s, const char *value)
{
    size_t n = put_name(p, owner), data;

    n += put16(p + n, (unsigned)type);
    n += put16(p + n, 1);
    n += put16(p + n, ttl_s >> 16);
    n += put16(p + n, ttl_s & 0xffff);
    data = n + 2;
    if (type == TYPE_CNAME)
        n = data + put_name(p + data, value);
    else {
        assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, value, p + data), 1);
        n = data + (type == TYPE_A ? 4 : 16);
    }
    put16(p + data - 2, (unsigned)(n - data));
    return n;
}

/* The question's name with dots; returns where its type stands. */
static size_t get_name(const uint8_t *query, char out[256])
{
    size_t at = 12, n = 0;

    while (query[at]) {
        memcpy(out + n, query + at + 1, query[at]);
        n += query[at];
        out[n++] = '.';
        at += query[at] + 1U;
    }
    out[n ? n - 1 : 0] = '\0';
    return at + 1;
}

/* Records for `name`, following an alias. Returns whether the name exists. */
static bool put_records(const char *name, int type, uint8_t *out, size_t *n, unsigned *count)
{
    bool exists = false;

    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        const struct record *r = &records[i];

        if (strcmp(r->name, name) != 0)
            continue;
        exists = true;
        if (r->type != type && r->type != TYPE_CNAME)
            continue;
        *n += put_record(out + *n, name, r->type, r->ttl_s, r->value);
        ++*count;
        if (r->type == TYPE_CNAME)
            (void)put_records(r->value, type, out, n, count);
    }
    if (type == TYPE_A && (strcmp(name, "many.test") == 0 || strcmp(name, "big.test") == 0)) {
        for (int i = 1; i <= 12; i++) {
            char ip[32];

            snprintf(ip, sizeof ip, "192.0.2.%d", i);
            *n += put_record(out + *n, name, TYPE_A, 30, ip);
            ++*count;
        }
    }
    return exists;
}

/* 0: no answer. */
static size_t answer(struct server *s, const uint8_t *query, bool is_tcp, uint8_t out[2048])
{
    char name[256];
    size_t n = get_name(query, name);
    int type = query[n] << 8 | query[n + 1];
    unsigned count = 0;

    s->asked++;
    if (s->is_silent || strcmp(name, "silent.test") == 0)
        return 0;
    n += 4;
    memset(out, 0, 2048);
    memcpy(out, query, n);
    out[2] = 0x84;
    out[3] = 0;
    put16(out + 10, 0);
    if (strcmp(name, "big.test") == 0 && !is_tcp)
        out[2] |= FLAG_TC;
    else if (!put_records(name, type, out, &n, &count))
        out[3] = RCODE_NXDOMAIN;
    put16(out + 6, count);
    return n;
}

static void on_udp(struct watch *w, unsigned events)
{
    struct server *s = CONTAINER(w, struct server, udp);
    uint8_t query[600] = {0}, out[2048];
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    size_t n;

    (void)events;
    assert_true(recvfrom(s->udp_fd, query, 512, 0, (struct sockaddr *)&peer, &len) > 12);
    n = answer(s, query, false, out);
    if (n)
        assert_int_equal(sendto(s->udp_fd, out, n, 0, (struct sockaddr *)&peer, len), n);
}

static void conn_close(struct server *s)
{
    if (s->conn_fd < 0)
        return;
    watch_set(loop, &s->conn, 0);
    close(s->conn_fd);
    s->conn_fd = -1;
}

static void on_conn(struct watch *w, unsigned events)
{
    struct server *s = CONTAINER(w, struct server, conn);
    uint8_t query[600] = {0}, out[2 + 2048];
    ssize_t got = recv(s->conn_fd, query, 512, 0);
    size_t at = 0;

    (void)events;
    if (got <= 0) {
        conn_close(s);
        return;
    }
    /* A and AAAA may come in one segment. */
    while (at + 2 < (size_t)got) {
        size_t n = answer(s, query + at + 2, true, out + 2);

        put16(out, (unsigned)n);
        assert_int_equal(send(s->conn_fd, out, n + 2, MSG_NOSIGNAL), n + 2);
        at += 2 + (size_t)(query[at] << 8 | query[at + 1]);
    }
}

static void on_tcp(struct watch *w, unsigned events)
{
    struct server *s = CONTAINER(w, struct server, tcp);

    (void)events;
    conn_close(s);
    s->conn_fd = accept4(s->tcp_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(s->conn_fd >= 0);
    watch_init(&s->conn, s->conn_fd, on_conn);
    watch_set(loop, &s->conn, LOOP_READ);
}

/* Says whether the port that UDP was given is free for TCP too. */
static bool server_try(struct server *s)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    s->tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    s->conn_fd = -1;
    assert_int_equal(bind(s->udp_fd, (struct sockaddr *)&in, len), 0);
    assert_int_equal(getsockname(s->udp_fd, (struct sockaddr *)&in, &len), 0);
    snprintf(s->address, sizeof s->address, "127.0.0.1:%u", ntohs(in.sin_port));
    if (bind(s->tcp_fd, (struct sockaddr *)&in, len) == 0 && listen(s->tcp_fd, 5) == 0)
        return true;
    close(s->udp_fd);
    close(s->tcp_fd);
    return false;
}

static void server_start(struct server *s)
{
    int tries = 0;

    memset(s, 0, sizeof *s);
    while (!server_try(s))
        assert_true(++tries < 20);
    watch_init(&s->udp, s->udp_fd, on_udp);
    watch_init(&s->tcp, s->tcp_fd, on_tcp);
    watch_set(loop, &s->udp, LOOP_READ);
    watch_set(loop, &s->tcp, LOOP_READ);
}

static void server_stop(struct server *s)
{
    watch_set(loop, &s->udp, 0);
    watch_set(loop, &s->tcp, 0);
    conn_close(s);
    close(s->udp_fd);
    close(s->tcp_fd);
}

/* ---- tests ---- */

static struct resolver *resolver;

static struct {
    unsigned calls, stop_after;
    struct addr addresses[RESOLVER_ADDRESSES];
    size_t n;
    uint32_t ttl_s;
    struct err err;
} told;

static void on_done(void *arg, const struct addr *addresses, size_t n, uint32_t ttl_s,
                    const struct err *err)
{
    assert_ptr_equal(arg, &told);
    told.n = n;
    told.ttl_s = ttl_s;
    assert_true((n == 0) == (err != NULL));
    if (err)
        told.err = *err;
    else
        memcpy(told.addresses, addresses, n * sizeof *addresses);
    if (++told.calls == told.stop_after)
        loop_stop(loop);
}

static int setup(void **state)
{
    const char *addresses[2];
    struct err err = {0};

    (void)state;
    loop = loop_new(&err);
    assert_non_null(loop);
    for (int i = 0; i < 2; i++) {
        server_start(&servers[i]);
        addresses[i] = servers[i].address;
    }
    resolver = resolver_new(loop, addresses, 2, &err);
    assert_non_null(resolver);
    memset(&told, 0, sizeof told);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    resolver_free(&resolver);
    assert_null(resolver);
    resolver_free(&resolver);
    for (int i = 0; i < 2; i++)
        server_stop(&servers[i]);
    loop_free(&loop);
    return 0;
}

static void resolve(const char *name)
{
    unsigned before = told.calls;

    resolver_resolve(resolver, name, 10143, on_done, &told);
    assert_int_equal(told.calls, before);
    told.stop_after = before + 1;
    loop_run(loop);
    assert_int_equal(told.calls, before + 1);
}

static void assert_has(const char *text)
{
    for (size_t i = 0; i < told.n; i++) {
        char got[ADDR_TEXT];

        if (strcmp(addr_format(&told.addresses[i], got), text) == 0)
            return;
    }
    fail_msg("%s is not among the addresses", text);
}

static void
test_a_name_has_its_addresses_of_both_families_for_the_shortest_time_to_live(void **state)
{
    (void)state;
    resolve("mail1.test");
    assert_int_equal(told.n, 3);
    assert_has("192.0.2.1:10143");
    assert_has("192.0.2.2:10143");
    assert_has("[2001:db8::1]:10143");
    assert_int_equal(told.ttl_s, 60);
}

static void test_a_name_may_have_one_family_only(void **state)
{
    (void)state;
    resolve("six.test");
    assert_int_equal(told.n, 1);
    assert_has("[2001:db8::6]:10143");
    assert_int_equal(told.ttl_s, 77);
}

static void test_the_time_to_live_of_an_alias_counts(void **state)
{
    (void)state;
    resolve("alias.test");
    assert_int_equal(told.n, 1);
    assert_has("192.0.2.3:10143");
    assert_int_equal(told.ttl_s, 5);
}

static void test_more_addresses_than_we_take_are_left_out(void **state)
{
    (void)state;
    resolve("many.test");
    assert_int_equal(told.n, RESOLVER_ADDRESSES);
    assert_int_equal(told.ttl_s, 30);
}

static void test_an_answer_too_big_for_udp_is_fetched_by_tcp(void **state)
{
    (void)state;
    resolve("big.test");
    assert_int_equal(told.n, RESOLVER_ADDRESSES);
}

static void test_the_hosts_file_is_asked_too(void **state)
{
    (void)state;
    resolve("localhost");
    assert_true(told.n >= 1);
    assert_int_equal(addr_port(&told.addresses[0]), 10143);
    assert_int_equal(told.ttl_s, 0);
    assert_int_equal(servers[0].asked, 0);
}

static void test_a_name_that_does_not_exist_is_told(void **state)
{
    (void)state;
    resolve("gone.test.");
    assert_int_equal(told.n, 0);
    assert_string_equal(told.err.text, "cannot resolve \"gone.test.\": Domain name not found");
}

static void test_a_name_without_addresses_is_told(void **state)
{
    (void)state;
    resolve("empty.test.");
    assert_int_equal(told.n, 0);
    assert_non_null(strstr(told.err.text, "cannot resolve \"empty.test.\": "));
}

static void test_a_text_that_cannot_be_a_name_is_told(void **state)
{
    char name[400];

    (void)state;
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    resolve(name);
    assert_int_equal(told.n, 0);
    resolve("");
    assert_int_equal(told.n, 0);
}

static void test_silence_ends_and_the_second_nameserver_is_asked_meanwhile(void **state)
{
    uint64_t begun_ms = loop_now_ms(loop);

    (void)state;
    resolve("silent.test.");
    assert_int_equal(told.n, 0);
    assert_string_equal(told.err.text,
                        "cannot resolve \"silent.test.\": Timeout while contacting DNS servers");
    assert_true(servers[0].asked >= 2 && servers[1].asked >= 2);
    assert_true(loop_now_ms(loop) - begun_ms < 7000);
}

static void test_a_single_dead_nameserver_is_noticed_within_three_seconds(void **state)
{
    const char *address = servers[0].address;
    uint64_t begun_ms;
    struct err err;

    (void)state;
    resolver_free(&resolver);
    resolver = resolver_new(loop, &address, 1, &err);
    assert_non_null(resolver);
    servers[0].is_silent = true;
    begun_ms = loop_now_ms(loop);
    resolve("mail1.test.");
    assert_int_equal(told.n, 0);
    assert_true(loop_now_ms(loop) - begun_ms < 3500);
}

static void test_the_second_nameserver_answers_for_a_silent_first(void **state)
{
    uint64_t begun_ms = loop_now_ms(loop);

    (void)state;
    servers[0].is_silent = true;
    resolve("mail1.test");
    assert_int_equal(told.n, 3);
    assert_true(loop_now_ms(loop) - begun_ms < 2000);
}

static void on_done_ask_again(void *arg, const struct addr *addresses, size_t n, uint32_t ttl_s,
                              const struct err *err)
{
    (void)addresses;
    (void)n;
    (void)ttl_s;
    (void)err;
    resolver_resolve(resolver, "localhost", 1, on_done, arg);
    resolver_resolve(resolver, "mail1.test", 10143, on_done, arg);
}

static void test_a_callback_may_ask_further(void **state)
{
    (void)state;
    told.stop_after = 2;
    resolver_resolve(resolver, "mail1.test", 10143, on_done_ask_again, &told);
    loop_run(loop);
    assert_int_equal(told.calls, 2);
    assert_int_equal(told.n, 3);
}

static void test_many_questions_may_be_open_at_once(void **state)
{
    (void)state;
    told.stop_after = 50;
    for (int i = 0; i < 50; i++)
        resolver_resolve(resolver, i % 2 ? "mail1.test" : "gone.test.", 10143, on_done, &told);
    loop_run(loop);
    assert_int_equal(told.calls, 50);
}

static void test_freeing_forgets_the_questions_that_are_open(void **state)
{
    (void)state;
    resolver_resolve(resolver, "mail1.test", 10143, on_done, &told);
    resolver_resolve(resolver, "localhost", 10143, on_done, &told);
    resolver_free(&resolver);
    assert_int_equal(told.calls, 0);
}

static void test_nameservers_are_addresses(void **state)
{
    static const char *const good[] = {"192.0.2.53", "192.0.2.53:5353", "::1", "[::1]:5353"};
    static const char *const bad[] = {"dns.example.org", "192.0.2.53:", "192.0.2.53:0", ""};
    struct resolver *r;
    struct err err;

    (void)state;
    r = resolver_new(loop, good, 4, &err);
    assert_non_null(r);
    resolver_free(&r);
    r = resolver_new(loop, NULL, 0, &err);
    assert_non_null(r);
    resolver_free(&r);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(resolver_new(loop, &bad[i], 1, &err));
        assert_non_null(strstr(err.text, "write ip or ip:port"));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_name_has_its_addresses_of_both_families_for_the_shortest_time_to_live),
        T(test_a_name_may_have_one_family_only),
        T(test_the_time_to_live_of_an_alias_counts),
        T(test_more_addresses_than_we_take_are_left_out),
        T(test_an_answer_too_big_for_udp_is_fetched_by_tcp),
        T(test_the_hosts_file_is_asked_too),
        T(test_a_name_that_does_not_exist_is_told),
        T(test_a_name_without_addresses_is_told),
        T(test_a_text_that_cannot_be_a_name_is_told),
        T(test_silence_ends_and_the_second_nameserver_is_asked_meanwhile),
        T(test_a_single_dead_nameserver_is_noticed_within_three_seconds),
        T(test_the_second_nameserver_answers_for_a_silent_first),
        T(test_a_callback_may_ask_further),
        T(test_many_questions_may_be_open_at_once),
        T(test_freeing_forgets_the_questions_that_are_open),
        T(test_nameservers_are_addresses),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
