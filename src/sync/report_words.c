/* Words and figures for reports; see sync/report_words.h. */
#include "sync/report_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- figures ---------------------------------------------------------------------------------- */

struct figure figure_number(uint64_t n)
{
    struct figure f, digits;
    size_t used = 0;

    snprintf(digits.text, sizeof digits.text, "%llu", (unsigned long long)n);
    for (const char *p = digits.text; *p; p++) {
        if (p > digits.text && strlen(p) % 3 == 0)
            f.text[used++] = ',';
        f.text[used++] = *p;
    }
    f.text[used] = '\0';
    return f;
}

/* Three digits at least, as far as there are so many. */
struct figure figure_bytes(uint64_t n)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    struct figure f;
    double value = (double)n / 1000;
    size_t unit = 0;

    if (n < 1000) {
        snprintf(f.text, sizeof f.text, "%u B", (unsigned)n);
        return f;
    }
    /* What would be rounded to "1000 kB" is "1.00 MB". */
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    snprintf(f.text, sizeof f.text, "%.*f %s",
             value < 9.995   ? 2
             : value < 99.95 ? 1
                             : 0,
             value, units[unit]);
    return f;
}

struct figure figure_time(uint64_t ms)
{
    unsigned long long s = (ms + 500) / 1000;
    struct figure f;

    if (ms < 9950)
        snprintf(f.text, sizeof f.text, "%.1f s", (double)ms / 1000);
    else if (s < 60)
        snprintf(f.text, sizeof f.text, "%llu s", s);
    else if (s < 3600)
        snprintf(f.text, sizeof f.text, "%llu min %02llu s", s / 60, s % 60);
    else
        snprintf(f.text, sizeof f.text, "%llu h %02llu min", s / 3600, s / 60 % 60);
    return f;
}

struct figure figure_percent(uint64_t n, uint64_t of)
{
    struct figure f;
    double share = of > 0 ? (double)n / (double)of * 100 : 0;

    snprintf(f.text, sizeof f.text, "%u %%", n >= of ? 100 : (unsigned)share);
    return f;
}

struct figure figure_date(int64_t s)
{
    struct figure f = {""};
    time_t when = (time_t)s;
    struct tm tm;

    if (gmtime_r(&when, &tm))
        strftime(f.text, sizeof f.text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    return f;
}

struct figure figure_of(uint64_t n, const char *one, const char *many)
{
    struct figure f;

    snprintf(f.text, sizeof f.text, "%.26s %s", figure_number(n).text, n == 1 ? one : many);
    return f;
}

static struct figure messages(uint64_t n)
{
    return figure_of(n, "message", "messages");
}

static struct figure folders(uint64_t n)
{
    return figure_of(n, "folder", "folders");
}

/* --- counts and folders ----------------------------------------------------------------------- */

struct sync_counts sync_counts(const struct sync_report *report)
{
    struct sync_counts c = {0};

    for (size_t i = 0; i < SYNC_REASONS; i++) {
        enum sync_severity severity = sync_reason_severity((enum sync_reason)i);
        uint64_t n = report->counts[i];

        switch (severity) {
        case SYNC_NOTE:
            c.notes += n;
            break;
        case SYNC_EXCEPTION:
            c.exceptions += n;
            break;
        case SYNC_DIFFERENCE:
            c.differences += n;
            break;
        }
        if (severity != SYNC_NOTE && sync_reason_may_retry((enum sync_reason)i))
            c.retry += n;
    }
    return c;
}

/* Runs that carry or compare mail; the others prove nothing. */
static bool is_about_mail(const struct sync_report *report)
{
    return report->what == SYNC_ALL || report->what == SYNC_VERIFY;
}

static bool would_change(const struct sync_folder *f)
{
    return f->would_carry > 0 || f->would_set > 0 || f->would_delete > 0;
}

const char *sync_folder_word(const struct sync_report *report, const struct sync_folder *f)
{
    switch (f->state) {
    case FOLDER_WAITING:
        return "not begun";
    case FOLDER_REFUSED:
        return "not carried";
    case FOLDER_FAILED:
        return "not finished";
    case FOLDER_UNCHANGED:
        return "unchanged";
    case FOLDER_DONE:
        break;
    }
    if (!is_about_mail(report))
        return "";
    if (report->is_dry)
        return would_change(f) ? "would change" : "nothing to do";
    if (f->proof.is_proven)
        return "proven";
    return f->proof.differences > 0 ? "differs" : "not proven";
}

enum sync_opinion sync_folder_opinion(const struct sync_report *report, const struct sync_folder *f)
{
    switch (f->state) {
    case FOLDER_WAITING:
        return SYNC_DOUBTFUL;
    case FOLDER_REFUSED:
    case FOLDER_FAILED:
        return SYNC_BAD;
    case FOLDER_UNCHANGED:
        return SYNC_GOOD;
    case FOLDER_DONE:
        break;
    }
    if (!is_about_mail(report))
        return SYNC_GOOD;
    if (report->is_dry)
        return f->refused > 0 ? SYNC_BAD : would_change(f) ? SYNC_DOUBTFUL : SYNC_GOOD;
    return f->proof.is_proven && f->refused == 0 ? SYNC_GOOD : SYNC_BAD;
}

bool sync_folder_is_quiet(const struct sync_report *report, const struct sync_folder *f)
{
    return sync_folder_opinion(report, f) == SYNC_GOOD && f->carried == 0 && f->flags_set == 0 &&
           f->deleted == 0 && f->extra == 0 && f->proof.differences == 0;
}

/* --- the verdict ------------------------------------------------------------------------------ */

const char sync_words_retry[] = "a further run may help";

struct words {
    char *p;
    size_t n;
};

/* Puts behind what is there; what does not fit is cut. */
static void say(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct words *w, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(w->p + w->n, SYNC_VERDICT - w->n, fmt, args);
    va_end(args);
    if (n > 0)
        w->n += (size_t)n < SYNC_VERDICT - w->n ? (size_t)n : SYNC_VERDICT - 1 - w->n;
}

static uint64_t open_folders(const struct sync_report *report)
{
    uint64_t n = 0;

    for (size_t i = 0; i < report->folders_n; i++)
        n += !report->folders[i].proof.is_proven;
    return n;
}

static void say_counts(struct words *w, const struct sync_counts *c)
{
    if (c->exceptions > 0)
        say(w, "%s", figure_of(c->exceptions, "exception", "exceptions").text);
    if (c->exceptions > 0 && c->differences > 0)
        say(w, " and ");
    if (c->differences > 0)
        say(w, "%s", figure_of(c->differences, "difference", "differences").text);
}

static void say_retry(struct words *w, const struct sync_counts *c)
{
    uint64_t all = c->exceptions + c->differences;

    if (c->retry > 0 && c->retry == all)
        say(w, "; a further run may help");
    else if (c->retry > 0)
        say(w, "; a further run may help with %s of them", figure_number(c->retry).text);
    else if (all > 0)
        say(w, "; a further run alone will not help");
}

static enum sync_opinion judge_end(const struct sync_report *report, const struct sync_folder *t,
                                   struct words *w)
{
    if (report->stopped_by)
        say(w, "Stopped by signal %d (%s)", report->stopped_by, strsignal(report->stopped_by));
    else
        say(w, "Failed: %s", report->failure.text);
    if (report->what == SYNC_ALL && !report->is_dry)
        say(w, "; %s carried so far, and the next run goes on from there",
            messages(t->carried).text);
    return SYNC_BAD;
}

static enum sync_opinion judge_dry(const struct sync_folder *t, const struct sync_counts *c,
                                   struct words *w)
{
    if (would_change(t)) {
        say(w, "Dry run: %s (%s) would be carried", messages(t->would_carry).text,
            figure_bytes(t->would_carry_bytes).text);
        if (t->would_set > 0)
            say(w, ", the flags of %s changed", messages(t->would_set).text);
        if (t->would_delete > 0)
            say(w, ", %s deleted at the target", messages(t->would_delete).text);
    } else {
        say(w, "Dry run: nothing would be changed");
    }
    if (c->exceptions + c->differences > 0) {
        say(w, "; ");
        say_counts(w, c);
    }
    return c->exceptions + c->differences > 0 ? SYNC_BAD : SYNC_DOUBTFUL;
}

static enum sync_opinion judge_other(const struct sync_report *report, const struct sync_counts *c,
                                     struct words *w)
{
    struct sync_folder t = sync_total(report);

    if (report->what == SYNC_LOGIN)
        say(w, "Logged in at both servers");
    else if (report->what == SYNC_FOLDERS)
        say(w, "%s looked at%s; no mail was carried", folders(report->folders_n).text,
            report->is_dry ? ", none made" : "");
    else
        say(w, "%s, %s in %s at the source; %s, %s at the target", figure_bytes(t.from_bytes).text,
            messages(t.from_messages).text, folders(report->folders_n).text,
            figure_bytes(t.to_bytes).text, messages(t.to_messages).text);
    if (c->exceptions + c->differences == 0)
        return SYNC_GOOD;
    say(w, "; ");
    say_counts(w, c);
    say_retry(w, c);
    return SYNC_BAD;
}

static enum sync_opinion judge_proof(const struct sync_report *report, const struct sync_folder *t,
                                     const struct sync_counts *c, struct words *w)
{
    uint64_t open = open_folders(report);

    if (sync_is_proven(report)) {
        say(w, "Proven: %s in %s are at the target", messages(t->chosen).text,
            folders(report->folders_n).text);
        if (t->carried > 0)
            say(w, ", %s of them carried now", figure_number(t->carried).text);
        return SYNC_GOOD;
    }
    say(w, "Not proven: ");
    say_counts(w, c);
    if (c->exceptions + c->differences == 0)
        say(w, "%s of %s not proven", figure_number(open).text, folders(report->folders_n).text);
    else if (open > 0)
        say(w, " in %s", folders(open).text);
    say(w, "; %s of %s are at the target", figure_number(t->proof.paired).text,
        messages(t->chosen).text);
    say_retry(w, c);
    return SYNC_BAD;
}

enum sync_opinion sync_verdict(const struct sync_report *report, char out[SYNC_VERDICT])
{
    struct words w = {out, 0};
    struct sync_folder t = sync_total(report);
    struct sync_counts c = sync_counts(report);
    enum sync_opinion opinion;

    out[0] = '\0';
    if (report->stopped_by || report->failure.text[0])
        opinion = judge_end(report, &t, &w);
    else if (!is_about_mail(report))
        opinion = judge_other(report, &c, &w);
    else if (report->is_dry)
        opinion = judge_dry(&t, &c, &w);
    else
        opinion = judge_proof(report, &t, &c, &w);
    say(&w, ".");
    return opinion;
}

/* --- the totals ------------------------------------------------------------------------------- */

static void sum_side(struct words *w, const char *account, uint64_t n, uint64_t bytes)
{
    say(w, "%s: %s, %s", account ? account : "", messages(n).text, figure_bytes(bytes).text);
}

static void sum_from(const struct sync_report *report, const struct sync_folder *t, struct words *w)
{
    sum_side(w, report->from, t->from_messages, t->from_bytes);
    say(w, " in %s", folders(report->folders_n).text);
    if (is_about_mail(report) && t->chosen != t->from_messages)
        say(w, "; %s chosen", figure_number(t->chosen).text);
}

static void sum_to(const struct sync_report *report, const struct sync_folder *t, struct words *w)
{
    sum_side(w, report->to, t->to_messages, t->to_bytes);
    if (t->extra > 0)
        say(w, "; %s there alone, left as they are", figure_number(t->extra).text);
}

static void sum_carried(const struct sync_report *report, const struct sync_folder *t,
                        struct words *w)
{
    if (report->what != SYNC_ALL || report->is_dry)
        return;
    say(w, "%s, %s; %s there already", messages(t->carried).text,
        figure_bytes(t->carried_bytes).text, figure_number(t->found).text);
    if (t->flags_set > 0)
        say(w, "; flags of %s changed", figure_number(t->flags_set).text);
    if (t->deleted > 0)
        say(w, "; %s deleted at the target", figure_number(t->deleted).text);
    if (t->refused > 0)
        say(w, "; %s refused", figure_number(t->refused).text);
}

static void sum_proof(const struct sync_report *report, const struct sync_folder *t,
                      struct words *w)
{
    if (!is_about_mail(report) || report->is_dry)
        return;
    say(w, "%s of %s have their own at the target; flags of %s and dates of %s compared",
        figure_number(t->proof.paired).text, messages(t->chosen).text,
        figure_number(t->proof.flags).text, figure_number(t->proof.dates).text);
    if (t->proof.digests > 0)
        say(w, "; %s of bytes that went through",
            figure_of(t->proof.digests, "digest", "digests").text);
    if (t->proof.sampled > 0)
        say(w, "; %s read again", figure_of(t->proof.sampled, "message", "messages").text);
}

/* Of a moment there is no speed. */
static uint64_t per_second(uint64_t n, uint64_t ms)
{
    return ms > 0 ? (uint64_t)((double)n * 1000 / (double)ms) : 0;
}

static void sum_run(const struct sync_report *report, const struct sync_folder *t, struct words *w)
{
    say(w, "began %s, took %s", figure_date(report->began_s).text,
        figure_time(report->took_ms).text);
    if (report->took_ms >= 1000 && t->carried * 1000 >= report->took_ms)
        say(w, " (%s/s, %s/s)", messages(per_second(t->carried, report->took_ms)).text,
            figure_bytes(per_second(t->carried_bytes, report->took_ms)).text);
    if (report->lanes > 0)
        say(w, "; %s a side", figure_of(report->lanes, "connection", "connections").text);
    say(w, "; on the wire %s with the source, %s with the target",
        figure_bytes(report->from_wire).text, figure_bytes(report->to_wire).text);
    say(w, "; %s of CPU, %s of memory", figure_time(report->cpu_ms).text,
        figure_bytes(report->peak_memory).text);
}

static void sum_journal(const struct sync_report *report, const struct sync_folder *t,
                        struct words *w)
{
    (void)t;
    if (report->journal)
        say(w, "%s", report->journal);
}

bool sync_summary(const struct sync_report *report, unsigned i, const char **out_title,
                  char out[SYNC_VERDICT])
{
    static const struct {
        const char *title;
        void (*say)(const struct sync_report *report, const struct sync_folder *total,
                    struct words *w);
    } sums[] = {
        {"Source", sum_from}, {"Target", sum_to}, {"Carried", sum_carried},
        {"Proof", sum_proof}, {"Run", sum_run},   {"Journal", sum_journal},
    };
    struct words w = {out, 0};
    struct sync_folder t;

    if (i >= sizeof sums / sizeof *sums)
        return false;
    t = sync_total(report);
    out[0] = '\0';
    *out_title = sums[i].title;
    sums[i].say(report, &t, &w);
    return true;
}
