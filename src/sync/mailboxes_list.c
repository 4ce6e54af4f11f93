/* What mailboxes there are: NAMESPACE, LIST, LSUB and STATUS, all that can be asked at once in one
 * round trip; see sync/mailboxes.h. */
#include "sync/mailboxes.h"

#include "base/room.h"
#include "sync/mailboxes_parts.h"
#include "sync/names.h"

#include <stdlib.h>

enum { MAILBOXES_MOST = 1 << 20, NAMESPACES_MOST = 64 };

/* A namespace, and whether it is the user's own. */
struct space {
    char *prefix;
    char separator;
    bool is_own;
};

struct found_status {
    char *name;
    struct data_status status;
};

struct listing {
    struct link *l;
    struct mailboxes m; /* in the order told, some twice, until it is sorted */
    size_t cap;
    char **subscribed; /* by LSUB */
    size_t subscribed_n, subscribed_cap;
    struct found_status *statuses; /* with LIST */
    size_t statuses_n, statuses_cap;
    struct space spaces[NAMESPACES_MOST];
    size_t spaces_n;
    char root_separator; /* as LIST "" "" tells it; 0: not told */

    size_t list_command; /* which one of the commands is LIST */
    bool is_listed;      /* the server has said OK to it */
};

/* --- what comes ------------------------------------------------------------------------------- */

/* Room for one more in an array. */
static int grow(void **all, size_t n, size_t *cap, size_t size, struct err *err)
{
    void *grown;

    if (n >= MAILBOXES_MOST)
        return err_set(err, 0, "the server lists more than %d folders", MAILBOXES_MOST);
    grown = room_for_one(*all, n, cap, size);
    if (!grown)
        return err_set(err, 0, "no memory for the list of folders");
    *all = grown;
    return 0;
}

static unsigned is_of(struct slice attributes, bool is_fit)
{
    static const struct {
        struct slice name;
        unsigned is;
    } known[] = {
        {SLICE("\\Noselect"), MAILBOX_NOSELECT},
        {SLICE("\\NonExistent"), MAILBOX_NOSELECT},
        {SLICE("\\Noinferiors"), MAILBOX_NOINFERIORS},
        {SLICE("\\Subscribed"), MAILBOX_SUBSCRIBED},
    };
    unsigned is = is_fit ? 0 : MAILBOX_UNFIT;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        is |= data_has_word(attributes, known[i].name) ? known[i].is : 0;
    return is;
}

/* RFC 6154 and RFC 8457; in our letters, and none that is not known. */
static const char *use_of(struct slice attributes)
{
    static const char *const known[] = {"\\All",  "\\Archive", "\\Drafts", "\\Flagged",
                                        "\\Junk", "\\Sent",    "\\Trash",  "\\Important"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (data_has_word(attributes, slice_str(known[i])))
            return known[i];
    }
    return "";
}

static int add_listed(struct listing *g, const struct data_list *list, struct err *err)
{
    const char *use = use_of(list->attributes);
    struct mailbox *box;
    bool is_fit;

    if (list->name.n == 0) {
        g->root_separator = list->separator;
        return 0;
    }
    if (grow((void **)&g->m.all, g->m.n, &g->cap, sizeof *g->m.all, err) < 0)
        return -1;
    box = &g->m.all[g->m.n];
    *box = (struct mailbox){.name = mailboxes_name(g->l, list->name, &is_fit),
                            .separator = list->separator};
    if (!box->name)
        return err_set(err, 0, "no memory for the list of folders");
    box->is = is_of(list->attributes, is_fit);
    memcpy(box->use, use, strlen(use) + 1);
    g->m.n++;
    return 0;
}

/* LSUB names a parent that is not subscribed itself with \Noselect (RFC 3501 section 6.3.9). */
static int add_subscribed(struct listing *g, const struct data_list *list, struct err *err)
{
    char *name;
    bool is_fit;

    if (data_has_word(list->attributes, SLICE("\\Noselect")))
        return 0;
    if (grow((void **)&g->subscribed, g->subscribed_n, &g->subscribed_cap, sizeof(char *), err) < 0)
        return -1;
    name = mailboxes_name(g->l, list->name, &is_fit);
    if (!name)
        return err_set(err, 0, "no memory for the list of folders");
    g->subscribed[g->subscribed_n++] = name;
    return 0;
}

static int add_status(struct listing *g, struct slice text, char *room, struct err *err)
{
    struct found_status *found;

    if (grow((void **)&g->statuses, g->statuses_n, &g->statuses_cap, sizeof *g->statuses, err) < 0)
        return -1;
    found = &g->statuses[g->statuses_n];
    if (mailboxes_read_status(g->l, text, room, &found->name, &found->status))
        g->statuses_n++;
    return 0;
}

static int add_spaces(struct listing *g, struct slice part, bool is_own, char *room,
                      struct err *err)
{
    struct space *space;
    struct slice prefix;
    char separator;
    bool is_fit;

    while (g->spaces_n < NAMESPACES_MOST && data_namespace_next(&part, room, &prefix, &separator)) {
        space = &g->spaces[g->spaces_n];
        *space = (struct space){mailboxes_name(g->l, prefix, &is_fit), separator, is_own};
        if (!space->prefix)
            return err_set(err, 0, "no memory for the namespaces");
        g->spaces_n++;
    }
    return 0;
}

static int add_namespaces(struct listing *g, struct slice text, char *room, struct err *err)
{
    struct data_namespaces all;

    /* It is told once. */
    if (g->spaces_n > 0 || !data_namespaces(text, &all))
        return 0;
    return add_spaces(g, all.personal, true, room, err) < 0 ||
                   add_spaces(g, all.others, false, room, err) < 0 ||
                   add_spaces(g, all.shared, false, room, err) < 0
               ? -1
               : 0;
}

/* One response; what cannot be read is passed over. */
static int take(struct listing *g, struct slice word, struct slice text, char *room,
                struct err *err)
{
    struct data_list list;

    if (slice_ieq(word, SLICE("NAMESPACE")))
        return add_namespaces(g, text, room, err);
    if (slice_ieq(word, SLICE("STATUS")))
        return add_status(g, text, room, err);
    if (!data_list(text, room, &list))
        return 0;
    return slice_ieq(word, SLICE("LSUB")) ? add_subscribed(g, &list, err)
                                          : add_listed(g, &list, err);
}

static int on_data(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    static const char *const words[] = {"LIST", "LSUB", "STATUS", "NAMESPACE"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct slice text;
        char *room;
        int taken;

        if (!mailboxes_is_data(p, event, words[i], &text, &room))
            continue;
        taken = take(arg, slice_str(words[i]), text, room, err);
        free(room);
        return taken;
    }
    return 0;
}

static int on_answer(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct listing *g = arg;

    (void)err;
    if (i == g->list_command)
        g->is_listed = answer->kind == RESPONSE_OK;
    return 0;
}

/* --- asking ----------------------------------------------------------------------------------- */

static bool offers(const struct link *l, const char *capability)
{
    return link_offers(l, capability) || link_offers(l, "IMAP4rev2");
}

/* LIST, with all that it can tell beside names; says whether that is what is subscribed too. */
static bool put_list(struct commands *c, const struct link *l)
{
    commands_put(c, "LIST \"\" \"*\"");
    if (!offers(l, "LIST-EXTENDED"))
        return false;
    commands_put(c, " RETURN (SUBSCRIBED");
    if (offers(l, "SPECIAL-USE"))
        commands_put(c, " SPECIAL-USE");
    if (offers(l, "LIST-STATUS")) {
        commands_put(c, " STATUS ");
        commands_put_status_items(c, l);
    }
    commands_put(c, ")");
    return true;
}

/* Commands, all at once. */
static int ask_all(struct listing *g, struct err *err)
{
    bool is_whole = true, has_subscribed;
    struct commands c;
    int done;

    commands_init(&c);
    if (offers(g->l, "NAMESPACE"))
        commands_put(&c, "NAMESPACE");
    else
        commands_put(&c, "LIST \"\" \"\""); /* the separator, be there no folder that has one */
    is_whole &= commands_end(&c);
    g->list_command = c.n;
    has_subscribed = put_list(&c, g->l);
    is_whole &= commands_end(&c);
    if (!has_subscribed) {
        commands_put(&c, "LSUB \"\" \"*\"");
        is_whole &= commands_end(&c);
    }
    done = is_whole ? commands_call(&c, g->l, on_data, on_answer, g, err)
                    : err_set(err, 0, "no memory for commands");
    commands_done(&c);
    return done;
}

/* A server that refuses the list in the form that it offers may have the plain one. Its answer is
 * what the caller is told, when that is refused too. */
static int ask_plainly(struct listing *g, struct link_answer *out_answer, struct err *err)
{
    struct link_answer answer;

    if (link_call(g->l, SLICE("LSUB \"\" \"*\""), on_data, g, &answer, err) < 0)
        return -1;
    return link_call(g->l, SLICE("LIST \"\" \"*\""), on_data, g, out_answer, err);
}

/* --- sorting out ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    const char *x = ((const struct mailbox *)a)->name, *y = ((const struct mailbox *)b)->name;
    const int x_is_inbox = strcmp(x, "INBOX") == 0, y_is_inbox = strcmp(y, "INBOX") == 0;

    return x_is_inbox != y_is_inbox ? y_is_inbox - x_is_inbox : strcmp(x, y);
}

/* What is told twice: it can be selected if it is said to be so once. */
static void merge(struct mailbox *into, const struct mailbox *other)
{
    const unsigned noselect = into->is & other->is & MAILBOX_NOSELECT;

    into->is = ((into->is | other->is) & ~(unsigned)MAILBOX_NOSELECT) | noselect;
    if (!into->separator)
        into->separator = other->separator;
    if (!into->use[0])
        memcpy(into->use, other->use, sizeof into->use);
}

static void sort(struct mailboxes *m)
{
    size_t kept = 0;

    if (m->n > 0)
        qsort(m->all, m->n, sizeof *m->all, compare);
    for (size_t i = 0; i < m->n; i++) {
        if (kept > 0 && strcmp(m->all[kept - 1].name, m->all[i].name) == 0) {
            merge(&m->all[kept - 1], &m->all[i]);
            free(m->all[i].name);
        } else {
            m->all[kept++] = m->all[i];
        }
    }
    m->n = kept;
}

/* Whether the name lies in the space, or is the top of it: "user" of "user.". */
static bool is_in_space(struct slice name, const struct space *space)
{
    const struct slice prefix = slice_str(space->prefix);
    struct slice top = prefix;

    if (top.n > 0 && top.p[top.n - 1] == space->separator)
        top.n--;
    return (name.n >= prefix.n &&
            names_are_same(slice_sub(name, 0, prefix.n), prefix, space->separator)) ||
           names_are_same(name, top, space->separator);
}

/* The longest prefix tells whose a name is; of equal ones it is the user's. */
static bool is_own(const struct listing *g, struct slice name)
{
    const struct space *best = NULL;

    for (size_t i = 0; i < g->spaces_n; i++) {
        const struct space *space = &g->spaces[i];

        if (is_in_space(name, space) && (!best || strlen(space->prefix) > strlen(best->prefix)))
            best = space; /* one's own are told first */
    }
    return !best || best->is_own || slice_eq(name, SLICE("INBOX"));
}

static void leave_out_others(struct listing *g)
{
    struct mailboxes *m = &g->m;
    size_t kept = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (is_own(g, slice_str(m->all[i].name)))
            m->all[kept++] = m->all[i];
        else
            free(m->all[i].name);
    }
    m->n = kept;
}

static void set_separator(struct listing *g)
{
    struct mailboxes *m = &g->m;

    m->separator = g->root_separator;
    if (g->spaces_n > 0 && g->spaces[0].is_own && g->spaces[0].separator)
        m->separator = g->spaces[0].separator;
    for (size_t i = 0; i < m->n && !m->separator; i++)
        m->separator = m->all[i].separator;
}

/* Where NAMESPACE does not tell: folders that are all below INBOX mean that it is the prefix. */
static bool are_all_below_inbox(const struct mailboxes *m)
{
    const char prefix[] = {'I', 'N', 'B', 'O', 'X', m->separator};
    size_t below = 0;

    for (size_t i = 0; m->separator && i < m->n; i++) {
        const struct slice name = slice_str(m->all[i].name);

        if (slice_eq(name, SLICE("INBOX")))
            continue;
        if (!slice_istarts(name, slice_of(prefix, sizeof prefix)))
            return false;
        below++;
    }
    return below > 0;
}

static int set_prefix(struct listing *g, struct err *err)
{
    const char guessed[] = {'I', 'N', 'B', 'O', 'X', g->m.separator};
    struct slice prefix = {0};

    if (g->spaces_n == 0 && are_all_below_inbox(&g->m))
        prefix = slice_of(guessed, sizeof guessed);
    else if (g->spaces_n > 0 && g->spaces[0].is_own)
        prefix = slice_str(g->spaces[0].prefix);
    g->m.prefix = slice_dup(prefix);
    return g->m.prefix ? 0 : err_set(err, 0, "no memory for the namespace");
}

static struct mailbox *find(struct listing *g, const char *name)
{
    const struct mailbox *found = mailboxes_find(&g->m, slice_str(name));

    return found ? &g->m.all[found - g->m.all] : NULL;
}

/* What was told of mailboxes by other responses than LIST; of those not listed it goes. */
static void join(struct listing *g)
{
    struct mailbox *box;

    for (size_t i = 0; i < g->subscribed_n; i++) {
        box = find(g, g->subscribed[i]);
        if (box)
            box->is |= MAILBOX_SUBSCRIBED;
    }
    for (size_t i = 0; i < g->statuses_n; i++) {
        box = find(g, g->statuses[i].name);
        if (box && !(box->is & MAILBOX_NOSELECT))
            box->status = g->statuses[i].status;
    }
}

/* STATUS of those that have none yet: of all where LIST does not tell it, else of those for which
 * the server had trouble. */
static int ask_status(struct listing *g, struct err *err)
{
    struct mailboxes *m = &g->m;
    struct slice *names = calloc(m->n + 1, sizeof *names);
    struct data_status *out = calloc(m->n + 1, sizeof *out);
    size_t *of = calloc(m->n + 1, sizeof *of), n = 0;
    int done = -1;

    for (size_t i = 0; names && out && of && i < m->n; i++) {
        if (m->all[i].status.told || m->all[i].is & (MAILBOX_NOSELECT | MAILBOX_UNFIT))
            continue;
        names[n] = slice_str(m->all[i].name);
        of[n++] = i;
    }
    if (!names || !out || !of)
        (void)err_set(err, 0, "no memory for the list of folders");
    else
        done = mailboxes_status(g->l, names, n, out, err);
    for (size_t i = 0; done == 0 && i < n; i++)
        m->all[of[i]].status = out[i];
    free(names);
    free(out);
    free(of);
    return done;
}

/* --- all -------------------------------------------------------------------------------------- */

static void listing_done(struct listing *g)
{
    for (size_t i = 0; i < g->subscribed_n; i++)
        free(g->subscribed[i]);
    for (size_t i = 0; i < g->statuses_n; i++)
        free(g->statuses[i].name);
    for (size_t i = 0; i < g->spaces_n; i++)
        free(g->spaces[i].prefix);
    free(g->subscribed);
    free(g->statuses);
}

static int find_all(struct listing *g, struct link_answer *out_answer, struct err *err)
{
    *out_answer = (struct link_answer){.kind = RESPONSE_OK};
    if (ask_all(g, err) < 0 || (!g->is_listed && ask_plainly(g, out_answer, err) < 0))
        return -1;
    if (out_answer->kind != RESPONSE_OK)
        return 0;
    *out_answer = (struct link_answer){.kind = RESPONSE_OK}; /* its words do not live on */
    sort(&g->m);
    leave_out_others(g);
    set_separator(g);
    join(g);
    return set_prefix(g, err) < 0 || ask_status(g, err) < 0 ? -1 : 0;
}

int mailboxes_list(struct link *l, struct mailboxes *out, struct link_answer *out_answer,
                   struct err *err)
{
    struct listing g = {.l = l};
    const int done = find_all(&g, out_answer, err);

    listing_done(&g);
    if (done < 0 || out_answer->kind != RESPONSE_OK)
        mailboxes_free(&g.m);
    if (done == 0)
        *out = g.m;
    return done;
}
