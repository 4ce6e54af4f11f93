/* A report that nobody ran for: folders and issues of all kinds. */
#ifndef USHER_TESTS_SYNC_MADE_UP_H
#define USHER_TESTS_SYNC_MADE_UP_H

#include "sync/report.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline char *copy(const char *s)
{
    return s ? strdup(s) : NULL;
}

static inline struct sync_report *made_up_report(void)
{
    struct sync_report *r = calloc(1, sizeof *r);

    if (!r)
        abort();
    r->from = copy("imap://ann@old.example.org:143");
    r->to = copy("imaps://ann@new.example.org:993");
    r->journal = copy("/var/lib/ann/journal.db");
    r->began_s = 1772357400;
    r->took_ms = 83400;
    r->cpu_ms = 4200;
    r->peak_memory = 31400000;
    r->from_wire = 48200000;
    r->to_wire = 47900000;
    r->lanes = 4;
    return r;
}

/* One that is as it should be: all `n` messages are there, `carried` of them by this run. */
static inline struct sync_folder *add_folder(struct sync_report *r, const char *from,
                                             const char *to, uint64_t n, uint64_t carried)
{
    struct sync_folder *f;

    r->folders = realloc(r->folders, (r->folders_n + 1) * sizeof *r->folders);
    if (!r->folders)
        abort();
    f = &r->folders[r->folders_n++];
    *f = (struct sync_folder){.from = copy(from),
                              .to = copy(to),
                              .state = FOLDER_DONE,
                              .from_messages = n,
                              .to_messages = n,
                              .from_bytes = n * 8192,
                              .to_bytes = n * 8192,
                              .chosen = n,
                              .found = n - carried,
                              .carried = carried,
                              .carried_bytes = carried * 8192,
                              .took_ms = 500};
    f->proof.is_proven = true;
    f->proof.paired = f->proof.flags = f->proof.dates = n;
    f->proof.sampled = n < 10 ? n : 10;
    f->proof.digests = carried;
    return f;
}

static inline void add_issue(struct sync_report *r, enum sync_reason reason, uint32_t folder,
                             uint32_t from_uid, uint32_t to_uid, const char *subject,
                             const char *text)
{
    r->issues = realloc(r->issues, (r->issues_n + 1) * sizeof *r->issues);
    if (!r->issues)
        abort();
    r->issues[r->issues_n++] = (struct sync_issue){.reason = reason,
                                                   .folder = folder,
                                                   .from_uid = from_uid,
                                                   .to_uid = to_uid,
                                                   .subject = copy(subject),
                                                   .text = copy(text)};
    r->counts[reason]++;
    if (sync_reason_severity(reason) != SYNC_NOTE && folder < r->folders_n) {
        r->folders[folder].proof.is_proven = false;
        r->folders[folder].proof.differences += sync_reason_severity(reason) == SYNC_DIFFERENCE;
    }
}

/* With one of each kind of folder, and words that want to be more than words. */
static inline struct sync_report *made_up_troubled(void)
{
    struct sync_report *r = made_up_report();
    struct sync_folder *f;

    add_folder(r, "INBOX", "INBOX", 12345, 345);
    add_folder(r, "Sent", "Sent Messages", 4200, 0)->flags_set = 12;
    f = add_folder(r, "Archive/2019", "Archive.2019", 50000, 49997);
    f->refused = 3;
    f->carried -= 3;
    f->proof.paired -= 3;
    add_folder(r, "Entwürfe", "Drafts", 17, 17)->deleted = 2;
    add_folder(r, "日本語/メール", "日本語.メール", 250, 250)->extra = 5;
    f = add_folder(r, "a<b>&\"c'\x1b[31m\xff", NULL, 0, 0);
    f->state = FOLDER_REFUSED;
    f->proof.is_proven = false;
    f = add_folder(r, "Lists/a-list-with-a-name-that-is-much-longer-than-any-column-would-like",
                   "Lists.a-list-with-a-name-that-is-much-longer-than-any-column-would-like", 900,
                   100);
    f->state = FOLDER_FAILED;
    f->found = 300;
    f->proof.paired = 400;
    f->proof.is_proven = false;
    add_folder(r, "Trash", "Trash", 99, 0)->state = FOLDER_UNCHANGED;
    add_issue(r, REASON_TOO_BIG, 2, 17, 0, "Holiday pictures", "NO [LIMIT] Message too large");
    add_issue(r, REASON_TOO_BIG, 2, 18, 0, "Holiday pictures, the rest",
              "NO [LIMIT] Message too large");
    add_issue(r, REASON_OVERQUOTA, 2, 4711, 0, "<script>alert(1)</script>",
              "NO [OVERQUOTA] Quota exceeded (mailbox for user is full)");
    add_issue(r, REASON_NAME_UNFIT, 5, 0, 0, NULL, "the name has a control character");
    add_issue(r, REASON_FOLDER_FAILED, 6, 0, 0, NULL, "connection reset by peer, 5 times");
    add_issue(r, REASON_FLAGS_DIFFER, 0, 99, 1099, "Re: Grüße",
              "\\Seen at the source, \\Seen \\Flagged at the target");
    add_issue(r, REASON_MISSING, 6, 501, 0, "=?x\xe4?=", "");
    add_issue(r, REASON_EXTRA, 4, 0, 7, "Only here", "");
    add_issue(r, REASON_QUOTA, UINT32_MAX, 0, 0, NULL, "1,000 MB at the source, 500 at the target");
    r->status = sync_status(r);
    return r;
}

/* All is well, and most of it was before. */
static inline struct sync_report *made_up_proven(size_t folders)
{
    struct sync_report *r = made_up_report();

    for (size_t i = 0; i < folders; i++) {
        char name[64];

        snprintf(name, sizeof name, "Folder/%zu", i);
        add_folder(r, name, name, 100 + i, i % 50 == 0 ? 10 : 0);
    }
    return r;
}

#endif
