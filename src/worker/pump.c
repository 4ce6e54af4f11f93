/* A session in RELAY: both directions, what becomes of their ends, and the last word. Moving the
 * bytes is relay.c's. */
#include "worker/session.h"

#include "base/log.h"

/* What became of a direction. False: the session has been closed. */
static bool relay_judge(struct session *s, struct relay *r, enum relay_outcome outcome)
{
    bool is_up = r == &s->up;

    switch (outcome) {
    case RELAY_GOES_ON:
        return true;
    case RELAY_FROM_BROKEN:
        session_close_broken(s, is_up ? &s->client : &s->backend);
        return false;
    case RELAY_TO_BROKEN:
        if (!is_up) {
            session_close_broken(s, &s->client);
            return false;
        }
        /* A backend that closed may have said why: what it sent is read to its end, which comes
         * now. */
        relay_done(r);
        r->is_finished = true;
        return true;
    case RELAY_STOPPED:
        session_close(s, CLOSE_UNAUTHENTICATE, NULL);
        return false;
    case RELAY_NO_MEMORY:
        session_close(s, CLOSE_LIMIT, "out of memory");
        return false;
    }
    return true;
}

/* After login the stream is the backend's: a word of ours may only stand where one of its responses
 * has ended, and where it has not said goodbye by itself. */
static bool may_say_bye(const struct session *s)
{
    return !s->down.held && follow_at_boundary(&s->follow) && !follow_has_logout(&s->follow);
}

/* Whether one who is kicked need not go on. Who has said LOGOUT is about to end; and where no word
 * of ours may ever stand again, as under COMPRESS, there is nothing to wait for. */
static bool is_kick_due(const struct session *s)
{
    if (s->down.is_cut_short)
        return false; /* more answers are here */
    return may_say_bye(s) || (follow_is_opaque(&s->follow) && !follow_has_logout(&s->follow));
}

void session_pump(struct session *s, bool is_up, bool is_down)
{
    struct worker *w = s->worker;
    uint64_t in = s->up.bytes, out = s->down.bytes;
    enum relay_outcome up = RELAY_GOES_ON, down = RELAY_GOES_ON;

    if (is_up)
        up = relay_pump(&s->up, &s->client, &s->backend, w->scratch, &s->follow, NULL);
    if (is_down)
        down = relay_pump(&s->down, &s->backend, &s->client, w->scratch, NULL, &s->follow);
    s->active_ms = loop_now_ms(w->loop);
    counters_add(w->counters, METRIC_BYTES_IN, s->up.bytes - in);
    counters_add(w->counters, METRIC_BYTES_OUT, s->down.bytes - out);
    if (!relay_judge(s, &s->up, up) || !relay_judge(s, &s->down, down))
        return;
    if (s->down.is_finished) {
        session_close(s, s->up.has_eof ? CLOSE_CLIENT_CLOSED : CLOSE_BACKEND_CLOSED, NULL);
        return;
    }
    stream_want(w->loop, &s->client, relay_wants_from(&s->up) | relay_wants_to(&s->down));
    stream_want(w->loop, &s->backend, relay_wants_from(&s->down) | relay_wants_to(&s->up));
    if (s->is_kicked && is_kick_due(s)) {
        session_close(s, (enum close_reason)s->reason, NULL);
        return;
    }
    if (s->up.is_finished && !s->is_kicked)
        deadline_set(w->loop, &s->deadline, w->conf->global.half_close_timeout);
    if ((s->up.is_cut_short || s->down.is_cut_short) && !s->is_pumped_again) {
        s->is_pumped_again = true;
        worker_pump_again(w, s->id);
    }
}

void session_relay(struct session *s)
{
    /* Passwords passed here; from now on it is mail, and wiping costs. */
    stream_tls_cleanse(&s->client, false);
    stream_tls_cleanse(&s->backend, false);
    session_free_phase(s);
    session_enter(s, SESSION_RELAY);
    session_pump(s, true, true);
}

void session_on_relay_deadline(struct session *s)
{
    const struct conf_global *g = &s->worker->conf->global;
    uint64_t limit = s->up.is_finished ? g->half_close_timeout : g->idle_timeout;
    uint64_t idle = loop_now_ms(s->worker->loop) - s->active_ms;

    /* Traffic does not move the deadline, only the time that it looks at. */
    if (s->is_kicked)
        session_close(s, (enum close_reason)s->reason, NULL);
    else if (idle < limit)
        deadline_set(s->worker->loop, &s->deadline, limit - idle);
    else
        session_close(s, s->up.is_finished ? CLOSE_HALF_CLOSE_TIMEOUT : CLOSE_IDLE_TIMEOUT, NULL);
}

const char *session_bye(enum close_reason reason)
{
    return reason == CLOSE_STOPPING ? "* BYE [UNAVAILABLE] Shutting down; please come again\r\n"
           : reason == CLOSE_KICKED ? "* BYE " SESSION_KICKED "\r\n"
           : reason == CLOSE_MOVED  ? "* BYE " SESSION_MOVED "\r\n"
           : reason == CLOSE_BACKEND_DOWN ? "* BYE " SESSION_DOWN "\r\n"
           : reason == CLOSE_RETIRED      ? "* BYE " SESSION_RETIRED "\r\n"
           : reason == CLOSE_IDLE_TIMEOUT ? "* BYE Idle for too long\r\n"
           : reason == CLOSE_UNAUTHENTICATE
               ? "* BYE UNAUTHENTICATE is not served; please connect anew\r\n"
           : reason == CLOSE_BACKEND_RESET || reason == CLOSE_BACKEND_TLS
               ? "* BYE [UNAVAILABLE] The mail server is gone; please come again\r\n"
               : "";
}

void session_say_bye(struct session *s, enum close_reason reason)
{
    size_t n;

    if (may_say_bye(s))
        (void)stream_write(&s->client, slice_str(session_bye(reason)), &n);
}

/* What a client is told that is not logged in yet. */
static const char *bye_of_kick(enum close_reason reason)
{
    return reason == CLOSE_MOVED          ? SESSION_MOVED
           : reason == CLOSE_BACKEND_DOWN ? SESSION_DOWN
           : reason == CLOSE_RETIRED      ? SESSION_RETIRED
                                          : SESSION_KICKED;
}

static void kick_relay(struct session *s, enum close_reason reason)
{
    s->is_kicked = true;
    s->reason = (uint8_t)reason;
    deadline_set(s->worker->loop, &s->deadline, s->worker->conf->global.kick_grace);
    /* What the backend has answered already goes out before the end, if the client takes it. */
    session_pump(s, false, true);
}

bool session_kick(struct session *s, enum close_reason reason)
{
    if (s->state == SESSION_CLOSING || s->is_kicked)
        return false;
    if (s->state == SESSION_RELAY) {
        kick_relay(s, reason);
        return true;
    }
    if (s->phase->login)
        login_bye(s->phase->login, bye_of_kick(reason));
    session_close(s, reason, NULL);
    return true;
}

void session_on_kick(struct session *s, enum kick why)
{
    static const enum close_reason reasons[] = {
        [KICK_OPERATOR] = CLOSE_KICKED,
        [KICK_MOVED] = CLOSE_MOVED,
        [KICK_DOWN] = CLOSE_BACKEND_DOWN,
    };

    (void)session_kick(s, (size_t)why < sizeof reasons / sizeof *reasons ? reasons[why]
                                                                         : CLOSE_KICKED);
}
