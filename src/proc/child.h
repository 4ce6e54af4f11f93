/* What every child process does: it is executed by the parent with one channel, is given its
 * descriptors over it (the configuration, counters, files, sockets, channels to others), drops its
 * privileges, and begins when told to.
 *
 * It begins in two steps: told to start it opens and checks everything and says READY; told to
 * begin it goes to work. Between the two it can be given up without a trace.
 *
 * The role fills in struct child_role; child_main() is its main(). It ends with exit code 0 after
 * MSG_STOP, when child_stopped() was called; and by itself when the parent is gone.
 */
#ifndef USHER_PROC_CHILD_H
#define USHER_PROC_CHILD_H

#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"
#include "ipc/channel.h"
#include "metrics/counters.h"
#include "net/loop.h"

#include <stdint.h>

/* The descriptors that a child is executed with. */
enum { CHILD_FD_PARENT = 3, CHILD_FD_LOG = 4 };

struct child;

struct child_role {
    enum role role;
    size_t state_size; /* bytes of child->state, zeroed */
    const void *part;  /* what main.c adds to it from a layer above; may be NULL */
    /* Before the first message; child->loop is there. May be NULL. */
    void (*on_init)(struct child *c);
    /* MSG_SHARED, MSG_DOOR and MSG_TICKETS come before the start; MSG_LISTENER, MSG_NOTES and
     * MSG_PEER between it and the beginning; MSG_PEER, MSG_RENEW, MSG_TICKETS, MSG_RETIRE and
     * MSG_CHANGED behind it; m->fd is the callee's. */
    void (*on_message)(struct child *c, const struct msg *m);
    /* All is given that it opens and checks: whatever may fail, fails here, and nothing is done yet
     * that another process could see. It may be a candidate, while another of its role still works.
     * -1: cannot begin; logged as fatal, the process ends. */
    int (*on_start)(struct child *c, struct err *err);
    /* To work. Nobody else of this role and generation does any more. As on_start otherwise; may be
     * NULL. */
    int (*on_begin)(struct child *c, struct err *err);
    /* While the sandbox closes: files are closed already, system calls not yet. The place to begin
     * threads, which must be running when it returns: they are within both walls then, and have
     * done what the list does not allow. As on_start otherwise; may be NULL. */
    int (*on_closing)(struct child *c, struct err *err);
    /* Told to end: call child_stopped() when done, at once or later. Called once, only after
     * on_start; maybe without on_begin. */
    void (*on_stop)(struct child *c);
    /* The loop has ended: free what the state points to. Not called when the process ends by a
     * fault. May be NULL. */
    void (*on_done)(struct child *c);
};

/* One a process. Members are set before on_start and do not change, but for what is noted. */
struct child {
    const struct child_role *role;
    void *state; /* the role's own */
    struct loop *loop;
    struct channels channels;
    struct channel parent;
    struct conf *conf;
    struct counters *counters; /* this slot's block, shared */
    struct msg_hello self;     /* what to say on channels to others; its epoch: before on_begin */
    uint32_t peers;            /* of MSG_BEGIN; before on_begin */
    bool has_begun;            /* before on_begin */
    struct child_file *files;
};

/* What the parent and its children do at the end of each turn of their loop: send what was queued,
 * and see that what the log's reader did not take is offered again. */
struct turn {
    struct loop *loop;
    struct channels *channels;
    struct deadline log_again;
};

/* Once a process. turn_done() before the loop is freed. */
void turn_init(struct turn *t, struct loop *loop, struct channels *channels);
void turn_done(struct turn *t);

/* Runs the role. Returns the exit code. */
int child_main(const struct child_role *role);

/* What main() of any child does first: its name; and no signals but those that kill, since the
 * terminal and supervisors signal all processes of a service, where the parent alone acts. */
void child_begin(enum role role);

void child_stopped(struct child *c);

/* Logs `what` as fatal and ends with code 1. For what cannot be gone on from, such as no memory at
 * the start. */
_Noreturn void child_fatal(const struct err *what);

/* The content of a file that the configuration names, as the parent read it last; an empty slice if
 * it was not given. Valid until child_drop_files(). */
struct slice child_file(const struct child *c, const char *path);

/* Wipes and frees all of them, once they are used: keys lie in no more places than they must. */
void child_drop_files(struct child *c);

#endif
