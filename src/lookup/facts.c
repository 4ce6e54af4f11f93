/* Facts about users for control: what it asks, what directories say, and what of that it may know.
 */
#include "lookup/facts.h"

#include "base/log.h"
#include "directory/directories.h"
#include "directory/facts.h"

#include <stdlib.h>
#include <string.h>

enum { WIRE_MAX = FACTS_MAX + 16 /* of facts_write() */ };

_Static_assert(CONF_NAME_MAX + WIRE_MAX <= IPC_TEXT_MAX, "a directory's name and facts fit");

struct question {
    struct list node;
    struct lookup_facts *all;
    struct channel *asker; /* NULL: gone */
    uint32_t id;
};

static void send_facts(const struct question *q, enum facts_status status, const char *directory,
                       struct slice text, uint32_t age_ms)
{
    struct slice title = slice_sub(slice_str(directory), 0, CONF_NAME_MAX);
    struct msg_facts m = {
        .status = (uint16_t)status, .directory_n = (uint16_t)title.n, .age_ms = age_ms};
    char tail[IPC_TEXT_MAX];

    text = slice_sub(text, 0, sizeof tail - title.n);
    if (title.n)
        memcpy(tail, title.p, title.n);
    if (text.n)
        memcpy(tail + title.n, text.p, text.n);
    channel_send(q->asker, MSG_FACTS, q->id, &m, slice_of(tail, title.n + text.n), -1);
}

/* Drivers have seen to it that facts are well formed; that they are is not left to them, as what
 * cannot be read might hold secrets. */
static void send_found(const struct question *q, const struct directories_answer *answer)
{
    struct facts facts;
    struct err err;
    char text[WIRE_MAX];

    if (facts_parse(answer->text, &facts, &err) < 0)
        send_facts(q, FACTS_UNAVAILABLE, answer->directory, slice_str(err.text), 0);
    else
        send_facts(q, FACTS_FOUND, answer->directory, slice_of(text, facts_write(&facts, text)),
                   answer->age_ms);
}

static void on_answer(void *arg, const struct directories_answer *answer)
{
    struct question *q = arg;

    if (answer->status == DIRECTORY_FAILED)
        counters_add(q->all->counters, METRIC_LOOKUPS_FAILED, 1);
    if (q->asker && answer->status == DIRECTORY_FOUND)
        send_found(q, answer);
    else if (q->asker && answer->status == DIRECTORY_UNKNOWN)
        send_facts(q, FACTS_UNKNOWN, NULL, SLICE(""), answer->age_ms);
    else if (q->asker)
        send_facts(q, FACTS_UNAVAILABLE, answer->directory, answer->text, 0);
    list_remove(&q->node);
    free(q);
}

void lookup_facts_ask(struct lookup_facts *f, struct channel *asker, const struct msg *m)
{
    const struct msg_ask_facts *ask = m->body;
    struct question *q = calloc(1, sizeof *q);

    INSIST(q != NULL);
    q->all = f;
    q->asker = asker;
    q->id = m->id;
    list_append(&f->questions, &q->node);
    counters_add(f->counters, METRIC_LOOKUPS, 1);
    if (m->tail.n > 0 && m->tail.n <= IPC_USER_MAX)
        directories_lookup(f->directories, m->tail, ask->is_fresh, on_answer, q);
    else
        on_answer(q, &(struct directories_answer){.status = DIRECTORY_FAILED,
                                                  .text = SLICE("no name of a user")});
}

void lookup_facts_flush(struct lookup_facts *f, struct channel *asker, const struct msg *m)
{
    const size_t n = directories_flush(f->directories, m->tail);
    const struct msg_flushed flushed = {.n = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX};

    channel_send(asker, MSG_FLUSHED, m->id, &flushed, SLICE(""), -1);
}

void lookup_facts_forget(struct lookup_facts *f, const struct channel *asker)
{
    if (!f->directories)
        return;
    list_for_each (it, &f->questions) {
        struct question *q = CONTAINER(it, struct question, node);

        if (q->asker == asker)
            q->asker = NULL;
    }
}

static void on_news(void *arg, const struct directory_news *news)
{
    struct log_line l;

    (void)arg;
    log_begin(&l, news->is_bad ? LOG_DIRECTORY_FAILED : LOG_DIRECTORY_READ);
    log_str(&l, "directory", news->title);
    if (news->is_bad) {
        log_str(&l, "detail", news->detail);
    } else if (!news->detail) {
        log_uint(&l, "users", news->users);
        log_uint(&l, "rules", news->rules);
    }
    log_end(&l);
}

int lookup_facts_start(struct lookup_facts *f, const struct conf *conf, struct loop *loop,
                       struct counters *counters, struct err *err)
{
    const struct directories_params params = {
        .conf = conf, .loop = loop, .tell = on_news, .arg = f};

    list_init(&f->questions);
    f->counters = counters;
    return directories_new(&params, &f->directories, err);
}

void lookup_facts_stop(struct lookup_facts *f)
{
    if (!f->directories)
        return;
    directories_free(&f->directories);
    list_for_each_safe (it, &f->questions)
        free(CONTAINER(it, struct question, node));
    list_init(&f->questions);
}
