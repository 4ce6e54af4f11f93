/* Connecting to one of several addresses: Happy Eyeballs (RFC 8305 section 5) on the loop. */
#include "net/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* fd is -1 unless the attempt is under way. */
struct attempt {
    struct watch watch;
    struct dial *dial;
    int fd;
    struct addr addr;
};

struct dial {
    struct loop *loop;
    dial_done *done;
    void *arg;
    struct deadline overall;
    struct deadline stagger; /* begins the next attempt; with none left, tells that all failed */
    struct dial_sources *sources; /* NULL: the kernel's choice */
    uint32_t timeout_ms;
    unsigned begun, ended, n; /* attempts: ended <= begun <= n */
    struct err err;
    struct attempt attempts[DIAL_ADDRESSES];
};

static void dial_free(struct dial *d)
{
    deadline_clear(&d->overall);
    deadline_clear(&d->stagger);
    for (unsigned i = 0; i < d->begun; i++) {
        struct attempt *a = &d->attempts[i];

        if (a->fd < 0)
            continue;
        watch_set(d->loop, &a->watch, 0);
        close(a->fd);
    }
    free(d);
}

static void tell_failed(struct dial *d)
{
    dial_done *done = d->done;
    void *arg = d->arg;
    struct err err = d->err;

    dial_free(d);
    done(arg, -1, NULL, &err);
}

static void tell_connected(struct attempt *a)
{
    struct dial *d = a->dial;
    dial_done *done = d->done;
    void *arg = d->arg;
    struct addr reached = a->addr;
    int fd = a->fd;

    watch_set(d->loop, &a->watch, 0);
    a->fd = -1;
    dial_free(d);
    done(arg, fd, &reached, NULL);
}

/* What an operator can do about it, where errno's own words do not tell. */
static const char *reason(int code)
{
    switch (code) {
    case EMFILE:
        return "this process may not open more files; raise its limit (LimitNOFILE=, ulimit -n)";
    case ENFILE:
        return "this machine may not open more files; raise the sysctl fs.file-max";
    case EADDRNOTAVAIL:
        return "no local port is free towards it; widen the sysctl net.ipv4.ip_local_port_range";
    case EAFNOSUPPORT:
        return "this machine does not speak that family of addresses";
    case EPERM:
    case EACCES:
        return "a firewall rule of this machine forbids it";
    default:
        return strerror(code);
    }
}

bool dial_is_ours(int code)
{
    static const int ours[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRINUSE, EAGAIN, EADDRNOTAVAIL};

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (code == ours[i])
            return true;
    }
    return false;
}

/* An address that could not be tried for a reason of ours might have been good, whatever the others
 * say. */
static void note_failure(struct dial *d, const struct addr *addr, int code, const char *why)
{
    size_t n = d->err.text[0] ? strlen(d->err.text) : 0;
    char text[ADDR_TEXT];

    snprintf(d->err.text + n, sizeof d->err.text - n, "%s%s: %s", n ? "; " : "",
             addr_format(addr, text), why);
    if (d->err.code == 0 || (dial_is_ours(code) && !dial_is_ours(d->err.code)))
        d->err.code = code;
}

/* A connect to a port of this machine on which nobody listens may be given that very port as its
 * own and so reach itself; who listens there then never gets the port. */
static bool is_connected_to_itself(int fd, const struct addr *addr)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct addr local;
    char text[2][ADDR_TEXT];

    memset(&ss, 0, sizeof ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
        return false;
    local = addr_from_sockaddr(&ss);
    return addr_port(&local) == addr_port(addr) &&
           strcmp(addr_format(&local, text[0]), addr_format(addr, text[1])) == 0;
}

static void begin_next(struct dial *d);

static void attempt_failed(struct attempt *a, int code)
{
    struct dial *d = a->dial;

    watch_set(d->loop, &a->watch, 0);
    close(a->fd);
    a->fd = -1;
    d->ended++;
    note_failure(d, &a->addr, code, reason(code));
}

static void on_attempt(struct watch *w, unsigned events)
{
    struct attempt *a = CONTAINER(w, struct attempt, watch);
    int code = 0;
    socklen_t len = sizeof code;

    (void)events;
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        code = errno;
    if (code == 0 && is_connected_to_itself(a->fd, &a->addr))
        code = ECONNREFUSED;
    if (code == 0) {
        tell_connected(a);
        return;
    }
    attempt_failed(a, code);
    if (a->dial->begun == a->dial->n && a->dial->ended == a->dial->n)
        tell_failed(a->dial);
    else
        begin_next(a->dial);
}

/* The next of the sources that has the family; NULL when none has. */
static const struct addr *next_source(struct dial_sources *sources, sa_family_t family)
{
    for (size_t i = 0; sources && i < sources->n; i++) {
        const struct addr *source = &sources->addrs[sources->turn++ % sources->n];

        if (source->sa.sa_family == family)
            return source;
    }
    return NULL;
}

/* -1 with errno. */
static int bind_source(const struct attempt *a)
{
    const struct addr *source = next_source(a->dial->sources, a->addr.sa.sa_family);
    int on = 1;

    if (!source)
        return 0;
    (void)setsockopt(a->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return bind(a->fd, &source->sa, addr_len(source));
}

/* False when it failed on the spot. */
static bool attempt_begin(struct attempt *a)
{
    a->fd = socket(a->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0) {
        a->dial->ended++;
        note_failure(a->dial, &a->addr, errno, reason(errno));
        return false;
    }
    watch_init(&a->watch, a->fd, on_attempt);
    if (bind_source(a) < 0) {
        attempt_failed(a, errno);
        return false;
    }
    if (connect(a->fd, &a->addr.sa, addr_len(&a->addr)) != 0 && errno != EINPROGRESS) {
        attempt_failed(a, errno);
        return false;
    }
    watch_set(a->dial->loop, &a->watch, LOOP_WRITE);
    return true;
}

/* Begins the next attempt that does not fail on the spot. Never tells, since it is called from
 * dial_start() too: when all have failed, that is left to the stagger deadline. */
static void begin_next(struct dial *d)
{
    bool is_begun = false;

    while (!is_begun && d->begun < d->n)
        is_begun = attempt_begin(&d->attempts[d->begun++]);
    if (d->ended == d->n)
        deadline_set(d->loop, &d->stagger, 0);
    else if (d->begun < d->n)
        deadline_set(d->loop, &d->stagger, DIAL_STAGGER_MS);
    else
        deadline_clear(&d->stagger);
}

static void on_stagger(struct deadline *deadline)
{
    struct dial *d = CONTAINER(deadline, struct dial, stagger);

    if (d->ended == d->n)
        tell_failed(d);
    else
        begin_next(d);
}

static void on_overall(struct deadline *deadline)
{
    struct dial *d = CONTAINER(deadline, struct dial, overall);
    char why[64];

    snprintf(why, sizeof why, "no answer within %u ms", d->timeout_ms);
    for (unsigned i = 0; i < d->begun; i++)
        if (d->attempts[i].fd >= 0)
            note_failure(d, &d->attempts[i].addr, ETIMEDOUT, why);
    for (unsigned i = d->begun; i < d->n; i++)
        note_failure(d, &d->attempts[i].addr, ETIMEDOUT, "not tried, no time was left");
    tell_failed(d);
}

/* The families by turns, beginning with that of the first address; within a family as given. */
static void interleave(struct dial *d, const struct addr *addresses, size_t n)
{
    sa_family_t family = addresses[0].sa.sa_family;
    bool is_used[DIAL_ADDRESSES] = {false};

    for (d->n = 0; d->n < n; d->n++) {
        size_t pick = n;

        /* The first that is left of the family whose turn it is; else the first that is left. */
        for (size_t i = 0; i < n; i++) {
            if (is_used[i])
                continue;
            if (addresses[i].sa.sa_family == family) {
                pick = i;
                break;
            }
            if (pick == n)
                pick = i;
        }
        is_used[pick] = true;
        d->attempts[d->n] = (struct attempt){.dial = d, .fd = -1, .addr = addresses[pick]};
        family = addresses[pick].sa.sa_family == AF_INET ? AF_INET6 : AF_INET;
    }
}

struct dial *dial_start(struct loop *loop, const struct addr *addresses, size_t n,
                        struct dial_sources *sources, uint32_t timeout_ms, dial_done *done,
                        void *arg)
{
    struct dial *d;

    INSIST(n > 0 && n <= DIAL_ADDRESSES);
    d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->loop = loop;
    d->done = done;
    d->arg = arg;
    d->sources = sources;
    d->timeout_ms = timeout_ms;
    deadline_init(&d->overall, on_overall);
    deadline_init(&d->stagger, on_stagger);
    interleave(d, addresses, n);
    deadline_set(loop, &d->overall, timeout_ms);
    begin_next(d);
    return d;
}

void dial_cancel(struct dial **d)
{
    if (*d)
        dial_free(*d);
    *d = NULL;
}
