/* What became of everything: counts by folder, exceptions and differences, the end. Filled by
 * sync_run() under the lock of struct sync, read when it is over; shown as text, JSON and HTML by
 * cli/sync_*.c and report_html.c. */
#ifndef USHER_SYNC_REPORT_H
#define USHER_SYNC_REPORT_H

#include "base/err.h"
#include "base/slice.h"
#include "sync/sync.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What is told of a message, a folder or an account; rows of tables/sync_reasons.def. */
enum sync_reason {
#define ROW(id, name, severity, may_retry, manual) REASON_##id,
#include "tables/sync_reasons.def"
#undef ROW
    SYNC_REASONS
};

enum sync_severity {
    SYNC_NOTE,      /* as it should be, but worth a word; never counts as an error */
    SYNC_EXCEPTION, /* something was not carried, or not as it was */
    SYNC_DIFFERENCE /* the proof found source and target to differ */
};

const char *sync_reason_name(enum sync_reason reason); /* "too-big" */
const char *sync_reason_text(enum sync_reason reason); /* its sentence in the manual */
enum sync_severity sync_reason_severity(enum sync_reason reason);
bool sync_reason_may_retry(enum sync_reason reason); /* whether another run may do better */

/* How far a folder came. */
enum sync_folder_state {
    FOLDER_WAITING,   /* nobody has begun it: the run ended before */
    FOLDER_REFUSED,   /* it is not carried: see the exception */
    FOLDER_FAILED,    /* begun and not finished */
    FOLDER_UNCHANGED, /* nothing has changed on either side since it was proven last */
    FOLDER_DONE
};

struct sync_folder {
    char *from, *to; /* UTF-8, or raw bytes if it is none; `to` NULL: it has no name there */
    enum sync_folder_state state;
    uint64_t from_messages, to_messages; /* when it was looked at last */
    uint64_t from_bytes, to_bytes;       /* as the servers say */
    uint64_t chosen;                     /* messages of the source that the options let through */
    uint64_t found;                      /* of these: were at the target already */
    uint64_t carried, carried_bytes;     /* in this run; bytes that really went */
    uint64_t flags_set, deleted, refused;
    uint64_t would_carry, would_carry_bytes, would_set, would_delete; /* with --dry */
    uint64_t extra;            /* at the target alone, and left there */
    struct {                   /* the proof */
        bool is_proven;        /* all that was looked at agrees */
        uint64_t paired;       /* messages of the source with their own at the target */
        uint64_t flags, dates; /* pairs compared */
        uint64_t sampled;      /* bodies that were read again and compared */
        uint64_t digests;      /* pairs with a digest of the bytes that went through */
        uint64_t differences;
    } proof;
    uint64_t took_ms;
};

struct sync_issue {
    enum sync_reason reason;
    uint32_t folder;           /* index, or UINT32_MAX: the account */
    uint32_t from_uid, to_uid; /* 0: none */
    char *subject;             /* UTF-8, cut; NULL: not known */
    char *text;                /* the server's words, or ours */
};

/* The most issues that are kept in the report; those beyond are counted, logged, and in the
 * journal. */
enum { SYNC_ISSUES = 100000 };

struct sync_report {
    struct sync_folder *folders;
    size_t folders_n;
    struct sync_issue *issues;
    size_t issues_n;
    uint64_t counts[SYNC_REASONS]; /* of issues, kept or not */
    int status;                    /* the exit status (report.c: sync_status()) */
    enum sync_what what;
    bool is_dry, is_verify, is_full;
    int stopped_by;     /* a signal's number; 0: it was not stopped */
    struct err failure; /* text "": none; else why all has ended early */
    int64_t began_s;    /* since 1970 */
    uint64_t took_ms, cpu_ms, peak_memory;
    uint64_t from_wire, to_wire; /* bytes on the wire, both directions together */
    unsigned lanes;
    char *from, *to; /* "imap://ann@host:143" */
    char *journal;   /* NULL: none */
};

/* Exit statuses: those of imapsync, where it has one for the case. */
enum sync_status {
    SYNC_EXIT_OK = 0,
    SYNC_EXIT_CATCH_ALL = 1,
    SYNC_EXIT_BY_SIGNAL = 6,
    SYNC_EXIT_CONNECTION_FAILURE = 10,
    SYNC_EXIT_TLS_FAILURE = 12,
    SYNC_EXIT_AUTHENTICATION_FAILURE = 16,
    SYNC_EXIT_SUBFOLDER1_NO_EXISTS = 21,
    SYNC_EXIT_USAGE = 64,
    SYNC_EXIT_NOINPUT = 66, /* no password to be had */
    SYNC_EXIT_SOFTWARE = 70,
    SYNC_EXIT_CONNECTION_FAILURE_HOST1 = 101,
    SYNC_EXIT_CONNECTION_FAILURE_HOST2 = 102,
    SYNC_EXIT_WITH_ERRORS = 111,
    SYNC_EXIT_WITH_ERRORS_MAX = 112,
    SYNC_EXIT_OVERQUOTA = 113,
    SYNC_EXIT_ERR_APPEND = 114,
    SYNC_EXIT_ERR_FETCH = 115,
    SYNC_EXIT_ERR_CREATE = 116,
    SYNC_EXIT_ERR_SELECT = 117,
    SYNC_EXIT_AUTHENTICATION_FAILURE_USER1 = 161,
    SYNC_EXIT_AUTHENTICATION_FAILURE_USER2 = 162
};

/* What the counts come to, when nothing graver has set `status`. */
int sync_status(const struct sync_report *report);

/* Whether everything that was to be carried is there and proven. */
bool sync_is_proven(const struct sync_report *report);

/* Sums over the folders, for those who show them. */
struct sync_folder sync_total(const struct sync_report *report);

void sync_report_free(struct sync_report **report);

/* The whole report as one page of HTML that needs nothing beside it: no scripts, no other files.
 * -1: memory was out, or `out` failed. */
int sync_report_html(const struct sync_report *report, FILE *out, struct err *err) MUST_CHECK;

#endif
