/* Carries messages from the open folder of one link to a folder of the other, as streams: what has
 * come of a message goes on before the rest has come, so that no message is ever held as a whole.
 *
 *     source   UID FETCH (UID BODY.PEEK[]) in windows of some MiB, several in flight
 *     target   APPEND, many messages a command where the server has MULTIAPPEND (RFC 3502), the
 * next command behind it without waiting where it takes literals unasked (RFC 7888)
 *
 * Before a message is asked for, the journal says "sending"; when the target has answered, what
 * became of it. A link may break at any byte: carry_run() returns -1, and whoever begins anew finds
 * by the journal and the target's UIDs where it was (folder.c).
 *
 * A NO to a command of many messages is answered by halves, down to the one that is refused; that
 * is tried without its keywords, and without its date, where the words do not exclude that this
 * helps. A server that asks for a pause ([LIMIT], [UNAVAILABLE], [INUSE], "Suggested Backoff Time:
 * 500 milliseconds", and the like) is given it, as long as it says or longer each time.
 */
#ifndef USHER_SYNC_CARRY_H
#define USHER_SYNC_CARRY_H

#include "base/err.h"
#include "base/slice.h"
#include "sync/link.h"
#include "sync/look.h"
#include "sync/report.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flags;
struct identity_reader;
struct journal;
struct sync;

/* Told of what happens, with the link's calls not to be used meanwhile. */
struct carry_told {
    /* A message is there (or was refused: is_there false), `size` bytes. */
    void (*done)(void *arg, uint32_t from_uid, uint64_t size, bool is_there);
    /* Something is to be listed. */
    void (*issue)(void *arg, enum sync_reason reason, uint32_t from_uid, struct slice words);
    void *arg;
};

struct carry_params {
    struct sync *sync;
    unsigned lane;
    struct link *from, *to;
    struct slice to_name; /* UTF-8 */
    int64_t folder;       /* the journal's */
    uint32_t fence;       /* the target's UIDNEXT before anything is sent; 0: not known */
    uint32_t to_uidvalidity;
    struct slice permanent; /* what the target keeps, for flags_permitted() */
    struct identity_reader *reader;
    const struct look_list *list; /* of the source */
    const uint32_t *uids;         /* what to carry: UIDs of the list, ascending */
    size_t n;
    bool is_careful; /* one message at a time: the links broke before without progress */
    struct carry_told told;
};

/* Messages of the first APPEND, where the target takes many. */
enum { CARRY_BATCH = 1000 };

enum carry_end {
    CARRY_DONE,   /* each was carried or refused. Messages whose UID the target has not told are
                     "sent" in the journal */
    CARRY_BROKEN, /* a link has failed, or the sync stops */
    CARRY_AGAIN,  /* the target's folder is another one now (UIDVALIDITY), or the server wants to be
                     left alone for longer than we wait: to be begun anew later */
    CARRY_FULL,   /* the target's quota is used up: what is not done need not be tried */
    CARRY_FAILED  /* memory or the journal: err tells */
};

/* With is_careful, *out_suspect is the message that was on its way when a link broke; else 0. */
enum carry_end carry_run(const struct carry_params *params, uint32_t *out_suspect,
                         struct err *err) MUST_CHECK;

/* --- carry_words.c: what a refusal means ------------------------------------------------------ */

enum carry_refusal {
    REFUSAL_MESSAGE,  /* this message, for `reason`; trying it otherwise is of no use */
    REFUSAL_KEYWORDS, /* its flags or keywords, by the words */
    REFUSAL_DATE,     /* its date, by the words */
    REFUSAL_UNKNOWN,  /* no word of use */
    REFUSAL_LIMIT,    /* [LIMIT]: something is too much, for now or for a command */
    REFUSAL_PAUSE,    /* the server wants a pause */
    REFUSAL_QUOTA,
    REFUSAL_CREATE /* [TRYCREATE] */
};

/* Pure. *out_reason is set with REFUSAL_MESSAGE, *out_pause_ms with REFUSAL_PAUSE and LIMIT (0: the
 * server does not say how long). */
enum carry_refusal carry_refusal(struct slice code, struct slice text, enum sync_reason *out_reason,
                                 uint32_t *out_pause_ms);

#endif
