/* The list of a folder's messages; see sync/look.h.
 *
 *     messages  |  as it was before   |  told, in the order in which it came  |  free
 *               0                     n                                      end
 *
 * What is told is kept behind the list, and becomes part of it when all commands were answered with
 * OK. So a NO leaves the list as it was.
 */
#include "sync/look.h"

#include "sync/flags.h"
#include "sync/look_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The size of a message told whose size was not. */
#define NO_SIZE UINT64_MAX

void look_list_init(struct look_list *list, struct flags *flags)
{
    *list = (struct look_list){.flags = flags};
}

void look_list_free(struct look_list *list)
{
    free(list->messages);
    look_list_init(list, list->flags);
}

struct look_message *look_find(const struct look_list *list, uint32_t uid)
{
    size_t from = 0, to = list->n;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (list->messages[middle].uid == uid)
            return &list->messages[middle];
        if (list->messages[middle].uid < uid)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

/* --- what is told ----------------------------------------------------------------------------- */

struct listing {
    struct look_list *list;
    struct look_gone *gone; /* NULL: VANISHED is nobody's */
    size_t end;             /* of what was told */
    uint32_t first, last;   /* all of these were asked for; or, if `uids` is not NULL, */
    const uint32_t *uids;   /* these */
    size_t uids_n;
    struct look_room room;
};

static bool is_asked_for(const struct listing *l, uint32_t uid)
{
    if (!l->uids)
        return uid >= l->first && uid <= l->last;
    return look_index(l->uids, l->uids_n, uid) < l->uids_n;
}

static struct look_message *add(struct listing *l, struct err *err)
{
    struct look_list *list = l->list;

    if (l->end == list->cap) {
        size_t cap = list->cap + list->cap / 2 + 256;
        struct look_message *messages = NULL;

        if (l->end - list->n < LOOK_MOST)
            messages = reallocarray(list->messages, cap, sizeof(*messages));
        if (!messages) {
            err_sys(err, ENOMEM, "cannot keep the list of messages");
            return NULL;
        }
        list->messages = messages;
        list->cap = cap;
    }
    return &list->messages[l->end++];
}

/* VANISHED (EARLIER) is what was asked for. That without is what goes now, and is told as EXPUNGE
 * would be (RFC 7162 section 3.2.10.2): the next run will hear of it. */
static void on_vanished(const struct listing *l, struct slice text)
{
    struct slice set;
    bool is_earlier;

    if (data_vanished(text, &is_earlier, &set) && is_earlier)
        look_gone_take(l->gone, set);
}

/* Servers may tell of any message at any time. Without a UID it is not known which that is; with
 * one it is news of a message, or one that was not asked for. */
static int on_listed(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct listing *l = arg;
    struct data_fetch f;
    struct look_message *m;
    int is_fetched = look_fetched(p, event, &l->room, &f, err);
    int64_t flags = FLAGS_NONE;

    if (l->gone && look_is_data(p, event, SLICE("VANISHED")))
        on_vanished(l, pipeline_response(p)->text);
    if (is_fetched <= 0 || !is_asked_for(l, f.uid))
        return is_fetched < 0 ? -1 : 0;
    if (f.told & FETCH_FLAGS)
        flags = flags_number(l->list->flags, f.flags);
    if (flags < 0)
        return err_sys(err, ENOMEM, "cannot keep flags");
    m = add(l, err);
    if (!m)
        return -1;
    *m = (struct look_message){.uid = f.uid,
                               .flags = (uint32_t)flags,
                               .has_flags = f.told & FETCH_FLAGS,
                               .size = f.told & FETCH_SIZE ? f.size : NO_SIZE,
                               .match = (uint32_t)(l->end - l->list->n)};
    if (f.told & FETCH_INTERNALDATE) {
        m->has_date = true;
        m->date_s = f.date.time_s;
        m->zone_min = f.date.zone_min;
    }
    return 0;
}

/* --- and becomes part of the list ------------------------------------------------------------- */

/* Until it is settled, `match` is the place in the order in which it came. */
static int compare_told(const void *a, const void *b)
{
    const struct look_message *x = a, *y = b;

    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    return (x->match > y->match) - (x->match < y->match);
}

static void renew(struct look_message *m, const struct look_message *told)
{
    if (told->has_flags) {
        m->flags = told->flags;
        m->has_flags = true;
    }
    if (told->has_date) {
        m->date_s = told->date_s;
        m->zone_min = told->zone_min;
        m->has_date = true;
    }
    if (told->size != NO_SIZE)
        m->size = told->size;
}

static bool is_ascending(const struct look_message *messages, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (messages[i].uid <= messages[i - 1].uid)
            return false;
    }
    return true;
}

/* Makes one of those that were told several times; returns how many there are. */
static size_t fold(struct look_message *told, size_t n)
{
    size_t kept = 0;

    if (!is_ascending(told, n))
        qsort(told, n, sizeof(*told), compare_told);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && told[kept - 1].uid == told[i].uid)
            renew(&told[kept - 1], &told[i]);
        else
            told[kept++] = told[i];
    }
    return kept;
}

static void settle(struct listing *l)
{
    struct look_list *list = l->list;
    struct look_message *told;
    size_t n, kept = 0;

    if (l->end == list->n)
        return;
    told = list->messages + list->n;
    n = fold(told, l->end - list->n);
    for (size_t i = 0; i < n; i++) {
        struct look_message *known = look_find(list, told[i].uid);

        if (known) {
            renew(known, &told[i]);
            continue;
        }
        told[kept] = told[i];
        told[kept].match = 0;
        if (told[kept].size == NO_SIZE)
            told[kept].size = 0;
        kept++;
    }
    list->n += kept;
    if (!is_ascending(list->messages, list->n))
        qsort(list->messages, list->n, sizeof(*list->messages), compare_told);
}

/* --- asking ----------------------------------------------------------------------------------- */

static const char *items_of(unsigned what)
{
    static const char *const items[] = {"(UID)",
                                        "(FLAGS)",
                                        "(INTERNALDATE)",
                                        "(FLAGS INTERNALDATE)",
                                        "(RFC822.SIZE)",
                                        "(FLAGS RFC822.SIZE)",
                                        "(INTERNALDATE RFC822.SIZE)",
                                        "(FLAGS INTERNALDATE RFC822.SIZE)"};

    return items[what & LOOK_ALL];
}

/* Whose VANISHED is asked for, the end is written as a number: Cyrus takes "*" for the last message
 * that is there, and tells of none behind it that has gone. */
static int put_range(struct look_commands *c, struct set_range range, const struct look_asked *a,
                     struct err *err)
{
    char text[LOOK_NUMBERS];
    int result;

    look_range_text(range, text);
    if (a->gone)
        result = buf_printf(&c->text, "UID FETCH %" PRIu32 ":%" PRIu32 " %s", range.first,
                            range.last, items_of(a->what));
    else
        result = buf_printf(&c->text, "UID FETCH %s %s", text, items_of(a->what));
    if (result == 0 && a->since > 0)
        result = buf_printf(&c->text, " (CHANGEDSINCE %" PRIu64 "%s)", a->since,
                            a->gone ? " VANISHED" : "");
    if (result < 0)
        return err_sys(err, ENOMEM, "cannot ask for messages");
    look_commands_end(c);
    return 0;
}

/* A list that is being asked for. */
struct lister {
    struct look_asked *asked;
    struct listing listing;
    struct set_range *pieces;
    size_t n, next;
    struct look_commands commands;
};

static int lister_begin(struct lister *l, struct look_asked *a, struct err *err)
{
    /* Those that have changed are few; those that have gone may be strewn over all. */
    bool is_whole = a->since == 0 || a->gone;
    uint32_t first = a->first > 0 ? a->first : 1;

    *l = (struct lister){
        .asked = a,
        .listing = {
            .list = a->list, .gone = a->gone, .end = a->list->n, .first = first, .last = a->last}};
    a->answer = look_answer(RESPONSE_OK, "");
    look_commands_init(&l->commands);
    if (first > a->last)
        return 0;
    return look_pieces(a->link, first, a->last, is_whole ? a->extent : (struct look_extent){0},
                       &l->pieces, &l->n, err);
}

static void lister_end(struct lister *l, bool is_good)
{
    if (is_good && l->asked->answer.kind == RESPONSE_OK)
        settle(&l->listing);
    look_commands_free(&l->commands);
    free(l->pieces);
    free(l->listing.room.p);
}

static int lister_fill(struct lister *l, struct err *err)
{
    while (l->next < l->n && l->commands.n < LOOK_COMMANDS) {
        if (put_range(&l->commands, l->pieces[l->next++], l->asked, err) < 0)
            return -1;
    }
    return 0;
}

/* What came of the commands. A refusal ends it, unless it may be VANISHED that was refused, as by a
 * server that stands before others and enables more than they do: then all begins anew. */
static void lister_heed(struct lister *l, const struct link_answer *answer)
{
    struct look_asked *a = l->asked;

    a->answer = *answer;
    if (answer->kind == RESPONSE_OK)
        return;
    l->next = l->n;
    if (!a->gone)
        return;
    link_doubt_qresync(a->link);
    look_gone_clear(a->gone);
    a->gone = l->listing.gone = NULL;
    a->answer = look_answer(RESPONSE_OK, "");
    l->listing.end = a->list->n;
    l->next = 0;
}

static int ask_lists(struct lister *all, size_t n, struct err *err)
{
    struct look_asking asking[LOOK_LINKS];
    bool goes_on = true;

    while (goes_on) {
        goes_on = false;
        for (size_t i = 0; i < n; i++) {
            struct lister *l = &all[i];

            if (lister_fill(l, err) < 0)
                return -1;
            asking[i] = (struct look_asking){.link = l->asked->link,
                                             .commands = &l->commands,
                                             .on_data = on_listed,
                                             .arg = &l->listing};
        }
        if (look_ask(asking, n, err) < 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            if (all[i].asked->answer.kind == RESPONSE_OK)
                lister_heed(&all[i], &asking[i].answer);
            goes_on |= all[i].next < all[i].n;
        }
    }
    return 0;
}

int look_lists(struct look_asked *all, size_t n, struct err *err)
{
    struct lister listers[LOOK_LINKS];
    size_t begun = 0;
    int result = 0;

    INSIST(n <= LOOK_LINKS);
    while (begun < n && result == 0) {
        result = lister_begin(&listers[begun], &all[begun], err);
        begun++;
    }
    if (result == 0)
        result = ask_lists(listers, n, err);
    for (size_t i = 0; i < begun; i++)
        lister_end(&listers[i], result == 0);
    return result;
}

int look_range(struct link *l, uint32_t first, uint32_t last, unsigned what,
               struct look_extent extent, struct look_list *list, struct link_answer *out_answer,
               struct err *err)
{
    struct look_asked asked = {
        .link = l, .first = first, .last = last, .what = what, .extent = extent, .list = list};
    int result = look_lists(&asked, 1, err);

    *out_answer = asked.answer;
    return result;
}

int look_messages(struct link *l, const uint32_t *uids, size_t n, unsigned what,
                  struct look_list *list, struct link_answer *out_answer, struct err *err)
{
    struct listing listing = {.list = list, .end = list->n, .uids = uids, .uids_n = n};
    struct look_commands commands;
    struct look_asking asking = {l, &commands, on_listed, &listing, look_answer(RESPONSE_OK, "")};
    size_t taken;
    int result = 0;

    look_commands_init(&commands);
    for (size_t i = 0; i < n && result == 0 && asking.answer.kind == RESPONSE_OK; i += taken) {
        if (buf_puts(&commands.text, "UID FETCH ") < 0 ||
            look_put_set(&commands, uids + i, n - i, LOOK_PIECE, &taken, err) < 0 ||
            buf_printf(&commands.text, " %s", items_of(what)) < 0) {
            result = err_sys(err, ENOMEM, "cannot ask for messages");
            break;
        }
        look_commands_end(&commands);
        if (commands.n == LOOK_COMMANDS || i + taken == n)
            result = look_ask(&asking, 1, err);
    }
    look_commands_free(&commands);
    *out_answer = asking.answer;
    if (result == 0 && out_answer->kind == RESPONSE_OK)
        settle(&listing);
    free(listing.room.p);
    return result;
}

/* --- the end of the work ---------------------------------------------------------------------- */

struct ending {
    struct listing listing;
    struct data_status status;
    struct look_commands commands;
    struct set_range *pieces; /* of what has come */
    size_t n, next;
    size_t answered;
    bool has_failed[LOOK_COMMANDS];
};

static int on_end(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct ending *e = arg;
    struct slice text;
    char *to;

    if (!look_is_data(p, event, SLICE("STATUS")))
        return on_listed(&e->listing, p, event, err);
    text = pipeline_response(p)->text;
    to = look_room(&e->listing.room, text.n);
    if (!to)
        return err_sys(err, ENOMEM, "cannot read the state of a folder");
    (void)data_status(text, to, &e->status); /* no other folder was asked for */
    return 0;
}

static int on_end_answer(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct ending *e = arg;

    (void)err;
    e->has_failed[i] = answer->kind != RESPONSE_OK;
    if (i == 0 && (e->answered > 0 || e->has_failed[0]))
        e->status.told = 0;
    e->answered++;
    return 0;
}

/* A name that cannot be written, though the folder is open, is not asked for. */
static int put_status(struct look_commands *c, const struct link *l, struct slice name)
{
    struct buf written;
    int result;

    buf_init(&written, LOOK_COMMAND, false);
    if (link_put_name(l, name, &written) < 0)
        result = buf_puts(&c->text, "NOOP");
    else
        result = buf_printf(&c->text, "STATUS %.*s (MESSAGES UIDNEXT UIDVALIDITY%s)",
                            SLICE_ARG(buf_slice(&written)),
                            link_offers(l, "CONDSTORE") ? " HIGHESTMODSEQ" : "");
    buf_release(&written);
    return result;
}

static int put_come(struct ending *e, struct err *err)
{
    const struct look_asked come = {.what = LOOK_ALL};

    while (e->next < e->n && e->commands.n < LOOK_COMMANDS) {
        if (put_range(&e->commands, e->pieces[e->next++], &come, err) < 0)
            return -1;
    }
    return 0;
}

static int put_end(struct ending *e, struct link *l, const struct look_end *end, struct err *err)
{
    const struct look_asked changed = {.what = LOOK_ALL, .since = end->since};
    const struct look_extent come = {end->come, end->fence + end->come};

    if (put_status(&e->commands, l, end->name) < 0)
        return err_sys(err, ENOMEM, "cannot ask for the state of a folder");
    look_commands_end(&e->commands);
    if (end->since > 0 && end->fence > 1 &&
        put_range(&e->commands, (struct set_range){1, end->fence - 1}, &changed, err) < 0)
        return -1;
    if (end->come > 0 && look_pieces(l, end->fence, UINT32_MAX, come, &e->pieces, &e->n, err) < 0)
        return -1;
    return put_come(e, err);
}

/* All but STATUS may as well come later. */
static int ask_end(struct ending *e, struct link *l, struct link_answer *out_answer,
                   struct err *err)
{
    struct slice commands[LOOK_COMMANDS];
    struct look_asking asking = {l, &e->commands, on_listed, &e->listing, *out_answer};

    for (size_t i = 0; i < e->commands.n; i++)
        commands[i] = look_command(&e->commands, i);
    if (link_calls(l, commands, e->commands.n, on_end, on_end_answer, e, err) < 0)
        return -1;
    for (size_t i = 1; i < e->commands.n && out_answer->kind == RESPONSE_OK; i++) {
        if (e->has_failed[i] &&
            link_call(l, commands[i], on_listed, &e->listing, out_answer, err) < 0)
            return -1;
    }
    while (e->next < e->n && out_answer->kind == RESPONSE_OK) {
        look_commands_clear(&e->commands);
        if (put_come(e, err) < 0 || look_ask(&asking, 1, err) < 0)
            return -1;
        *out_answer = asking.answer;
    }
    return 0;
}

int look_at_end(struct link *l, const struct look_end *end, struct look_list *list,
                struct data_status *out_status, struct link_answer *out_answer, struct err *err)
{
    struct ending e = {.listing = {.list = list, .end = list->n, .first = 1, .last = UINT32_MAX}};
    int result;

    *out_answer = look_answer(RESPONSE_OK, "");
    *out_status = (struct data_status){0};
    look_commands_init(&e.commands);
    result = put_end(&e, l, end, err);
    if (result == 0)
        result = ask_end(&e, l, out_answer, err);
    if (result == 0 && out_answer->kind == RESPONSE_OK) {
        settle(&e.listing);
        *out_status = e.status;
        out_status->name = (struct slice){0};
    }
    look_commands_free(&e.commands);
    free(e.pieces);
    free(e.listing.room.p);
    return result;
}
