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
    const struct command_part part = {c->begun, buf_len(&c->text) - c->begun};
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

static struct slice command(const struct commands *c, size_t i)
{
    return slice_sub(buf_slice(&c->text), c->parts[i].from, c->parts[i].from + c->parts[i].n);
}

int commands_call(const struct commands *c, struct link *l, link_data *on_data,
                  link_answered *on_answer, void *arg, struct err *err)
{
    struct slice *all;
    int done;

    if (c->n == 0)
        return 0;
    all = calloc(c->n, sizeof *all);
    if (!all)
        return err_set(err, 0, "no memory for commands");
    for (size_t i = 0; i < c->n; i++)
        all[i] = command(c, i);
    done = link_calls(l, all, c->n, on_data, on_answer, arg, err);
    free(all);
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
    const struct slice *names;
    size_t n, at; /* answers come in the order of the names, most likely */
    struct data_status *out;
};

static int on_status(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct statuses *s = arg;
    struct data_status status;
    struct slice text;
    char *room, *name;

    (void)err;
    if (!mailboxes_is_data(p, event, "STATUS", &text, &room))
        return 0;
    if (mailboxes_read_status(s->l, text, room, &name, &status)) {
        for (size_t tried = 0; tried < s->n; tried++) {
            const size_t i = (s->at + tried) % s->n;

            if (!names_are_same(s->names[i], slice_str(name), '\0'))
                continue;
            s->out[i] = status;
            s->at = i + 1;
            break;
        }
        free(name);
    }
    free(room);
    return 0;
}

int mailboxes_status(struct link *l, const struct slice *names, size_t n, struct data_status *out,
                     struct err *err)
{
    struct statuses s = {.l = l, .names = names, .n = n, .out = out};
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

/* A command with the name of a mailbox, and what stands behind it. */
static int call_with(struct link *l, const char *verb, struct slice name, const char *behind,
                     link_data *on_data, void *arg, struct link_answer *out_answer, struct err *err)
{
    struct commands c;
    int done = 0;

    commands_init(&c);
    commands_put(&c, verb);
    commands_put_name(&c, l, name);
    commands_put(&c, behind);
    if (commands_end(&c))
        done = commands_call_one(&c, l, on_data, arg, out_answer, err);
    else
        *out_answer = (struct link_answer){.kind = RESPONSE_NO,
                                           .text = SLICE("the name cannot be sent to this server")};
    commands_done(&c);
    return done;
}

struct looking {
    const struct link *l;
    struct slice name;
    bool is_there;
};

static int on_look(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct looking *looking = arg;
    struct data_list list;
    struct slice text;
    char *room, *name;
    bool is_fit;

    (void)err;
    if (!mailboxes_is_data(p, event, "LIST", &text, &room))
        return 0;
    if (data_list(text, room, &list) && !data_has_word(list.attributes, SLICE("\\Noselect")) &&
        !data_has_word(list.attributes, SLICE("\\NonExistent"))) {
        name = mailboxes_name(looking->l, list.name, &is_fit);
        looking->is_there |=
            name && is_fit && names_are_same(slice_str(name), looking->name, list.separator);
        free(name);
    }
    free(room);
    return 0;
}

static bool is_as_good_as_made(const struct link_answer *answer)
{
    return answer->kind == RESPONSE_OK || slice_ieq(answer->code, SLICE("ALREADYEXISTS"));
}

static int create_with_use(struct link *l, struct slice name, const char *use,
                           struct link_answer *out_answer, struct err *err)
{
    char behind[sizeof " (USE ())" + sizeof((struct mailbox *)NULL)->use];

    snprintf(behind, sizeof behind, " (USE (%s))", use);
    return call_with(l, "CREATE ", name, behind, NULL, NULL, out_answer, err);
}

int mailboxes_create(struct link *l, struct slice name, const char *use, bool *out_has_use,
                     struct link_answer *out_answer, struct err *err)
{
    struct link_answer answer = {.kind = RESPONSE_NO}, of_list;
    struct looking looking = {.l = l, .name = name};
    bool has_use = false;

    if (use[0] && link_offers(l, "CREATE-SPECIAL-USE")) {
        if (create_with_use(l, name, use, &answer, err) < 0)
            return -1;
        has_use = answer.kind == RESPONSE_OK;
    }
    if (!is_as_good_as_made(&answer) &&
        call_with(l, "CREATE ", name, "", NULL, NULL, &answer, err) < 0)
        return -1;
    if (!is_as_good_as_made(&answer)) {
        if (call_with(l, "LIST \"\" ", name, "", on_look, &looking, &of_list, err) < 0)
            return -1;
        /* The words of the refusal are gone with LIST's. */
        if (looking.is_there)
            answer = (struct link_answer){.kind = RESPONSE_OK};
        else if (call_with(l, "CREATE ", name, "", NULL, NULL, &answer, err) < 0)
            return -1;
    }
    if (is_as_good_as_made(&answer))
        answer.kind = RESPONSE_OK;
    *out_has_use = has_use;
    *out_answer = answer;
    return 0;
}

int mailboxes_subscribe(struct link *l, struct slice name, struct link_answer *out_answer,
                        struct err *err)
{
    return call_with(l, "SUBSCRIBE ", name, "", NULL, NULL, out_answer, err);
}
