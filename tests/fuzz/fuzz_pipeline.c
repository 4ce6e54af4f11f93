/* A conversation after the login, with any server: what comes of it does not depend on how bytes
 * come, each response ends where the frames of imap/frame.h do, bodies are as long as they were
 * announced, nothing else is longer than the limit or holds NUL, and each command is answered once.
 *
 * Flags: how many commands are out; a small limit; an open command. */
#include "cut.h"

#include "imap/frame.h"
#include "imapc/pipeline.h"

enum { MAX_INPUT = 4096, COMMANDS = 7, IS_TIGHT = 8, HAS_OPEN = 16 };

struct run {
    struct pipeline *p;
    struct cut cut;
    struct slice bytes; /* the whole input */
    size_t at;          /* where its next response begins */
    struct buf told;
    size_t max_response, response_n; /* bytes of the response so far, bodies left out */
    uint64_t body_left;
    bool is_answered[COMMANDS + 2];
};

static void tell(struct run *r, struct slice s)
{
    INSIST(buf_put(&r->told, s) == 0);
}

static void tell_event(struct run *r, enum pipeline_event event)
{
    INSIST(buf_printf(&r->told, "\n%d %u ", (int)event, pipeline_number(r->p)) == 0);
}

static void check_text(const struct run *r, struct slice text)
{
    INSIST(lies_in(text, buf_slice(pipeline_in(r->p))));
    INSIST(!slice_has(text, '\0') && r->response_n <= r->max_response);
}

/* How many bytes have come up to `end`, which lies in what is to be read. */
static size_t place(const struct run *r, const char *end)
{
    struct slice in = buf_slice(pipeline_in(r->p));

    return r->bytes.n - r->cut.left.n - (size_t)(in.p + in.n - end);
}

/* The response, whose text ends at `end`, is the next frame; "+" that nobody waits for is none. */
static void check_frame(struct run *r, enum pipeline_event event, const char *end)
{
    bool is_passed;

    do {
        struct slice rest = slice_sub(r->bytes, r->at, r->bytes.n);
        struct frame f;

        frame_start(&f, FRAME_RESPONSE, SIZE_MAX, INT64_MAX);
        INSIST(frame_step(&f, rest) == FRAME_WHOLE);
        r->at += frame_len(&f);
        is_passed = rest.p[0] == '+' && event != PIPELINE_PLUS;
    } while (is_passed);
    INSIST(r->at == place(r, end) + 2);
}

static void on_response(struct run *r, enum pipeline_event event)
{
    const struct response *said = pipeline_response(r->p);

    r->response_n += said->text.n;
    check_text(r, said->text);
    check_frame(r, event, said->text.p + said->text.n);
    INSIST((said->tag.n > 0) == (event == PIPELINE_TAGGED));
    INSIST((said->kind == RESPONSE_CONTINUE) == (event == PIPELINE_PLUS));
    tell_event(r, event);
    tell(r, said->word);
    tell(r, SLICE(" "));
    tell(r, said->text);
    if (event == PIPELINE_DATA && said->kind == RESPONSE_BYE)
        INSIST(pipeline_is_bye(r->p));
    if (event != PIPELINE_DATA)
        INSIST(buf_printf(&r->told, " #%u", pipeline_command_id(r->p)) == 0);
    r->response_n = 0;
}

static void on_tagged(struct run *r)
{
    uint32_t id = pipeline_command_id(r->p);

    INSIST(id > 0 && id < sizeof(r->is_answered) && !r->is_answered[id]);
    r->is_answered[id] = true;
}

static void on_body(struct run *r)
{
    struct slice head = pipeline_head(r->p);

    r->response_n += head.n;
    check_text(r, head);
    INSIST(head.n > 5 && memcmp(head.p + head.n - 3, "}\r\n", 3) == 0);
    r->body_left = pipeline_body_n(r->p);
    tell_event(r, PIPELINE_BODY);
    tell(r, head);
}

static void on_bytes(struct run *r)
{
    struct slice bytes = pipeline_bytes(r->p);

    INSIST(bytes.n > 0 && bytes.n <= r->body_left && lies_in(bytes, buf_slice(pipeline_in(r->p))));
    r->body_left -= bytes.n;
    tell(r, bytes);
}

/* Without the server's words: how much of an endless line they show depends on how it came. */
static void on_failed(struct run *r)
{
    struct slice words = slice_str(pipeline_failure(r->p));

    INSIST(words.n > 0 && pipeline_step(r->p) == PIPELINE_FAILED);
    tell_event(r, PIPELINE_FAILED);
    tell(r, slice_of(words.p, strcspn(words.p, ":")));
}

static void on_event(struct run *r, enum pipeline_event event)
{
    switch (event) {
    case PIPELINE_TAGGED:
        on_tagged(r);
        on_response(r, event);
        break;
    case PIPELINE_DATA:
    case PIPELINE_PLUS:
        on_response(r, event);
        break;
    case PIPELINE_BODY:
        on_body(r);
        break;
    case PIPELINE_BYTES:
        on_bytes(r);
        break;
    case PIPELINE_BODY_END:
        INSIST(r->body_left == 0);
        tell_event(r, event);
        break;
    case PIPELINE_FAILED:
        on_failed(r);
        break;
    case PIPELINE_MORE:
        INSIST(buf_left(pipeline_in(r->p)) > 0);
        INSIST(r->body_left == 0 || buf_len(pipeline_in(r->p)) == 0);
        break;
    }
}

static void put_commands(struct run *r, uint8_t flags)
{
    uint32_t id;

    for (unsigned i = 0; i < (flags & COMMANDS); i++)
        INSIST(pipeline_put(r->p, SLICE("NOOP"), &id) == 0);
    if (flags & HAS_OPEN)
        INSIST(pipeline_open(r->p, SLICE("APPEND"), &id) == 0);
}

static void run(struct run *r, const struct fuzz_input *in, uint64_t seed)
{
    struct pipeline_params params = {in->flags & IS_TIGHT ? 40 : 1000, 1000, 1000};
    enum pipeline_event event;

    *r = (struct run){.p = pipeline_new(&params),
                      .cut = {in->bytes, seed, false},
                      .bytes = in->bytes,
                      .max_response = params.max_response};
    INSIST(r->p);
    buf_init(&r->told, 1 << 20, false);
    put_commands(r, in->flags);
    do {
        event = pipeline_step(r->p);
        on_event(r, event);
    } while (event != PIPELINE_FAILED &&
             (event != PIPELINE_MORE || cut_feed(&r->cut, pipeline_in(r->p))));
    INSIST(pipeline_is_open(r->p) == (bool)(in->flags & HAS_OPEN));
    pipeline_free(&r->p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in;
    struct run whole;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    run(&whole, &in, 0);
    for (uint64_t i = 0; i < 2; i++) {
        struct run cut;

        run(&cut, &in, i == 0 ? 1 : in.seed | 2U);
        INSIST(slice_eq(buf_slice(&cut.told), buf_slice(&whole.told)));
        buf_release(&cut.told);
    }
    buf_release(&whole.told);
    return 0;
}
