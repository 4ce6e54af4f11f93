/* The health of a backend in long random lives, against a slow model that keeps all that has
 * happened and finds the state by looking back. Seeded: a failure names its run. */
#include "backend/health.h"

#include "base/num.h"

#include "cm.h"

#include <string.h>

enum { HOUR = 3600 * 1000 };

static struct health h;
static uint64_t now_ms;

/* --- the model ----------------------------------------------------------------------------- */

enum { KEPT = 100000, RUNS = 60, STEPS = 20000 };

/* All of a life; what the state is, is found by looking back. */
static struct {
    struct health_params p;
    bool has_served;   /* before the latest event */
    bool probes[KEPT]; /* since it began to serve, or ceased to */
    size_t probes_n;
    struct {
        uint32_t user, address;
    } failures[KEPT]; /* since it began to serve, or the last good login */
    size_t failures_n;
    bool is_suspect; /* logins made it FAILING, and no probe has said anything since */
    struct {
        uint64_t from_ms, until_ms, rest_ms;
    } rests[KEPT]; /* until_ms 0: it has not served again */
    size_t rests_n;
    uint64_t up_ms, changed_ms;
    enum health_state state;
} model;

static size_t last_probes(bool is_ok)
{
    size_t n = 0;

    while (n < model.probes_n && model.probes[model.probes_n - 1 - n] == is_ok)
        n++;
    return n;
}

static bool are_parties_enough(void)
{
    size_t users = 0, addresses = 0;

    for (size_t i = 0; i < model.failures_n && (users < 3 || addresses < 3); i++) {
        bool is_new_user = true, is_new_address = true;

        for (size_t k = 0; k < i; k++) {
            is_new_user &= model.failures[k].user != model.failures[i].user;
            is_new_address &= model.failures[k].address != model.failures[i].address;
        }
        users += is_new_user;
        addresses += is_new_address;
    }
    return users >= 3 && addresses >= 3;
}

static bool is_resting(void)
{
    size_t n = model.rests_n;

    return n > 0 && model.rests[n - 1].until_ms == 0 &&
           now_ms < model.rests[n - 1].from_ms + model.rests[n - 1].rest_ms;
}

static void model_turn(bool serves)
{
    model.has_served = serves;
    model.probes_n = model.failures_n = 0;
    model.is_suspect = false;
    if (!serves)
        return;
    model.up_ms = now_ms;
    if (model.rests_n > 0 && model.rests[model.rests_n - 1].until_ms == 0)
        model.rests[model.rests_n - 1].until_ms = now_ms;
}

static void model_probe(bool is_ok)
{
    assert_true(model.probes_n < KEPT);
    model.probes[model.probes_n++] = is_ok;
    model.is_suspect &= !is_ok;
    if (model.has_served && last_probes(false) >= model.p.fall)
        model_turn(false);
    else if (!model.has_served && last_probes(true) >= model.p.rise && !is_resting())
        model_turn(true);
}

static void model_rest(void)
{
    uint64_t ms = 30000, from_ms = now_ms;

    for (size_t i = model.rests_n; i > 0 && from_ms - model.rests[i - 1].until_ms <= HOUR; i--) {
        ms = 2 * ms < 600000 ? 2 * ms : 600000;
        from_ms = model.rests[i - 1].from_ms;
    }
    assert_true(model.rests_n < KEPT);
    model.rests[model.rests_n].from_ms = now_ms;
    model.rests[model.rests_n].until_ms = 0;
    model.rests[model.rests_n++].rest_ms = ms;
}

static void model_login(bool is_ok, uint32_t user, uint32_t address)
{
    if (!model.has_served)
        return;
    if (is_ok) {
        model.failures_n = 0;
        return;
    }
    assert_true(model.failures_n < KEPT);
    model.failures[model.failures_n].user = user;
    model.failures[model.failures_n++].address = address;
    if (model.p.passive_fall && model.failures_n >= model.p.passive_fall && are_parties_enough()) {
        model_rest();
        model_turn(false);
    } else if (model.failures_n % 3 == 0) {
        model.is_suspect = true;
    }
}

static enum health_state model_state(void)
{
    if (model.has_served)
        return model.is_suspect || last_probes(false) > 0 ? HEALTH_FAILING : HEALTH_UP;
    return last_probes(true) > 0 ? HEALTH_RECOVERING : HEALTH_DOWN;
}

static uint32_t model_share(void)
{
    double passed = (double)(now_ms - model.up_ms);

    if (!model.has_served)
        return 8;
    if (model.up_ms == 0 || passed >= model.p.slow_start_ms)
        return 256;
    return (uint32_t)(8 + 248 * passed / model.p.slow_start_ms);
}

/* --- its driver ---------------------------------------------------------------------------- */

static uint64_t seed;
static unsigned run;

static uint32_t draw(uint32_t n)
{
    return (uint32_t)((num_mix(seed += 0x9e3779b97f4a7c15U) >> 32) % n);
}

static void begin_life(void)
{
    now_ms = 1 + (draw(2) ? 0 : draw(UINT32_MAX));
    memset(&model.p, 0, sizeof model.p);
    model.p = (struct health_params){.is_checked = true,
                                     .interval_ms = 100 + draw(20000),
                                     .fast_interval_ms = 100 + draw(3000),
                                     .rise = 1 + draw(4),
                                     .fall = 1 + draw(5),
                                     .passive_fall = draw(13),
                                     .slow_start_ms = draw(3) ? draw(60000) : 0};
    model.has_served = true;
    model.probes_n = model.failures_n = model.rests_n = 0;
    model.is_suspect = false;
    model.up_ms = 0;
    model.changed_ms = now_ms;
    model.state = HEALTH_UP;
    health_init(&h, &model.p, draw(UINT32_MAX), now_ms);
}

static void assert_due_within(uint64_t ms)
{
    if (h.due_ms < now_ms + ms - ms / 10 || h.due_ms > now_ms + ms + ms / 10)
        fail_msg("run %u: probed %ld ms from now", run, (long)(h.due_ms - now_ms));
}

/* Says whether the code says that there was a change. */
static bool do_probe(uint32_t good_of_8)
{
    bool is_ok = draw(8) < good_of_8, has_changed;

    health_probing(&h);
    if (draw(10) == 0) {
        health_unprobed(&h, &model.p, now_ms);
        assert_due_within(model.p.fast_interval_ms);
        return false;
    }
    model_probe(is_ok);
    has_changed = health_probed(&h, &model.p, is_ok, now_ms);
    assert_due_within(model_state() == HEALTH_UP ? model.p.interval_ms : model.p.fast_interval_ms);
    return has_changed;
}

static bool do_login(uint32_t good_of_64, uint32_t users, uint32_t addresses)
{
    bool is_ok = draw(64) < good_of_64, has_changed;
    uint32_t user = draw(users), address = draw(addresses);
    uint64_t due_ms = h.due_ms;

    model_login(is_ok, user, address);
    has_changed = health_login(&h, &model.p, is_ok, user, address, now_ms);
    assert_true(has_changed ? h.due_ms <= due_ms : h.due_ms == due_ms);
    assert_true((h.due_ms == 0) == (due_ms == 0));
    if (has_changed && h.due_ms > 0)
        assert_true(h.due_ms <= now_ms + model.p.fast_interval_ms * 11 / 10);
    return has_changed;
}

static void pass_time(void)
{
    static const uint32_t most_ms[] = {10, 10, 1000, 1000, 5000, 60000, 20 * 60000};

    now_ms += draw(most_ms[draw(sizeof most_ms / sizeof *most_ms)]);
    if (draw(200) == 0)
        now_ms += draw(2 * HOUR);
}

static void test_random_lives_are_as_a_naive_model_says(void **state)
{
    size_t downs = 0, rests = 0, longest = 0;

    (void)state;
    for (run = 1; run <= RUNS; run++) {
        uint32_t good_probes = 0, good_logins = 0, users = 0, addresses = 0, probes_of_8 = 0;

        seed = (uint64_t)run << 32;
        begin_life();
        for (unsigned step = 0; step < STEPS; step++) {
            bool has_changed;

            if (step % 200 == 0) { /* times of one kind */
                good_probes = draw(9);
                good_logins = draw(3) ? draw(65) : 0;
                users = 1 + draw(5);
                addresses = 1 + draw(5);
                probes_of_8 = draw(9);
            }
            pass_time();
            has_changed = draw(8) < probes_of_8 ? do_probe(good_probes)
                                                : do_login(good_logins, users, addresses);
            if (h.state != model_state() || has_changed != (h.state != model.state) ||
                health_share(&h, &model.p, now_ms) != model_share())
                fail_msg("run %u, step %u: %s, should be %s", run, step, health_name(h.state),
                         health_name(model_state()));
            if (has_changed)
                model.changed_ms = now_ms;
            assert_int_equal(h.since_ms, model.changed_ms);
            downs += has_changed && h.state == HEALTH_DOWN;
            model.state = h.state;
        }
        rests += model.rests_n;
        for (size_t i = 0; i < model.rests_n; i++)
            longest += model.rests[i].rest_ms == HEALTH_REST_MAX_MS;
    }
    assert_true(downs > 10000 && rests > 1000 && longest > 100); /* else it has shown nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lives_are_as_a_naive_model_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
