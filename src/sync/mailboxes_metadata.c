/* What is written about a folder: annotations (RFC 5464); see sync/mailboxes.h. */
#include "sync/mailboxes.h"

#include "base/room.h"
#include "sync/mailboxes_parts.h"
#include "sync/state.h"

#include <stdlib.h>

/* Values that are longer are left out, and noted. So many entries there may be of all folders that
 * are asked for at once: where there are more the call fails, and fewer folders are asked for. */
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

static int add(struct annotations *a, struct slice name, struct slice value, struct err *err)
{
    struct annotation added = {slice_dup(name), slice_dup(value), value.n};
    struct annotation *all = room_for_one(a->all, a->n, &a->cap, sizeof *all);

    if (all)
        a->all = all;
    if (!all || !added.name || !added.value) {
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

/* --- asking ----------------------------------------------------------------------------------- */

/* What the two sides have told of a folder. */
struct annotated {
    struct annotations from, to;
};

struct carrying {
    struct link *to;
    const struct mailbox_twins *all;
    size_t n;
    struct annotated *annotated; /* one a folder */
    size_t entries;              /* of all folders and both sides */
    struct side_asked sides[2];
    struct commands commands; /* SETMETADATA */
    struct notes notes;
};

static int add_entry(const struct side_asked *side, size_t i, struct slice name, struct slice value,
                     struct err *err)
{
    struct carrying *c = side->owner;

    if (is_servers_own(name))
        return 0;
    if (++c->entries > ENTRIES_MOST)
        return err_set(err, 0, "there are more than %d annotations", ENTRIES_MOST);
    return add(side->is_source ? &c->annotated[i].from : &c->annotated[i].to, name, value, err);
}

/* METADATA: mailbox "(" entry value *(entry value) ")". Without parentheses it only says that
 * something has changed. */
static int on_metadata(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct side_asked *side = arg;
    struct slice text, name, value;
    char *memory, *room;
    bool is_nil;
    struct lex l;
    int done = 0;
    size_t i;

    if (!mailboxes_is_data(p, event, "METADATA", &text, &memory))
        return 0;
    room = memory;
    l = lex_start(text);
    if (take_string(&l, &room, &name, &is_nil) && side_which(side, name, &i) && lex_sp(&l) &&
        lex_byte(&l, '(')) {
        while (done == 0 && take_string(&l, &room, &name, &is_nil) && !is_nil &&
               take_string(&l, &room, &value, &is_nil)) {
            if (!is_nil)
                done = add_entry(side, i, name, value, err);
        }
    }
    free(memory);
    return done;
}

static int on_told(void *arg, size_t command, const struct link_answer *answer, struct err *err)
{
    const struct side_asked *side = arg;
    struct carrying *c = side->owner;

    if (side->is_source && answer->kind == RESPONSE_OK &&
        slice_ieq(answer->code, SLICE("METADATA")) &&
        slice_istarts(answer->arguments, SLICE("LONGENTRIES")))
        notes_add(&c->notes, c->all[commands_about(&side->commands, command)].folder,
                  "there are annotations of more than %d bytes, which are not carried", VALUE_MOST);
    return side_answered(arg, command, answer, err);
}

static int get_all(struct carrying *c, struct err *err)
{
    for (size_t i = 0; i < c->n; i++) {
        for (size_t side = 0; side < 2; side++) {
            struct side_asked *asked = &c->sides[side];

            commands_put(&asked->commands,
                         "GETMETADATA (MAXSIZE " VALUE_MOST_DIGITS " DEPTH infinity) ");
            commands_put_name(&asked->commands, asked->link, asked->names[i]);
            commands_put(&asked->commands, " (/private /shared)");
            side_end(asked, i);
        }
    }
    return sides_call(c->sides, on_metadata, on_told, err);
}

/* --- carrying --------------------------------------------------------------------------------- */

/* The entry `at` of the folder `i`, as a number for commands_about(). */
static size_t number_of(size_t i, size_t at)
{
    return i * ENTRIES_MOST + at;
}

/* One command each, since a server that refuses one entry of a command takes none of it. */
static void put(struct carrying *c, size_t i, size_t at)
{
    const struct annotation *from = &c->annotated[i].from.all[at];
    const struct annotation *there = find(&c->annotated[i].to, from->name);
    const struct slice value = slice_of(from->value, from->value_n);

    if (there && slice_eq(slice_of(there->value, there->value_n), value))
        return;
    commands_put(&c->commands, "SETMETADATA ");
    commands_put_name(&c->commands, c->to, c->all[i].to);
    commands_put(&c->commands, " (");
    commands_put_string(&c->commands, slice_str(from->name));
    commands_put(&c->commands, " ");
    commands_put_string(&c->commands, value);
    commands_put(&c->commands, ")");
    if (!commands_end_about(&c->commands, number_of(i, at)))
        notes_add(&c->notes, c->all[i].folder, "%s has bytes that cannot be sent", from->name);
}

static int on_set(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct carrying *c = arg;
    const size_t number = commands_about(&c->commands, i), folder = number / ENTRIES_MOST;

    (void)err;
    if (answer->kind != RESPONSE_OK)
        notes_add(&c->notes, c->all[folder].folder, "the target refuses %s: %.*s",
                  c->annotated[folder].from.all[number % ENTRIES_MOST].name,
                  SLICE_ARG(answer->text));
    return 0;
}

static int set_all(struct carrying *c, struct err *err)
{
    int done;

    commands_init(&c->commands);
    for (size_t i = 0; i < c->n; i++) {
        const size_t n = c->annotated[i].from.n;
        const bool is_told =
            sides_have_told(c->sides, i, n > 0, &c->notes, c->all[i].folder, "annotations");

        for (size_t at = 0; is_told && at < n; at++)
            put(c, i, at);
    }
    done = commands_call(&c->commands, c->to, NULL, on_set, c, err);
    commands_done(&c->commands);
    return done;
}

int mailboxes_carry_metadata(struct sync *s, struct link *from, struct link *to,
                             const struct mailbox_twins *all, size_t n, struct err *err)
{
    struct carrying c = {.to = to, .all = all, .n = n};
    int done;

    if (sync_params(s)->is_dry || !link_offers(from, "METADATA") || !link_offers(to, "METADATA"))
        return 0;
    c.annotated = calloc(n + 1, sizeof *c.annotated);
    if (!c.annotated)
        return err_set(err, 0, "no memory for annotations");
    done = sides_init(c.sides, &c, from, to, all, n, err) < 0 || get_all(&c, err) < 0 ||
                   set_all(&c, err) < 0
               ? -1
               : 0;
    if (done == 0)
        notes_tell(&c.notes, s, REASON_METADATA);
    sides_done(c.sides);
    notes_done(&c.notes);
    for (size_t i = 0; i < n; i++) {
        annotations_done(&c.annotated[i].from);
        annotations_done(&c.annotated[i].to);
    }
    free(c.annotated);
    return done;
}
