/* The folders of an account: what there are, making them, and what hangs on them beside mail. Over
 * link_call() and link_calls(), as few round trips as the server allows. -1 is a broken link, as in
 * look.h. */
#ifndef USHER_SYNC_MAILBOXES_H
#define USHER_SYNC_MAILBOXES_H

#include "base/err.h"
#include "base/slice.h"
#include "imap/data.h"
#include "sync/link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sync;

enum {
    MAILBOX_NOSELECT = 1, /* \Noselect or \NonExistent */
    MAILBOX_NOINFERIORS = 2,
    MAILBOX_SUBSCRIBED = 4,
    MAILBOX_UNFIT = 8 /* its name is neither modified UTF-7 nor UTF-8: `name` has the bytes */
};

struct mailbox {
    char *name;     /* UTF-8; "INBOX" for that in any case of letters */
    char separator; /* 0: flat */
    unsigned is;
    char use[16]; /* special use (RFC 6154), "\Sent"; "" none. \All and \Flagged are views on mail
                     that lies elsewhere too, and count as a use like others */
    struct data_status status; /* of those that can be selected; the name in it is not set */
};

struct mailboxes {
    struct mailbox *all; /* by name, byte by byte, INBOX first; each once */
    size_t n;
    char *prefix;   /* of the personal namespace, UTF-8; "" */
    char separator; /* of it, or of the first folder that has one; 0: flat */
};

/* NAMESPACE, LIST (RETURN (SUBSCRIBED SPECIAL-USE) where RFC 5258 is, else LSUB too), STATUS of all
 * (with LIST, RFC 5819, or pipelined). Folders of other users and shared ones are left out where
 * NAMESPACE tells them apart: the longest prefix that a name begins with says whose it is. Without
 * NAMESPACE the prefix is "INBOX" and the separator, if there are other folders and all are below
 * INBOX. A STATUS that is refused leaves status.told at 0. *out_answer is that of LIST; if it is
 * not OK, `out` is empty. */
int mailboxes_list(struct link *l, struct mailboxes *out, struct link_answer *out_answer,
                   struct err *err) MUST_CHECK;
void mailboxes_free(struct mailboxes *m);

/* NULL: none, as names_are_same() of names.h compares. */
const struct mailbox *mailboxes_find(const struct mailboxes *m, struct slice name);

/* STATUS of these, pipelined; `out[i].told` is 0 for those that were refused. */
int mailboxes_status(struct link *l, const struct slice *names, size_t n, struct data_status *out,
                     struct err *err) MUST_CHECK;

/* A folder that is to be made. */
struct mailbox_new {
    struct slice name;
    const char *use; /* "" for none */
    bool is_made;    /* out, as the next ones */
    bool has_use;
    char *refusal; /* the server's words, to be freed; NULL: it is made, or the link broke */
};

/* CREATE of all of them, pipelined, in their order, so that parents which come first are there for
 * their children: RFC 9051 section 5.5 has a server execute in the order given what would not be
 * the same in another. With (USE (...)) where the server has CREATE-SPECIAL-USE and `use` is not
 * empty; again without if that is refused. [ALREADYEXISTS], or NO for a folder that LIST then shows
 * as one that can be selected, is as good as OK; all others are tried once more. When the link
 * breaks, what was answered before is told. */
int mailboxes_create(struct link *l, struct mailbox_new *all, size_t n, struct err *err) MUST_CHECK;

/* SUBSCRIBE of these, pipelined; on_answer is told of each by its index, also of names that cannot
 * be said. */
int mailboxes_subscribe(struct link *l, const struct slice *names, size_t n,
                        link_answered *on_answer, void *arg, struct err *err) MUST_CHECK;

/* A folder at both sides, and its index in the report. */
struct mailbox_twins {
    uint32_t folder;
    struct slice from, to;
};

/* Rights (RFC 4314) and annotations (RFC 5464) of folders, where both servers have them: two round
 * trips for all of them. What is refused, or cannot be said to the target, is told by
 * sync_issue(), if the links hold to the end. With `is_dry` nothing happens. -1: one of the links
 * is broken; which one, link_trouble() tells.
 *
 * Rights: whoever has less at the target, or nothing, is given what is missing, and nothing is
 * taken away. The owner's own are not touched, be he called as at the source or as at the target.
 * Rights that are denied ("-ann") are carried like others. Servers before RFC 4314 have the letters
 * c and d: they are what section 2.1.1 says, but for x, which is never made of them.
 *
 * Annotations: what is not at the target, or otherwise, is set; none is removed. Not those that
 * servers write themselves, and none of more than 16 KiB. */
int mailboxes_carry_acl(struct sync *s, struct link *from, struct link *to,
                        const struct mailbox_twins *all, size_t n, struct err *err) MUST_CHECK;
int mailboxes_carry_metadata(struct sync *s, struct link *from, struct link *to,
                             const struct mailbox_twins *all, size_t n, struct err *err) MUST_CHECK;

/* The account's quota (RFC 9208, of the root of INBOX): sets the target's STORAGE and MESSAGE to
 * the source's if they differ, and tells if that is refused, or there is nothing to set; tells when
 * what the source holds (`bytes`, `messages`) is above what the target takes at all. */
int mailboxes_carry_quota(struct sync *s, struct link *from, struct link *to, uint64_t bytes,
                          uint64_t messages, struct err *err) MUST_CHECK;

#endif
