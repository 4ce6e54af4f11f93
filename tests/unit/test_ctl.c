/* usher ctl: what is typed becomes a request, and what is answered becomes a page. */
#include "cli/ctl.h"

#include "cli/ctl_show.h"
#include "cli/ctl_words.h"
#include "cm.h"

#include <stdlib.h>
#include <string.h>

/* --- words ------------------------------------------------------------------------------------ */

/* The request that a line of words, with single blanks between them, becomes; or "! " and what is
 * wrong. The caller frees it. */
static char *request_of(const char *typed)
{
    char *copy = strdup(typed), *argv[40] = {(char *)"ctl"}, *save, *text;
    int argc = 1;
    struct ctl_line line;
    enum command command;
    json_t *request;
    struct err err;

    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = strcmp(word, "''") == 0 ? (char *)"" : word;
    if (ctl_line_parse(argc, argv, &line, &err) != 0 ||
        ctl_request(&line, &command, &request, &err) != 0) {
        assert_true(asprintf(&text, "! %s", err.text) > 0);
    } else {
        text = json_dumps(request, JSON_COMPACT);
        json_decref(request);
    }
    free(copy);
    return text;
}

struct row {
    const char *typed, *request;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *request = request_of(rows[i].typed);

        if (strcmp(request, rows[i].request) != 0)
            fail_msg("\"%s\" became\n%s\nand not\n%s", rows[i].typed, request, rows[i].request);
        free(request);
    }
}

#define CHECK(rows) check((rows), sizeof(rows) / sizeof *(rows))

static void test_words_become_a_request(void **state)
{
    static const struct row rows[] = {
        {"status", "{\"command\":\"status\"}"},
        {"pin ann mail2", "{\"command\":\"pin\",\"user\":\"ann\",\"backend\":\"mail2\"}"},
        {"backend down mail1", "{\"command\":\"backend down\",\"backend\":\"mail1\"}"},
        {"route ann", "{\"command\":\"route\",\"user\":\"ann\"}"},
        {"route ann other", "{\"command\":\"route\",\"user\":\"ann\",\"pool\":\"other\"}"},
        {"penalties clear", "{\"command\":\"penalties clear\"}"},
        {"directory lookup ann", "{\"command\":\"directory lookup\",\"user\":\"ann\"}"},
        {"directory flush", "{\"command\":\"directory flush\"}"},
        {"kick", "{\"command\":\"kick\"}"},
    };

    (void)state;
    CHECK(rows);
}

static void test_arguments_have_names(void **state)
{
    static const struct row rows[] = {
        {"sessions --user ann", "{\"command\":\"sessions\",\"user\":\"ann\"}"},
        {"sessions --user=ann", "{\"command\":\"sessions\",\"user\":\"ann\"}"},
        {"--user ann sessions", "{\"command\":\"sessions\",\"user\":\"ann\"}"},
        {"pin --backend mail2 ann", "{\"command\":\"pin\",\"backend\":\"mail2\",\"user\":\"ann\"}"},
        {"move --user ann mail2", "{\"command\":\"move\",\"user\":\"ann\",\"backend\":\"mail2\"}"},
        {"move --from a --to b --rate 9",
         "{\"command\":\"move\",\"from\":\"a\",\"to\":\"b\",\"rate\":\"9\"}"},
        {"penalties --user clear", "{\"command\":\"penalties\",\"user\":\"clear\"}"},
    };

    (void)state;
    CHECK(rows);
}

static void test_our_own_options_may_stand_anywhere(void **state)
{
    static const struct row rows[] = {
        {"-c file --json unpin ann", "{\"command\":\"unpin\",\"user\":\"ann\"}"},
        {"unpin ann --json --socket=x", "{\"command\":\"unpin\",\"user\":\"ann\"}"},
        {"unpin --json ann -cfile", "{\"command\":\"unpin\",\"user\":\"ann\"}"},
        {"unpin -- --json", "{\"command\":\"unpin\",\"user\":\"--json\"}"},
        {"unpin --user --json", "{\"command\":\"unpin\",\"user\":\"--json\"}"},
        {"unpin -", "{\"command\":\"unpin\",\"user\":\"-\"}"},
        {"move ann mail2 --wait", "{\"command\":\"move\",\"user\":\"ann\",\"backend\":\"mail2\"}"},
    };

    (void)state;
    CHECK(rows);
}

static void test_who_mistypes_is_told_what_to_write(void **state)
{
    static const struct row rows[] = {
        {"", "! a command is missing"},
        {"sesions", "! there is no command \"sesions\"; did you mean \"sessions\"?"},
        {"penalties cler", "{\"command\":\"penalties\",\"user\":\"cler\"}"},
        {"bakend down mail1", "! there is no command \"bakend\"; did you mean \"backends\"?"},
        {"backend", "! there is no command \"backend\" alone, but \"backend up\", \"backend "
                    "drain\", \"backend down\""},
        {"drain mail1", "! there is no command \"drain\" alone, but \"backend drain\""},
        {"frobnicate", "! there is no command \"frobnicate\""},
        {"pin", "! USER is missing; write: usher ctl pin USER BACKEND"},
        {"pin ann", "! BACKEND is missing; write: usher ctl pin USER BACKEND"},
        {"pins ann", "! \"ann\" is too much; write: usher ctl pins"},
        {"route a b c", "! \"c\" is too much; write: usher ctl route USER [POOL]"},
        {"flush a b", "! \"b\" is too much; write: usher ctl flush [USER] [--backend BACKEND]"},
        {"kick --bakend x", "! kick takes no --bakend; did you mean --backend?"},
        {"status --frobnicate x", "! status takes no --frobnicate"},
        {"kick --user", "! a value is missing behind --user"},
        {"kick -c", "! a value is missing behind -c"},
        {"kick -x", "! unknown option -x"},
        {"kick --user a --user b", "! user is given twice"},
        {"kick ann --user bob",
         "! \"ann\" is too much; write: usher ctl kick [USER] [--session ID] [--backend BACKEND] "
         "[--rate N]"},
        {"kick ''", "! user is empty"},
        {"kick --backend ''", "! backend is empty"},
        {"kick \xff", "! user is no text in UTF-8"},
        {"kick ann --wait", "! --wait is for move; kick is done when it is answered"},
        {"kick a b c d e f g h i j k l m n o p q", "! too many words"},
    };

    (void)state;
    CHECK(rows);
}

/* Rows of the table that cannot be typed would be of no use. */
static void test_each_command_is_found_by_its_words_and_has_a_usage(void **state)
{
    char usage[CTL_USAGE_TEXT];

    (void)state;
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        char *words = strdup(command_words((enum command)i)), *save;
        const char *list[4];
        size_t n = 0, used;
        enum command found;
        struct err err;

        for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
            list[n++] = w;
        assert_int_equal(ctl_find(list, n, &found, &used, &err), 0);
        assert_int_equal(found, i);
        assert_int_equal(used, n);
        assert_ptr_equal(strstr(ctl_usage(found, usage), command_words(found)), usage);
        free(words);
    }
}

/* --- pages ------------------------------------------------------------------------------------ */

static char *printed;
static size_t printed_n;

struct looks {
    enum command command;
    bool is_json, is_coloured;
    size_t width;
};

/* Shows rows (a JSON array) and an end: {"done": ...} or {"error": ..., "code": ...}. */
static void show(struct looks looks, const char *rows, const char *end)
{
    json_t *list = json_loads(rows, 0, NULL), *last = json_loads(end, 0, NULL), *row;
    struct ctl_show s;
    FILE *out;
    size_t i;

    free(printed);
    printed = NULL;
    out = open_memstream(&printed, &printed_n);
    assert_true(out && list && last);
    ctl_show_init(&s, out, looks.command, looks.is_json);
    s.is_coloured = looks.is_coloured;
    s.width = looks.width;
    json_array_foreach (list, i, row)
        ctl_show_row(&s, json_incref(row));
    if (json_object_get(last, "done"))
        ctl_show_done(&s, json_object_get(last, "done"));
    else
        ctl_show_error(&s, json_string_value(json_object_get(last, "error")),
                       json_string_value(json_object_get(last, "code")));
    assert_false(s.is_failed);
    ctl_show_free(&s);
    fclose(out);
    json_decref(list);
    json_decref(last);
}

#define DONE "{\"done\": {\"rows\": 0}}"

static void test_rows_become_a_table_by_their_names(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_USERS},
         "[{\"user\": \"ann\", \"backend\": \"mail1\", \"placed\": null, \"held\": false,"
         "  \"moving\": false, \"sessions\": 12},"
         " {\"user\": \"bob\", \"backend\": null, \"placed\": null, \"held\": true,"
         "  \"moving\": false, \"sessions\": 3}]",
         DONE);
    assert_string_equal(printed, "USER  BACKEND  HELD  SESSIONS\n"
                                 "ann   mail1                12\n"
                                 "bob            held         3\n");
}

static void test_a_name_that_only_later_rows_have_is_a_column_too(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_BACKENDS},
         "[{\"backend\": \"m1\"}, {\"backend\": \"m2\", \"addresses\": [\"::1\", \"::2\"]}]", DONE);
    assert_string_equal(printed, "BACKEND  ADDRESSES\nm1\nm2       ::1, ::2\n");
}

static void test_addresses_are_told_where_they_say_more_than_the_address(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_BACKENDS},
         "[{\"address\": \"127.0.0.1:143\", \"addresses\": [\"127.0.0.1:143\"]}]", DONE);
    assert_string_equal(printed, "ADDRESS\n127.0.0.1:143\n");
    show((struct looks){.command = COMMAND_BACKENDS},
         "[{\"address\": \"mail:143\", \"addresses\": [\"127.0.0.1:143\"]}]", DONE);
    assert_string_equal(printed, "ADDRESS   ADDRESSES\nmail:143  127.0.0.1:143\n");
}

static void test_states_are_coloured_on_a_terminal_only(void **state)
{
    static const char rows[] =
        "[{\"state\": \"up\"}, {\"state\": \"drain\"}, {\"state\": \"down\"}]";

    (void)state;
    show((struct looks){.command = COMMAND_BACKENDS}, rows, DONE);
    assert_string_equal(printed, "STATE\nup\ndrain\ndown\n");
    show((struct looks){.command = COMMAND_BACKENDS, .is_coloured = true}, rows, DONE);
    assert_string_equal(printed, "\033[1mSTATE\033[0m\n\033[32mup\033[0m\n\033[33mdrain\033[0m\n"
                                 "\033[31mdown\033[0m\n");
}

/* As usher answers, the limits and the health of the second given. */
#define BACKENDS(more)                                                               \
    "[{\"backend\": \"mail1\", \"pool\": \"main\", \"address\": \"10.0.0.1:10143\"," \
    "  \"state\": \"up\", \"weight\": 1, \"sessions\": 12, \"users\": 7,"            \
    "  \"addresses\": [\"10.0.0.1:10143\"], \"health\": \"up\", \"since\": 119,"     \
    "  \"weight_now\": 1, \"connecting\": 0, \"queued\": 0, \"backup\": false,"      \
    "  \"max_sessions\": null, \"max_connecting\": 200, \"login_rate\": null},"      \
    " {\"backend\": \"mail2\", \"pool\": \"main\", \"address\": \"10.0.0.2:10143\"," \
    "  \"state\": \"drain\", \"weight\": 1, \"sessions\": 3, \"users\": 2,"          \
    "  \"addresses\": [\"10.0.0.2:10143\"]," more "}]"

static void test_columns_that_say_nothing_are_left_out(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_BACKENDS},
         BACKENDS("\"health\": \"recovering\", \"since\": 7199, \"weight_now\": 1,"
                  "\"connecting\": 0, \"queued\": 0, \"backup\": false, \"max_sessions\": null,"
                  "\"max_connecting\": 200, \"login_rate\": null"),
         DONE);
    assert_string_equal(
        printed, "BACKEND  POOL  ADDRESS         STATE  HEALTH      SINCE  SESSIONS  USERS\n"
                 "mail1    main  10.0.0.1:10143  up     up           119s        12      7\n"
                 "mail2    main  10.0.0.2:10143  drain  recovering   119m         3      2\n");
}

static void test_columns_come_when_they_say_something(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_BACKENDS},
         BACKENDS("\"health\": null, \"since\": null, \"weight_now\": 0.25,"
                  "\"connecting\": 20, \"queued\": 4, \"backup\": true, \"max_sessions\": 500,"
                  "\"max_connecting\": 20, \"login_rate\": 30"),
         DONE);
    assert_string_equal(printed,
                        "BACKEND  POOL  ADDRESS         STATE  HEALTH  SINCE  WEIGHT NOW  SESSIONS"
                        "  USERS  CONNECTING  QUEUED  BACKUP  LOGIN RATE\n"
                        "mail1    main  10.0.0.1:10143  up     up       119s                    12"
                        "      7\n"
                        "mail2    main  10.0.0.2:10143  drain                      0.250     3/500"
                        "      2       20/20       4  backup          30\n");
}

static void test_times_are_told_in_what_they_are_counted_in(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_BACKENDS},
         "[{\"since\": 0}, {\"since\": 120}, {\"since\": 7200}, {\"since\": 172799},"
         " {\"since\": 172800}, {\"since\": 90000000}]",
         DONE);
    assert_string_equal(printed, "SINCE\n   0s\n   2m\n   2h\n  47h\n   2d\n1041d\n");
}

/* Two columns, which are coloured each by its own. */
static void test_health_is_coloured_beside_the_state(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_BACKENDS, .is_coloured = true},
         "[{\"state\": \"up\", \"health\": \"down\"}, {\"state\": \"down\", \"health\": \"up\"},"
         " {\"state\": \"up\", \"health\": \"failing\"},"
         " {\"state\": \"up\", \"health\": \"recovering\"}]",
         DONE);
    assert_string_equal(printed, "\033[1mSTATE\033[0m  \033[1mHEALTH\033[0m\n"
                                 "\033[32mup\033[0m     \033[31mdown\033[0m\n"
                                 "\033[31mdown\033[0m   \033[32mup\033[0m\n"
                                 "\033[32mup\033[0m     \033[33mfailing\033[0m\n"
                                 "\033[32mup\033[0m     \033[33mrecovering\033[0m\n");
}

static void test_who_is_unhealthy_is_told_at_the_top(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_STATUS, .is_coloured = true}, "[]",
         "{\"done\": {\"recovered\": true, \"held\": 0, \"delayed\": 1, \"workers\": 2,"
         " \"queued\": 3, \"unhealthy\": [\"m1\", \"m2\"]}}");
    assert_string_equal(printed, "  \033[2mrecovered\033[0m  yes\n"
                                 "  \033[2munhealthy\033[0m  \033[31mm1, m2\033[0m\n"
                                 "  \033[2mheld\033[0m       0\n"
                                 "  \033[2mdelayed\033[0m    1\n"
                                 "  \033[2mqueued\033[0m     3\n"
                                 "  \033[2mworkers\033[0m    2\n");
    show((struct looks){.command = COMMAND_STATUS}, "[]",
         "{\"done\": {\"recovered\": false, \"unhealthy\": []}}");
    assert_string_equal(printed, "  recovered  no\n");
}

static void test_no_rows_are_said_to_be_none(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_SESSIONS}, "[]", DONE);
    assert_string_equal(printed, "none\n");
}

static void test_what_was_done_is_said_in_its_own_words(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_PIN}, "[]",
         "{\"done\": {\"text\": \"ann is pinned to mail2\", \"users\": 1}}");
    assert_string_equal(printed, "ann is pinned to mail2\n");
    show((struct looks){.command = COMMAND_PIN}, "[]", "{\"done\": {}}");
    assert_string_equal(printed, "done\n");
}

static void test_what_changes_stands_line_by_line_before_what_came_of_it(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_RELOAD},
         "[{\"change\": \"backend mail3 (pool main): added\"},"
         " {\"change\": \"pool main: queue_timeout 10s -> 20s\"}]",
         "{\"done\": {\"generation\": 3, \"changes\": 2, \"text\": \"reloaded: generation 3\"}}");
    assert_string_equal(printed, "backend mail3 (pool main): added\n"
                                 "pool main: queue_timeout 10s -> 20s\n"
                                 "reloaded: generation 3\n");
    show((struct looks){.command = COMMAND_UPGRADE, .is_coloured = true},
         "[{\"change\": \"listener imap: removed\"}, {\"change\": \"pool p: added\"}]",
         "{\"error\": \"it failed\", \"code\": \"failed\"}");
    assert_string_equal(printed, "\033[33mlistener imap: removed\033[0m\n"
                                 "\033[32mpool p: added\033[0m\n");
}

static void test_retired_workers_are_dim_and_marked(void **state)
{
#define WORKERS_OF(retired)                                                              \
    "[{\"generation\": 1, \"slot\": 0, \"pid\": 7, \"version\": \"1.0\", \"age\": 7200," \
    "  \"sessions\": 12, \"retired\": " retired "},"                                     \
    " {\"generation\": 2, \"slot\": 0, \"pid\": 1234, \"version\": \"1.1\", \"age\": 5," \
    "  \"sessions\": 0, \"retired\": false}]"
    (void)state;
    show((struct looks){.command = COMMAND_WORKERS}, WORKERS_OF("true"), DONE);
    assert_string_equal(printed, "GENERATION  SLOT   PID  VERSION  AGE  SESSIONS  RETIRED\n"
                                 "         1     0     7  1.0       2h        12  retired\n"
                                 "         2     0  1234  1.1       5s         0\n");
    show((struct looks){.command = COMMAND_WORKERS, .is_coloured = true}, WORKERS_OF("true"), DONE);
    assert_non_null(strstr(printed, "\033[2m1.0\033[0m"));
    assert_non_null(strstr(printed, "\033[2mretired\033[0m"));
    assert_null(strstr(printed, "\033[2m1.1"));
    show((struct looks){.command = COMMAND_WORKERS}, WORKERS_OF("false"), DONE);
    assert_null(strstr(printed, "RETIRED"));
}

static void test_retired_workers_are_told_of_while_there_are_any(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_STATUS}, "[]",
         "{\"done\": {\"workers\": 2, \"moves\": 0, \"retired\": 3}}");
    assert_string_equal(printed, "  workers  2\n  retired  3\n  moves    0\n");
    show((struct looks){.command = COMMAND_STATUS}, "[]",
         "{\"done\": {\"workers\": 2, \"moves\": 0, \"retired\": 0, \"moves_since\": 1}}");
    assert_string_equal(printed, "  workers  2\n  moves    0\n");
}

static void test_facts_stand_below_each_other_and_tables_below_them(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_STATUS}, "[]",
         "{\"done\": {\"version\": \"1.0\", \"known_users\": 7, \"recovered\": true,"
         " \"address\": {\"failed\": 3, \"is\": false}, \"none\": null,"
         " \"backends\": [{\"backend\": \"m1\", \"users\": 2}]}}");
    assert_string_equal(printed, "  version      1.0\n"
                                 "  known users  7\n"
                                 "  recovered    yes\n"
                                 "  address      failed 3\n"
                                 "\n"
                                 "  BACKEND  USERS\n"
                                 "  m1           2\n");
}

static void test_the_page_of_route_points_at_the_chosen_one(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_ROUTE}, "[]",
         "{\"done\": {\"user\": \"ann\", \"pool\": \"main\", \"chosen\": \"m2\", \"why\": \"pin\","
         " \"pin\": \"m2\", \"placed\": null, \"live\": \"m2\", \"affinity\": null,"
         " \"held\": true, \"moving\": false, \"hash\": ["
         "  {\"backend\": \"m1\", \"score\": 2.5, \"weight\": 1, \"state\": \"drain\","
         "   \"may_serve\": false},"
         "  {\"backend\": \"m2\", \"score\": 1.25, \"weight\": 3, \"state\": \"up\","
         "   \"may_serve\": true}]}}");
    assert_string_equal(printed, "ann of pool main goes to m2\n"
                                 "  why        pin\n"
                                 "  pin        m2\n"
                                 "  placement  none\n"
                                 "  sessions   m2\n"
                                 "  affinity   none\n"
                                 "  held       logins wait until release\n"
                                 "\n"
                                 "     BACKEND  SCORE  WEIGHT  STATE  MAY SERVE\n"
                                 "     m1       2.500       1  drain  not for new users\n"
                                 "  \xe2\x86\x92  m2       1.250       3  up\n");
}

static void test_the_page_of_route_has_what_directories_say(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_ROUTE}, "[]",
         "{\"done\": {\"user\": \"ann\", \"pool\": \"main\", \"chosen\": \"m2\", \"why\": \"tag\","
         " \"pin\": null, \"placed\": null, \"live\": null, \"affinity\": null,"
         " \"held\": false, \"moving\": false, \"hash\": ["
         "  {\"backend\": \"m2\", \"score\": 1.25, \"weight\": 2, \"state\": \"up\","
         "   \"may_serve\": true, \"health\": \"failing\", \"sessions\": 7, \"backup\": true,"
         "   \"weight_now\": 0.5}],"
         " \"pool_by\": \"tag\", \"directory\": \"people\","
         " \"facts\": {\"tag\": \"eu\", \"disabled\": \"Moved away\"}, \"age\": 130,"
         " \"told\": null, \"disabled\": false, \"queued\": 2}}");
    assert_string_equal(
        printed, "ann of pool main goes to m2\n"
                 "  why        tag\n"
                 "  directory  people: tag=eu disabled=\"Moved away\"; 2m old\n"
                 "  pool       main, by the directory's tag=eu\n"
                 "  pin        none\n"
                 "  placement  none\n"
                 "  sessions   none\n"
                 "  affinity   none\n"
                 "  queued     2 logins wait for room there; this one would too\n"
                 "\n"
                 "     BACKEND  SCORE  WEIGHT  WEIGHT NOW  STATE  HEALTH   SESSIONS  BACKUP\n"
                 "  \xe2\x86\x92  m2       1.250       2       0.500  up     failing         7  "
                 "backup\n");
}

static void test_what_a_directory_knows_has_a_page(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_DIRECTORY_LOOKUP}, "[]",
         "{\"done\": {\"user\": \"ann\", \"known\": true, \"directory\": \"people\","
         " \"facts\": {\"backend\": \"m2\", \"port\": \"143\"}}}");
    assert_string_equal(printed, "ann\n  directory  people: backend=m2 port=143\n");
    show((struct looks){.command = COMMAND_DIRECTORY_LOOKUP}, "[]",
         "{\"done\": {\"user\": \"ann\", \"known\": true, \"directory\": \"people\","
         " \"facts\": {}}}");
    assert_string_equal(printed, "ann\n  directory  people: no facts\n");
    show((struct looks){.command = COMMAND_DIRECTORY_LOOKUP}, "[]",
         "{\"done\": {\"user\": \"a\\u001b\", \"known\": false, \"directory\": null,"
         " \"facts\": null}}");
    assert_string_equal(printed, "a\\x1b is not known to any directory\n");
}

static void test_who_is_not_served_is_told_why(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_ROUTE}, "[]",
         "{\"done\": {\"user\": \"ann\", \"pool\": \"main\", \"chosen\": null,"
         " \"why\": \"its backend is down\", \"pin\": null, \"hash\": []}}");
    assert_string_equal(printed, "ann of pool main is not served\n"
                                 "  why        its backend is down\n"
                                 "  pin        none\n"
                                 "  placement  none\n"
                                 "  sessions   none\n"
                                 "  affinity   none\n");
}

static void test_control_characters_do_not_reach_the_terminal(void **state)
{
    static const char rows[] =
        "[{\"user\": \"\\u001b[2J\\u009b31m\\u007f\\u202e\", \"a\\u001bb\": 1}]";

    (void)state;
    show((struct looks){.command = COMMAND_USERS}, rows, DONE);
    assert_non_null(strstr(printed, "\\x1b[2J"));
    show((struct looks){.command = COMMAND_USERS, .is_json = true}, rows, DONE);
    assert_non_null(strstr(printed, "\\u001B[2J\\u009B31m\\u007f\\u202E"));
    show((struct looks){.command = COMMAND_STATUS}, "[]",
         "{\"done\": {\"text\": \"\\u001b[2J\", \"x\": 1}}");
    assert_string_equal(printed, "\\x1b[2J\n");
    show((struct looks){.command = COMMAND_STATUS}, "[]",
         "{\"done\": {\"a\\u001b\": \"\\u001b[2J\"}}");
    for (size_t i = 0; i < printed_n; i++)
        assert_true(printed[i] == '\n' || (unsigned char)printed[i] >= ' ');
}

static void test_scripts_get_one_object(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_USERS, .is_json = true},
         "[{\"user\": \"ann\"}, {\"user\": \"\xc3\xa4\"}]", "{\"done\": {\"rows\": 2}}");
    assert_string_equal(printed, "{\"rows\": [\n{\"user\": \"ann\"},\n{\"user\": \"\\u00E4\"}\n], "
                                 "\"done\": {\"rows\": 2}}\n");
    show((struct looks){.command = COMMAND_PIN, .is_json = true}, "[]",
         "{\"error\": \"no \\\"x\\\"\", \"code\": \"usage\"}");
    assert_string_equal(printed,
                        "{\"rows\": [], \"error\": \"no \\\"x\\\"\", \"code\": \"usage\"}\n");
}

static void test_rows_before_an_error_are_shown(void **state)
{
    (void)state;
    show((struct looks){.command = COMMAND_USERS}, "[{\"user\": \"ann\"}]",
         "{\"error\": \"memory\", \"code\": \"failed\"}");
    assert_string_equal(printed, "USER\nann\n");
}

static void test_a_long_list_comes_in_pieces_with_titles(void **state)
{
    struct ctl_show s;
    size_t titles = 0;
    FILE *out;

    (void)state;
    free(printed);
    printed = NULL;
    out = open_memstream(&printed, &printed_n);
    assert_non_null(out);
    ctl_show_init(&s, out, COMMAND_SESSIONS, false);
    for (int i = 0; i < CTL_ROWS_GATHERED + 1; i++)
        ctl_show_row(&s, json_pack("{si}", "id", i));
    fflush(out);
    assert_true(printed_n > CTL_ROWS_GATHERED * 4); /* the first piece is out */
    ctl_show_done(&s, NULL);
    ctl_show_free(&s);
    fclose(out);
    for (const char *at = printed; (at = strstr(at, "ID\n")); at++)
        titles++;
    assert_int_equal(titles, 2);
}

/* --- help ------------------------------------------------------------------------------------- */

static void test_the_list_has_every_command_in_lines_that_fit(void **state)
{
    FILE *out;

    (void)state;
    free(printed);
    printed = NULL;
    out = open_memstream(&printed, &printed_n);
    assert_non_null(out);
    assert_int_equal(ctl_help(out, NULL, 0), 0);
    fclose(out);
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        char line[64];

        snprintf(line, sizeof line, "\n    %s", command_words((enum command)i));
        assert_non_null(strstr(printed, line));
    }
    for (const char *at = printed; *at; at += strcspn(at, "\n") + 1)
        assert_true(strcspn(at, "\n") < 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_become_a_request),
        cmocka_unit_test(test_arguments_have_names),
        cmocka_unit_test(test_our_own_options_may_stand_anywhere),
        cmocka_unit_test(test_who_mistypes_is_told_what_to_write),
        cmocka_unit_test(test_each_command_is_found_by_its_words_and_has_a_usage),
        cmocka_unit_test(test_rows_become_a_table_by_their_names),
        cmocka_unit_test(test_a_name_that_only_later_rows_have_is_a_column_too),
        cmocka_unit_test(test_addresses_are_told_where_they_say_more_than_the_address),
        cmocka_unit_test(test_states_are_coloured_on_a_terminal_only),
        cmocka_unit_test(test_columns_that_say_nothing_are_left_out),
        cmocka_unit_test(test_columns_come_when_they_say_something),
        cmocka_unit_test(test_times_are_told_in_what_they_are_counted_in),
        cmocka_unit_test(test_health_is_coloured_beside_the_state),
        cmocka_unit_test(test_who_is_unhealthy_is_told_at_the_top),
        cmocka_unit_test(test_the_page_of_route_has_what_directories_say),
        cmocka_unit_test(test_what_a_directory_knows_has_a_page),
        cmocka_unit_test(test_no_rows_are_said_to_be_none),
        cmocka_unit_test(test_what_was_done_is_said_in_its_own_words),
        cmocka_unit_test(test_what_changes_stands_line_by_line_before_what_came_of_it),
        cmocka_unit_test(test_retired_workers_are_dim_and_marked),
        cmocka_unit_test(test_retired_workers_are_told_of_while_there_are_any),
        cmocka_unit_test(test_facts_stand_below_each_other_and_tables_below_them),
        cmocka_unit_test(test_the_page_of_route_points_at_the_chosen_one),
        cmocka_unit_test(test_who_is_not_served_is_told_why),
        cmocka_unit_test(test_control_characters_do_not_reach_the_terminal),
        cmocka_unit_test(test_scripts_get_one_object),
        cmocka_unit_test(test_rows_before_an_error_are_shown),
        cmocka_unit_test(test_a_long_list_comes_in_pieces_with_titles),
        cmocka_unit_test(test_the_list_has_every_command_in_lines_that_fit),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(printed);
    return failed;
}
