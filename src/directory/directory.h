/* A directory: where facts about users are looked up. This is what a driver offers, one file each;
 * who asks several of them, keeps their answers and bounds the time is directory/directories.h.
 *
 * Drivers run on the loop of the process that asks (lookup, or a command by itself) and never block
 * it for longer than a millisecond or two: what takes time is done in pieces, or waited for.
 */
#ifndef USHER_DIRECTORY_DIRECTORY_H
#define USHER_DIRECTORY_DIRECTORY_H

#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum directory_status {
    DIRECTORY_FOUND,
    DIRECTORY_UNKNOWN, /* this directory does not know the user */
    DIRECTORY_FAILED   /* it cannot tell now */
};

/* `text`: the facts (directory/facts.h), already seen to be well formed; when FAILED: words for the
 * log, without the directory's title. Valid for the call. It may ask further, but free nothing. */
typedef void directory_done(void *arg, enum directory_status status, struct slice text);

/* News for the log, which whoever opened the directory writes. */
struct directory_news {
    bool is_bad;         /* else: `what` has been read and is in use */
    const char *title;   /* of the directory */
    const char *detail;  /* is_bad: what is wrong, with file:line where there is one, and whether
                            what was there before stays in use; else NULL, or "" when nothing has
                            been read, but a server answers again */
    size_t users, rules; /* of what has been read: names; domains and expressions */
};
typedef void directory_tell(void *arg, const struct directory_news *news);

struct directory;

struct directory_params {
    const struct conf_directory *conf; /* outlives it, as does `global` */
    const struct conf_global *global;  /* says how names in maps are normalized */
    uint32_t timeout_ms;               /* how long somebody waits for an answer */
    struct loop *loop;
    directory_tell *tell;
    void *arg;
};

struct directory_driver {
    const char *name; /* as in the setting driver */
    bool is_remote;   /* asks somebody else: answers are worth keeping, questions may be late */
    /* Returns at once: what is to be read is read by and by, and questions wait for it. -1 for what
     * cannot become better by itself. */
    int (*open)(const struct directory_params *params, struct directory **out_directory,
                struct err *err);
    /* `done` is called once, from here or later. At most FACTS_MAX bytes of text. Of one `arg`
     * there is one open question at most. */
    void (*lookup)(struct directory *d, struct slice user, directory_done *done, void *arg);
    /* Forgets the question of this `arg`: its `done` is not called any more. In constant time for
     * the oldest, as thousands are late together. */
    void (*cancel)(struct directory *d, void *arg);
    /* Clears *d; harmless when it is NULL. Open questions are forgotten. */
    void (*close)(struct directory **d);
};

/* One row a driver, in the order of enum conf_driver. */
extern const struct directory_driver directory_static, directory_file, directory_socketmap;
const struct directory_driver *directory_driver(enum conf_driver which);

#endif
