/* Admission with directories: what they know of a user, when it is asked, and what comes of it. */
#include "admission_world.h"
#include "no_memory.h"

#include "control/route.h"

#define PEOPLE "directory people { driver = static rules = { \"x disabled=yes\" } }\n"

/* A new session that asks for `user`, whom the directories are asked about. */
static void look_up(int w, uint32_t id, uint32_t listener, const char *user)
{
    char want[64];

    admit(w, id, listener, user);
    snprintf(want, sizeof want, "ask %s\n", user);
    assert_told(want);
}

/* --- the question -------------------------------------------------------------------------- */

static void test_a_login_waits_for_what_the_directories_know(void **state)
{
    (void)state;
    look_up(0, 1, SHARED, "ann");
    assert_int_equal(admission_due_ms(admission),
                     now_ms + conf->global.directory_timeout + FACTS_PATIENCE_MS);
    found("backend=s2");
    assert_told("lease 0.1 s2 attempt 1\n");
    result(0, 1, RESULT_OK);
    assert_told("done 0.1\n");
    assert_int_equal(admission_due_ms(admission), 0);
}

static void test_whom_no_directory_knows_goes_on_as_if_there_were_none(void **state)
{
    (void)state;
    pin("ann", "s3");
    look_up(0, 1, SHARED, "ann");
    answer(last_question, FACTS_UNKNOWN, "");
    assert_told("lease 0.1 s3 attempt 1\n");
}

static void test_directories_that_cannot_be_asked_are_no_wrong_password(void **state)
{
    (void)state;
    client = "192.0.2.77";
    look_up(0, 1, SHARED, "ann");
    answer(last_question, FACTS_UNAVAILABLE, "connection refused");
    assert_told("refuse 0.1 UNAVAILABLE: directory people: connection refused\n");
    must(try_admit(0, 1, "ann"));
    assert_told("ask ann\n");
    elapse(conf->global.directory_timeout + FACTS_PATIENCE_MS);
    assert_told("refuse 0.1 UNAVAILABLE: directories: no answer within directory_timeout\n");
    assert_int_equal(admission_due_ms(admission), 0);
}

static void test_a_late_answer_is_for_nobody(void **state)
{
    uint32_t first;

    (void)state;
    look_up(0, 1, SHARED, "ann");
    first = last_question;
    elapse(conf->global.directory_timeout + FACTS_PATIENCE_MS);
    hush();
    must(try_admit(0, 1, "ann"));
    hush();
    answer(first, FACTS_FOUND, "backend=s1");
    assert_told("");
    found("backend=s2");
    assert_told("lease 0.1 s2 attempt 1\n");
}

static void test_who_ends_while_looked_up_is_not_answered(void **state)
{
    (void)state;
    admit(0, 1, SHARED, "ann");
    admit(1, 1, SHARED, "ann");
    admit(1, 2, SHARED, "ann");
    hush();
    end(1, 1);
    detach(0);
    found("backend=s2");
    assert_told("lease 1.2 s2 attempt 1\n");
}

static void test_several_logins_of_a_user_take_one_answer(void **state)
{
    (void)state;
    look_up(0, 1, SHARED, "ann");
    admit(0, 2, SHARED, "ann");
    assert_told("");
    admit(1, 1, OWN, "ann");
    assert_told("");
    found("backend=s2");
    assert_told("lease 0.1 s2 attempt 1\nlease 0.2 s2 attempt 1\nlease 1.1 s2 attempt 1\n");
}

static void test_facts_that_make_no_sense_refuse_the_login(void **state)
{
    static const struct {
        const char *facts, *why;
    } rows[] = {
        {"pool=gone", "pool=gone is not in the configuration"},
        {"backend=gone", "backend=gone is not in the configuration"},
        {"pool=own backend=s1", "backend=s1 is not in pool own"},
        {"tag=gone", "tag=gone: no pool has this tag"},
        {"host=evil.test", "host=evil.test is no backend of the configuration"},
        {"nonsense=1", "unknown word \"nonsense\""},
        {"password_hash=$6$a$b", "password_hash has no place here"},
    };
    char want[256];

    (void)state;
    open_quietly(0, 1, SHARED);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        must(try_admit(0, 1, "ann"));
        hush();
        found(rows[i].facts);
        snprintf(want, sizeof want, "refuse 0.1 UNAVAILABLE: directory people: %s", rows[i].why);
        assert_tells(want);
    }
}

/* --- pools --------------------------------------------------------------------------------- */

static void test_a_directory_says_the_pool(void **state)
{
    (void)state;
    look_up(0, 1, OWN, "ann");
    found("pool=tiny");
    assert_told("lease 0.1 t1 attempt 1\n");
    result(0, 1, RESULT_OK);
    assert_told("done 0.1\n");
    assert_non_null(registry_user(admission_registry(admission), TINY, SLICE("ann")));
    assert_null(registry_user(admission_registry(admission), OWN, SLICE("ann")));
}

/* One user's pool is nothing to the next who logs in through the same connection. */
static void test_the_next_login_of_a_connection_begins_in_the_listeners_pool(void **state)
{
    (void)state;
    look_up(0, 1, SHARED, "ann");
    found("pool=tiny");
    result(0, 1, RESULT_REFUSED);
    hush();
    must(try_admit(0, 1, "bob"));
    hush();
    answer(last_question, FACTS_UNKNOWN, "");
    assert_int_equal(leases[0][1].pool, SHARED);
    result(0, 1, RESULT_FAILED);
    result(0, 1, RESULT_FAILED);
    result(0, 1, RESULT_FAILED);
    hush();
    must(try_admit(0, 1, "cid"));
    found("backend=o1");
    result(0, 1, RESULT_FAILED);
    hush();
    must(try_admit(0, 1, "dan"));
    hush();
    answer(last_question, FACTS_UNKNOWN, "");
    assert_int_equal(leases[0][1].pool, SHARED);
}

static void test_after_a_restart_it_does_so_too(void **state)
{
    struct msg_replay m;

    (void)state;
    restart();
    m = at("t1", REPLAY_LEASED);
    m.listener = SHARED;
    must(replay(0, 1, m, "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    result(0, 1, RESULT_REFUSED);
    hush();
    must(try_admit(0, 1, "bob"));
    hush();
    answer(last_question, FACTS_UNKNOWN, "");
    assert_int_equal(leases[0][1].pool, SHARED);
}

static void test_a_refused_pool_speaks_its_own_words(void **state)
{
    (void)state;
    set_state("z1", "down");
    look_up(0, 1, SHARED, "ann");
    found("pool=words");
    assert_told("refuse 0.1 UNAVAILABLE: no backend of pool words may be used\n"
                "  saying Back at noon\n");
    must(try_admit(0, 1, "ann"));
    hush();
    found("pool=words disabled=\"Moved away\"");
    assert_told("refuse 0.1 DISABLED: directory people: the user is disabled\n"
                "  saying Moved away\n");
    must(try_admit(0, 1, "ann"));
    hush();
    found("pool=gone disabled=yes");
    assert_told("refuse 0.1 DISABLED: directory people: the user is disabled\n");
}

/* --- backends ------------------------------------------------------------------------------ */

static void test_a_directorys_backend_counts_before_a_placement_and_changes_it(void **state)
{
    (void)state;
    placement("own", "ann", "o1");
    look_up(0, 1, OWN, "ann");
    found("backend=o2");
    assert_told("lease 0.1 o2 attempt 1\n");
    result(0, 1, RESULT_OK);
    assert_told("placed ann own o2\ndone 0.1\n");
    end(0, 1);
    look_up(0, 2, OWN, "ann");
    answer(last_question, FACTS_UNKNOWN, "");
    assert_told("lease 0.2 o2 attempt 1\n");
}

static void test_a_pin_counts_before_a_directorys_backend(void **state)
{
    (void)state;
    placement("own", "ann", "o2");
    pin("ann", "o1");
    look_up(0, 1, OWN, "ann");
    found("backend=o2");
    assert_told("lease 0.1 o1 attempt 1\n");
    result(0, 1, RESULT_OK);
    assert_told("done 0.1\n");
    /* A pin of another pool is about that pool. */
    look_up(0, 2, OWN, "ann");
    found("backend=s2");
    assert_told("lease 0.2 s2 attempt 1\n");
}

static void test_no_directory_sends_a_user_to_a_second_backend(void **state)
{
    (void)state;
    look_up(0, 1, SHARED, "ann");
    found("backend=s1");
    result(0, 1, RESULT_OK);
    hush();
    look_up(0, 2, SHARED, "ann");
    found("backend=s2");
    assert_told("refuse 0.2 UNAVAILABLE: the user is sent by a directory to s2 but has sessions "
                "on s1\n");
}

static void test_two_answers_at_one_time_let_only_one_in(void **state)
{
    (void)state;
    placement("own", "ann", "o1");
    look_up(0, 1, OWN, "ann");
    answer(last_question, FACTS_UNKNOWN, "");
    assert_told("lease 0.1 o1 attempt 1\n");
    look_up(0, 2, OWN, "ann");
    found("backend=o2");
    assert_told("refuse 0.2 UNAVAILABLE: the user is sent by a directory to o2 but has sessions "
                "on o1\n");
    end(0, 1);
    must(try_admit(0, 2, "ann"));
    found("backend=o2");
    assert_told("ask ann\nlease 0.2 o2 attempt 1\n");
}

static void test_with_shared_storage_a_directorys_backend_has_no_second_choice(void **state)
{
    (void)state;
    look_up(0, 1, SHARED, "ann");
    found("backend=s1");
    hush();
    result(0, 1, RESULT_FAILED);
    assert_told("refuse 0.1 UNAVAILABLE: backend s1 has just failed, and the user is sent by a "
                "directory to it\n");
    set_state("s1", "down");
    must(try_admit(0, 1, "ann"));
    found("backend=s1");
    assert_told("ask ann\nrefuse 0.1 UNAVAILABLE: backend s1 is down by an operator's order\n");
}

static void test_the_backend_is_told_another_name(void **state)
{
    (void)state;
    look_up(0, 1, SHARED, "ann");
    found("backend=s1 backend_user=u4711 verify=yes");
    assert_told("lease 0.1 s1 attempt 1\n");
    assert_int_equal(leases[0][1].name_n, 3);
    assert_true(slice_eq(slice_of(tails[0][1], tails_n[0][1]), SLICE("annu4711")));
    assert_int_equal(leases[0][1].flags, LEASE_VERIFY);
    result(0, 1, RESULT_REFUSED);
    must(try_admit(0, 1, "bob"));
    found("backend=s1");
    assert_true(slice_eq(slice_of(tails[0][1], tails_n[0][1]), SLICE("bob")));
    assert_int_equal(leases[0][1].flags, 0);
    hush();
}

/* --- limits -------------------------------------------------------------------------------- */

/* "in place of max_sessions_per_user" goes both ways. */
static void test_a_directory_allows_more_sessions_than_others_have(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        look_up(0, i, SHARED, "ann");
        found("backend=s1 max_sessions=5");
        result(0, i, RESULT_OK);
        hush();
    }
    look_up(0, 5, SHARED, "ann");
    found("backend=s1 max_sessions=5");
    assert_tells("refuse 0.5 MAX_USER: the directory's max_sessions = 5");
    assert_int_equal(counted[METRIC_LIMITED], 1);
}

static void test_a_directory_allows_fewer_sessions_than_others_have(void **state)
{
    (void)state;
    look_up(0, 1, SHARED, "ann");
    found("backend=s1 max_sessions=1");
    result(0, 1, RESULT_OK);
    hush();
    look_up(0, 2, SHARED, "ann");
    found("backend=s1 max_sessions=1");
    assert_tells("refuse 0.2 MAX_USER: the directory's max_sessions = 1");
}

static void test_whom_no_directory_knows_has_the_limit_of_all(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        look_up(0, i, SHARED, "ann");
        answer(last_question, FACTS_UNKNOWN, "");
        hush();
    }
    look_up(0, 3, SHARED, "ann");
    answer(last_question, FACTS_UNKNOWN, "");
    assert_tells("refuse 0.3 MAX_USER: max_sessions_per_user = 3");
}

static void test_the_limit_counts_in_the_pool_that_the_directory_says(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        look_up(0, i, i % 2 ? OWN : SHARED, "ann");
        found("pool=tiny");
        if (i < 3)
            result(0, i, RESULT_OK);
        if (i < 3)
            hush();
    }
    assert_tells("refuse 0.3 MAX_USER: max_sessions_per_user = 3");
    look_up(0, 4, SHARED, "ann");
    answer(last_question, FACTS_UNKNOWN, "");
    assert_tells("lease 0.4 s");
}

static void test_who_waits_on_hold_is_not_looked_up_and_is_limited(void **state)
{
    (void)state;
    hold("ann");
    for (uint32_t i = 0; i < 3; i++) {
        admit(0, i, SHARED, "ann");
        assert_tells("held ann ");
    }
    admit(0, 3, SHARED, "ann");
    assert_told("refuse 0.3 MAX_USER: max_sessions_per_user = 3\n");
}

/* --- holds and moves ----------------------------------------------------------------------- */

static void test_a_hold_given_while_looked_up_counts(void **state)
{
    (void)state;
    look_up(0, 1, SHARED, "ann");
    hold("ann");
    found("pool=tiny");
    assert_told("held ann 1\n");
    admission_release(admission, SLICE("ann"), now_ms);
    assert_told("lease 0.1 t1 attempt 1\n");
}

static void test_a_move_in_the_directorys_pool_is_waited_for(void **state)
{
    struct user *u;

    (void)state;
    u = registry_user_make(admission_registry(admission), TINY, SLICE("ann"));
    registry_keep(u);
    look_up(0, 1, SHARED, "ann");
    admission_move_begin(admission, u, now_ms);
    found("pool=tiny");
    assert_told("held ann 1\n");
    admission_move_end(admission, u, now_ms);
    assert_told("lease 0.1 t1 attempt 1\n");
    registry_let_go(admission_registry(admission), u);
}

/* --- the guard ----------------------------------------------------------------------------- */

static uint32_t trying_at(const char *address)
{
    const struct sources *sources = &admission_registry(admission)->sources;
    struct addr a;
    struct in6_addr in6;
    const struct source *source;

    assert_true(addr_parse_ip(slice_str(address), 1, &a));
    in6 = network_client(&a);
    source = sources_find(sources, &in6);
    return source ? source->trying_n : 0;
}

static void test_a_charge_goes_along_to_the_other_pool_and_counts_once(void **state)
{
    const struct user *u;

    (void)state;
    client = "192.0.2.77";
    look_up(0, 1, SHARED, "ann");
    assert_int_equal(trying_at(client), 1);
    found("pool=tiny");
    assert_told("lease 0.1 t1 attempt 1\n");
    u = registry_user(admission_registry(admission), TINY, SLICE("ann"));
    assert_true(u && u->trying_n == 1);
    assert_int_equal(trying_at(client), 1);
    result(0, 1, RESULT_REFUSED);
    assert_told("failed 192.0.2.77 ann 1 1\n");
    assert_int_equal(trying_at(client), 0);
    must(try_admit(0, 1, "ann"));
    found("pool=tiny");
    hush();
    result(0, 1, RESULT_OK);
    assert_told("done 0.1\n");
    assert_int_equal(trying_at(client), 0);
}

static void test_who_is_disabled_or_not_to_be_looked_up_is_not_charged(void **state)
{
    (void)state;
    client = "192.0.2.77";
    open_quietly(0, 1, SHARED);
    for (int i = 0; i < 20; i++) {
        must(try_admit(0, 1, "ann"));
        assert_told("ask ann\n");
        if (i % 2)
            found("disabled=yes");
        else
            answer(last_question, FACTS_UNAVAILABLE, "down");
        hush();
    }
    assert_int_equal(trying_at(client), 0);
}

/* A hundred guesses at once get no further than a hundred in a row, wherever the user lives. */
static void test_guesses_at_one_time_count_together_in_whatever_pool(void **state)
{
    char address[32];
    unsigned leased = 0;

    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(address, sizeof address, "198.51.%u.1", i);
        client = address;
        open_quietly(0, i, SHARED);
        must(try_admit(0, i, "ann"));
        if (strncmp(told, "ask", 3) == 0)
            found("pool=tiny");
        leased += strstr(told, "lease") != NULL;
        hush();
    }
    assert_in_range(leased, 1, 12);
    client = NULL;
}

/* --- names --------------------------------------------------------------------------------- */

static void test_directories_are_asked_for_the_name_as_it_is_made(void **state)
{
    (void)state;
    admit(0, 1, SHARED, "ANN@Example.ORG");
    assert_told("ask ann@example.org\n");
    must(try_open(0, 2, SHARED));
    hush();
    must(try_admit(0, 2, "ann@EXAMPLE.org"));
    assert_told("");
    found("backend=s1");
    assert_told("lease 0.1 s1 attempt 1\nlease 0.2 s1 attempt 1\n");
    assert_int_equal(admission_users(admission), 1);
}

/* A worker waits for an answer to every question. */
static void test_a_name_of_which_nothing_is_left_is_answered(void **state)
{
    char longest[IPC_USER_MAX + 1];

    (void)state;
    open_quietly(0, 1, SHARED);
    memset(longest, 'a', sizeof longest);
    longest[IPC_USER_MAX] = '\0';
    must(try_admit(0, 1, longest));
    assert_tells("refuse 0.1 UNAVAILABLE: ");
    must(try_admit(0, 1, "ann"));
    assert_told("ask ann@example.org\n");
}

static void test_names_of_the_state_file_and_of_replays_are_made_the_same_way(void **state)
{
    (void)state;
    restart();
    pin("Ann", "s3");
    hold("BOB@example.org");
    placement("own", "cid@EXAMPLE.org", "o2");
    must(replay(0, 1, at("s3", REPLAY_RELAY), "ANN"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    look_up(0, 2, SHARED, "ann@example.org");
    answer(last_question, FACTS_UNKNOWN, "");
    assert_told("lease 0.2 s3 attempt 1\n");
    assert_int_equal(admission_users(admission), 1);
    admit(0, 3, SHARED, "bob");
    assert_told("held bob@example.org 1\n");
    admit(0, 4, OWN, "Cid@Example.ORG");
    assert_told("ask cid@example.org\n");
    answer(last_question, FACTS_UNKNOWN, "");
    assert_told("lease 0.4 o2 attempt 1\n");
}

/* --- restart ------------------------------------------------------------------------------- */

static void test_after_a_restart_the_directories_are_asked_before_the_next_attempt(void **state)
{
    (void)state;
    restart();
    must(replay(0, 1, at("s3", REPLAY_LEASED), "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    result(0, 1, RESULT_FAILED);
    assert_told("ask ann\n");
    found("backend=s1 backend_user=u1");
    assert_told("lease 0.1 s1 attempt 2\n");
    assert_true(slice_eq(slice_of(tails[0][1], tails_n[0][1]), SLICE("annu1")));
}

/* In a pool that the directories now say nothing has been tried. */
static void test_attempts_in_another_pool_do_not_count(void **state)
{
    struct msg_replay m;

    (void)state;
    restart();
    m = at("s3", REPLAY_LEASED);
    m.attempt = 2;
    must(replay(0, 1, m, "ann"));
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    result(0, 1, RESULT_FAILED);
    hush();
    found("pool=tiny");
    assert_told("lease 0.1 t1 attempt 1\n");
}

static void test_questions_that_wait_for_a_restart_are_looked_up_behind_it(void **state)
{
    (void)state;
    restart();
    must(try_open(0, 1, SHARED));
    must(admission_replayed(admission, &workers[0], now_ms));
    assert_told("");
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
    must(try_admit(0, 1, "ann"));
    assert_told("ask ann\n");
}

/* --- memory -------------------------------------------------------------------------------- */

static void test_without_memory_a_login_is_refused_and_can_be_tried_again(void **state)
{
    size_t failures = 0;

    (void)state;
    client = "192.0.2.77";
    for (size_t at = 1;; at++) {
        bool is_leased;

        open_quietly(0, 1, SHARED);
        memory.n = 0;
        memory.fails_at = at;
        memory.is_on = true;
        must(try_admit(0, 1, "ann"));
        if (strstr(told, "ask"))
            found("pool=tiny backend_user=u1");
        memory.is_on = false;
        is_leased = strstr(told, "lease 0.1 t1 attempt 1\n") != NULL;
        if (!is_leased && !strstr(told, "refuse 0.1 UNAVAILABLE: "))
            fail_msg("neither leased nor refused: %s", told);
        hush();
        assert_int_equal(trying_at(client), is_leased);
        assert_int_equal(registry_find(admission_registry(admission), &workers[0], 1)->pool,
                         is_leased ? TINY : SHARED);
        end(0, 1);
        assert_int_equal(admission_users(admission), 0);
        if (is_leased && memory.n < at)
            break;
        failures += !is_leased;
    }
    assert_true(failures >= 5);
    assert_int_equal(trying_at(client), 0);
}

#define THREE  PEOPLE "max_sessions_per_user = 3\n"
#define DOMAIN PEOPLE "username_domain = \"example.org\"\n"
#define WORDS                                                                    \
    PEOPLE "listener words { address = \"*:6\" pool = words }\n"                 \
           "pool words { storage = shared unavailable_text = \"Back at noon\"\n" \
           "  backend z1 { address = \"192.0.2.31:10143\" } }\n"

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(PEOPLE, test_a_login_waits_for_what_the_directories_know),
        WITH(PEOPLE, test_whom_no_directory_knows_goes_on_as_if_there_were_none),
        WITH(PEOPLE, test_directories_that_cannot_be_asked_are_no_wrong_password),
        WITH(PEOPLE, test_a_late_answer_is_for_nobody),
        WITH(PEOPLE, test_who_ends_while_looked_up_is_not_answered),
        WITH(PEOPLE, test_several_logins_of_a_user_take_one_answer),
        WITH(PEOPLE, test_facts_that_make_no_sense_refuse_the_login),
        WITH(PEOPLE, test_a_directory_says_the_pool),
        WITH(PEOPLE, test_the_next_login_of_a_connection_begins_in_the_listeners_pool),
        WITH(PEOPLE, test_after_a_restart_it_does_so_too),
        WITH(WORDS, test_a_refused_pool_speaks_its_own_words),
        WITH(PEOPLE, test_a_directorys_backend_counts_before_a_placement_and_changes_it),
        WITH(PEOPLE, test_a_pin_counts_before_a_directorys_backend),
        WITH(PEOPLE, test_no_directory_sends_a_user_to_a_second_backend),
        WITH(PEOPLE, test_two_answers_at_one_time_let_only_one_in),
        WITH(PEOPLE, test_with_shared_storage_a_directorys_backend_has_no_second_choice),
        WITH(PEOPLE, test_the_backend_is_told_another_name),
        WITH(THREE, test_a_directory_allows_more_sessions_than_others_have),
        WITH(THREE, test_a_directory_allows_fewer_sessions_than_others_have),
        WITH(THREE, test_whom_no_directory_knows_has_the_limit_of_all),
        WITH(THREE, test_the_limit_counts_in_the_pool_that_the_directory_says),
        WITH(THREE, test_who_waits_on_hold_is_not_looked_up_and_is_limited),
        WITH(PEOPLE, test_a_hold_given_while_looked_up_counts),
        WITH(PEOPLE, test_a_move_in_the_directorys_pool_is_waited_for),
        WITH(PEOPLE, test_a_charge_goes_along_to_the_other_pool_and_counts_once),
        WITH(PEOPLE, test_who_is_disabled_or_not_to_be_looked_up_is_not_charged),
        WITH(PEOPLE, test_guesses_at_one_time_count_together_in_whatever_pool),
        WITH(PEOPLE, test_directories_are_asked_for_the_name_as_it_is_made),
        WITH(DOMAIN, test_a_name_of_which_nothing_is_left_is_answered),
        WITH(DOMAIN, test_names_of_the_state_file_and_of_replays_are_made_the_same_way),
        WITH(PEOPLE, test_after_a_restart_the_directories_are_asked_before_the_next_attempt),
        WITH(PEOPLE, test_attempts_in_another_pool_do_not_count),
        WITH(PEOPLE, test_questions_that_wait_for_a_restart_are_looked_up_behind_it),
        WITH(PEOPLE, test_without_memory_a_login_is_refused_and_can_be_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
