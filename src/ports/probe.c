/* What speaks on a port: which questions are asked, in which order, and what follows from the
 * answers; see ports/probe.h. How one is asked is in probe_try.c.
 *
 * Who waits for a PROXY header is silent, like those who wait for a TLS hello or for HTTP, and like
 * those who greet late. So a greeting behind a header proves little by itself. What is believed:
 * servers that take the header drop whoever begins with anything else, so one that has dropped our
 * TLS hello and our HTTP request, and behind a header understands what it is asked, has waited for
 * that. Where this is not so, a longer look without a header decides. */
#include "ports/probe_parts.h"

#include <errno.h>
#include <stdlib.h>

/* All that the steps come to, and room for a fault of ours. */
enum { MAX_CONNECTIONS = 12 };

struct search {
    struct probe p;
    struct attempt tried; /* the last question */
    struct probe_report *report;
    bool is_connected;      /* was, at least once */
    bool is_over;           /* a connection was refused: nothing more is asked */
    bool is_out_of_time;    /* something was left unasked */
    bool dislikes_nonsense; /* has closed, or complained, where it was asked the wrong thing */
    bool is_late;           /* has greeted whom it did not greet in time */
    bool is_http;           /* speaks HTTP where it was asked for TLS */
    bool has_words; /* the report holds an answer to another question, for want of a better one */
    bool was_patient;
    uint32_t wait_ms;         /* within which it greets */
    struct question question; /* that found it */
};

/* Whether the answer is none to a header that is waited for: a complaint about it, or of one that
 * has a word for anything. */
static bool is_talkative(const struct search *s, const struct question *q)
{
    return q->proxy && ((s->tried.is_complaint && !q->is_http) ||
                        (s->tried.report.speaks == SPEAKS_UNKNOWN && s->has_words));
}

/* Asks; says whether it was answered with what was asked for. */
static bool ask(struct search *s, struct question q)
{
    s->tried.answer = ANSWER_NONE;
    s->tried.has_tls = false;
    if (s->is_over || s->p.conn.has_failed)
        return false;
    if (conn_left_ms(&s->p.conn) == 0) {
        s->is_out_of_time = true;
        return false;
    }
    INSIST(s->p.connections < MAX_CONNECTIONS);
    if (q.wait_ms == 0)
        q.wait_ms = s->wait_ms;
    attempt_run(&s->p, &q, &s->tried);
    s->is_over = s->tried.answer == ANSWER_NONE;
    s->is_connected |= s->tried.report.is_connected;
    s->question = q;
    return s->tried.answer == ANSWER_GREETING && !is_talkative(s, &q);
}

static void keep(struct search *s)
{
    *s->report = s->tried.report;
}

/* What is learnt from an answer to the wrong question. */
static void learn(struct search *s)
{
    const struct attempt *a = &s->tried;

    if (a->answer == ANSWER_GONE)
        s->dislikes_nonsense = true;
    if (a->answer != ANSWER_FOREIGN)
        return;
    if (a->report.speaks == SPEAKS_HTTP)
        s->is_http = true;
    else if (a->is_welcome)
        s->is_late = true;
    else if (a->is_complaint)
        s->dislikes_nonsense = true;
    /* An echo of our TLS hello is the least telling. */
    if (a->report.greeting[0] && (!s->has_words || s->report->speaks == SPEAKS_UNKNOWN)) {
        keep(s);
        s->has_words = true;
        if (!a->is_welcome)
            s->report->speaks = SPEAKS_UNKNOWN;
    }
}

/* Waits longer, without a header. */
static bool ask_patiently(struct search *s)
{
    uint32_t wait_ms = patience_ms(&s->p);

    if (s->was_patient)
        return false;
    s->was_patient = true;
    if (!ask(s, (struct question){.wait_ms = wait_ms}))
        return false;
    s->wait_ms = wait_ms;
    keep(s);
    return true;
}

static bool ask_plainly(struct search *s, unsigned proxy)
{
    if (!ask(s, (struct question){.proxy = proxy}))
        return false;
    keep(s);
    return true;
}

static bool ask_for_tls(struct search *s, unsigned proxy)
{
    const struct question q = {.proxy = proxy, .is_tls = true};

    if (ask(s, q)) {
        keep(s);
        return true;
    }
    if (!s->tried.has_tls) {
        if (!proxy || s->tried.answer == ANSWER_FOREIGN)
            learn(s);
        return false;
    }
    keep(s);
    s->report->speaks = SPEAKS_TLS;
    if (s->tried.answer != ANSWER_SILENCE)
        return true;
    if (ask(s, (struct question){.proxy = proxy, .is_tls = true, .is_http = true}))
        keep(s);
    else
        s->question = q;
    return true;
}

static bool ask_for_http(struct search *s, unsigned proxy)
{
    if (ask(s, (struct question){.proxy = proxy, .is_http = true})) {
        keep(s);
        return true;
    }
    if (!proxy)
        learn(s);
    return false;
}

/* ---- without a header ---- */

static bool find(struct search *s)
{
    bool tls_first = s->p.params->tls_first;

    if ((tls_first && ask_for_tls(s, 0)) || ask_plainly(s, 0))
        return true;
    if (s->report->trouble[0] == '\0' && !s->has_words)
        keep(s); /* why it was not answered */
    if (!tls_first && ask_for_tls(s, 0))
        return true;
    if (s->is_late && ask_patiently(s))
        return true;
    if (ask_for_http(s, 0))
        return true;
    return s->is_late && ask_patiently(s);
}

/* ---- behind a header ---- */

/* As without one; but where nothing ever made the peer close, it does not wait for a header and
 * TLS either, and HTTP is asked for only where it was heard. */
static bool find_behind(struct search *s, unsigned proxy)
{
    bool tls_first = s->p.params->tls_first;

    s->is_http = false;
    if ((tls_first && ask_for_tls(s, proxy)) || ask_plainly(s, proxy))
        return true;
    if (!tls_first && s->dislikes_nonsense && ask_for_tls(s, proxy))
        return true;
    return s->is_http && ask_for_http(s, proxy);
}

/* Whether the answer just had leaves no doubt that the header was waited for. */
static bool is_sure(const struct search *s)
{
    return s->dislikes_nonsense && !s->tried.is_refused && s->report->speaks != SPEAKS_UNKNOWN;
}

/* Whether the other version is taken as well. */
static bool is_taken_too(struct search *s, unsigned proxy)
{
    struct question q = s->question;

    q.proxy = proxy;
    if (ask(s, q))
        return !s->tried.is_refused && s->tried.report.speaks == s->report->speaks;
    return s->tried.has_tls && s->report->speaks == SPEAKS_TLS;
}

static bool find_proxied(struct search *s)
{
    struct question way;

    if (find_behind(s, PROBE_PROXY_V1))
        s->report->proxy = PROBE_PROXY_V1;
    else if (find_behind(s, PROBE_PROXY_V2))
        s->report->proxy = PROBE_PROXY_V2;
    else
        return false;
    way = s->question;
    if (!is_sure(s) && ask_patiently(s))
        return true;
    s->question = way;
    if (s->report->proxy == PROBE_PROXY_V1 && is_taken_too(s, PROBE_PROXY_V2))
        s->report->proxy |= PROBE_PROXY_V2;
    return true;
}

/* ---- all ---- */

static void ask_for_starttls(struct search *s)
{
    struct probe_report *to = s->report, *from = &s->tried.report;
    unsigned proxy = to->proxy & PROBE_PROXY_V1 ? PROBE_PROXY_V1 : to->proxy;
    const char *trouble;

    (void)ask(s, (struct question){.proxy = proxy, .wants_starttls = true});
    if (s->tried.answer == ANSWER_NONE && !s->is_over)
        return;
    trouble =
        s->tried.answer == ANSWER_SILENCE ? "no greeting on another connection" : from->trouble;
    if (from->tls_version[0]) {
        memcpy(to->caps_tls, from->caps_tls, sizeof to->caps_tls);
        memcpy(to->tls_version, from->tls_version, sizeof to->tls_version);
        memcpy(to->tls_cipher, from->tls_cipher, sizeof to->tls_cipher);
        memcpy(to->subject, from->subject, sizeof to->subject);
        memcpy(to->issuer, from->issuer, sizeof to->issuer);
        memcpy(to->untrusted, from->untrusted, sizeof to->untrusted);
        to->has_certificate = from->has_certificate;
        to->certificate = from->certificate;
    }
    if (to->server[0] == '\0')
        memcpy(to->server, from->server, sizeof to->server);
    if (trouble[0] && !to->trouble[0]) {
        text_set(to->trouble, sizeof to->trouble, SLICE("STARTTLS: "));
        text_add(to->trouble, sizeof to->trouble, slice_str(trouble));
    }
}

static void search(struct search *s)
{
    bool is_found = find(s) || find_proxied(s);

    /* What closes at once has nothing to say later either. */
    if (!is_found && !s->has_words && s->report->trouble[0] == '\0')
        is_found = ask_patiently(s);
    if (is_found && s->report->offers_starttls)
        ask_for_starttls(s);
    if (s->is_over && s->report->trouble[0] == '\0')
        memcpy(s->report->trouble, s->tried.report.trouble, sizeof s->report->trouble);
    if (s->is_out_of_time && s->report->trouble[0] == '\0')
        text_set(s->report->trouble, sizeof s->report->trouble,
                 SLICE("the time was over before everything was asked"));
}

int probe_run(const struct probe_params *params, struct probe_report *out_report, struct err *err)
{
    struct search *s = calloc(1, sizeof *s);
    bool has_failed;

    if (!s)
        return err_sys(err, ENOMEM, "a probe");
    s->p.params = params;
    s->p.loop = loop_new(err);
    if (!s->p.loop) {
        free(s);
        return -1;
    }
    memset(out_report, 0, sizeof *out_report);
    s->report = out_report;
    s->wait_ms = params->silence_ms;
    conn_init(&s->p.conn, s->p.loop, params->total_ms);
    search(s);
    out_report->is_connected = s->is_connected;
    out_report->connections = s->p.connections;
    has_failed = s->p.conn.has_failed;
    if (has_failed)
        *err = s->p.conn.failure;
    tls_context_free(&s->p.tls);
    loop_free(&s->p.loop);
    free(s);
    return has_failed ? -1 : 0;
}
