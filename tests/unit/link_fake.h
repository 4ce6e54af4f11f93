/* A link without a server: commands are looked up in a script, whose answers go through the true
 * pipeline. For tests of what is done by link_call() and link_calls(). */
#ifndef USHER_TESTS_UNIT_LINK_FAKE_H
#define USHER_TESTS_UNIT_LINK_FAKE_H

#include "cm.h"

#include "imap/data.h"
#include "imap/utf7.h"
#include "imap/write.h"
#include "sync/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A command, and the lines that come; the tagged one begins with "=". No lines: the link breaks. */
struct exchange {
    const char *command;
    const char *answer;
};

struct link {
    const struct exchange *script;
    size_t n, at;
    const char *capabilities;
    bool has_utf8;
    struct pipeline *pipeline;
    char text[1000]; /* of the last answer; is overwritten by the next call, as a link's is */
};

static struct link new_link(const char *capabilities, const struct exchange *script, size_t n)
{
    static const struct pipeline_params params = {65536, 65536, 65536};
    struct link l = {
        .script = script, .n = n, .capabilities = capabilities, .pipeline = pipeline_new(&params)};

    assert_non_null(l.pipeline);
    return l;
}

#define NEW_LINK(capabilities, ...)                                \
    new_link(capabilities, (const struct exchange[]){__VA_ARGS__}, \
             sizeof((const struct exchange[]){__VA_ARGS__}) / sizeof(struct exchange))

/* All that was to be said has been said. */
static void end_link(struct link *l)
{
    if (l->at != l->n)
        fail_msg("nobody has said \"%s\"", l->script[l->at].command);
    pipeline_free(&l->pipeline);
}

/* Feeds what stands in the script, "=" being the tag of the command. */
static void feed(struct link *l, const char *answer, const char *tag)
{
    struct buf *in = pipeline_in(l->pipeline);

    for (const char *line = answer; *line;) {
        const char *end = strstr(line, "\r\n");
        const size_t n = end ? (size_t)(end - line) + 2 : strlen(line);

        if (*line == '=')
            assert_int_equal(buf_printf(in, "%s%.*s", tag, (int)n - 1, line + 1), 0);
        else
            assert_int_equal(buf_put(in, slice_of(line, n)), 0);
        line += n;
    }
}

static int step(struct link *l, link_data *on_data, void *arg, struct link_answer *out_answer,
                struct err *err)
{
    for (;;) {
        const enum pipeline_event event = pipeline_step(l->pipeline);
        const struct response *r;

        if (event == PIPELINE_FAILED)
            fail_msg("%s", pipeline_failure(l->pipeline));
        if (event == PIPELINE_MORE)
            fail_msg("the script has no end");
        if (event != PIPELINE_TAGGED) {
            if (on_data && on_data(arg, l->pipeline, event, err) < 0)
                return -1;
            continue;
        }
        r = pipeline_response(l->pipeline);
        *out_answer = (struct link_answer){.kind = r->kind};
        memset(l->text, '#', sizeof l->text);
        snprintf(l->text, sizeof l->text, "%.*s", SLICE_ARG(r->text));
        out_answer->text = slice_str(l->text);
        (void)data_code(out_answer->text, &out_answer->code, &out_answer->arguments);
        return 0;
    }
}

int link_call(struct link *l, struct slice command, link_data *on_data, void *arg,
              struct link_answer *out_answer, struct err *err)
{
    const struct exchange *x = &l->script[l->at];
    struct buf *out = pipeline_out(l->pipeline);
    char tag[32];
    uint32_t id;

    if (l->at == l->n)
        fail_msg("nobody expects \"%.*s\"", SLICE_ARG(command));
    if (!slice_eq(command, slice_str(x->command)))
        fail_msg("\"%.*s\" is said, not \"%s\"", SLICE_ARG(command), x->command);
    l->at++;
    memset(l->text, '#', sizeof l->text);
    if (!x->answer)
        return err_set(err, 0, "broken");
    assert_int_equal(pipeline_put(l->pipeline, command, &id), 0);
    snprintf(tag, sizeof tag, "%.*s",
             (int)((const char *)memchr(out->p + out->r, ' ', buf_len(out)) - (out->p + out->r)),
             out->p + out->r);
    buf_take(out, buf_len(out));
    feed(l, x->answer, tag);
    return step(l, on_data, arg, out_answer, err);
}

int link_calls(struct link *l, const struct slice *commands, size_t n, link_data *on_data,
               link_answered *on_answer, void *arg, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct link_answer answer;

        if (link_call(l, commands[i], on_data, arg, &answer, err) < 0 ||
            (on_answer && on_answer(arg, i, &answer, err) < 0))
            return -1;
    }
    memset(l->text, '#', sizeof l->text);
    return 0;
}

int link_calls_all(const struct link_batch *batches, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct link_batch *b = &batches[i];

        if (link_calls(b->link, b->commands, b->n, b->on_data, b->on_answer, b->arg, err) < 0)
            return -1;
    }
    return 0;
}

struct slice link_capabilities(const struct link *l)
{
    return slice_str(l->capabilities);
}

bool link_offers(const struct link *l, const char *capability)
{
    return data_has_word(slice_str(l->capabilities), slice_str(capability));
}

bool link_has_utf8(const struct link *l)
{
    return l->has_utf8;
}

int link_put_name(const struct link *l, struct slice name, struct buf *out)
{
    struct slice due;
    struct buf wire;
    int done = -1;

    buf_init(&wire, 8 * name.n + 16, false);
    if (l->has_utf8 ? buf_put(&wire, name) == 0 : utf7_encode(name, &wire))
        done = write_string(out, buf_slice(&wire), 0, &due);
    if (done == 0)
        done = buf_put(out, due);
    buf_release(&wire);
    return done;
}

bool link_read_name(const struct link *l, struct slice wire, struct buf *out)
{
    return l->has_utf8 ? buf_put(out, wire) == 0 : utf7_decode(wire, out);
}

#endif
