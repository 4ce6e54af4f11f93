/* What control hears about users from the lookup process, over a real channel; directories are
 * static ones, a map that is not there, and a server on the same loop. */
#include "channel_end.h"
#include "cm.h"

#include "base/log.h"
#include "directory/facts.h"
#include "lookup/facts.h"
#include "net/listen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 };

static struct loop *loop;
static struct conf *conf;
static struct channels channels;
static struct channel channel; /* lookup's end */
static struct end control;
static struct lookup_facts facts;
static struct counters counters[COUNTERS_BLOCKS];
static struct deadline patience;
static int log_fd;

/* The server says nothing by itself. */
static struct {
    struct watch listening, conn;
    struct addr addr;
    int listening_fd, fd;
    bool is_asked;
    const char *title; /* as a directory; NULL: it does not serve */
} server;

static bool (*is_so)(void);
static struct msg heard;

static void on_turn(void *arg)
{
    (void)arg;
    channels_flush(&channels);
    if (is_so && is_so()) {
        is_so = NULL;
        loop_stop(loop);
    }
}

static void on_patience(struct deadline *d)
{
    (void)d;
    fail_msg("nothing has come");
}

static void wait_for(bool (*what)(void))
{
    is_so = what;
    deadline_set(loop, &patience, PATIENCE_MS);
    loop_run(loop);
    deadline_clear(&patience);
}

static bool has_heard(void)
{
    return next_msg(&control, &heard);
}

static bool is_asked(void)
{
    return server.is_asked;
}

static bool has_asker_gone(void)
{
    return !channel.is_open;
}

static bool has_no_question(void)
{
    return list_empty(&facts.questions);
}

/* ---- the server ---- */

static void on_asked(struct watch *w, unsigned events)
{
    char got[1024];

    (void)w;
    (void)events;
    server.is_asked = true;
    if (recv(server.fd, got, sizeof got, 0) <= 0)
        watch_set(loop, &server.conn, 0);
}

static void on_client(struct watch *w, unsigned events)
{
    (void)w;
    (void)events;
    server.fd = accept(server.listening_fd, NULL, NULL);
    watch_init(&server.conn, server.fd, on_asked);
    watch_set(loop, &server.conn, LOOP_READ);
}

static void serve(const char *title)
{
    struct err err;

    server.title = title;
    assert_true(addr_parse_ip(SLICE("127.0.0.1"), 0, &server.addr));
    assert_int_equal(listen_open(&server.addr, &server.listening_fd, 1, &err), 0);
    watch_init(&server.listening, server.listening_fd, on_client);
    watch_set(loop, &server.listening, LOOP_READ);
}

static void say(const char *text)
{
    wait_for(is_asked);
    server.is_asked = false;
    assert_int_equal(send(server.fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* ---- control ---- */

static void on_message(struct channel *ch, const struct msg *m)
{
    if (m->type == MSG_ASK_FACTS)
        lookup_facts_ask(&facts, ch, m);
    else
        lookup_facts_flush(&facts, ch, m);
}

static void on_closed(struct channel *ch, const char *why)
{
    (void)why;
    lookup_facts_forget(&facts, ch);
}

static void join(void)
{
    static const struct channel_events events = {.on_message = on_message, .on_closed = on_closed};
    static const struct msg_hello self = {IPC_MAGIC, IPC_VERSION, IPC_OLDEST, ROLE_LOOKUP, 0, 0,
                                          1,         0,           0};
    struct err err;
    int fds[2];

    assert_int_equal(channel_pair(fds, &err), 0);
    control = (struct end){.fd = fds[0]};
    say_hello(&control, ROLE_CONTROL);
    channel_open(&channel, &channels, fds[1], &self, &events);
}

static void ask(uint32_t id, const char *user)
{
    const struct msg_ask_facts m = {0};

    send_msg(&control, MSG_ASK_FACTS, id, &m, slice_str(user), -1);
}

static void assert_facts(uint32_t id, enum facts_status status, const char *directory,
                         const char *text)
{
    const struct msg_facts *m;
    struct slice title, rest;

    wait_for(has_heard);
    m = heard.body;
    assert_string_equal(msg_type_name(heard.type), "FACTS");
    assert_int_equal(heard.id, id);
    assert_int_equal(m->status, status);
    title = slice_sub(heard.tail, 0, m->directory_n);
    rest = slice_sub(heard.tail, m->directory_n, heard.tail.n);
    assert_true(slice_eq(title, slice_str(directory)));
    if (!slice_eq(rest, slice_str(text)))
        fail_msg("\"%.*s\" in place of \"%s\"", SLICE_ARG(rest), text);
}

static void assert_flushed(uint32_t id, const char *user, uint32_t n)
{
    send_msg(&control, MSG_FLUSH_FACTS, id, NULL, slice_str(user), -1);
    wait_for(has_heard);
    assert_string_equal(msg_type_name(heard.type), "FLUSHED");
    assert_int_equal(heard.id, id);
    assert_int_equal(((const struct msg_flushed *)heard.body)->n, n);
}

static const char *log_text(void)
{
    static char text[1 << 16];
    ssize_t n = pread(log_fd, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static uint64_t counted(enum metric metric)
{
    return counters_total(counters, metric);
}

/* With the server as one more directory, if it serves. */
static void start(const char *text)
{
    char whole[1024], addr[ADDR_TEXT];
    struct err err;
    size_t n = (size_t)snprintf(whole, sizeof whole, "%s", text);

    if (server.title)
        snprintf(whole + n, sizeof whole - n,
                 "directory %s { driver = socketmap  address = \"%s\" }\n", server.title,
                 addr_format(&server.addr, addr));
    assert_int_equal(conf_load_text(whole, "test", &conf, &err), 0);
    assert_int_equal(lookup_facts_start(&facts, conf, loop, &counters[COUNTERS_LOOKUP], &err), 0);
    join();
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    memset(&server, 0, sizeof server);
    memset(&facts, 0, sizeof facts);
    memset(counters, 0, sizeof counters);
    memset(&channel, 0, sizeof channel);
    server.fd = server.listening_fd = -1;
    loop = loop_new(&err);
    channels_init(&channels, loop);
    loop_on_turn(loop, on_turn, NULL);
    deadline_init(&patience, on_patience);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    log_open(log_fd, LEVEL_INFO);
    return loop ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    lookup_facts_stop(&facts);
    channel_close(&channel);
    close(control.fd);
    if (server.fd >= 0) {
        watch_set(loop, &server.conn, 0);
        close(server.fd);
    }
    if (server.listening_fd >= 0) {
        watch_set(loop, &server.listening, 0);
        close(server.listening_fd);
    }
    conf_free(&conf);
    loop_free(&loop);
    log_open(STDERR_FILENO, LEVEL_INFO);
    close(log_fd);
    return 0;
}

static void test_facts_come_with_the_name_of_the_directory(void **state)
{
    (void)state;
    start("directory rules { driver = static  rules = { \"ann pool=main max_sessions=3\" } }\n");
    ask(7, "ann");
    assert_facts(7, FACTS_FOUND, "rules", "pool=main max_sessions=3");
    ask(8, "zoe");
    assert_facts(8, FACTS_UNKNOWN, "", "");
    assert_int_equal(counted(METRIC_LOOKUPS), 2);
    assert_int_equal(counted(METRIC_LOOKUPS_FAILED), 0);
}

static void test_without_directories_nobody_is_known(void **state)
{
    (void)state;
    start("");
    ask(7, "ann");
    assert_facts(7, FACTS_UNKNOWN, "", "");
    assert_flushed(8, "", 0);
}

static void test_control_is_told_no_secret(void **state)
{
    (void)state;
    serve("server");
    start("");
    ask(7, "bob");
    say("69:OK backend_user=bobby password_hash=$6$x$hush backend_password=secret,");
    assert_facts(7, FACTS_FOUND, "server", "backend_user=bobby verify=yes");
    assert_string_equal(log_text(), "");
}

static void test_the_longest_facts_and_name_fit(void **state)
{
    char title[CONF_NAME_MAX + 1], user[IPC_USER_MAX + 1];
    char reply[2048], want[FACTS_MAX + 1];
    int at;

    (void)state;
    memset(title, 'd', CONF_NAME_MAX);
    title[CONF_NAME_MAX] = '\0';
    memset(user, 'u', IPC_USER_MAX);
    user[IPC_USER_MAX] = '\0';
    serve(title);
    start("");
    memset(want, 'x', FACTS_MAX);
    memcpy(want, "disabled=\"x x", 13);
    want[FACTS_MAX - 1] = '"';
    want[FACTS_MAX] = '\0';
    at = snprintf(reply, sizeof reply, "%d:OK %s,", FACTS_MAX + 3, want);
    assert_true(at > 0);
    ask(7, user);
    say(reply);
    assert_facts(7, FACTS_FOUND, title, want);
}

static void test_a_name_that_is_none_is_not_asked_about(void **state)
{
    char user[IPC_USER_MAX + 2];

    (void)state;
    start("directory rules { driver = static  rules = { \"* pool=main\" } }\n");
    memset(user, 'u', sizeof user - 1);
    user[sizeof user - 1] = '\0';
    ask(7, user);
    assert_facts(7, FACTS_UNAVAILABLE, "", "no name of a user");
    ask(8, "");
    assert_facts(8, FACTS_UNAVAILABLE, "", "no name of a user");
}

static void test_a_map_that_is_not_there_fails_questions_and_is_told_once(void **state)
{
    const char *first;

    (void)state;
    start("directory people { driver = file  path = \"/no-such-folder/users.map\" }\n");
    for (uint32_t id = 1; id < 4; id++) {
        ask(id, "ann");
        assert_facts(id, FACTS_UNAVAILABLE, "people",
                     "/no-such-folder/users.map: No such file or directory");
    }
    first = strstr(log_text(), " warning directory_failed directory=people detail=\"/no-such");
    assert_non_null(first);
    assert_null(strstr(strchr(first, '\n'), "directory_failed"));
    assert_int_equal(counted(METRIC_LOOKUPS), 3);
    assert_int_equal(counted(METRIC_LOOKUPS_FAILED), 3);
}

static void test_a_wrong_rule_ends_the_start(void **state)
{
    struct err err;

    (void)state;
    start("");
    lookup_facts_stop(&facts);
    conf_free(&conf);
    assert_int_equal(conf_load_text("directory rules { driver = static  rules = { \"ann pool\" } }",
                                    "test", &conf, &err),
                     0);
    assert_int_equal(lookup_facts_start(&facts, conf, loop, &counters[COUNTERS_LOOKUP], &err), -1);
    assert_int_equal(strncmp(err.text, "directory rules: ", 17), 0);
    lookup_facts_stop(&facts);
}

static void test_kept_answers_are_used_and_flushed(void **state)
{
    (void)state;
    serve("server");
    start("");
    ask(1, "ann");
    say("12:OK pool=main,");
    assert_facts(1, FACTS_FOUND, "server", "pool=main");
    ask(2, "ann");
    assert_facts(2, FACTS_FOUND, "server", "pool=main");
    assert_flushed(3, "bob", 0);
    assert_flushed(4, "ann", 1);
    ask(5, "ann");
    say("8:NOTFOUND,");
    assert_facts(5, FACTS_UNKNOWN, "", "");
    assert_flushed(6, "", 1);
}

static void test_who_has_gone_is_not_answered_and_the_next_is(void **state)
{
    (void)state;
    serve("server");
    start("");
    ask(1, "ann");
    wait_for(is_asked);
    close(control.fd);
    wait_for(has_asker_gone);
    join();
    ask(2, "bob");
    server.is_asked = false;
    wait_for(is_asked);
    say("12:OK pool=main,13:OK pool=other,");
    assert_facts(2, FACTS_FOUND, "server", "pool=other");
    wait_for(has_no_question);
    /* What the first one asked for is known all the same. */
    ask(3, "ann");
    assert_facts(3, FACTS_FOUND, "server", "pool=main");
}

static void test_trouble_with_a_server_is_told_once(void **state)
{
    const char *first;

    (void)state;
    serve("server");
    start("");
    for (uint32_t id = 1; id < 4; id++) {
        ask(id, "ann");
        say("4:TEMP,");
        assert_facts(id, FACTS_UNAVAILABLE, "server", "the server says TEMP ");
    }
    first =
        strstr(log_text(), " warning directory_failed directory=server detail=\"the server says");
    assert_non_null(first);
    assert_null(strstr(strchr(first, '\n'), "directory_failed"));
}

static void test_open_questions_are_forgotten_at_the_end(void **state)
{
    (void)state;
    serve("server");
    start("");
    ask(1, "ann");
    wait_for(is_asked);
    lookup_facts_stop(&facts);
    lookup_facts_stop(&facts);
    assert_true(list_empty(&facts.questions));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(facts_come_with_the_name_of_the_directory),
        TEST(without_directories_nobody_is_known),
        TEST(control_is_told_no_secret),
        TEST(the_longest_facts_and_name_fit),
        TEST(a_name_that_is_none_is_not_asked_about),
        TEST(a_map_that_is_not_there_fails_questions_and_is_told_once),
        TEST(a_wrong_rule_ends_the_start),
        TEST(kept_answers_are_used_and_flushed),
        TEST(who_has_gone_is_not_answered_and_the_next_is),
        TEST(trouble_with_a_server_is_told_once),
        TEST(open_questions_are_forgotten_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
