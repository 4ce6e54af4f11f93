/* usher route: the page for people. */
#include "cli/route.h"

#include "base/table.h"
#include "cli/ctl_show.h"
#include "cli/route_way.h"

#include <stdio.h>

enum { LABEL = 9, INDENT = 2, LINE = 2048 };

static void show(struct ctl_show *s, const char *label, enum term_style style, const char *text)
{
    ctl_show_field(s, label, LABEL, style, text);
}

static void show_rule(struct ctl_show *s, const struct way *w, const char *label, uint32_t backend)
{
    bool is_there = backend != BACKEND_NONE;

    show(s, label, is_there ? TERM_PLAIN : TERM_DIM,
         is_there ? backends_title(&w->backends, backend) : "none");
}

static void show_title(struct ctl_show *s, const struct way *w)
{
    static const struct {
        enum term_style style;
        const char *words;
    } ends[] = {
        [WAY_GOES] = {TERM_GOOD, " would go to "},
        [WAY_WAITS] = {TERM_WARN, " would wait, as the user is on hold, and then go to "},
        [WAY_REFUSED] = {TERM_BAD, " would not be served"},
        [WAY_UNKNOWN] = {TERM_BAD, " would not be served now"},
    };
    char name[IPC_USER_MAX + 1];

    snprintf(name, sizeof name, "%.*s", SLICE_ARG(w->user));
    ctl_show_styled(s, TERM_BOLD, name);
    ctl_show_styled(s, TERM_PLAIN, " of pool ");
    ctl_show_styled(s, TERM_PLAIN, w->conf->pools[w->pool].title);
    ctl_show_styled(s, TERM_PLAIN, ends[w->end].words);
    if (w->view.chosen != BACKEND_NONE)
        ctl_show_styled(s, ends[w->end].style, backends_title(&w->backends, w->view.chosen));
    fputs("\n", s->out);
}

static void show_directory(struct ctl_show *s, const struct way *w)
{
    const struct way_told *told = &w->told;
    char facts[ROUTE_FACTS], line[LINE];

    if (!told->is_asked) {
        show(s, "directory", TERM_DIM, "none is configured");
    } else if (told->status == DIRECTORY_UNKNOWN) {
        show(s, "directory", TERM_DIM, "the user is not known to any");
    } else if (told->status == DIRECTORY_FAILED) {
        snprintf(line, sizeof line, "%s%s%s", told->directory, told->directory[0] ? ": " : "",
                 told->trouble.text);
        show(s, "directory", TERM_BAD, line);
    } else {
        snprintf(line, sizeof line, "%s: %s", told->directory, route_facts(w, facts));
        show(s, "directory", TERM_PLAIN, line);
    }
}

/* Of weight 0, in a pool that tries one backend after the other. */
static bool is_last(const struct way *w, const struct backend *b)
{
    const struct conf_pool *pool = &w->conf->pools[w->pool];

    return pool->storage == STORAGE_OWN && pool->place == PLACE_TRY && b->state == BACKEND_UP;
}

static void show_hash(struct ctl_show *s, const struct way *w)
{
    static const struct table_column columns[] = {
        {"", false, false},      {"BACKEND", false, true}, {"SCORE", true, false},
        {"WEIGHT", true, false}, {"STATE", false, false},  {"", false, false},
    };
    static const enum term_style styles[] = {
        [BACKEND_UP] = TERM_GOOD, [BACKEND_DRAIN] = TERM_WARN, [BACKEND_DOWN] = TERM_BAD};
    struct table t;

    table_init(&t, columns, sizeof columns / sizeof *columns);
    t.indent = INDENT;
    for (size_t i = 0; i < w->hash_n; i++) {
        const struct way_choice *c = &w->hash[i];
        const struct backend *b = &w->backends.all[c->backend];
        bool is_chosen = c->backend == w->view.chosen;

        table_row(&t);
        table_cell(&t, TERM_GOOD, "%s", is_chosen ? "\xe2\x86\x92" : "");
        table_cell(&t, is_chosen ? TERM_BOLD : TERM_PLAIN, "%s", b->conf->title);
        table_cell(&t, TERM_PLAIN, "%.3f", c->score);
        table_cell(&t, TERM_PLAIN, "%u", b->conf->weight);
        table_cell(&t, styles[b->state], "%s", backend_state_name(b->state));
        table_cell(&t, TERM_WARN, "%s%s%s", b->conf->backup ? "backup" : "",
                   b->conf->backup && !c->may_serve ? ", " : "",
                   c->may_serve    ? ""
                   : is_last(w, b) ? "tried last"
                                   : "not for new users");
    }
    fputs("\n", s->out);
    if (table_print(&t, s->out, s->width, s->is_coloured) != 0 && !ferror(s->out))
        s->is_failed = true;
    table_done(&t);
}

static void show_end(struct ctl_show *s, const struct way *w)
{
    char name[IPC_USER_MAX + 1];

    snprintf(name, sizeof name, "%.*s", SLICE_ARG(w->user));
    fputs("\n", s->out);
    ctl_show_styled(s, TERM_DIM,
                    "Only a running usher knows of live sessions, affinity, moves and the health "
                    "of backends:");
    fputs("\n  usher ctl route ", s->out);
    ctl_show_styled(s, TERM_PLAIN, name);
    fputs("\n", s->out);
}

void route_page(struct ctl_show *s, const struct way *w, const char *given)
{
    const struct conf_pool *pool = &w->conf->pools[w->pool];
    char how[ROUTE_HOW], line[LINE];

    show_title(s, w);
    show(s, "why", w->end == WAY_GOES ? TERM_PLAIN : TERM_WARN, w->why);
    if (!slice_eq(w->user, slice_str(given))) {
        snprintf(line, sizeof line, "%s, by the settings username_*", given);
        show(s, "given as", TERM_PLAIN, line);
    }
    show_directory(s, w);
    snprintf(line, sizeof line, "%s, %s; %s storage", pool->title, route_pool_how(w, how),
             pool->storage == STORAGE_SHARED ? "shared" : "own");
    show(s, "pool", TERM_PLAIN, line);
    show_rule(s, w, "pin", w->view.pin);
    if (pool->storage == STORAGE_OWN)
        show_rule(s, w, "placement", w->view.placed);
    if (w->is_held)
        show(s, "held", TERM_WARN, "logins wait until release");
    if (!w->has_state)
        show(s, "state", TERM_DIM, "there is no state file yet: nothing is placed, pinned or held");
    show_hash(s, w);
    show_end(s, w);
}
