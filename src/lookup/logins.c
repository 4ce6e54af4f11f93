/* Workers' questions about passwords; see lookup/logins.h. */
#include "lookup/logins.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/secret.h"
#include "directory/directories.h"
#include "directory/facts.h"
#include "lookup/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of VERIFY_BEYOND_MS; the rest is for the hash itself. */
enum { VERIFY_BEGUN_MS = VERIFY_BEYOND_MS / 2 };

struct from_worker {
    struct list node;
    struct channel channel;
    struct logins *logins;
    uint32_t instance;
};

/* Of secret memory. */
struct question {
    struct list node;
    struct logins *logins;
    struct channel *asker; /* NULL: gone */
    uint32_t id, question;
    uint64_t until_ms; /* when its hash must have begun, so that the worker still waits for it */
    char directory[CONF_NAME_MAX + 1];
    struct slice user, password; /* in `bytes` */
    struct msg_verified answer;  /* if the password is right; its tail: */
    char shown[IPC_TEXT_MAX];
    char bytes[IPC_USER_MAX + VERIFY_PASSWORD_MAX];
};

/* --- answers ---------------------------------------------------------------------------------- */

static void forget(struct question *q)
{
    list_remove(&q->node);
    secret_free(q, sizeof *q);
}

static void answer(struct question *q, enum verified verified, struct slice why)
{
    struct msg_verified m = {.verified = (uint16_t)verified, .question = q->question};

    if (q->asker)
        channel_send(q->asker, MSG_VERIFIED, q->id, &m, slice_sub(why, 0, IPC_TEXT_MAX), -1);
    forget(q);
}

static void answer_right(struct question *q)
{
    size_t n = (size_t)q->answer.user_n + q->answer.password_n + q->answer.told_n;

    q->answer.verified = VERIFIED_OK;
    q->answer.question = q->question;
    if (q->asker)
        channel_send(q->asker, MSG_VERIFIED, q->id, &q->answer, slice_of(q->shown, n), -1);
    forget(q);
}

static void answer_no_hash(struct question *q)
{
    struct log_line l;
    char detail[IPC_USER_MAX + 128];

    snprintf(detail, sizeof detail,
             "the password_hash of user \"%.*s\" is none that crypt(3) makes, or too weak",
             SLICE_ARG(q->user));
    log_begin(&l, LOG_DIRECTORY_FAILED);
    log_str(&l, "directory", q->directory);
    log_str(&l, "detail", detail);
    log_end(&l);
    answer(q, VERIFIED_UNAVAILABLE, SLICE("the user's password_hash cannot be used"));
}

static void on_verdict(void *arg, enum verify_verdict verdict)
{
    struct question *q = arg;

    switch (verdict) {
    case VERIFY_RIGHT:
        answer_right(q);
        break;
    case VERIFY_WRONG:
        answer(q, VERIFIED_REFUSED, SLICE(""));
        break;
    case VERIFY_NO_HASH:
        answer_no_hash(q);
        break;
    case VERIFY_FAILED:
        answer(q, VERIFIED_UNAVAILABLE, SLICE("there was no time, or no memory, for the hash"));
        break;
    }
}

/* --- what the directories say ----------------------------------------------------------------- */

/* Returns its length. */
static size_t append(char *to, size_t at, struct slice s)
{
    if (s.n)
        memcpy(to + at, s.p, s.n);
    return s.n;
}

/* What the backend is to be shown, in case that the password is right. */
static void take_shown(struct question *q, const struct facts *f)
{
    bool is_master = f->master_user.n > 0;
    struct slice password = is_master ? f->master_password : f->backend_password;

    INSIST(f->master_user.n + password.n + f->backend_user.n <= sizeof q->shown);
    q->answer.user_n = (uint16_t)append(q->shown, 0, f->master_user);
    q->answer.password_n = (uint16_t)append(q->shown, f->master_user.n, password);
    q->answer.told_n = (uint16_t)append(q->shown, f->master_user.n + password.n, f->backend_user);
    q->answer.is_master = is_master;
    q->answer.is_replaced = password.n > 0;
}

static void judge(struct question *q, struct slice text)
{
    uint64_t now = loop_now_ms(q->logins->child->loop);
    struct facts facts;
    struct err err;

    if (facts_parse(text, &facts, &err) < 0) {
        answer(q, VERIFIED_UNAVAILABLE, slice_str(err.text));
        return;
    }
    if (facts.password_hash.n == 0) {
        answer(q, VERIFIED_UNAVAILABLE, SLICE("the directory has no password_hash of the user"));
        return;
    }
    take_shown(q, &facts);
    if (now >= q->until_ms ||
        !verify_password(q->logins->verify, (uint32_t)hash_key(q->user), q->password,
                         facts.password_hash, (uint32_t)(q->until_ms - now), on_verdict, q))
        answer(q, VERIFIED_UNAVAILABLE, SLICE("too many passwords are being verified"));
}

static void on_facts(void *arg, const struct directories_answer *found)
{
    struct question *q = arg;

    if (found->directory)
        snprintf(q->directory, sizeof q->directory, "%s", found->directory);
    if (found->status == DIRECTORY_FOUND)
        judge(q, found->text);
    else if (found->status == DIRECTORY_UNKNOWN)
        answer(q, VERIFIED_UNAVAILABLE, SLICE("no directory knows the user any more"));
    else
        answer(q, VERIFIED_UNAVAILABLE, found->text);
}

/* --- questions -------------------------------------------------------------------------------- */

/* Whether the parts have the lengths that a worker sends. */
static bool is_sound(const struct msg_verify *m, struct slice tail)
{
    return m->name_n > 0 && m->name_n <= IPC_USER_MAX && m->name_n <= tail.n &&
           tail.n - m->name_n <= VERIFY_PASSWORD_MAX &&
           !slice_has(slice_sub(tail, m->name_n, tail.n), '\0');
}

static void take_question(struct logins *l, struct channel *asker, const struct msg *m)
{
    const struct conf_global *g = &l->child->conf->global;
    const struct msg_verify *ask = m->body;
    struct question *q = secret_alloc(sizeof *q);

    INSIST(q != NULL);
    memset(q, 0, sizeof *q);
    q->logins = l;
    q->asker = asker;
    q->id = m->id;
    q->question = ask->question;
    q->until_ms = loop_now_ms(l->child->loop) + g->directory_timeout + VERIFY_BEGUN_MS;
    list_append(&l->questions, &q->node);
    if (!is_sound(ask, m->tail)) {
        answer(q, VERIFIED_UNAVAILABLE, SLICE("the question makes no sense"));
        return;
    }
    memcpy(q->bytes, m->tail.p, m->tail.n);
    q->user = slice_of(q->bytes, ask->name_n);
    q->password = slice_of(q->bytes + ask->name_n, m->tail.n - ask->name_n);
    directories_lookup(l->directories, q->user, false, on_facts, q);
}

static void on_message(struct channel *ch, const struct msg *m)
{
    struct logins *l = CONTAINER(ch, struct from_worker, channel)->logins;

    if (m->fd >= 0)
        close(m->fd);
    if (m->type == MSG_VERIFY)
        take_question(l, ch, m);
}

static void drop_worker(struct from_worker *w)
{
    list_for_each (it, &w->logins->questions) {
        struct question *q = CONTAINER(it, struct question, node);

        if (q->asker == &w->channel)
            q->asker = NULL;
    }
    list_remove(&w->node);
    free(w);
}

/* The worker asks for another channel, if it lives. */
static void on_closed(struct channel *ch, const char *why)
{
    (void)why;
    drop_worker(CONTAINER(ch, struct from_worker, channel));
}

static void close_worker(struct from_worker *w)
{
    channel_close(&w->channel);
    drop_worker(w);
}

/* One that was taken over might keep the old ones, and ask for more and more. */
static void close_channels_of(struct logins *l, uint32_t instance)
{
    list_for_each_safe (it, &l->workers) {
        struct from_worker *w = CONTAINER(it, struct from_worker, node);

        if (w->instance == instance)
            close_worker(w);
    }
}

void logins_take_worker(struct logins *l, const struct msg_peer *who, int fd)
{
    static const struct channel_events events = {
        .on_message = on_message, .on_closed = on_closed, .has_secrets = true};
    struct from_worker *w = calloc(1, sizeof *w);

    INSIST(w != NULL);
    close_channels_of(l, who->instance);
    w->logins = l;
    w->instance = who->instance;
    list_append(&l->workers, &w->node);
    channel_open(&w->channel, &l->child->channels, fd, &l->child->self, &events);
}

/* --- beginning and end ------------------------------------------------------------------------ */

void logins_init(struct logins *l, struct child *c)
{
    struct err err;

    /* While the rights of root, if we have them, allow it. */
    if (secret_begin(&err) < 0)
        log_detail(LOG_SECRETS_UNLOCKED, "%s", err.text);
    l->child = c;
    list_init(&l->workers);
    list_init(&l->questions);
}

int logins_start(struct logins *l, struct directories *directories, struct err *err)
{
    l->directories = directories;
    l->verify = verify_new(l->child->loop, err);
    return l->verify ? 0 : -1;
}

int logins_begin(struct logins *l, struct err *err)
{
    return verify_begin(l->verify, err);
}

void logins_stop(struct logins *l)
{
    bool is_all_free = verify_free(&l->verify);

    list_for_each_safe (it, &l->workers)
        close_worker(CONTAINER(it, struct from_worker, node));
    list_for_each_safe (it, &l->questions)
        forget(CONTAINER(it, struct question, node));
    if (is_all_free)
        secret_end();
}
