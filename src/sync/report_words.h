/* How a report is put into words and figures, for all who show it to people. */
#ifndef USHER_SYNC_REPORT_WORDS_H
#define USHER_SYNC_REPORT_WORDS_H

#include "sync/report.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* To be printed where it is made: printf("%s", figure_bytes(n).text). */
struct figure {
    char text[64];
};

struct figure figure_number(uint64_t n); /* "12,345" */
struct figure figure_bytes(uint64_t n);  /* "532 B", "45.3 kB", "2.41 GB": by thousands */
struct figure figure_time(uint64_t ms);  /* "0.3 s", "45 s", "3 min 12 s", "2 h 05 min" */
struct figure figure_percent(uint64_t n, uint64_t of); /* "54 %": 100 only if n is all */
struct figure figure_date(int64_t s);                  /* "2026-03-01 09:30:00 UTC" */

/* "1 message", "12,345 messages". */
struct figure figure_of(uint64_t n, const char *one, const char *many);

/* Counts of all issues, those that are not in the report too. */
struct sync_counts {
    uint64_t notes, exceptions, differences;
    uint64_t retry; /* of exceptions and differences: a further run may help */
};
struct sync_counts sync_counts(const struct sync_report *report);

/* What is to be thought of a folder, or of the whole. */
enum sync_opinion { SYNC_GOOD, SYNC_DOUBTFUL, SYNC_BAD };

/* One or two words for the state of a folder: "proven", "failed". */
const char *sync_folder_word(const struct sync_report *report, const struct sync_folder *folder);
enum sync_opinion sync_folder_opinion(const struct sync_report *report,
                                      const struct sync_folder *folder);

/* Whether something was done in the folder, or is to be told of it. */
bool sync_folder_is_quiet(const struct sync_report *report, const struct sync_folder *folder);

/* Behind an issue whose reason is true of sync_reason_may_retry(). */
extern const char sync_words_retry[];

/* The verdict, one sentence: what came of it, and what to do. */
enum { SYNC_VERDICT = 1024 };
enum sync_opinion sync_verdict(const struct sync_report *report, char out[SYNC_VERDICT]);

/* The totals, a sentence each, one after the other with i from 0; false: there are no more. Those
 * that have nothing to tell are empty. */
bool sync_summary(const struct sync_report *report, unsigned i, const char **out_title,
                  char out[SYNC_VERDICT]);

#endif
