/* usher sync while it runs: the lines that a terminal repaints in their place, or a log's.
 *
 * A painting is one write: from the first line that was painted last, over each line as far as it
 * has changed or not, clearing only what is behind a line's text. So nothing flickers. */
#include "cli/sync_parts.h"

#include "base/buf.h"
#include "base/num.h"
#include "base/term.h"
#include "sync/report_words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    QUIET_MS = 60000,      /* between two lines of a log that tell how it goes */
    SMOOTH_MS = 5000,      /* how long a speed remembers */
    SPEED_LEAST_MS = 2000, /* before that there is none to speak of */
    LINES = SYNC_LANES + 8,
    PAINTING = 64 << 10,
    BAR_LEAST = 10,
    BAR_MOST = 60,
    NAME_LEAST = 12,
    LAST_LINE = 1024
};

/* Something a second, of late. */
struct speed {
    uint64_t n;
    double value;
};

struct sync_shown {
    FILE *out, *log;
    bool is_terminal, is_coloured, is_verbose, has_progress;
    struct sync_progress now;
    struct speed messages, bytes;           /* taken by the target */
    struct speed messages_done, bytes_done; /* and those that were found: for the estimate */
    uint64_t began_ms, measured_ms;         /* the carrying; the speeds */
    uint64_t told_ms;
    struct buf paint;
    size_t widths[LINES]; /* of the lines on the terminal, */
    size_t lines_n;       /* so many */
    size_t columns, rows; /* as it is now */
    char last_line[LAST_LINE];
};

int sync_shown_new(const struct sync_shown_params *params, struct sync_shown **out_shown,
                   struct err *err)
{
    const char *term = getenv("TERM");
    struct sync_shown *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(err, ENOMEM, "no memory for the display");
    s->out = params->is_quiet ? NULL : params->out;
    s->log = params->log;
    s->is_verbose = params->is_verbose;
    s->is_terminal =
        s->out && isatty(fileno(s->out)) == 1 && term && *term && strcmp(term, "dumb") != 0;
    s->is_coloured = s->is_terminal && term_is_coloured(s->out);
    buf_init(&s->paint, PAINTING, false);
    *out_shown = s;
    return 0;
}

void sync_shown_free(struct sync_shown **shown)
{
    struct sync_shown *s = *shown;

    *shown = NULL;
    if (!s)
        return;
    buf_release(&s->paint);
    free(s);
}

/* --- speed and estimate ----------------------------------------------------------------------- */

/* Weighs what was in the last moment by its length; at first, as long as all of it counts alike. */
static void measure(struct speed *speed, uint64_t n, uint64_t ms, uint64_t age_ms)
{
    double now = n > speed->n ? (double)(n - speed->n) * 1000 / (double)ms : 0;
    double weight = (double)ms / (double)(ms + (age_ms < SMOOTH_MS ? age_ms : SMOOTH_MS));

    speed->value += (now - speed->value) * weight;
    speed->n = n;
}

static void measure_all(struct sync_shown *s)
{
    const struct sync_progress *p = &s->now;
    uint64_t ms = p->elapsed_ms - s->measured_ms;
    uint64_t age_ms = s->measured_ms - s->began_ms;

    if (p->phase < SYNC_CARRYING) {
        s->began_ms = s->measured_ms = p->elapsed_ms;
        return;
    }
    /* Two calls one right behind the other say nothing of speed. */
    if (p->elapsed_ms < s->measured_ms || ms < 50)
        return;
    measure(&s->messages, p->carried, ms, age_ms);
    measure(&s->bytes, p->carried_bytes, ms, age_ms);
    measure(&s->messages_done, p->messages_done, ms, age_ms);
    measure(&s->bytes_done, p->bytes_done, ms, age_ms);
    s->measured_ms = p->elapsed_ms;
}

static double left_s(uint64_t done, uint64_t all, double speed)
{
    if (done >= all)
        return 0;
    return speed > 0.01 ? (double)(all - done) / speed : 1e9;
}

/* Small messages cost by their number, large ones by their bytes: whichever takes longer counts. */
static bool estimate(const struct sync_shown *s, uint64_t *out_ms)
{
    const struct sync_progress *p = &s->now;
    double by_messages = left_s(p->messages_done, p->messages, s->messages_done.value);
    double by_bytes = left_s(p->bytes_done, p->bytes, s->bytes_done.value);
    double longer = by_messages > by_bytes ? by_messages : by_bytes;

    if (p->phase != SYNC_CARRYING || p->elapsed_ms < SPEED_LEAST_MS || longer > 30.0 * 86400)
        return false;
    *out_ms = (uint64_t)(longer * 1000);
    return true;
}

/* Of the whole: messages and bytes count alike, since a few large ones may be half the work. */
static double share_done(const struct sync_progress *p)
{
    double messages = p->messages > 0 ? (double)p->messages_done / (double)p->messages : 0;
    double bytes = p->bytes > 0 ? (double)p->bytes_done / (double)p->bytes : messages;
    double share = (messages + bytes) / 2;

    return share > 1 ? 1 : share;
}

/* --- lines of text ---------------------------------------------------------------------------- */

static const char *phase_word(enum sync_phase phase)
{
    switch (phase) {
    case SYNC_CONNECTING:
        return "connecting";
    case SYNC_LISTING:
        return "looking for folders";
    case SYNC_CARRYING:
        return "working";
    case SYNC_ENDING:
        return "ending";
    }
    return "";
}

/* Text for a line, cut at the end of the space. */
struct words {
    char p[512];
    size_t n;
};

static void say(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct words *w, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(w->p + w->n, sizeof w->p - w->n, fmt, args);
    va_end(args);
    if (n > 0)
        w->n += (size_t)n < sizeof w->p - w->n ? (size_t)n : sizeof w->p - 1 - w->n;
}

static void say_amount(struct words *w, const struct sync_progress *p)
{
    say(w, "%s of %s, %s of %s", figure_number(p->messages_done).text,
        figure_of(p->messages, "message", "messages").text, figure_bytes(p->bytes_done).text,
        figure_bytes(p->bytes).text);
}

/* Where nothing had to be carried yet there is the speed of looking. */
static void say_speed(struct words *w, const struct sync_shown *s)
{
    if (s->now.carried > 0)
        say(w, "%s msg/s, %s/s", figure_number((uint64_t)(s->messages.value + 0.5)).text,
            figure_bytes((uint64_t)(s->bytes.value + 0.5)).text);
    else
        say(w, "%s msg/s looked at", figure_number((uint64_t)(s->messages_done.value + 0.5)).text);
}

static void say_exceptions(struct words *w, uint64_t n)
{
    say(w, "%s", n > 0 ? figure_of(n, "exception", "exceptions").text : "no exceptions");
}

/* All in one line, for a log. */
static struct words one_line(const struct sync_shown *s)
{
    const struct sync_progress *p = &s->now;
    struct words w = {.n = 0};
    uint64_t left_ms;

    say(&w, "%s: %s of %s, ", phase_word(p->phase), figure_number(p->folders_done).text,
        figure_of(p->folders, "folder", "folders").text);
    say_amount(&w, p);
    say(&w, "; ");
    say_speed(&w, s);
    say(&w, "; ");
    say_exceptions(&w, p->exceptions);
    if (p->paused_s > 0)
        say(&w, "; waiting for a server, %u s", p->paused_s);
    if (estimate(s, &left_ms))
        say(&w, "; about %s left", figure_time(left_ms).text);
    return w;
}

/* --- a log ------------------------------------------------------------------------------------ */

static void write_log_line(FILE *out, const char *line)
{
    char when[32] = "";
    time_t now = time(NULL);
    struct tm tm;

    if (localtime_r(&now, &tm))
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S%z", &tm);
    fprintf(out, "%s %s\n", when, line);
    fflush(out);
}

static void log_line(struct sync_shown *s, const char *line)
{
    if (s->log)
        write_log_line(s->log, line);
    if (s->out && !s->is_terminal)
        write_log_line(s->out, line);
}

static void log_progress(struct sync_shown *s)
{
    if (s->now.elapsed_ms < s->told_ms + QUIET_MS)
        return;
    s->told_ms = s->now.elapsed_ms;
    log_line(s, one_line(s).p);
}

/* --- painting --------------------------------------------------------------------------------- */

/* A line as it is being put together: style by style, no wider than the terminal. */
struct line {
    struct sync_shown *s;
    size_t width;
};

/* What does not fit into the painting is left out: it is bounded by the terminal's size. */
static void put(struct sync_shown *s, struct slice text)
{
    if (buf_put(&s->paint, text) < 0)
        buf_release(&s->paint);
}

static void put_text(struct line *l, enum term_style style, struct slice text)
{
    struct sync_shown *s = l->s;
    struct slice part = term_text_cut(text, s->columns - 1 - l->width);

    if (part.n == 0)
        return;
    l->width += term_text_width(part);
    if (s->is_coloured)
        put(s, slice_str(term_sgr(style)));
    put(s, part);
    if (s->is_coloured)
        put(s, slice_str(term_sgr_end(style)));
}

static void put_words(struct line *l, enum term_style style, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void put_words(struct line *l, enum term_style style, const char *fmt, ...)
{
    char text[768];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    put_text(l, style, slice_str(text));
}

static void end_line(struct line *l)
{
    struct sync_shown *s = l->s;

    if (s->lines_n < LINES)
        s->widths[s->lines_n++] = l->width;
    put(s, SLICE("\033[K\n"));
    l->width = 0;
}

/* By halves of a column. */
static void put_bar(struct line *l, enum term_style style, size_t width, double share)
{
    size_t halves = (size_t)(share * 2 * (double)width + 0.5);
    char full[BAR_MOST * 3 + 4] = "", rest[BAR_MOST * 3 + 4] = "";
    size_t full_n = 0, rest_n = 0;

    for (size_t i = 0; i < width && i < BAR_MOST; i++) {
        bool is_full = halves >= 2 * (i + 1), is_half = halves == 2 * i + 1;

        if (is_full || is_half) {
            memcpy(full + full_n, is_full ? "█" : "▌", 3);
            full_n += 3;
        } else {
            memcpy(rest + rest_n, "░", 3);
            rest_n += 3;
        }
    }
    put_text(l, style, slice_of(full, full_n));
    put_text(l, TERM_DIM, slice_of(rest, rest_n));
}

static void paint_head(struct line *l, bool is_end)
{
    const struct sync_progress *p = &l->s->now;

    put_words(l, TERM_BOLD, "%s", is_end ? "ended" : phase_word(p->phase));
    if (p->folders > 0)
        put_words(l, TERM_PLAIN, ": %s of %s", figure_number(p->folders_done).text,
                  figure_of(p->folders, "folder", "folders").text);
    if (p->exceptions > 0) {
        put_words(l, TERM_PLAIN, ", ");
        put_words(l, TERM_BAD, "%s", figure_of(p->exceptions, "exception", "exceptions").text);
    }
    put_words(l, TERM_PLAIN, ", %s", figure_time(p->elapsed_ms / 1000 * 1000).text);
    if (p->lanes > 0)
        put_words(l, TERM_DIM, ", %s",
                  figure_of(p->lanes, "connection a side", "connections a side").text);
    if (p->paused_s > 0)
        put_words(l, TERM_WARN, "  a server asks us to wait: %u s", p->paused_s);
    end_line(l);
}

/* The bar has what the words leave it. */
static void paint_bar(struct line *l)
{
    const struct sync_progress *p = &l->s->now;
    double share = share_done(p);
    struct words w = {.n = 0};
    size_t bar;

    say(&w, " %3u %%  ", (unsigned)(share * 100));
    say_amount(&w, p);
    bar = l->s->columns > w.n + BAR_LEAST ? l->s->columns - w.n - 1 : BAR_LEAST;
    put_bar(l, p->exceptions > 0 ? TERM_WARN : TERM_GOOD, bar < BAR_MOST ? bar : BAR_MOST, share);
    put_words(l, TERM_PLAIN, "%s", w.p);
    end_line(l);
}

static void paint_speed(struct line *l)
{
    const struct sync_shown *s = l->s;
    struct words w = {.n = 0};
    uint64_t left_ms;

    say_speed(&w, s);
    put_words(l, TERM_PLAIN, "%s", w.p);
    if (estimate(s, &left_ms))
        put_words(l, TERM_PLAIN, ", about %s left", figure_time(left_ms).text);
    if (s->now.carried > 0)
        put_words(l, TERM_DIM, "  (carried: %s, %s)",
                  figure_of(s->now.carried, "message", "messages").text,
                  figure_bytes(s->now.carried_bytes).text);
    end_line(l);
}

/* The name in a column of its own, cut at its end. */
static void put_name(struct line *l, const char *name, size_t width)
{
    struct buf safe;
    struct slice part;
    size_t taken;

    buf_init(&safe, 4096, false);
    if (term_escape(&safe, slice_str(name)) < 0) {
        buf_release(&safe);
        return;
    }
    part = buf_slice(&safe);
    if (term_text_width(part) > width) {
        put_text(l, TERM_PLAIN, term_text_cut(part, width - 1));
        put_text(l, TERM_PLAIN, SLICE("…"));
        taken = term_text_width(term_text_cut(part, width - 1)) + 1;
    } else {
        put_text(l, TERM_PLAIN, part);
        taken = term_text_width(part);
    }
    put_words(l, TERM_PLAIN, "%*s", (int)(width - taken), "");
    buf_release(&safe);
}

static void paint_lane(struct line *l, unsigned i)
{
    const struct sync_progress *p = &l->s->now;
    uint64_t done = p->folder_now[i].done, all = p->folder_now[i].all;
    size_t room = l->s->columns / 3;
    size_t bar = l->s->columns / 6;

    put_words(l, TERM_PLAIN, "  ");
    put_name(l, p->folders_now[i], room > NAME_LEAST ? room : NAME_LEAST);
    put_words(l, TERM_PLAIN, " ");
    if (all > 0) {
        put_bar(l, TERM_GOOD, bar < BAR_MOST ? bar : BAR_MOST,
                done >= all ? 1 : (double)done / (double)all);
        put_words(l, TERM_DIM, " %s of %s", figure_number(done).text, figure_number(all).text);
    }
    end_line(l);
}

/* As many as the terminal has room for. */
static void paint_lanes(struct line *l)
{
    const struct sync_progress *p = &l->s->now;
    size_t room = l->s->rows > 6 ? l->s->rows - 6 : 0;
    unsigned hidden = 0;

    for (unsigned i = 0; i < SYNC_LANES; i++) {
        if (!p->folders_now[i][0])
            continue;
        if (room == 0) {
            hidden++;
        } else {
            paint_lane(l, i);
            room--;
        }
    }
    if (hidden > 0) {
        put_words(l, TERM_DIM, "  and %s", figure_of(hidden, "folder more", "folders more").text);
        end_line(l);
    }
}

static void look_at_terminal(struct sync_shown *s)
{
    struct winsize size;
    size_t columns = term_width(s->out);

    s->columns = columns < 2 ? 2 : columns;
    s->rows = ioctl(fileno(s->out), TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

/* To the first line that was painted last. A terminal that has become narrower has broken those
 * that were too wide for it. */
static void go_back(struct sync_shown *s)
{
    size_t rows = 0;

    for (size_t i = 0; i < s->lines_n; i++)
        rows += s->widths[i] == 0 ? 1 : (s->widths[i] + s->columns - 1) / s->columns;
    s->lines_n = 0;
    if (rows > 0 && buf_printf(&s->paint, "\033[%zuA", rows) < 0)
        buf_release(&s->paint);
}

static void flush(struct sync_shown *s)
{
    struct slice all = buf_slice(&s->paint);

    /* What cannot be shown is lost, and nobody is harmed. */
    (void)!fwrite(all.p ? all.p : "", 1, all.n, s->out);
    fflush(s->out);
    buf_take(&s->paint, all.n);
}

static void paint(struct sync_shown *s, bool is_end)
{
    struct line l = {.s = s};

    paint_head(&l, is_end);
    if (s->now.phase >= SYNC_CARRYING) {
        paint_bar(&l);
        paint_speed(&l);
        if (!is_end)
            paint_lanes(&l);
    }
    if (!is_end && s->last_line[0] && !s->is_verbose) {
        put_text(&l, TERM_DIM, slice_str(s->last_line));
        end_line(&l);
    }
    put(s, SLICE("\033[J"));
}

static void repaint(struct sync_shown *s, bool is_end)
{
    look_at_terminal(s);
    put(s, SLICE("\r"));
    go_back(s);
    paint(s, is_end);
    flush(s);
}

/* --- what the caller says --------------------------------------------------------------------- */

void sync_shown_progress(void *arg, const struct sync_progress *progress)
{
    struct sync_shown *s = arg;

    s->now = *progress;
    s->has_progress = true;
    measure_all(s);
    log_progress(s);
    if (s->is_terminal)
        repaint(s, false);
}

/* Above what is painted, which goes down. */
static void insert_line(struct sync_shown *s, const char *line)
{
    look_at_terminal(s);
    put(s, SLICE("\r"));
    go_back(s);
    put(s, SLICE("\033[J"));
    put(s, slice_str(line));
    put(s, SLICE("\n"));
    if (s->has_progress)
        paint(s, false);
    flush(s);
}

void sync_shown_line(void *arg, const char *line)
{
    struct sync_shown *s = arg;

    log_line(s, line);
    snprintf(s->last_line, sizeof s->last_line, "%s", line);
    if (s->is_terminal && s->is_verbose)
        insert_line(s, line);
}

/* Over the whole time, and not of late. */
static void average(struct sync_shown *s)
{
    double seconds = (double)s->now.elapsed_ms / 1000;

    if (seconds <= 0)
        return;
    s->messages.value = (double)s->now.carried / seconds;
    s->bytes.value = (double)s->now.carried_bytes / seconds;
    s->messages_done.value = (double)s->now.messages_done / seconds;
}

void sync_shown_end(struct sync_shown *s)
{
    if (!s->is_terminal || !s->has_progress)
        return;
    average(s);
    repaint(s, true);
    fputs("\n", s->out);
    s->lines_n = 0;
}
