/* Carries messages from the open folder of one link to a folder of the other, as streams: what has
 * come of a message goes on before the rest has come, so that no message is ever held as a whole.
 *
 *     source   UID FETCH (UID BODY.PEEK[]) in windows of some MiB, several in flight
 *     target   APPEND, many messages a command where the server has MULTIAPPEND (RFC 3502), the
 * next command behind it without waiting where it takes literals unasked (RFC 7888)
 *
 * There may be several links to the source. They give windows in turn, and are heard in the order
 * in which these were asked for; what the others say meanwhile waits in their buffers. So messages
 * come in the order of the source, and memory is bounded as with one.
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

/* How it went for some time. */
struct carry_pace {
    uint64_t bytes, ms;
    uint64_t dry_ms; /* of these the target would have taken more, and the source gave nothing */
    size_t next;     /* of the UIDs that are to be carried: from here on none was asked for */
};

/* Told of what happens, with the link's calls not to be used meanwhile. */
struct carry_told {
    /* A message is there (or was refused: is_there false), `size` bytes. */
    void (*done)(void *arg, uint32_t from_uid, uint64_t size, bool is_there);
    /* Something is to be listed. */
    void (*issue)(void *arg, enum sync_reason reason, uint32_t from_uid, struct slice words);
    /* Told from time to time; may be NULL. True: no more is to be asked for, as something is to be
     * changed when what was has come. */
    bool (*pace)(void *arg, const struct carry_pace *pace);
    void *arg;
};

struct carry_params {
    struct sync *sync;
    unsigned lane;
    struct link *const *from; /* with the folder open in each; 1 to SYNC_LANES */
    size_t from_n;
    struct link *to;
    struct slice to_name; /* UTF-8 */
    int64_t folder;       /* the journal's */
    uint32_t fence;       /* the target's UIDNEXT before anything is sent; 0: not known */
    uint32_t to_uidvalidity;
    struct slice permanent; /* what the target keeps, for flags_permitted() */
    struct identity_reader *reader;
    const struct look_list *list; /* of the source */
    const uint32_t *uids;         /* what to carry: UIDs of the list, ascending */
    size_t n;
    size_t recorded; /* so many of them, or more, the journal has been told of before */
    bool is_careful; /* one message at a time: the links broke before without progress */
    struct carry_told told;
};

/* Messages of the first APPEND, where the target takes many. */
enum { CARRY_BATCH = 1000 };

enum carry_end {
    CARRY_DONE, /* each that was taken up was carried or refused. Messages whose UID the target has
                   not told are "sent" in the journal */
    CARRY_BROKEN, /* a link has failed, or the sync stops. Of several links to the source it is the
                     first, or one in the middle of a message: else what it owed was asked of the
                     others, and it is found closed when carrying is done */
    CARRY_AGAIN,  /* the target's folder is another one now (UIDVALIDITY), or the server wants to be
                     left alone for longer than we wait: to be begun anew later */
    CARRY_FULL,   /* the target's quota is used up: what is not done need not be tried */
    CARRY_FAILED  /* memory or the journal: err tells */
};

struct carry_result {
    uint32_t suspect; /* with is_careful: the message on its way when a link broke; else 0 */
    size_t taken;     /* of the UIDs: all, unless told.pace() has ended it; only with CARRY_DONE */
    size_t recorded;  /* of the UIDs; for the next run, which has those from `taken` on */
};

enum carry_end carry_run(const struct carry_params *params, struct carry_result *out,
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
