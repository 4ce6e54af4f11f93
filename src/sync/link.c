/* The life of a connection: dial, TLS, login, the end; see sync/link.h. */
#include "sync/link_parts.h"

#include "net/deflate.h"
#include "net/dial.h"
#include "net/tls.h"
#include "sync/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_MAX_BYTES = 64 * 1024, /* of the login; its literals and untagged data too */
    READ_LEAST = 4096,
    GOODBYE_MS = 1000,
    /* Of each of the two buffers; a quarter of the memory that a lane has is for its two links. */
    BUFFER_LEAST = 256 * 1024,
    BUFFER_MOST = 1024 * 1024,
    BUFFERS = 16,
};

/* --- trouble ---------------------------------------------------------------------------------- */

int link_fail(struct link *l, enum link_trouble trouble, const char *fmt, ...)
{
    char text[sizeof l->error.text];
    va_list ap;

    if (l->trouble != LINK_FINE)
        return -1;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    }
    l->trouble = trouble;
    return err_set(&l->error, 0, "%s", text);
}

int link_break(struct link *l, const char *words)
{
    if (l->has_said_bye)
        return link_fail(l, LINK_BROKEN, "the server says BYE: %s", l->bye_words);
    if (l->imapc)
        return link_fail(l, LINK_BROKEN, "%s: %s", imapc_stage_name(imapc_stage(l->imapc)), words);
    return link_fail(l, LINK_BROKEN, "%s", words);
}

int link_tell(const struct link *l, struct err *err)
{
    return err_set(err, l->error.code, "%s",
                   l->trouble == LINK_FINE ? "there is no connection" : l->error.text);
}

enum link_trouble link_trouble(const struct link *l)
{
    return l->trouble;
}

const char *link_error(const struct link *l)
{
    return l->trouble == LINK_FINE ? "" : l->error.text;
}

void link_settle(struct link *l)
{
    l->is_settling = true;
    if (l->trouble == LINK_STOPPED && l->pipeline)
        l->trouble = LINK_FINE;
}

/* --- time and numbers ------------------------------------------------------------------------- */

void link_asked(struct link *l)
{
    l->asked_ms = loop_now_ms(l->loop);
}

void link_answered_now(struct link *l)
{
    uint64_t took;

    if (l->asked_ms == 0)
        return;
    took = loop_now_ms(l->loop) - l->asked_ms;
    l->asked_ms = 0;
    if (took < l->rtt_ms)
        l->rtt_ms = (uint32_t)took;
}

uint32_t link_rtt_ms(const struct link *l)
{
    return l->rtt_ms == UINT32_MAX ? 0 : l->rtt_ms;
}

struct link_count link_count(const struct link *l)
{
    return l->count;
}

void link_set_timeout(struct link *l, uint32_t ms)
{
    l->timeout_ms = ms;
}

uint32_t link_timeout_ms(const struct link *l)
{
    return l->timeout_ms > 0 ? l->timeout_ms : sync_params(l->sync)->timeout_ms;
}

struct loop *link_loop(const struct link *l)
{
    return l->loop;
}

void link_move(struct link *l, struct loop *loop)
{
    l->loop = loop;
}

bool link_is_open(const struct link *l)
{
    return l->pipeline && l->trouble == LINK_FINE;
}

struct pipeline *link_pipeline(struct link *l)
{
    return l->pipeline;
}

/* --- connecting ------------------------------------------------------------------------------- */

static void on_dialled(void *arg, int fd, const struct addr *reached, const struct err *err)
{
    struct link *l = arg;

    (void)reached;
    l->dial = NULL;
    if (fd >= 0)
        stream_init(&l->stream, fd, link_on_stream);
    else
        (void)link_fail(l, dial_is_ours(err->code) ? LINK_OURS : LINK_UNREACHED, "%s", err->text);
    loop_stop(l->loop);
}

static int reach(struct link *l)
{
    if (link_stops(l))
        return -1;
    l->dial = dial_start(l->loop, l->side->addresses, l->side->addresses_n, NULL,
                         link_timeout_ms(l), on_dialled, l);
    if (!l->dial)
        return link_fail(l, LINK_OURS, "no memory for connecting");
    while (l->dial && !link_stops(l))
        link_turn(l);
    dial_cancel(&l->dial);
    return l->trouble == LINK_FINE ? 0 : -1;
}

static int shake_hands(struct link *l)
{
    struct err err;
    enum io io;

    if (stream_tls_connect(&l->stream, l->side->tls_context, l->side->host, &err) < 0)
        return link_fail(l, LINK_TLS, "TLS: %s", err.text);
    while ((io = stream_handshake(&l->stream)) == IO_AGAIN) {
        if (link_await(l, LOOP_READ) < 0)
            return -1;
    }
    if (io != IO_OK) {
        stream_error(&l->stream, &err);
        return link_fail(l, LINK_TLS, "TLS: %s", err.text);
    }
    l->is_tls = true;
    l->silent_ms = 0;
    return 0;
}

/* --- logging in ------------------------------------------------------------------------------- */

/* Behind the words that are imapc's. */
static struct slice said(const struct link *l)
{
    const char *colon = strstr(imapc_failure(l->imapc), ": ");

    return slice_str(colon ? colon + 2 : "");
}

static bool has_no_way(const struct link *l)
{
    return imapc_stage(l->imapc) == IMAPC_STAGE_LOGIN && imapc_offers(l->imapc, "LOGINDISABLED") &&
           !imapc_offers(l->imapc, "AUTH=PLAIN") && !imapc_offers(l->imapc, "AUTH=LOGIN");
}

static enum link_trouble meaning(const struct link *l)
{
    const struct imapc *c = l->imapc;

    if (imapc_lacks_memory(c))
        return LINK_OURS;
    if ((imapc_is_bye(c) || imapc_is_about_login(c)) && link_is_busy_word(said(l)))
        return LINK_BUSY;
    if (imapc_is_bye(c))
        return LINK_BROKEN;
    if (imapc_is_about_login(c) || has_no_way(l))
        return LINK_REFUSED;
    return imapc_stage(c) == IMAPC_STAGE_STARTTLS ? LINK_TLS : LINK_FOREIGN;
}

static int write_login(struct link *l)
{
    struct buf *out = imapc_out(l->imapc);

    if (buf_len(out) > 0)
        link_asked(l);
    while (buf_len(out) > 0) {
        size_t n;
        enum io io = link_write_wire(l, buf_slice(out), &n);

        if (io == IO_AGAIN && link_await(l, LOOP_WRITE) < 0)
            return -1;
        if (io == IO_EOF || io == IO_FAILED)
            return link_broken_by(l, io);
        if (io == IO_OK) {
            l->count.out += n;
            buf_take(out, n);
        }
    }
    return 0;
}

/* What comes next. An end is told to the dialogue, which knows in the midst of what. */
static int read_login(struct link *l)
{
    struct buf *in = imapc_in(l->imapc);
    size_t room_n, n;
    char *room = buf_room_some(in, READ_LEAST, &room_n);
    enum io io;

    if (!room)
        return link_fail(l, LINK_OURS, "no memory for the login");
    while ((io = link_read_wire(l, room, room_n, &n)) == IO_AGAIN) {
        if (link_await(l, LOOP_READ) < 0)
            return -1;
    }
    if (io == IO_FAILED)
        return link_broken_by(l, io);
    link_answered_now(l);
    if (io == IO_EOF) {
        imapc_closed(l->imapc);
        return link_fail(l, LINK_BROKEN, "%s", imapc_failure(l->imapc));
    }
    l->count.in += n;
    buf_added(in, n);
    return 0;
}

/* One step of the dialogue. */
static int advance(struct link *l, bool *out_is_over)
{
    switch (imapc_step(l->imapc)) {
    case IMAPC_MORE:
        return write_login(l) < 0 || read_login(l) < 0 ? -1 : 0;
    case IMAPC_STARTTLS:
        if (shake_hands(l) < 0)
            return -1;
        imapc_tls_started(l->imapc);
        return 0;
    case IMAPC_FAILED:
        return link_fail(l, meaning(l), "%s", imapc_failure(l->imapc));
    case IMAPC_DONE:
        *out_is_over = true;
        return 0;
    }
    return -1;
}

static int judge(struct link *l)
{
    const struct imapc_answer *answer = imapc_answer(l->imapc);
    struct slice words = imapc_log_text(l->imapc);
    char text[LINK_WORDS];

    if (answer->is_ok)
        return 0;
    return link_fail(l, link_is_busy_word(answer->text) ? LINK_BUSY : LINK_REFUSED,
                     "the server refuses the login: %s", link_words(words, text));
}

/* The share of the memory that a buffer has. */
static size_t buffer_size(const struct link *l)
{
    const struct sync_params *params = sync_params(l->sync);
    size_t share = params->memory / (params->lanes > 0 ? params->lanes : 1) / BUFFERS;

    if (share < BUFFER_LEAST)
        return BUFFER_LEAST;
    return share < BUFFER_MOST ? share : BUFFER_MOST;
}

/* What came behind the answer to the login is the first of what comes after it. */
static int begin_commands(struct link *l)
{
    const struct imapc_answer *answer = imapc_answer(l->imapc);
    size_t most = buffer_size(l);
    const struct pipeline_params params = {.max_response = most, .max_in = most, .max_out = most};

    l->pipeline = pipeline_new(&params);
    if (!l->pipeline || buf_put(&l->capabilities, answer->capabilities) < 0 ||
        buf_put(pipeline_in(l->pipeline), buf_slice(imapc_in(l->imapc))) < 0)
        return link_fail(l, LINK_OURS, "no memory for the session");
    stream_tls_cleanse(&l->stream, false);
    l->is_dry = false;
    return 0;
}

static int log_in(struct link *l)
{
    static const struct id_pair us[] = {{SLICE("name"), SLICE("usher"), false}};
    const struct imapc_params params = {
        .wants_starttls = l->side->tls == SYNC_TLS_STARTTLS,
        .user = l->side->user,
        .authzid = l->side->authzid,
        .password = l->side->password,
        .id = {us, 1},
        .max_line = LINE_MAX_BYTES,
        .max_untagged = LINE_MAX_BYTES,
    };
    bool is_over = false;

    l->imapc = imapc_new(&params);
    if (!l->imapc)
        return link_fail(l, LINK_OURS, "no memory for the login");
    while (!is_over) {
        if (advance(l, &is_over) < 0)
            return -1;
    }
    if (judge(l) < 0 || begin_commands(l) < 0)
        return -1;
    imapc_free(&l->imapc);
    return 0;
}

/* Names are UTF-8 where the server takes nothing else: by RFC 6855 section 6 when it was told, by
 * RFC 9051 always. Others are left with modified UTF-7, which all know. */
static int enable(struct link *l)
{
    bool is_only = link_offers(l, "UTF8=ONLY");
    bool is_new = link_offers(l, "IMAP4rev2") && !link_offers(l, "IMAP4rev1");
    struct link_answer answer;

    l->wants_qresync =
        link_offers(l, "QRESYNC") && (link_offers(l, "ENABLE") || link_offers(l, "IMAP4rev2"));
    if (!is_only && !is_new)
        return 0;
    if (is_only || link_offers(l, "UTF8=ACCEPT")) {
        if (link_call(l, SLICE("ENABLE UTF8=ACCEPT"), NULL, NULL, &answer, NULL) < 0)
            return -1;
        if (is_only && answer.kind != RESPONSE_OK)
            return link_fail(l, LINK_FOREIGN, "the server wants UTF8=ACCEPT and refuses it: %.*s",
                             SLICE_ARG(slice_sub(answer.text, 0, LINK_WORDS)));
    }
    l->has_utf8 = true;
    return 0;
}

/* --- the interface ---------------------------------------------------------------------------- */

/* All of a connection; what it came to stays. */
static void drop(struct link *l)
{
    stream_close(l->loop, &l->stream);
    imapc_free(&l->imapc);
    pipeline_free(&l->pipeline);
    deflate_free(&l->deflate);
    buf_release(&l->wire_in);
    buf_release(&l->wire_out);
    buf_release(&l->answer);
    l->is_tls = l->has_utf8 = l->is_settling = l->is_leaving = l->has_said_bye = false;
    l->may_inflate = l->wants_qresync = l->has_qresync = false;
    l->is_dry = l->is_flushed = true;
    l->silent_ms = 0;
    l->asked_ms = 0;
}

struct link *link_new(struct loop *loop, struct sync *sync, const struct sync_side *side)
{
    struct link *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->loop = loop;
    l->sync = sync;
    l->side = side;
    l->rtt_ms = UINT32_MAX;
    buf_init(&l->capabilities, LINE_MAX_BYTES, false);
    buf_init(&l->answer, BUFFER_MOST, false);
    drop(l);
    return l;
}

void link_free(struct link **l)
{
    if (!*l)
        return;
    link_close(*l);
    buf_release(&(*l)->capabilities);
    free(*l);
    *l = NULL;
}

int link_open(struct link *l, struct err *err)
{
    INSIST(!l->stream.is_open);
    l->trouble = LINK_FINE;
    buf_release(&l->capabilities);
    if (reach(l) == 0 && (l->side->tls != SYNC_TLS_IMPLICIT || shake_hands(l) == 0) &&
        log_in(l) == 0 && enable(l) == 0)
        return 0;
    (void)link_tell(l, err);
    drop(l);
    return -1;
}

void link_leave(struct link *l)
{
    bool is_well = l->trouble == LINK_FINE || l->trouble == LINK_STOPPED;
    uint32_t id;

    if (!l->pipeline || l->is_leaving || !is_well || l->has_said_bye ||
        pipeline_waiting(l->pipeline) > 0)
        return;
    l->trouble = LINK_FINE;
    l->is_leaving = true;
    if (pipeline_put(l->pipeline, SLICE("LOGOUT"), &id) < 0 || link_flush(l) < 0)
        (void)link_fail(l, LINK_BROKEN, "no good-bye");
}

/* Until the server has answered, or closed. */
static void wait_for_goodbye(struct link *l)
{
    struct link_wanting wanting = {.link = l, .wants_in = true};
    uint64_t end_ms = loop_now_ms(l->loop) + GOODBYE_MS, now_ms;
    enum pipeline_event event;

    while ((now_ms = loop_now_ms(l->loop)) < end_ms) {
        switch (link_step(l, &event)) {
        case LINK_FAILED:
            return;
        case LINK_EVENT:
            if (event == PIPELINE_TAGGED) {
                stream_finish(&l->stream);
                return;
            }
            break;
        case LINK_WAIT:
            if (link_wait(&wanting, 1, (uint32_t)(end_ms - now_ms)) < 0)
                return;
        }
    }
}

void link_close(struct link *l)
{
    link_leave(l);
    if (l->is_leaving && l->trouble == LINK_FINE)
        wait_for_goodbye(l);
    drop(l);
    buf_release(&l->capabilities);
    l->trouble = LINK_FINE;
}
