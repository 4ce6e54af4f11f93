/* For tests of a worker whose generation is over: RETIRE, and what is looked at behind it. */
#ifndef USHER_TESTS_UNIT_WORKER_RETIRE_H
#define USHER_TESTS_UNIT_WORKER_RETIRE_H

#include "worker_probes.h"

static struct peer client;

/* --- what is looked at ------------------------------------------------------------------------ */

static int accept_error; /* 0: accept() does not fail */
static unsigned stopped; /* how often the worker has said that all is done */

int __real_listen_accept(int fd, struct addr *out_peer, struct addr *out_local);
int __wrap_listen_accept(int fd, struct addr *out_peer, struct addr *out_local);
void __wrap_child_stopped(struct child *c);

int __wrap_listen_accept(int fd, struct addr *out_peer, struct addr *out_local)
{
    if (!accept_error || fd == world.backend_fd)
        return __real_listen_accept(fd, out_peer, out_local);
    errno = accept_error;
    accept_error = 0;
    return -1;
}

void __wrap_child_stopped(struct child *c)
{
    (void)c;
    stopped++;
}

static inline void begin_anew(const char *settings)
{
    stopped = 0;
    begin(settings, "", "");
}

static inline void say_retire(uint32_t limit_ms)
{
    const struct msg_retire retire = {.limit_ms = limit_ms};
    const struct msg m = {.type = MSG_RETIRE, .body = &retire, .fd = -1};

    worker_role.on_message(&world.child, &m);
}

static inline bool has_retired(void *arg)
{
    (void)arg;
    return list_empty(&the_worker()->accepting);
}

static inline bool has_stopped(void *arg)
{
    (void)arg;
    return stopped > 0;
}

/* No socket of its is open any more. */
static inline void retires(uint32_t limit_ms)
{
    say_retire(limit_ms);
    assert_true(turns_until(has_retired, NULL));
    assert_logged("worker_retired slot=0 pid=");
}

static inline void assert_stops(void)
{
    assert_true(turns_until(has_stopped, NULL));
    assert_int_equal(stopped, 1);
}

static inline void done(void)
{
    peer_close(&client);
    peer_close(&backend);
    finish();
}

/* --- very many sessions ---------------------------------------------------------------------- */

enum { CROWD = 300 };

static struct peer crowd[CROWD];

static inline void crowd_out(void)
{
    for (int i = 0; i < CROWD; i++)
        peer_close(&crowd[i]);
}

#endif
