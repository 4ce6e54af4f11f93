/* The messages of control/admission.h, the replays of a restart, and the lines in which sessions
 * wait. What is answered is answers.c's. */
#include "control/admission.h"

#include "control/answers.h"
#include "directory/username.h"

#include <errno.h>
#include <stdlib.h>

static void ask_facts(void *arg, uint32_t question, struct slice user, bool is_fresh)
{
    const struct admission *a = arg;

    a->effects->ask_facts(a->arg, question, user, is_fresh);
}

int admission_new(const struct admission_params *params, struct admission **out_admission,
                  struct err *err)
{
    struct admission *a = calloc(1, sizeof *a);

    if (!a)
        return err_set(err, ENOMEM, "no memory");
    a->conf = params->conf;
    a->backends = params->backends;
    a->effects = params->effects;
    a->arg = params->arg;
    a->epoch = params->epoch;
    a->route = (struct route){.backends = a->backends,
                              .registry = &a->registry,
                              .user_expire_s = (a->conf->global.user_expire + 999) / 1000};
    a->limits = (struct limits){.conf = &a->conf->global, .registry = &a->registry};
    guard_init(&a->guard, a->conf, &a->registry);
    list_init(&a->replay_line);
    list_init(&a->hold_line);
    list_init(&a->address_line);
    facts_wait_init(&a->facts, a->conf->global.directory_timeout, ask_facts, a);
    if (registry_init(&a->registry, &a->conf->global, err) < 0) {
        admission_free(&a);
        return -1;
    }
    a->registry.backends = a->backends;
    a->entrance.descriptors = params->descriptors;
    a->entrance.ports = params->ports;
    if (entrance_init(&a->entrance, a->conf) < 0) {
        admission_free(&a);
        return err_set(err, ENOMEM, "no memory for the pools");
    }
    wellness_init(a, params->now_ms);
    *out_admission = a;
    return 0;
}

void admission_free(struct admission **a)
{
    if (!*a)
        return;
    facts_wait_done(&(*a)->facts);
    entrance_done(&(*a)->entrance);
    registry_done(&(*a)->registry);
    free(*a);
    *a = NULL;
}

void admission_share(struct admission *a, enum shared_id which, struct shared *shared)
{
    switch (which) {
    case SHARED_AFFINITY:
        a->route.shared = shared;
        break;
    case SHARED_PENALTIES:
        a->guard.penalty.scores = shared;
        break;
    case SHARED_KNOWN:
        a->guard.penalty.known = shared;
        break;
    case SHARED_COUNT:
        break;
    }
}

struct registry *admission_registry(struct admission *a)
{
    return &a->registry;
}

const struct route *admission_route(const struct admission *a)
{
    return &a->route;
}

const struct penalty *admission_penalty(const struct admission *a)
{
    return &a->guard.penalty;
}

void admission_count(const struct admission *a, struct admission_counts *out_counts)
{
    *out_counts = (struct admission_counts){.held = a->held_n,
                                            .delayed = a->guard.waiting_n,
                                            .queued = a->entrance.waiting_n,
                                            .epoch = a->epoch,
                                            .is_recovered = a->is_recovered};
}

size_t admission_sessions(const struct admission *a)
{
    return a->registry.sessions_n;
}

size_t admission_users(const struct admission *a)
{
    return a->registry.users_n;
}

/* --- answers that had to wait ---------------------------------------------------------------- */

/* Answers the question for which the session waited, by its stage. */
static void answer_waiting(struct admission *a, struct session *s, uint64_t now_ms)
{
    uint8_t result = s->result;

    if (s->stage == STAGE_OPENING) {
        answer_open(a, s);
        return;
    }
    admission_leave(a, s);
    if (s->stage == STAGE_ASKING)
        answer_admit(a, s, false, now_ms);
    else
        answer_result(a, s, (enum result)result, FAULT_OURS, now_ms);
}

static void recover_if_complete(struct admission *a, uint64_t now_ms)
{
    if (a->is_recovered || a->replays > 0)
        return;
    a->is_recovered = true;
    a->effects->recovered(a->arg, a->registry.sessions_n - a->registry.opening_n,
                          a->registry.users_n);
    while (!list_empty(&a->replay_line))
        answer_waiting(a, CONTAINER(a->replay_line.next, struct session, waiting), now_ms);
}

/* --- messages ------------------------------------------------------------------------------ */

/* A session of this number, from `client`. NULL when memory is out. */
static struct session *add(struct admission *a, struct admission_worker *w, uint32_t id,
                           uint16_t pool, const struct addr *client)
{
    const struct in6_addr from = network_client(client);
    struct session *s = registry_add(&a->registry, w, id, pool);

    if (s && registry_come(&a->registry, s, &from) < 0) {
        registry_remove(&a->registry, s);
        return NULL;
    }
    return s;
}

const char *admission_open(struct admission *a, struct admission_worker *w, uint32_t id,
                           uint16_t door, const struct msg_open *m)
{
    static const struct refusal full = {REFUSE_MAX_SESSIONS, "max_sessions is reached"};
    struct session *s = registry_find(&a->registry, w, id);

    if (s && s->stage != STAGE_OPEN)
        return "OPEN: the session is open already";
    if (!s && a->registry.sessions_n >= a->conf->global.max_sessions) {
        answer_turn_away(a, w, id, &full);
        return NULL;
    }
    /* One that was replayed may be asked for again: its GO was lost with the old control. */
    if (!s)
        s = add(a, w, id, door, &m->client);
    if (!s) {
        a->effects->refuse(a->arg, w, id, REFUSE_UNAVAILABLE, "no memory", SLICE(""));
        return NULL;
    }
    registry_set_opening(&a->registry, s, true);
    if (a->is_recovered)
        answer_open(a, s);
    else
        list_append(&a->replay_line, &s->waiting);
    return NULL;
}

const char *admission_admit(struct admission *a, struct admission_worker *w, uint32_t id,
                            const struct msg_admit *m, struct slice user, uint64_t now_ms)
{
    struct session *s = registry_find(&a->registry, w, id);
    char name[IPC_USER_MAX];

    if (!s)
        return "ADMIT: unknown session";
    if (s->stage != STAGE_OPEN)
        return "ADMIT: the session is not waiting for a login";
    if (!user_is_name(user))
        return "ADMIT: not a user's name";
    if (!admission_come(a, s, &m->client))
        return NULL;
    if (!admission_username(a, user, name, &user)) {
        answer_refuse(a, s, REFUSE_UNAVAILABLE, "the name is none by the username_ settings");
        return NULL;
    }
    if (registry_name(&a->registry, s, user) < 0) {
        answer_refuse(a, s, REFUSE_UNAVAILABLE, "no memory");
        return NULL;
    }
    s->login->is_known = a->conf->directories_n == 0;
    s->stage = STAGE_ASKING;
    if (a->is_recovered)
        answer_admit(a, s, false, now_ms);
    else
        list_append(&a->replay_line, &s->waiting);
    return NULL;
}

/* Whether the worker waits for control's word on this result. */
static bool is_answered(const struct session *s, enum result result)
{
    return result == RESULT_OK || result == RESULT_FAILED ||
           (result == RESULT_REFUSED && s->login->is_trial);
}

const char *admission_result(struct admission *a, struct admission_worker *w, uint32_t id,
                             const struct msg_result *m, uint64_t now_ms)
{
    struct session *s = registry_find(&a->registry, w, id);

    if (!s)
        return "RESULT: unknown session";
    if (s->stage != STAGE_LEASED || s->result != RESULT_NONE)
        return "RESULT: the session has no open lease";
    if (s->lease.epoch != m->lease.epoch || s->lease.number != m->lease.number)
        return "RESULT: not the session's lease";
    if (m->result > RESULT_WITHDRAWN)
        return "RESULT: no such result";
    if (a->is_recovered || !is_answered(s, (enum result)m->result)) {
        answer_result(a, s, (enum result)m->result,
                      m->fault == FAULT_BACKEND ? FAULT_BACKEND : FAULT_OURS, now_ms);
        entrance_settle(a, now_ms);
    } else {
        s->result = (uint8_t)m->result;
        list_append(&a->replay_line, &s->waiting);
    }
    return NULL;
}

/* Whether a password was sent of which nobody has said that it is right. Of trials, the backends
 * before the present one have said that it is wrong. */
static bool has_guessed(const struct session *s)
{
    if (s->stage == STAGE_LEASED)
        return s->result == RESULT_NONE || s->result == RESULT_REFUSED;
    return s->login && s->login->is_trial;
}

void admission_end(struct admission *a, struct admission_worker *w, uint32_t id,
                   const struct msg_end *m, uint64_t now_ms)
{
    struct session *s = registry_find(&a->registry, w, id);

    if (!s)
        return;
    /* Who hangs up before the backend's answer is not spared: guesses would be free. But whose
     * password no backend has seen has guessed nothing, and waited for one that hangs; and who was
     * kicked did not hang up. */
    if (m->is_sent && !s->is_kicked && has_guessed(s))
        guard_blame(&a->guard, s, now_ms);
    admission_drop(a, s, now_ms);
    entrance_settle(a, now_ms);
}

/* --- replays ------------------------------------------------------------------------------- */

static const char *check_replay(const struct admission *a, const struct admission_worker *w,
                                uint32_t id, const struct msg_replay *m, struct slice user)
{
    if (w->is_replayed)
        return "REPLAY: after REPLAYED";
    if (m->stage > REPLAY_RELAY)
        return "REPLAY: no such stage";
    if (registry_find(&a->registry, w, id))
        return "REPLAY: the session is known already";
    if (m->stage != REPLAY_OPEN && user.n == 0)
        return "REPLAY: not a user's name";
    if (a->registry.sessions_n >= REPLAY_MAX)
        return "REPLAY: too many sessions";
    return NULL;
}

/* Whether the user has come to be on another backend while the session's worker had no channel. */
static bool has_come_elsewhere(const struct admission *a, const struct user *u, uint32_t backend)
{
    const struct session *first = user_first(u);

    return a->is_recovered && first && first->backend != backend;
}

/* It is where its user, who is being moved, will be. */
static bool may_stay(const struct admission *a, const struct session *s)
{
    const struct registry *r = &a->registry;

    return r->may_stay && r->may_stay(r->left_arg, s->user, s->backend);
}

/* How many backends the session has tried. A trial counts by the order of the hash: where the
 * configuration has another order than when it began, or none, all are to be asked anew. Of a pool
 * that tries none the order is not looked at, as it may have so many that this would take long. */
static uint8_t attempt_of(const struct admission *a, const struct session *s, uint32_t backend,
                          const struct msg_replay *m)
{
    bool is_trial = m->flags & LEASE_IS_TRIAL;
    unsigned most = is_trial ? CONF_TRIED_MAX : ATTEMPTS_MAX;
    unsigned attempt = m->attempt < 1 ? 1 : m->attempt > most ? most : m->attempt;

    if (is_trial && (a->conf->pools[s->pool].place != PLACE_TRY ||
                     route_nth(&a->route, s->pool, user_name(s->user), attempt - 1) != backend))
        return 0;
    return (uint8_t)attempt;
}

/* The session's login, as far as it has come. What it tried before is not told, nor what
 * directories said. */
static void take_login(struct admission *a, struct session *s, const struct whereabouts *at,
                       const struct msg_replay *m, uint64_t now_ms)
{
    uint32_t backend = at->backend;
    bool is_late = has_come_elsewhere(a, s->user, backend);

    s->attempt = attempt_of(a, s, backend, m);
    s->login->is_trial = m->flags & LEASE_IS_TRIAL;
    s->login->verifies = m->flags & LEASE_VERIFY;
    s->login->is_known = a->conf->directories_n == 0;
    s->login->pool = at->door;
    /* Those before it may have refused the password, or not have been there to ask. */
    s->login->is_doubtful = s->login->is_trial && s->attempt > 1;
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
        s->login->tried[i] =
            backends_is_stranger(a->backends, backend) ? UINT16_MAX : (uint16_t)backend;
    s->lease = m->lease;
    registry_bind(&a->registry, s, backend, m->stage == REPLAY_RELAY ? STAGE_DONE : STAGE_LEASED);
    if (s->stage == STAGE_DONE) {
        registry_end_login(s);
        admission_note_login(a, s, now_ms);
    } else {
        guard_resume(&a->guard, s, now_ms);
    }
    /* Its worker's channel had broken meanwhile. */
    if ((s->user->is_moving && !may_stay(a, s)) || is_late)
        admission_kick(a, s, KICK_MOVED);
    else if (s->stage == STAGE_DONE && wellness_empties(a, backend))
        admission_kick(a, s, KICK_DOWN);
}

const char *admission_replay(struct admission *a, struct admission_worker *w, uint32_t id,
                             const struct whereabouts *at, const struct msg_replay *m,
                             struct slice user, uint64_t now_ms)
{
    char name[IPC_USER_MAX];
    const char *wrong;
    struct session *s;

    if (!user_is_name(user) || !admission_username(a, user, name, &user))
        user = SLICE("");
    wrong = check_replay(a, w, id, m, user);
    if (wrong)
        return wrong;
    s = add(a, w, id, m->stage == REPLAY_OPEN ? at->door : at->pool, &m->client);
    if (!s)
        return "REPLAY: no memory";
    if (m->stage == REPLAY_OPEN)
        return NULL;
    if (registry_name(&a->registry, s, user) < 0) {
        registry_remove(&a->registry, s);
        return "REPLAY: no memory";
    }
    take_login(a, s, at, m, now_ms);
    return NULL;
}

static void settle(struct admission *a, struct admission_worker *w, uint64_t now_ms)
{
    if (w->is_replayed)
        return;
    w->is_replayed = true;
    if (!w->is_awaited)
        return;
    INSIST(a->replays > 0);
    a->replays--;
    recover_if_complete(a, now_ms);
}

const char *admission_replayed(struct admission *a, struct admission_worker *w, uint64_t now_ms)
{
    if (w->is_replayed)
        return "REPLAYED: said before";
    settle(a, w, now_ms);
    return NULL;
}

/* --- workers ------------------------------------------------------------------------------- */

void admission_start(struct admission *a, size_t peers, uint64_t now_ms)
{
    a->peers = a->replays = peers;
    recover_if_complete(a, now_ms);
}

void admission_attach(struct admission *a, struct admission_worker *w)
{
    registry_attach(&a->registry, w);
    w->is_awaited = a->is_rejoining || a->attached < a->peers;
    a->attached += !a->is_rejoining;
    a->is_rejoining = false;
}

void admission_rejoined(struct admission *a, const struct admission_worker *w)
{
    if (!w->is_awaited || w->is_replayed)
        return;
    a->replays++;
    a->is_rejoining = true;
}

struct ending {
    struct admission *a;
    uint64_t now_ms;
};

static void end_each(struct map_node *node, void *arg)
{
    const struct ending *e = arg;

    admission_drop(e->a, CONTAINER(node, struct session, node), e->now_ms);
}

void admission_detach(struct admission *a, struct admission_worker *w, uint64_t now_ms)
{
    struct ending e = {a, now_ms};

    a->registry.losing_ms = now_ms;
    map_each(&w->sessions, end_each, &e);
    a->registry.losing_ms = 0;
    registry_detach(&a->registry, w);
    settle(a, w, now_ms);
    entrance_settle(a, now_ms);
}

/* --- time and news ------------------------------------------------------------------------- */

void admission_addresses(struct admission *a, uint32_t backend, uint64_t now_ms)
{
    /* By an operator's order, given while they waited: as if it had none. */
    if (backends_is_down(a->backends, backend))
        return;
    list_for_each_safe (it, &a->address_line) {
        struct session *s = CONTAINER(it, struct session, waiting);

        if (s->backend == backend) {
            admission_leave(a, s);
            if (answer_must_wait(a, s))
                answer_wait_again(a, s, now_ms);
            else
                answer_lease(a, s);
        }
    }
    entrance_settle(a, now_ms);
}

void admission_probed(struct admission *a, uint32_t backend, bool is_ok, struct slice detail,
                      uint64_t now_ms)
{
    wellness_probed(a, backend, is_ok, detail, now_ms);
    entrance_settle(a, now_ms);
}

struct facts_wait *admission_facts(struct admission *a)
{
    return &a->facts;
}

void admission_answered(struct admission *a, uint32_t question, const struct facts_answer *answer,
                        uint64_t now_ms)
{
    facts_wait_answer(&a->facts, question, answer, now_ms);
}

void admission_flush_facts(struct admission *a, struct slice user)
{
    a->effects->flush_facts(a->arg, user);
}

bool admission_username(const struct admission *a, struct slice name, char out[IPC_USER_MAX],
                        struct slice *out_name)
{
    return username_normalize(&a->conf->global, name, out, out_name);
}

static uint64_t first_until(const struct list *line)
{
    return list_empty(line) ? 0 : CONTAINER(line->next, struct session, waiting)->until_ms;
}

/* 0: never. */
static uint64_t earlier(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

uint64_t admission_due_ms(const struct admission *a)
{
    uint64_t due_ms = earlier(first_until(&a->hold_line), first_until(&a->address_line));

    due_ms = earlier(due_ms, guard_due_ms(&a->guard));
    due_ms = earlier(due_ms, facts_wait_due_ms(&a->facts));
    due_ms = earlier(due_ms, entrance_due_ms(a));
    return earlier(due_ms, wellness_due_ms(a));
}

/* The first of the line, taken out, if its time is over. */
static struct session *take_late(struct admission *a, struct list *line, uint64_t now_ms)
{
    struct session *s;

    if (list_empty(line) || first_until(line) > now_ms)
        return NULL;
    s = CONTAINER(line->next, struct session, waiting);
    admission_leave(a, s);
    return s;
}

void admission_tick(struct admission *a, uint64_t now_ms)
{
    struct session *s;

    while ((s = take_late(a, &a->hold_line, now_ms)) != NULL)
        answer_refuse(a, s, REFUSE_INUSE, answer_held_words(s));
    while ((s = take_late(a, &a->address_line, now_ms)) != NULL)
        answer_failed(a, s, "has no known address", now_ms);
    while ((s = guard_take_late(&a->guard, now_ms)) != NULL)
        answer_admit(a, s, true, now_ms);
    facts_wait_tick(&a->facts, now_ms);
    wellness_tick(a, now_ms);
    entrance_tick(a, now_ms);
}

/* --- operators ----------------------------------------------------------------------------- */

static void serve_held(struct admission *a, struct slice user, uint64_t now_ms)
{
    list_for_each_safe (it, &a->hold_line) {
        struct session *s = CONTAINER(it, struct session, waiting);

        if (!slice_eq(user_name(s->user), user) || answer_must_wait(a, s))
            continue;
        admission_leave(a, s);
        answer_login(a, s, now_ms);
    }
}

void admission_release(struct admission *a, struct slice user, uint64_t now_ms)
{
    struct order *o = registry_order(&a->registry, user);

    if (!o || !o->is_held)
        return;
    o->is_held = false;
    serve_held(a, user, now_ms);
}

bool admission_kick(struct admission *a, struct session *s, enum kick why)
{
    if (s->is_kicked)
        return false;
    s->is_kicked = true;
    a->effects->kick(a->arg, s->worker, s->id, why);
    return true;
}

void admission_move_begin(struct admission *a, struct user *u, uint64_t now_ms)
{
    INSIST(a->is_recovered && !u->is_moving && u->kept > 0);
    u->is_moving = true;
    list_for_each_safe (it, &u->sessions) {
        struct session *s = CONTAINER(it, struct session, of_user);

        if (s->stage == STAGE_RESOLVING || s->stage == STAGE_QUEUED)
            answer_wait_again(a, s, now_ms);
    }
}

void admission_move_resume(struct admission *a, struct user *u)
{
    INSIST(a->attached == 0 && !a->is_recovered && !u->is_moving && u->kept > 0);
    u->is_moving = true;
}

void admission_move_end(struct admission *a, struct user *u, uint64_t now_ms)
{
    INSIST(u->is_moving);
    u->is_moving = false;
    serve_held(a, user_name(u), now_ms);
}
