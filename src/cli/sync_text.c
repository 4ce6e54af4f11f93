/* What came of usher sync and usher verify, for people: folders, exceptions and differences,
 * totals, and as the last line the verdict. */
#include "cli/sync_parts.h"

#include "base/buf.h"
#include "base/table.h"
#include "base/term.h"
#include "sync/report_words.h"

#include <string.h>

/* Of more folders only those are shown that are not as they should be. */
enum { FOLDERS_MOST = 40 };

struct page {
    const struct sync_report *report;
    FILE *out;
    size_t width;
    bool is_coloured, is_verbose;
};

static enum term_style style_of(enum sync_opinion opinion)
{
    switch (opinion) {
    case SYNC_GOOD:
        return TERM_GOOD;
    case SYNC_DOUBTFUL:
        return TERM_WARN;
    case SYNC_BAD:
        return TERM_BAD;
    }
    return TERM_PLAIN;
}

static void styled(const struct page *page, enum term_style style, const char *text)
{
    fprintf(page->out, "%s%s%s", page->is_coloured ? term_sgr(style) : "", text,
            page->is_coloured ? term_sgr_end(style) : "");
}

/* Words of servers may be anywhere in it. */
static int safe(const struct page *page, enum term_style style, const char *text)
{
    struct buf b;
    int result;

    buf_init(&b, 64 << 10, false);
    result = term_escape(&b, slice_str(text));
    if (result == 0)
        result = buf_put(&b, slice_of("", 1));
    if (result == 0)
        styled(page, style, buf_slice(&b).p);
    buf_release(&b);
    return result;
}

/* --- folders ---------------------------------------------------------------------------------- */

static const struct table_column folder_columns[] = {
    {.title = "folder", .may_cut = true},       {.title = "at the target", .may_cut = true},
    {.title = "messages", .is_right = true},    {.title = "size", .is_right = true},
    {.title = "carried", .is_right = true},     {.title = "bytes", .is_right = true},
    {.title = "flags", .is_right = true},       {.title = "deleted", .is_right = true},
    {.title = "refused", .is_right = true},     {.title = "extra", .is_right = true},
    {.title = "differences", .is_right = true}, {.title = ""},
};

static void count_cell(struct table *t, enum term_style style, uint64_t n)
{
    table_cell(t, style, "%s", n > 0 ? figure_number(n).text : "");
}

static void bytes_cell(struct table *t, uint64_t n)
{
    table_cell(t, TERM_PLAIN, "%s", n > 0 ? figure_bytes(n).text : "");
}

/* Another separator is no other name. */
static bool is_renamed(const struct sync_folder *f)
{
    const char *a = f->from, *b = f->to;

    if (!b)
        return false;
    while (*a && (*a == *b || (strchr("/.\\^", *a) && *b && strchr("/.\\^", *b)))) {
        a++;
        b++;
    }
    return *a || *b;
}

static void folder_row(const struct page *page, struct table *t, const struct sync_folder *f)
{
    bool is_dry = page->report->is_dry;

    table_row(t);
    table_cell(t, TERM_PLAIN, "%s", f->from);
    table_cell(t, TERM_PLAIN, "%s", is_renamed(f) ? f->to : "");
    table_cell(t, TERM_PLAIN, "%s", figure_number(f->from_messages).text);
    bytes_cell(t, f->from_bytes);
    count_cell(t, TERM_PLAIN, is_dry ? f->would_carry : f->carried);
    bytes_cell(t, is_dry ? f->would_carry_bytes : f->carried_bytes);
    count_cell(t, TERM_PLAIN, is_dry ? f->would_set : f->flags_set);
    count_cell(t, TERM_WARN, is_dry ? f->would_delete : f->deleted);
    count_cell(t, TERM_BAD, f->refused);
    count_cell(t, TERM_PLAIN, f->extra);
    count_cell(t, TERM_BAD, f->proof.differences);
    table_cell(t, style_of(sync_folder_opinion(page->report, f)), "%s",
               sync_folder_word(page->report, f));
}

/* How many have something to tell. */
static size_t loud_folders(const struct sync_report *report)
{
    size_t n = 0;

    for (size_t i = 0; i < report->folders_n; i++)
        n += !sync_folder_is_quiet(report, &report->folders[i]);
    return n;
}

static bool is_shown(const struct page *page, const struct sync_folder *f, bool are_many)
{
    if (page->is_verbose)
        return true;
    return are_many ? sync_folder_opinion(page->report, f) != SYNC_GOOD
                    : !sync_folder_is_quiet(page->report, f);
}

static void tell_hidden(const struct page *page, uint64_t n, const struct sync_folder *sum,
                        bool are_all)
{
    char text[256];

    if (n == 0)
        return;
    snprintf(text, sizeof text, "%s%s: %s%s%s. --verbose lists %s.\n", are_all ? "" : "And ",
             figure_of(n, "folder as it should be", "folders as they should be").text,
             figure_of(sum->from_messages, "message", "messages").text,
             sum->carried > 0 ? ", carried now: " : "",
             sum->carried > 0 ? figure_number(sum->carried).text : "", n == 1 ? "it" : "them");
    styled(page, TERM_DIM, text);
    fprintf(page->out, "\n");
}

static int print_folders(const struct page *page)
{
    const struct sync_report *report = page->report;
    bool are_many = loud_folders(report) > FOLDERS_MOST;
    struct sync_folder hidden = {0};
    uint64_t hidden_n = 0;
    struct table t;
    int result;

    table_init(&t, folder_columns, sizeof folder_columns / sizeof *folder_columns);
    for (size_t i = 0; i < report->folders_n; i++) {
        const struct sync_folder *f = &report->folders[i];

        if (is_shown(page, f, are_many)) {
            folder_row(page, &t, f);
        } else {
            hidden_n++;
            hidden.from_messages += f->from_messages;
            hidden.carried += f->carried;
        }
    }
    result = table_print(&t, page->out, page->width, page->is_coloured);
    if (t.rows_n > 0)
        fprintf(page->out, "\n");
    tell_hidden(page, hidden_n, &hidden, t.rows_n == 0);
    table_done(&t);
    return result;
}

/* --- exceptions, differences, notes ----------------------------------------------------------- */

static const struct table_column issue_columns[] = {{.may_cut = true},
                                                    {.is_right = true},
                                                    {.is_right = true},
                                                    {.may_cut = true},
                                                    {.may_cut = true}};

static void issue_row(const struct page *page, struct table *t, const struct sync_issue *issue)
{
    table_row(t);
    table_cell(t, TERM_PLAIN, "%s",
               issue->folder < page->report->folders_n ? page->report->folders[issue->folder].from
                                                       : "the account");
    if (issue->from_uid > 0)
        table_cell(t, TERM_PLAIN, "UID %u", issue->from_uid);
    else
        table_cell(t, TERM_PLAIN, "%s", "");
    if (issue->to_uid > 0)
        table_cell(t, TERM_DIM, "to UID %u", issue->to_uid);
    else
        table_cell(t, TERM_PLAIN, "%s", "");
    if (issue->subject && issue->subject[0])
        table_cell(t, TERM_BOLD, "\"%s\"", issue->subject);
    else
        table_cell(t, TERM_PLAIN, "%s", "");
    table_cell(t, TERM_PLAIN, "%s", issue->text ? issue->text : "");
}

static void reason_title(const struct page *page, enum sync_reason reason)
{
    enum sync_severity severity = sync_reason_severity(reason);

    styled(page, severity == SYNC_NOTE ? TERM_BOLD : TERM_BAD, sync_reason_name(reason));
    fprintf(page->out, " (%s): %s%s\n", figure_number(page->report->counts[reason]).text,
            sync_reason_text(reason),
            sync_reason_may_retry(reason) ? " A further run may help." : "");
}

/* Where they are in the report, the issues of one reason. */
static int print_reason(const struct page *page, enum sync_reason reason)
{
    const struct sync_report *report = page->report;
    bool lists = page->is_verbose || sync_reason_severity(reason) != SYNC_NOTE;
    uint64_t n = 0;
    struct table t;
    int result;

    if (report->counts[reason] == 0)
        return 0;
    reason_title(page, reason);
    table_init(&t, issue_columns, sizeof issue_columns / sizeof *issue_columns);
    t.indent = 2;
    for (size_t i = 0; lists && i < report->issues_n; i++) {
        if (report->issues[i].reason == reason) {
            issue_row(page, &t, &report->issues[i]);
            n++;
        }
    }
    result = table_print(&t, page->out, page->width, page->is_coloured);
    table_done(&t);
    if (lists && n < report->counts[reason])
        fprintf(page->out, "  and %s more: see the log\n",
                figure_number(report->counts[reason] - n).text);
    return result;
}

static int print_issues(const struct page *page, enum sync_severity severity)
{
    static const char *const titles[] = {
        [SYNC_NOTE] = "Notes", [SYNC_EXCEPTION] = "Exceptions", [SYNC_DIFFERENCE] = "Differences"};
    const struct sync_counts counts = sync_counts(page->report);
    const uint64_t all[] = {[SYNC_NOTE] = counts.notes,
                            [SYNC_EXCEPTION] = counts.exceptions,
                            [SYNC_DIFFERENCE] = counts.differences};

    if (all[severity] == 0)
        return 0;
    styled(page, TERM_BOLD, titles[severity]);
    fprintf(page->out, "\n");
    for (size_t i = 0; i < SYNC_REASONS; i++) {
        if (sync_reason_severity((enum sync_reason)i) == severity &&
            print_reason(page, (enum sync_reason)i) < 0)
            return -1;
    }
    fprintf(page->out, "\n");
    return 0;
}

/* --- totals and verdict ----------------------------------------------------------------------- */

static int print_summary(const struct page *page)
{
    char text[SYNC_VERDICT];
    const char *title;

    for (unsigned i = 0; sync_summary(page->report, i, &title, text); i++) {
        char head[16];

        if (!text[0])
            continue;
        snprintf(head, sizeof head, "%-9s", title);
        styled(page, TERM_BOLD, head);
        if (safe(page, TERM_PLAIN, text) < 0)
            return -1;
        fprintf(page->out, "\n");
    }
    fprintf(page->out, "\n");
    return 0;
}

static int print_verdict(const struct page *page)
{
    char text[SYNC_VERDICT];
    enum sync_opinion opinion = sync_verdict(page->report, text);

    if (safe(page, style_of(opinion), text) < 0)
        return -1;
    fprintf(page->out, "\n");
    return 0;
}

int sync_print_text(const struct sync_report *report, FILE *out, bool is_verbose)
{
    const struct page page = {.report = report,
                              .out = out,
                              .width = term_width(out),
                              .is_coloured = term_is_coloured(out),
                              .is_verbose = is_verbose};

    if (print_folders(&page) < 0 || print_issues(&page, SYNC_NOTE) < 0 ||
        print_issues(&page, SYNC_EXCEPTION) < 0 || print_issues(&page, SYNC_DIFFERENCE) < 0 ||
        print_summary(&page) < 0 || print_verdict(&page) < 0)
        return -1;
    return ferror(out) ? -1 : 0;
}
