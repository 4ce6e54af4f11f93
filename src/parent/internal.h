/* What the files of parent/ share. */
#ifndef USHER_PARENT_INTERNAL_H
#define USHER_PARENT_INTERNAL_H

#include "base/err.h"
#include "conf/conf.h"
#include "ipc/channel.h"
#include "metrics/counters.h"
#include "net/local.h"
#include "net/loop.h"
#include "parent/files.h"
#include "proc/child.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One listening address: a socket for each worker slot, open as long as the parent lives, so that
 * connections that wait in a socket's queue outlive the worker that would have taken them. */
struct port {
    unsigned listener;
    struct addr addr;
    int *fds; /* one a worker slot */
};

struct parent;

/* A place for a process: control, lookup, or a worker slot. */
struct process {
    struct parent *parent;
    enum role role;
    unsigned slot;
    uint32_t instance; /* of the one that runs */
    pid_t pid;         /* 0: none */
    struct channel channel;
    bool is_ready;
    uint64_t started_ms;
    uint64_t rejoined_ms[ROLE_COUNT]; /* when it was last given a channel that it had asked for */
    uint32_t restart_ms;              /* pause before the last restart */
    struct deadline restart;
};

struct parent {
    struct loop *loop;
    struct channels channels;
    struct turn turn;
    struct conf *conf;
    int conf_fd, rules_fd; /* the configuration without the rules of directories, and with them */
    int counters_fd, log_fd;
    int shared_fds[SHARED_COUNT];
    struct counters *counters;
    struct files files;   /* in use: whole and good */
    struct deadline look; /* at their dates */
    struct msg_tickets tickets;
    struct deadline rotate; /* the keys of tickets */
    struct port *ports;
    size_t ports_n;
    struct local door;
    struct process control, lookup;
    struct process *workers;
    unsigned workers_n;
    uint32_t last_instance, epoch;
    bool is_ready; /* all processes were up once */
    bool is_stopping;
    bool has_failed;
    uint64_t stop_asked_ms; /* when a signal asked for it */
    struct deadline stop_limit;
};

/* --- resources.c: what is opened before the children start
 * ---------------------------------------------------------- */

/* The configuration as sealed memory. */
int resources_conf(struct parent *p, struct err *err) MUST_CHECK;

/* The state directory: made, and owned by the user that we become. */
int resources_state(const struct conf *conf, struct err *err) MUST_CHECK;

/* All listening sockets; logs each address. */
int resources_ports(struct parent *p, struct err *err) MUST_CHECK;

/* Nobody can connect any more; who waits in a queue is reset. */
void resources_close_ports(struct parent *p);

/* As many descriptors as we may have: children inherit it. */
void resources_limits(void);

void resources_free(struct parent *p);

/* --- processes.c: the life of the children
 * ---------------------------------------------------------------------------- */

void process_init(struct process *pr, struct parent *p, enum role role, unsigned slot);

/* Forks, executes ourselves, gives the child all that it needs, and joins it with the others. */
int process_start(struct process *pr, struct err *err) MUST_CHECK;

/* A child was reaped; its place is filled again unless we stop. */
void process_ended(struct process *pr, int status);

/* Gives a worker all files anew and has it use them; for others, and when it does not run, nothing:
 * it is given the newest when it starts. */
void process_renew(struct process *pr, void *ignored);

/* Gives a worker the keys of tickets, likewise. */
void process_give_tickets(struct process *pr, void *ignored);

/* Tells it to end; harmless when it does not run. */
void process_stop(struct process *pr);

/* Calls each(process, arg) for control, lookup and the workers. */
void processes_each(struct parent *p, void (*each)(struct process *pr, void *arg), void *arg);

/* --- renew.c: the files of TLS, at the start and later -----------------------------------------
 */

void renew_init(struct parent *p);

/* Reads and checks the files; says in the log what is doubtful about them. */
int renew_first(struct parent *p, struct err *err) MUST_CHECK;

/* The same again. If all are good they are given to the workers; if not, all that was in use stays.
 */
void renew_again(struct parent *p);

/* --- door.c: the unix socket for operators -------------------------------------------------------
 */

/* Does nothing if the configuration wants none. */
int door_open(struct parent *p, struct err *err) MUST_CHECK;

/* Nobody can knock any more; control, which has the socket too, goes on with who is there. Harmless
 * twice. */
void door_close(struct parent *p);

/* --- tickets.c: the keys of TLS tickets, the same for all workers --------------------------------
 */

void tickets_init(struct parent *p);

/* Makes keys, and has them change from now on. */
int tickets_begin(struct parent *p, struct err *err) MUST_CHECK;

/* Wipes them. */
void tickets_end(struct parent *p);

/* --- parent.c
 * ---------------------------------------------------------------------------------------------------------
 */

/* A process has said READY. */
void parent_on_ready(struct parent *p);

/* Control says that this worker hangs. */
void parent_on_stuck(struct parent *p, uint32_t instance);

/* A process has ended and is not replaced: we stop, or could not start. */
void parent_on_ended(struct parent *p);

/* Begins to end everything; `has_failed`: with exit code 1. */
void parent_stop(struct parent *p, bool has_failed);

#endif
