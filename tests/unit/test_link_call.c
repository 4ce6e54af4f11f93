/* Commands and their answers over a link (sync/link.h): literals both ways, pipelining, answers cut
 * anywhere, floods, COMPRESS, two links at once, links in threads. */
#include "link_world.h"

#include "net/deflate.h"

#include "base/secret.h"

#include <zlib.h>

/* --- servers ---------------------------------------------------------------------------------- */

/* Greets, and takes the login. */
static bool let_in(struct side *s, const char *capabilities)
{
    char line[256];

    return side_say(s, HI) && side_line(s, line, sizeof line) && side_line(s, line, sizeof line) &&
           side_say(s, "U1 OK\r\nU2 OK [CAPABILITY IMAP4rev1 ") && side_say(s, capabilities) &&
           side_say(s, "] In\r\n");
}

/* The tag of a command, as a string; false: the other side has gone. */
static bool side_command(struct side *s, char *line, size_t cap, char tag[16])
{
    if (!side_line(s, line, cap))
        return false;
    snprintf(tag, 16, "%.*s", (int)strcspn(line, " \r\n"), line);
    return true;
}

static void answer_tag(struct side *s, const char *tag, const char *text)
{
    char answer[128];

    snprintf(answer, sizeof answer, "%s %s\r\n", tag, text);
    (void)side_say(s, answer);
}

static void begin(struct world *w, struct peer *p, void (*serve)(struct side *s))
{
    p->serve = serve;
    peer_start(p);
    world_begin(w, p, LONG_MS);
    assert_open(w);
}

static void end(struct world *w, struct peer *p)
{
    world_end(w);
    peer_stop(p);
}

/* --- literals --------------------------------------------------------------------------------- */

/* Takes commands with literals of both kinds, keeps them in p->heard, and refuses those named REFUSE
 * at their first literal: at once. */
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
            char *brace = strrchr(line, '{'), *end;
            bool is_literal = brace && strcmp(line + strlen(line) - 3, "}\r\n") == 0;
            bool is_sync = is_literal && line[strlen(line) - 4] != '+';
            unsigned long n;

            strncat(p->heard, line, sizeof p->heard - strlen(p->heard) - 1);
            if (!is_literal)
                break;
            n = strtoul(brace + 1, &end, 10);
            if (strstr(line, "REFUSE")) {
                answer_tag(s, tag, "NO [TRYCREATE] Not this");
                is_refused = true;
                if (is_sync)
                    break;
            }
            if ((is_sync && !side_say(s, "+ go on\r\n")) || !side_read(s, bytes, n))
                return;
            if (n < 16)
                strncat(p->heard, bytes, n);
            if (!side_line(s, line, sizeof line))
                return;
        }
        if (!is_refused)
            answer_tag(s, tag, strstr(line, "LOGOUT") ? "OK Out" : "OK Done");
    }
}

static char *with_literal(const char *before, size_t n, const char *after)
{
    char *text = malloc(strlen(before) + n + strlen(after) + 32), *at = text;

    at += sprintf(at, "%s{%zu}\r\n", before, n);
    memset(at, 'x', n);
    strcpy(at + n, after);
    return text;
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
    static const char *const bad[] = {"NOOP\r\nS9 DELETE x", "A {9}\r\nshort", "A {x}\r\nabc",
                                      "A\nB", "A\rB", "A {3\r\nabc", "A 3}\r\nabc"};

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

/* All that comes, as one text. */
struct told {
    char text[1024];
    uint64_t bytes, sum;
};

static void add_text(struct told *t, struct slice s)
{
    strncat(t->text, s.p, s.n < sizeof t->text - strlen(t->text) - 1 ? s.n : 0);
}

static int tell(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct told *t = arg;
    struct slice bytes;

    (void)err;
    switch (event) {
    case PIPELINE_DATA:
        add_text(t, pipeline_response(p)->word);
        add_text(t, SLICE(":"));
        add_text(t, pipeline_response(p)->text);
        add_text(t, SLICE(";"));
        return 0;
    case PIPELINE_BODY:
        add_text(t, SLICE("<"));
        return 0;
    case PIPELINE_BYTES:
        bytes = pipeline_bytes(p);
        if (bytes.n < 64)
            add_text(t, bytes);
        t->bytes += bytes.n;
        for (size_t i = 0; i < bytes.n; i++)
            t->sum = t->sum * 31 + (unsigned char)bytes.p[i];
        return 0;
    case PIPELINE_BODY_END:
        add_text(t, SLICE(">"));
        return 0;
    case PIPELINE_PLUS:
    case PIPELINE_TAGGED:
    case PIPELINE_MORE:
    case PIPELINE_FAILED:
        break;
    }
    fail_msg("event %d", (int)event);
    return -1;
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
    struct link_wanting wanting = {w->link, true};
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
    assert_int_equal(
        link_call(w.link, slice_str(large), count_exists, &n, &answer, &w.err), 0);
    assert_true(slice_eq(answer.text, SLICE("Dry again")));
    assert_int_equal(n, FLOOD / 12);
    end(&w, &p);
    free(large);
}

/* Closes in the midst of our words, some of them unread: the client's next write is reset. */
static void slam(struct side *s)
{
    char line[256], tag[16];

    if (s->peer->is_tls && !side_shake(s))
        return;
    if (let_in(s, "LITERAL+") && side_command(s, line, sizeof line, tag))
        (void)side_say(s, "* 1 EXISTS\r\n* BYE [OVERQUOTA] That is enough\r\n");
}

static void test_bye_and_a_reset_in_a_flood_are_told_by_the_words_of_bye(void **state)
{
    char *large = with_literal("APPEND a ", FLOOD, "");

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct peer p = {0};
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
    struct peer p = {0};
    struct world w;
    char *x = calloc(1, 1 << 16);
    uint32_t id;

    (void)state;
    begin(&w, &p, slam);
    assert_int_equal(pipeline_open(link_pipeline(w.link), SLICE("APPEND {9999999+}\r\n"), &id), 0);
    for (;;) {
        struct link_wanting wanting = {w.link, false};

        if (link_flush(w.link) < 0 || link_wait(&wanting, 1, 10) < 0)
            break;
        if (buf_left(pipeline_out(link_pipeline(w.link))) >= 1 << 16)
            assert_int_equal(pipeline_put_raw(link_pipeline(w.link), slice_of(x, 1 << 16)), 0);
    }
    assert_trouble(&w, LINK_BROKEN, "the server says BYE: [OVERQUOTA] That is enough");
    end(&w, &p);
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
            said = snprintf(answer, sizeof answer, ")\r\n%.*s OK Done\r\n",
                            (int)strcspn(line, " "), line);
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
    both[0] = (struct link_wanting){other, true};
    both[1] = (struct link_wanting){w.link, true};

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

/* --- threads ---------------------------------------------------------------------------------- */

enum { THREADS = 4, CALLS = 100 };

static const struct exchange echo[] = {COMMON("LITERAL+"), ELSE("* 1 EXISTS\r\n% OK Done\r\n")};

static struct tls_context *context;

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
    struct cert cert = cert_make("mail.example.org", "DNS:mail.example.org", NULL, 10, NULL);
    const struct tls_client_params params = {.verifies = false};
    SSL_CTX *server = peer_tls(&cert);
    pthread_t threads[THREADS];
    struct peer peers[THREADS];
    struct err err;

    (void)state;
    (void)!secret_begin(&err); /* used all the same when it cannot be locked */
    assert_int_equal(tls_client_new(&params, &context, &err), 0);
    for (size_t i = 0; i < THREADS; i++) {
        peers[i] = (struct peer){.greeting = HI, .exchanges = echo, .is_tls = true, .tls = server};
        peer_start(&peers[i]);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_link, &peers[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        peer_stop(&peers[i]);
    tls_context_free(&context);
    SSL_CTX_free(server);
    cert_free(&cert);
    assert_int_equal(secret_used(), 0);
    secret_end();
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
        cmocka_unit_test(test_a_flood_both_ways_does_not_lock_up),
        cmocka_unit_test(test_bye_and_a_reset_in_a_flood_are_told_by_the_words_of_bye),
        cmocka_unit_test(test_bye_is_heard_when_writing_fails),
        cmocka_unit_test(test_a_large_body_comes_in_pieces),
        cmocka_unit_test(test_compress_both_ways),
        cmocka_unit_test(test_compress_that_is_not_to_be_had),
        cmocka_unit_test(test_waiting_for_two_links_ends_with_the_first),
        cmocka_unit_test(test_links_in_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
