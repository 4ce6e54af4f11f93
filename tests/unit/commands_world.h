/* Commands over a control that only notes what it is told, and directories and a parent that
 * say what a test wants: a line in, the answer out. */
#ifndef USHER_TESTS_COMMANDS_WORLD_H
#define USHER_TESTS_COMMANDS_WORLD_H

#include "admin/commands.h"

#include "cm.h"
#include "conf/conf.h"
#include "operate_fake.h"

#include <string.h>

static struct conf *conf;
static struct backends backends;
static struct operate control;

/* What directories say when they are asked. */
static struct {
    enum facts_status status;
    const char *directory, *text;
    uint32_t age_ms;
} reply;

/* What the parent says when it is to change usher itself. */
static struct {
    const char *lines[4];
    enum change_status status;
    uint32_t generation;
    const char *words;
} change_reply;

#define POOLS                                                                \
    "pool main {\n"                                                          \
    "  backend mail1 { address = \"192.0.2.1:10143\" }\n"                    \
    "  backend mail2 { address = \"mail2.test:10143\" weight = 3 }\n"        \
    "}\n"                                                                    \
    "pool other { storage = shared check = off tags = {\"eu\"}\n"            \
    "  backend disk1 { address = \"192.0.2.9:10143\" max_connecting = 0 }\n" \
    "}\n"

static inline int setup_with(const char *text)
{
    struct err err;

    if (conf_load_text(text, "t", &conf, &err) < 0 || backends_init(&backends, conf, &err) < 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    /* A title from before, with users that still belong to it. */
    if (backends_number(&backends, SLICE("gone1")) == BACKEND_NONE)
        return -1;
    control = (struct operate){.backends = &backends};
    memset(&change_reply, 0, sizeof change_reply);
    return 0;
}

static inline int setup(void **state)
{
    (void)state;
    return setup_with("listener l { address = \"127.0.0.1:0\" }\n" POOLS);
}

static inline int setup_directories(void **state)
{
    (void)state;
    return setup_with("username_domain = \"a.test\"\n"
                      "listener l { address = \"127.0.0.1:0\" pool = other }\n"
                      "directory people { driver = static rules = {\"* pool=main\"} }\n" POOLS);
}

static inline int teardown(void **state)
{
    (void)state;
    fake_done(&control);
    backends_done(&backends);
    conf_free(&conf);
    return 0;
}

static unsigned times_told;

static inline void on_told(struct call *call)
{
    assert_false(call->is_waiting);
    times_told++;
}

/* The parent is asked, and answers with `change_reply`. */
static inline void change(void)
{
    for (size_t i = 0; i < 4 && change_reply.lines[i]; i++)
        tell_change(&control, change_reply.lines[i]);
    assert_int_equal(times_told, 0);
    end_change(&control, change_reply.status, change_reply.generation,
               change_reply.words ? change_reply.words : "");
}

/* Directories are asked, and answer with `reply`; or the parent is. */
static inline void wait_for_others(struct call *call)
{
    times_told = 0;
    call->on_told = on_told;
    assert_int_equal(buf_len(call->answer.out), 0);
    if (is_changing(&control))
        change();
    else
        tell_facts(&control, control.questions, reply.status,
                   reply.directory ? reply.directory : "", reply.text ? reply.text : "",
                   reply.age_ms);
    assert_int_equal(times_told, 1);
    assert_true(call_is_told(call));
}

/* The whole answer to a line, or "usage: ..." or "failed: ..." of what is refused. */
static inline const char *ask(const char *line)
{
    static char said[16384];
    struct request request;
    struct buf out;
    struct call call;
    struct err err;

    if (request_open(slice_str(line), &request, &err) < 0) {
        snprintf(said, sizeof said, "usage: %s", err.text);
        return said;
    }
    buf_init(&out, 1 << 20, false);
    if (call_begin(&call, &control, &request, &out, 61000, &err) < 0) {
        assert_int_equal(buf_len(&out), 0);
        snprintf(said, sizeof said, "%s: %s", call.is_usage ? "usage" : "failed", err.text);
    } else {
        if (call.is_waiting)
            wait_for_others(&call);
        while (call_step(&call, 61000))
            continue;
        snprintf(said, sizeof said, "%.*s", SLICE_ARG(buf_slice(&out)));
    }
    call_done(&call);
    buf_release(&out);
    return said;
}

struct row {
    const char *line, *answer;
};

static inline void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *said = ask(rows[i].line);

        if (strcmp(said, rows[i].answer) != 0)
            fail_msg("%s\nis answered\n%s\nnot\n%s", rows[i].line, said, rows[i].answer);
    }
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof(rows)[0])

#define TEST(name)   cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ASKING(name) cmocka_unit_test_setup_teardown(name, setup_directories, teardown)

#endif
