/* Calls over two links side by side, and QRESYNC, which is enabled ahead of the first of them
 * (sync/link.h). */
#include "link_talk.h"

/* --- side by side ----------------------------------------------------------------------------- */

enum { MANY = 600 };

static pthread_barrier_t both;

/* Two servers and a link to each, over one loop. */
struct pair {
    struct peer peers[2];
    struct world w;
    struct sync_side side;
    struct link *links[2];
};

static void pair_begin(struct pair *p, void (*first)(struct side *s),
                       void (*second)(struct side *s))
{
    *p = (struct pair){.links = {NULL, NULL}};
    pthread_barrier_init(&both, NULL, 2);
    p->peers[1].serve = second;
    peer_start(&p->peers[1]);
    begin(&p->w, &p->peers[0], first);
    p->side = p->w.side;
    p->side.addresses[0] = p->peers[1].addr;
    p->links[0] = p->w.link;
    p->links[1] = link_new(p->w.loop, &p->w.sync, &p->side);
    assert_non_null(p->links[1]);
    assert_int_equal(link_open(p->links[1], &p->w.err), 0);
}

static void pair_end(struct pair *p)
{
    link_free(&p->links[1]);
    end(&p->w, &p->peers[0]);
    peer_stop(&p->peers[1]);
    pthread_barrier_destroy(&both);
}

/* Answers a command when the other server has got one too. */
static void answer_together(struct side *s)
{
    char line[256], tag[16];

    if (!let_in(s, "X"))
        return;
    while (side_command(s, line, sizeof line, tag) && !strstr(line, "LOGOUT")) {
        pthread_barrier_wait(&both);
        (void)side_say(s, "* 1 EXISTS\r\n");
        answer_tag(s, tag, "OK Done");
    }
}

struct heard {
    unsigned data, answers;
};

static int hear_data(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct heard *h = arg;

    (void)p, (void)event, (void)err;
    h->data++;
    return 0;
}

static int hear_answer(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct heard *h = arg;

    (void)err;
    assert_int_equal(answer->kind, RESPONSE_OK);
    assert_int_equal(i, h->answers++);
    return 0;
}

static void test_two_links_are_called_side_by_side(void **state)
{
    static const struct slice commands[] = {SLICE("A"), SLICE("B"), SLICE("C")};
    struct heard heard[2] = {{0}};
    struct pair p;

    (void)state;
    pair_begin(&p, answer_together, answer_together);
    const struct link_batch batches[] = {
        {p.links[0], commands, 3, hear_data, hear_answer, &heard[0]},
        {p.links[1], commands, 3, hear_data, hear_answer, &heard[1]}};
    assert_int_equal(link_calls_all(batches, 2, &p.w.err), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(heard[i].data, 3);
        assert_int_equal(heard[i].answers, 3);
        assert_int_equal(pipeline_waiting(link_pipeline(p.links[i])), 0);
    }
    pair_end(&p);
}

static void answer_all(struct side *s)
{
    char line[256], tag[16];

    if (!let_in(s, "X"))
        return;
    while (side_command(s, line, sizeof line, tag)) {
        (void)side_say(s, "* 1 EXISTS\r\n");
        answer_tag(s, tag, strstr(line, "LOGOUT") ? "OK Out" : "OK Done");
    }
}

static void test_links_of_which_one_has_much_more_to_do_both_end(void **state)
{
    struct slice commands[MANY];
    struct heard heard[2] = {{0}};
    struct pair p;

    (void)state;
    for (size_t i = 0; i < MANY; i++)
        commands[i] = SLICE("NOOP");
    pair_begin(&p, answer_all, answer_all);
    const struct link_batch batches[] = {
        {p.links[0], commands, 1, NULL, hear_answer, &heard[0]},
        {p.links[1], commands, MANY, NULL, hear_answer, &heard[1]}};
    assert_int_equal(link_calls_all(batches, 2, &p.w.err), 0);
    assert_int_equal(heard[0].answers, 1);
    assert_int_equal(heard[1].answers, MANY);
    pair_end(&p);
}

/* Goes away when both have been asked. */
static void go_away(struct side *s)
{
    char line[256], tag[16];

    if (let_in(s, "X") && side_command(s, line, sizeof line, tag)) {
        (void)side_say(s, "* BYE Gone\r\n");
        pthread_barrier_wait(&both);
    }
}

static void test_of_two_links_one_that_breaks_leaves_the_other_free(void **state)
{
    static const struct slice command = SLICE("A");
    struct heard heard[2] = {{0}};
    struct pair p;

    (void)state;
    pair_begin(&p, go_away, answer_together);
    const struct link_batch batches[] = {
        {p.links[0], &command, 1, hear_data, hear_answer, &heard[0]},
        {p.links[1], &command, 1, hear_data, hear_answer, &heard[1]}};
    assert_int_equal(link_calls_all(batches, 2, &p.w.err), -1);
    assert_string_equal(p.w.err.text, "the server says BYE: Gone");
    assert_false(link_is_open(p.links[0]));
    assert_true(link_is_open(p.links[1]));
    assert_int_equal(heard[1].answers, 1);
    assert_int_equal(pipeline_waiting(link_pipeline(p.links[1])), 0);
    assert_int_equal(link_calls_all(batches, 2, &p.w.err), -1);
    assert_int_equal(heard[1].answers, 1);
    pair_end(&p);
}

static int refuse_data(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    (void)arg, (void)p, (void)event;
    return err_set(err, 0, "enough");
}

static void test_who_wants_no_more_of_one_link_still_has_the_answers_of_the_other(void **state)
{
    static const struct slice command = SLICE("A");
    struct heard heard = {0};
    struct pair p;

    (void)state;
    pair_begin(&p, answer_together, answer_together);
    const struct link_batch batches[] = {{p.links[0], &command, 1, hear_data, hear_answer, &heard},
                                         {p.links[1], &command, 1, refuse_data, NULL, NULL}};
    assert_int_equal(link_calls_all(batches, 2, &p.w.err), -1);
    assert_string_equal(p.w.err.text, "enough");
    assert_true(link_is_open(p.links[0]));
    assert_int_equal(heard.answers, 1);
    pair_end(&p);
}

/* --- QRESYNC ---------------------------------------------------------------------------------- */

/* Takes two commands before it answers, the first of which p->to_nonsense answers, in words. */
static void take_enable(struct side *s)
{
    struct peer *p = (struct peer *)s->peer;
    char line[256], tags[2][16];

    if (!let_in(s, "ENABLE QRESYNC CONDSTORE") ||
        !side_command(s, p->heard, sizeof p->heard, tags[0]) ||
        !side_command(s, line, sizeof line, tags[1]))
        return;
    if (strstr(p->to_nonsense, "ENABLED"))
        (void)side_say(s, p->to_nonsense);
    answer_tag(s, tags[0], strstr(p->to_nonsense, "ENABLED") ? "OK Enabled" : p->to_nonsense);
    answer_tag(s, tags[1], "OK Done");
    while (side_command(s, line, sizeof line, tags[0]))
        answer_tag(s, tags[0], "OK Done");
}

static void test_qresync_is_enabled_ahead_of_the_first_command(void **state)
{
    static const struct {
        const char *said;
        bool has;
    } rows[] = {
        {"* ENABLED QRESYNC\r\n", true},    {"* ENABLED CONDSTORE qresync\r\n", true},
        {"* ENABLED CONDSTORE\r\n", false}, {"* ENABLED\r\n", false},
        {"NO Not for you", false},          {"BAD No such command", false},
        {"OK but tells nothing", false}, /* as iCloud's */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer p = {.to_nonsense = rows[i].said};
        struct told told = {.text = ""};
        struct link_answer answer;
        struct world w;

        begin(&w, &p, take_enable);
        assert_false(link_has_qresync(w.link));
        assert_int_equal(link_call(w.link, SLICE("LIST"), tell, &told, &answer, &w.err), 0);
        assert_int_equal(answer.kind, RESPONSE_OK);
        assert_string_equal(told.text, "");
        assert_int_equal(link_has_qresync(w.link), rows[i].has);
        assert_answer(&w, "NOOP", RESPONSE_OK, "Done");
        link_doubt_qresync(w.link);
        assert_false(link_has_qresync(w.link));
        end(&w, &p);
        assert_string_equal(p.heard, "S1 ENABLE QRESYNC\r\n");
    }
}

/* Keeps what it was sent. */
static void keep_all(struct side *s)
{
    struct peer *p = (struct peer *)s->peer;
    const char *capabilities = p->to_nonsense;
    char line[256], tag[16];

    if (!let_in(s, capabilities))
        return;
    while (side_command(s, line, sizeof line, tag)) {
        size_t n = strlen(p->heard);

        snprintf(p->heard + n, sizeof p->heard - n, "%s", line);
        answer_tag(s, tag, "OK Done");
    }
}

static void test_who_does_not_offer_qresync_is_not_asked_for_it(void **state)
{
    static const char *const offers[] = {"X", "ENABLE CONDSTORE", "QRESYNC"};

    (void)state;
    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
        struct peer p = {.to_nonsense = offers[i]};
        struct world w;

        begin(&w, &p, keep_all);
        assert_answer(&w, "NOOP", RESPONSE_OK, "Done");
        assert_false(link_has_qresync(w.link));
        end(&w, &p);
        assert_string_equal(p.heard, "S1 NOOP\r\nS2 LOGOUT\r\n");
    }
}

static void test_qresync_is_enabled_once_a_connection(void **state)
{
    struct peer p = {.to_nonsense = "ENABLE QRESYNC"};
    struct world w;

    (void)state;
    begin(&w, &p, keep_all);
    assert_int_equal(link_calls(w.link, NULL, 0, NULL, NULL, NULL, &w.err), 0);
    assert_answer(&w, "A", RESPONSE_OK, "Done");
    assert_answer(&w, "B", RESPONSE_OK, "Done");
    link_close(w.link);
    assert_open(&w);
    assert_answer(&w, "C", RESPONSE_OK, "Done");
    end(&w, &p);
    assert_string_equal(p.heard, "S1 ENABLE QRESYNC\r\nS2 A\r\nS3 B\r\nS4 LOGOUT\r\n"
                                 "S1 ENABLE QRESYNC\r\nS2 C\r\nS3 LOGOUT\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_links_are_called_side_by_side),
        cmocka_unit_test(test_links_of_which_one_has_much_more_to_do_both_end),
        cmocka_unit_test(test_of_two_links_one_that_breaks_leaves_the_other_free),
        cmocka_unit_test(test_who_wants_no_more_of_one_link_still_has_the_answers_of_the_other),
        cmocka_unit_test(test_qresync_is_enabled_ahead_of_the_first_command),
        cmocka_unit_test(test_who_does_not_offer_qresync_is_not_asked_for_it),
        cmocka_unit_test(test_qresync_is_enabled_once_a_connection),
    };

    return cmocka_run_group_tests(tests, make_tls, free_tls);
}
