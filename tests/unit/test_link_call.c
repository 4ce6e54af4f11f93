/* Commands and their answers over a link (sync/link.h): literals as the server takes them,
 * pipelining, answers cut anywhere. */
#include "link_talk.h"

/* --- literals --------------------------------------------------------------------------------- */

static void hear(struct peer *p, const char *bytes, size_t n)
{
    size_t at = strlen(p->heard);

    snprintf(p->heard + at, sizeof p->heard - at, "%.*s", (int)n, bytes);
}

/* How a line announces a literal. */
struct announced {
    bool is_literal, is_sync;
    size_t n;
};

static struct announced announced_by(const char *line)
{
    const char *brace = strrchr(line, '{');
    size_t n = strlen(line);

    if (!brace || strcmp(line + n - 3, "}\r\n") != 0)
        return (struct announced){0};
    return (struct announced){true, line[n - 4] != '+', strtoul(brace + 1, NULL, 10)};
}

/* Takes commands with literals of both kinds, keeps them in p->heard, and refuses those named
 * REFUSE at their first literal: at once. */
static void take_literals(struct side *s)
{
    struct peer *p = (struct peer *)s->peer;
    const char *capabilities = p->to_nonsense; /* a text for the test to say */
    char line[16384], tag[16], bytes[16384];

    if (!let_in(s, capabilities))
        return;
    while (side_command(s, line, sizeof line, tag)) {
        bool is_refused = false;

        for (;;) {
            struct announced a = announced_by(line);

            hear(p, line, strlen(line));
            if (!a.is_literal)
                break;
            if (strstr(line, "REFUSE")) {
                answer_tag(s, tag, "NO [TRYCREATE] Not this");
                is_refused = true;
                if (a.is_sync)
                    break;
            }
            if ((a.is_sync && !side_say(s, "+ go on\r\n")) || !side_read(s, bytes, a.n))
                return;
            if (a.n < 16)
                hear(p, bytes, a.n);
            if (!side_line(s, line, sizeof line))
                return;
        }
        if (!is_refused)
            answer_tag(s, tag, strstr(line, "LOGOUT") ? "OK Out" : "OK Done");
    }
}

static void test_literals_as_the_server_takes_them(void **state)
{
    static const struct {
        const char *capabilities, *heard;
    } rows[] = {
        {"LITERAL+", "S1 A {3+}\r\nabc {0+}\r\n ~{2+}\r\nde)\r\nS2 B {5000+}\r\n\r\n"},
        {"LITERAL-", "S1 A {3+}\r\nabc {0+}\r\n ~{2+}\r\nde)\r\nS2 B {5000}\r\n\r\n"},
        {"IMAP4rev2", "S1 A {3+}\r\nabc {0+}\r\n ~{2+}\r\nde)\r\nS2 B {5000}\r\n\r\n"},
        {"X", "S1 A {3}\r\nabc {0+}\r\n ~{2}\r\nde)\r\nS2 B {5000}\r\n\r\n"},
    };
    char *large = with_literal("B ", 5000, "");

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer p = {.to_nonsense = rows[i].capabilities};
        struct world w;

        begin(&w, &p, take_literals);
        assert_answer(&w, "A {3}\r\nabc {0}\r\n ~{2+}\r\nde)", RESPONSE_OK, "Done");
        assert_answer(&w, large, RESPONSE_OK, "Done");
        end(&w, &p);
        assert_memory_equal(p.heard, rows[i].heard, strlen(rows[i].heard));
    }
    free(large);
}

static void test_a_command_that_is_refused_at_its_literal_ends_there(void **state)
{
    static const struct {
        const char *capabilities, *heard;
    } rows[] = {{"X", "S1 REFUSE {9}\r\nS2 NOOP\r\n"},
                /* the server reads on: so we must send it */
                {"LITERAL+", "S1 REFUSE {9+}\r\n123456789 more\r\nS2 NOOP\r\n"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer p = {.to_nonsense = rows[i].capabilities};
        struct link_answer answer;
        struct world w;

        begin(&w, &p, take_literals);
        answer = called(&w, "REFUSE {9}\r\n123456789 more");
        assert_int_equal(answer.kind, RESPONSE_NO);
        assert_true(slice_eq(answer.code, SLICE("TRYCREATE")));
        assert_answer(&w, "NOOP", RESPONSE_OK, "Done");
        end(&w, &p);
        assert_memory_equal(p.heard, rows[i].heard, strlen(rows[i].heard));
    }
}

/* Refuses before it has read the literal, which is larger than what the link holds at a time. */
static void refuse_early(struct side *s)
{
    char line[256], tag[16], *bytes = malloc(4 << 20);

    if (let_in(s, "LITERAL+") && side_command(s, line, sizeof line, tag)) {
        answer_tag(s, tag, "NO [OVERQUOTA] Full");
        if (side_read(s, bytes, 4 << 20) && side_line(s, line, sizeof line) &&
            strcmp(line, "\r\n") == 0 && side_command(s, line, sizeof line, tag))
            answer_tag(s, tag, "OK After");
        side_drain(s);
    }
    free(bytes);
}

static void test_a_large_literal_is_sent_to_its_end_though_it_is_refused(void **state)
{
    char *large = with_literal("APPEND a ", 4 << 20, "");
    struct peer p = {0};
    struct link_answer answer;
    struct world w;

    (void)state;
    begin(&w, &p, refuse_early);
    answer = called(&w, large);
    assert_int_equal(answer.kind, RESPONSE_NO);
    assert_true(slice_eq(answer.code, SLICE("OVERQUOTA")));
    assert_true(slice_eq(answer.text, SLICE("[OVERQUOTA] Full")));
    assert_answer(&w, "NOOP", RESPONSE_OK, "After");
    end(&w, &p);
    free(large);
}

static void test_what_is_no_command_is_not_sent(void **state)
{
    static const char *const bad[] = {
        "NOOP\r\nS9 DELETE x", "A {9}\r\nshort", "A {x}\r\nabc", "A\nB", "A\rB",
        "A {3\r\nabc",         "A 3}\r\nabc"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct peer p = {.to_nonsense = "LITERAL+"};
        struct world w;

        begin(&w, &p, take_literals);
        assert_call_fails(&w, bad[i]);
        assert_trouble(&w, LINK_OURS, "cannot be sent");
        end(&w, &p);
        assert_string_equal(p.heard, "");
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

enum { BATCH = 20, MANY = 700 };

/* Answers BATCH commands at a time, the last first. */
static void answer_backwards(struct side *s)
{
    char line[256], tags[BATCH][16];

    if (!let_in(s, "X"))
        return;
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            if (!side_command(s, line, sizeof line, tags[i]))
                return;
        }
        for (int i = BATCH; i-- > 0;)
            answer_tag(s, tags[i], i == 3 ? "NO [INUSE] Third" : "OK Done");
    }
}

static int count_answer(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    unsigned *counts = arg;
    bool is_third = i % BATCH == 3;

    (void)err;
    counts[i]++;
    assert_int_equal(answer->kind, is_third ? RESPONSE_NO : RESPONSE_OK);
    assert_true(slice_eq(answer->code, is_third ? SLICE("INUSE") : SLICE("")));
    return 0;
}

static void test_pipelined_calls_are_answered_in_any_order(void **state)
{
    struct slice commands[MANY];
    unsigned counts[MANY] = {0};
    struct peer p = {0};
    struct world w;

    (void)state;
    for (size_t i = 0; i < MANY; i++)
        commands[i] = SLICE("STATUS a (MESSAGES)");
    begin(&w, &p, answer_backwards);
    assert_int_equal(link_calls(w.link, commands, MANY, NULL, count_answer, counts, &w.err), 0);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(counts[i], 1);
    assert_int_equal(pipeline_waiting(link_pipeline(w.link)), 0);
    assert_int_equal(link_calls(w.link, commands, 0, NULL, count_answer, counts, &w.err), 0);
    end(&w, &p);
}

static int give_up_at_17(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    (void)arg, (void)answer;
    return i == 17 ? err_set(err, 0, "seventeen") : 0;
}

static void test_who_wants_no_more_answers_breaks_the_link(void **state)
{
    struct slice commands[BATCH];
    struct peer p = {0};
    struct world w;

    (void)state;
    for (size_t i = 0; i < BATCH; i++)
        commands[i] = SLICE("NOOP");
    begin(&w, &p, answer_backwards);
    assert_int_equal(link_calls(w.link, commands, BATCH, NULL, give_up_at_17, NULL, &w.err), -1);
    assert_string_equal(w.err.text, "seventeen");
    assert_trouble(&w, LINK_BROKEN, "seventeen");
    end(&w, &p);
}

static const char fetched[] = "* 1 FETCH (UID 9 BODY[] {5}\r\nab\r\nc FLAGS (\\Seen))\r\n"
                              "* OK [ALERT] x\r\n"
                              "* LIST () \"/\" {3}\r\nx\"y\r\n";

/* Answers what it is asked cut at a byte, one further each time, each piece in a packet of its own:
 * the second when the first has been taken off the wire. */
static void cut_answers(struct side *s)
{
    char line[256], tag[16], all[256];
    size_t n;

    if (!let_in(s, "X"))
        return;
    for (size_t cut = 1; side_command(s, line, sizeof line, tag); cut++) {
        snprintf(all, sizeof all, "%s%s OK [HIGHESTMODSEQ 7] Done\r\n", fetched, tag);
        n = strlen(all);
        cut = cut < n ? cut : 1;
        if (!side_write(s, all, cut) || !side_command(s, line, sizeof line, tag) ||
            !side_write(s, all + cut, n - cut))
            return;
        answer_tag(s, tag, "OK");
    }
}

/* One round: the second command goes out when the beginning of the first answer was read. */
static void fetch_in_two(struct world *w)
{
    struct link_wanting wanting = {w->link, true, false};
    struct pipeline *pipeline = link_pipeline(w->link);
    uint64_t had = link_count(w->link).in;
    struct told told = {.text = ""};
    uint32_t first, second = 0;
    enum pipeline_event event;

    assert_int_equal(pipeline_put(pipeline, SLICE("FETCH"), &first), 0);
    while (pipeline_waiting(pipeline) > 0) {
        enum link_event step = link_step(w->link, &event);

        assert_int_not_equal(step, LINK_FAILED);
        if (step == LINK_EVENT && event != PIPELINE_TAGGED)
            assert_int_equal(tell(&told, pipeline, event, &w->err), 0);
        if (step == LINK_EVENT)
            continue;
        if (!second && link_count(w->link).in > had)
            assert_int_equal(pipeline_put(pipeline, SLICE("MORE"), &second), 0);
        assert_int_equal(link_wait(&wanting, 1, LONG_MS), 0);
    }
    assert_int_equal(pipeline_command_id(pipeline), second);
    assert_string_equal(told.text, "<ab\r\nc>FETCH: FLAGS (\\Seen));OK:[ALERT] x;"
                                   "LIST:() \"/\" {3}\r\nx\"y;");
}

static void test_answers_cut_at_every_byte(void **state)
{
    struct peer p = {0};
    struct world w;

    (void)state;
    begin(&w, &p, cut_answers);
    for (size_t i = 0; i < sizeof fetched + 40; i++)
        fetch_in_two(&w);
    end(&w, &p);
}

static void talk_nonsense(struct side *s)
{
    char line[256], tag[16];

    if (let_in(s, "X") && side_command(s, line, sizeof line, tag))
        (void)side_say(s, strstr(line, "LONG") ? "* X " : "* 1 FETCH (\n");
    for (int i = 0; i < 4096 && strstr(line, "LONG"); i++) {
        char x[1024];

        memset(x, 'x', sizeof x);
        if (!side_write(s, x, sizeof x))
            break;
    }
    side_drain(s);
}

static void test_what_is_no_answer_is_foreign(void **state)
{
    struct peer p = {0};
    struct world w;

    (void)state;
    begin(&w, &p, talk_nonsense);
    assert_call_fails(&w, "FETCH");
    assert_trouble(&w, LINK_FOREIGN, "a line ends without CR");
    link_close(w.link);
    assert_open(&w);
    assert_call_fails(&w, "LONG");
    assert_trouble(&w, LINK_FOREIGN, "too long");
    assert_true(link_count(w.link).in < 2 << 20); /* and memory was bounded */
    end(&w, &p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals_as_the_server_takes_them),
        cmocka_unit_test(test_a_command_that_is_refused_at_its_literal_ends_there),
        cmocka_unit_test(test_a_large_literal_is_sent_to_its_end_though_it_is_refused),
        cmocka_unit_test(test_what_is_no_command_is_not_sent),
        cmocka_unit_test(test_pipelined_calls_are_answered_in_any_order),
        cmocka_unit_test(test_who_wants_no_more_answers_breaks_the_link),
        cmocka_unit_test(test_answers_cut_at_every_byte),
        cmocka_unit_test(test_what_is_no_answer_is_foreign),
    };

    return cmocka_run_group_tests(tests, make_tls, free_tls);
}
