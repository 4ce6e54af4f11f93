/* usher login: the connection to the backend, from its name to LOGOUT. As worker/upstream.c goes it
 * for a session, with one connection and nothing else to do. */
#include "cli/login_parts.h"

#include "cli/cli.h"
#include "cli/login.h"
#include "cli/route_way.h"
#include "imap/capability.h"
#include "imapc/imapc.h"
#include "lookup/resolver.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/proxy.h"
#include "net/tls.h"
#include "parent/files.h"
#include "worker/backend.h"
#include "worker/tls_set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GOODBYE_MS = 2000, GREETING = 512, HOST = 256, DATE = 16 };

struct talk {
    const struct way *way;
    const struct backend *backend;
    const struct conf_backend *conf;
    const struct login_credentials *credentials;
    struct steps *steps;
    struct login_end *end;
    struct addr addresses[RESOLVER_ADDRESSES];
    size_t addresses_n;
    struct tls_set *tls; /* of `alone`; NULL: tls = off */
    struct conf alone;   /* a configuration of this backend and nothing else */
    struct conf_pool pool_alone;
    struct conf_backend backend_alone;
    struct conn conn;
    struct imapc *imapc; /* NULL: its dialogue has not begun */
    struct err trouble;  /* of the resolver */
    char greeting[GREETING];
};

/* The step that goes on has failed, and so has all of it. */
static bool fail(struct talk *t, const char *words, const char *hint)
{
    struct err err;

    t->end->status = LOGIN_NO_VERDICT;
    snprintf(t->end->text, sizeof t->end->text, "%s: %s%s", t->steps->name, words, hint);
    (void)err_set(&err, 0, "%s%s", words, hint);
    steps_fail(t->steps, err.text);
    return false;
}

/* The connection has said no more. */
static bool fail_silent(struct talk *t, const char *hint)
{
    if (t->conn.has_failed)
        return fail(t, t->conn.failure.text, "");
    if (t->conn.last == HEARD_SILENCE)
        return fail(t, "no answer within backend_login_timeout", hint);
    return fail(t, t->conn.trouble.text, hint);
}

/* --- the name --------------------------------------------------------------------------------- */

static void on_resolved(void *arg, const struct addr *addresses, size_t n, uint32_t ttl_s,
                        const struct err *err)
{
    struct talk *t = arg;

    (void)ttl_s;
    t->addresses_n = n;
    if (n > 0)
        memcpy(t->addresses, addresses, n * sizeof *addresses);
    else
        t->trouble = *err;
    loop_stop(t->way->loop);
}

static void tell_addresses(struct talk *t)
{
    char text[RESOLVER_ADDRESSES * (ADDR_TEXT + 2)], one[ADDR_TEXT];
    size_t at = 0;

    for (size_t i = 0; i < t->addresses_n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i > 0 ? ", " : "",
                               addr_format(&t->addresses[i], one));
    steps_end(t->steps, "%.*s: %s", SLICE_ARG(t->backend->host), text);
}

static bool find_addresses(struct talk *t)
{
    const struct conf_list *servers = &t->way->conf->global.nameservers;
    struct resolver *resolver;
    struct err err;
    char host[HOST];

    t->addresses_n = t->backend->addresses_n;
    if (t->addresses_n > 0) { /* given as such */
        memcpy(t->addresses, t->backend->addresses, t->addresses_n * sizeof t->addresses[0]);
        return true;
    }
    steps_begin(t->steps, "resolve");
    resolver = resolver_new(t->way->loop, servers->items, servers->n, &err);
    if (!resolver)
        return fail(t, err.text, "");
    snprintf(host, sizeof host, "%.*s", SLICE_ARG(t->backend->host));
    resolver_resolve(resolver, host, t->backend->port, on_resolved, t);
    loop_run(t->way->loop);
    resolver_free(&resolver);
    if (t->addresses_n == 0)
        return fail(t, t->trouble.text, "");
    tell_addresses(t);
    return true;
}

/* --- connecting ------------------------------------------------------------------------------- */

static bool dial(struct talk *t)
{
    const struct conf_global *g = &t->way->conf->global;
    struct addr from[CONF_BACKENDS_MAX > 64 ? 64 : CONF_BACKENDS_MAX];
    struct dial_sources sources = {.addrs = from};
    bool is_open;

    for (size_t i = 0; i < t->conf->source.n && i < sizeof from / sizeof *from; i++)
        sources.n += addr_parse_ip(slice_str(t->conf->source.items[i]), 0, &from[sources.n]);
    conn_init(&t->conn, t->way->loop, g->connect_timeout + g->backend_login_timeout);
    is_open = conn_open(&t->conn, t->addresses, t->addresses_n, sources.n > 0 ? &sources : NULL,
                        g->connect_timeout);
    conn_step(&t->conn, g->backend_login_timeout);
    return is_open;
}

static bool reach(struct talk *t)
{
    char to[ADDR_TEXT], from[ADDR_TEXT];
    struct addr own;

    steps_begin(t->steps, "connect");
    if (!dial(t))
        return fail(t, t->conn.trouble.text, "");
    own = conn_own(&t->conn);
    t->end->reached = t->conn.reached;
    steps_end(t->steps, "%s, from %s", addr_format(&t->conn.reached, to), addr_format(&own, from));
    return true;
}

/* There is no client but us. */
static bool send_proxy(struct talk *t)
{
    const struct proxy_info info = {
        .has_checksum = true, .source = conn_own(&t->conn), .destination = t->conn.reached};
    char text[ADDR_TEXT];
    struct err err;

    if (t->conf->proxy == BACKEND_PROXY_OFF)
        return true;
    steps_begin(t->steps, "proxy");
    if (backend_send_proxy(t->conf, &info, &t->conn.stream, &err) < 0)
        return fail(t, err.text, "");
    steps_end(t->steps, "a header of version %d, which names %s as the client",
              t->conf->proxy == BACKEND_PROXY_V1 ? 1 : 2, addr_format(&info.source, text));
    return true;
}

/* --- TLS -------------------------------------------------------------------------------------- */

/* Only what this backend needs is read: keys of listeners may be root's alone. */
static int make_tls(struct talk *t, struct err *err)
{
    struct files files;
    struct tls_files tls_files = {files_find, &files};
    int done;

    if (t->conf->tls == BACKEND_TLS_OFF)
        return 0;
    t->backend_alone = *t->conf;
    t->pool_alone = t->way->conf->pools[t->backend->pool];
    t->pool_alone.backends = &t->backend_alone;
    t->pool_alone.backends_n = 1;
    t->alone = *t->way->conf;
    t->alone.pools = &t->pool_alone;
    t->alone.pools_n = 1;
    t->alone.listeners_n = t->alone.certificates_n = 0;
    if (files_read(&t->alone, &files, err) < 0)
        return -1;
    done = tls_set_new(&t->alone, &tls_files, NULL, &t->tls, NULL, err);
    files_free(&files);
    return done;
}

static void tell_tls(struct talk *t, const char *name)
{
    const struct stream *s = &t->conn.stream;
    struct tls_facts *facts = malloc(sizeof *facts);
    char until[DATE] = "?", subject[256] = "?";
    const char *verified = t->conf->tls_pin.n > 0      ? "its key is in tls_pin"
                           : tls_set_verifies(t->conf) ? "verified"
                                                       : "not verified (tls_verify = no)";
    struct tm tm;

    if (facts && stream_tls_facts(s, facts)) {
        time_t end = (time_t)facts->not_after;

        if (gmtime_r(&end, &tm))
            strftime(until, sizeof until, "%Y-%m-%d", &tm);
        if (facts->names_n > 0)
            snprintf(subject, sizeof subject, "%.*s", (int)sizeof subject - 1, facts->names[0]);
    }
    free(facts);
    steps_end(t->steps, "%s, %s; certificate of %s until %s, %s for %s", stream_tls_version(s),
              stream_tls_cipher(s), subject, until, verified, name);
}

static bool shake_hands(struct talk *t)
{
    char host[BACKEND_NAME];
    const char *name = backend_tls_name(t->conf, host);
    struct err err;

    steps_begin(t->steps, "tls");
    if (stream_tls_connect(&t->conn.stream, tls_set_backend(t->tls, 0, 0), name, &err) < 0)
        return fail(t, err.text, "");
    switch (conn_handshake(&t->conn, UINT32_MAX)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        return fail(t, "no end of the handshake within backend_login_timeout", "");
    case IO_EOF:
    case IO_FAILED:
        (void)conn_broken(&t->conn);
        return fail(t, t->conn.trouble.text, "");
    }
    if (backend_check_pin(t->conf, &t->conn.stream, &err) < 0)
        return fail(t, err.text, "");
    tell_tls(t, name);
    return true;
}

/* --- the dialogue ----------------------------------------------------------------------------- */

static const char *hint(struct talk *t)
{
    return backend_proxy_hint(t->conf, t->imapc);
}

/* The greeting, before the dialogue takes it. */
static void keep_greeting(struct talk *t)
{
    struct slice s = buf_slice(imapc_in(t->imapc));
    size_t n = 0;

    if (imapc_stage(t->imapc) != IMAPC_STAGE_GREETING || s.n == 0)
        return;
    while (n < s.n && n < sizeof t->greeting - 1 && s.p[n] != '\r' && s.p[n] != '\n')
        n++;
    memcpy(t->greeting, s.p, n);
    t->greeting[n] = '\0';
}

static void end_stage(struct talk *t, enum imapc_stage stage)
{
    const bool has_id = imapc_offers(t->imapc, "ID");

    switch (stage) {
    case IMAPC_STAGE_GREETING:
        steps_end(t->steps, "%s", t->greeting);
        break;
    case IMAPC_STAGE_STARTTLS:
        steps_end(t->steps, "the server is ready");
        break;
    case IMAPC_STAGE_CAPABILITY:
        steps_end(t->steps, "%.*s", SLICE_ARG(imapc_capabilities(t->imapc)));
        break;
    case IMAPC_STAGE_LOGIN:
        steps_end(t->steps, "%s%s", imapc_way(t->imapc), has_id ? ", behind ID" : "");
        break;
    case IMAPC_STAGE_ID:
    case IMAPC_STAGE_AFTER_LOGIN:
    case IMAPC_STAGE_NOOP:
        steps_end(t->steps, "answered");
        break;
    }
}

static bool read_more(struct talk *t)
{
    struct buf *in = imapc_in(t->imapc);

    if (buf_left(in) == 0)
        return fail(t, "the backend sends too much", hint(t));
    switch (conn_read(&t->conn, in, UINT32_MAX)) {
    case HEARD_BYTES:
        return true;
    case HEARD_END:
        imapc_closed(t->imapc);
        return fail(t, imapc_failure(t->imapc), hint(t));
    case HEARD_SILENCE:
    case HEARD_BROKEN:
        return fail_silent(t, hint(t));
    }
    return false;
}

static bool go_on_in_tls(struct talk *t)
{
    end_stage(t, IMAPC_STAGE_STARTTLS);
    if (!shake_hands(t))
        return false;
    imapc_tls_started(t->imapc);
    steps_begin(t->steps, imapc_stage_name(imapc_stage(t->imapc)));
    return true;
}

/* What is said to the dialogue's answer; false: it is over. */
static bool follow(struct talk *t, enum imapc_outcome outcome)
{
    struct buf *out = imapc_out(t->imapc);

    if (outcome == IMAPC_FAILED)
        return fail(t, imapc_failure(t->imapc), hint(t));
    if (!conn_write(&t->conn, buf_slice(out)))
        return fail_silent(t, hint(t));
    buf_take(out, buf_len(out));
    if (outcome == IMAPC_MORE)
        return read_more(t);
    return outcome == IMAPC_STARTTLS && go_on_in_tls(t);
}

/* One step on; false: it is over. */
static bool advance(struct talk *t)
{
    enum imapc_stage before = imapc_stage(t->imapc), after;
    enum imapc_outcome outcome;

    keep_greeting(t);
    outcome = imapc_step(t->imapc);
    after = imapc_stage(t->imapc);
    if (after != before) {
        end_stage(t, before);
        steps_begin(t->steps, imapc_stage_name(after));
    }
    return follow(t, outcome);
}

/* What the server says behind its capabilities, which have been told. */
static struct slice without_capabilities(struct slice text)
{
    struct slice list;

    if (capability_in_text(text, &list))
        text = slice_sub(text, (size_t)(list.p + list.n - text.p) + 1, text.n);
    while (text.n > 0 && text.p[0] == ' ')
        text = slice_sub(text, 1, text.n);
    return text;
}

static void judge(struct talk *t)
{
    struct slice text = without_capabilities(imapc_log_text(t->imapc));

    snprintf(t->end->text, sizeof t->end->text, "%.*s", SLICE_ARG(text));
    if (imapc_answer(t->imapc)->is_ok) {
        t->end->status = LOGIN_DONE;
        end_stage(t, imapc_stage(t->imapc));
    } else {
        char words[sizeof t->end->text + 8];

        t->end->status = LOGIN_REFUSED;
        snprintf(words, sizeof words, "NO %s", t->end->text);
        steps_fail(t->steps, words);
    }
    steps_begin(t->steps, "logout");
    imapc_log_out(t->imapc);
    if (conn_goodbye(&t->conn, buf_slice(imapc_out(t->imapc)), GOODBYE_MS))
        steps_end(t->steps, "the server has closed the connection");
    else
        steps_end(t->steps, "the server has not closed the connection; we have");
}

static void log_in(struct talk *t)
{
    static const struct id_pair us[] = {{SLICE("name"), SLICE("usher"), false}};
    const struct imapc_params params = {
        .wants_starttls = t->conf->tls == BACKEND_TLS_STARTTLS,
        .wants_noop = true,
        .user = t->credentials->user,
        .authzid = t->credentials->authzid,
        .password = t->credentials->password,
        .id = {us, 1},
        .max_line = BACKEND_LINE_MAX,
        .max_untagged = BACKEND_UNTAGGED_MAX,
    };

    t->imapc = imapc_new(&params);
    steps_begin(t->steps, imapc_stage_name(IMAPC_STAGE_GREETING));
    if (!t->imapc) {
        fail(t, "out of memory", "");
        return;
    }
    while (advance(t))
        ;
    if (imapc_step(t->imapc) == IMAPC_DONE && t->steps->name)
        judge(t);
    imapc_free(&t->imapc);
}

void talk_login(const struct way *w, uint32_t backend, const struct login_credentials *credentials,
                struct steps *steps, struct login_end *out_end)
{
    struct talk t = {.way = w,
                     .backend = &w->backends.all[backend],
                     .conf = w->backends.all[backend].conf,
                     .credentials = credentials,
                     .steps = steps,
                     .end = out_end};
    struct err err;

    *out_end = (struct login_end){.status = CLI_USAGE};
    if (make_tls(&t, &err) < 0) {
        snprintf(out_end->text, sizeof out_end->text, "%s", err.text);
        return;
    }
    if (find_addresses(&t) && reach(&t)) {
        if (send_proxy(&t) && (t.conf->tls != BACKEND_TLS_IMPLICIT || shake_hands(&t)))
            log_in(&t);
        conn_close(&t.conn);
    }
    tls_set_free(&t.tls);
}
