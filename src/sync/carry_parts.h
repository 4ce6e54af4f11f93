/* The inside of carrying, shared by its files; see sync/carry.h.
 *
 *     carry.c         what is to be asked for next, and the loop over both links
 *     carry_fetch.c   what the source gives
 *     carry_source.c  which of its links is asked, and which is heard
 *     carry_append.c  what the target takes, and what it says to it
 *     carry_words.c   what its words mean
 */
#ifndef USHER_SYNC_CARRY_PARTS_H
#define USHER_SYNC_CARRY_PARTS_H

#include "base/buf.h"
#include "base/list.h"
#include "sync/carry.h"
#include "sync/identity.h"
#include "sync/journal.h"
#include "sync/sync.h"

enum {
    /* Of a window: one FETCH. The sizes are the source's words, and only guide. */
    WINDOW_MESSAGES = 200,
    WINDOW_BYTES = 1 << 20,
    WINDOWS = 12,
    WINDOWS_MOST = 64,  /* with those of which only the answer is missing */
    WINDOWS_A_LINK = 3, /* if that is more: one that is heard, one that has come, one on its way */
    /* All that is asked for: what comes in some seconds, as nothing can be changed for it any more,
     * and more than any way between servers holds. */
    DEPTH_FIRST = 2 << 20,
    DEPTH_LEAST = 256 << 10,
    DEPTH_MOST = 8 << 20,
    DEPTH_PERIODS = 4,
    PERIOD_MS = 500,
    /* Of a batch: one APPEND. Large, since a target pays for each with a lock and a sync of its
     * disk. Not larger, since what is refused is sent again by halves; so that each one that a
     * target has taken makes the next twice as large, up to so many times, until the first is
     * refused. */
    BATCH_MESSAGES = CARRY_BATCH,
    BATCH_BYTES = 16 << 20,
    BATCH_TIMES = 8,
    BATCH_MS = 5000,
    BATCH_IDLE_MS = 1000,
    /* Commands of one message whose answers are out. */
    BATCHES = 64,
    BATCHES_BYTES = 24 << 20,
    /* The journal is told of so many messages at once: RECORD before they are asked for, as many
     * times more as a batch grows; RESULTS when they have been answered. */
    RECORD = 1000,
    RESULTS = 500,
    RESULTS_MS = 500,
    SETTLE_MS = 5000,
    /* After so many messages that were refused in every way, others are tried in one only. */
    USELESS_WAYS = 3,
    /* After so many refusals in a row of single messages, all go alone: each batch that is halved
       has the source tell again what it has told already. */
    REFUSALS = 8,
    /* The most bytes of the flags of a message: commands of some kB are what servers take. */
    FLAGS_MOST = 8000,
    /* Kept free in the target's output for what stands around a message. */
    HEADER_ROOM = 16384,
    /* Pauses that a server is given without anything getting on meanwhile. */
    PAUSES = 8,
    PAUSE_MOST_MS = 10 * 60 * 1000,
    PAUSE_FIRST_MS = 1000,
    PAUSE_LAST_MS = 60 * 1000,
};

/* How a message is tried after it was refused. */
enum { WITHOUT_KEYWORDS = 1, WITHOUT_DATE = 2 };

/* A message on its way. */
struct item {
    uint32_t uid;
    uint16_t limit;   /* the most messages in a command with it; 0: as for all */
    uint8_t without;  /* WITHOUT_ */
    uint8_t is_alone; /* asked for by itself */
};

/* A link to the source. */
struct source {
    struct link *link;
    size_t windows_n; /* that it was asked for, and has not given all of */
    bool has_room;    /* for more of them to come while another is heard */
    bool is_lost;     /* broken, and the others do its work */
    bool is_holding;  /* `held` has come before its turn, and nothing is done with it yet */
    enum pipeline_event held;
};

/* A FETCH that is out. */
struct window {
    struct list node;
    struct source *from;
    uint32_t id;      /* there */
    size_t n, cursor; /* the item that is expected next */
    size_t left; /* that have not come. When none is, its answer may still take a while: Dovecot
                    gives that when it has done all that it was asked in a row */
    uint64_t bytes;
    struct item items[WINDOW_MESSAGES];
    bool has_come[WINDOW_MESSAGES];
    bool is_dropped; /* by carry_rewind() */
    bool is_passed;  /* the server gives what comes behind it: of what has not come, nothing will */
    bool is_unnamed; /* bodies came without a UID while it was out */
};

struct sent {
    struct item item;
    bool has_lost; /* flags that the target does not keep */
    struct identity_digest digest;
};

/* An APPEND, open or out. */
struct batch {
    struct list node;
    uint32_t id;
    size_t n, cap;
    uint64_t bytes;
    uint64_t opened_ms;
    bool is_open;
    bool is_refused;   /* answered while it was open: the rest of the message must go out all the
                          same; or while the next was: that is cancelled first */
    bool is_bad;       /* by BAD, not NO */
    bool is_cancelled; /* by an empty message (RFC 3502 section 6.3.11), or is to be */
    char words[512];   /* of that, with the code */
    struct sent *sent;
};

struct carry {
    const struct carry_params *p;
    struct carry_params mine; /* that is *p: the given ones, but n may become less */
    struct loop *loop;
    struct err err; /* of ours, with `has_failed` */
    bool has_failed;
    bool wants_again; /* CARRY_AGAIN; `err` says why */
    bool is_full;     /* for want of quota */

    /* what is still to be asked for: `again` first, then the list from `next` on */
    size_t next, recorded;
    struct item *again;
    size_t again_n, again_first, again_cap;

    struct source sources[SYNC_LANES]; /* never less than the first of them is there */
    size_t sources_n, lost_n;
    struct source *asked;   /* the last */
    struct source *reading; /* the only one that is heard: that of the first window */

    struct list windows; /* in the order in which their messages are to come */
    size_t windows_n;
    size_t open_n; /* of these, not all has come */
    uint64_t open_bytes;
    size_t dropped_n; /* windows of which nothing is wanted any more; nothing is asked for behind
                         them */
    bool is_single;   /* the source tells UIDs behind bodies: one message at a time */

    /* the message that is coming */
    bool is_coming, is_skipped;
    bool is_unnamed; /* whose body it is, its response tells behind it */
    bool is_held;    /* nothing of it has gone on: the command before it has no answer yet */
    uint64_t held_n; /* how long it is */
    bool is_whole;   /* all of it is pending: a quoted string */
    struct item item;
    struct slice pending; /* of it: has come and was not taken on */

    struct list batches; /* out, in order */
    size_t batches_n;
    uint64_t batches_bytes;
    struct batch *batch; /* open, or NULL */
    bool waits_plus;
    size_t batch_limit, batches_limit;
    uint32_t last_to_uid; /* the last that the target has told */
    size_t batch_times;   /* batch_limit and the bytes of a batch are so many times the first */
    bool has_refused;     /* a batch of many: they do not grow any more */

    struct journal_message *results;
    size_t results_n, results_cap;
    uint64_t results_ms; /* when the first of them came */

    uint64_t depth;         /* bytes that may be asked for */
    struct carry_pace pace; /* of this period */
    uint64_t pace_began_ms; /* 0: nothing has come yet */

    uint64_t now_ms;
    uint64_t paused_until_ms; /* a server has asked for it */
    uint64_t paid_until_ms;   /* the rate limit has */
    uint32_t pause_ms;        /* the last pause without a hint */
    unsigned pauses;          /* without anything getting on */
    unsigned useless_ways;    /* messages in a row for which no other way has helped */
    unsigned quota_refusals;  /* in a row */
    unsigned refusals;        /* the same, of single messages for whatever reason */
    struct buf text;          /* a command that is made */
    char *room;               /* for decoding */
    size_t room_n;
};

/* Something of ours failed: returns false. */
bool carry_failed(struct carry *c, const struct err *err);

/* Room for decoding `n` bytes; NULL: carry_failed(). */
char *carry_room(struct carry *c, size_t n);

/* ---- carry.c ---- */

/* What is out is passed over when it comes, and no more is asked for. */
void carry_ask_no_more(struct carry *c);

/* Nothing more is to be asked for or taken now. */
bool carry_is_pausing(const struct carry *c);

/* Whether a command to the target may be begun. */
bool carry_may_begin(const struct carry *c);

/* To be asked for once more. False: carry_failed(). */
bool carry_again(struct carry *c, struct item item) MUST_CHECK;

/* The message is over, for good or ill; its row of the journal was seen to by the caller. */
void carry_done(struct carry *c, uint32_t uid, uint64_t size, bool is_there);

/* A server wants to be left alone, for as long as it says (0: it does not). */
bool carry_pause(struct carry *c, uint32_t hint_ms, struct slice words);

/* The message is not carried: it is listed, and its row goes. */
bool carry_refuse(struct carry *c, uint32_t uid, enum sync_reason reason, struct slice words);

/* ---- carry_source.c ---- */

/* Which link is to be asked for the next window. What `stands_alone` is asked of the first: of all
 * that the source has, the folder's list is its view. */
struct source *carry_whom_to_ask(struct carry *c, bool stands_alone);

/* How large a window may be: what comes of it must not need to be heard before its turn. */
uint64_t carry_window_bytes(const struct carry *c);
size_t carry_windows_most(const struct carry *c);

/* Turns to the link that is to be heard next, unless a message is in the middle. */
void carry_turn_to_source(struct carry *c);

/* Its next event, as link_step(); one that is not its turn is kept for later, and another tried. */
enum link_event carry_step_source(struct carry *c, enum pipeline_event *out_event);

/* What the others have to say is taken in, as far as there is room. */
bool carry_take_in(struct carry *c);

bool carry_flush_sources(struct carry *c);

/* Waits for the target and the source, as link_wait(). */
bool carry_wait(struct carry *c, bool wants_source, uint32_t wait_ms);

/* A link has failed. True: it was one of several, and what it owes will be asked of the others,
 * with all that comes behind it. */
bool carry_lose(struct carry *c, struct source *s);

/* The items of a batch of many are to be asked for once more, and before all that comes behind them
 * and has been asked for already: that is passed over when it comes. */
bool carry_rewind(struct carry *c, const struct batch *b, size_t limit);

/* ---- carry_fetch.c ---- */

/* Sends FETCH commands as far as may be. */
bool carry_ask(struct carry *c);

/* One event of the source. */
bool carry_from_source(struct carry *c, enum pipeline_event event);

/* Takes on what has come of a message and is pending; true: none is pending any more. */
bool carry_take_on(struct carry *c);

void carry_window_free(struct carry *c, struct window *w);

/* The item of an open window is there, or is not wanted any more. */
void carry_has_come(struct carry *c, struct window *w, size_t i);

/* Whose body has come, by the response of its event; 0: it does not say. */
uint32_t carry_uid_of(struct carry *c, enum pipeline_event event);
void carry_windows_free(struct carry *c);

/* ---- carry_append.c ---- */

/* The message c->item, of `n` bytes, begins; what comes of it is put into the command by
 * carry_take_on(). It is held (c->is_held) as long as the command before it has no answer, and
 * begun by another try. */
bool append_begin(struct carry *c, uint64_t n);
bool append_begin_held(struct carry *c);

/* All of it is there. */
bool append_end(struct carry *c);

/* Ends the open command; no message is in the middle. Of many messages it is not ended before the
 * one before it has its answer, so that it can be cancelled if that is a refusal. */
bool append_may_close(const struct carry *c);
bool append_close(struct carry *c);

bool carry_from_target(struct carry *c, enum pipeline_event event);

/* Writes the results to the journal. */
bool carry_results(struct carry *c);

void carry_batches_free(struct carry *c);

#endif
