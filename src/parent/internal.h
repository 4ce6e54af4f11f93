/* What the files of parent/ share. */
#ifndef USHER_PARENT_INTERNAL_H
#define USHER_PARENT_INTERNAL_H

#include "base/err.h"
#include "conf/conf.h"
#include "ipc/channel.h"
#include "metrics/counters.h"
#include "net/local.h"
#include "net/loop.h"
#include "net/notify.h"
#include "net/passed.h"
#include "parent/files.h"
#include "parent/silence.h"
#include "proc/child.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One listening address, with its sockets: one for each worker slot, or those that the service
 * manager has passed, however many. Open as long as the parent lives, so that connections that wait
 * in a socket's queue outlive the worker that would have taken them. */
struct port {
    unsigned listener;
    struct addr addr;
    int *fds;
    unsigned fds_n;
    bool is_passed;
};

/* What the service manager is told; see service.c. */
struct service {
    struct notify notify;
    bool is_failing; /* and the log has told so */
    bool is_renewal_refused;
    uint32_t watchdog_ms; /* 0: it does not watch us */
    uint64_t told;        /* of what the last status was made */
    struct deadline status, watchdog, again;
};

struct parent;

/* A place for a process: control, lookup, or a worker slot. */
struct process {
    struct parent *parent;
    enum role role;
    unsigned slot;
    uint32_t instance; /* of the one that runs */
    pid_t pid;         /* 0: none */
    struct sign sign;  /* of life */
    struct channel channel;
    bool is_ready;  /* it has checked itself */
    bool has_begun; /* it works, and others are joined with it */
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
    struct service service;
    struct silence silence;
    struct deadline watch; /* when to look whether a child is silent for too long */
    struct passed passed;  /* sockets, until they are ports */
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

/* As many descriptors as we may have: children inherit it. */
void resources_limits(void);

void resources_free(struct parent *p);

/* --- ports.c: listening sockets
 * -------------------------------------------------------------------------------------------- */

/* Takes those that were passed for the listeners that they fit, opens those of all others; logs
 * each address. */
int ports_open(struct parent *p, struct err *err) MUST_CHECK;

/* Whether the worker of a slot accepts from the i-th socket of a port. Each socket has a worker,
 * and each worker a socket, however many there are of either. */
bool port_is_for(const struct parent *p, const struct port *port, unsigned slot, unsigned i);

/* Nobody can connect any more; who waits in a queue is reset, unless the service manager keeps the
 * socket too. Harmless twice. */
void ports_close(struct parent *p);

/* --- service.c: the service manager, if there is one
 * ------------------------------------------------------------------------------------------------
 */

void service_init(struct parent *p);

/* Reads what the environment says of it, and takes that out: children have no part in it. */
void service_begin(struct parent *p);

/* All processes are up. */
void service_ready(struct parent *p);

/* Around what SIGHUP asks for. */
void service_renewing(struct parent *p);
void service_renewed(struct parent *p, bool is_refused);

void service_stopping(struct parent *p);

/* We could not start or go on. */
void service_failed(struct parent *p, const struct err *why);

void service_end(struct parent *p);

/* --- watchdog.c: children that hang
 * ------------------------------------------------------------------------------------------------
 */

void watchdog_init(struct parent *p);

/* From now on children must give signs of life, if the configuration wants it. */
void watchdog_begin(struct parent *p);

/* This one has just been started. */
void watchdog_started(struct process *pr);

/* This one has given a sign of life. */
void watchdog_heard(struct process *pr);

/* Nobody is killed for silence any more: who is to stop has stop_timeout for it. */
void watchdog_end(struct parent *p);

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

/* The same again. If all are good they are given to the workers; if not, false is returned and all
 * that was in use stays. */
bool renew_again(struct parent *p);

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
