/* What a folder of one side has: opening it, the list of its messages, digests of their headers and
 * bodies. Over link_call(), so each function waits until it is done.
 *
 * A -1 says that the link is broken or memory is out (err has the words), and nothing else. A NO or
 * BAD of the server is in *out_answer where there is one: what then came is as if nothing had been
 * told. Answers that are put together from those of several commands, or made up here, have no
 * code.
 */
#ifndef USHER_SYNC_LOOK_H
#define USHER_SYNC_LOOK_H

#include "base/err.h"
#include "base/hash.h"
#include "base/slice.h"
#include "imap/data.h"
#include "sync/link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flags;

/* An open folder. */
struct look_selected {
    uint32_t exists, uidvalidity, uidnext; /* uidnext 0: not told */
    uint64_t modseq;                       /* HIGHESTMODSEQ; 0: none is kept (NOMODSEQ, or no
                                              CONDSTORE) */
    bool is_read_only;
    char permanent[4096]; /* PERMANENTFLAGS, as many words as it has room for, "\*" first of all;
                             "" not told */
    bool permanent_told, exists_told;
};

/* SELECT, or EXAMINE with `is_read_only`, with (CONDSTORE) where offered. `name` is UTF-8. A
 * UIDVALIDITY that is not told is 0; EXISTS that is not told is BAD. */
int look_select(struct link *l, struct slice name, bool is_read_only, struct look_selected *out,
                struct link_answer *out_answer, struct err *err) MUST_CHECK;

/* How large a folder is, as far as that is known; 0: it is not. Serves for nothing but the pieces
 * in which a large one is asked for. */
struct look_extent {
    uint32_t exists, uidnext;
};
static inline struct look_extent look_extent(const struct look_selected *open)
{
    return (struct look_extent){open->exists, open->uidnext};
}

/* A message, as its server lists it. */
struct look_message {
    uint32_t uid;
    uint32_t flags; /* its number in struct flags */
    int64_t date_s; /* INTERNALDATE */
    int16_t zone_min;
    bool has_date;
    bool has_flags;
    uint32_t match; /* the caller's: 0 at first */
    uint64_t size;  /* RFC822.SIZE: not to be trusted */
};
_Static_assert(sizeof(struct look_message) <= 40, "there are 300,000 of them");

struct look_list {
    struct look_message *messages; /* in ascending order of UID, each once */
    size_t n, cap;
    struct flags *flags; /* the caller's, which may serve several lists */
};
void look_list_init(struct look_list *list, struct flags *flags);
void look_list_free(struct look_list *list);
struct look_message *look_find(const struct look_list *list, uint32_t uid); /* NULL: none */

/* What to ask for. LOOK_FLAGS alone is cheap on all servers. */
enum { LOOK_FLAGS = 1, LOOK_DATE = 2, LOOK_SIZE = 4, LOOK_ALL = 7 };

/* Which of the UIDs that are known have gone (QRESYNC). What a server tells may be any set, as
 * "1:4294967295": one that has no memory so far back tells of all that it does not have, also of
 * such as have never been (RFC 7162 section 3.2.6). No set costs more than what is known. */
struct look_gone {
    const uint32_t *known; /* the caller's; ascending */
    size_t n;
    uint32_t
        *next; /* of each the first from there on that has not gone; with one behind the last */
};
int look_gone_init(struct look_gone *gone, const uint32_t *known, size_t n,
                   struct err *err) MUST_CHECK;
void look_gone_free(struct look_gone *gone);

/* Takes a set as it was told, up to what is none in it. Pure, and so is the next. */
void look_gone_take(struct look_gone *gone, struct slice set);

/* Whether number i of those known has gone. */
bool look_is_gone(const struct look_gone *gone, size_t i);

/* What is to be listed of the open folder of a link. */
struct look_asked {
    struct link *link;
    uint32_t first, last; /* UIDs; UINT32_MAX: the end */
    unsigned what;
    uint64_t since;            /* above 0: only what has changed since (CHANGEDSINCE, RFC 7162) */
    struct look_extent extent; /* of the folder */
    struct look_list *list;    /* added to; what is in it already is renewed by what is told */
    struct look_gone *gone;    /* NULL, or, with `since` and link_has_qresync(): filled by VANISHED
                                  (EARLIER), if the server tells */
    struct link_answer answer; /* comes of it */
};

/* Lists up to two of them, of different links, side by side; in pieces of some thousand messages
 * where a folder is large, several in flight. A server that refuses VANISHED is asked without:
 * `gone` is empty then. What it does tell need not be true, no more than that it is all. */
int look_lists(struct look_asked *all, size_t n, struct err *err) MUST_CHECK;

/* The same for one: all messages from UID `first` to `last`. */
int look_range(struct link *l, uint32_t first, uint32_t last, unsigned what,
               struct look_extent extent, struct look_list *list, struct link_answer *out_answer,
               struct err *err) MUST_CHECK;

/* The end of the work on an open folder, in one round trip: its STATUS, in *out_status; then, with
 * `since` above 0, what has changed since then below the UID `fence`; then, with `come` above 0,
 * all from `fence` on, which are about so many. What comes or changes between them is in the lists
 * and above the STATUS, never the other way round: of a server that answers in another order, or
 * refuses STATUS, *out_status tells nothing. */
struct look_end {
    struct slice name; /* of the folder, UTF-8 */
    uint32_t fence, come;
    uint64_t since;
};
int look_at_end(struct link *l, const struct look_end *end, struct look_list *list,
                struct data_status *out_status, struct link_answer *out_answer,
                struct err *err) MUST_CHECK;

/* The same of these UIDs, ascending; those that are gone are not told. */
int look_messages(struct link *l, const uint32_t *uids, size_t n, unsigned what,
                  struct look_list *list, struct link_answer *out_answer,
                  struct err *err) MUST_CHECK;

/* The UIDs that meet search criteria ("ALL", "SEEN LARGER 5000"), ascending, in *out_uids (free());
 * by ESEARCH where offered, in pieces as above. Nothing at NO or BAD. Criteria that are not one
 * line are not sent: that is BAD too. */
int look_search(struct link *l, const char *criteria, struct look_extent extent,
                uint32_t **out_uids, size_t *out_n, struct link_answer *out_answer,
                struct err *err) MUST_CHECK;

/* What identity.h needs of a message; read through, never kept. */
struct look_digest {
    uint32_t uid;
    uint64_t size;       /* bytes that came; of the header alone unless bodies were asked for */
    struct hash128 head; /* normalised: see identity.h */
    bool is_weak;        /* the header says too little to know a message by it */
    struct hash128 raw;  /* of all bytes, as they came; only with bodies */
    struct hash128 text; /* of all bytes behind the header, bare LF counting as CRLF, and CR alone
                            as itself; only with bodies */
};

/* Asks for headers (BODY.PEEK[HEADER]) or whole messages (BODY.PEEK[]) of these UIDs, ascending, in
 * pieces of bounded length, several in flight; each is told once, in whatever order it comes. Those
 * that are gone or that the server does not give are not told: when it refuses several it is asked
 * for half of them, down to single ones. -1 also when `told` returns -1. */
typedef int look_digested(void *arg, const struct look_digest *digest, struct err *err);
int look_digests(struct link *l, const uint32_t *uids, size_t n, bool with_bodies,
                 look_digested *told, void *arg, struct err *err) MUST_CHECK;

/* The same of up to two links, side by side. */
struct look_digesting {
    struct link *link;
    const uint32_t *uids;
    size_t n;
    bool with_bodies;
    look_digested *told;
    void *arg;
};
int look_digests_all(const struct look_digesting *all, size_t n, struct err *err) MUST_CHECK;

/* The subjects of some messages, as look_subject_decode() has them, each in the `cap` bytes of
 * `out` that are its own; "" if there is none or the server does not give it. For a few of them. */
int look_subjects(struct link *l, const uint32_t *uids, size_t n, char *out, size_t cap,
                  struct err *err) MUST_CHECK;

/* From a header that has one Subject field and no other: unfolded, decoded (RFC 2047: UTF-8,
 * ISO-8859-1 and US-ASCII; what is of others or no good stays as it stands), blanks made one space,
 * safe to show (term_escape() of base/term.h), cut at the end of a character. With NUL; `cap` is
 * above 0. Pure. */
void look_subject_decode(struct slice header, char *out, size_t cap);

#endif
