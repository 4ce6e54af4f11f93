/* The driver socketmap: asks a server by Postfix's protocol (socketmap_table(5)), a netstring "map
 * user" each question, a netstring each answer, in their order.
 *
 * One connection, made when it is first needed and kept open; SENT_MAX questions are under way on
 * it at one time, the others wait. A server that closes it between questions is in its right. One
 * that closes it with questions open is asked these once more, on a new connection; then they fail.
 * One that is silent for twice the timeout, or sends what is no answer, fails them at once, as
 * nothing then tells which answer belongs to which question. After a failure nobody connects for a
 * while, twice as long each time; questions fail meanwhile. */
#include "base/list.h"
#include "directory/directory.h"
#include "directory/facts.h"
#include "directory/netstring.h"
#include "ipc/message.h"
#include "net/dial.h"
#include "net/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SENT_MAX = 100,
    QUEUED_MAX = 10000,
    REPLY_MAX = 4096,
    ROOM = 1024,      /* to read into, at least, but near the end of the longest answer */
    REASON_MAX = 200, /* of a server's words that are passed on */
    TRIES = 2,
    REST_FIRST_MS = 100,
    REST_MAX_MS = 5000,
    PATIENCE = 2 /* times directory_timeout: late answers are of use too */
};

struct directory {
    const struct conf_directory *conf;
    struct loop *loop;
    struct addr addr;
    uint32_t patience_ms;
    struct dial *dial;
    struct stream stream;
    struct list queued, sent;
    size_t queued_n, sent_n;
    struct buf in, out;
    struct deadline silence;
    uint64_t rest_until_ms;
    uint32_t rest_ms;  /* of the failures in a row so far; 0: none */
    struct err why;    /* the last of them */
    bool has_answered; /* on this connection */
    bool is_busy;      /* we are called, or call out: lookup() only queues */
};

struct request {
    struct list node;
    directory_done *done; /* NULL: cancelled after it was sent */
    void *arg;
    uint64_t asked_ms;
    unsigned tries;
    uint16_t user_n;
    char user[];
};

/* ---- requests ---- */

static void free_request(struct request *q)
{
    list_remove(&q->node);
    free(q);
}

static void answer(struct request *q, enum directory_status status, struct slice text)
{
    list_remove(&q->node);
    if (q->done)
        q->done(q->arg, status, text);
    free(q);
}

static void answer_failed(struct request *q, const char *what)
{
    answer(q, DIRECTORY_FAILED, slice_str(what));
}

static struct request *take_first(struct list *from, size_t *n)
{
    struct request *q = CONTAINER(from->next, struct request, node);

    list_remove(&q->node);
    --*n;
    return q;
}

static void fail_all(struct directory *d, struct list *from, size_t *n)
{
    const struct err why = d->why;

    while (!list_empty(from))
        answer_failed(take_first(from, n), why.text);
}

/* ---- the connection ---- */

static void disconnect(struct directory *d)
{
    dial_cancel(&d->dial);
    stream_close(d->loop, &d->stream);
    deadline_clear(&d->silence);
    buf_release(&d->in);
    buf_release(&d->out);
    d->has_answered = false;
}

/* Of all that is under way. What waits meets the pause, in go_on(). */
static void fail_as(struct directory *d, const struct err *why)
{
    disconnect(d);
    d->why = *why;
    d->rest_ms = d->rest_ms ? d->rest_ms * 2 : REST_FIRST_MS;
    if (d->rest_ms > REST_MAX_MS)
        d->rest_ms = REST_MAX_MS;
    d->rest_until_ms = loop_now_ms(d->loop) + d->rest_ms;
    fail_all(d, &d->sent, &d->sent_n);
}

static void fail(struct directory *d, const char *what)
{
    char text[ADDR_TEXT];
    struct err why;

    (void)err_set(&why, 0, "%s: %s", addr_format(&d->addr, text), what);
    fail_as(d, &why);
}

/* Those that were sent once go before those that wait, in their order. */
static void send_again(struct directory *d)
{
    while (!list_empty(&d->sent)) {
        struct request *q = CONTAINER(d->sent.prev, struct request, node);

        list_remove(&q->node);
        d->sent_n--;
        if (!q->done) {
            free_request(q);
            continue;
        }
        /* At the front. */
        list_append(d->queued.next, &q->node);
        d->queued_n++;
    }
}

static bool was_tried_enough(const struct directory *d)
{
    return !list_empty(&d->sent) && CONTAINER(d->sent.next, struct request, node)->tries >= TRIES;
}

/* The peer has closed, or the network has. */
static void lose(struct directory *d, const char *what)
{
    const bool is_retried = !was_tried_enough(d) && (d->has_answered || d->sent_n == 0);

    if (!is_retried) {
        fail(d, what);
        return;
    }
    disconnect(d);
    send_again(d);
}

/* ---- answers ---- */

static bool starts_with(struct slice *s, struct slice word)
{
    if (!slice_eq(slice_sub(*s, 0, word.n), word) || (s->n > word.n && s->p[word.n] != ' '))
        return false;
    *s = slice_sub(*s, word.n + 1, s->n);
    return true;
}

static void take_facts(struct request *q, struct slice text)
{
    struct facts facts;
    struct err err, what;

    if (text.n > FACTS_MAX)
        (void)err_set(&err, 0, "facts of more than %d bytes", FACTS_MAX);
    else if (facts_parse(text, &facts, &err) == 0) {
        answer(q, DIRECTORY_FOUND, text);
        return;
    }
    (void)err_set(&what, 0, "of user \"%.*s\": %s", (int)q->user_n, q->user, err.text);
    answer_failed(q, what.text);
}

/* False: it is no answer at all. */
static bool take_answer(struct directory *d, struct slice text)
{
    static const char *const failures[] = {"TEMP", "TIMEOUT", "PERM"};
    struct err err;

    if (d->sent_n == 0)
        return false;
    if (starts_with(&text, SLICE("OK"))) {
        take_facts(take_first(&d->sent, &d->sent_n), text);
        return true;
    }
    if (starts_with(&text, SLICE("NOTFOUND"))) {
        answer(take_first(&d->sent, &d->sent_n), DIRECTORY_UNKNOWN, SLICE(""));
        return true;
    }
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        if (starts_with(&text, slice_str(failures[i]))) {
            text = slice_sub(text, 0, REASON_MAX);
            (void)err_set(&err, 0, "the server says %s %.*s", failures[i], SLICE_ARG(text));
            answer_failed(take_first(&d->sent, &d->sent_n), err.text);
            return true;
        }
    }
    return false;
}

/* False: the connection is no more. */
static bool take_answers(struct directory *d)
{
    for (;;) {
        struct slice text;
        struct err err;
        size_t used;
        enum netstring what = netstring_parse(buf_slice(&d->in), REPLY_MAX, &text, &used, &err);

        if (what == NETSTRING_MORE)
            return true;
        if (what == NETSTRING_BAD) {
            (void)err_prefix(&err, "what the server says is no answer");
            fail(d, err.text);
            return false;
        }
        if (!take_answer(d, text)) {
            fail(d, "what the server says is no answer");
            return false;
        }
        d->has_answered = true;
        d->rest_ms = 0;
        buf_take(&d->in, used);
        deadline_clear(&d->silence);
        if (d->sent_n)
            deadline_set(d->loop, &d->silence, d->patience_ms);
    }
}

/* The same. */
static bool receive(struct directory *d)
{
    struct err err;

    size_t room_n, n;

    do {
        char *room = buf_room_some(&d->in, ROOM, &room_n);
        enum io io;

        if (!room) {
            fail(d, "out of memory");
            return false;
        }
        io = stream_read(&d->stream, room, room_n, &n);
        if (io == IO_AGAIN)
            break;
        if (io != IO_OK) {
            if (io == IO_FAILED)
                stream_error(&d->stream, &err);
            lose(d, io == IO_EOF ? "the server has closed the connection" : err.text);
            return false;
        }
        buf_added(&d->in, n);
        if (!take_answers(d))
            return false;
    } while (n == room_n);
    if (buf_len(&d->in) == 0) {
        buf_release(&d->in);
    } else if (d->sent_n == 0) {
        fail(d, "what the server says is no answer");
        return false;
    }
    return true;
}

/* ---- questions ---- */

static void send_queued(struct directory *d)
{
    const uint64_t now_ms = loop_now_ms(d->loop);

    while (d->sent_n < SENT_MAX && !list_empty(&d->queued)) {
        struct request *q = take_first(&d->queued, &d->queued_n);
        const struct slice parts[] = {slice_str(d->conf->map), SLICE(" "),
                                      slice_of(q->user, q->user_n)};

        if (now_ms - q->asked_ms > d->patience_ms) {
            answer_failed(q, "too many questions were before this one");
            continue;
        }
        if (netstring_put(&d->out, parts, 3) < 0) {
            answer_failed(q, "out of memory");
            continue;
        }
        q->tries++;
        list_append(&d->sent, &q->node);
        d->sent_n++;
    }
    if (d->sent_n && !deadline_is_set(&d->silence))
        deadline_set(d->loop, &d->silence, d->patience_ms);
}

/* False: the connection is no more. */
static bool flush(struct directory *d)
{
    while (buf_len(&d->out)) {
        struct err err;
        size_t n;
        enum io io = stream_write(&d->stream, buf_slice(&d->out), &n);

        if (io == IO_AGAIN)
            break;
        if (io != IO_OK) {
            stream_error(&d->stream, &err);
            lose(d, err.text);
            return false;
        }
        buf_take(&d->out, n);
    }
    stream_want(d->loop, &d->stream, LOOP_READ | (buf_len(&d->out) ? (unsigned)LOOP_WRITE : 0));
    return true;
}

/* What has come while nothing was asked would be taken for the answer to what is asked next, and
 * belongs to somebody else. */
static bool ask(struct directory *d)
{
    if (d->sent_n == 0 && !list_empty(&d->queued) && !receive(d))
        return false;
    send_queued(d);
    return flush(d);
}

static void on_dialled(void *arg, int fd, const struct addr *reached, const struct err *err);

static void connect_now(struct directory *d)
{
    d->dial = dial_start(d->loop, &d->addr, 1, NULL, d->patience_ms / PATIENCE, on_dialled, d);
    if (!d->dial)
        fail(d, "out of memory");
}

/* Whatever can be done now: connect, send, or fail what waits. A round may bring new questions, or
 * lose the connection. */
static void go_on(struct directory *d)
{
    bool again = true;

    d->is_busy = true;
    while (again) {
        again = false;
        if (d->stream.is_open) {
            again = !ask(d);
        } else if (!d->dial && !list_empty(&d->queued)) {
            if (d->rest_ms && loop_now_ms(d->loop) < d->rest_until_ms)
                fail_all(d, &d->queued, &d->queued_n);
            else
                connect_now(d);
            again = !d->dial;
        }
    }
    d->is_busy = false;
}

static void on_stream(struct watch *w, unsigned events)
{
    struct directory *d = CONTAINER(stream_of(w), struct directory, stream);

    d->is_busy = true;
    if (events & LOOP_READ)
        (void)receive(d);
    go_on(d);
}

static void on_dialled(void *arg, int fd, const struct addr *reached, const struct err *err)
{
    struct directory *d = arg;

    (void)reached;
    d->dial = NULL;
    d->is_busy = true;
    if (fd < 0)
        fail_as(d, err);
    else
        stream_init(&d->stream, fd, on_stream);
    go_on(d);
}

static void on_silence(struct deadline *dl)
{
    struct directory *d = CONTAINER(dl, struct directory, silence);
    struct err err;

    (void)err_set(&err, 0, "no answer within %u ms", d->patience_ms);
    d->is_busy = true;
    fail(d, err.text);
    go_on(d);
}

/* ---- the driver ---- */

static void socketmap_lookup(struct directory *d, struct slice user, directory_done *done,
                             void *arg)
{
    struct request *q = NULL;

    INSIST(user.n <= IPC_USER_MAX);
    if (d->queued_n < QUEUED_MAX)
        q = calloc(1, sizeof *q + user.n);
    if (!q) {
        done(arg, DIRECTORY_FAILED, SLICE("too many questions wait for an answer"));
        return;
    }
    q->done = done;
    q->arg = arg;
    q->asked_ms = loop_now_ms(d->loop);
    q->user_n = (uint16_t)user.n;
    memcpy(q->user, user.p, user.n);
    list_append(&d->queued, &q->node);
    d->queued_n++;
    if (!d->is_busy)
        go_on(d);
}

static void socketmap_cancel(struct directory *d, void *arg)
{
    list_for_each_safe (it, &d->queued) {
        struct request *q = CONTAINER(it, struct request, node);

        if (q->arg == arg) {
            free_request(q);
            d->queued_n--;
            return;
        }
    }
    /* Its answer will come, and must be told from those behind it. */
    list_for_each (it, &d->sent) {
        struct request *q = CONTAINER(it, struct request, node);

        if (q->arg == arg) {
            q->done = NULL;
            q->arg = NULL;
            return;
        }
    }
}

static int socketmap_open(const struct directory_params *params, struct directory **out_directory,
                          struct err *err)
{
    const struct conf_directory *conf = params->conf;
    struct slice host;
    struct addr addr;
    uint16_t port;
    struct directory *d;

    if (addr_split(slice_str(conf->address), &host, &port, err) < 0)
        return err_prefix(err, "address");
    if (port == 0 || !addr_parse_ip(host, port, &addr))
        return err_set(err, 0, "address \"%s\": write ip:port", conf->address);
    d = calloc(1, sizeof *d);
    if (!d)
        return err_sys(err, ENOMEM, "the connection");
    d->conf = conf;
    d->loop = params->loop;
    d->addr = addr;
    d->patience_ms = PATIENCE * params->timeout_ms;
    list_init(&d->queued);
    list_init(&d->sent);
    deadline_init(&d->silence, on_silence);
    /* Facts may hold secrets. */
    buf_init(&d->in, REPLY_MAX + 32, true);
    buf_init(&d->out, SENT_MAX * (IPC_USER_MAX + strlen(conf->map) + 32), false);
    *out_directory = d;
    return 0;
}

static void socketmap_close(struct directory **directory)
{
    struct directory *d = *directory;

    if (!d)
        return;
    INSIST(!d->is_busy);
    disconnect(d);
    list_for_each_safe (it, &d->queued)
        free_request(CONTAINER(it, struct request, node));
    list_for_each_safe (it, &d->sent)
        free_request(CONTAINER(it, struct request, node));
    free(d);
    *directory = NULL;
}

const struct directory_driver directory_socketmap = {
    .name = "socketmap",
    .is_remote = true,
    .open = socketmap_open,
    .lookup = socketmap_lookup,
    .cancel = socketmap_cancel,
    .close = socketmap_close,
};
