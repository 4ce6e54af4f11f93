/* What an operator's program may write to the unix door: lines of any bytes. Each has one answer,
 * which is lines of JSON with "done" or "error" in the last; and what only sees orders nothing. */
#include "../unit/operate_fake.h"

#include "admin/commands.h"

#include <jansson.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf *conf;
static struct backends backends;

static void begin(void)
{
    static const char text[] =
        "listener l { address = \"127.0.0.1:0\" }\n"
        "pool main { backend mail1 { address = \"192.0.2.1:10143\" }\n"
        "            backend mail2 { address = \"mail2.test:10143\" } }\n"
        "pool other { storage = shared backend disk1 { address = \"192.0.2.9:10143\" } }\n"
        "directory people { driver = static rules = {\"* pool=main\"} }\n";
    struct err err;

    INSIST(conf_load_text(text, "fuzz", &conf, &err) == 0);
    INSIST(backends_init(&backends, conf, &err) == 0);
    INSIST(backends_number(&backends, SLICE("gone1")) != BACKEND_NONE);
}

/* Lines, all of them objects with one of the keys; the last ends the answer. */
static void judge(struct slice out)
{
    bool is_over = false;

    while (out.n > 0) {
        const char *end = memchr(out.p, '\n', out.n);
        json_t *line;

        INSIST(end && !is_over);
        line = json_loadb(out.p, (size_t)(end - out.p), JSON_REJECT_DUPLICATES, NULL);
        INSIST(json_is_object(line));
        is_over = json_object_get(line, "done") || json_object_get(line, "error");
        INSIST(is_over || json_object_get(line, "row"));
        if (json_object_get(line, "error"))
            INSIST(json_is_string(json_object_get(line, "code")));
        json_decref(line);
        out = slice_sub(out, (size_t)(end - out.p) + 1, out.n);
    }
    INSIST(is_over);
}

static void on_told(struct call *call)
{
    INSIST(!call->is_waiting);
}

static void answer(struct operate *o, struct slice line)
{
    struct request request;
    struct buf out;
    struct call call;
    struct err err;

    if (request_open(line, &request, &err) < 0) {
        INSIST(err.text[0]);
        return;
    }
    o->did[0] = '\0';
    buf_init(&out, 1 << 20, false);
    if (call_begin(&call, o, &request, &out, 61000, &err) < 0) {
        INSIST(buf_len(&out) == 0 && err.text[0]);
        INSIST(answer_error(&call.answer, call.is_usage ? "usage" : "failed", err.text));
    } else {
        INSIST(command_right(request.command) == RIGHT_STEER ? call.said[0] : !o->did[0]);
        call.on_told = on_told;
        if (call.is_waiting)
            tell_facts(o, o->questions, FACTS_FOUND, "people", "backend=mail2", 7000);
        while (call_step(&call, 61000))
            continue;
        INSIST(!call.answer.is_failed);
    }
    judge(buf_slice(&out));
    call_done(&call);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct operate o = {.backends = &backends, .sessions = 3, .name = SLICE("a\xff\"n")};
    struct slice rest = slice_of(data, size);

    if (!conf)
        begin();
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '\n', rest.n);
        const size_t n = end ? (size_t)(end - rest.p) : rest.n;
        char *line = malloc(n ? n : 1);

        memcpy(line, rest.p, n);
        answer(&o, slice_of(line, n));
        free(line);
        rest = slice_sub(rest, n + 1, rest.n);
    }
    fake_done(&o);
    return 0;
}
