/* What the files of parent/ share. */
#ifndef USHER_PARENT_INTERNAL_H
#define USHER_PARENT_INTERNAL_H

#include "base/err.h"
#include "conf/conf.h"
#include "ipc/channel.h"
#include "metrics/tally.h"
#include "net/local.h"
#include "net/loop.h"
#include "net/notify.h"
#include "net/passed.h"
#include "parent/files.h"
#include "parent/ports.h"
#include "parent/silence.h"
#include "proc/child.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

/* What the service manager is told; see service.c. */
struct service {
    struct notify notify;
    char *socket;    /* where; NULL: nowhere */
    bool is_failing; /* and the log has told so */
    bool is_change_refused;
    uint32_t watchdog_ms; /* 0: it does not watch us */
    uint64_t told;        /* of what the last status was made */
    struct deadline status, watchdog, again;
};

struct parent;

/* A place for a process: control, lookup, or a worker slot. */
struct process {
    struct parent *parent;
    struct generation *generation;
    enum role role;
    unsigned slot;
    uint32_t instance; /* of the one that runs */
    pid_t pid;         /* 0: none */
    struct sign sign;  /* of life */
    struct channel channel;
    bool is_ready;   /* it has checked itself */
    bool has_begun;  /* it was told to work, and others are joined with it */
    bool is_at_work; /* it has said so */
    uint64_t started_ms;
    uint64_t begun_ms;                /* when it was told to work */
    uint64_t started_s;               /* since 1970 */
    uint64_t rejoined_ms[ROLE_COUNT]; /* when it was last given a channel that it had asked for */
    uint32_t restart_ms;              /* pause before the last restart */
    struct deadline restart;
    uint64_t told_ms; /* when one of a past generation was told to end at once; 0: it was not */
};

enum { VERSION_TEXT = 32 };

/* Processes of one program with one configuration. */
struct generation {
    struct list node; /* in parent.past */
    struct parent *parent;
    uint32_t number;
    char version[VERSION_TEXT]; /* of the program; "" until it has told */
    struct process control, lookup, *workers;
    struct process preparer; /* of the change that leads to it; it ends before they begin */
    unsigned workers_n;
    uint32_t watchdog_ms; /* by which its processes give signs of life; 0: they are not watched, as
                             while reload_timeout holds for them */
    bool is_given_up;     /* it never was current */
    /* What its processes are given. None of it is there any more once it is past. */
    int program_fd;  /* -1: what the parent itself runs */
    int counters_fd; /* where its processes count; what is another program's is in the tally too */
    int conf_fd, rules_fd; /* the configuration without the rules of directories, and with them */
    struct files files;    /* whole and good */
};

struct parent {
    struct loop *loop;
    struct channels channels;
    struct turn turn;
    struct conf *conf; /* of the current generation */
    struct generation *current;
    struct generation *next;           /* candidates; NULL: none */
    struct list past;                  /* of generation: those whose processes have not all ended */
    struct change *change;             /* under way; NULL: none */
    bool is_asked[CHANGE_UPGRADE + 1]; /* by a signal, for when this can be done */
    char *program, *conf_path;         /* where an upgrade finds the program; absolute */
    struct tally *tally;               /* of all counters */
    int log_fd;
    int shared_fds[SHARED_COUNT];
    int notes_fd;         /* what the last control has left for the next; -1: nothing */
    struct deadline look; /* at the dates of certificates */
    struct msg_tickets tickets;
    uint64_t rotated_ms;    /* when the keys of tickets last were */
    struct deadline rotate; /* them */
    struct service service;
    struct silence silence;
    struct deadline watch; /* when to look whether a child is silent for too long */
    struct passed passed;  /* sockets, until they are ports */
    struct ports ports;
    struct local door;
    char *door_path;
    uint32_t last_instance, epoch;
    struct deadline leave_limit; /* when one of a past generation that was told to end has to */
    struct deadline tidy;        /* generation_tidy() */
    bool is_ready;               /* all processes were up once */
    bool is_stopping;
    bool has_failed;
    uint64_t stop_asked_ms; /* when a signal asked for it */
    struct deadline stop_limit;
};

/* --- resources.c: what is opened before the children start
 * ---------------------------------------------------------- */

/* The configuration as sealed memory. */
int resources_conf(const struct conf *conf, int *out_conf_fd, int *out_rules_fd,
                   struct err *err) MUST_CHECK;

/* The state directory: made, and owned by the user that we become. */
int resources_state(const struct conf *conf, struct err *err) MUST_CHECK;

/* Where the program, which was called by this name, and the configuration are, for reloads and
 * upgrades: absolute. */
int resources_paths(struct parent *p, const char *program, const char *conf_path,
                    struct err *err) MUST_CHECK;

/* As many descriptors as we may have: children inherit it. */
void resources_limits(void);

void resources_free(struct parent *p);

static inline void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* --- service.c: the service manager, if there is one
 * ------------------------------------------------------------------------------------------------
 */

void service_init(struct parent *p);

/* Reads what the environment says of it, and takes that out: children have no part in it. */
void service_begin(struct parent *p);

/* All processes are up. */
void service_ready(struct parent *p);

/* Around a reload or an upgrade. */
void service_changing(struct parent *p, enum change_kind what);
void service_changed(struct parent *p, bool is_refused);

/* As service_begin(), in the next program of this process. */
void service_resume(struct parent *p, const char *socket, uint32_t watchdog_ms);

void service_stopping(struct parent *p);

/* We could not start or go on. */
void service_failed(struct parent *p, const struct err *why);

void service_end(struct parent *p);

/* --- watchdog.c: children that hang
 * ------------------------------------------------------------------------------------------------
 */

void watchdog_init(struct parent *p);

/* From now on those of the current generation must give signs of life, if its configuration wants
 * it; those before it go on as theirs says. */
void watchdog_begin(struct parent *p);

/* This one has just been started. */
void watchdog_started(struct process *pr);

/* This one has given a sign of life. */
void watchdog_heard(struct process *pr);

/* Nobody is killed for silence any more: who is to stop has stop_timeout for it. */
void watchdog_end(struct parent *p);

/* --- processes.c: the life of the children
 * ---------------------------------------------------------------------------- */

void process_init(struct process *pr, struct generation *g, enum role role, unsigned slot);

/* Forks, executes the program of its generation, and gives the child all that it needs to check
 * itself. */
int process_start(struct process *pr, struct err *err) MUST_CHECK;

/* The same without giving it anything: the channel is the caller's to open. */
int process_spawn(struct process *pr, int *out_fd, struct err *err) MUST_CHECK;

/* spawn.c: forks, and executes the program of its generation with `channel`, which stays the
 * caller's. */
int process_fork(const struct process *pr, int channel, pid_t *out_pid, struct err *err) MUST_CHECK;

/* The events of a child's channel; for one that was opened by another program of this process. */
extern const struct channel_events process_events;

/* Has it begin if it is ready, of the current generation, and nobody else does its work any more.
 */
void process_begin_if_due(struct process *pr, void *ignored);

/* A child was reaped; its place is filled again unless we stop or it is of the past. */
void process_ended(struct process *pr, int status);

/* Gives a worker all files anew and has it use them; for others, and when it does not run, nothing:
 * it is given the newest when it starts. */
void process_renew(struct process *pr, void *ignored);

/* Gives a worker the keys of tickets, likewise. */
void process_give_tickets(struct process *pr, void *ignored);

/* Tells it to end; harmless when it does not run. */
void process_stop(struct process *pr);

/* Ends it without asking; the second tells the log. */
void process_kill(struct process *pr, void *ignored);
void process_kill_stuck(struct process *pr, void *ignored);

/* Calls each(process, arg) for control, lookup, who prepares, and the workers: of a generation; of
 * all. Those that do not run have no pid. */
void generation_each(struct generation *g, void (*each)(struct process *pr, void *arg), void *arg);
void processes_each(struct parent *p, void (*each)(struct process *pr, void *arg), void *arg);

/* --- upgrade.c: becoming another program, and having become one
 * ------------------------------------------------------------------------------------------------
 */

/* All that the program before us has left is ours: descriptors, children, the change under way.
 * After begin_loop; signals are blocked still. */
int upgrade_resume(struct parent *p, int state_fd, struct err *err) MUST_CHECK;

/* Has the candidates take over. */
void upgrade_finish(struct parent *p);

/* --- generation.c: processes of one program with one configuration
 * ---------------------------------------------------------------------------- */

/* Without workers, of which it is not known yet how many there will be. NULL when memory is out. */
struct generation *generation_new(struct parent *p);
void generation_set_workers(struct generation *g, unsigned n);

/* Its processes have ended, or are left to themselves. Clears *g; harmless when it is NULL. */
void generation_free(struct generation **g);

/* Candidates are not needed any more: ends them, and forgets them when they are gone. */
void generation_give_up(struct generation *g);

int generation_start(struct generation *g, struct err *err) MUST_CHECK;

/* Whether control, lookup and all workers have said READY. */
bool generation_is_ready(struct generation *g);

/* Whether they have said BEGUN. */
bool generation_is_at_work(struct generation *g);

/* The candidates (p->next) become the current generation, with these ports and by this
 * configuration, which it takes over; those that were current retire. */
void generation_switch(struct parent *p, struct conf *conf, struct ports *ports);

/* Ends processes of past generations that were told to, but have not: a control's successor, and
 * everybody who wants to log in, waits for it. */
void generation_init_limits(struct parent *p);

/* Forgets those of whom no process lives; only from the loop or when children are reaped, since
 * whoever works with a process or its channel needs it to the end. */
void generation_tidy(struct parent *p);

/* --- change.c: reload and upgrade
 * ------------------------------------------------------------------------------------------------
 */

/* Begins one. `asker`: the control that asked, with `id`; NULL: a signal did, and what cannot begin
 * now begins later. */
void change_begin(struct parent *p, enum change_kind what, struct process *asker, uint32_t id);

/* Begins what a signal has asked for meanwhile. */
void change_next(struct parent *p);

/* The channel of a candidate, or of who prepares, has ended; `why` as in ipc/channel.h. */
void change_closed(struct process *pr, const char *why);

/* A candidate, or who prepares, has ended or got ready. */
void change_ended(struct process *pr, int status);
void change_ready(struct parent *p);

/* Gives it up: we stop. */
void change_give_up(struct parent *p);

/* The door that candidates will have. */
void change_door(const struct parent *p, const struct local **out_door, const char **out_path);

/* --- renew.c: the files of TLS, at the start and later -----------------------------------------
 */

void renew_init(struct parent *p);

/* Reads files and checks them; says in the log what is doubtful about them. */
int renew_read(const struct conf *conf, struct files *out_files, struct err *err) MUST_CHECK;

/* Other files than before are in use: when to look at their dates again. */
void renew_look(struct parent *p);

/* These files, which are good and become the current generation's, in place of those in use; the
 * workers are given them. */
void renew_use(struct parent *p, struct files *files);

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

/* The keys are there: has them change as the configuration says, counted from when they last did;
 * and workers know how long they last. */
void tickets_resume(struct parent *p);

/* Wipes them. */
void tickets_end(struct parent *p);

/* --- parent.c
 * ---------------------------------------------------------------------------------------------------------
 */

/* Everything but the loop and the channels. */
void parent_init(struct parent *p);
void parent_free(struct parent *p);

/* A process has said READY. */
void parent_on_ready(struct parent *p);

/* Control says that this worker hangs. */
void parent_on_stuck(struct parent *p, uint32_t instance);

/* A process has ended and is not replaced: we stop, or could not start. */
void parent_on_ended(struct parent *p);

/* Begins to end everything; `has_failed`: with exit code 1. */
void parent_stop(struct parent *p, bool has_failed);

#endif
