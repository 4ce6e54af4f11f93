/* A relay that makes a server far away, for the bench alone, and a cheap one: what it takes of the
 * machine is taken from those that are measured.
 *
 *     relay LISTEN:PORT TARGET:PORT DELAY_MS        IPv4; ends at SIGTERM
 *
 * Bytes and ends of streams go on DELAY_MS after they have come, each way. Nothing else is limited:
 * 16 MiB may be on their way in a direction of a connection, and no packet is lost.
 *
 * A client's connect(2) ends at once, since the kernel answers for us. What it would have cost is
 * made up for behind it: the server is dialled three delays later (SYN, SYN with ACK, ACK), which
 * is when it would have accepted. So its greeting comes after the two round trips that it takes.
 *
 * One thread. After a turn in which bytes went through it sleeps a fifth of a millisecond, so that
 * many small pieces become few large ones; delays are right to some tenths. Each turn looks at all
 * connections, of which a bench has a few.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    RING_FIRST = 256 << 10, /* grows up to what is on its way, so as to stay in the caches */
    RING_MOST = 16 << 20,
    PIECES = 1 << 13,
    EVENTS = 64,
    TURN_NS = 200 * 1000,
    MS_NS = 1000 * 1000,
    S_NS = 1000 * MS_NS,
    DELAY_MOST_MS = 10 * 1000
};

/* Bytes that were read at once; or, if n is 0, the end of the stream. */
struct piece {
    uint64_t due_ns;
    size_t n;
};

/* A socket, to the client or the server. */
struct end {
    int fd; /* -1: not dialled yet */
    uint32_t watched;
    bool is_ready; /* epoll has something to say of it */
    bool is_broken;
};

/* One direction: a ring of bytes, and a ring of the pieces that they came in. */
struct way {
    struct end *from, *to;
    char *bytes;
    size_t cap, first, n;
    struct piece pieces[PIECES];
    size_t pieces_first, pieces_n;
    bool has_ended;  /* `from` has; what waits still goes on */
    bool is_blocked; /* `to` takes no more for now */
    bool is_shut;    /* `to` has been told the end */
};

struct connection {
    struct connection *next;
    uint64_t dial_ns;
    struct end client, server;
    struct way up, down;
};

static int poll_fd, listen_fd;
static struct sockaddr_in target;
static uint64_t delay_ns, now_ns;
static struct connection *connections;
static bool has_moved; /* bytes, in this turn */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * S_NS + (uint64_t)t.tv_nsec;
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / S_NS), .tv_nsec = (long)(ns % S_NS)};
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- one direction ---- */

static bool has_room(const struct way *w)
{
    return !w->has_ended && w->n < RING_MOST && w->pieces_n < PIECES;
}

static void grow(struct way *w)
{
    size_t cap = w->cap > 0 ? 2 * w->cap : RING_FIRST;
    size_t n = min(w->n, w->cap - w->first);
    char *bytes = malloc(cap);

    if (!bytes)
        die("memory");
    if (w->bytes) {
        memcpy(bytes, w->bytes + w->first, n);
        memcpy(bytes + n, w->bytes, w->n - n);
    }
    free(w->bytes);
    w->bytes = bytes;
    w->cap = cap;
    w->first = 0;
}

/* All that has come. False: the connection is broken. */
static bool read_all(struct way *w)
{
    while (has_room(w)) {
        size_t at, room;
        ssize_t n;

        if (w->n == w->cap)
            grow(w);
        at = (w->first + w->n) % w->cap;
        room = min(w->cap - w->n, w->cap - at);
        n = recv(w->from->fd, w->bytes + at, room, 0);
        if (n < 0)
            return errno == EAGAIN;
        w->pieces[(w->pieces_first + w->pieces_n++) % PIECES] =
            (struct piece){now_ns + delay_ns, (size_t)n};
        w->n += (size_t)n;
        w->has_ended = n == 0;
        has_moved = true;
        if ((size_t)n < room && n > 0)
            break;
    }
    return true;
}

/* What can be written at once: all that is due, up to the ring's seam. */
static size_t due_bytes(const struct way *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->pieces_n; i++) {
        const struct piece *p = &w->pieces[(w->pieces_first + i) % PIECES];

        if (p->due_ns > now_ns)
            break;
        n += p->n;
    }
    return min(n, w->cap - w->first);
}

static void take(struct way *w, size_t n)
{
    w->first = (w->first + n) % w->cap;
    w->n -= n;
    while (n > 0) {
        struct piece *p = &w->pieces[w->pieces_first];
        size_t part = min(n, p->n);

        n -= part;
        p->n -= part;
        if (p->n > 0)
            return;
        w->pieces_first = (w->pieces_first + 1) % PIECES;
        w->pieces_n--;
    }
}

static bool is_due(const struct way *w)
{
    return w->pieces_n > 0 && w->pieces[w->pieces_first].due_ns <= now_ns;
}

/* False: the connection is broken. */
static bool write_due(struct way *w)
{
    size_t due;

    while ((due = due_bytes(w)) > 0) {
        ssize_t n = send(w->to->fd, w->bytes + w->first, due, MSG_NOSIGNAL);

        w->is_blocked = n < 0 && errno == EAGAIN;
        if (n < 0)
            return w->is_blocked;
        take(w, (size_t)n);
        has_moved = true;
    }
    if (is_due(w)) {
        w->pieces_n = 0;
        w->is_shut = true;
        shutdown(w->to->fd, SHUT_WR);
    }
    return true;
}

static uint64_t next_due(const struct way *w)
{
    return w->pieces_n > 0 && !w->is_blocked ? w->pieces[w->pieces_first].due_ns : UINT64_MAX;
}

/* ---- connections ---- */

static void add(struct end *e, int fd)
{
    struct epoll_event event = {.data.ptr = e};
    int yes = 1;

    *e = (struct end){.fd = fd};
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0 ||
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("socket");
}

/* For what its two ways want. One that has nothing more to hear or say is not watched at all, since
 * epoll would tell of nothing but its end. */
static void watch(struct end *e, const struct way *reads, const struct way *writes)
{
    uint32_t events = (has_room(reads) ? EPOLLIN : 0) | (writes->is_blocked ? EPOLLOUT : 0);
    struct epoll_event event = {.events = events, .data.ptr = e};
    bool is_over = reads->has_ended && writes->is_shut;

    if (e->fd >= 0 && (is_over || events != e->watched))
        epoll_ctl(poll_fd, is_over ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, e->fd, &event);
    e->watched = events;
    e->is_ready = false;
}

static void accept_one(void)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct connection *c = calloc(1, sizeof *c);

    if (!c || fd < 0)
        die("accept");
    c->up = (struct way){.from = &c->client, .to = &c->server};
    c->down = (struct way){.from = &c->server, .to = &c->client};
    c->dial_ns = now_ns + 3 * delay_ns;
    c->server.fd = -1;
    add(&c->client, fd);
    c->next = connections;
    connections = c;
}

static bool dial(struct connection *c)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        die("socket");
    add(&c->server, fd);
    return connect(fd, (struct sockaddr *)&target, sizeof target) == 0 || errno == EINPROGRESS;
}

/* Does what can be done. False: the connection is over, or broken. */
static bool serve(struct connection *c)
{
    if (c->client.is_broken || c->server.is_broken)
        return false;
    if (c->server.fd < 0 && c->dial_ns <= now_ns && !dial(c))
        return false;
    if (c->client.is_ready && !read_all(&c->up))
        return false;
    if (c->server.is_ready && !read_all(&c->down))
        return false;
    if (c->server.fd >= 0 && (!write_due(&c->up) || !write_due(&c->down)))
        return false;
    watch(&c->client, &c->up, &c->down);
    watch(&c->server, &c->down, &c->up);
    return !c->up.is_shut || !c->down.is_shut;
}

static void drop(struct connection *c)
{
    close(c->client.fd);
    if (c->server.fd >= 0)
        close(c->server.fd);
    free(c->up.bytes);
    free(c->down.bytes);
    free(c);
}

static void serve_all(void)
{
    for (struct connection **at = &connections; *at;) {
        struct connection *c = *at;

        if (serve(c)) {
            at = &c->next;
        } else {
            *at = c->next;
            drop(c);
        }
    }
}

/* When something is to be done though nothing comes. */
static uint64_t next_ns(void)
{
    uint64_t next = UINT64_MAX;

    for (const struct connection *c = connections; c; c = c->next) {
        uint64_t up = c->server.fd < 0 ? c->dial_ns : next_due(&c->up);
        uint64_t down = next_due(&c->down);

        next = up < next ? up : next;
        next = down < next ? down : next;
    }
    return next;
}

/* ---- the program ---- */

static void turn(void)
{
    struct epoll_event events[EVENTS];
    uint64_t next = next_ns();
    struct timespec wait = timespec_of(next > now_ns ? next - now_ns : 0);
    const struct timespec pause = timespec_of(TURN_NS);
    int n = epoll_pwait2(poll_fd, events, EVENTS, next < UINT64_MAX ? &wait : NULL, NULL);

    if (n < 0 && errno != EINTR)
        die("epoll_pwait2");
    now_ns = clock_ns();
    for (int i = 0; i < n; i++) {
        struct end *e = events[i].data.ptr;

        if (!e) {
            accept_one();
            continue;
        }
        e->is_ready = true;
        e->is_broken = events[i].events & EPOLLERR;
    }
    has_moved = false;
    serve_all();
    if (has_moved)
        nanosleep(&pause, NULL);
    now_ns = clock_ns();
}

/* "127.0.0.2:10143" */
static bool read_place(char *text, struct sockaddr_in *out)
{
    char *colon = strrchr(text, ':');

    if (!colon)
        return false;
    *colon = '\0';
    *out =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    return inet_pton(AF_INET, text, &out->sin_addr) == 1;
}

static void listen_at(const struct sockaddr_in *place)
{
    struct epoll_event event = {.events = EPOLLIN};
    int yes = 1;

    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listen_fd < 0 || poll_fd < 0 ||
        setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(listen_fd, (const struct sockaddr *)place, sizeof *place) < 0 ||
        listen(listen_fd, SOMAXCONN) < 0 ||
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0)
        die("listen");
}

int main(int argc, char **argv)
{
    struct sockaddr_in place;
    double delay_ms = argc == 4 ? atof(argv[3]) : -1;

    if (delay_ms < 0 || delay_ms > DELAY_MOST_MS || !read_place(argv[1], &place) ||
        !read_place(argv[2], &target)) {
        fprintf(stderr, "usage: relay LISTEN:PORT TARGET:PORT DELAY_MS\n");
        return 2;
    }
    delay_ns = (uint64_t)(delay_ms * MS_NS);
    listen_at(&place);
    printf("listening on %s:%d\n", argv[1], ntohs(place.sin_port));
    fflush(stdout);
    now_ns = clock_ns();
    for (;;)
        turn();
}
