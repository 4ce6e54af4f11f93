/* Who may do what in a folder (RFC 4314, and RFC 2086 before it); see sync/mailboxes.h. */
#include "sync/mailboxes.h"

#include "base/room.h"
#include "sync/mailboxes_parts.h"
#include "sync/state.h"

#include <stdlib.h>

/* A set of rights: a bit for each letter and digit. */
typedef uint64_t rights;

static rights right(char c)
{
    if (c >= 'a' && c <= 'z')
        return UINT64_C(1) << (c - 'a');
    return c >= '0' && c <= '9' ? UINT64_C(1) << (26 + (c - '0')) : 0;
}

static rights rights_of(struct slice letters)
{
    rights all = 0;

    for (size_t i = 0; i < letters.n; i++)
        all |= right(letters.p[i]);
    return all;
}

/* Their letters: an array of LETTERS. */
static const char *letters_of(rights all, char *to)
{
    static const char each[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t n = 0;

    for (size_t i = 0; each[i]; i++) {
        if (all & right(each[i]))
            to[n++] = each[i];
    }
    to[n] = '\0';
    return to;
}

enum { LETTERS = 37, ENTRIES_MOST = 10000 };

/* --- old and new ------------------------------------------------------------------------------ */

/* The letters behind RIGHTS=, which a server of RFC 4314 has among its capabilities; else false. */
static bool told_rights(const struct link *l, rights *out_told)
{
    struct slice left = link_capabilities(l), word;

    while (data_word(&left, &word)) {
        if (slice_istarts(word, SLICE("RIGHTS="))) {
            *out_told = rights_of(slice_sub(word, 7, word.n));
            return true;
        }
    }
    return false;
}

/* RFC 4314 section 2.1.1: c and d were all that is k, and t and e; beside these they are only there
 * for old clients. x was of either, so it is not made of them. */
static rights modern(rights all, bool is_old)
{
    const rights old = right('c') | right('d');

    if (is_old && all & right('c'))
        all |= right('k');
    if (is_old && all & right('d'))
        all |= right('t') | right('e');
    return all & ~old;
}

/* What is to be sent to give `missing` of `wanted`; *out_lost is what there is no letter for. On an
 * old server nobody gets more than he had, so d is for those who had all of it. Digits mean
 * something else on every server. */
static rights sendable(const struct link *to, rights wanted, rights missing, rights *out_lost)
{
    const rights standard = rights_of(SLICE("lrswipa"));
    const rights deletes = right('t') | right('e');
    const rights digits = rights_of(SLICE("0123456789"));
    rights told, send;

    if (told_rights(to, &told)) {
        send = missing & (standard | told) & ~digits;
        *out_lost = missing & ~send;
        return send;
    }
    send = missing & standard;
    *out_lost = missing & ~standard;
    if (missing & right('k')) {
        send |= right('c');
        *out_lost &= ~right('k');
    }
    if (missing & deletes && (wanted & deletes) == deletes) {
        send |= right('d');
        *out_lost &= ~deletes;
    }
    if (wanted & right('k'))
        *out_lost &= ~right('x');
    return send;
}

/* --- what a server tells ---------------------------------------------------------------------- */

struct acl {
    struct entry {
        char *who;
        rights has;
    } * all;
    size_t n, cap;
};

static void acl_done(struct acl *acl)
{
    for (size_t i = 0; i < acl->n; i++)
        free(acl->all[i].who);
    free(acl->all);
    *acl = (struct acl){0};
}

static struct entry *acl_find(const struct acl *acl, const char *who)
{
    for (size_t i = 0; i < acl->n; i++) {
        if (strcmp(acl->all[i].who, who) == 0)
            return &acl->all[i];
    }
    return NULL;
}

static bool acl_has_room(struct acl *acl)
{
    struct entry *all =
        acl->n < ENTRIES_MOST ? room_for_one(acl->all, acl->n, &acl->cap, sizeof *all) : NULL;

    if (all)
        acl->all = all;
    return all != NULL;
}

static int acl_add(struct acl *acl, struct slice who, rights has, struct err *err)
{
    char *copy = slice_dup(who);
    struct entry *known = copy ? acl_find(acl, copy) : NULL;

    if (known) {
        known->has |= has;
        free(copy);
        return 0;
    }
    if (!copy || !acl_has_room(acl)) {
        free(copy);
        return err_set(err, 0, "no memory for rights");
    }
    acl->all[acl->n++] = (struct entry){copy, has};
    return 0;
}

/* A string or a word; both move on. */
static bool take_string(struct lex *l, char **room, struct slice *out_value)
{
    bool is_nil;

    while (lex_sp(l)) {
    }
    if (!data_nstring(l, *room, out_value, &is_nil))
        return false;
    if (is_nil)
        *out_value = SLICE("NIL");
    else if (out_value->p == *room)
        *room += out_value->n;
    return true;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* What the two sides have told of a folder. */
struct shared {
    struct acl from, to;
};

struct carrying {
    struct sync *s;
    struct link *from, *to;
    const struct mailbox_twins *all;
    size_t n;
    struct shared *shared; /* one a folder */
    struct side_asked sides[2];
    struct commands commands; /* SETACL */
    struct notes notes;
};

/* ACL: mailbox *(identifier rights) */
static int on_acl(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct side_asked *side = arg;
    const struct carrying *c = side->owner;
    struct slice text, who, letters;
    char *memory, *room;
    struct acl *acl;
    struct lex l;
    int done = 0;
    size_t i;

    if (!mailboxes_is_data(p, event, "ACL", &text, &memory))
        return 0;
    room = memory;
    l = lex_start(text);
    if (take_string(&l, &room, &who) && side_which(side, who, &i)) {
        acl = side->is_source ? &c->shared[i].from : &c->shared[i].to;
        while (done == 0 && take_string(&l, &room, &who) && take_string(&l, &room, &letters))
            done = acl_add(acl, who, rights_of(letters), err);
    }
    free(memory);
    return done;
}

static int get_all(struct carrying *c, struct err *err)
{
    for (size_t i = 0; i < c->n; i++) {
        for (size_t side = 0; side < 2; side++) {
            struct side_asked *asked = &c->sides[side];

            commands_put(&asked->commands, "GETACL ");
            commands_put_name(&asked->commands, asked->link, asked->names[i]);
            side_end(asked, i);
        }
    }
    return sides_call(c->sides, on_acl, side_answered, err);
}

/* --- carrying --------------------------------------------------------------------------------- */

static struct slice whose(const struct sync_side *side)
{
    return side->authzid.n > 0 ? side->authzid : side->user;
}

/* Whether the rights are those of the folder's owner, at either side; also those that he is denied,
 * by "-" before the name. */
static bool is_owner(const struct sync *s, const char *who)
{
    const struct sync_params *params = sync_params(s);
    const struct slice name = slice_str(who[0] == '-' ? who + 1 : who);

    return slice_eq(name, whose(&params->from)) || slice_eq(name, whose(&params->to)) ||
           slice_eq(name, SLICE("owner"));
}

/* The entry `at` of the folder `i`, as a number for commands_about(). */
static size_t number_of(size_t i, size_t at)
{
    return i * ENTRIES_MOST + at;
}

static void put_missing(struct carrying *c, size_t i, size_t at)
{
    const bool from_is_old = !told_rights(c->from, &(rights){0});
    const bool to_is_old = !told_rights(c->to, &(rights){0});
    const struct entry *entry = &c->shared[i].from.all[at];
    const struct entry *there = acl_find(&c->shared[i].to, entry->who);
    const rights wanted = modern(entry->has, from_is_old);
    const rights missing = wanted & ~(there ? modern(there->has, to_is_old) : 0);
    char letters[LETTERS];
    rights send, lost;

    if (is_owner(c->s, entry->who) || missing == 0)
        return;
    send = sendable(c->to, wanted, missing, &lost);
    if (lost)
        notes_add(&c->notes, c->all[i].folder, "the target has no rights \"%s\" for %s",
                  letters_of(lost, letters), entry->who);
    if (!send)
        return;
    commands_put(&c->commands, "SETACL ");
    commands_put_name(&c->commands, c->to, c->all[i].to);
    commands_put(&c->commands, " ");
    commands_put_string(&c->commands, slice_str(entry->who));
    commands_put(&c->commands, " +");
    commands_put(&c->commands, letters_of(send, letters));
    (void)commands_end_about(&c->commands, number_of(i, at));
}

static int on_set(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct carrying *c = arg;
    const size_t number = commands_about(&c->commands, i), folder = number / ENTRIES_MOST;

    (void)err;
    if (answer->kind != RESPONSE_OK)
        notes_add(&c->notes, c->all[folder].folder, "the target refuses the rights of %s: %.*s",
                  c->shared[folder].from.all[number % ENTRIES_MOST].who, SLICE_ARG(answer->text));
    return 0;
}

static int set_missing(struct carrying *c, struct err *err)
{
    int done;

    commands_init(&c->commands);
    for (size_t i = 0; i < c->n; i++) {
        const bool is_told =
            sides_have_told(c->sides, i, true, &c->notes, c->all[i].folder, "rights");

        for (size_t at = 0; is_told && at < c->shared[i].from.n; at++)
            put_missing(c, i, at);
    }
    done = commands_call(&c->commands, c->to, NULL, on_set, c, err);
    commands_done(&c->commands);
    return done;
}

int mailboxes_carry_acl(struct sync *s, struct link *from, struct link *to,
                        const struct mailbox_twins *all, size_t n, struct err *err)
{
    struct carrying c = {.s = s, .from = from, .to = to, .all = all, .n = n};
    int done;

    if (sync_params(s)->is_dry || !link_offers(from, "ACL") || !link_offers(to, "ACL"))
        return 0;
    c.shared = calloc(n + 1, sizeof *c.shared);
    if (!c.shared)
        return err_set(err, 0, "no memory for rights");
    done = sides_init(c.sides, &c, from, to, all, n, err) < 0 || get_all(&c, err) < 0 ||
                   set_missing(&c, err) < 0
               ? -1
               : 0;
    if (done == 0)
        notes_tell(&c.notes, s, REASON_ACL);
    sides_done(c.sides);
    notes_done(&c.notes);
    for (size_t i = 0; i < n; i++) {
        acl_done(&c.shared[i].from);
        acl_done(&c.shared[i].to);
    }
    free(c.shared);
    return done;
}
