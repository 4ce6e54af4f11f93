/* What the files of `usher sync` and `usher verify` share: showing how it goes and what came of it.
 *
 * Standard output has the report, and nothing else; how it goes is told on standard error.
 */
#ifndef USHER_CLI_SYNC_PARTS_H
#define USHER_CLI_SYNC_PARTS_H

#include "base/err.h"
#include "sync/report.h"
#include "sync/sync.h"

#include <stdbool.h>
#include <stdio.h>

/* --- while it runs (sync_show.c) -------------------------------------------------------------- */

/* On a terminal some lines that are painted anew in their place: phase, bars, speed, estimate, a
 * line for each lane, and the newest line of the log. The cursor is never hidden, and stands below
 * them between two paintings: whatever ends us, the terminal is as it was. Elsewhere the lines of
 * the log with their times, and once a minute one that tells how it goes. */
struct sync_shown;

struct sync_shown_params {
    FILE *out;       /* stderr, as a rule */
    FILE *log;       /* --log: gets each line, with its time; NULL: none */
    bool is_quiet;   /* nothing goes to `out` */
    bool is_verbose; /* a terminal too gets all lines of the log, above what is painted */
};

/* Writes nothing yet. */
int sync_shown_new(const struct sync_shown_params *params, struct sync_shown **out_shown,
                   struct err *err) MUST_CHECK;

/* For struct sync_watch; `arg` is the struct sync_shown. */
void sync_shown_progress(void *arg, const struct sync_progress *progress);
void sync_shown_line(void *arg, const char *line);

/* It is over: the last state stays, and what comes next begins on a line of its own. */
void sync_shown_end(struct sync_shown *shown);

/* Clears *shown; harmless when it is NULL. */
void sync_shown_free(struct sync_shown **shown);

/* --- afterwards (sync_text.c, sync_json.c; HTML: sync_report_html()) -----------------------------
 */

/* Folders of which there is something to tell, totals, each exception and difference, and as the
 * last line the verdict. `is_verbose`: all folders. -1: memory was out, or `out` failed. */
int sync_print_text(const struct sync_report *report, FILE *out, bool is_verbose) MUST_CHECK;

/* The whole report as one object, "format": 1. -1 as above. */
int sync_print_json(const struct sync_report *report, FILE *out) MUST_CHECK;

#endif
