/* The inside of a folder's work, shared by its files; see sync/folder.h.
 *
 *     folder.c         opening, the order of the work, the end
 *     folder_look.c    what both sides have, and what of it belongs together by the journal
 *     folder_match.c   what belongs together by its looks (identity.h)
 *     folder_carry.c   carrying what is lacking
 *     folder_change.c  flags and deletions at the target
 *     folder_proof.c   whether all is as it should be
 *
 * Two ways to look. The whole way lists every message of both sides. The quick way asks only for
 * what has changed since the journal's fences (CONDSTORE), and counts; it is taken when nothing was
 * left open the last time and nobody asks for more.
 *
 * All functions return -1 for a link that is broken, or for something of ours: f->has_failed tells
 * which.
 */
#ifndef USHER_SYNC_FOLDER_PARTS_H
#define USHER_SYNC_FOLDER_PARTS_H

#include "base/err.h"
#include "imap/data.h"
#include "sync/folder.h"
#include "sync/journal.h"
#include "sync/lane.h"
#include "sync/look.h"
#include "sync/report.h"
#include "sync/sync.h"

#include <errno.h>

struct flags;

/* What is to be listed, kept until the links are free to ask for subjects. */
struct folder_issue {
    enum sync_reason reason;
    uint32_t from_uid, to_uid;
    char *text; /* NULL: none */
};

struct folder {
    struct lane *lane;
    struct job *job;
    struct sync *sync;
    const struct sync_params *params;
    struct folder_way *way;
    struct err *err;
    bool has_failed;  /* of ours: err */
    bool wants_again; /* err says why */

    struct journal_folder row;
    struct look_selected from_open, to_open;
    bool has_to; /* the target's folder is open */
    bool writes; /* neither --dry nor verify */
    bool is_quick;
    bool is_unwritten; /* the journal is of another UIDVALIDITY, and may not be changed */
    bool is_unsure;    /* some of the source could not be read: any stranger may be one of them */

    struct data_status to_then; /* the target when all was carried, before it is looked at again */
    bool has_counted_to;        /* all that was there then is known */

    struct flags *flags;
    struct look_list from, to;        /* whole, or what has changed */
    struct uids from_there, to_there; /* the quick way: all UIDs, if has_*_there */
    bool has_from_there, has_to_there;

    struct journal_pair *pairs; /* both ends are there; ascending by from_uid */
    size_t pairs_n, pairs_cap;
    struct uids orphans;        /* UIDs of the target whose source is gone, in the order of that */
    struct uids orphan_sources; /* the UIDs that these had there */
    struct uids strangers;      /* UIDs of the target that belong to none of the source */
    struct uids doubtful;       /* of these: too weak to be deleted */
    struct uids lacking;        /* UIDs of the source without a message at the target */
    struct uids carried;        /* what this run has brought: UIDs of the source */
    struct uids refused;        /* what it could not bring; not in order */
    struct uids searched;       /* with --search: what was found */

    uint64_t refused_told; /* sync_refused() */
    struct folder_issue *issues;
    size_t issues_n, issues_cap;
    struct sync_folder count; /* for the report: numbers alone */
};

/* The journal has failed (err is set): -1. */
static inline int folder_failed(struct folder *f)
{
    f->has_failed = true;
    return -1;
}

static inline int folder_no_memory(struct folder *f)
{
    (void)err_set(f->err, ENOMEM, "no memory for the folder %s", f->job->from);
    return folder_failed(f);
}

/* --- folder.c --------------------------------------------------------------------------------- */

int uids_add(struct folder *f, struct uids *u, uint32_t uid) MUST_CHECK;
bool uids_have(const struct uids *u, uint32_t uid); /* ascending ones */
void uids_sort(struct uids *u);

/* To be listed. */
int folder_issue(struct folder *f, enum sync_reason reason, uint32_t from_uid, uint32_t to_uid,
                 struct slice words) MUST_CHECK;

int folder_add_pair(struct folder *f, uint32_t from_uid, uint32_t to_uid) MUST_CHECK;
void folder_sort_pairs(struct folder *f);

/* The pair of a message of the source, while pairs are in order; NULL: none. */
const struct journal_pair *folder_pair_of(const struct folder *f, uint32_t from_uid);

/* What the target keeps of flags, for flags_permitted(). */
struct slice folder_permanent(const struct folder *f);

/* Whether the options let a message through. */
bool folder_is_chosen(const struct folder *f, const struct look_message *m);

/* --- folder_look.c ---------------------------------------------------------------------------- */

/* Fills the lists, pairs, orphans, strangers (all messages of the target without a pair) and
 * lacking (all of the source without one). */
int folder_look(struct folder *f) MUST_CHECK;

/* The same again from the lists as they are and the journal. */
int folder_sort_out(struct folder *f) MUST_CHECK;

/* For answers to what must be answered: OK, or f->wants_again. */
int folder_heed(struct folder *f, const struct link_answer *answer, const char *what) MUST_CHECK;

/* --- folder_match.c --------------------------------------------------------------------------- */

/* Pairs what is lacking with strangers, and takes both from their lists. Everything in flight is
 * settled then. `is_wide`: with all strangers, not only those that came after the last run. */
int folder_match(struct folder *f, bool is_wide) MUST_CHECK;

/* After carrying, with what has come since in f->to: finds those of which the target has not told
 * the UIDs. */
int folder_resolve(struct folder *f) MUST_CHECK;

/* --- folder_carry.c --------------------------------------------------------------------------- */

/* Leaves in `lacking` what the options let through. */
int folder_choose(struct folder *f) MUST_CHECK;

/* Carries what is lacking; pairs and strangers are as they are then. */
int folder_carry(struct folder *f) MUST_CHECK;

/* --- folder_change.c -------------------------------------------------------------------------- */

/* Makes the flags of all pairs those of the source, as far as the target keeps them. */
int folder_flags(struct folder *f) MUST_CHECK;

/* --delete2. */
int folder_delete(struct folder *f) MUST_CHECK;

/* --- folder_proof.c --------------------------------------------------------------------------- */

int folder_proof(struct folder *f) MUST_CHECK;

#endif
