/* What is written about a folder: annotations (RFC 5464); see sync/mailboxes.h. */
#include "sync/mailboxes.h"

#include "base/room.h"
#include "sync/mailboxes_parts.h"
#include "sync/state.h"

#include <stdlib.h>

/* Values that are longer are left out, and noted. */
enum { VALUE_MOST = 16384, ENTRIES_MOST = 10000 };
#define VALUE_MOST_DIGITS "16384"

/* What servers write for themselves, and special uses, which come with CREATE. */
static const char *const servers_own[] = {
    "/private/specialuse",
    "/shared/vendor/cmu/cyrus-imapd/",
    "/private/vendor/cmu/cyrus-imapd/",
    "/shared/vendor/vendor.dovecot/",
    "/private/vendor/vendor.dovecot/",
};

struct annotations {
    struct annotation {
        char *name;
        char *value;
        size_t value_n;
    } * all;
    size_t n, cap;
};

static void annotations_done(struct annotations *a)
{
    for (size_t i = 0; i < a->n; i++) {
        free(a->all[i].name);
        free(a->all[i].value);
    }
    free(a->all);
    *a = (struct annotations){0};
}

/* Names of entries are the same in any case of letters. */
static const struct annotation *find(const struct annotations *a, const char *name)
{
    for (size_t i = 0; i < a->n; i++) {
        if (slice_ieq(slice_str(a->all[i].name), slice_str(name)))
            return &a->all[i];
    }
    return NULL;
}

static bool is_servers_own(struct slice name)
{
    for (size_t i = 0; i < sizeof servers_own / sizeof *servers_own; i++) {
        if (slice_istarts(name, slice_str(servers_own[i])))
            return true;
    }
    return false;
}

static bool has_room(struct annotations *a)
{
    struct annotation *all =
        a->n < ENTRIES_MOST ? room_for_one(a->all, a->n, &a->cap, sizeof *all) : NULL;

    if (all)
        a->all = all;
    return all != NULL;
}

static int add(struct annotations *a, struct slice name, struct slice value, struct err *err)
{
    struct annotation added = {slice_dup(name), slice_dup(value), value.n};

    if (!added.name || !added.value || !has_room(a)) {
        free(added.name);
        free(added.value);
        return err_set(err, 0, "no memory for annotations");
    }
    a->all[a->n++] = added;
    return 0;
}

static bool take_string(struct lex *l, char **room, struct slice *out_value, bool *out_is_nil)
{
    while (lex_sp(l)) {
    }
    if (!data_nstring(l, *room, out_value, out_is_nil))
        return false;
    if (out_value->n > 0 && out_value->p == *room)
        *room += out_value->n;
    return true;
}

/* METADATA: mailbox "(" entry value *(entry value) ")". Without parentheses it only says that
 * something has changed. */
static int on_metadata(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct slice text, name, value;
    char *memory, *room;
    bool is_nil;
    struct lex l;
    int done = 0;

    if (!mailboxes_is_data(p, event, "METADATA", &text, &memory))
        return 0;
    room = memory;
    l = lex_start(text);
    if (take_string(&l, &room, &name, &is_nil) && lex_sp(&l) && lex_byte(&l, '(')) {
        while (done == 0 && take_string(&l, &room, &name, &is_nil) && !is_nil &&
               take_string(&l, &room, &value, &is_nil)) {
            if (!is_nil && !is_servers_own(name))
                done = add(arg, name, value, err);
        }
    }
    free(memory);
    return done;
}

/* *out_is_told is false where the server refuses; that is noted. */
static int get(struct sync *s, uint32_t folder, struct link *l, bool is_source, struct slice name,
               struct annotations *out, bool *out_is_told, struct err *err)
{
    struct link_answer answer = {.kind = RESPONSE_NO};
    struct commands c;
    int done = 0;

    commands_init(&c);
    commands_put(&c, "GETMETADATA (MAXSIZE " VALUE_MOST_DIGITS " DEPTH infinity) ");
    commands_put_name(&c, l, name);
    commands_put(&c, " (/private /shared)");
    if (commands_end(&c))
        done = commands_call_one(&c, l, on_metadata, out, &answer, err);
    commands_done(&c);
    if (done < 0)
        return -1;
    *out_is_told = answer.kind == RESPONSE_OK;
    if (!*out_is_told)
        sync_issue(s, REASON_METADATA, folder, 0, 0, (struct slice){0},
                   "the %s does not tell the annotations: %.*s", is_source ? "source" : "target",
                   SLICE_ARG(answer.text));
    else if (is_source && slice_ieq(answer.code, SLICE("METADATA")) &&
             slice_istarts(answer.arguments, SLICE("LONGENTRIES")))
        sync_issue(s, REASON_METADATA, folder, 0, 0, (struct slice){0},
                   "there are annotations of more than %d bytes, which are not carried",
                   VALUE_MOST);
    return 0;
}

/* --- carrying --------------------------------------------------------------------------------- */

struct carrying {
    struct sync *s;
    uint32_t folder;
    struct annotations from, to;
    struct commands commands;
    size_t *of; /* the annotation that a command is about */
};

static int on_set(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    const struct carrying *c = arg;

    (void)err;
    if (answer->kind != RESPONSE_OK)
        sync_issue(c->s, REASON_METADATA, c->folder, 0, 0, (struct slice){0},
                   "the target refuses %s: %.*s", c->from.all[c->of[i]].name,
                   SLICE_ARG(answer->text));
    return 0;
}

/* One command each, since a server that refuses one entry of a command takes none of it. */
static void put(struct carrying *c, const struct link *to, struct slice to_name, size_t i)
{
    const struct annotation *from = &c->from.all[i], *there = find(&c->to, from->name);
    const struct slice value = slice_of(from->value, from->value_n);

    if (there && slice_eq(slice_of(there->value, there->value_n), value))
        return;
    commands_put(&c->commands, "SETMETADATA ");
    commands_put_name(&c->commands, to, to_name);
    commands_put(&c->commands, " (");
    commands_put_string(&c->commands, slice_str(from->name));
    commands_put(&c->commands, " ");
    commands_put_string(&c->commands, value);
    commands_put(&c->commands, ")");
    if (commands_end(&c->commands))
        c->of[c->commands.n - 1] = i;
    else
        sync_issue(c->s, REASON_METADATA, c->folder, 0, 0, (struct slice){0},
                   "%s has bytes that cannot be sent", from->name);
}

static int set_all(struct carrying *c, struct link *to, struct slice to_name, struct err *err)
{
    int done;

    c->of = calloc(c->from.n + 1, sizeof *c->of);
    if (!c->of)
        return err_set(err, 0, "no memory for annotations");
    commands_init(&c->commands);
    for (size_t i = 0; i < c->from.n; i++)
        put(c, to, to_name, i);
    done = commands_call(&c->commands, to, NULL, on_set, c, err);
    commands_done(&c->commands);
    free(c->of);
    return done;
}

int mailboxes_carry_metadata(struct sync *s, uint32_t folder, struct link *from, struct link *to,
                             struct slice from_name, struct slice to_name, struct err *err)
{
    struct carrying c = {.s = s, .folder = folder};
    bool is_told = false;
    int done;

    if (sync_params(s)->is_dry || !link_offers(from, "METADATA") || !link_offers(to, "METADATA"))
        return 0;
    done = get(s, folder, from, true, from_name, &c.from, &is_told, err);
    if (done == 0 && is_told && c.from.n > 0)
        done = get(s, folder, to, false, to_name, &c.to, &is_told, err);
    if (done == 0 && is_told)
        done = set_all(&c, to, to_name, err);
    annotations_done(&c.from);
    annotations_done(&c.to);
    return done;
}
