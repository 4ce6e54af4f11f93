/* The control process as a whole, in a process of its own: the test plays its parent, a worker and
 * lookup over real channels. */
#include "control_world.h"

static void test_a_login_from_accept_to_its_end(void **state)
{
    struct msg_result ok = {.result = RESULT_OK};
    struct msg_end ended = {0};
    const char *log;

    (void)state;
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    give_peer(&lookup, ROLE_LOOKUP);
    resolve();
    ok.lease = log_in_up_to_lease(1, "ann@example.org");
    send_msg(&worker, MSG_RESULT, 1, &ok, SLICE(""), -1);
    await(&worker, MSG_DONE);
    send_msg(&worker, MSG_END, 1, &ended, SLICE(""), -1);
    log = stop();
    assert_has(log, " resolved backend=mail1 name=mail1.test addresses=192.0.2.1:10143 ttl=60\n");
    assert_has(log, " placed user=ann@example.org pool=main backend=mail1\n");
    assert_null(strstr(log, "control_recovered"));
}

static int none(void *arg, struct slice a, struct slice b, struct err *e)
{
    (void)arg;
    (void)a;
    (void)b;
    (void)e;
    return 0;
}

static int count_placement(void *arg, struct slice pool, struct slice user, struct slice backend,
                           struct err *e)
{
    (void)e;
    *(unsigned *)arg += slice_eq(pool, SLICE("main")) && slice_eq(user, SLICE("ann")) &&
                        slice_eq(backend, SLICE("mail1"));
    return 0;
}

static int no_hold(void *arg, struct slice user, struct err *e)
{
    (void)arg;
    (void)user;
    (void)e;
    return 0;
}

static unsigned placements_of_ann(void)
{
    static const struct state_rows rows = {count_placement, none, no_hold, none};
    struct state *s;
    unsigned n = 0;

    assert_int_equal(state_open(dir, &s, &err), 0);
    assert_int_equal(state_load(s, &rows, &n, &err), 0);
    state_close(&s);
    return n;
}

static void test_a_killed_control_loses_no_session_and_no_placement(void **state)
{
    struct msg_replay relay = {.stage = REPLAY_RELAY, .attempt = 1};
    struct msg_open open = {.listener = 0};
    const char *log;

    (void)state;
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    kill(pid, SIGKILL);
    log_of_the_dead(SIGKILL);
    close(worker.fd);
    start(2, 1);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    send_msg(&worker, MSG_OPEN, 2, &open, SLICE(""), -1);
    send_msg(&worker, MSG_REPLAY, 1, &relay, SLICE("ann"), -1);
    send_msg(&worker, MSG_REPLAYED, 0, NULL, SLICE(""), -1);
    assert_int_equal(await(&worker, MSG_GO).id, 2);
    log = stop();
    assert_has(log, " control_recovered epoch=2 sessions=1 users=1\n");
    assert_int_equal(placements_of_ann(), 1);
}

/* Two channels for it have crossed each other: the first, in which it has said nothing, is not
 * taken for all that it knows. */
static void test_a_worker_that_comes_again_replays_before_anybody_is_admitted(void **state)
{
    struct msg_replay relay = {.stage = REPLAY_RELAY, .attempt = 1};
    struct msg_open open = {.listener = 0};
    struct end first;

    (void)state;
    start(2, 1);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    first = worker;
    give_peer(&worker, ROLE_WORKER);
    send_msg(&worker, MSG_OPEN, 2, &open, SLICE(""), -1);
    send_msg(&worker, MSG_REPLAY, 1, &relay, SLICE("ann"), -1);
    send_msg(&worker, MSG_REPLAYED, 0, NULL, SLICE(""), -1);
    assert_int_equal(await(&worker, MSG_GO).id, 2);
    assert_has(stop(), " control_recovered epoch=2 sessions=1 users=1\n");
    close(first.fd);
}

/* Nobody would ever be admitted. By coming again it gains no time. */
static void test_a_worker_that_does_not_replay_is_told_to_the_parent(void **state)
{
    struct pollfd pfd;
    struct end first;
    struct msg m = {0};
    time_t until;

    (void)state;
    start(2, 1);
    pfd = (struct pollfd){.fd = parent.fd, .events = POLLIN};
    give_peer(&worker, ROLE_WORKER);
    first = worker;
    assert_int_equal(poll(NULL, 0, 4000), 0);
    give_peer(&worker, ROLE_WORKER);
    until = time(NULL) + 10;
    while (m.type != MSG_STUCK) {
        assert_true(time(NULL) < until);
        if (!next_msg(&parent, &m))
            poll(&pfd, 1, 1000);
    }
    assert_int_equal(((const struct msg_stuck *)m.body)->instance, 9);
    stop();
    close(first.fd);
}

static void test_a_replaced_lookup_is_asked_again(void **state)
{
    struct msg_open open = {.listener = 0};
    struct msg_admit admit = {.mech = MECH_LOGIN};

    (void)state;
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    give_peer(&lookup, ROLE_LOOKUP);
    send_msg(&worker, MSG_OPEN, 1, &open, SLICE(""), -1);
    await(&worker, MSG_GO);
    send_msg(&worker, MSG_ADMIT, 1, &admit, SLICE("ann"), -1);
    await(&lookup, MSG_RESOLVE);
    close(lookup.fd);
    give_peer(&lookup, ROLE_LOOKUP);
    resolve();
    await(&worker, MSG_LEASE);
    stop();
}

static void test_a_login_that_waits_is_refused_when_its_time_is_over(void **state)
{
    struct msg_open open = {.listener = 0};
    struct msg_admit admit = {.mech = MECH_LOGIN};
    struct msg m;

    (void)state;
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    send_msg(&worker, MSG_OPEN, 1, &open, SLICE(""), -1);
    await(&worker, MSG_GO);
    send_msg(&worker, MSG_ADMIT, 1, &admit, SLICE("ann"), -1);
    m = await(&worker, MSG_REFUSE);
    assert_int_equal(((const struct msg_refuse *)m.body)->code, REFUSE_UNAVAILABLE);
    assert_true(slice_eq(m.tail, SLICE("backend mail1 has no known address")));
    stop();
}

/* A login that the backend refuses. */
static void fail_login(const char *client, uint32_t id, const char *user)
{
    struct msg_result no = {.result = RESULT_REFUSED};
    struct msg_end ended = {0};
    struct msg_lease lease;

    ask_from(client, id, user);
    memcpy(&lease, await(&worker, MSG_LEASE).body, sizeof lease);
    no.lease = lease.lease;
    send_msg(&worker, MSG_RESULT, id, &no, SLICE(""), -1);
    send_msg(&worker, MSG_END, id, &ended, SLICE(""), -1);
}

static uint64_t count_of(enum metric metric)
{
    const struct counters *blocks = counters_map(counters_fd, &err);

    assert_non_null(blocks);
    return counters_total(blocks, metric);
}

/* Its waits and refusals, over two controls: the second knows what the first has seen. */
static void test_failed_logins_are_told_counted_and_remembered(void **state)
{
    struct msg m;
    const char *log;

    (void)state;
    strcat(conf_text, "penalty_delay = 20ms\npenalty_refuse_address = 4\n");
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    give_peer(&lookup, ROLE_LOOKUP);
    resolve();
    fail_login("192.0.2.7", 1, "ann");
    fail_login("2001:db8::7", 2, "x\" address=192.0.2.9");
    fail_login("192.0.2.7", 3, "ann");
    fail_login("192.0.2.7", 4, "bob");
    fail_login("192.0.2.7", 5, "ann");
    log = stop();
    assert_has(log, " notice auth_failed address=192.0.2.7 user=ann failures=1 user_failures=1\n");
    assert_has(log, " auth_failed address=2001:db8::7 user=\"x\\\" address=192.0.2.9\" failures=1 "
                    "user_failures=1\n");
    assert_has(log, " auth_failed address=192.0.2.7 user=bob failures=3 user_failures=1\n");
    assert_has(log, " auth_failed address=192.0.2.7 user=ann failures=4 user_failures=3\n");
    assert_int_equal(count_of(METRIC_LOGINS_DELAYED), 1);
    assert_int_equal(count_of(METRIC_LOGINS_PENALIZED), 0);
    close(worker.fd);
    close(lookup.fd);

    start(2, 0);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    ask_from("192.0.2.7", 1, "cid");
    m = await(&worker, MSG_REFUSE);
    assert_int_equal(((const struct msg_refuse *)m.body)->code, REFUSE_PENALTY);
    log = stop();
    assert_has(log, " auth_failed address=192.0.2.7 user=cid failures=4 user_failures=0\n");
    assert_int_equal(count_of(METRIC_LOGINS_DELAYED), 2);
    assert_int_equal(count_of(METRIC_LOGINS_PENALIZED), 1);
}

static void test_what_a_limit_refuses_is_counted(void **state)
{
    struct msg_open open = {.client = address("192.0.2.7"), .listener = 0};
    struct msg m;

    (void)state;
    strcat(conf_text, "max_sessions_per_address = 1\n");
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    send_msg(&worker, MSG_OPEN, 1, &open, SLICE(""), -1);
    send_msg(&worker, MSG_OPEN, 2, &open, SLICE(""), -1);
    assert_int_equal(await(&worker, MSG_GO).id, 1);
    m = await(&worker, MSG_REFUSE);
    assert_int_equal(((const struct msg_refuse *)m.body)->code, REFUSE_MAX_ADDRESS);
    stop();
    assert_int_equal(count_of(METRIC_LIMITED), 1);
}

static struct msg_lease asks(uint32_t id)
{
    struct msg_open open = {.client = address("192.0.2.1"), .listener = 1};
    struct msg_admit admit = {.client = open.client, .mech = MECH_PLAIN};
    struct msg_lease lease;

    send_msg(&worker, MSG_OPEN, id, &open, SLICE(""), -1);
    assert_int_equal(await(&worker, MSG_GO).id, id);
    send_msg(&worker, MSG_ADMIT, id, &admit, SLICE("ann"), -1);
    memcpy(&lease, await(&worker, MSG_LEASE).body, sizeof lease);
    return lease;
}

/* Through the door, a kick, an end and what becomes of it: nobody else wakes control. */
static void test_what_comes_through_the_door_is_done(void **state)
{
    struct msg_result ok = {.result = RESULT_OK};
    struct msg_end ended = {0};
    struct msg_lease before, after;
    struct msg m;
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    door_fd = ends[1];
    strcat(conf_text, "listener two { address = \"127.0.0.1:0\" pool = two }\n"
                      "pool two { backend a { address = \"192.0.2.1:10143\" }\n"
                      "  backend b { address = \"192.0.2.2:10143\" } }\n");
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    before = asks(1);
    ok.lease = before.lease;
    send_msg(&worker, MSG_RESULT, 1, &ok, SLICE(""), -1);
    await(&worker, MSG_DONE);
    assert_int_equal(write(ends[0], "m", 1), 1);
    m = await(&worker, MSG_KICK);
    assert_int_equal(m.id, 1);
    assert_int_equal(((const struct msg_kick *)m.body)->why, KICK_MOVED);
    send_msg(&worker, MSG_END, 1, &ended, SLICE(""), -1);
    after = asks(2);
    assert_int_equal(after.backend, !before.backend);
    close(ends[0]);
    assert_has(stop(), " moved user=ann pool=two ");
}

/* --- generations ---------------------------------------------------------------------------- */

static const char two_pools[] =
    "listener two { address = \"127.0.0.1:0\" pool = two }\n"
    "pool two { check = tcp check_interval = 1s check_fast_interval = 1s\n"
    "  backend a { address = \"192.0.2.1:10143\" weight = 0 }\n"
    "  backend b { address = \"192.0.2.2:10143\" } }\n";

/* The same in another order. */
static const char two_pools_turned[] =
    "listener two { address = \"127.0.0.1:0\" pool = two }\n"
    "listener l { address = \"127.0.0.1:0\" pool = main }\n"
    "pool two { backend b { address = \"192.0.2.2:10143\" }\n"
    "  backend a { address = \"192.0.2.1:10143\" } }\n"
    "pool main { backend mail1 { address = \"mail1.test:10143\" } }\n";

static void test_a_worker_of_another_configuration_is_spoken_to_by_its_own_numbers(void **state)
{
    const struct msg_peer old = {.role = ROLE_WORKER, .instance = 9, .flags = PEER_RETIRED};
    const struct msg_open open = {.client = address("192.0.2.1"), .listener = 0};
    const struct msg_admit admit = {.client = open.client, .mech = MECH_PLAIN};
    const struct msg_replay relay = {
        .stage = REPLAY_RELAY, .attempt = 1, .pool = 0, .backend = 1, .listener = 0};
    struct msg_lease lease;

    (void)state;
    strcat(conf_text, two_pools);
    start(2, 1);
    await(&parent, MSG_READY);
    give_peer_of(&worker, &old, two_pools_turned);
    send_msg(&worker, MSG_REPLAY, 1, &relay, SLICE("ann"), -1);
    send_msg(&worker, MSG_REPLAYED, 0, NULL, SLICE(""), -1);
    send_msg(&worker, MSG_OPEN, 2, &open, SLICE(""), -1);
    await(&worker, MSG_GO);
    send_msg(&worker, MSG_ADMIT, 2, &admit, SLICE("bob"), -1);
    memcpy(&lease, await(&worker, MSG_LEASE).body, sizeof lease);
    assert_int_equal(lease.pool, 0);
    assert_int_equal(lease.backend, 0);
    assert_string_equal(addr_format(&lease.addresses[0], (char[ADDR_TEXT]){0}), "192.0.2.2:10143");
    assert_has(stop(), " placed user=ann pool=two backend=a\n");
}

static void test_probes_go_to_workers_that_are_not_retired(void **state)
{
    const struct msg_peer old = {.role = ROLE_WORKER, .instance = 8, .flags = PEER_RETIRED};
    const struct msg_probed ok = {.is_ok = 1};
    struct end retired;
    unsigned seen = 0;
    struct msg m;

    (void)state;
    strcat(conf_text, two_pools);
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer_of(&retired, &old, conf_text);
    give_peer_of(&worker, &(struct msg_peer){.role = ROLE_WORKER, .instance = 9}, two_pools_turned);
    while (seen != 3) {
        struct msg_probe probe;

        m = await(&worker, MSG_PROBE);
        memcpy(&probe, m.body, sizeof probe);
        assert_int_equal(probe.pool, 0);
        assert_string_equal(addr_format(&probe.addresses[0], (char[ADDR_TEXT]){0}),
                            probe.backend == 0 ? "192.0.2.2:10143" : "192.0.2.1:10143");
        seen |= 1U << probe.backend;
        send_msg(&worker, MSG_PROBED, m.id, &ok, SLICE(""), -1);
    }
    stop();
    while (next_msg(&retired, &m))
        assert_int_equal(m.type, MSG_HELLO);
    close(retired.fd);
}

static void test_a_worker_with_another_server_of_that_name_is_outdated(void **state)
{
    struct msg m;

    (void)state;
    start(1, 0);
    await(&parent, MSG_READY);
    give_peer_of(&worker, &(struct msg_peer){.role = ROLE_WORKER, .instance = 9},
                 "listener l { address = \"127.0.0.1:0\" }\n"
                 "pool main { backend mail1 { address = \"mail2.test:10143\" } }\n");
    ask_from("192.0.2.1", 1, "ann");
    m = await(&worker, MSG_REFUSE);
    assert_int_equal(((const struct msg_refuse *)m.body)->code, REFUSE_OUTDATED);
    stop();
}

/* --- candidates ----------------------------------------------------------------------------- */

/* Root has opened it, control runs as another. */
static void make_everybodys(const char *path)
{
    static const char *const endings[] = {"", "-wal", "-shm"};

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        char name[160];

        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        assert_int_equal(chmod(name, 0666), 0);
    }
}

/* What the files of the state are, as far as a program can tell. */
static void look_at_state(char *out, size_t n)
{
    static const char *const names[] = {STATE_FILE, STATE_FILE "-wal"};

    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        struct stat st = {0};
        size_t used = strlen(out);

        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        stat(path, &st);
        snprintf(out + used, n - used, "%lu %ld %ld.%ld; ", (unsigned long)st.st_ino,
                 (long)st.st_size, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    }
}

static void test_a_candidate_that_is_given_up_has_touched_nothing(void **state)
{
    char before[256], after[256], path[128];
    sqlite3 *db;

    (void)state;
    start(1, 0);
    await(&parent, MSG_READY);
    stop();
    snprintf(path, sizeof path, "%s/" STATE_FILE, dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    /* Another control is just writing. */
    assert_int_equal(
        sqlite3_exec(db, "BEGIN IMMEDIATE; INSERT INTO hold VALUES ('ann', 1)", NULL, NULL, NULL),
        SQLITE_OK);
    if (geteuid() == 0)
        make_everybodys(path);
    look_at_state(before, sizeof before);
    start_only(2);
    await(&parent, MSG_READY);
    give_peer(&worker, ROLE_WORKER);
    look_at_state(after, sizeof after);
    assert_string_equal(after, before);
    /* It would wait for no lock of the candidate's. */
    assert_int_equal(
        sqlite3_exec(db, "COMMIT; BEGIN IMMEDIATE; ROLLBACK; BEGIN IMMEDIATE", NULL, NULL, NULL),
        SQLITE_OK);
    look_at_state(before, sizeof before);
    stop();
    look_at_state(after, sizeof after);
    assert_string_equal(after, before);
    sqlite3_close(db);
}

static void test_a_candidate_begins_when_it_is_told_to(void **state)
{
    const struct msg_begin begin = {.epoch = 2};

    (void)state;
    start_only(1);
    await(&parent, MSG_READY);
    give_peer(&lookup, ROLE_LOOKUP);
    give_peer(&worker, ROLE_WORKER);
    send_msg(&parent, MSG_BEGIN, 0, &begin, SLICE(""), -1);
    resolve();
    assert_int_equal(log_in_up_to_lease(1, "ann").epoch, 2);
    stop();
}

static void test_memory_that_is_broken_is_told_and_begins_empty(void **state)
{
    (void)state;
    assert_int_equal(pwrite(shared_fds[SHARED_PENALTIES], "?", 1, 3), 1);
    start(1, 0);
    await(&parent, MSG_READY);
    assert_has(stop(), " affinity_lost detail=\"failed logins: the header is broken\"\n");
}

static void test_a_broken_state_file_keeps_it_from_starting(void **state)
{
    char path[128];
    FILE *f;

    (void)state;
    snprintf(path, sizeof path, "%s/" STATE_FILE, dir);
    f = fopen(path, "w");
    fputs("This is not a database, however long one looks at it. It goes on for a while.", f);
    fclose(f);
    /* Readable for whom it becomes. */
    assert_int_equal(chmod(path, 0666), 0);
    start(1, 0);
    assert_has(log_of_the_dead(1 << 8), "not a database");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_login_from_accept_to_its_end),
        TEST(test_a_killed_control_loses_no_session_and_no_placement),
        TEST(test_a_worker_that_comes_again_replays_before_anybody_is_admitted),
        TEST(test_a_worker_that_does_not_replay_is_told_to_the_parent),
        TEST(test_a_replaced_lookup_is_asked_again),
        TEST(test_a_login_that_waits_is_refused_when_its_time_is_over),
        TEST(test_failed_logins_are_told_counted_and_remembered),
        TEST(test_what_a_limit_refuses_is_counted),
        TEST(test_what_comes_through_the_door_is_done),
        TEST(test_a_worker_of_another_configuration_is_spoken_to_by_its_own_numbers),
        TEST(test_probes_go_to_workers_that_are_not_retired),
        TEST(test_a_worker_with_another_server_of_that_name_is_outdated),
        TEST(test_a_candidate_that_is_given_up_has_touched_nothing),
        TEST(test_a_candidate_begins_when_it_is_told_to),
        TEST(test_memory_that_is_broken_is_told_and_begins_empty),
        TEST(test_a_broken_state_file_keeps_it_from_starting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
