/* Calls: from a request to its function, and the telling of rows. */
#include "admin/commands.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int (*const functions[COMMAND_COUNT])(struct call *c, struct err *err) = {
    [COMMAND_STATUS] = admin_status,
    [COMMAND_RELOAD] = admin_reload,
    [COMMAND_UPGRADE] = admin_upgrade,
    [COMMAND_WORKERS] = admin_workers,
    [COMMAND_SESSIONS] = admin_sessions,
    [COMMAND_SESSION] = admin_session,
    [COMMAND_USERS] = admin_users,
    [COMMAND_POOLS] = admin_pools,
    [COMMAND_BACKENDS] = admin_backends,
    [COMMAND_BACKEND_UP] = admin_backend_up,
    [COMMAND_BACKEND_DRAIN] = admin_backend_drain,
    [COMMAND_BACKEND_DOWN] = admin_backend_down,
    [COMMAND_ROUTE] = admin_route,
    [COMMAND_PIN] = admin_pin,
    [COMMAND_UNPIN] = admin_unpin,
    [COMMAND_PINS] = admin_pins,
    [COMMAND_PLACE] = admin_place,
    [COMMAND_HOLD] = admin_hold,
    [COMMAND_RELEASE] = admin_release,
    [COMMAND_MOVE] = admin_move,
    [COMMAND_MOVES] = admin_moves,
    [COMMAND_KICK] = admin_kick,
    [COMMAND_FLUSH] = admin_flush,
    [COMMAND_DIRECTORY_LOOKUP] = admin_directory_lookup,
    [COMMAND_DIRECTORY_FLUSH] = admin_directory_flush,
    [COMMAND_PENALTIES] = admin_penalties,
    [COMMAND_PENALTIES_CLEAR] = admin_penalties_clear,
};

int call_begin(struct call *c, struct operate *operate, const struct request *request,
               struct buf *out, uint64_t now_ms, struct err *err)
{
    *c = (struct call){.operate = operate,
                       .backends = operate_backends(operate),
                       .now_ms = now_ms,
                       .request = *request,
                       .answer = {.out = out},
                       .told = {.status = FACTS_UNKNOWN}};
    asker_init(&c->asker);
    changer_init(&c->changer);
    if (request_check(&c->request, c->backends, err) < 0) {
        c->is_usage = true;
        return -1;
    }
    return functions[c->request.command](c, err);
}

/* Memory was out: some rows were told, perhaps, but the answer ends with what it lacks. */
static void tell_end(struct call *c)
{
    json_t *done;

    if (!c->answer.is_failed && c->rows.put) {
        done = json_object();
        answer_put(&c->answer, done, "rows", answer_number(c->rows.told));
        answer_done(&c->answer, done);
    }
    if (c->answer.is_failed)
        (void)answer_error(&c->answer, "failed", "out of memory");
}

/* What it waited for has been told. */
static void take_told(struct call *c)
{
    struct err err;

    if (c->go_on && c->go_on(c, &err) < 0)
        (void)answer_error(&c->answer, c->is_usage ? "usage" : "failed", err.text);
    c->go_on = NULL;
}

bool call_step(struct call *c, uint64_t now_ms)
{
    struct rows *r = &c->rows;

    INSIST(!c->is_waiting);
    c->now_ms = now_ms;
    take_told(c);
    for (unsigned i = 0; i < CALL_ROWS && r->next < r->n && !c->answer.is_failed; i++)
        r->put(c, r->next++);
    if (r->next < r->n && !c->answer.is_failed)
        return true;
    tell_end(c);
    return false;
}

bool call_is_told(const struct call *c)
{
    return c->go_on && !c->is_waiting;
}

void call_done(struct call *c)
{
    asker_leave(&c->asker);
    changer_leave(&c->changer);
    request_done(&c->request);
    free(c->rows.items);
    free(c->rows.names);
    c->rows = (struct rows){0};
}

/* --- what the functions share ----------------------------------------------------------------- */

/* A text in the room, behind those that are there. */
static struct slice keep_text(struct told *t, size_t *at, struct slice text)
{
    char *to = t->room + *at;

    text = slice_sub(text, 0, sizeof t->room - *at);
    if (text.n > 0)
        memcpy(to, text.p, text.n);
    *at += text.n;
    return slice_of(to, text.n);
}

/* The answer is valid for the moment only, and what it is for is done when it is this call's turn.
 */
static void on_answer(struct facts_wait *f, struct asker *asker, const struct facts_answer *answer,
                      uint64_t now_ms)
{
    struct call *c = CONTAINER(asker, struct call, asker);
    size_t at = 0;

    (void)f;
    (void)now_ms;
    c->told.status = answer->status;
    c->told.age_ms = answer->age_ms;
    c->told.directory = keep_text(&c->told, &at, answer->directory);
    c->told.text = keep_text(&c->told, &at, answer->text);
    c->is_waiting = false;
    c->on_told(c);
}

int call_ask(struct call *c, bool is_fresh, int (*go_on)(struct call *c, struct err *err),
             struct err *err)
{
    c->go_on = go_on;
    c->asker.on_answer = on_answer;
    if (operate_ask(c->operate, &c->asker, c->request.user, is_fresh, c->now_ms) < 0)
        return err_set(err, ENOMEM, "out of memory");
    c->is_waiting = true;
    return 0;
}

int call_usage(struct call *c, struct err *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->is_usage = true;
    return err_set(err, 0, "%s", text);
}

json_t *call_backend(const struct call *c, uint32_t backend)
{
    if (backend == BACKEND_NONE)
        return json_null();
    return json_string(backends_title(c->backends, backend));
}

json_t *call_pool(const struct call *c, unsigned pool)
{
    return json_string(c->backends->conf->pools[pool].title);
}

json_t *call_health(const struct call *c, uint32_t backend)
{
    const struct backend *b = &c->backends->all[backend];

    if (c->backends->conf->pools[b->pool].check == CHECK_OFF)
        return json_null();
    return json_string(health_name((enum health_state)b->health.state));
}

json_t *call_weight(const struct call *c, uint32_t backend)
{
    const uint32_t parts = c->backends->nodes[backend].weight;

    if (parts % HEALTH_SHARE_WHOLE == 0)
        return answer_number(parts / HEALTH_SHARE_WHOLE);
    return json_real((double)parts / HEALTH_SHARE_WHOLE);
}

struct operate_counts *call_counts(const struct call *c, struct err *err)
{
    struct operate_counts *counts = calloc(c->backends->n + 1, sizeof *counts);

    if (counts)
        operate_count(c->operate, counts);
    else
        err_set(err, ENOMEM, "out of memory");
    return counts;
}
