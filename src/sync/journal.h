/* What was done, so that a further run goes on where this one ended, wherever that was: SQLite, one
 * file for a pair of accounts, write-ahead, durable before anything is sent that it tells of.
 *
 * A row for each message that is, or may be, at the target:
 *
 *     sending    (to_uid 0, not sent) may have been sent when we died: to be looked for among the
 *                target's UIDs from the folder's `to_fence` on
 *     sent       (to_uid 0, sent) the target has taken it and did not say under which UID
 *     there      (to_uid)
 *
 * UIDs count for the UIDVALIDITYs of the folder's row alone: whoever sees another one calls
 * journal_forget().
 *
 * One lock over all functions; lanes may call at the same time. Each function that writes is one
 * transaction: when it returns -1 nothing of it is there. A process that is killed loses none that
 * has returned. When the machine dies, what is left is all up to some transaction: the last
 * journal_sending() or one behind it, or journal_close(). Only "sending" has to be on the disk in
 * time: whatever else was lost is found out again, from the servers or from a state that was
 * before. So a folder, and a thousand messages of a large one, cost one wait for the disk.
 *
 * The file is made with mode 0600, and locked as long as it is open: two runs cannot share it, nor
 * can one that reads and one that writes. Readers can. A process opens a file once at a time.
 */
#ifndef USHER_SYNC_JOURNAL_H
#define USHER_SYNC_JOURNAL_H

#include "base/err.h"
#include "base/hash.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;

enum { JOURNAL_VERSION = 1 };

/* How a journal is opened. */
struct journal_params {
    const char *path;      /* NULL: none, in memory and, when it gets large, a nameless file */
    const char *from, *to; /* the accounts, "imap://ann@mail.example.org": they must be those that
                              the file was made for */
    bool is_read_only; /* a file that is missing is as an empty one; nothing is ever written: what
                          functions write goes into a nameless copy */
    uint64_t die_at;   /* see sync.h: counts the moments right before and right after each commit,
                          from 1 */
};

/* Makes the file and the folders above it (mode 0700) if they are missing. Errors name the file. A
 * file of a newer version, of other accounts, or that is none of ours is one; so is one in use. */
int journal_open(const struct journal_params *params, struct journal **out_journal,
                 struct err *err) MUST_CHECK;

/* Clears *j; harmless when it is NULL. */
void journal_close(struct journal **j);

/* --- folders ---------------------------------------------------------------------------------- */

/* As they were when the folder was finished last, but for to_fence. */
struct journal_folder {
    int64_t id;
    uint32_t from_uidvalidity, to_uidvalidity; /* 0: never seen */
    uint32_t from_uidnext, to_uidnext;
    uint32_t from_messages, to_messages;
    uint64_t from_modseq, to_modseq;
    uint32_t to_fence; /* UIDNEXT of the target before the first message was sent whose UID is not
                          known: what is not yet known lies from here on; 0: nothing is in flight */
    uint64_t chosen;   /* a digest of the options that choose messages: another one, and the counts
                          above prove nothing */
    bool is_proven;    /* nothing was left open */
};

/* The row of a pair of names, made if it is missing. A folder of the source that went to another
 * name before is another row. */
int journal_folder(struct journal *j, struct slice from, struct slice to,
                   struct journal_folder *out, struct err *err) MUST_CHECK;

/* Writes the row, but not to_fence. */
int journal_folder_set(struct journal *j, const struct journal_folder *folder,
                       struct err *err) MUST_CHECK;

/* Forgets all messages of a folder and sets the two UIDVALIDITYs, all else to 0, to_fence too. */
int journal_forget(struct journal *j, int64_t folder, uint32_t from_uidvalidity,
                   uint32_t to_uidvalidity, struct err *err) MUST_CHECK;

/* --- messages --------------------------------------------------------------------------------- */

struct journal_message {
    uint32_t from_uid, to_uid; /* to_uid 0: not known */
    bool is_sent;              /* to_uid 0: the target has taken it */
    bool has_digest;
    uint64_t size;            /* bytes that went through, if has_digest */
    struct hash128 head, raw; /* of these, as identity.h makes them */
};

/* These are about to be sent: rows "sending", and to_fence set to `fence` if it was 0, on the disk
 * when it returns. Rows that are there already become "sending" again. A fence of 0, of a server
 * that does not tell UIDNEXT, is as 1: all that is there. */
int journal_sending(struct journal *j, int64_t folder, uint32_t fence, const uint32_t *from_uids,
                    size_t n, struct err *err) MUST_CHECK;

/* What became of them: each row is set as told. */
int journal_set(struct journal *j, int64_t folder, const struct journal_message *messages, size_t n,
                struct err *err) MUST_CHECK;

/* They are not at the target, or not at the source any more: their rows go. The folder is not
 * proven until it is set anew: nothing but a whole look finds a message without a row that has not
 * changed.
 */
int journal_remove(struct journal *j, int64_t folder, const uint32_t *from_uids, size_t n,
                   struct err *err) MUST_CHECK;

/* Nothing of the folder is in flight any more: to_fence becomes 0. Insists that no row is without a
 * to_uid. */
int journal_settled(struct journal *j, int64_t folder, struct err *err) MUST_CHECK;

/* All messages of a folder by from_uid, in *out (free()). */
struct journal_pair {
    uint32_t from_uid, to_uid;
};
int journal_pairs(struct journal *j, int64_t folder, struct journal_pair **out, size_t *out_n,
                  struct err *err) MUST_CHECK;

/* The rows without a to_uid, by from_uid, in *out (free()). */
int journal_in_flight(struct journal *j, int64_t folder, struct journal_message **out,
                      size_t *out_n, struct err *err) MUST_CHECK;

/* One row; *out_is_there. */
int journal_message(struct journal *j, int64_t folder, uint32_t from_uid,
                    struct journal_message *out, bool *out_is_there, struct err *err) MUST_CHECK;

/* How many messages of the folder have a digest. */
int journal_digests(struct journal *j, int64_t folder, uint64_t *out_n, struct err *err) MUST_CHECK;

/* --- exceptions ------------------------------------------------------------------------------- */

/* A run begins: the exceptions of the one before go, but for messages that were found to have other
 * bytes: these stay in doubt until somebody has looked at them again. */
int journal_begin(struct journal *j, int64_t now_s, struct err *err) MUST_CHECK;

/* `folder` is a name of the source, or empty. */
int journal_exception(struct journal *j, struct slice folder, uint32_t from_uid, uint32_t to_uid,
                      const char *reason, struct slice text, struct err *err) MUST_CHECK;

/* The messages in doubt, by the UID that they have at the source; to_uid is 0. In *out (free()). */
int journal_doubts(struct journal *j, struct slice folder, struct journal_pair **out, size_t *out_n,
                   struct err *err) MUST_CHECK;

/* It is as it should be, or gone. */
int journal_no_doubt(struct journal *j, struct slice folder, uint32_t from_uid,
                     struct err *err) MUST_CHECK;

#endif
