/* Passwords against hashes of crypt(3): yescrypt, bcrypt, SHA-512 and whatever else libcrypt knows.
 *
 * A hash takes tens of milliseconds and megabytes, on purpose. So threads of their own make them,
 * a few, and names and directories never wait. Beyond VERIFY_WAITING_MAX nobody is let in; and what
 * has waited longer than its asker would is not begun any more, so that a rush of logins does not
 * leave the threads at work for those who have gone.
 *
 * Passwords lie in memory of base/secret.h, which is the loop's thread's alone: the others are
 * handed what they need. What crypt(3) has worked with is wiped after each.
 */
#ifndef USHER_LOOKUP_VERIFY_H
#define USHER_LOOKUP_VERIFY_H

#include "base/err.h"
#include "base/slice.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum { VERIFY_THREADS_MAX = 4, VERIFY_WAITING_MAX = 1024 };

enum verify_verdict {
    VERIFY_RIGHT,
    VERIFY_WRONG,
    VERIFY_NO_HASH, /* crypt(3) cannot make such a hash; empty and traditional DES ones, which
                       anybody breaks, count as none either */
    VERIFY_FAILED   /* it cannot be said: it came too late, or memory is out */
};

struct verify;

typedef void verify_done(void *arg, enum verify_verdict verdict);

struct verify *verify_new(struct loop *loop, struct err *err);

/* Begins the threads, as many as there are processors, VERIFY_THREADS_MAX at most. All of them run
 * when it returns: what a thread does at its beginning is not on the sandbox's list. */
int verify_begin(struct verify *v, struct err *err) MUST_CHECK;

/* Ends the threads and forgets who waits. Clears *v; harmless when it is NULL. False when a thread
 * is still in the middle of a hash after VERIFY_END_MS: then the memory that it uses is left as it
 * is, to be given back with the process. */
enum { VERIFY_END_MS = 500 };
bool verify_free(struct verify **v);

/* Both are copied. `done` is called once, from the loop. False when too many wait, memory is out or
 * there is no thread. `party` stands for whose password it is: of those who wait each party's first
 * come before any party's second, so that a thousand logins of one user do not hold up another. */
bool verify_password(struct verify *v, uint32_t party, struct slice password, struct slice hash,
                     uint32_t within_ms, verify_done *done, void *arg);

#endif
