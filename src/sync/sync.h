/* Carrying an account from one IMAP server to another, and proving that it arrived.
 *
 *     sync_run()  params in, a report out; blocks, in threads of its own, until all is done
 *
 * The files, along the data's way:
 *
 *     names.[ch]      pure: which folder goes to which
 *     mailboxes.[ch]  what folders there are, and making them
 *     link.[ch]       a connection
 *     look.[ch]       what messages a folder has; digests of headers and bodies
 *     identity.[ch]   pure: which message is which
 *     journal.[ch]    what was done: SQLite
 *     carry.[ch]      messages from one link to the other, as streams
 *     folder.[ch]     all of one folder: compare, carry, flags, deletes, proof
 *     lane.[ch]       a thread: one link to each side, folder after folder; lane_wide.c: several to
 *                     the source
 *     width.[ch]      pure: how many of these a folder is worth
 *     state.[ch]      what the lanes share
 *     report.[ch]     what became of everything
 *
 * Threads: each lane has its own loop and links, and code that waits where it stands. They share
 * struct sync alone, whose functions lock.
 */
#ifndef USHER_SYNC_SYNC_H
#define USHER_SYNC_SYNC_H

#include "base/addr.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context;
struct sync_report;

enum { SYNC_ADDRESSES = 8, SYNC_LANES = 16 };

enum sync_tls { SYNC_TLS_OFF, SYNC_TLS_STARTTLS, SYNC_TLS_IMPLICIT };

/* One of the two accounts. */
struct sync_side {
    const char *name; /* "from" or "to", for words */
    const char *host; /* as it was given, for words, TLS and the journal */
    uint16_t port;
    struct addr addresses[SYNC_ADDRESSES];
    size_t addresses_n;
    enum sync_tls tls;
    struct tls_context *tls_context;      /* unless OFF */
    bool verifies;                        /* the certificate and its name */
    struct slice user, authzid, password; /* authzid is whose mail it is when `user` is a master;
                                             else empty */
};

/* A list of words in the order in which they were given. */
struct sync_words {
    const char *const *items;
    size_t n;
};

/* f1f2: the folder `from` goes to the folder `to`. */
struct sync_pair {
    const char *from, *to;
};

enum sync_compress { SYNC_COMPRESS_AUTO, SYNC_COMPRESS_NO, SYNC_COMPRESS_YES };
enum sync_what {
    SYNC_ALL,     /* carry and prove */
    SYNC_VERIFY,  /* `usher verify`: only prove */
    SYNC_LOGIN,   /* --justlogin */
    SYNC_FOLDERS, /* --justfolders: make and subscribe folders, carry nothing */
    SYNC_SIZES    /* --justfoldersizes: count both sides */
};

/* Which folders, by names of the source in UTF-8 with its separator; nothing given: all. */
struct sync_choice {
    struct sync_words folders;  /* --folder: these */
    struct sync_words subtrees; /* --folderrec: these and what is below */
    struct sync_words includes; /* --include: regular expressions, added to the above */
    struct sync_words excludes; /* --exclude: taken away from all of the above */
    const struct sync_pair *pairs;
    size_t pairs_n;
    bool automap;                  /* special-use folders to those of the target */
    const char *subfolder1;        /* only this subtree, as if it were the root */
    const char *subfolder2;        /* all below this one */
    struct sync_words regextrans2; /* "s/A/B/g" on the names of the target, in this order */
};

struct sync_params {
    struct sync_side from, to;
    enum sync_what what;
    struct sync_choice choice;

    bool is_dry;        /* nothing is written, neither mail nor journal */
    const char *search; /* IMAP search criteria that messages of the source must meet; NULL: all */
    uint64_t max_size, min_size;   /* bytes; max 0: none */
    uint32_t max_age_s, min_age_s; /* of INTERNALDATE; 0: none */
    bool deletes;                  /* --delete2: what is not at the source goes from the target */
    unsigned delete_share;         /* the most percent of a target folder that may go so */
    bool is_full;                  /* compare all bodies, not only in doubt */
    bool with_subscriptions, with_acl, with_metadata, with_quota;

    unsigned lanes;      /* connections a side, 1 to SYNC_LANES */
    size_t memory;       /* bytes for buffers of all lanes */
    uint64_t max_rate;   /* bytes a second of mail, over all lanes; 0: none */
    unsigned max_errors; /* after so many exceptions all ends; 0: never */
    uint32_t timeout_ms; /* of silence */
    enum sync_compress compress;
    unsigned sample;     /* percent of the messages whose bodies are read again for the proof,
                            and at least SYNC_SAMPLE_LEAST of each folder */
    const char *journal; /* the file; NULL: none is kept beyond the run */
    uint64_t die_at;     /* for tests: the journal's write of this number kills us; 0: none */
};

enum { SYNC_SAMPLE_LEAST = 10 };

/* --- while it runs ---------------------------------------------------------------------------- */

enum sync_phase { SYNC_CONNECTING, SYNC_LISTING, SYNC_CARRYING, SYNC_ENDING };

/* What a progress display shows. */
struct sync_progress {
    enum sync_phase phase;
    uint64_t elapsed_ms;
    uint64_t folders, folders_done;   /* to be looked at; over */
    uint64_t messages, messages_done; /* known to be at the source; there, be it carried or found */
    uint64_t bytes, bytes_done;       /* the same, by the source's sizes */
    uint64_t carried, carried_bytes;  /* messages that the target has taken in this run */
    uint64_t exceptions;
    unsigned lanes;                   /* with both links open */
    unsigned paused_s;                /* how long lanes wait for a server that asked for it */
    char folders_now[SYNC_LANES][96]; /* what the lanes work on, UTF-8, cut; "" none */
    struct {
        uint64_t done, all; /* messages of that folder */
    } folder_now[SYNC_LANES];
};

/* Called from the thread that runs sync_run(), a few times a second and once at the end; and with
 * each line of the log, from the same thread. `arg` is the caller's. */
struct sync_watch {
    void (*progress)(void *arg, const struct sync_progress *progress);
    void (*line)(void *arg, const char *line); /* without an end of line, safe to show */
    void *arg;
};

/* Asks a running sync to end soon, in order: from a signal handler or another thread. `stop` is the
 * caller's, read by all threads; the report says that it was stopped. */
struct sync_stop {
    int signal; /* 0: go on; written once, with __atomic_store_n */
};

/* -1: it could not begin (memory, threads, a regular expression, the journal); err tells. Else
 * there is a report, however it went, to be freed with sync_report_free(). Nothing but `stop` may
 * be changed meanwhile. */
int sync_run(const struct sync_params *params, const struct sync_stop *stop,
             const struct sync_watch *watch, struct sync_report **out_report,
             struct err *err) MUST_CHECK;

#endif
