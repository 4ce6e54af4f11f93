/* Requests of operators and what they are answered: each command of the table, over a control that
 * only notes what it is told. */
#include "commands_world.h"

/* --- requests --------------------------------------------------------------------------------- */

#define NO_OBJECT "usage: a request is one JSON object on a line, as in {\"command\": \"status\"}"

static void test_what_is_no_request_is_told_what_one_is(void **state)
{
    static const struct row rows[] = {
        {"status", NO_OBJECT},
        {"[\"status\"]", NO_OBJECT},
        {"{\"command\":\"status\"} {}", NO_OBJECT},
        {"{\"command\":\"status\",\"command\":\"pools\"}", NO_OBJECT},
        {"{\"command\":\"stat\\u0000us\"}", NO_OBJECT},
        {"{\"command\":\"stat\xffus\"}", NO_OBJECT},
        {"{\"command\":\"status\",\"n\":123456789012345678901234567890}", NO_OBJECT},
        {"{\"command\":\"status\",\"n\":1e999}", NO_OBJECT},
        {"{}", "usage: a request says its command, as in {\"command\": \"status\"}"},
        {"{\"command\":1}", "usage: a request says its command, as in {\"command\": \"status\"}"},
        {"{\"command\":\"stauts\"}", "usage: there is no command stauts; did you mean status?"},
        {"{\"command\":\"reboot the machine\"}", "usage: there is no command reboot the machine"},
    };

    (void)state;
    CHECK(rows);
}

static void test_wrong_arguments_are_named(void **state)
{
    static const struct row rows[] = {
        {"{\"command\":\"pin\",\"user\":\"ann\"}", "usage: pin wants backend, which is missing"},
        {"{\"command\":\"pin\",\"user\":7,\"backend\":\"mail1\"}",
         "usage: user is no string; write \"user\": \"...\""},
        {"{\"command\":\"hold\",\"user\":\"\"}", "usage: user is empty; leave it out, or say it"},
        {"{\"command\":\"hold\",\"user\":\"a\\nb\"}",
         "usage: user is no name of a user: it has 1 to 512 bytes, and no line ends"},
        {"{\"command\":\"sessions\",\"usr\":\"ann\"}",
         "usage: sessions takes no usr; did you mean user?"},
        {"{\"command\":\"status\",\"user\":\"ann\"}", "usage: status takes no user"},
        {"{\"command\":\"pin\",\"user\":\"ann\",\"backend\":\"mial1\"}",
         "usage: there is no backend mial1; did you mean mail1?"},
        {"{\"command\":\"backends\",\"pool\":\"mian\"}",
         "usage: there is no pool mian; did you mean main?"},
        {"{\"command\":\"sessions\",\"address\":\"localhost\"}",
         "usage: address: localhost is no address; write it without a port, as in 192.0.2.1 or "
         "2001:db8::1"},
        {"{\"command\":\"session\",\"id\":\"42\"}",
         "usage: id: 42 is no id of a session; it is as the log has it, as in 3.42"},
        {"{\"command\":\"session\",\"id\":\"1.4294967296\"}",
         "usage: id: 1.4294967296 is no id of a session; it is as the log has it, as in 3.42"},
        {"{\"command\":\"kick\",\"backend\":\"mail1\",\"rate\":\"0\"}",
         "usage: rate: 0 is no number from 1 to 100000"},
        {"{\"command\":\"kick\",\"backend\":\"mail1\",\"rate\":\"99999999999999999999\"}",
         "usage: rate: 99999999999999999999 is no number from 1 to 100000"},
    };

    (void)state;
    CHECK(rows);
    assert_string_equal(control.did, "");
}

static void test_arguments_that_do_not_go_together_are_told(void **state)
{
#define MOVE "usage: move wants a user and a backend; or from and to, and may have a rate then"
#define KICK "usage: kick wants one of these: a user, a session, a backend"
    static const struct row rows[] = {
        {"{\"command\":\"move\"}", MOVE},
        {"{\"command\":\"move\",\"user\":\"ann\"}", MOVE},
        {"{\"command\":\"move\",\"from\":\"mail1\"}", MOVE},
        {"{\"command\":\"move\",\"user\":\"ann\",\"backend\":\"mail2\",\"rate\":\"5\"}", MOVE},
        {"{\"command\":\"move\",\"user\":\"ann\",\"from\":\"mail1\",\"to\":\"mail2\"}", MOVE},
        {"{\"command\":\"move\",\"from\":\"mail1\",\"to\":\"mail1\"}",
         "usage: from and to are the same backend"},
        {"{\"command\":\"kick\"}", KICK},
        {"{\"command\":\"kick\",\"user\":\"ann\",\"session\":\"1.2\"}", KICK},
        {"{\"command\":\"kick\",\"user\":\"ann\",\"rate\":\"5\"}",
         "usage: kick takes a rate only with a backend"},
        {"{\"command\":\"flush\"}", "usage: flush wants a user or a backend, and not both"},
        {"{\"command\":\"flush\",\"backend\":\"mail1\"}",
         "usage: pool main has storage = own: where its users are is recorded, not remembered; see "
         "place and move"},
        {"{\"command\":\"penalties\"}", "usage: penalties wants a user, an address, or both"},
        {"{\"command\":\"penalties clear\"}",
         "usage: penalties clear wants a user, an address, or both"},
    };

    (void)state;
    CHECK(rows);
    assert_string_equal(control.did, "");
}

static void test_a_backend_that_is_gone_from_the_configuration_can_only_be_left(void **state)
{
#define GONE "usage: the configuration does not have backend gone1 any more"
    static const struct row rows[] = {
        {"{\"command\":\"pin\",\"user\":\"ann\",\"backend\":\"gone1\"}", GONE},
        {"{\"command\":\"place\",\"user\":\"ann\",\"backend\":\"gone1\"}", GONE},
        {"{\"command\":\"backend up\",\"backend\":\"gone1\"}", GONE},
        {"{\"command\":\"move\",\"user\":\"ann\",\"backend\":\"gone1\"}", GONE},
        {"{\"command\":\"move\",\"from\":\"mail1\",\"to\":\"gone1\"}", GONE},
        {"{\"command\":\"move\",\"from\":\"gone1\",\"to\":\"mail1\"}",
         "{\"done\":{\"users\":40,\"text\":\"40 users of gone1 will be moved to mail1, 20 a "
         "second\"}}\n"},
    };

    (void)state;
    CHECK(rows);
    assert_string_equal(control.did, "move all gone1 mail1 20; ");
}

/* --- steering --------------------------------------------------------------------------------- */

static void test_steering_commands_do_what_they_say(void **state)
{
    static const struct {
        const char *line, *did, *answer;
    } rows[] = {
        {"{\"command\":\"backend drain\",\"backend\":\"mail2\"}", "backend mail2 1; ",
         "{\"done\":{\"sessions\":20,\"text\":\"mail2 takes no new users; it has 20 "
         "sessions\"}}\n"},
        {"{\"command\":\"backend down\",\"backend\":\"mail1\"}", "backend mail1 2; ",
         "{\"done\":{\"sessions\":10,\"text\":\"mail1 is down; it has 10 sessions\"}}\n"},
        {"{\"command\":\"backend up\",\"backend\":\"mail1\"}", "backend mail1 0; ",
         "{\"done\":{\"sessions\":10,\"text\":\"mail1 serves; it has 10 sessions\"}}\n"},
        {"{\"command\":\"pin\",\"user\":\"ann\",\"backend\":\"mail2\"}", "pin ann mail2; ",
         "{\"done\":{\"users\":1,\"text\":\"ann is pinned to mail2\"}}\n"},
        {"{\"command\":\"unpin\",\"user\":\"ann\"}", "pin ann -; ",
         "{\"done\":{\"users\":1,\"text\":\"ann has no pin\"}}\n"},
        {"{\"command\":\"place\",\"user\":\"ann\",\"backend\":\"mail1\"}", "place ann mail1; ",
         "{\"done\":{\"users\":1,\"text\":\"ann is placed on mail1, in pool main\"}}\n"},
        {"{\"command\":\"hold\",\"user\":\"ann\"}", "hold ann; ",
         "{\"done\":{\"users\":1,\"text\":\"logins of ann wait\"}}\n"},
        {"{\"command\":\"release\",\"user\":\"ann\"}", "release ann; ",
         "{\"done\":{\"users\":1,\"text\":\"logins of ann are served\"}}\n"},
        {"{\"command\":\"move\",\"user\":\"ann\",\"backend\":\"mail2\"}", "move ann mail2; ",
         "{\"done\":{\"users\":1,\"text\":\"the move of ann to mail2 has begun\"}}\n"},
        {"{\"command\":\"move\",\"from\":\"mail1\",\"to\":\"mail2\",\"rate\":\"5\"}",
         "move all mail1 mail2 5; ",
         "{\"done\":{\"users\":40,\"text\":\"40 users of mail1 will be moved to mail2, 5 a "
         "second\"}}\n"},
        {"{\"command\":\"kick\",\"user\":\"ann\"}", "kick ann; ",
         "{\"done\":{\"sessions\":3,\"text\":\"told 3 sessions of ann to end\"}}\n"},
        {"{\"command\":\"kick\",\"session\":\"1.2\"}", "kick session 1.2; ",
         "{\"done\":{\"sessions\":1,\"text\":\"told session 1.2 to end\"}}\n"},
        {"{\"command\":\"kick\",\"backend\":\"mail1\"}", "kick all mail1 20; ",
         "{\"done\":{\"users\":1,\"text\":\"the sessions of 1 user of mail1 will be told to end, "
         "20 "
         "users a second\"}}\n"},
        {"{\"command\":\"flush\",\"user\":\"ann\"}", "flush ann; ",
         "{\"done\":{\"users\":1,\"text\":\"forgot where ann was\"}}\n"},
        {"{\"command\":\"flush\",\"user\":\"bob\"}", "flush bob; ",
         "{\"done\":{\"users\":0,\"text\":\"nothing was remembered of bob\"}}\n"},
        {"{\"command\":\"flush\",\"backend\":\"disk1\"}", "flush all disk1; ",
         "{\"done\":{\"users\":2,\"text\":\"forgot 2 users of disk1\"}}\n"},
        {"{\"command\":\"penalties clear\",\"user\":\"ann\"}", "clear user; ",
         "{\"done\":{\"text\":\"forgot the failed logins of ann\"}}\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        control.did[0] = '\0';
        assert_string_equal(ask(rows[i].line), rows[i].answer);
        assert_string_equal(control.did, rows[i].did);
    }
}

static void test_what_control_refuses_is_told_in_its_words(void **state)
{
    static const struct row rows[] = {
        {"{\"command\":\"pin\",\"user\":\"ann\",\"backend\":\"mail2\"}",
         "failed: the state file cannot be written"},
        {"{\"command\":\"backend down\",\"backend\":\"mail1\"}",
         "failed: the state file cannot be written"},
        {"{\"command\":\"kick\",\"session\":\"2.2\"}",
         "failed: there is no session 2.2 (any more)"},
        {"{\"command\":\"session\",\"id\":\"2.2\"}", "failed: there is no session 2.2 (any more)"},
    };

    (void)state;
    control.fails = true;
    CHECK(rows);
    assert_int_equal(backends.all[0].state, BACKEND_UP);
}

/* --- seeing ----------------------------------------------------------------------------------- */

#define BACKEND(title, pool, address, state, weight, sessions, users, addresses, health, limit)   \
    "{\"backend\":\"" title "\",\"pool\":\"" pool "\",\"address\":\"" address                     \
    "\",\"state\":\"" state "\",\"weight\":" weight ",\"sessions\":" sessions ",\"users\":" users \
    ",\"addresses\":[" addresses "]," health ",\"weight_now\":" weight                            \
    ",\"connecting\":0,\"queued\":0,\"backup\":false,\"max_sessions\":null,\"max_"                \
    "connecting\":" limit ",\"login_rate\":null}"
#define WELL      "\"health\":\"up\",\"since\":61"
#define UNCHECKED "\"health\":null,\"since\":null"
#define MAIL1                                                                                      \
    BACKEND("mail1", "main", "192.0.2.1:10143", "up", "1", "10", "1", "\"192.0.2.1:10143\"", WELL, \
            "200")
#define MAIL2 BACKEND("mail2", "main", "mail2.test:10143", "drain", "3", "20", "2", "", WELL, "200")
#define DISK1                                                                                 \
    BACKEND("disk1", "other", "192.0.2.9:10143", "up", "1", "30", "3", "\"192.0.2.9:10143\"", \
            UNCHECKED, "null")

static void test_backends_and_pools_are_told(void **state)
{
    static const struct row rows[] = {
        {"{\"command\":\"backends\"}", "{\"row\":" MAIL1 "}\n{\"row\":" MAIL2 "}\n{\"row\":" DISK1
                                       "}\n{\"done\":{\"rows\":3}}\n"},
        {"{\"command\":\"backends\",\"pool\":\"other\"}",
         "{\"row\":" DISK1 "}\n{\"done\":{\"rows\":1}}\n"},
        {"{\"command\":\"pools\"}",
         "{\"row\":{\"pool\":\"main\",\"storage\":\"own\",\"backends\":2,\"sessions\":30,"
         "\"users\":3,\"place\":\"hash\",\"check\":\"greeting\"}}\n"
         "{\"row\":{\"pool\":\"other\",\"storage\":\"shared\",\"backends\":1,\"sessions\":30,"
         "\"users\":3,\"place\":null,\"check\":\"off\"}}\n"
         "{\"done\":{\"rows\":2}}\n"},
        {"{\"command\":\"status\"}",
         "{\"done\":{\"version\":\"" USHER_VERSION
         "\",\"epoch\":3,\"recovered\":true,\"sessions\":0,"
         "\"users\":0,\"known_users\":7,\"logins\":0,\"held\":0,\"delayed\":0,\"workers\":2,"
         "\"moves\":0,\"kicks\":0,\"given_up\":0,\"backends\":[" MAIL1 "," MAIL2 "," DISK1
         "],\"queued\":4,\"unhealthy\":[],\"retired\":1,\"moves_since\":2}}\n"},
    };

    (void)state;
    backends.all[1].state = BACKEND_DRAIN;
    CHECK(rows);
}

static void test_sessions_and_users_are_told(void **state)
{
#define FIRST                                                                                 \
    "{\"id\":\"1.1\",\"user\":null,\"client\":\"2001:db8::1\",\"pool\":\"main\",\"backend\":" \
    "null,\"stage\":\"open\"}"
#define SECOND                                                                         \
    "{\"id\":\"1.2\",\"user\":\"user2\",\"client\":\"2001:db8::1\",\"pool\":\"main\"," \
    "\"backend\":\"mail1\",\"stage\":\"logged in\"}"
    static const struct row rows[] = {
        {"{\"command\":\"sessions\"}",
         "{\"row\":" FIRST "}\n{\"row\":" SECOND "}\n{\"done\":{\"rows\":2}}\n"},
        {"{\"command\":\"sessions\",\"backend\":\"mail1\"}",
         "{\"row\":" SECOND "}\n{\"done\":{\"rows\":1}}\n"},
        {"{\"command\":\"session\",\"id\":\"1.2\"}", "{\"done\":" SECOND "}\n"},
        {"{\"command\":\"users\"}",
         "{\"row\":{\"user\":\"user1\",\"pool\":\"main\",\"backend\":\"mail2\",\"placed\":"
         "\"mail2\",\"pin\":null,\"held\":false,\"moving\":false,\"sessions\":1}}\n"
         "{\"row\":{\"user\":\"user2\",\"pool\":\"main\",\"backend\":\"mail1\",\"placed\":"
         "\"mail1\",\"pin\":null,\"held\":false,\"moving\":false,\"sessions\":2}}\n"
         "{\"done\":{\"rows\":2}}\n"},
        {"{\"command\":\"pins\"}", "{\"row\":{\"user\":\"ann\",\"pin\":\"mail2\",\"held\":false}}\n"
                                   "{\"row\":{\"user\":\"bob\",\"pin\":null,\"held\":true}}\n"
                                   "{\"done\":{\"rows\":2}}\n"},
        {"{\"command\":\"moves\"}",
         "{\"row\":{\"user\":\"ann\",\"pool\":\"main\",\"from\":\"mail1\",\"to\":\"mail2\","
         "\"sessions\":2,\"seconds\":60}}\n"
         "{\"row\":{\"user\":\"bob\",\"pool\":\"main\",\"from\":null,\"to\":\"mail2\","
         "\"sessions\":0,\"seconds\":null}}\n"
         "{\"done\":{\"rows\":2}}\n"},
    };

    (void)state;
    control.sessions = 2;
    CHECK(rows);
}

static void test_a_session_that_ends_while_they_are_listed_is_left_out(void **state)
{
    (void)state;
    control.sessions = 2;
    control.ended = 3;
    assert_string_equal(ask("{\"command\":\"sessions\"}"), "{\"done\":{\"rows\":0}}\n");
}

static void test_what_ails_a_backend_is_told_beside_what_operators_say(void **state)
{
    (void)state;
    backends.all[0].state = BACKEND_DOWN;
    backends.all[0].health.state = HEALTH_FAILING;
    backends.all[1].health = (struct health){.state = HEALTH_DOWN, .since_ms = 60000};
    backends.all[1].connecting = 2;
    backends.all[1].queue.n = 7;
    assert_non_null(strstr(ask("{\"command\":\"backends\"}"), "\"state\":\"down\""));
    assert_non_null(
        strstr(ask("{\"command\":\"backends\"}"), "\"health\":\"failing\",\"since\":61,"));
    assert_non_null(strstr(ask("{\"command\":\"backends\"}"),
                           "\"health\":\"down\",\"since\":1,\"weight_now\":3,\"connecting\":2,"
                           "\"queued\":7,"));
    /* Failing serves, and what operators do is not ill. */
    assert_non_null(strstr(ask("{\"command\":\"status\"}"), "\"unhealthy\":[\"mail2\"]"));
    backends.all[1].health.state = HEALTH_RECOVERING;
    assert_non_null(strstr(ask("{\"command\":\"status\"}"), "\"unhealthy\":[\"mail2\"]"));
    /* It comes back slowly. */
    backends.nodes[1].weight = 3 * 64;
    assert_non_null(strstr(ask("{\"command\":\"backends\"}"), "\"weight_now\":0.75,"));
    backends.all[1].queue.n = 0;
}

static void test_penalties_are_told_of_what_was_asked(void **state)
{
    static const struct row rows[] = {
        {"{\"command\":\"penalties\",\"user\":\"ann\"}",
         "{\"done\":{\"user\":\"ann\",\"address\":null,\"user_failures\":5,\"address_failures\":"
         "null,\"site_failures\":null,\"pair_failures\":null,\"known\":null}}\n"},
        {"{\"command\":\"penalties\",\"user\":\"ann\",\"address\":\"192.0.2.7\"}",
         "{\"done\":{\"user\":\"ann\",\"address\":\"192.0.2.7\",\"user_failures\":5,"
         "\"address_failures\":4,\"site_failures\":0,\"pair_failures\":6,\"known\":true}}\n"},
    };

    (void)state;
    CHECK(rows);
}

static void test_names_that_are_no_utf8_are_repaired(void **state)
{
    (void)state;
    control.sessions = 2;
    control.name = SLICE("a\xff\"\x01\xe2\x82");
    assert_non_null(strstr(ask("{\"command\":\"session\",\"id\":\"1.2\"}"),
                           "\"user\":\"a\xef\xbf\xbd\\\"\\u0001\xef\xbf\xbd\xef\xbf\xbd\""));
}

/* --- pieces and bounds ------------------------------------------------------------------------ */

static void test_a_long_list_is_made_in_pieces(void **state)
{
    struct request request;
    struct buf out;
    struct call call;
    struct err err;
    unsigned steps = 0;
    bool is_more;

    (void)state;
    control.sessions = 1000;
    buf_init(&out, 1 << 20, false);
    assert_int_equal(request_open(SLICE("{\"command\":\"sessions\"}"), &request, &err), 0);
    assert_int_equal(call_begin(&call, &control, &request, &out, 0, &err), 0);
    assert_int_equal(buf_len(&out), 0);
    do {
        is_more = call_step(&call, 0);
        assert_true(buf_len(&out) <= (size_t)CALL_ROWS * 200);
        buf_take(&out, buf_len(&out));
        steps++;
    } while (is_more);
    assert_int_equal(steps, 1000 / CALL_ROWS + 1);
    assert_int_equal(call.rows.told, 1000);
    call_done(&call);
    buf_release(&out);
}

static void test_a_line_that_does_not_fit_becomes_an_error(void **state)
{
    struct request request;
    struct buf out;
    struct call call;
    struct err err;

    (void)state;
    buf_init(&out, 200, false);
    assert_int_equal(request_open(SLICE("{\"command\":\"status\"}"), &request, &err), 0);
    assert_int_equal(call_begin(&call, &control, &request, &out, 0, &err), 0);
    assert_false(call_step(&call, 0));
    assert_true(
        slice_eq(buf_slice(&out), SLICE("{\"error\":\"out of memory\",\"code\":\"failed\"}\n")));
    call_done(&call);
    buf_release(&out);
}

static void test_deep_nesting_is_refused(void **state)
{
    static char line[60000];

    (void)state;
    memset(line, '[', sizeof line - 1);
    assert_string_equal(ask(line), NO_OBJECT);
    for (size_t i = 0; i + 5 < sizeof line; i += 5)
        memcpy(line + i, "{\"a\":", 5);
    assert_string_equal(ask(line), NO_OBJECT);
}

/* --- the table -------------------------------------------------------------------------------- */

static void test_each_row_says_what_its_arguments_are(void **state)
{
    struct command_argument a[COMMAND_ARGUMENTS_MAX];

    (void)state;
    assert_int_equal(command_arguments(COMMAND_STATUS, a), 0);
    assert_int_equal(command_arguments(COMMAND_MOVE, a), 5);
    assert_string_equal(a[0].name, "user");
    assert_string_equal(a[0].value, "USER");
    assert_false(a[0].is_necessary || a[0].is_named);
    assert_string_equal(a[2].name, "from");
    assert_string_equal(a[2].value, "BACKEND");
    assert_true(a[2].is_named && !a[2].is_necessary);
    assert_int_equal(command_arguments(COMMAND_ROUTE, a), 2);
    assert_true(a[0].is_necessary && !a[1].is_necessary);
}

/* The names in an object, with blanks between. */
static void names_in(json_t *object, char out[256])
{
    const char *key;
    json_t *value;

    out[0] = '\0';
    json_object_foreach (object, key, value)
        snprintf(out + strlen(out), 256 - strlen(out), "%s%s", out[0] ? " " : "", key);
}

struct promise {
    const char *words, *line, *names;
};

static const struct promise *promise_of(const char *words)
{
    static const struct promise all[] = {
#define ANSWER(words, line, names, manual) {words, line, names},
#include "tables/answers.def"
    };
    const size_t n = strlen(words);

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (const char *at = all[i].words; at; at = strchr(at, '|')) {
            at += *at == '|';
            if (strncmp(at, words, n) == 0 && (!at[n] || at[n] == '|'))
                return &all[i];
        }
    }
    fail_msg("%s has no row in answers.def", words);
    return NULL;
}

static void test_answers_have_the_names_that_are_promised(void **state)
{
    static const char *const lines[COMMAND_COUNT] = {
        [COMMAND_SESSION] = ",\"id\":\"1.2\"",
        [COMMAND_BACKEND_UP] = ",\"backend\":\"mail1\"",
        [COMMAND_BACKEND_DRAIN] = ",\"backend\":\"mail1\"",
        [COMMAND_BACKEND_DOWN] = ",\"backend\":\"mail1\"",
        [COMMAND_ROUTE] = ",\"user\":\"ann\"",
        [COMMAND_PIN] = ",\"user\":\"ann\",\"backend\":\"mail1\"",
        [COMMAND_UNPIN] = ",\"user\":\"ann\"",
        [COMMAND_PLACE] = ",\"user\":\"ann\",\"backend\":\"mail1\"",
        [COMMAND_HOLD] = ",\"user\":\"ann\"",
        [COMMAND_RELEASE] = ",\"user\":\"ann\"",
        [COMMAND_MOVE] = ",\"user\":\"ann\",\"backend\":\"mail1\"",
        [COMMAND_KICK] = ",\"user\":\"ann\"",
        [COMMAND_FLUSH] = ",\"user\":\"ann\"",
        [COMMAND_DIRECTORY_LOOKUP] = ",\"user\":\"ann\"",
        [COMMAND_PENALTIES] = ",\"user\":\"ann\"",
        [COMMAND_PENALTIES_CLEAR] = ",\"user\":\"ann\"",
    };

    (void)state;
    control.sessions = 2;
    reply.status = FACTS_UNKNOWN;
    reply.directory = reply.text = "";
    change_reply.lines[0] = "backend mail3 (pool main): added";
    control.workers_since_s = 1;
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        const char *words = command_words((enum command)i);
        const struct promise *p = promise_of(words);
        char line[128], names[256];
        json_t *answer;

        snprintf(line, sizeof line, "{\"command\":\"%s\"%s}", words, lines[i] ? lines[i] : "");
        /* The first line alone. */
        answer = json_loads(ask(line), JSON_DISABLE_EOF_CHECK, NULL);
        names_in(json_object_get(answer, p->line), names);
        assert_string_equal(names, p->names);
        json_decref(answer);
    }
}

/* Each has a function, and each of its arguments is of a kind: no row ends in an INSIST. */
static void test_every_command_can_be_asked(void **state)
{
    static const struct {
        const char *value, *text;
    } kinds[] = {{"USER", "ann"},          {"BACKEND", "mail1"}, {"POOL", "main"},
                 {"ADDRESS", "192.0.2.1"}, {"ID", "1.2"},        {"N", "5"}};

    (void)state;
    control.sessions = 2;
    reply.status = FACTS_UNKNOWN;
    reply.directory = reply.text = "";
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        struct command_argument all[COMMAND_ARGUMENTS_MAX];
        const size_t n = command_arguments((enum command)i, all);
        char line[512];
        size_t at = (size_t)snprintf(line, sizeof line, "{\"command\":\"%s\"",
                                     command_words((enum command)i));

        for (size_t k = 0; k < n; k++) {
            for (size_t m = 0; m < sizeof kinds / sizeof kinds[0]; m++) {
                if (strcmp(all[k].value, kinds[m].value) == 0)
                    at += (size_t)snprintf(line + at, sizeof line - at, ",\"%s\":\"%s\"",
                                           all[k].name, kinds[m].text);
            }
        }
        snprintf(line + at, sizeof line - at, "}");
        /* All at once may be too many. */
        if (strncmp(ask(line), "{", 1) != 0)
            assert_non_null(strstr(ask(line), " wants "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name)   cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ASKING(name) cmocka_unit_test_setup_teardown(name, setup_directories, teardown)
        TEST(test_what_is_no_request_is_told_what_one_is),
        TEST(test_wrong_arguments_are_named),
        TEST(test_arguments_that_do_not_go_together_are_told),
        TEST(test_a_backend_that_is_gone_from_the_configuration_can_only_be_left),
        TEST(test_steering_commands_do_what_they_say),
        TEST(test_what_control_refuses_is_told_in_its_words),
        TEST(test_backends_and_pools_are_told),
        TEST(test_sessions_and_users_are_told),
        TEST(test_a_session_that_ends_while_they_are_listed_is_left_out),
        TEST(test_what_ails_a_backend_is_told_beside_what_operators_say),
        TEST(test_penalties_are_told_of_what_was_asked),
        TEST(test_names_that_are_no_utf8_are_repaired),
        TEST(test_a_long_list_is_made_in_pieces),
        TEST(test_a_line_that_does_not_fit_becomes_an_error),
        TEST(test_deep_nesting_is_refused),
        TEST(test_each_row_says_what_its_arguments_are),
        ASKING(test_every_command_can_be_asked),
        ASKING(test_answers_have_the_names_that_are_promised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
