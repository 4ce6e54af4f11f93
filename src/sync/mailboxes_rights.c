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

/* ACL: mailbox *(identifier rights) */
static int on_acl(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct slice text, who, letters;
    char *memory, *room;
    struct lex l;
    int done = 0;

    if (!mailboxes_is_data(p, event, "ACL", &text, &memory))
        return 0;
    room = memory;
    l = lex_start(text);
    if (take_string(&l, &room, &who)) {
        while (done == 0 && take_string(&l, &room, &who) && take_string(&l, &room, &letters))
            done = acl_add(arg, who, rights_of(letters), err);
    }
    free(memory);
    return done;
}

/* *out_is_told is false where the server refuses; that is noted. */
static int get_acl(struct sync *s, uint32_t folder, struct link *l, const char *side,
                   struct slice name, struct acl *out, bool *out_is_told, struct err *err)
{
    struct link_answer answer = {.kind = RESPONSE_NO};
    struct commands c;
    int done = 0;

    commands_init(&c);
    commands_put(&c, "GETACL ");
    commands_put_name(&c, l, name);
    if (commands_end(&c))
        done = commands_call_one(&c, l, on_acl, out, &answer, err);
    commands_done(&c);
    *out_is_told = answer.kind == RESPONSE_OK;
    if (done == 0 && !*out_is_told)
        sync_issue(s, REASON_ACL, folder, 0, 0, (struct slice){0},
                   "the %s does not tell the rights: %.*s", side, SLICE_ARG(answer.text));
    return done;
}

/* --- carrying --------------------------------------------------------------------------------- */

struct carrying {
    struct sync *s;
    uint32_t folder;
    struct link *to;
    struct acl from_acl, to_acl;
    struct commands commands;
    size_t *of; /* the entry of from_acl that a command is about */
};

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

static void put_missing(struct carrying *c, size_t i, struct slice to_name, bool from_is_old,
                        bool to_is_old)
{
    const struct entry *entry = &c->from_acl.all[i], *there = acl_find(&c->to_acl, entry->who);
    const rights wanted = modern(entry->has, from_is_old);
    const rights missing = wanted & ~(there ? modern(there->has, to_is_old) : 0);
    char letters[LETTERS];
    rights send, lost;

    if (is_owner(c->s, entry->who) || missing == 0)
        return;
    send = sendable(c->to, wanted, missing, &lost);
    if (lost)
        sync_issue(c->s, REASON_ACL, c->folder, 0, 0, (struct slice){0},
                   "the target has no rights \"%s\" for %s", letters_of(lost, letters), entry->who);
    if (!send)
        return;
    commands_put(&c->commands, "SETACL ");
    commands_put_name(&c->commands, c->to, to_name);
    commands_put(&c->commands, " ");
    commands_put_string(&c->commands, slice_str(entry->who));
    commands_put(&c->commands, " +");
    commands_put(&c->commands, letters_of(send, letters));
    if (commands_end(&c->commands))
        c->of[c->commands.n - 1] = i;
}

static int on_set(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    const struct carrying *c = arg;

    (void)err;
    if (answer->kind != RESPONSE_OK)
        sync_issue(c->s, REASON_ACL, c->folder, 0, 0, (struct slice){0},
                   "the target refuses the rights of %s: %.*s", c->from_acl.all[c->of[i]].who,
                   SLICE_ARG(answer->text));
    return 0;
}

static int set_missing(struct carrying *c, const struct link *from, struct slice to_name,
                       struct err *err)
{
    const bool from_is_old = !told_rights(from, &(rights){0});
    const bool to_is_old = !told_rights(c->to, &(rights){0});
    int done;

    c->of = calloc(c->from_acl.n + 1, sizeof *c->of);
    if (!c->of)
        return err_set(err, 0, "no memory for rights");
    commands_init(&c->commands);
    for (size_t i = 0; i < c->from_acl.n; i++)
        put_missing(c, i, to_name, from_is_old, to_is_old);
    done = commands_call(&c->commands, c->to, NULL, on_set, c, err);
    commands_done(&c->commands);
    free(c->of);
    return done;
}

int mailboxes_carry_acl(struct sync *s, uint32_t folder, struct link *from, struct link *to,
                        struct slice from_name, struct slice to_name, struct err *err)
{
    struct carrying c = {.s = s, .folder = folder, .to = to};
    bool is_told = false;
    int done;

    if (sync_params(s)->is_dry || !link_offers(from, "ACL") || !link_offers(to, "ACL"))
        return 0;
    done = get_acl(s, folder, from, "source", from_name, &c.from_acl, &is_told, err);
    if (done == 0 && is_told)
        done = get_acl(s, folder, to, "target", to_name, &c.to_acl, &is_told, err);
    if (done == 0 && is_told)
        done = set_missing(&c, from, to_name, err);
    acl_done(&c.from_acl);
    acl_done(&c.to_acl);
    return done;
}
