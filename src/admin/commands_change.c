/* Commands about usher itself: reload, upgrade, and the workers of all generations. The first two
 * are the parent's to do; a call waits for what it says. */
#include "admin/commands.h"

#include <stdio.h>
#include <time.h>

/* Bytes of lines about one change: the end of the answer must fit behind them, whatever differs. */
enum { LINES_MOST = 1024 * 1024 };

/* --- reload, upgrade -------------------------------------------------------------------------- */

static const char *verb(const struct call *c)
{
    return c->request.command == COMMAND_UPGRADE ? "upgraded" : "reloaded";
}

/* An answer of its own, so that a line for which there is no memory costs nothing but the line. */
static void on_line(struct changer *changer, struct slice line)
{
    struct call *c = CONTAINER(changer, struct call, changer);
    struct answer answer = {.out = c->answer.out};
    json_t *o;

    c->changed.lines_n++;
    if (buf_len(c->answer.out) >= LINES_MOST) {
        c->changed.lost_n++;
        return;
    }
    o = json_object();
    answer_put(&answer, o, "change", answer_bytes(line));
    answer_row(&answer, o);
    c->changed.lost_n += answer.is_failed;
}

static void on_over(struct changer *changer, enum change_status status, uint32_t generation,
                    struct slice words)
{
    struct call *c = CONTAINER(changer, struct call, changer);

    c->changed.is_done = status == CHANGE_DONE;
    c->changed.generation = generation;
    snprintf(c->changed.words, sizeof c->changed.words, "%.*s", SLICE_ARG(words));
    c->is_waiting = false;
    c->on_told(c);
}

/* What the parent has not said in words of its own. */
static void word_it(const struct call *c, char *out, size_t n)
{
    const struct changed *d = &c->changed;
    int at;

    if (d->words[0])
        at = snprintf(out, n, "%s", d->words);
    else if (d->generation > 0)
        at = snprintf(out, n, "%s: generation %u", verb(c), d->generation);
    else if (d->lines_n > 0)
        at = snprintf(out, n, "%s; no new processes were needed", verb(c));
    else
        at = snprintf(out, n, "nothing has changed");
    if (d->lost_n > 0 && at > 0 && (size_t)at < n)
        snprintf(out + at, n - (size_t)at, "; %u more lines about it are in the log", d->lost_n);
}

static int tell_changed(struct call *c, struct err *err)
{
    char text[sizeof c->changed.words + 128];
    json_t *o;

    if (!c->changed.is_done)
        return err_set(err, 0, "%s",
                       c->changed.words[0] ? c->changed.words : "the change was refused");
    word_it(c, text, sizeof text);
    o = json_object();
    answer_put(&c->answer, o, "generation", answer_number(c->changed.generation));
    answer_put(&c->answer, o, "changes", answer_number(c->changed.lines_n));
    answer_put(&c->answer, o, "text", answer_text(text));
    answer_done(&c->answer, o);
    return 0;
}

static int change(struct call *c, enum change_kind what, struct err *err)
{
    c->changer.on_line = on_line;
    c->changer.on_over = on_over;
    c->go_on = tell_changed;
    if (operate_change(c->operate, &c->changer, what, err) < 0)
        return -1;
    c->is_waiting = true;
    snprintf(c->said, sizeof c->said, "begun");
    return 0;
}

int admin_reload(struct call *c, struct err *err)
{
    return change(c, CHANGE_RELOAD, err);
}

int admin_upgrade(struct call *c, struct err *err)
{
    return change(c, CHANGE_UPGRADE, err);
}

/* --- workers ---------------------------------------------------------------------------------- */

/* The machine's clock may have been set back since. */
static uint64_t age_s(const struct operate_worker *w)
{
    const time_t now = time(NULL);

    return now > 0 && (uint64_t)now > w->started_s ? (uint64_t)now - w->started_s : 0;
}

static void put_worker(struct call *c, size_t i)
{
    const struct operate_worker *w = &((const struct operate_worker *)c->rows.items)[i];
    struct answer *a = &c->answer;
    json_t *o = json_object();

    answer_put(a, o, "generation", answer_number(w->generation));
    answer_put(a, o, "slot", answer_number(w->slot));
    answer_put(a, o, "pid", answer_number(w->pid));
    answer_put(a, o, "version", answer_text(w->version));
    answer_put(a, o, "age", answer_number(age_s(w)));
    answer_put(a, o, "sessions", answer_number(w->sessions));
    answer_put(a, o, "retired", json_boolean(w->is_retired));
    answer_row(a, o);
    c->rows.told++;
}

int admin_workers(struct call *c, struct err *err)
{
    struct operate_worker *workers;

    if (operate_workers(c->operate, &workers, &c->rows.n, err) < 0)
        return -1;
    c->rows.items = workers;
    c->rows.put = put_worker;
    return 0;
}
