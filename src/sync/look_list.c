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
    size_t end;           /* of what was told */
    uint32_t first, last; /* all of these were asked for; or, if `uids` is not NULL, */
    const uint32_t *uids; /* these */
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

/* Servers may tell of any message at any time. Without a UID it is not known which that is; with
 * one it is news of a message, or one that was not asked for. */
static int on_listed(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct listing *l = arg;
    struct data_fetch f;
    struct look_message *m;
    int is_fetched = look_fetched(p, event, &l->room, &f, err);
    int64_t flags = FLAGS_NONE;

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

static int put_range(struct look_commands *c, struct set_range range, unsigned what, uint64_t since,
                     struct err *err)
{
    char text[LOOK_NUMBERS];

    look_range_text(range, text);
    if (buf_printf(&c->text, "UID FETCH %s %s", text, items_of(what)) < 0 ||
        (since > 0 && buf_printf(&c->text, " (CHANGEDSINCE %" PRIu64 ")", since) < 0))
        return err_sys(err, ENOMEM, "cannot ask for messages");
    look_commands_end(c);
    return 0;
}

static int ask_ranges(struct link *l, const struct set_range *pieces, size_t n, unsigned what,
                      uint64_t since, struct listing *listing, struct link_answer *out_answer,
                      struct err *err)
{
    struct look_commands commands;
    int result = 0;

    *out_answer = look_answer(RESPONSE_OK, "");
    look_commands_init(&commands);
    for (size_t i = 0; i < n && result == 0 && out_answer->kind == RESPONSE_OK; i++) {
        result = put_range(&commands, pieces[i], what, since, err);
        if (result == 0 && (commands.n == LOOK_COMMANDS || i + 1 == n))
            result = look_ask(l, &commands, on_listed, listing, out_answer, err);
    }
    look_commands_free(&commands);
    return result;
}

int look_range(struct link *l, uint32_t first, uint32_t last, unsigned what, uint64_t since,
               uint32_t exists, struct look_list *list, struct link_answer *out_answer,
               struct err *err)
{
    struct listing listing = {.list = list, .end = list->n, .first = first, .last = last};
    struct set_range *pieces = NULL;
    size_t n;
    int result;

    *out_answer = look_answer(RESPONSE_OK, "");
    if (first > last)
        return 0;
    /* Those that have changed are few. */
    result = look_pieces(l, first > 0 ? first : 1, last, since > 0 ? 0 : exists, &pieces, &n, err);
    if (result == 0)
        result = ask_ranges(l, pieces, n, what, since, &listing, out_answer, err);
    if (result == 0 && out_answer->kind == RESPONSE_OK)
        settle(&listing);
    free(pieces);
    free(listing.room.p);
    return result;
}

int look_messages(struct link *l, const uint32_t *uids, size_t n, unsigned what,
                  struct look_list *list, struct link_answer *out_answer, struct err *err)
{
    struct listing listing = {.list = list, .end = list->n, .uids = uids, .uids_n = n};
    struct look_commands commands;
    size_t taken;
    int result = 0;

    *out_answer = look_answer(RESPONSE_OK, "");
    look_commands_init(&commands);
    for (size_t i = 0; i < n && result == 0 && out_answer->kind == RESPONSE_OK; i += taken) {
        if (buf_puts(&commands.text, "UID FETCH ") < 0 ||
            look_put_set(&commands, uids + i, n - i, LOOK_PIECE, &taken, err) < 0 ||
            buf_printf(&commands.text, " %s", items_of(what)) < 0) {
            result = err_sys(err, ENOMEM, "cannot ask for messages");
            break;
        }
        look_commands_end(&commands);
        if (commands.n == LOOK_COMMANDS || i + taken == n)
            result = look_ask(l, &commands, on_listed, &listing, out_answer, err);
    }
    look_commands_free(&commands);
    if (result == 0 && out_answer->kind == RESPONSE_OK)
        settle(&listing);
    free(listing.room.p);
    return result;
}
