/* Probes of backends: connecting, TLS and dialogue as sessions have them, and what came of it. */
#include "worker/probe.h"

#include "base/log.h"
#include "base/secret.h"
#include "imapc/imapc.h"
#include "net/dial.h"
#include "net/proxy.h"
#include "net/stream.h"
#include "worker/backend.h"
#include "worker/contexts.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Freed when it has come to its end, by probe_free() alone: functions that may have ended it say
 * so. */
struct probe {
    struct list node; /* in worker.probes */
    struct worker *worker;
    struct deadline deadline; /* from being connected on; before, the dial has its own */
    struct dial *dial;        /* while connecting */
    struct stream stream;     /* behind that */
    struct imapc *imapc;      /* from where the greeting is awaited */
    char *password;           /* our own copy: the worker's changes with the file */
    size_t password_n;
    uint64_t begun_ms;
    uint32_t id;
    uint16_t pool, backend;
    unsigned descriptors; /* as counted in worker.probe_descriptors */
    bool is_handshaking;
};

static const struct conf_pool *pool_of(const struct probe *p)
{
    return &p->worker->conf->pools[p->pool];
}

static const struct conf_backend *backend_of(const struct probe *p)
{
    return &pool_of(p)->backends[p->backend];
}

static void hold_descriptors(struct probe *p, unsigned n)
{
    p->worker->probe_descriptors += n - p->descriptors;
    p->descriptors = n;
}

static void probe_free(struct probe *p)
{
    hold_descriptors(p, 0);
    deadline_clear(&p->deadline);
    dial_cancel(&p->dial);
    imapc_free(&p->imapc);
    stream_close(p->worker->loop, &p->stream);
    secret_free(p->password, p->password_n);
    list_remove(&p->node);
    p->worker->probes_n--;
    free(p);
}

/* --- the end
 * ----------------------------------------------------------------------------------------------------------
 */

static void answer(struct worker *w, uint32_t id, const struct msg_probed *m, const char *words)
{
    counters_add(w->counters, METRIC_PROBES, 1);
    if (!m->is_ok)
        counters_add(w->counters, METRIC_PROBES_FAILED, 1);
    worker_tell(w, MSG_PROBED, id, m, slice_str(words));
}

static void probe_end(struct probe *p, const struct msg_probed *how, const char *words)
{
    struct msg_probed m = *how;

    m.duration_ms = (uint32_t)(loop_now_ms(p->worker->loop) - p->begun_ms);
    log_detail(LOG_DEBUG, "probe of backend %s: %s after %u ms", backend_of(p)->title,
               m.is_ok ? "good" : words, m.duration_ms);
    answer(p->worker, p->id, &m, words);
    probe_free(p);
}

static void probe_succeed(struct probe *p)
{
    static const struct msg_probed how = {.is_ok = 1};

    stream_finish(&p->stream);
    probe_end(p, &how, "");
}

static void probe_fail_hinted(struct probe *p, enum fault fault, const char *stage,
                              const char *detail, const char *hint)
{
    const struct msg_probed how = {.fault = (uint32_t)fault};
    char words[IPC_TEXT_MAX];

    snprintf(words, sizeof words, "%s: %s%s", stage, detail, hint);
    probe_end(p, &how, words);
}

static void probe_fail(struct probe *p, enum fault fault, const char *stage, const char *detail)
{
    struct imapc *talk = p->is_handshaking || fault == FAULT_OURS ? NULL : p->imapc;

    probe_fail_hinted(p, fault, stage, detail, backend_proxy_hint(backend_of(p), talk));
}

static const char *stage_of(const struct probe *p)
{
    if (p->is_handshaking)
        return "tls";
    return p->imapc ? imapc_stage_name(imapc_stage(p->imapc)) : "connect";
}

static void probe_fail_by(struct probe *p, const struct err *err)
{
    probe_fail(p, backend_fault(err), stage_of(p), err->text);
}

static void probe_fail_memory(struct probe *p)
{
    probe_fail(p, FAULT_OURS, stage_of(p), "out of memory");
}

static void on_late(struct deadline *d)
{
    struct probe *p = CONTAINER(d, struct probe, deadline);

    probe_fail(p, FAULT_BACKEND, stage_of(p), "no answer within check_timeout");
}

/* --- the dialogue
 * -----------------------------------------------------------------------------------------------------
 */

static void probe_handshake(struct probe *p);

static void probe_start_tls(struct probe *p)
{
    char host[BACKEND_NAME];
    const char *name = backend_tls_name(backend_of(p), host);
    struct err err;

    p->is_handshaking = true;
    /* Nothing of the backend's has been read by then. */
    if (stream_tls_connect(&p->stream, contexts_backend(p->worker, p->pool, p->backend), name,
                           &err) < 0)
        probe_fail(p, FAULT_OURS, "tls", err.text);
    else
        probe_handshake(p);
}

/* As far as it goes at once. */
static void say_goodbye(struct probe *p)
{
    imapc_log_out(p->imapc);
    (void)backend_flush(p->worker->loop, &p->stream, p->imapc);
}

static void probe_refused(struct probe *p)
{
    struct slice text = imapc_log_text(p->imapc);
    char words[512];

    snprintf(words, sizeof words, "%.128s is refused: %.*s", pool_of(p)->check_user,
             text.n < 256 ? (int)text.n : 256, text.n > 0 ? text.p : "");
    probe_fail_hinted(p, FAULT_BACKEND, imapc_stage_name(IMAPC_STAGE_LOGIN), words, "");
}

/* The backend has said all that was asked. */
static void probe_judge(struct probe *p)
{
    const bool is_login = pool_of(p)->check == CHECK_LOGIN;

    say_goodbye(p);
    if (is_login && !imapc_answer(p->imapc)->is_ok) {
        probe_refused(p);
    } else if (!is_login && imapc_is_preauth(p->imapc)) {
        probe_fail_hinted(p, FAULT_BACKEND, imapc_stage_name(IMAPC_STAGE_GREETING),
                          "the greeting is PREAUTH: somebody is logged in already", "");
    } else {
        probe_succeed(p);
    }
}

/* False: the probe is over. */
static bool probe_flush(struct probe *p)
{
    struct err err;

    if (backend_flush(p->worker->loop, &p->stream, p->imapc) == IO_OK)
        return true;
    stream_error(&p->stream, &err);
    probe_fail_by(p, &err);
    return false;
}

/* One step of the dialogue. True: it wants more bytes. */
static bool probe_step(struct probe *p)
{
    enum imapc_outcome outcome = imapc_step(p->imapc);

    if (outcome == IMAPC_FAILED) {
        probe_fail(p, imapc_lacks_memory(p->imapc) ? FAULT_OURS : FAULT_BACKEND, stage_of(p),
                   imapc_failure(p->imapc));
        return false;
    }
    if (!probe_flush(p))
        return false;
    if (outcome == IMAPC_MORE && buf_left(imapc_in(p->imapc)) > 0)
        return true;
    if (outcome == IMAPC_MORE)
        probe_fail(p, FAULT_BACKEND, stage_of(p), "the backend sent too much");
    else if (outcome == IMAPC_STARTTLS)
        probe_start_tls(p);
    else
        probe_judge(p);
    return false;
}

/* True: some bytes have come. False: the probe may be over. */
static bool probe_read(struct probe *p)
{
    struct err err;
    enum io io = backend_read(&p->stream, p->imapc, &err);

    if (io == IO_EOF || io == IO_FAILED)
        probe_fail_by(p, &err);
    return io == IO_OK;
}

/* As far as there are bytes, those inside TLS included: no event comes for them. */
static void probe_run(struct probe *p)
{
    while (probe_step(p)) {
        if (!stream_has_pending(&p->stream) || !probe_read(p))
            return;
    }
}

static void probe_greet(struct probe *p)
{
    const struct imapc_params params = {
        .wants_starttls = backend_of(p)->tls == BACKEND_TLS_STARTTLS,
        .only_looks = pool_of(p)->check == CHECK_GREETING,
        .wants_noop = true,
        .user = slice_str(pool_of(p)->check_user),
        .password = slice_of(p->password, p->password_n),
        .max_line = BACKEND_LINE_MAX,
        .max_untagged = BACKEND_UNTAGGED_MAX,
    };

    p->is_handshaking = false;
    if (p->imapc)
        imapc_tls_started(p->imapc);
    else
        p->imapc = imapc_new(&params);
    if (!p->imapc)
        probe_fail_memory(p);
    else
        probe_run(p);
}

/* Connected, and TLS is up where it is implicit or was asked for. */
static void probe_go_on(struct probe *p)
{
    if (pool_of(p)->check == CHECK_TCP)
        probe_succeed(p);
    else
        probe_greet(p);
}

static void probe_handshake(struct probe *p)
{
    enum io io = stream_handshake(&p->stream);
    struct err err;

    if (io == IO_AGAIN) {
        stream_want(p->worker->loop, &p->stream, LOOP_READ);
    } else if (io != IO_OK) {
        stream_error(&p->stream, &err);
        probe_fail_by(p, &err);
    } else if (backend_check_pin(backend_of(p), &p->stream, &err) < 0) {
        probe_fail(p, FAULT_BACKEND, "tls", err.text);
    } else {
        probe_go_on(p);
    }
}

static void on_event(struct watch *watch, unsigned events)
{
    struct probe *p = CONTAINER(stream_of(watch), struct probe, stream);

    (void)events;
    if (p->is_handshaking)
        probe_handshake(p);
    else if (probe_flush(p) && probe_read(p))
        probe_run(p);
}

/* --- connecting
 * -------------------------------------------------------------------------------------------------------
 */

static void on_dialled(void *arg, int fd, const struct addr *reached, const struct err *err)
{
    static const struct proxy_info ourselves = {.is_local = true};
    struct probe *p = arg;
    struct worker *w = p->worker;
    uint64_t late_ms = p->begun_ms + pool_of(p)->check_timeout, now_ms = loop_now_ms(w->loop);
    struct err failure;

    (void)reached;
    p->dial = NULL;
    if (fd < 0) {
        probe_fail_by(p, err);
        return;
    }
    hold_descriptors(p, 1);
    stream_init(&p->stream, fd, on_event);
    deadline_set(w->loop, &p->deadline, late_ms > now_ms ? late_ms - now_ms : 0);
    if (backend_send_proxy(backend_of(p), &ourselves, &p->stream, &failure) < 0)
        probe_fail_by(p, &failure);
    else if (backend_of(p)->tls == BACKEND_TLS_IMPLICIT)
        probe_start_tls(p);
    else
        probe_go_on(p);
}

static void probe_dial(struct probe *p, const struct msg_probe *order)
{
    struct worker *w = p->worker;
    uint32_t all_ms = pool_of(p)->check_timeout, connect_ms = w->conf->global.connect_timeout;

    hold_descriptors(p, order->addresses_n);
    p->dial = dial_start(w->loop, order->addresses, order->addresses_n,
                         contexts_sources(w, p->pool, p->backend),
                         connect_ms < all_ms ? connect_ms : all_ms, on_dialled, p);
    if (!p->dial)
        probe_fail_memory(p);
}

/* --- beginning
 * --------------------------------------------------------------------------------------------------------
 */

static bool makes_sense(const struct worker *w, const struct msg_probe *order)
{
    return order->pool < w->conf->pools_n &&
           order->backend < w->conf->pools[order->pool].backends_n && order->addresses_n >= 1 &&
           order->addresses_n <= IPC_ADDRESSES_MAX &&
           w->conf->pools[order->pool].check != CHECK_OFF;
}

/* False when memory is out. */
static bool keep_password(struct probe *p)
{
    struct slice password = contexts_check_password(p->worker, p->pool);

    if (password.n == 0)
        return true;
    p->password = secret_alloc(password.n);
    if (!p->password)
        return false;
    p->password_n = password.n;
    memcpy(p->password, password.p, password.n);
    return true;
}

static struct probe *probe_new(struct worker *w, uint32_t id, const struct msg_probe *order)
{
    struct probe *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->worker = w;
    p->id = id;
    p->pool = order->pool;
    p->backend = order->backend;
    p->begun_ms = loop_now_ms(w->loop);
    deadline_init(&p->deadline, on_late);
    list_append(&w->probes, &p->node);
    w->probes_n++;
    return p;
}

void probe_begin(struct worker *w, uint32_t id, const struct msg_probe *order)
{
    const struct msg_probed ours = {.fault = FAULT_OURS};
    struct probe *p = NULL;

    if (w->is_stopping || !makes_sense(w, order))
        return;
    if (w->is_retired)
        answer(w, id, &ours, "connect: this worker is of an earlier generation");
    else if (w->probes_n >= PROBES_MAX)
        answer(w, id, &ours, "connect: too many probes are under way");
    else if (!worker_has_descriptors(w, order->addresses_n))
        answer(w, id, &ours, "connect: clients need all descriptors");
    else if (!(p = probe_new(w, id, order)))
        answer(w, id, &ours, "connect: out of memory");
    if (!p)
        return;
    if (keep_password(p))
        probe_dial(p, order);
    else
        probe_fail_memory(p);
}

unsigned probe_give_up(struct worker *w, const char *why)
{
    unsigned n = w->probes_n;

    list_for_each_safe (it, &w->probes) {
        struct probe *p = CONTAINER(it, struct probe, node);

        probe_fail(p, FAULT_OURS, stage_of(p), why);
    }
    return n;
}

void probe_end_all(struct worker *w)
{
    list_for_each_safe (it, &w->probes)
        probe_free(CONTAINER(it, struct probe, node));
}
