/* Workers' questions whether a password is right (VERIFY): the directories say by which hash, and
 * lookup/verify.h judges. What the backend is to be shown instead goes back with the answer, and
 * nowhere else.
 *
 * A user of whom the directories know no hash by now cannot be verified: UNAVAILABLE, never a wrong
 * password.
 */
#ifndef USHER_LOOKUP_LOGINS_H
#define USHER_LOOKUP_LOGINS_H

#include "base/err.h"
#include "base/list.h"
#include "proc/child.h"

struct directories;
struct verify;

struct logins {
    struct child *child;
    struct directories *directories;
    struct verify *verify;
    struct list workers, questions;
};

/* First of all: takes the memory for passwords. */
void logins_init(struct logins *l, struct child *c);

/* `directories` outlives it. */
int logins_start(struct logins *l, struct directories *directories, struct err *err) MUST_CHECK;

/* Begins the threads, all of which run when it returns. */
int logins_begin(struct logins *l, struct err *err) MUST_CHECK;

/* The parent's channel to a worker, in place of one to the same process that there may be. */
void logins_take_worker(struct logins *l, const struct msg_peer *who, int fd);

/* Last of all, when the directories have forgotten what was open. */
void logins_stop(struct logins *l);

#endif
