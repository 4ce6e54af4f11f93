/* Mailboxes: finding, making and subscribing them, and their STATUS; see sync/mailboxes.h. */
#include "sync/mailboxes.h"

#include "base/room.h"
#include "imap/write.h"
#include "sync/mailboxes_parts.h"
#include "sync/names.h"

#include <stdio.h>
#include <stdlib.h>

/* --- commands --------------------------------------------------------------------------------- */

enum { COMMANDS_BYTES = 256 << 20 };

void commands_init(struct commands *c)
{
    *c = (struct commands){0};
    buf_init(&c->text, COMMANDS_BYTES, false);
}

void commands_done(struct commands *c)
{
    buf_release(&c->text);
    free(c->parts);
    *c = (struct commands){0};
}

void commands_put_slice(struct commands *c, struct slice s)
{
    c->is_bad |= buf_put(&c->text, s) < 0;
}

void commands_put(struct commands *c, const char *words)
{
    commands_put_slice(c, slice_str(words));
}

void commands_put_name(struct commands *c, const struct link *l, struct slice name)
{
    c->is_bad |= link_put_name(l, name, &c->text) < 0;
}

void commands_put_string(struct commands *c, struct slice s)
{
    struct slice due;

    if (write_form(s) == WRITE_NEVER) {
        c->is_bad = true;
        return;
    }
    /* A literal is announced only: whether its bytes may follow at once is the link's to know. */
    c->is_bad |= write_string(&c->text, s, 0, &due) < 0;
    commands_put_slice(c, due);
}

bool commands_end(struct commands *c)
{
    return commands_end_about(c, 0);
}

bool commands_end_about(struct commands *c, size_t about)
{
    const struct command_part part = {c->begun, buf_len(&c->text) - c->begun, about};
    const bool is_bad = c->is_bad;
    struct command_part *parts;

    c->begun += part.n;
    c->is_bad = false;
    if (is_bad)
        return false;
    parts = room_for_one(c->parts, c->n, &c->cap, sizeof *parts);
    if (!parts)
        return false;
    c->parts = parts;
    c->parts[c->n++] = part;
    return true;
}

size_t commands_about(const struct commands *c, size_t i)
{
    return c->parts[i].about;
}

static struct slice command(const struct commands *c, size_t i)
{
    return slice_sub(buf_slice(&c->text), c->parts[i].from, c->parts[i].from + c->parts[i].n);
}

/* On the heap, NULL: memory. */
static struct slice *all_commands(const struct commands *c)
{
    struct slice *all = calloc(c->n + 1, sizeof *all);

    for (size_t i = 0; all && i < c->n; i++)
        all[i] = command(c, i);
    return all;
}

int commands_call(const struct commands *c, struct link *l, link_data *on_data,
                  link_answered *on_answer, void *arg, struct err *err)
{
    struct slice *all;
    int done;

    if (c->n == 0)
        return 0;
    all = all_commands(c);
    if (!all)
        return err_set(err, 0, "no memory for commands");
    done = link_calls(l, all, c->n, on_data, on_answer, arg, err);
    free(all);
    return done;
}

int commands_call_both(const struct commands *const both[2], struct link *const links[2],
                       link_data *on_data, link_answered *on_answer, void *const args[2],
                       struct err *err)
{
    struct slice *all[2] = {all_commands(both[0]), all_commands(both[1])};
    struct link_batch batches[2];
    int done;

    for (size_t i = 0; i < 2; i++)
        batches[i] = (struct link_batch){links[i], all[i], both[i]->n, on_data, on_answer, args[i]};
    done = all[0] && all[1] ? link_calls_all(batches, 2, err)
                            : err_set(err, 0, "no memory for commands");
    free(all[0]);
    free(all[1]);
    return done;
}

int commands_call_one(const struct commands *c, struct link *l, link_data *on_data, void *arg,
                      struct link_answer *out_answer, struct err *err)
{
    return link_call(l, command(c, c->n - 1), on_data, arg, out_answer, err);
}

/* --- what comes ------------------------------------------------------------------------------- */

bool mailboxes_is_data(struct pipeline *p, enum pipeline_event event, const char *word,
                       struct slice *out_text, char **out_room)
{
    const struct response *response;

    if (event != PIPELINE_DATA)
        return false;
    response = pipeline_response(p);
    if (response->kind != RESPONSE_DATA || !slice_ieq(response->word, slice_str(word)))
        return false;
    *out_room = malloc(response->text.n + 1);
    *out_text = response->text;
    return *out_room;
}

char *mailboxes_name(const struct link *l, struct slice wire, bool *out_is_fit)
{
    struct buf name;
    char *copy;

    if (slice_ieq(wire, SLICE("INBOX")))
        wire = SLICE("INBOX");
    /* No name that is longer could be carried; UTF-8 has less than three bytes for each of the
     * wire's. */
    buf_init(&name, 3 * NAMES_LONGEST, false);
    *out_is_fit = wire.n <= NAMES_LONGEST && link_read_name(l, wire, &name);
    copy = slice_dup(*out_is_fit ? buf_slice(&name) : wire);
    buf_release(&name);
    return copy;
}

bool mailboxes_read_status(const struct link *l, struct slice text, char *room, char **out_name,
                           struct data_status *out)
{
    bool is_fit;

    if (!data_status(text, room, out))
        return false;
    *out_name = mailboxes_name(l, out->name, &is_fit);
    out->name = (struct slice){0};
    return *out_name;
}

/* --- finding ---------------------------------------------------------------------------------- */

void mailboxes_free(struct mailboxes *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->all[i].name);
    free(m->all);
    free(m->prefix);
    *m = (struct mailboxes){0};
}

/* INBOX comes first, and what begins with it in other letters is found by looking at all. */
const struct mailbox *mailboxes_find(const struct mailboxes *m, struct slice name)
{
    size_t from = m->n > 0 && strcmp(m->all[0].name, "INBOX") == 0 ? 1 : 0, to = m->n;

    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        const struct slice other = slice_str(m->all[middle].name);
        const size_t shared = name.n < other.n ? name.n : other.n;
        int order = shared > 0 ? memcmp(name.p, other.p, shared) : 0;

        if (order == 0)
            order = (name.n > other.n) - (name.n < other.n);
        if (order == 0)
            return &m->all[middle];
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    if (!slice_istarts(name, SLICE("INBOX")))
        return NULL;
    for (size_t i = 0; i < m->n; i++) {
        const struct mailbox *box = &m->all[i];

        if (names_are_same(slice_str(box->name), name,
                           box->separator ? box->separator : m->separator))
            return box;
    }
    return NULL;
}

/* --- STATUS ----------------------------------------------------------------------------------- */

void commands_put_status_items(struct commands *c, const struct link *l)
{
    commands_put(c, "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN");
    if (link_offers(l, "CONDSTORE") || link_offers(l, "QRESYNC"))
        commands_put(c, " HIGHESTMODSEQ");
    if (link_offers(l, "STATUS=SIZE") || link_offers(l, "IMAP4rev2"))
        commands_put(c, " SIZE");
    commands_put(c, ")");
}

struct statuses {
    const struct link *l;
    struct names_asked asked;
    struct data_status *out;
};

static int on_status(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct statuses *s = arg;
    struct data_status status;
    struct slice text;
    char *room, *name;
    size_t i;

    (void)err;
    if (!mailboxes_is_data(p, event, "STATUS", &text, &room))
        return 0;
    if (mailboxes_read_status(s->l, text, room, &name, &status)) {
        if (mailboxes_which(&s->asked, slice_str(name), '\0', &i))
            s->out[i] = status;
        free(name);
    }
    free(room);
    return 0;
}

int mailboxes_status(struct link *l, const struct slice *names, size_t n, struct data_status *out,
                     struct err *err)
{
    struct statuses s = {.l = l, .asked = {.all = names, .n = n}, .out = out};
    struct commands c;
    int done;

    commands_init(&c);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct data_status){0};
        commands_put(&c, "STATUS ");
        commands_put_name(&c, l, names[i]);
        commands_put(&c, " ");
        commands_put_status_items(&c, l);
        commands_end(&c); /* what cannot be asked for is not told */
    }
    done = commands_call(&c, l, on_status, NULL, &s, err);
    commands_done(&c);
    return done;
}

/* --- making ----------------------------------------------------------------------------------- */

enum making_step {
    MAKING_FIRST,   /* with the use, if there is one and the server takes it */
    MAKING_PLAINLY, /* without, where that was refused */
    MAKING_LOOK,    /* whether it is there, whatever the server says */
    MAKING_LAST,
    MAKING_STEPS
};

struct making {
    const struct link *l;
    struct mailbox_new *all;
    struct names_asked asked;
    struct commands commands;
    enum making_step step;
};

static bool sends_use(const struct making *m, const struct mailbox_new *box)
{
    return box->use[0] && link_offers(m->l, "CREATE-SPECIAL-USE");
}

static bool is_due(const struct making *m, const struct mailbox_new *box)
{
    if (box->is_made || box->refusal)
        return false;
    return m->step != MAKING_PLAINLY || sends_use(m, box);
}

static int refuse(struct mailbox_new *box, struct slice words, struct err *err)
{
    box->refusal = slice_dup(words);
    return box->refusal ? 0 : err_set(err, 0, "no memory for an answer");
}

static int put_making(struct making *m, size_t i, struct err *err)
{
    struct mailbox_new *box = &m->all[i];

    commands_put(&m->commands, m->step == MAKING_LOOK ? "LIST \"\" " : "CREATE ");
    commands_put_name(&m->commands, m->l, box->name);
    if (m->step == MAKING_FIRST && sends_use(m, box)) {
        commands_put(&m->commands, " (USE (");
        commands_put(&m->commands, box->use);
        commands_put(&m->commands, "))");
    }
    if (commands_end_about(&m->commands, i))
        return 0;
    return refuse(box, SLICE("the name cannot be sent to this server"), err);
}

static int on_look(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct making *m = arg;
    struct data_list list;
    struct slice text;
    char *room, *name;
    bool is_fit;
    size_t i;

    (void)err;
    if (m->step != MAKING_LOOK || !mailboxes_is_data(p, event, "LIST", &text, &room))
        return 0;
    if (data_list(text, room, &list) && !data_has_word(list.attributes, SLICE("\\Noselect")) &&
        !data_has_word(list.attributes, SLICE("\\NonExistent"))) {
        name = mailboxes_name(m->l, list.name, &is_fit);
        if (name && is_fit && mailboxes_which(&m->asked, slice_str(name), list.separator, &i))
            m->all[i].is_made = true;
        free(name);
    }
    free(room);
    return 0;
}

static int on_making(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct making *m = arg;
    struct mailbox_new *box = &m->all[commands_about(&m->commands, i)];
    const bool is_ok = answer->kind == RESPONSE_OK;

    if (m->step == MAKING_LOOK)
        return 0;
    box->has_use = is_ok && m->step == MAKING_FIRST && sends_use(m, box);
    box->is_made = is_ok || slice_ieq(answer->code, SLICE("ALREADYEXISTS"));
    return box->is_made || m->step != MAKING_LAST ? 0 : refuse(box, answer->text, err);
}

static int make_step(struct making *m, struct link *l, struct err *err)
{
    int done = 0;

    commands_init(&m->commands);
    for (size_t i = 0; done == 0 && i < m->asked.n; i++) {
        if (is_due(m, &m->all[i]))
            done = put_making(m, i, err);
    }
    if (done == 0)
        done = commands_call(&m->commands, l, on_look, on_making, m, err);
    commands_done(&m->commands);
    return done;
}

int mailboxes_create(struct link *l, struct mailbox_new *all, size_t n, struct err *err)
{
    struct slice *names = calloc(n + 1, sizeof *names);
    struct making m = {.l = l, .all = all, .asked = {.all = names, .n = n}};
    int done = 0;

    if (!names)
        return err_set(err, 0, "no memory for commands");
    for (size_t i = 0; i < n; i++)
        names[i] = all[i].name;
    for (; done == 0 && m.step < MAKING_STEPS; m.step++)
        done = make_step(&m, l, err);
    free(names);
    return done;
}

struct subscribing {
    struct commands commands;
    link_answered *on_answer;
    void *arg;
};

static int on_subscribed(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    const struct subscribing *s = arg;

    return s->on_answer(s->arg, commands_about(&s->commands, i), answer, err);
}

int mailboxes_subscribe(struct link *l, const struct slice *names, size_t n,
                        link_answered *on_answer, void *arg, struct err *err)
{
    const struct link_answer unfit = {.kind = RESPONSE_NO,
                                      .text = SLICE("the name cannot be sent to this server")};
    struct subscribing s = {.on_answer = on_answer, .arg = arg};
    int done = 0;

    commands_init(&s.commands);
    for (size_t i = 0; done == 0 && i < n; i++) {
        commands_put(&s.commands, "SUBSCRIBE ");
        commands_put_name(&s.commands, l, names[i]);
        if (!commands_end_about(&s.commands, i))
            done = on_answer(arg, i, &unfit, err);
    }
    if (done == 0)
        done = commands_call(&s.commands, l, NULL, on_subscribed, &s, err);
    commands_done(&s.commands);
    return done;
}
