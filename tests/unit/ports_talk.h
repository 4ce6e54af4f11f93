/* Connections and unix sockets of a test's own, to be looked at. */
#ifndef USHER_TESTS_UNIT_PORTS_TALK_H
#define USHER_TESTS_UNIT_PORTS_TALK_H

#include "ports_sockets.h"

#include <poll.h>
#include <sys/un.h>

static inline void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, 10000), 1);
}

static inline const struct look_connections *connections_of(const struct look *look, uint16_t port)
{
    for (size_t i = 0; i < look->connections_n; i++) {
        if (look->connections[i].port == port)
            return &look->connections[i];
    }
    return NULL;
}

/* Two established connections, and one that the client has closed. */
struct talk {
    struct sock s;
    int clients[2], conns[3];
};

static inline struct talk begin_talk(const char *ip)
{
    struct talk t = {.s = listening(ip, 0, 0, 5)};
    int leaving = connected(&t.s.addr);

    t.conns[2] = accept(t.s.fd, NULL, NULL);
    close(leaving);
    wait_readable(t.conns[2]);
    for (size_t i = 0; i < 2; i++) {
        t.clients[i] = connected(&t.s.addr);
        t.conns[i] = accept(t.s.fd, NULL, NULL);
    }
    return t;
}

static inline void end_talk(const struct talk *t)
{
    for (size_t i = 0; i < 2; i++)
        close(t->clients[i]);
    for (size_t i = 0; i < 3; i++)
        close(t->conns[i]);
    close(t->s.fd);
}

/* Connections of others may have the port, from another address or lingering. */
static inline void assert_talk(const struct look *look, const struct talk *t)
{
    enum { TIME_WAIT = 6, CLOSE_WAIT = 8 };
    static const uint32_t expected[LOOK_TCP_STATES] = {
        [LOOK_TCP_ESTABLISHED] = 2, [CLOSE_WAIT] = 1};
    const struct look_connections *c = connections_of(look, addr_port(&t->s.addr));

    assert_non_null(c);
    for (unsigned i = 0; c && i < LOOK_TCP_STATES; i++) {
        if (i == LOOK_TCP_ESTABLISHED)
            assert_true(c->by_state[i] >= expected[i]);
        else if (i != TIME_WAIT)
            assert_int_equal(c->by_state[i], expected[i]);
    }
    assert_int_equal(seen(look, &t->s)->queue, 0);
}

/* --- unix sockets ----------------------------------------------------------------------------- */

static inline struct sock listening_unix(const char *name, size_t n)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sock s = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    assert_true(s.fd >= 0 && n <= sizeof un.sun_path);
    memcpy(un.sun_path, name, n);
    assert_int_equal(
        bind(s.fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
        0);
    assert_int_equal(listen(s.fd, 9), 0);
    s.inode = inode_of(s.fd);
    return s;
}

static struct {
    char folder[32], imap[64], other[64], abstract[64];
    struct sock imap_s, other_s, abstract_s;
} un;

static inline void open_unix(void)
{
    snprintf(un.folder, sizeof un.folder, "/tmp/usher-test-XXXXXX");
    assert_non_null(mkdtemp(un.folder));
    snprintf(un.imap, sizeof un.imap, "%s/imap-login", un.folder);
    snprintf(un.other, sizeof un.other, "%s/other", un.folder);
    /* The first byte will be NUL. */
    snprintf(un.abstract, sizeof un.abstract, "@usher-test-imap-%d", (int)getpid());
    un.imap_s = listening_unix(un.imap, strlen(un.imap));
    un.other_s = listening_unix(un.other, strlen(un.other));
    un.abstract[0] = '\0';
    un.abstract_s = listening_unix(un.abstract, 1 + strlen(un.abstract + 1));
    un.abstract[0] = '@';
}

static inline void close_unix(void)
{
    close(un.imap_s.fd);
    close(un.other_s.fd);
    close(un.abstract_s.fd);
    unlink(un.imap);
    unlink(un.other);
    rmdir(un.folder);
}

#endif
