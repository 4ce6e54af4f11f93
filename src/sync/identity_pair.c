/* Pairing by digests; see sync/identity.h.
 *
 * Both sides are sorted by header, size and UID, and walked side by side in groups of equal
 * headers; each of these by sizes and, where sizes do not settle it, by texts.
 */
#include "sync/identity.h"

#include <errno.h>
#include <stdlib.h>

/* Items of one side, sorted; a part of all. */
struct part {
    struct identity_item **items;
    size_t n;
};

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_head(const struct identity_item *a, const struct identity_item *b)
{
    return hash128_compare(a->head, b->head);
}

static int by_size(const struct identity_item *a, const struct identity_item *b)
{
    return compare_u64(a->size, b->size);
}

/* Those whose text is not known come last, and are equal to none. */
static int by_text(const struct identity_item *a, const struct identity_item *b)
{
    if (!a->has_text || !b->has_text)
        return a->has_text ? -1 : 1;
    return hash128_compare(a->text, b->text);
}

static int by_text_and_date(const struct identity_item *a, const struct identity_item *b)
{
    int order = by_text(a, b);

    return order != 0 ? order : compare_u64(a->looks[0], b->looks[0]);
}

static int by_text_and_looks(const struct identity_item *a, const struct identity_item *b)
{
    int order = by_text_and_date(a, b);

    return order != 0 ? order : compare_u64(a->looks[1], b->looks[1]);
}

typedef int order_fn(const struct identity_item *a, const struct identity_item *b);

static int compare_all(const void *a, const void *b)
{
    const struct identity_item *x = *(struct identity_item *const *)a;
    const struct identity_item *y = *(struct identity_item *const *)b;
    int order = by_head(x, y);

    if (order == 0)
        order = by_size(x, y);
    return order != 0 ? order : compare_u64(x->uid, y->uid);
}

static int compare_texts(const void *a, const void *b)
{
    const struct identity_item *x = *(struct identity_item *const *)a;
    const struct identity_item *y = *(struct identity_item *const *)b;
    int order = x->has_text || y->has_text ? by_text(x, y) : 0;

    return order != 0 ? order : compare_u64(x->uid, y->uid);
}

static int compare_looks(const void *a, const void *b)
{
    const struct identity_item *x = *(struct identity_item *const *)a;
    const struct identity_item *y = *(struct identity_item *const *)b;
    int order = x->has_text || y->has_text ? by_text_and_looks(x, y) : 0;

    return order != 0 ? order : compare_u64(x->uid, y->uid);
}

/* Cuts the next group off both sides: all that are equal by `order` to the least that is left.
 * False when nothing is left. Of `left` each is sorted by that order. */
static bool next_group(struct part left[2], order_fn *order, struct part out_group[2])
{
    const struct identity_item *least;

    if (left[0].n == 0 && left[1].n == 0)
        return false;
    if (left[0].n == 0 || left[1].n == 0)
        least = left[left[0].n == 0].items[0];
    else
        least = left[order(left[0].items[0], left[1].items[0]) > 0].items[0];
    for (int side = 0; side < 2; side++) {
        struct part *l = &left[side], *group = &out_group[side];

        *group = (struct part){l->items, 0};
        while (group->n < l->n &&
               (l->items[group->n] == least || order(least, l->items[group->n]) == 0))
            group->n++;
        l->items += group->n;
        l->n -= group->n;
    }
    return true;
}

static void pair(struct identity_item *a, struct identity_item *b)
{
    a->match = b->uid;
    b->match = a->uid;
}

/* Header and size leave no choice. */
static bool is_sure(const struct part group[2], bool is_full)
{
    const struct identity_item *a, *b;

    if (is_full || group[0].n != 1 || group[1].n != 1)
        return false;
    a = group[0].items[0];
    b = group[1].items[0];
    if (a->is_weak || b->is_weak)
        return false;
    if (a->is_dated && b->is_dated && a->looks[0] != b->looks[0])
        return false;
    return !a->has_text || !b->has_text || hash128_eq(a->text, b->text);
}

static bool has_single(struct part part)
{
    for (size_t i = 0; i < part.n; i++) {
        if (part.items[i]->match == 0)
            return true;
    }
    return false;
}

/* Pairs what needs no bodies. False when there are some left on both sides: then sizes prove
 * nothing, and none of the group is paired. */
static bool pair_sizes(const struct part all[2], bool is_full)
{
    struct part left[2] = {all[0], all[1]}, group[2];

    while (next_group(left, by_size, group)) {
        if (is_sure(group, is_full))
            pair(group[0].items[0], group[1].items[0]);
    }
    if (!has_single(all[0]) || !has_single(all[1]))
        return true;
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < all[side].n; i++)
            all[side].items[i]->match = 0;
    }
    return false;
}

/* Whether any of these is or may become known by its body. */
static bool has_hope(struct part part)
{
    for (size_t i = 0; i < part.n; i++) {
        if (part.items[i]->has_text || !part.items[i]->is_lost)
            return true;
    }
    return false;
}

/* Returns whether there were any to want. */
static bool want_texts(struct part part)
{
    bool wants = false;

    for (size_t i = 0; i < part.n; i++) {
        struct identity_item *item = part.items[i];

        item->wants_text = !item->has_text && !item->is_lost;
        wants |= item->wants_text;
    }
    return wants;
}

/* Pairs what is equal by `order`, in order of UIDs, and leaves what then is left. Both sides are
 * sorted by `compare`, which begins with that order. */
static void pair_equal(struct part left[2], order_fn *order,
                       int (*compare)(const void *a, const void *b))
{
    struct part all[2] = {left[0], left[1]}, group[2];

    for (int side = 0; side < 2; side++)
        qsort(all[side].items, all[side].n, sizeof(*all[side].items), compare);
    while (next_group(all, order, group)) {
        for (size_t i = 0; i < group[0].n && i < group[1].n; i++)
            pair(group[0].items[i], group[1].items[i]);
    }
    for (int side = 0; side < 2; side++) {
        size_t kept = 0;

        for (size_t i = 0; i < left[side].n; i++) {
            if (left[side].items[i]->match == 0)
                left[side].items[kept++] = left[side].items[i];
        }
        left[side].n = kept;
    }
}

static void pair_texts(struct part left[2])
{
    pair_equal(left, by_text_and_looks, compare_looks);
    pair_equal(left, by_text_and_date, compare_looks);
    pair_equal(left, by_text, compare_texts);
}

/* Messages with the same header. Returns whether bodies are wanted. */
static bool pair_group(struct part group[2], bool is_full)
{
    bool wants;

    if (group[0].n == 0 || group[1].n == 0 || pair_sizes(group, is_full) || !has_hope(group[0]) ||
        !has_hope(group[1]))
        return false;
    wants = want_texts(group[0]);
    wants |= want_texts(group[1]);
    if (!wants)
        pair_texts(group);
    return wants;
}

/* Clears what comes out, and sorts. */
static void prepare(struct part *part, struct identity_item **memory, struct identity_item *items,
                    size_t n)
{
    *part = (struct part){memory, n};
    for (size_t i = 0; i < n; i++) {
        items[i].match = 0;
        items[i].wants_text = false;
        part->items[i] = &items[i];
    }
    qsort(part->items, n, sizeof(*part->items), compare_all);
}

int identity_pair(struct identity_item *from, size_t from_n, struct identity_item *to, size_t to_n,
                  bool is_full, struct err *err)
{
    struct identity_item **memory;
    struct part left[2], group[2];
    bool wants = false;

    memory = calloc(from_n + to_n + 1, sizeof(*memory));
    if (!memory)
        return err_sys(err, ENOMEM, "cannot pair messages");
    prepare(&left[0], memory, from, from_n);
    prepare(&left[1], memory + from_n, to, to_n);
    while (next_group(left, by_head, group))
        wants |= pair_group(group, is_full);
    free(memory);
    return wants;
}
