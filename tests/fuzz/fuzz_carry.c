/* Carrying between two servers that say what the input says, over the true pipelines: by their own
 * bytes, or by answers that fit. Links, journal, and what the lanes share are here.
 *
 * The source has one link, or several that give what was asked of the others, break, and end.
 *
 * Whatever comes: a message is asked for only when the journal knows of it, it is done once at
 * most, what the journal holds is what was told, and when all is said to be done, all is. What
 * words mean is asked of every line besides.
 */
#include "base/buf.h"
#include "imapc/pipeline.h"
#include "net/loop.h"
#include "sync/carry.h"
#include "sync/flags.h"
#include "sync/identity.h"
#include "sync/journal.h"
#include "sync/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGES = 24, BUFFER = 64 << 10, TURNS = 100000, SOURCES = 3 };

/* --- the world -------------------------------------------------------------------------------- */

struct link {
    struct pipeline *pipeline;
    struct buf wire; /* what the server has said, and nobody has read */
    bool is_broken;
    uint32_t next_tag; /* that the server answers next */
    size_t takes;      /* bytes that it reads at a time */
};

enum row { ROW_NONE, ROW_SENDING, ROW_SENT };

static struct {
    struct slice input;
    struct link from[SOURCES], to;
    size_t sources_n;
    uint64_t now_ms;
    bool is_stopping, has_literal_plus, has_multiappend;
    enum row rows[MESSAGES + 1];
    bool is_done[MESSAGES + 1];
    unsigned turns;
} world;

static uint8_t take_byte(void)
{
    uint8_t byte;

    if (world.input.n == 0)
        return 0;
    byte = (uint8_t)*world.input.p;
    world.input = slice_sub(world.input, 1, world.input.n);
    return byte;
}

static struct slice take_bytes(size_t n)
{
    struct slice bytes = slice_sub(world.input, 0, n);

    world.input = slice_sub(world.input, bytes.n, world.input.n);
    return bytes;
}

/* --- servers ---------------------------------------------------------------------------------- */

static void say(struct link *l, struct slice bytes)
{
    (void)!buf_put(&l->wire, slice_sub(bytes, 0, buf_left(&l->wire)));
}

static void read_wire(struct link *l)
{
    struct buf *in = pipeline_in(l->pipeline);
    struct slice come = slice_sub(buf_slice(&l->wire), 0, buf_left(in));

    INSIST(buf_put(in, come) == 0);
    buf_take(&l->wire, come.n);
}

static void answer(struct link *l, const char *words)
{
    char line[200];

    snprintf(line, sizeof line, "S%u %s\r\n", l->next_tag++, words);
    say(l, slice_str(line));
}

static struct link *some_source(void)
{
    return &world.from[world.sources_n > 1 ? take_byte() % world.sources_n : 0];
}

static void give_message(struct link *from, uint32_t uid, size_t n, unsigned how)
{
    static const char body[] = "From: a\r\nDate: b\r\n\r\nEverything that is to be said.\r\n";
    char text[100];

    n = n < sizeof body ? n : sizeof body - 1;
    if (how % 3 == 0)
        snprintf(text, sizeof text, "* %u FETCH (UID %u BODY[] {%zu}\r\n", uid, uid, n);
    else if (how % 3 == 1)
        snprintf(text, sizeof text, "* %u FETCH (FLAGS () UID %u BODY[] {%zu}\r\n", uid, uid, n);
    else
        snprintf(text, sizeof text, "* %u FETCH (BODY[] {%zu}\r\n", uid, n);
    say(from, slice_str(text));
    say(from, slice_of(body, n));
    if (how % 3 == 2)
        snprintf(text, sizeof text, " UID %u)\r\n", uid + how / 64);
    else
        snprintf(text, sizeof text, ")\r\n");
    say(from, slice_str(text));
}

/* What the target's answer is; of APPENDUID the input has the numbers. */
static void answer_append(unsigned how)
{
    static const char *const words[] = {"OK done",
                                        "NO no",
                                        "BAD bad",
                                        "NO [TRYCREATE] gone",
                                        "NO [OVERQUOTA] full",
                                        "NO [LIMIT] much",
                                        "NO [UNAVAILABLE] Backoff Time: 5 milliseconds",
                                        "NO keyword",
                                        "NO date",
                                        "NO [TOOBIG] long"};
    char text[64];
    unsigned first = take_byte();

    if (how % 16 < 10) {
        answer(&world.to, words[how % 16]);
        return;
    }
    snprintf(text, sizeof text, "OK [APPENDUID %u %u:%u] done", how % 16 == 10 ? 8U : 7U, first,
             first + how / 16);
    answer(&world.to, text);
}

/* The next that happens. False: nothing any more. */
static bool happen(void)
{
    uint8_t what = take_byte(), how = take_byte();
    struct link *from = some_source();

    if (world.input.n == 0)
        return false;
    world.now_ms += how;
    switch (what % 12) {
    case 0:
        say(from, take_bytes(how));
        break;
    case 1:
        say(&world.to, take_bytes(how));
        break;
    case 2:
    case 3:
    case 4:
        give_message(from, 1 + what / 12 % (MESSAGES + 1), take_byte(), how);
        break;
    case 5:
        answer(from, how < 200 ? "OK" : how < 250 ? "NO" : "NO [UNAVAILABLE]");
        break;
    case 6:
    case 7:
        answer_append(how);
        break;
    case 8:
        say(&world.to, SLICE("+ go\r\n"));
        break;
    case 9: /* all that is missing in a row */
        for (uint32_t uid = 1; uid <= 1 + how % MESSAGES; uid++)
            give_message(from, uid, how, 0);
        answer(from, "OK");
        break;
    case 10:
        world.to.takes = how < 128 ? BUFFER : how % 64;
        world.now_ms += 1000;
        break;
    case 11:
        world.is_stopping |= how == 1;
        from->is_broken |= how == 2;
        world.to.is_broken |= how == 3;
        world.now_ms += (uint64_t)how * 100;
        break;
    }
    return true;
}

/* --- in place of sync/link.c ------------------------------------------------------------------ */

struct loop *link_loop(const struct link *l)
{
    (void)l;
    return NULL;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    (void)loop;
    return world.now_ms;
}

struct pipeline *link_pipeline(struct link *l)
{
    return l->pipeline;
}

bool link_is_open(const struct link *l)
{
    return !l->is_broken;
}

enum link_trouble link_trouble(const struct link *l)
{
    return l->is_broken ? LINK_BROKEN : LINK_FINE;
}

const char *link_error(const struct link *l)
{
    return l->is_broken ? "broken" : "";
}

int link_take_in(struct link *l, bool *out_has_room)
{
    if (l->is_broken)
        return -1;
    read_wire(l);
    *out_has_room = buf_left(pipeline_in(l->pipeline)) > 0;
    return 0;
}

void link_settle(struct link *l)
{
    (void)l;
}

bool link_offers(const struct link *l, const char *capability)
{
    (void)l;
    return world.has_multiappend && strcmp(capability, "MULTIAPPEND") == 0;
}

size_t link_nonsync_max(const struct link *l)
{
    (void)l;
    return world.has_literal_plus ? SIZE_MAX : 20;
}

int link_put_name(const struct link *l, struct slice name, struct buf *out)
{
    (void)l;
    return buf_put(out, name);
}

enum link_event link_step(struct link *l, enum pipeline_event *out_event)
{
    INSIST(++world.turns < TURNS);
    if (l->is_broken)
        return LINK_FAILED;
    *out_event = pipeline_step(l->pipeline);
    if (*out_event == PIPELINE_MORE && buf_len(&l->wire) > 0) {
        read_wire(l);
        *out_event = pipeline_step(l->pipeline);
    }
    l->is_broken = *out_event == PIPELINE_FAILED;
    if (*out_event == PIPELINE_FAILED)
        return LINK_FAILED;
    return *out_event == PIPELINE_MORE ? LINK_WAIT : LINK_EVENT;
}

int link_flush(struct link *l)
{
    struct buf *out = pipeline_out(l->pipeline);

    buf_take(out, buf_len(out) < l->takes ? buf_len(out) : l->takes);
    return l->is_broken ? -1 : 0;
}

int link_wait(struct link_wanting *links, size_t n, uint32_t wait_ms)
{
    (void)wait_ms;
    if (!happen())
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (link_flush(links[i].link) < 0)
            return -1;
    }
    return 0;
}

/* In place of sync/look_list.c: UIDs have no gaps. */
struct look_message *look_find(const struct look_list *list, uint32_t uid)
{
    return uid > 0 && uid <= list->n ? &list->messages[uid - 1] : NULL;
}

/* --- in place of sync/state.c and sync/journal.c ---------------------------------------------- */

struct journal *sync_journal(const struct sync *s)
{
    (void)s;
    return NULL;
}

bool sync_is_stopping(const struct sync *s)
{
    (void)s;
    INSIST(++world.turns < TURNS);
    return world.is_stopping;
}

uint32_t sync_pay(struct sync *s, size_t n)
{
    (void)s;
    return (uint32_t)n / 50;
}

void sync_pausing(struct sync *s, unsigned lane, uint32_t ms)
{
    (void)s;
    (void)lane;
    (void)ms;
}

void sync_log(struct sync *s, const char *fmt, ...)
{
    (void)s;
    (void)fmt;
}

int journal_sending(struct journal *j, int64_t folder, uint32_t fence, const uint32_t *from_uids,
                    size_t n, struct err *err)
{
    (void)j;
    (void)folder;
    (void)fence;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        INSIST(from_uids[i] > 0 && from_uids[i] <= MESSAGES);
        INSIST(world.rows[from_uids[i]] == ROW_NONE && !world.is_done[from_uids[i]]);
        world.rows[from_uids[i]] = ROW_SENDING;
    }
    return 0;
}

int journal_set(struct journal *j, int64_t folder, const struct journal_message *messages, size_t n,
                struct err *err)
{
    (void)j;
    (void)folder;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        INSIST(world.rows[messages[i].from_uid] == ROW_SENDING);
        world.rows[messages[i].from_uid] = ROW_SENT;
    }
    return 0;
}

int journal_remove(struct journal *j, int64_t folder, const uint32_t *from_uids, size_t n,
                   struct err *err)
{
    (void)j;
    (void)folder;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        INSIST(world.rows[from_uids[i]] == ROW_SENDING);
        world.rows[from_uids[i]] = ROW_NONE;
    }
    return 0;
}

/* --- a run ------------------------------------------------------------------------------------ */

static void on_done(void *arg, uint32_t from_uid, uint64_t size, bool is_there)
{
    (void)arg;
    (void)size;
    INSIST(from_uid > 0 && from_uid <= MESSAGES && !world.is_done[from_uid]);
    INSIST(world.rows[from_uid] == (is_there ? ROW_SENT : ROW_NONE));
    world.is_done[from_uid] = true;
}

static void on_issue(void *arg, enum sync_reason reason, uint32_t from_uid, struct slice words)
{
    (void)arg;
    (void)words;
    INSIST(reason < SYNC_REASONS && from_uid > 0 && from_uid <= MESSAGES);
}

/* Ends the run before its end, now and then. */
static bool on_pace(void *arg, const struct carry_pace *pace)
{
    (void)arg;
    INSIST(pace->next < MESSAGES && pace->dry_ms <= pace->ms);
    return pace->ms % 3 == 0;
}

static void fill(struct look_list *list, uint32_t *uids)
{
    static const struct slice flags[] = {SLICE(""), SLICE("\\Seen"), SLICE("\\Seen Work"),
                                         SLICE("a b c")};

    for (uint32_t i = 0; i < MESSAGES; i++) {
        int64_t number = flags_number(list->flags, flags[i % 4]);

        INSIST(number >= 0);
        uids[i] = i + 1;
        list->messages[i] = (struct look_message){.uid = i + 1,
                                                  .flags = (uint32_t)number,
                                                  .has_flags = true,
                                                  .has_date = i % 3 > 0,
                                                  .size = i % 5 == 0 ? UINT64_MAX : 50};
    }
    list->n = MESSAGES;
}

/* Those before the first that has broken; the first of all has not. */
static size_t sources_left(size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (world.from[i].is_broken)
            return i;
    }
    return n;
}

static bool all_answered(size_t sources)
{
    size_t waiting = pipeline_waiting(world.to.pipeline);

    for (size_t i = 0; i < sources; i++)
        waiting += world.from[i].is_broken ? 0 : pipeline_waiting(world.from[i].pipeline);
    return waiting == 0;
}

static void run(uint8_t how)
{
    struct link *const from[SOURCES] = {&world.from[0], &world.from[1], &world.from[2]};
    struct look_message messages[MESSAGES];
    uint32_t uids[MESSAGES];
    struct carry_result result;
    struct look_list list = {.messages = messages, .flags = flags_new()};
    struct identity_reader *reader = identity_reader_new();
    struct err err;
    struct carry_params p = {.from = from,
                             .from_n = world.sources_n,
                             .to = &world.to,
                             .to_name = SLICE("x"),
                             .fence = 1,
                             .to_uidvalidity = 7,
                             .permanent = how & 4 ? SLICE("\\Seen \\*") : SLICE("\\Seen"),
                             .reader = reader,
                             .list = &list,
                             .uids = uids,
                             .n = MESSAGES,
                             .is_careful = how & 8,
                             .told = {.done = on_done, .issue = on_issue, .pace = on_pace}};
    enum carry_end end;

    INSIST(list.flags && reader);
    fill(&list, uids);
    do {
        end = carry_run(&p, &result, &err);
        INSIST(end != CARRY_FAILED && result.suspect <= MESSAGES);
        if (end != CARRY_DONE)
            break;
        INSIST(result.taken <= p.n && result.taken <= result.recorded);
        p.uids += result.taken;
        p.n -= result.taken;
        p.recorded = result.recorded - result.taken;
        for (const uint32_t *uid = uids; uid < p.uids; uid++)
            INSIST(world.is_done[*uid] && world.rows[*uid] != ROW_SENDING);
        p.from_n = sources_left(p.from_n);
    } while (p.n > 0);
    INSIST(end == CARRY_BROKEN || !world.is_stopping || end == CARRY_DONE || end == CARRY_AGAIN ||
           end == CARRY_FULL);
    if (end == CARRY_DONE || end == CARRY_FULL)
        INSIST(all_answered(p.from_n));
    identity_reader_free(&reader);
    flags_free(&list.flags);
}

static void ask_what_it_means(struct slice text)
{
    enum sync_reason reason = REASON_EXTRA;
    uint32_t pause_ms = 0;
    size_t code = text.n > 0 ? (unsigned char)text.p[0] % 16U : 0;
    enum carry_refusal refusal =
        carry_refusal(slice_sub(text, 0, code), slice_sub(text, code, text.n), &reason, &pause_ms);

    INSIST((reason == REASON_EXTRA) == (refusal != REFUSAL_MESSAGE));
    INSIST(pause_ms == 0 || refusal == REFUSAL_PAUSE || refusal == REFUSAL_LIMIT);
    INSIST(pause_ms <= 24 * 3600 * 1000);
}

static void link_begin(struct link *l)
{
    const struct pipeline_params params = {BUFFER, BUFFER, BUFFER};

    *l = (struct link){pipeline_new(&params), .next_tag = 1, .takes = BUFFER};
    INSIST(l->pipeline);
    buf_init(&l->wire, BUFFER, false);
}

static void link_end(struct link *l)
{
    pipeline_free(&l->pipeline);
    buf_release(&l->wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how;

    ask_what_it_means(slice_of(data, size));
    memset(&world, 0, sizeof world);
    world.input = slice_of(data, size);
    how = take_byte();
    world.has_literal_plus = how & 1;
    world.has_multiappend = how & 2;
    world.sources_n = 1 + how / 16 % SOURCES;
    for (size_t i = 0; i < SOURCES; i++)
        link_begin(&world.from[i]);
    link_begin(&world.to);
    run(how);
    for (size_t i = 0; i < SOURCES; i++)
        link_end(&world.from[i]);
    link_end(&world.to);
    return 0;
}
