/* Commands about a user that directories are asked about: route, directory lookup and flush; and
 * what becomes of names. */
#include "commands_world.h"

#define CHOICES                                                                                   \
    "\"hash\":[{\"backend\":\"disk1\",\"score\":1.5,\"weight\":1,\"state\":\"up\",\"may_serve\":" \
    "true,\"health\":null,\"sessions\":0,\"backup\":false,\"weight_now\":1},"                     \
    "{\"backend\":\"disk1\",\"score\":null,\"weight\":1,\"state\":\"up\",\"may_serve\":false,"    \
    "\"health\":null,\"sessions\":0,\"backup\":false,\"weight_now\":1}]"

static void test_a_route_is_explained(void **state)
{
    (void)state;
    assert_string_equal(
        ask("{\"command\":\"route\",\"user\":\"ann\",\"pool\":\"other\"}"),
        "{\"done\":{\"user\":\"ann\",\"pool\":\"other\",\"chosen\":\"disk1\",\"why\":\"the hash's "
        "first "
        "choice\",\"pin\":null,\"placed\":null,\"live\":null,\"affinity\":null,\"held\":false,"
        "\"moving\":false," CHOICES ",\"pool_by\":\"option\",\"directory\":null,\"facts\":null,"
        "\"age\":null,\"told\":null,\"disabled\":false,\"queued\":0}}\n");
}

/* A part of the answer about the way of ann@a.test. */
static void check_route(const char *part)
{
    const char *said = ask("{\"command\":\"route\",\"user\":\"Ann\"}");

    if (!strstr(said, part))
        fail_msg("no %s\nin %s", part, said);
}

static void test_directories_have_their_say_in_a_route(void **state)
{
    (void)state;
    reply.status = FACTS_FOUND;
    reply.directory = "people";
    reply.text = "backend=mail2 max_sessions=5 backend_user=a1 verify=yes";
    reply.age_ms = 7900;
    check_route("{\"done\":{\"user\":\"ann@a.test\",\"pool\":\"main\",\"chosen\":\"mail2\",");
    check_route("\"pool_by\":\"backend\",\"directory\":\"people\",\"facts\":{\"backend\":\"mail2\","
                "\"backend_user\":\"a1\",\"max_sessions\":\"5\",\"password_hash\":\"set\"},\"age\":"
                "7,\"told\":\"mail2\",\"disabled\":false,\"queued\":0}}\n");
    assert_false(control.is_asked_fresh); /* as a login asks */
    reply.text = "tag=eu";
    reply.age_ms = 0;
    check_route("\"pool\":\"other\",\"chosen\":\"disk1\"");
    check_route("\"pool_by\":\"tag\",\"directory\":\"people\",\"facts\":{\"tag\":\"eu\"},\"age\":"
                "null,\"told\":null,");
    reply.text = "host=MAIL2.test port=10143 tls=off";
    check_route("\"pool\":\"main\",\"chosen\":\"mail2\"");
    check_route("\"pool_by\":\"host\",\"directory\":\"people\",\"facts\":{\"host\":\"MAIL2.test\","
                "\"port\":\"10143\",\"tls\":\"off\"},");
    reply.text = "max_sessions=5";
    check_route("\"pool_by\":\"first listener\"");
    backends.all[2].queue.n = 3;
    check_route("\"queued\":3");
    backends.all[2].queue.n = 0;
}

static void test_whom_no_directory_knows_goes_the_usual_way(void **state)
{
    (void)state;
    reply.status = FACTS_UNKNOWN;
    reply.directory = reply.text = "";
    check_route("\"pool\":\"other\",\"chosen\":\"disk1\",\"why\":\"the hash's first choice\"");
    check_route("\"directory\":null,\"facts\":null,");
}

static void test_a_route_says_when_directories_keep_the_user_out(void **state)
{
    static const struct {
        enum facts_status status;
        const char *directory, *text, *part;
    } rows[] = {
        {FACTS_UNAVAILABLE, "people", "it is asleep",
         "\"chosen\":null,\"why\":\"directory people: it is asleep; a login would get NO "
         "[UNAVAILABLE]\""},
        {FACTS_UNAVAILABLE, "", "no answer within directory_timeout",
         "\"why\":\"directories: no answer within directory_timeout; a login would get NO "
         "[UNAVAILABLE]\""},
        {FACTS_FOUND, "people", "backend=mial2",
         "\"chosen\":null,\"why\":\"directory people: backend=mial2 is not in the configuration; a "
         "login would get NO [UNAVAILABLE]\""},
        {FACTS_FOUND, "people", "nonsense", "; a login would get NO [UNAVAILABLE]\",\"pin\":null"},
        {FACTS_FOUND, "people", "backend=mail2 disabled=\"Gone \xc3\xa4way\"",
         "\"chosen\":null,\"why\":\"directory people: the user is disabled; a login would get NO "
         "[CONTACTADMIN]\""},
        {FACTS_FOUND, "people", "disabled=\"Gone \xc3\xa4way\"",
         "\"facts\":{\"disabled\":\"Gone \xc3\xa4way\"},\"age\":null,\"told\":null,\"disabled\":"
         "true,\"queued\":null"},
        {FACTS_FOUND, "people", "disabled=yes", "\"facts\":{\"disabled\":\"yes\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        reply.status = rows[i].status;
        reply.directory = rows[i].directory;
        reply.text = rows[i].text;
        check_route(rows[i].part);
    }
}

static void test_directories_are_looked_up(void **state)
{
    static const char line[] = "{\"command\":\"directory lookup\",\"user\":\"ANN\"}";

    (void)state;
    reply.status = FACTS_FOUND;
    reply.directory = "people";
    reply.text = "backend=mail2 disabled=no";
    assert_string_equal(ask(line),
                        "{\"done\":{\"user\":\"ann@a.test\",\"known\":true,"
                        "\"directory\":\"people\",\"facts\":{\"backend\":\"mail2\"}}}\n");
    assert_true(control.is_asked_fresh);
    reply.status = FACTS_UNKNOWN;
    reply.directory = reply.text = "";
    assert_string_equal(ask(line), "{\"done\":{\"user\":\"ann@a.test\",\"known\":false,"
                                   "\"directory\":null,\"facts\":null}}\n");
    reply.status = FACTS_UNAVAILABLE;
    reply.directory = "people";
    reply.text = "it is asleep";
    assert_string_equal(ask(line),
                        "{\"error\":\"directory people: it is asleep\",\"code\":\"failed\"}\n");
}

static void test_what_directories_have_said_is_forgotten(void **state)
{
    static const struct row rows[] = {
        {"{\"command\":\"directory flush\"}",
         "{\"done\":{\"text\":\"what directories have said is forgotten\"}}\n"},
        {"{\"command\":\"directory flush\",\"user\":\"Ann\"}",
         "{\"done\":{\"text\":\"what directories have said of ann@a.test is forgotten\"}}\n"},
    };

    (void)state;
    CHECK(rows);
    assert_string_equal(control.did, "flush facts ; flush facts ann@a.test; ");
}

static void test_where_there_is_no_directory_none_is_asked(void **state)
{
    static const struct row rows[] = {
        {"{\"command\":\"directory flush\"}", "usage: the configuration has no directory"},
        {"{\"command\":\"directory lookup\",\"user\":\"ann\"}",
         "usage: the configuration has no directory"},
    };

    (void)state;
    CHECK(rows);
    assert_int_equal(control.questions, 0);
}

static void test_names_are_what_a_login_would_make_of_them(void **state)
{
    static const struct row rows[] = {
        {"{\"command\":\"pin\",\"user\":\"Ann\",\"backend\":\"mail2\"}",
         "{\"done\":{\"users\":1,\"text\":\"ann@a.test is pinned to mail2\"}}\n"},
        {"{\"command\":\"kick\",\"user\":\"BOB@b.test\"}",
         "{\"done\":{\"sessions\":3,\"text\":\"told 3 sessions of bob@b.test to end\"}}\n"},
    };
    char line[700];

    (void)state;
    CHECK(rows);
    assert_string_equal(control.did, "pin ann@a.test mail2; kick bob@b.test; ");
    /* What would not fit with its domain. */
    snprintf(line, sizeof line, "{\"command\":\"hold\",\"user\":\"%0*d\"}", IPC_USER_MAX, 7);
    assert_string_equal(ask(line),
                        "usage: user is no name of a user: it has 1 to 512 bytes, and no line "
                        "ends");
}

/* Nobody is there any more when the answer comes. */
static void test_a_call_that_waits_can_be_given_up(void **state)
{
    struct request request;
    struct buf out;
    struct call one, other;
    struct err err;

    (void)state;
    buf_init(&out, 1 << 20, false);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(
            request_open(SLICE("{\"command\":\"route\",\"user\":\"ann\"}"), &request, &err), 0);
        assert_int_equal(call_begin(i ? &other : &one, &control, &request, &out, 61000, &err), 0);
    }
    assert_true(one.is_waiting && other.is_waiting);
    assert_int_equal(control.questions, 1); /* both wait for the same */
    one.on_told = other.on_told = on_told;
    call_done(&one);
    memset(&one, 0xff, sizeof one);
    times_told = 0;
    tell_facts(&control, 1, FACTS_FOUND, "people", "backend=mail2", 0);
    assert_int_equal(times_told, 1);
    assert_false(call_step(&other, 61000));
    assert_true(buf_len(&out) > 0);
    call_done(&other);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_route_is_explained),
        ASKING(test_directories_have_their_say_in_a_route),
        ASKING(test_whom_no_directory_knows_goes_the_usual_way),
        ASKING(test_a_route_says_when_directories_keep_the_user_out),
        ASKING(test_directories_are_looked_up),
        ASKING(test_what_directories_have_said_is_forgotten),
        TEST(test_where_there_is_no_directory_none_is_asked),
        ASKING(test_names_are_what_a_login_would_make_of_them),
        ASKING(test_a_call_that_waits_can_be_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
