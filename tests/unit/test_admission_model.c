/* Admission, and operators at it, against a model of its workers: long random runs with worker
 * deaths, new controls, other configurations while older workers go on, holds, pins, moves, kicks,
 * a state file that cannot be written, limits, failed logins and nonsense. After each step what
 * must never happen has not happened; at the end of each run every question has been answered, and
 * every move has ended. Seeded: a failure names its run. */
#include "admission_check.h"

#include "control/notes.h"
#include "control/succession.h"

/* --- what happens around ------------------------------------------------------------------- */

static void kill_worker(struct model_worker *w)
{
    size_t kept = 0;

    for (size_t i = 0; i < m.queue_n; i++) {
        if (m.queue[i].worker != w)
            m.queue[kept++] = m.queue[i];
    }
    m.queue_n = kept;
    memset(w->sessions, 0, sizeof w->sessions);
    w->is_alive = false;
    admission_detach(admission, &w->worker, m.now_ms);
    names_done(&w->names);
}

static void attach(struct model_worker *w)
{
    names_of_conf(&w->names, &backends, w->conf);
    w->worker.names = &w->names;
    admission_attach(admission, &w->worker);
}

/* By another channel, before it has replayed by the one that it had. */
static void come_again(struct model_worker *w)
{
    admission_rejoined(admission, &w->worker);
    admission_detach(admission, &w->worker, m.now_ms);
    names_done(&w->names);
    attach(w);
}

static void start_worker(struct model_worker *w)
{
    w->is_alive = true;
    w->has_replayed = true;
    w->worker.facts.is_retired = false;
    w->conf = conf;
    attach(w);
    if (draw(2)) /* some say so though there was nothing */
        must(admission_replayed(admission, &w->worker, m.now_ms));
}

static void stop_control(void)
{
    m.queue_n = 0;
    m.is_stopping = true;
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive) {
            admission_detach(admission, &m.workers[w].worker, m.now_ms);
            names_done(&m.workers[w].names);
        }
    }
    m.is_stopping = false;
    memset(m.is_queued, 0, sizeof m.is_queued);
    assert_int_equal(admission_sessions(admission), 0);
    assert_int_equal(admission_users(admission), 0);
    memset(m.questions, 0, sizeof m.questions);
    operate_free(&operate);
    admission_free(&admission);
    backends_done(&backends);
}

static void reach_disk(unsigned user)
{
    for (unsigned p = 0; p < POOLS; p++)
        m.is_on_disk[p][user] = m.is_on_disk[p][user] || m.is_queued[p][user];
}

static void set_addresses(uint32_t backend)
{
    assert_true(addr_parse_ip(SLICE("192.0.2.99"), 10143, &backends.all[backend].addresses[0]));
    backends.all[backend].addresses_n = 1;
    m.has_addresses[backend_at(backend)] = true;
}

/* What is kept of users, as the state file has it. */
static void load_user(struct load *load, unsigned u)
{
    struct err err;

    if (m.is_held[u])
        assert_int_equal(load_rows.hold(load, name_of(u), &err), 0);
    if (m.pins[u] != NOWHERE)
        assert_int_equal(load_rows.pin(load, name_of(u), slice_str(titles[m.pins[u]]), &err), 0);
    for (unsigned p = 0; p < POOLS; p++) {
        if (m.is_on_disk[p][u])
            assert_int_equal(load_rows.placement(load, slice_str(pool_titles[p]), name_of(u),
                                                 slice_str(titles[m.placed[p][u]]), &err),
                             0);
    }
}

/* What a control that is replaced on purpose leaves to the next; empty after a crash. */
static struct buf notes;

static struct succession succession(void)
{
    return (struct succession){.conf = conf,
                               .backends = &backends,
                               .admission = admission,
                               .moves = operate_machine(operate)};
}

static void leave_notes(void)
{
    const struct succession s = succession();
    struct succession_sum sum;

    buf_init(&notes, NOTES_MAX, false);
    succession_write(&s, m.now_ms, &notes, &sum);
    assert_int_equal(sum.lost, 0);
}

static void take_notes(void)
{
    const struct succession s = succession();
    struct succession_sum sum;

    if (buf_len(&notes) == 0)
        return;
    succession_take(&s, buf_slice(&notes), m.now_ms, &sum);
    m.handed += sum.moves + sum.waiting;
    buf_release(&notes);
}

static void start_control(void)
{
    struct admission_params params = {.conf = conf,
                                      .backends = &backends,
                                      .epoch = ++m.epoch,
                                      .effects = &effects,
                                      .now_ms = m.now_ms};
    struct load load;
    struct err err;
    size_t peers = 0;

    m.is_recovered = false;
    assert_int_equal(backends_init(&backends, conf, &err), 0);
    assert_int_equal(admission_new(&params, &admission, &err), 0);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        admission_share(admission, (enum shared_id)i, memories[i]);
    load = (struct load){admission_registry(admission), &backends};
    for (uint32_t b = 0; b < backends.n; b++) {
        backends.all[b].state = m.states[backend_at(b)];
        if (m.has_addresses[backend_at(b)])
            set_addresses(b);
    }
    for (unsigned u = 0; u < USERS; u++)
        load_user(&load, u);
    memset(m.sessions, 0, sizeof m.sessions);
    memset(m.connecting, 0, sizeof m.connecting);
    m.logins_n = 0;
    assert_int_equal(
        operate_new(
            &(struct operate_params){.conf = conf, .backends = &backends, .admission = admission},
            &operate, &err),
        0);
    for (int w = 0; w < WORKERS; w++)
        peers += m.workers[w].is_alive;
    for (int w = 0; w < WORKERS; w++)
        m.workers[w].has_replayed = false;
    take_notes();
    admission_start(admission, peers, m.now_ms);
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive)
            attach(&m.workers[w]);
    }
}

/* Another configuration, in order: what waits is written. Older workers accept nothing more. */
static void reload(void)
{
    for (unsigned u = 0; u < USERS; u++)
        reach_disk(u);
    if (draw(8)) /* or it has hung */
        leave_notes();
    stop_control();
    for (unsigned u = 0; u < USERS; u++) {
        for (unsigned p = 0; p < POOLS; p++) {
            /* What is not recorded the hash may say otherwise now. */
            if (!m.is_on_disk[p][u])
                m.placed[p][u] = NOWHERE;
        }
    }
    conf = confs[draw(CONFS)];
    for (int w = 0; w < WORKERS; w++)
        m.workers[w].worker.facts.is_retired = true;
    m.reloads++;
    start_control();
}

/* Control alone, in order: with the same configuration nothing that is under way is lost. */
static void hand_over(void)
{
    struct operate_status before, after;

    operate_status(operate, &before);
    for (unsigned u = 0; u < USERS; u++)
        reach_disk(u);
    leave_notes();
    stop_control();
    start_control();
    operate_status(operate, &after);
    assert_int_equal(before.moves, after.moves);
    assert_int_equal(before.kicks, after.kicks);
    assert_int_equal(before.given_up, after.given_up);
}

static uint64_t due_ms(void)
{
    uint64_t a = admission_due_ms(admission), o = operate_due_ms(operate);

    return a == 0 || (o != 0 && o < a) ? o : a;
}

static void pass_time(uint32_t ms)
{
    uint64_t end = m.now_ms + ms;
    unsigned at_one_time = 0;
    uint64_t due;

    while ((due = due_ms()) != 0 && due <= end) {
        at_one_time = due > m.now_ms ? 0 : at_one_time + 1;
        m.now_ms = due > m.now_ms ? due : m.now_ms;
        admission_tick(admission, m.now_ms);
        operate_tick(operate, m.now_ms);
        /* Moves may make room for others. */
        assert_true(at_one_time < 2 * WORKERS * SESSIONS);
    }
    m.now_ms = end;
}

/* --- the state file ------------------------------------------------------------------------ */

int __wrap_state_write(struct state *state, const struct state_change *changes, size_t n,
                       struct err *err);

/* The user may not have a session, or be about to have one, on any other backend of the pool. */
static void assert_nowhere_else(unsigned user, uint32_t number)
{
    unsigned backend = backend_at(number), pool = pool_at(backends.all[number].pool);

    for (int w = 0; w < WORKERS; w++) {
        for (int i = 0; i < SESSIONS; i++) {
            const struct model_session *s = &m.workers[w].sessions[i];

            if (s->stage == DONE && s->user == user && s->in == pool)
                assert_int_equal(s->where, backend);
        }
    }
    for (size_t i = 0; i < m.queue_n; i++) {
        const struct model_session *s = find(m.queue[i].worker, m.queue[i].id);

        if (m.queue[i].what == YES && s && s->user == user && s->in == pool)
            assert_int_equal(s->where, backend);
    }
}

static void write_one(const struct state_change *c)
{
    uint32_t backend = c->backend ? index_of(c->backend, titles, BACKENDS) : NOWHERE, pool;
    unsigned u = c->what == STATE_BACKEND ? 0 : user_of(c->user);
    enum backend_state word;

    switch (c->what) {
    case STATE_BACKEND:
        assert_true(backend_state_parse(slice_str(c->word), &word));
        m.states[backend] = word;
        return;
    case STATE_HOLD:
    case STATE_RELEASE:
        m.is_held[u] = c->what == STATE_HOLD;
        return;
    case STATE_PLACE:
        pool = pool_at(backends.all[number_of(backend)].pool);
        assert_string_equal(c->pool, pool_titles[pool]);
        m.placed[pool][u] = backend;
        m.is_on_disk[pool][u] = m.is_steered[u] = true;
        m.is_queued[pool][u] = false;
        break;
    case STATE_PIN:
    case STATE_UNPIN:
        m.pins[u] = backend;
        m.is_steered[u] = true;
        break;
    case STATE_WHAT_COUNT:
        fail();
    }
    if (!m.is_commanded) {
        assert_nowhere_else(u, number_of(backend));
        m.moved++;
    }
}

int __wrap_state_write(struct state *state, const struct state_change *changes, size_t n,
                       struct err *err)
{
    (void)state;
    if (!m.is_disk_sound && draw(8) == 0) {
        m.unwritten++;
        return err_set(err, 0, "the disk is full");
    }
    for (unsigned u = 0; u < USERS; u++)
        reach_disk(u);
    for (size_t i = 0; i < n; i++)
        write_one(&changes[i]);
    return 0;
}

/* --- operators ----------------------------------------------------------------------------- */

/* Own storage: only the states that refuse, since draining changes where the unrecorded go. */
static int set_a_state(struct err *err)
{
    uint32_t b = draw((uint32_t)backends.n);

    return operate_backend(operate, b,
                           draw(2)                        ? BACKEND_UP
                           : backend_at(b) < 2 || draw(2) ? BACKEND_DOWN
                                                          : BACKEND_DRAIN,
                           err);
}

static int command_about(struct slice user, uint32_t backend, struct err *err)
{
    switch (draw(4)) {
    case 0:
        return operate_pin(operate, user, draw(2) ? backend : BACKEND_NONE, err);
    case 1:
        return operate_place(operate, user, backend, err);
    case 2:
        return operate_hold(operate, user, false, m.now_ms, err);
    default:
        return draw(3) ? set_a_state(err) : operate_hold(operate, user, true, m.now_ms, err);
    }
}

/* What lasts is changed, or an error says why not. */
static void command(void)
{
    struct err err = {0};
    int result;

    m.is_commanded = true;
    result = command_about(name_of(draw(USERS)), some_backend(), &err);
    m.is_commanded = false;
    assert_true(result == 0 || strlen(err.text) > 0);
}

static void kick_somebody(void)
{
    const struct operate_filter all = {.backend = BACKEND_NONE, .pool = -1};
    struct operate_key *keys = NULL;
    struct err err;
    size_t n;

    switch (draw(3)) {
    case 0:
        operate_kick_user(operate, name_of(draw(USERS)));
        return;
    case 1:
        assert_int_equal(operate_sessions(operate, &all, &keys, &n, &err), 0);
        assert_int_equal(n, admission_sessions(admission));
        if (n > 0)
            assert_true(operate_kick_session(operate, keys[draw((uint32_t)n)]));
        free(keys);
        return;
    default:
        (void)!operate_kick_all(operate, some_backend(), 1 + draw(5), m.now_ms, &n, &err);
        return;
    }
}

static void move_somebody(void)
{
    uint32_t pool = pool_number(SHARED), from = some_backend();
    uint32_t to = draw(4) ? backends.first[pool] + draw((uint32_t)conf->pools[pool].backends_n)
                          : some_backend();
    struct err err = {0};
    int result;
    size_t n;

    if (draw(3))
        result = operate_move(operate, name_of(draw(USERS)), to, m.now_ms, &err);
    else
        result = operate_move_all(operate, from, to, 1 + draw(5), m.now_ms, &n, &err);
    assert_true(result == 0 || strlen(err.text) > 0);
    assert_true(result < 0 || m.is_recovered);
    m.moves += result == 0;
}

static void flush_something(void)
{
    if (draw(2))
        operate_flush_user(operate, name_of(draw(USERS)));
    else
        operate_flush_backend(operate, some_backend());
}

static void operate_somehow(void)
{
    switch (draw(8)) {
    case 0:
        kick_somebody();
        return;
    case 1:
    case 2:
        move_somebody();
        return;
    case 3:
        flush_something();
        return;
    default:
        command();
        return;
    }
}

static bool is_idle(const struct model_worker *w)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (w->sessions[i].stage != NONE)
            return false;
    }
    return true;
}

static void step(void)
{
    struct model_worker *w = &m.workers[draw(WORKERS)];
    uint32_t what = draw(400);

    if (w->is_alive && w->worker.facts.is_retired && is_idle(w)) {
        kill_worker(w); /* it has nothing more to do */
    } else if (what < 2) {
        if (draw(3) == 0) {
            reload();
            return;
        }
        if (draw(2)) {
            hand_over();
            return;
        }
        stop_control();
        start_control();
    } else if (what < 5 && w->is_alive) {
        kill_worker(w);
    } else if (what < 20 && !w->is_alive) {
        start_worker(w);
    } else if (what < 20 && !w->has_replayed) {
        (what < 7 ? come_again : replay)(w);
    } else if (what < 24) {
        operate_somehow();
    } else if (what < 25) {
        uint32_t b = draw((uint32_t)backends.n);

        set_addresses(b);
        admission_addresses(admission, b, m.now_ms);
    } else if (what < 27) {
        reach_disk(draw(USERS));
    } else if (what < 32) {
        pass_time(draw(10000));
    } else if (what < 36) {
        probe_something();
    } else if (what < 106) {
        answer_something();
    } else if (what < 190) {
        deliver_some(draw(4));
    } else if (what < 195 && w->is_alive) {
        talk_nonsense(w, &w->sessions[draw(SESSIONS)]);
    } else if (w->is_alive && w->has_replayed) {
        step_session(w, &w->sessions[draw(SESSIONS)]);
    }
}

/* --- runs ---------------------------------------------------------------------------------- */

/* And who was kicked has ended. */
static void give_verdicts(struct model_worker *w)
{
    for (int i = 0; w->is_alive && i < SESSIONS; i++) {
        if (w->sessions[i].stage == LEASED)
            say_result(w, &w->sessions[i], RESULT_REFUSED);
        else if (w->sessions[i].stage == DONE && w->sessions[i].is_kicked)
            end(w, &w->sessions[i]);
    }
}

/* All obstacles go, and time passes: nobody may be left without an answer. */
static void quiesce(void)
{
    struct operate_status status;

    m.is_disk_sound = true;
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive && !m.workers[w].has_replayed)
            replay(&m.workers[w]);
    }
    if (!m.is_recovered)
        fail_msg("not recovered though all have replayed");
    /* Who waits for what becomes of the logins in front is answered when these are over. */
    for (unsigned round = 0; round < 4 * WORKERS * SESSIONS; round++) {
        pass_time(120000);
        for (uint32_t b = 0; b < backends.n; b++)
            admission_probed(admission, b, true, SLICE(""), m.now_ms);
        memset(m.questions, 0, sizeof m.questions);
        deliver_some(SIZE_MAX);
        for (int w = 0; w < WORKERS; w++)
            give_verdicts(&m.workers[w]);
    }
    for (int w = 0; w < WORKERS; w++) {
        for (int i = 0; i < SESSIONS; i++) {
            enum model_stage stage = m.workers[w].sessions[i].stage;

            assert_true(stage == NONE || stage == OPEN || stage == DONE);
        }
    }
    operate_status(operate, &status);
    assert_int_equal(status.moves + status.kicks + status.held + status.delayed + status.logins, 0);
    check();
}

static void run_once(uint64_t run)
{
    memset(&m, 0, sizeof m);
    m.seed = (run + 1) * 0x9e3779b97f4a7c15U;
    m.now_ms = 1000000;
    m.next_id = 1;
    for (unsigned u = 0; u < USERS; u++)
        m.placed[OWN][u] = m.placed[SHARED][u] = m.placed[TRIED][u] = m.pins[u] = NOWHERE;
    conf = confs[0];
    for (uint32_t w = 0; w < WORKERS; w++)
        m.workers[w].worker.instance = w + 1;
    start_control();
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        check();
    }
    quiesce();
    for (int w = 0; w < WORKERS; w++) {
        if (m.workers[w].is_alive)
            kill_worker(&m.workers[w]);
    }
    stop_control();
}

static void test_random_runs_keep_every_promise(void **state)
{
    size_t logins = 0, refusals = 0, failures = 0, delayed = 0;
    size_t refused[REFUSE_OUTDATED + 1] = {0}, stranded = 0, reloads = 0, handed = 0, queued = 0,
                                     trials = 0, falls = 0, answers = 0;
    size_t kicks = 0, moves = 0, moved = 0, unwritten = 0;

    (void)state;
    for (uint64_t run = 0; run < RUNS; run++) {
        run_once(run);
        logins += m.logins;
        refusals += m.refusals;
        failures += m.failures;
        delayed += m.counted[METRIC_LOGINS_DELAYED];
        kicks += m.kicks;
        moves += m.moves;
        moved += m.moved;
        unwritten += m.unwritten;
        queued += m.counted[METRIC_LOGINS_QUEUED];
        trials += m.trials;
        falls += m.falls;
        answers += m.answers;
        stranded += m.stranded;
        reloads += m.reloads;
        handed += m.handed;
        for (size_t i = 0; i <= REFUSE_OUTDATED; i++)
            refused[i] += m.refused[i];
    }
    print_message("%zu queued, %zu trials, %zu falls of backends, %zu answers of directories\n",
                  queued, trials, falls, answers);
    assert_true(queued > RUNS && trials > RUNS && falls > RUNS && answers > RUNS);
    print_message("%zu logins, %zu refusals, %zu failed, %zu delayed\n", logins, refusals, failures,
                  delayed);
    print_message("%zu kicks, %zu moves begun, %zu times a user moved, %zu writes failed\n", kicks,
                  moves, moved, unwritten);
    assert_true(kicks > RUNS && moves > RUNS && moved > RUNS && unwritten > RUNS / 10);
    assert_true(logins > RUNS * 7 && refusals > RUNS * 10);
    assert_true(failures > RUNS * 5 && delayed > RUNS * 5);
    print_message("%zu other configurations, %zu users stranded, %zu moves and kicks handed over\n",
                  reloads, stranded, handed);
    assert_true(handed > RUNS / 2);
    assert_true(reloads > RUNS && stranded > RUNS / 20);
    for (size_t i = 0; i <= REFUSE_OUTDATED; i++) {
        print_message("refused %zu: %zu\n", i, refused[i]);
        assert_true(refused[i] > RUNS / 10);
    }
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LEVEL_INFO);
    for (unsigned i = 0; i < SHARED_COUNT; i++) {
        const char *lost;
        int fd = shared_create(&err);

        if (fd < 0 || shared_map(fd, &memories[i], &lost, &err) < 0)
            return -1;
        close(fd);
    }
    for (unsigned i = 0; i < CONFS; i++) {
        char text[4096];

        snprintf(text, sizeof text, "%s%s", globals, conf_texts[i]);
        if (conf_load_text(text, "test", &confs[i], &err) < 0)
            return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        shared_unmap(&memories[i]);
    for (unsigned i = 0; i < CONFS; i++)
        conf_free(&confs[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_runs_keep_every_promise, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
