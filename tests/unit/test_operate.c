/* What operators see: sessions, users, orders, counts, and where a user would be sent and why. */
#include "operate_world.h"

static const struct operate_filter everything = {.backend = BACKEND_NONE, .pool = -1};

/* Writes all that fit as "instance.id ", in order. */
static const char *keys_of(const struct operate_filter *filter)
{
    static char text[1024];
    struct operate_key *keys = NULL;
    size_t n, at = 0;

    works(operate_sessions(operate, filter, &keys, &n, &err));
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%u.%u ", keys[i].instance, keys[i].id);
    free(keys);
    return text;
}

static char saw[4096];

/* Written behind what was seen before. */
#define seen(...) snprintf(saw + strlen(saw), sizeof saw - strlen(saw), __VA_ARGS__)

static const char *title(uint32_t number_of)
{
    return number_of == BACKEND_NONE ? "-" : backends_title(&backends, number_of);
}

static int see_user(void *arg, const struct operate_user *u)
{
    int *left = arg;

    seen("%.*s %s on %s placed %s pin %s sessions %u%s%s\n", SLICE_ARG(u->name),
         conf->pools[u->pool].title, title(u->backend), title(u->placed), title(u->pin),
         u->sessions, u->is_held ? " held" : "", u->is_moving ? " moving" : "");
    return left && --*left == 0 ? -1 : 0;
}

static const char *users_of(const struct operate_filter *filter)
{
    saw[0] = '\0';
    assert_int_equal(operate_users(operate, filter, see_user, NULL), 0);
    return saw;
}

/* --- sessions ------------------------------------------------------------------------------ */

static void test_sessions_are_named_in_order_and_by_what_fits(void **state)
{
    struct operate_filter f = everything;
    struct addr a;
    struct in6_addr from;

    (void)state;
    assert_string_equal(keys_of(&everything), "");
    placement("own", "ann", "o1");
    placement("own", "bob", "o2");
    client = "192.0.2.9";
    log_in(1, 7, OWN, "ann");
    a = client_address();
    from = network_client(&a);
    client = NULL;
    log_in(0, 9, OWN, "bob");
    log_in(0, 3, TINY, "ann");
    open_quietly(0, 4, SHARED);
    assert_string_equal(keys_of(&everything), "20.3 20.4 20.9 21.7 ");
    f.user = SLICE("ann");
    assert_string_equal(keys_of(&f), "20.3 21.7 ");
    f.pool = TINY;
    assert_string_equal(keys_of(&f), "20.3 ");
    f = everything;
    f.backend = backend("o2");
    assert_string_equal(keys_of(&f), "20.9 ");
    f = everything;
    f.client = &from;
    assert_string_equal(keys_of(&f), "21.7 ");
    f.user = SLICE("bob");
    assert_string_equal(keys_of(&f), "");
}

static void test_a_session_is_told_in_each_stage(void **state)
{
    const struct operate_key key = {FIRST_INSTANCE, 1};
    struct operate_session s;

    (void)state;
    assert_false(operate_session(operate, key, &s));
    open_quietly(0, 1, NAMED);
    assert_true(operate_session(operate, key, &s));
    assert_string_equal(operate_stage_name(s.stage), "open");
    assert_int_equal(s.user.n, 0);
    assert_int_equal(s.backend, BACKEND_NONE);
    assert_int_equal(s.pool, NAMED);
    works(operate_hold(operate, SLICE("ann"), true, now_ms, &err));
    must(try_admit(0, 1, "ann"));
    assert_true(operate_session(operate, key, &s));
    assert_string_equal(operate_stage_name(s.stage), "held");
    assert_true(slice_eq(s.user, SLICE("ann")));
    works(operate_hold(operate, SLICE("ann"), false, now_ms, &err));
    assert_true(operate_session(operate, key, &s));
    assert_string_equal(operate_stage_name(s.stage), "resolving");
    addr_parse_ip(SLICE("192.0.2.31"), 1, &backends.all[s.backend].addresses[0]);
    backends.all[s.backend].addresses_n = 1;
    admission_addresses(admission, s.backend, now_ms);
    assert_true(operate_session(operate, key, &s));
    assert_string_equal(operate_stage_name(s.stage), "leased");
    result(0, 1, RESULT_OK);
    assert_true(operate_session(operate, key, &s));
    assert_string_equal(operate_stage_name(s.stage), "logged in");
    end(0, 1);
    assert_false(operate_session(operate, key, &s));
    hush();
}

static void test_the_status_counts_what_is_there(void **state)
{
    struct operate_status s;

    (void)state;
    placement("own", "idle", "o1");
    works(operate_hold(operate, SLICE("bob"), true, now_ms, &err));
    log_in(0, 1, SHARED, "ann");
    log_in(1, 1, SHARED, "ann");
    admit(0, 2, SHARED, "bob");
    admit(0, 3, NAMED, "cid");
    hush();
    s = status();
    assert_int_equal(s.sessions, 4);
    assert_int_equal(s.users, 3);
    assert_int_equal(s.known_users, 4);
    assert_int_equal(s.logins, 1);
    assert_int_equal(s.held, 1);
    assert_int_equal(s.delayed, 0);
    assert_int_equal(s.workers, 2);
    assert_int_equal(s.epoch, LAST_EPOCH);
    assert_true(s.is_recovered);
    assert_int_equal(s.moves + s.kicks, 0);
}

static void test_sessions_and_users_are_counted_by_backend(void **state)
{
    struct operate_counts counts[64];

    (void)state;
    placement("own", "ann", "o1");
    placement("own", "bob", "o1");
    log_in(0, 1, OWN, "ann");
    log_in(1, 1, OWN, "ann");
    log_in(0, 2, OWN, "bob");
    log_in(0, 3, TINY, "ann");
    open_quietly(0, 4, TINY);
    operate_count(operate, counts);
    assert_int_equal(counts[backend("o1")].sessions, 3);
    assert_int_equal(counts[backend("o1")].users, 2);
    assert_int_equal(counts[backend("t1")].sessions, 1);
    assert_int_equal(counts[backend("t1")].users, 1);
    assert_int_equal(counts[backend("o2")].sessions + counts[backend("o2")].users, 0);
}

/* One login at a time may be under way to each backend of the pool. */
static void let_one_in(uint16_t pool)
{
    struct conf_pool *p = &conf->pools[pool];

    for (size_t i = 0; i < p->backends_n; i++)
        p->backends[i].max_connecting = 1;
}

static void test_who_waits_for_room_is_not_counted_there(void **state)
{
    const struct operate_key first = {FIRST_INSTANCE, 2};
    struct operate_counts counts[64];
    struct operate_session s;

    (void)state;
    placement("own", "ann", "o1");
    placement("own", "bob", "o1");
    let_one_in(OWN);
    admit(0, 1, OWN, "ann");
    admit(0, 2, OWN, "bob");
    admit(0, 3, OWN, "bob");
    hush();
    assert_true(operate_session(operate, first, &s));
    assert_string_equal(operate_stage_name(s.stage), "queued");
    assert_int_equal(s.backend, backend("o1"));
    assert_int_equal(status().queued, 2);
    operate_count(operate, counts);
    assert_int_equal(counts[backend("o1")].sessions, 1);
    assert_int_equal(counts[backend("o1")].users, 1);
    result(0, 1, RESULT_OK);
    /* One of bob's is on its way, and stands behind the other. */
    assert_int_equal(status().queued, 1);
    operate_count(operate, counts);
    assert_int_equal(counts[backend("o1")].sessions, 2);
    assert_int_equal(counts[backend("o1")].users, 2);
    hush();
}

/* --- users and orders ---------------------------------------------------------------------- */

static void test_users_with_sessions_are_told_once_each(void **state)
{
    struct operate_filter f = everything;
    int left = 1;

    (void)state;
    placement("own", "idle", "o1");
    placement("own", "ann", "o1");
    log_in(0, 1, OWN, "ann");
    log_in(1, 2, OWN, "ann");
    assert_string_equal(users_of(&everything), "ann own on o1 placed o1 pin - sessions 2\n");
    works(operate_pin(operate, SLICE("bob"), backend("t1"), &err));
    works(operate_hold(operate, SLICE("bob"), true, now_ms, &err));
    admit(0, 3, TINY, "bob");
    f.user = SLICE("bob");
    assert_string_equal(users_of(&f), "bob tiny on - placed - pin t1 sessions 1 held\n");
    f = everything;
    f.backend = backend("o1");
    assert_string_equal(users_of(&f), "ann own on o1 placed o1 pin - sessions 2\n");
    f = everything;
    f.pool = SHARED;
    assert_string_equal(users_of(&f), "");
    works(move("ann", "o2"));
    f.pool = OWN;
    assert_string_equal(users_of(&f), "ann own on o1 placed o1 pin - sessions 2 moving\n");
    /* Whoever has seen enough says so. */
    assert_int_equal(operate_users(operate, &everything, see_user, &left), -1);
    hush();
}

static void test_pins_and_holds_are_told(void **state)
{
    int left = 1;

    (void)state;
    works(operate_pin(operate, SLICE("ann"), backend("s1"), &err));
    saw[0] = '\0';
    assert_int_equal(operate_orders(operate, see_user, NULL), 0);
    assert_string_equal(saw, "ann shared on s1 placed - pin s1 sessions 0\n");
    works(operate_pin(operate, SLICE("ann"), BACKEND_NONE, &err));
    works(operate_hold(operate, SLICE("bob"), true, now_ms, &err));
    pin("cid", "old");
    saw[0] = '\0';
    assert_int_equal(operate_orders(operate, see_user, NULL), 0);
    assert_non_null(strstr(saw, "bob own on - placed - pin - sessions 0 held\n"));
    assert_non_null(strstr(saw, "cid own on old placed - pin old sessions 0\n"));
    assert_null(strstr(saw, "ann"));
    assert_int_equal(operate_orders(operate, see_user, &left), -1);
}

static int see_move(void *arg, const struct operate_move *m)
{
    int *left = arg;

    seen("%.*s from %s to %s sessions %u%s\n", SLICE_ARG(m->user), title(m->from), title(m->to),
         m->sessions, m->since_ms ? "" : " waits");
    return left && --*left == 0 ? -1 : 0;
}

static void test_moves_under_way_and_waiting_are_told(void **state)
{
    int left = 1;
    size_t n;

    (void)state;
    placement("own", "ann", "o1");
    placement("own", "bob", "o1");
    log_in(0, 1, OWN, "ann");
    log_in(0, 2, OWN, "bob");
    works(move("ann", "o2"));
    hush();
    works(operate_move_all(operate, backend("o1"), backend("o3"), 1, now_ms, &n, &err));
    saw[0] = '\0';
    assert_int_equal(operate_moves(operate, see_move, NULL), 0);
    assert_non_null(strstr(saw, "ann from o1 to o2 sessions 1\n"));
    assert_non_null(strstr(saw, "bob from o1 to o3 sessions 1"));
    assert_int_equal(operate_moves(operate, see_move, &left), -1);
    hush();
}

/* --- the way of a user --------------------------------------------------------------------- */

static void assert_way(uint16_t pool, const char *user, const char *chosen, const char *why)
{
    const struct operate_route r = route_of(pool, user);

    assert_string_equal(title(r.chosen), chosen);
    if (!strstr(r.why, why))
        fail_msg("no \"%s\" in \"%s\"", why, r.why);
}

/* Each is said before it is done, and then done. */
static void test_the_way_that_is_explained_is_the_way_that_is_taken(void **state)
{
    const char *home = title(route_of(SHARED, "ann").chosen);
    char why[128];

    (void)state;
    snprintf(why, sizeof why, "%s is the hash's first", home);
    assert_way(SHARED, "ann", home, why);
    assert_string_equal(log_in(0, 1, SHARED, "ann"), home);
    snprintf(why, sizeof why, "the user has sessions on %s", home);
    assert_way(SHARED, "ann", home, why);
    assert_string_equal(log_in(0, 2, SHARED, "ann"), home);
    end(0, 1);
    end(0, 2);
    snprintf(why, sizeof why, "the user was on %s lately", home);
    assert_way(SHARED, "ann", home, why);
    works(operate_backend(operate, backend(home), BACKEND_DRAIN, &err));
    assert_int_equal(route_of(SHARED, "ann").affinity, backend(home));
    assert_string_not_equal(title(route_of(SHARED, "ann").chosen), home);
    works(operate_pin(operate, SLICE("ann"), backend("s1"), &err));
    assert_way(SHARED, "ann", "s1", "the user is pinned to s1");
    assert_string_equal(log_in(0, 3, SHARED, "ann"), "s1");
    works(operate_pin(operate, SLICE("ann"), backend("s2"), &err));
    assert_way(SHARED, "ann", "-", "the user is pinned to s2 but has sessions on s1");
    placement("own", "bob", "o3");
    assert_way(OWN, "bob", "o3", "the user is placed on o3");
    works(operate_backend(operate, backend("o3"), BACKEND_DOWN, &err));
    assert_way(OWN, "bob", "-", "backend o3 is down by an operator's order");
    placement("own", "cid", "old");
    assert_way(OWN, "cid", "-", "not in the configuration");
    assert_way(NAMED, "ann", title(route_of(NAMED, "ann").chosen), "hash");
}

/* --- directories --------------------------------------------------------------------------- */

static unsigned answers;

static void on_answer(struct facts_wait *f, struct asker *asker, const struct facts_answer *answer,
                      uint64_t at_ms)
{
    (void)f;
    (void)asker;
    (void)at_ms;
    assert_int_equal(answer->status, FACTS_FOUND);
    answers++;
}

static void test_operators_ask_as_logins_do_or_anew(void **state)
{
    static const struct facts_answer found = {.status = FACTS_FOUND};
    struct asker one, other, fresh;

    (void)state;
    asker_init(&one);
    asker_init(&other);
    asker_init(&fresh);
    one.on_answer = other.on_answer = fresh.on_answer = on_answer;
    answers = 0;
    works(operate_ask(operate, &one, SLICE("ann"), false, now_ms));
    assert_told("ask ann\n");
    works(operate_ask(operate, &other, SLICE("ann"), false, now_ms));
    assert_told("");
    works(operate_ask(operate, &fresh, SLICE("ann"), true, now_ms));
    assert_told("ask ann fresh\n");
    admission_answered(admission, last_question, &found, now_ms);
    assert_int_equal(answers, 1);
    asker_leave(&other);
    admission_answered(admission, last_question - 1, &found, now_ms);
    assert_int_equal(answers, 2);
}

static void test_what_directories_have_said_is_flushed(void **state)
{
    (void)state;
    operate_flush_facts(operate, SLICE("ann"));
    operate_flush_facts(operate, SLICE(""));
    assert_told("flush ann\nflush \n");
}

static void test_a_directory_counts_as_it_does_for_a_login(void **state)
{
    struct operate_route r;

    (void)state;
    placement("own", "ann", "o1");
    works(operate_route(operate, OWN, SLICE("ann"), backend("o2"), now_ms, &r, &err));
    free(r.hash);
    assert_string_equal(title(r.chosen), "o2");
    assert_non_null(strstr(r.why, "by a directory to o2"));
    fall("o2");
    hush();
    works(operate_route(operate, OWN, SLICE("ann"), backend("o2"), now_ms, &r, &err));
    assert_int_equal(r.chosen, BACKEND_NONE);
    assert_non_null(strstr(r.why, "backend o2 is down, as its probes"));
    for (size_t i = 0; i < r.hash_n; i++)
        if (r.hash[i].backend == backend("o2"))
            assert_false(r.hash[i].may_serve);
    free(r.hash);
}

static void test_to_explain_changes_nothing(void **state)
{
    (void)state;
    assert_true(route_of(SHARED, "nobody").chosen != BACKEND_NONE);
    assert_int_equal(status().known_users, 0);
    assert_told("");
}

static void test_hold_and_move_stand_in_the_way(void **state)
{
    const char *home = log_in(0, 1, SHARED, "ann");

    (void)state;
    assert_false(route_of(SHARED, "ann").is_held);
    works(operate_hold(operate, SLICE("ann"), true, now_ms, &err));
    assert_true(route_of(SHARED, "ann").is_held);
    works(move("ann", other(home, NULL)));
    assert_true(route_of(SHARED, "ann").is_moving);
    assert_false(route_of(OWN, "ann").is_moving);
    hush();
}

static void test_the_order_of_the_hash_is_told_with_who_may_serve(void **state)
{
    struct operate_route r;

    (void)state;
    works(operate_backend(operate, backend("s2"), BACKEND_DRAIN, &err));
    for (int i = 0; i < 50; i++) {
        char name[16];
        size_t first = 0;

        snprintf(name, sizeof name, "user%d", i);
        works(operate_route(operate, SHARED, slice_str(name), BACKEND_NONE, now_ms, &r, &err));
        assert_int_equal(r.hash_n, 4);
        for (size_t k = 0; k < r.hash_n; k++) {
            assert_true(k == 0 || r.hash[k].score <= r.hash[k - 1].score);
            assert_int_equal(r.hash[k].may_serve, r.hash[k].backend != backend("s2"));
        }
        while (!r.hash[first].may_serve)
            first++;
        assert_int_equal(r.chosen, r.hash[first].backend);
        free(r.hash);
    }
    works(operate_route(operate, OWN, SLICE("ann"), BACKEND_NONE, now_ms, &r, &err));
    assert_int_equal(r.hash[r.hash_n - 1].backend, backend("o3"));
    assert_false(r.hash[r.hash_n - 1].may_serve); /* of weight 0 */
    free(r.hash);
    fails(operate_route(operate, OWN, SLICE(""), BACKEND_NONE, now_ms, &r, &err),
          "not a user's name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPERATING(test_sessions_are_named_in_order_and_by_what_fits),
        OPERATING(test_a_session_is_told_in_each_stage),
        OPERATING(test_the_status_counts_what_is_there),
        OPERATING(test_sessions_and_users_are_counted_by_backend),
        OPERATING(test_who_waits_for_room_is_not_counted_there),
        OPERATING(test_operators_ask_as_logins_do_or_anew),
        OPERATING(test_what_directories_have_said_is_flushed),
        OPERATING(test_a_directory_counts_as_it_does_for_a_login),
        OPERATING(test_users_with_sessions_are_told_once_each),
        OPERATING(test_pins_and_holds_are_told),
        OPERATING(test_moves_under_way_and_waiting_are_told),
        OPERATING(test_the_way_that_is_explained_is_the_way_that_is_taken),
        OPERATING(test_to_explain_changes_nothing),
        OPERATING(test_hold_and_move_stand_in_the_way),
        OPERATING(test_the_order_of_the_hash_is_told_with_who_may_serve),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
