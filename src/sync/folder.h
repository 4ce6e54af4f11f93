/* All of one folder: what both sides have is compared with each other and with the journal, what is
 * missing is carried, flags are made the same, what is to be deleted is, and the end is proven.
 *
 * It can be ended at any point, and begun anew: the journal has what was done, and what may have
 * been done is found at the target.
 */
#ifndef USHER_SYNC_FOLDER_H
#define USHER_SYNC_FOLDER_H

#include "base/err.h"
#include "sync/lane.h"

struct journal_folder;

enum folder_end {
    FOLDER_IS_DONE,
    FOLDER_IS_BROKEN, /* a link has failed, or the sync is stopping */
    FOLDER_IS_AGAIN,  /* to be begun anew after a pause: err tells why */
    FOLDER_IS_FAILED  /* ours: err tells; all ends */
};

struct uids {
    uint32_t *all; /* ascending, unless said otherwise */
    size_t n, cap;
};

/* What is known of a folder from one try to the next; zeros at first. */
struct folder_way {
    bool is_careful;   /* in: see carry.h */
    bool knows_unread; /* ours: a try was given up since messages could not be read */
    uint64_t progress; /* out: how many messages are done that were not before */
    uint32_t suspect;  /* out: see carry.h */
    /* ours: UIDs of the source, not in order: what was carried so, and is listed */
    struct uids without_keywords, without_date;
};

void folder_way_done(struct folder_way *way);

/* Counts the bytes of both sides, where their servers have not told them with the list of folders:
 * status.size. What is refused counts as empty. -1: a link has broken, or memory. */
int folder_sizes(struct lane *lane, struct job *job, struct err *err) MUST_CHECK;

/* Whether nothing has changed on either side since the folder was proven, by STATUS of both and the
 * journal, whose row it hands out; --full takes nothing for that. -1: the journal. */
int folder_is_unchanged(struct sync *s, const struct job *job, struct journal_folder *out_row,
                        bool *out_is, struct err *err) MUST_CHECK;

enum folder_end folder_sync(struct lane *lane, struct job *job, struct folder_way *way,
                            struct err *err) MUST_CHECK;

#endif
