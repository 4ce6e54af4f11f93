/* A server of the socketmap protocol on the loop of the test, which says what the test tells it to,
 * and one who asks it by the driver. */
#ifndef USHER_TESTS_UNIT_SOCKETMAP_WORLD_H
#define USHER_TESTS_UNIT_SOCKETMAP_WORLD_H

#include "cm.h"
#include "quick_clock.h"

#include "directory/directory.h"
#include "directory/facts.h"
#include "directory/netstring.h"
#include "ipc/message.h"
#include "net/listen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { TIMEOUT_MS = 2000, PATIENCE_MS = 20000, TOLD = 256, SENT_MAX = 100, QUEUED_MAX = 10000 };

/* ---- the server ---- */

static struct {
    struct watch listening, conn;
    struct addr addr;
    int listening_fd, fd; /* -1: none */
    unsigned connections;
    char got[1 << 16]; /* of the newest connection */
    size_t got_n;
    bool is_over;  /* the client has closed it */
    bool hangs_up; /* as soon as it is asked */
} server;

static struct loop *loop;

static inline void hang_up(void)
{
    if (server.fd < 0)
        return;
    watch_set(loop, &server.conn, 0);
    close(server.fd);
    server.fd = -1;
}

static inline void say_slice(struct slice text)
{
    assert_true(server.fd >= 0);
    assert_int_equal(send(server.fd, text.p, text.n, MSG_NOSIGNAL), (ssize_t)text.n);
}

static inline void say(const char *text)
{
    say_slice(slice_str(text));
}

static inline void on_client_bytes(struct watch *w, unsigned events)
{
    ssize_t n = recv(server.fd, server.got + server.got_n, sizeof server.got - 1 - server.got_n, 0);

    (void)w;
    (void)events;
    if (n <= 0) {
        server.is_over = true;
        hang_up();
        return;
    }
    server.got_n += (size_t)n;
    server.got[server.got_n] = '\0';
    if (server.hangs_up)
        hang_up();
}

static inline void on_client(struct watch *w, unsigned events)
{
    (void)w;
    (void)events;
    hang_up();
    server.fd = accept4(server.listening_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(server.fd >= 0);
    server.connections++;
    server.got_n = 0;
    server.got[0] = '\0';
    server.is_over = false;
    watch_init(&server.conn, server.fd, on_client_bytes);
    watch_set(loop, &server.conn, LOOP_READ);
}

static inline void listen_again(void)
{
    struct err err;

    assert_int_equal(listen_open(&server.addr, &server.listening_fd, 1, &err), 0);
    watch_init(&server.listening, server.listening_fd, on_client);
    watch_set(loop, &server.listening, LOOP_READ);
}

static inline void stop_listening(void)
{
    if (server.listening_fd < 0)
        return;
    watch_set(loop, &server.listening, 0);
    close(server.listening_fd);
    server.listening_fd = -1;
}

/* ---- who asks ---- */

struct told {
    int id;
    enum directory_status status;
    char text[FACTS_MAX + 1];
};

static const struct directory_driver *const driver = &directory_socketmap;
static struct directory *directory;
static struct told told[TOLD];
static size_t told_n;
static int ids[TOLD];
static struct deadline stopper;
static struct conf_directory conf;
static struct conf_global global;

static inline void on_told(void *arg, enum directory_status status, struct slice text)
{
    struct told *t = &told[told_n++];

    assert_true(told_n <= TOLD);
    t->id = *(int *)arg;
    t->status = status;
    snprintf(t->text, sizeof t->text, "%.*s", SLICE_ARG(text));
}

static inline void ask_as(int id, const char *user)
{
    ids[id] = id;
    driver->lookup(directory, slice_str(user), on_told, &ids[id]);
}

static inline void ask(const char *user)
{
    ask_as(0, user);
}

static inline void on_stop(struct deadline *d)
{
    (void)d;
    loop_stop(loop);
}

static inline void pass(uint64_t ms)
{
    deadline_set(loop, &stopper, ms);
    loop_run(loop);
}

/* ---- waiting for what is on its way; the clock stands still to the directory ---- */

static bool (*is_so)(size_t n);
static size_t is_so_n;

static inline void on_turn(void *arg)
{
    (void)arg;
    if (is_so && is_so(is_so_n))
        loop_stop(loop);
}

static inline void wait_for(bool (*what)(size_t n), size_t n)
{
    is_so = what;
    is_so_n = n;
    is_time_real = true;
    deadline_set(loop, &stopper, PATIENCE_MS);
    loop_run(loop);
    deadline_clear(&stopper);
    is_time_real = false;
    is_so = NULL;
    assert_true(what(n));
}

static inline bool is_told(size_t n)
{
    return told_n >= n;
}

/* Of the newest connection. */
static inline bool has_asked(size_t n)
{
    struct slice left = slice_of(server.got, server.got_n), text;
    struct err err;
    size_t asked = 0, used;

    while (netstring_parse(left, IPC_USER_MAX + 64, &text, &used, &err) == NETSTRING_OK) {
        left = slice_sub(left, used, left.n);
        asked++;
    }
    return asked >= n;
}

static inline bool is_connection(size_t n)
{
    return server.connections >= n;
}

static inline bool is_over(size_t n)
{
    (void)n;
    return server.is_over;
}

static inline void assert_told(size_t n, enum directory_status status, const char *text)
{
    wait_for(is_told, n);
    assert_int_equal(told_n, n);
    assert_int_equal(told[n - 1].status, status);
    assert_string_equal(told[n - 1].text, text);
}

static inline void assert_failed(size_t n, const char *part)
{
    wait_for(is_told, n);
    assert_int_equal(told_n, n);
    assert_int_equal(told[n - 1].status, DIRECTORY_FAILED);
    if (!strstr(told[n - 1].text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, told[n - 1].text);
}

static inline void assert_asked(unsigned connections, size_t n, const char *text)
{
    wait_for(is_connection, connections);
    wait_for(has_asked, n);
    assert_int_equal(server.connections, connections);
    assert_string_equal(server.got, text);
}

/* When the server has been asked so much on its newest connection, it answers. */
static inline void answer(size_t asked, const char *text)
{
    wait_for(has_asked, asked);
    say(text);
}

static inline int open_directory(const char *address, struct err *err)
{
    const struct directory_params params = {
        .conf = &conf, .global = &global, .timeout_ms = TIMEOUT_MS, .loop = loop};

    conf = (struct conf_directory){.title = "people", .address = address, .map = "users"};
    return driver->open(&params, &directory, err);
}

static inline int setup(void **state)
{
    static char address[ADDR_TEXT];
    struct err err;

    (void)state;
    memset(&server, 0, sizeof server);
    server.fd = server.listening_fd = -1;
    told_n = 0;
    loop = loop_new(&err);
    deadline_init(&stopper, on_stop);
    loop_on_turn(loop, on_turn, NULL);
    assert_true(addr_parse_ip(SLICE("127.0.0.1"), 0, &server.addr));
    listen_again();
    addr_format(&server.addr, address);
    return open_directory(address, &err);
}

static inline int teardown(void **state)
{
    (void)state;
    driver->close(&directory);
    assert_null(directory);
    hang_up();
    stop_listening();
    deadline_clear(&stopper);
    loop_free(&loop);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

#endif
