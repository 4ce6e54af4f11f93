/* A lot at a time over a link (sync/link.h): floods both ways, COMPRESS, two links at once, links
 * in threads. */
#include "link_talk.h"

#include "base/secret.h"

#include <zlib.h>

/* --- floods ----------------------------------------------------------------------------------- */

enum { FLOOD = 8 << 20 };

/* Says a lot before it listens, while it is told a lot. */
static void flood(struct side *s)
{
    static const char line[] = "* 4 EXISTS\r\n";
    char command[256], tag[16], *bytes = malloc(FLOOD), *lines = malloc(FLOOD);

    for (size_t i = 0; i < FLOOD; i++)
        lines[i] = line[i % (sizeof line - 1)];
    if (let_in(s, "LITERAL+") && side_command(s, command, sizeof command, tag) &&
        side_write(s, lines, FLOOD - FLOOD % (sizeof line - 1)) && side_read(s, bytes, FLOOD) &&
        side_line(s, command, sizeof command))
        answer_tag(s, tag, bytes[FLOOD - 1] == 'x' ? "OK Dry again" : "NO");
    side_drain(s);
    free(bytes);
    free(lines);
}

static int count_exists(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    (void)err;
    *(size_t *)arg += event == PIPELINE_DATA && pipeline_number(p) == 4;
    return 0;
}

static void test_a_flood_both_ways_does_not_lock_up(void **state)
{
    char *large = with_literal("APPEND a ", FLOOD, "");
    struct link_answer answer;
    struct peer p = {0};
    struct world w;
    size_t n = 0;

    (void)state;
    begin(&w, &p, flood);
    assert_int_equal(link_call(w.link, slice_str(large), count_exists, &n, &answer, &w.err), 0);
    assert_true(slice_eq(answer.text, SLICE("Dry again")));
    assert_int_equal(n, FLOOD / 12);
    end(&w, &p);
    free(large);
}

/* Closes in the midst of our words, some of them unread: the client's next write is reset. */
static void slam(struct side *s)
{
    char line[256], tag[16];

    if (let_in(s, "LITERAL+") && side_command(s, line, sizeof line, tag))
        (void)side_say(s, "* 1 EXISTS\r\n* BYE [OVERQUOTA] That is enough\r\n");
}

static void test_bye_and_a_reset_in_a_flood_are_told_by_the_words_of_bye(void **state)
{
    char *large = with_literal("APPEND a ", FLOOD, "");

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct peer p = {.is_tls = i % 2};
        struct world w;

        begin(&w, &p, slam);
        assert_call_fails(&w, large);
        assert_trouble(&w, LINK_BROKEN, "the server says BYE: [OVERQUOTA] That is enough");
        end(&w, &p);
    }
    free(large);
}

/* The same for one that steps, and does not read before it writes. */
static void test_bye_is_heard_when_writing_fails(void **state)
{
    char *x = calloc(1, 1 << 16);

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct peer p = {.is_tls = i % 2};
        struct link_wanting wanting = {0};
        struct world w;
        uint32_t id;
        int done = 0;

        begin(&w, &p, slam);
        wanting.link = w.link;
        done = pipeline_open(link_pipeline(w.link), SLICE("APPEND {9999999+}\r\n"), &id);
        while (done == 0) {
            if (buf_left(pipeline_out(link_pipeline(w.link))) >= 1 << 16)
                done = pipeline_put_raw(link_pipeline(w.link), slice_of(x, 1 << 16));
            if (done == 0)
                done = link_wait(&wanting, 1, 10);
        }
        assert_trouble(&w, LINK_BROKEN, "the server says BYE: [OVERQUOTA] That is enough");
        end(&w, &p);
    }
    free(x);
}

static void send_large(struct side *s)
{
    char line[256], tag[16], *bytes = malloc(FLOOD);

    for (size_t i = 0; i < FLOOD; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    if (let_in(s, "X") && side_command(s, line, sizeof line, tag)) {
        snprintf(line, sizeof line, "* 1 FETCH (BODY[] {%d}\r\n", FLOOD);
        if (side_say(s, line) && side_write(s, bytes, FLOOD) && side_say(s, ")\r\n"))
            answer_tag(s, tag, "OK");
    }
    side_drain(s);
    free(bytes);
}

static void test_a_large_body_comes_in_pieces(void **state)
{
    struct told told = {.text = ""};
    struct link_answer answer;
    struct peer p = {0};
    struct world w;
    uint64_t sum = 0;

    (void)state;
    for (size_t i = 0; i < FLOOD; i++)
        sum = sum * 31 + (unsigned char)(i * 7 + i / 251);
    begin(&w, &p, send_large);
    assert_int_equal(link_call(w.link, SLICE("FETCH"), tell, &told, &answer, &w.err), 0);
    assert_int_equal(told.bytes, FLOOD);
    assert_int_equal(told.sum, sum);
    assert_true(pipeline_in(link_pipeline(w.link))->cap <= 256 << 10);
    end(&w, &p);
}

/* --- COMPRESS --------------------------------------------------------------------------------- */

/* One side of a connection that is compressed. */
struct squeezed {
    struct side *s;
    z_stream in, out;
    unsigned char wire[4096];
};

static void squeeze_begin(struct squeezed *q, struct side *s)
{
    memset(q, 0, sizeof *q);
    q->s = s;
    assert_int_equal(inflateInit2(&q->in, -15), Z_OK);
    assert_int_equal(deflateInit2(&q->out, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
}

static void squeeze_end(struct squeezed *q)
{
    inflateEnd(&q->in);
    deflateEnd(&q->out);
}

/* The compressed bytes of `text`, behind `prefix`, in one write. */
static bool squeeze_say(struct squeezed *q, const char *prefix, const void *text, size_t n)
{
    size_t cap = n + n / 100 + 1024 + strlen(prefix), at = strlen(prefix);
    unsigned char *wire;
    bool is_said;

    if (n == 0)
        return true; /* zlib has nothing to flush */
    wire = malloc(cap);
    memcpy(wire, prefix, at);
    q->out.next_in = (unsigned char *)(uintptr_t)text;
    q->out.avail_in = (unsigned)n;
    q->out.next_out = wire + at;
    q->out.avail_out = (unsigned)(cap - at);
    assert_int_equal(deflate(&q->out, Z_SYNC_FLUSH), Z_OK);
    is_said = side_write(q->s, wire, cap - q->out.avail_out);
    free(wire);
    return is_said;
}

static bool squeeze_read(struct squeezed *q, void *p, size_t n)
{
    q->in.next_out = p;
    q->in.avail_out = (unsigned)n;
    while (q->in.avail_out > 0) {
        int result;

        if (q->in.avail_in == 0) {
            ssize_t got = read(q->s->fd, q->wire, sizeof q->wire);

            if (got <= 0)
                return false;
            q->in.next_in = q->wire;
            q->in.avail_in = (unsigned)got;
        }
        result = inflate(&q->in, Z_SYNC_FLUSH);
        if (result != Z_OK && result != Z_BUF_ERROR)
            return false;
    }
    return true;
}

static bool squeeze_line(struct squeezed *q, char *line, size_t cap)
{
    size_t n = 0;

    while (n + 1 < cap && squeeze_read(q, line + n, 1)) {
        if (line[n++] == '\n') {
            line[n] = '\0';
            return true;
        }
    }
    return false;
}

/* Says something compressed in the same write as the OK. Each command is answered with the size of
 * its literal, and a large body. */
static void squeeze(struct side *s)
{
    struct squeezed *q = malloc(sizeof *q);
    char line[256], tag[16], *bytes = malloc(FLOOD);

    squeeze_begin(q, s);
    memset(bytes, 'y', FLOOD);
    if (let_in(s, "LITERAL+ COMPRESS=DEFLATE") && side_command(s, line, sizeof line, tag)) {
        char ok[64];

        snprintf(ok, sizeof ok, "%s OK Now\r\n", tag);
        if (!squeeze_say(q, ok, "* 1 EXISTS\r\n", 12))
            goto out;
        while (squeeze_line(q, line, sizeof line)) {
            char *brace = strchr(line, '{'), answer[512];
            unsigned long n = brace ? strtoul(brace + 1, NULL, 10) : 0;
            int said;

            if (n > 0 && (!squeeze_read(q, bytes, n) || !squeeze_line(q, answer, sizeof answer)))
                break;
            said = snprintf(answer, sizeof answer, "* 2 FETCH (BODY[] {%lu}\r\n", n);
            if (!squeeze_say(q, "", answer, (size_t)said) || !squeeze_say(q, "", bytes, n))
                break;
            said = snprintf(answer, sizeof answer, ")\r\n%.*s OK Done\r\n", (int)strcspn(line, " "),
                            line);
            if (!squeeze_say(q, "", answer, (size_t)said))
                break;
        }
    }
out:
    squeeze_end(q);
    free(q);
    free(bytes);
}

static void test_compress_both_ways(void **state)
{
    char *large = with_literal("APPEND a ", FLOOD, "");
    struct link_count before, after;
    enum pipeline_event event;
    struct told told = {.text = ""};
    struct link_answer answer;
    struct peer p = {0};
    struct world w;
    bool is_on;

    (void)state;
    begin(&w, &p, squeeze);
    before = link_count(w.link);
    assert_int_equal(link_compress(w.link, &is_on, &w.err), 0);
    assert_true(is_on);
    assert_int_equal(link_compress(w.link, &is_on, &w.err), 0); /* already */
    assert_true(is_on);
    assert_int_equal(link_step(w.link, &event), LINK_EVENT); /* came with the OK */
    assert_int_equal(tell(&told, link_pipeline(w.link), event, &w.err), 0);
    assert_int_equal(link_call(w.link, SLICE("NOOP"), tell, &told, &answer, &w.err), 0);
    assert_string_equal(told.text, "EXISTS:;<>FETCH:);");
    assert_int_equal(link_call(w.link, slice_str(large), tell, &told, &answer, &w.err), 0);
    assert_true(slice_eq(answer.text, SLICE("Done")));
    assert_int_equal(told.bytes, FLOOD);
    after = link_count(w.link);
    assert_true(after.in - before.in > FLOOD && after.out - before.out > FLOOD);
    assert_in_range(after.in_wire - before.in_wire, 100, FLOOD / 10);
    assert_in_range(after.out_wire - before.out_wire, 100, FLOOD / 10);
    link_close(w.link);
    end(&w, &p);
    free(large);
}

static void test_compress_that_is_not_to_be_had(void **state)
{
    static const struct exchange none[] = {COMMON("X"), ELSE("% OK\r\n")},
                                 no[] = {COMMON("COMPRESS=DEFLATE"),
                                         {"COMPRESS", "% NO [COMPRESSIONACTIVE]\r\n", false},
                                         ELSE("% OK\r\n")},
                                 bad[] = {COMMON("COMPRESS=DEFLATE"),
                                          ELSE("% OK\r\n* 1 EXISTS in clear\r\n")};
    struct peer peers[] = {{.greeting = HI, .exchanges = none},
                           {.greeting = HI, .exchanges = no},
                           {.greeting = HI, .exchanges = bad}};
    struct world w;
    bool is_on = true;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        peer_start(&peers[i]);
        world_begin(&w, &peers[i], LONG_MS);
        assert_open(&w);
        assert_int_equal(link_compress(w.link, &is_on, &w.err), 0);
        assert_int_equal(is_on, i == 2);
        if (i < 2) {
            assert_int_equal(called(&w, "NOOP").kind, RESPONSE_OK);
        } else {
            assert_call_fails(&w, "NOOP");
            assert_trouble(&w, LINK_BROKEN, "compressed stream");
        }
        end(&w, &peers[i]);
    }
}

/* --- two links at once ------------------------------------------------------------------------ */

/* Answers one command when told to by a byte in a pipe. */
static int signal_pipe[2];

static void answer_when_told(struct side *s)
{
    char line[256], tag[16], go;

    if (!let_in(s, "X"))
        return;
    while (side_command(s, line, sizeof line, tag) && read(signal_pipe[0], &go, 1) == 1)
        answer_tag(s, tag, "OK");
    side_drain(s);
}

static void test_waiting_for_two_links_ends_with_the_first(void **state)
{
    struct peer quick = {.serve = answer_when_told}, silent = {.serve = answer_when_told};
    struct link_wanting both[2];
    struct link *other;
    struct sync_side side;
    enum pipeline_event event;
    struct world w;
    uint32_t id;

    (void)state;
    assert_int_equal(pipe(signal_pipe), 0);
    peer_start(&silent);
    begin(&w, &quick, answer_when_told);
    side = w.side;
    side.addresses[0] = silent.addr;
    other = link_new(w.loop, &w.sync, &side);
    assert_int_equal(link_open(other, &w.err), 0);
    both[0] = (struct link_wanting){.link = other, .wants_in = true};
    both[1] = (struct link_wanting){.link = w.link, .wants_in = true};

    assert_int_equal(pipeline_put(link_pipeline(w.link), SLICE("NOOP"), &id), 0);
    assert_int_equal(link_flush(w.link), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(link_step(both[i].link, &event), LINK_WAIT);
    assert_int_equal(link_wait(both, 2, SHORT_MS), 0); /* the time is over */
    assert_int_equal(write(signal_pipe[1], "", 1), 1);
    while (link_step(w.link, &event) == LINK_WAIT)
        assert_int_equal(link_wait(both, 2, LONG_MS), 0);
    assert_int_equal(event, PIPELINE_TAGGED);
    assert_int_equal(link_step(other, &event), LINK_WAIT);

    w.sync.params.timeout_ms = SHORT_MS; /* the one that owes an answer is to blame */
    assert_int_equal(pipeline_put(link_pipeline(other), SLICE("NOOP"), &id), 0);
    assert_int_equal(link_wait(both, 2, LONG_MS), 0); /* sent */
    while (link_wait(both, 2, LONG_MS) == 0) {
        assert_int_equal(link_step(other, &event), LINK_WAIT);
        assert_int_equal(link_step(w.link, &event), LINK_WAIT);
    }
    assert_int_equal(link_trouble(other), LINK_BROKEN);
    assert_string_equal(link_error(other), "no answer within 1 s");
    assert_true(link_is_open(w.link));
    assert_int_equal(link_wait(both, 2, LONG_MS), -1);
    close(signal_pipe[1]);
    link_free(&other);
    end(&w, &quick);
    peer_stop(&silent);
    close(signal_pipe[0]);
}

static void test_who_only_reads_ahead_blames_nobody(void **state)
{
    struct peer peer = {.serve = answer_when_told};
    struct link_wanting ahead;
    enum pipeline_event event;
    bool has_room = false;
    struct world w;
    uint32_t id;

    (void)state;
    assert_int_equal(pipe(signal_pipe), 0);
    begin(&w, &peer, answer_when_told);
    ahead = (struct link_wanting){.link = w.link, .wants_in = true, .is_ahead = true};
    w.sync.params.timeout_ms = SHORT_MS;
    assert_int_equal(pipeline_put(link_pipeline(w.link), SLICE("NOOP"), &id), 0);
    assert_int_equal(link_flush(w.link), 0);
    assert_int_equal(link_take_in(w.link, &has_room), 0);
    assert_true(has_room);
    assert_int_equal(link_wait(&ahead, 1, 3 * SHORT_MS), 0); /* longer than it may be silent */
    assert_int_equal(write(signal_pipe[1], "", 1), 1);
    while (link_count(w.link).in == 0 || pipeline_waiting(link_pipeline(w.link)) > 0) {
        assert_int_equal(link_take_in(w.link, &has_room), 0);
        if (link_step(w.link, &event) == LINK_WAIT)
            assert_int_equal(link_wait(&ahead, 1, LONG_MS), 0);
    }
    close(signal_pipe[1]);
    end(&w, &peer);
    close(signal_pipe[0]);
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { THREADS = 4, CALLS = 100 };

static void agree(struct side *s)
{
    char line[256], tag[16];

    if (!let_in(s, "X"))
        return;
    while (side_command(s, line, sizeof line, tag))
        answer_tag(s, tag, "OK Done");
}

static void *run_link(void *arg)
{
    const struct peer *p = arg;
    struct world w;

    world_begin(&w, p, LONG_MS);
    w.side.tls = SYNC_TLS_IMPLICIT;
    w.side.tls_context = context;
    for (int round = 0; round < 2; round++) {
        assert_open(&w);
        for (int i = 0; i < CALLS; i++)
            assert_answer(&w, "NOOP", RESPONSE_OK, "Done");
        link_close(w.link);
    }
    world_end(&w);
    return NULL;
}

static void test_links_in_threads(void **state)
{
    pthread_t threads[THREADS];
    struct peer peers[THREADS];
    struct err err;

    (void)state;
    (void)!secret_begin(&err); /* used all the same when it cannot be locked */
    for (size_t i = 0; i < THREADS; i++) {
        peers[i] = (struct peer){.serve = agree, .is_tls = true, .tls = server};
        peer_start(&peers[i]);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_link, &peers[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        peer_stop(&peers[i]);
    assert_int_equal(secret_used(), 0);
    secret_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_flood_both_ways_does_not_lock_up),
        cmocka_unit_test(test_bye_and_a_reset_in_a_flood_are_told_by_the_words_of_bye),
        cmocka_unit_test(test_bye_is_heard_when_writing_fails),
        cmocka_unit_test(test_a_large_body_comes_in_pieces),
        cmocka_unit_test(test_compress_both_ways),
        cmocka_unit_test(test_compress_that_is_not_to_be_had),
        cmocka_unit_test(test_waiting_for_two_links_ends_with_the_first),
        cmocka_unit_test(test_who_only_reads_ahead_blames_nobody),
        cmocka_unit_test(test_links_in_threads),
    };

    return cmocka_run_group_tests(tests, make_tls, free_tls);
}
