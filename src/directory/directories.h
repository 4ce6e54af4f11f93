/* The directories of the configuration, asked in its order: the first that knows the user answers.
 * One that fails ends the question, since it might have known.
 *
 * Answers of remote drivers are kept (directory/cache.h): fresh for cache_time, or
 * cache_unknown_time when the user is not known; after that, up to cache_stale_time, they are used
 * when the driver fails, or when half of directory_timeout has passed (so that the directories
 * behind it have the other half), and at once as long as its last answer was late; it is asked all
 * the same. Of one user a directory is asked once at a time, whoever waits for it. An answer that
 * comes when nobody waits any more is kept all the same.
 *
 * A remote driver that fails or is late is told as news when that begins, and again when it answers
 * in time and has not failed for DIRECTORIES_CALM_MS. The others tell of themselves.
 */
#ifndef USHER_DIRECTORY_DIRECTORIES_H
#define USHER_DIRECTORY_DIRECTORIES_H

#include "directory/directory.h"

enum { DIRECTORIES_CALM_MS = 10 * 1000 };

struct directories;

struct directories_params {
    const struct conf *conf; /* outlives it */
    struct loop *loop;
    directory_tell *tell;
    void *arg;
};

struct directories_answer {
    enum directory_status status;
    struct slice text;     /* facts with secrets; FAILED: words for the log, without the title */
    const char *directory; /* the title of the one that answered or failed; NULL: UNKNOWN to all */
    uint32_t age_ms;       /* of a kept answer, UNKNOWN: of the oldest; 0: fresh */
};

/* Told once, maybe from within directories_lookup(); what it points to is valid for the call. It
 * may ask further, but not free the directories. */
typedef void directories_done(void *arg, const struct directories_answer *answer);

int directories_new(const struct directories_params *params, struct directories **out_directories,
                    struct err *err) MUST_CHECK;

/* Open questions are forgotten. Clears *d; harmless when it is NULL. Kept secrets are wiped. */
void directories_free(struct directories **d);

/* `user` (copied) is normalized, of at most IPC_USER_MAX bytes and not empty. `is_fresh`: nothing
 * that is kept is used, though the answer is kept. Answers within directory_timeout. */
void directories_lookup(struct directories *d, struct slice user, bool is_fresh,
                        directories_done *done, void *arg);

/* Forgets what is kept of a user; empty: of all. What was asked before then is not kept. Returns
 * how many answers. */
size_t directories_flush(struct directories *d, struct slice user);

#endif
