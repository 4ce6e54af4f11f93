/* A link whose server is a function of the test: commands go in, what it writes comes out through a
 * real pipeline, in pieces of any size. In place of sync/link.c. */
#ifndef USHER_TESTS_UNIT_LOOK_FAKE_H
#define USHER_TESTS_UNIT_LOOK_FAKE_H

#include "cm.h"

#include "no_memory.h"

#include "base/buf.h"
#include "imap/capability.h"
#include "imap/data.h"
#include "imapc/pipeline.h"
#include "sync/link.h"

#include <stdlib.h>

/* no_memory.h has the others. */
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    return memory_is_out() ? NULL : __real_reallocarray(p, n, size);
}

struct link {
    /* Writes all untagged responses, and returns the end of the tagged one: "OK done". */
    const char *(*serve)(void *world, struct slice command, struct buf *out);
    void *world;
    const char *offers;
    size_t piece; /* bytes that come at a time */
    struct pipeline *p;
    struct buf told;       /* what the server says */
    struct buf asked;      /* all commands so far, each with "\n" */
    struct buf answer;     /* of link_call() */
    size_t calls, longest; /* round trips; bytes of the longest command */
    bool fails_memory;     /* from no_memory.h, while code that is tested runs */
    bool has_qresync;
};

enum { FAKE_MEMORY = 64 << 20 };

static inline void fake_begin(struct link *l)
{
    static const struct pipeline_params params = {1 << 20, 1 << 20, 1 << 20};

    l->p = pipeline_new(&params);
    assert_non_null(l->p);
    buf_init(&l->told, FAKE_MEMORY, false);
    buf_init(&l->asked, FAKE_MEMORY, false);
    buf_init(&l->answer, FAKE_MEMORY, false);
}

static inline void fake_end(struct link *l)
{
    pipeline_free(&l->p);
    buf_release(&l->told);
    buf_release(&l->asked);
    buf_release(&l->answer);
}

bool link_offers(const struct link *l, const char *capability)
{
    return l->offers && capability_has(slice_str(l->offers), slice_str(capability));
}

int link_put_name(const struct link *l, struct slice name, struct buf *out)
{
    (void)l;
    if (slice_has(name, '\n'))
        return -1;
    return buf_printf(out, "\"%.*s\"", SLICE_ARG(name));
}

static inline void fake_send(struct link *l, struct slice command)
{
    struct slice line;
    uint32_t id;
    const char *end, *tagged;

    assert_int_equal(pipeline_put(l->p, command, &id), 0);
    line = buf_slice(pipeline_out(l->p));
    end = memchr(line.p, ' ', line.n);
    assert_non_null(end);
    tagged = l->serve(l->world, command, &l->told);
    assert_int_equal(buf_printf(&l->told, "%.*s %s\r\n", (int)(end - line.p), line.p, tagged), 0);
    buf_take(pipeline_out(l->p), line.n);
    assert_int_equal(buf_printf(&l->asked, "%.*s\n", SLICE_ARG(command)), 0);
    if (command.n > l->longest)
        l->longest = command.n;
}

static inline bool fake_feed(struct link *l)
{
    struct slice piece = slice_sub(buf_slice(&l->told), 0, l->piece);

    piece = slice_sub(piece, 0, buf_left(pipeline_in(l->p)));
    if (piece.n == 0)
        return false;
    assert_int_equal(buf_put(pipeline_in(l->p), piece), 0);
    buf_take(&l->told, piece.n);
    return true;
}

static inline struct link_answer fake_answer(struct pipeline *p)
{
    const struct response *r = pipeline_response(p);
    struct link_answer answer = {.kind = r->kind, .text = r->text};

    (void)data_code(r->text, &answer.code, &answer.arguments);
    return answer;
}

int link_calls(struct link *l, const struct slice *commands, size_t n, link_data *on_data,
               link_answered *on_answer, void *arg, struct err *err)
{
    size_t answered = 0;
    int result = 0;

    memory.is_on = false;
    l->calls++;
    for (size_t i = 0; i < n; i++)
        fake_send(l, commands[i]);
    while (result == 0 && answered < n) {
        enum pipeline_event event = pipeline_step(l->p);
        struct link_answer answer;

        assert_int_not_equal(event, PIPELINE_FAILED);
        if (event == PIPELINE_MORE) {
            assert_true(fake_feed(l));
            continue;
        }
        if (event == PIPELINE_TAGGED)
            answer = fake_answer(l->p);
        memory.is_on = l->fails_memory;
        if (event != PIPELINE_TAGGED)
            result = on_data(arg, l->p, event, err);
        else if (on_answer)
            result = on_answer(arg, answered, &answer, err);
        answered += event == PIPELINE_TAGGED;
        memory.is_on = false;
    }
    memory.is_on = l->fails_memory;
    return result;
}

/* One after the other: who relies on an order among links relies on too much, but all is there. */
int link_calls_all(const struct link_batch *batches, size_t n, struct err *err)
{
    int result = 0;

    for (size_t i = 0; i < n && result == 0; i++) {
        const struct link_batch *b = &batches[i];

        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(batches[k].link, b->link);
        result = link_calls(b->link, b->commands, b->n, b->on_data, b->on_answer, b->arg, err);
    }
    return result;
}

void link_doubt_qresync(struct link *l)
{
    l->has_qresync = false;
}

struct fake_single {
    struct link *l;
    link_data *on_data;
    void *arg;
    struct link_answer answer;
};

static inline int fake_single_data(void *arg, struct pipeline *p, enum pipeline_event event,
                                   struct err *err)
{
    const struct fake_single *s = arg;

    return s->on_data ? s->on_data(s->arg, p, event, err) : 0;
}

static inline int fake_single_answer(void *arg, size_t i, const struct link_answer *answer,
                                     struct err *err)
{
    struct fake_single *s = arg;
    bool was_on = memory.is_on;

    (void)i;
    (void)err;
    memory.is_on = false;
    buf_take(&s->l->answer, buf_len(&s->l->answer));
    assert_int_equal(buf_put(&s->l->answer, answer->text), 0);
    memory.is_on = was_on;
    s->answer = (struct link_answer){.kind = answer->kind, .text = buf_slice(&s->l->answer)};
    (void)data_code(s->answer.text, &s->answer.code, &s->answer.arguments);
    return 0;
}

int link_call(struct link *l, struct slice command, link_data *on_data, void *arg,
              struct link_answer *out_answer, struct err *err)
{
    struct fake_single s = {l, on_data, arg, {0}};

    if (link_calls(l, &command, 1, fake_single_data, fake_single_answer, &s, err) < 0)
        return -1;
    *out_answer = s.answer;
    return 0;
}

/* --- a server that follows a script ----------------------------------------------------------- */

/* A command that must come, and what is told: lines, the last of which is the tagged one. */
struct fake_row {
    const char *command, *answer;
};

struct fake_script {
    const struct fake_row *rows;
    size_t n, at;
};

static inline const char *fake_serve_script(void *world, struct slice command, struct buf *out)
{
    struct fake_script *s = world;
    const char *answer, *last;

    if (s->at == s->n)
        fail_msg("more than was expected: %.*s", SLICE_ARG(command));
    if (!slice_eq(command, slice_str(s->rows[s->at].command)))
        fail_msg("sent: %.*s\nexpected: %s", SLICE_ARG(command), s->rows[s->at].command);
    answer = s->rows[s->at++].answer;
    last = answer + strlen(answer);
    while (last > answer && last[-1] != '\n')
        last--;
    assert_int_equal(buf_put(out, slice_of(answer, (size_t)(last - answer))), 0);
    return last;
}

#endif
