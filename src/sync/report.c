/* What became of everything, counted; see sync/report.h. Showing it is left to others. */
#include "sync/report.h"

#include <stdlib.h>

static const struct {
    const char *name, *text;
    enum sync_severity severity;
    bool may_retry;
} reasons[] = {
#define NOTE                                       SYNC_NOTE
#define EXCEPTION                                  SYNC_EXCEPTION
#define DIFFERENCE                                 SYNC_DIFFERENCE
#define ROW(id, name, severity, may_retry, manual) {name, manual, severity, may_retry},
#include "tables/sync_reasons.def"
#undef ROW
#undef NOTE
#undef EXCEPTION
#undef DIFFERENCE
};

const char *sync_reason_name(enum sync_reason reason)
{
    return reasons[reason].name;
}

const char *sync_reason_text(enum sync_reason reason)
{
    return reasons[reason].text;
}

enum sync_severity sync_reason_severity(enum sync_reason reason)
{
    return reasons[reason].severity;
}

bool sync_reason_may_retry(enum sync_reason reason)
{
    return reasons[reason].may_retry;
}

/* The first of these that was met gives the exit status; for all others that count there is
 * SYNC_EXIT_WITH_ERRORS, as with imapsync when errors are of several kinds. */
static bool is_only(const struct sync_report *report, const enum sync_reason *some, size_t n)
{
    uint64_t met = 0, all = 0;

    for (size_t i = 0; i < SYNC_REASONS; i++) {
        if (sync_reason_severity((enum sync_reason)i) != SYNC_NOTE)
            all += report->counts[i];
    }
    for (size_t i = 0; i < n; i++)
        met += report->counts[some[i]];
    return met > 0 && met == all;
}

int sync_status(const struct sync_report *report)
{
    static const enum sync_reason quota[] = {REASON_OVERQUOTA};
    static const enum sync_reason append[] = {REASON_TOO_BIG, REASON_HAS_NUL, REASON_BAD_MESSAGE,
                                              REASON_APPEND_REFUSED};
    static const enum sync_reason fetch[] = {REASON_FETCH_REFUSED, REASON_FETCH_NOTHING};
    static const enum sync_reason create[] = {REASON_CREATE_REFUSED};
    static const enum sync_reason opening[] = {REASON_SELECT_REFUSED};

    if (is_only(report, quota, 1))
        return SYNC_EXIT_OVERQUOTA;
    if (is_only(report, append, sizeof append / sizeof *append))
        return SYNC_EXIT_ERR_APPEND;
    if (is_only(report, fetch, sizeof fetch / sizeof *fetch))
        return SYNC_EXIT_ERR_FETCH;
    if (is_only(report, create, 1))
        return SYNC_EXIT_ERR_CREATE;
    if (is_only(report, opening, 1))
        return SYNC_EXIT_ERR_SELECT;
    for (size_t i = 0; i < SYNC_REASONS; i++) {
        if (report->counts[i] > 0 && sync_reason_severity((enum sync_reason)i) != SYNC_NOTE)
            return SYNC_EXIT_WITH_ERRORS;
    }
    return SYNC_EXIT_OK;
}

bool sync_is_proven(const struct sync_report *report)
{
    if (report->failure.text[0] || report->stopped_by)
        return false;
    for (size_t i = 0; i < SYNC_REASONS; i++) {
        if (report->counts[i] > 0 && sync_reason_severity((enum sync_reason)i) != SYNC_NOTE)
            return false;
    }
    for (size_t i = 0; i < report->folders_n; i++) {
        if (!report->folders[i].proof.is_proven)
            return false;
    }
    return true;
}

struct sync_folder sync_total(const struct sync_report *report)
{
    struct sync_folder t = {.proof.is_proven = true};

    for (size_t i = 0; i < report->folders_n; i++) {
        const struct sync_folder *f = &report->folders[i];

        t.from_messages += f->from_messages;
        t.to_messages += f->to_messages;
        t.from_bytes += f->from_bytes;
        t.to_bytes += f->to_bytes;
        t.chosen += f->chosen;
        t.found += f->found;
        t.carried += f->carried;
        t.carried_bytes += f->carried_bytes;
        t.flags_set += f->flags_set;
        t.deleted += f->deleted;
        t.refused += f->refused;
        t.would_carry += f->would_carry;
        t.would_carry_bytes += f->would_carry_bytes;
        t.would_set += f->would_set;
        t.would_delete += f->would_delete;
        t.extra += f->extra;
        t.proof.is_proven = t.proof.is_proven && f->proof.is_proven;
        t.proof.paired += f->proof.paired;
        t.proof.flags += f->proof.flags;
        t.proof.dates += f->proof.dates;
        t.proof.sampled += f->proof.sampled;
        t.proof.digests += f->proof.digests;
        t.proof.differences += f->proof.differences;
        t.took_ms += f->took_ms;
    }
    return t;
}

void sync_report_free(struct sync_report **report)
{
    struct sync_report *r = *report;

    *report = NULL;
    if (!r)
        return;
    for (size_t i = 0; i < r->folders_n; i++) {
        free(r->folders[i].from);
        free(r->folders[i].to);
    }
    for (size_t i = 0; i < r->issues_n; i++) {
        free(r->issues[i].subject);
        free(r->issues[i].text);
    }
    free(r->folders);
    free(r->issues);
    free(r->from);
    free(r->to);
    free(r->journal);
    free(r);
}
