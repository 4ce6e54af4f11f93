/* Sets of flags; see sync/flags.h. A set is kept as its text, with its words in order, and found by
 * it. */
#include "sync/flags.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/room.h"
#include "imap/data.h"
#include "imap/lex.h"

#include <stdlib.h>

struct set {
    struct map_node node;
    uint32_t number;
    struct slice text; /* lies behind the struct */
};

/* Lists of flags as servers say them, and the sets that came of them: most messages have a list
 * that has come before, in the same words. Only a short cut: a list is kept at one place, that its
 * bytes choose, until another takes it. */
enum { SAID = 64, SAID_BYTES = 120 };
struct said {
    uint32_t number, n;
    char words[SAID_BYTES];
};

/* Words in alphabetical order, each once. */
struct words {
    struct slice *p;
    size_t n, cap;
};

struct flags {
    struct map by_text; /* without the empty set */
    struct set **sets;  /* by number - 1 */
    size_t n, cap, bytes;
    struct words words, permitted; /* room that is used again */
    char *text;                    /* the same: a set's text, and the same in small letters */
    size_t text_cap;
    struct said said[SAID];
};

struct flags *flags_new(void)
{
    struct flags *f = calloc(1, sizeof(*f));

    if (f)
        map_init(&f->by_text);
    return f;
}

void flags_free(struct flags **f)
{
    if (!*f)
        return;
    for (size_t i = 0; i < (*f)->n; i++)
        free((*f)->sets[i]);
    map_done(&(*f)->by_text);
    free((*f)->sets);
    free((*f)->words.p);
    free((*f)->permitted.p);
    free((*f)->text);
    free(*f);
    *f = NULL;
}

/* --- words ------------------------------------------------------------------------------------ */

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int compare(const void *left, const void *right)
{
    const struct slice *a = left, *b = right;

    for (size_t i = 0; i < a->n && i < b->n; i++) {
        const unsigned char x = (unsigned char)small(a->p[i]), y = (unsigned char)small(b->p[i]);

        if (x != y)
            return x < y ? -1 : 1;
    }
    return (a->n > b->n) - (a->n < b->n);
}

/* For sorting: of words that are the same, the one that came first is first. */
static int compare_in_order(const void *left, const void *right)
{
    const struct slice *a = left, *b = right;
    const int order = compare(a, b);

    return order != 0 ? order : (a->p > b->p) - (a->p < b->p);
}

static int read_words(struct words *w, struct slice list)
{
    struct slice word, *room;
    size_t kept = 0;

    w->n = 0;
    while (data_word(&list, &word)) {
        if (slice_ieq(word, SLICE("\\Recent")))
            continue;
        room = room_for_one(w->p, w->n, &w->cap, sizeof(*room));
        if (!room)
            return -1;
        w->p = room;
        w->p[w->n++] = word;
    }
    if (w->n > 1)
        qsort(w->p, w->n, sizeof(*w->p), compare_in_order);
    for (size_t i = 0; i < w->n; i++) {
        if (kept == 0 || compare(&w->p[kept - 1], &w->p[i]) != 0)
            w->p[kept++] = w->p[i];
    }
    w->n = kept;
    return 0;
}

/* --- sets ------------------------------------------------------------------------------------- */

/* f->words as text, and behind it the same in small letters, by which sets are known. */
static int write_text(struct flags *f, struct slice *out_text, struct slice *out_key)
{
    size_t n = 0, at = 0;

    for (size_t i = 0; i < f->words.n; i++)
        n += f->words.p[i].n + (i > 0);
    if (2 * n > f->text_cap) {
        char *wider = realloc(f->text, 2 * n);

        if (!wider)
            return -1;
        f->text = wider;
        f->text_cap = 2 * n;
    }
    for (size_t i = 0; i < f->words.n; i++) {
        if (i > 0)
            f->text[at++] = ' ';
        memcpy(f->text + at, f->words.p[i].p, f->words.p[i].n);
        at += f->words.p[i].n;
    }
    for (size_t i = 0; i < n; i++)
        f->text[n + i] = small(f->text[i]);
    *out_text = slice_of(f->text, n);
    *out_key = slice_of(f->text + n, n);
    return 0;
}

static bool is_text(const struct map_node *node, const void *key)
{
    return compare(&CONTAINER(node, struct set, node)->text, key) == 0;
}

static struct set *add(struct flags *f, struct slice text, uint64_t hash)
{
    const size_t size = sizeof(struct set) + text.n;
    struct set *set, **sets = room_for_one(f->sets, f->n, &f->cap, sizeof(set));

    if (!sets)
        return NULL;
    f->sets = sets;
    set = size <= FLAGS_BYTES - f->bytes ? malloc(size) : NULL;
    if (!set)
        return NULL;
    memcpy(set + 1, text.p, text.n);
    set->text = slice_of(set + 1, text.n);
    if (map_insert(&f->by_text, &set->node, hash) < 0) {
        free(set);
        return NULL;
    }
    f->sets[f->n++] = set;
    f->bytes += size;
    set->number = (uint32_t)f->n;
    return set;
}

/* The number of the set of f->words. */
static int64_t number_of_words(struct flags *f)
{
    struct slice text, key;
    struct map_node *node;
    struct set *set;
    uint64_t hash;

    if (f->words.n == 0)
        return FLAGS_NONE;
    if (write_text(f, &text, &key) < 0)
        return -1;
    hash = hash_key(key);
    node = map_find(&f->by_text, hash, is_text, &text);
    set = node ? CONTAINER(node, struct set, node) : add(f, text, hash);
    return set ? (int64_t)set->number : -1;
}

/* Where a list is kept. */
static struct said *said_at(struct flags *f, struct slice list)
{
    uint32_t hash = 2166136261;

    for (size_t i = 0; i < list.n; i++)
        hash = (hash ^ (unsigned char)list.p[i]) * 16777619;
    return &f->said[(hash ^ hash >> 16) % SAID];
}

int64_t flags_number(struct flags *f, struct slice words)
{
    struct said *said = said_at(f, words);
    int64_t number;

    if (words.n == 0)
        return FLAGS_NONE;
    if (slice_eq(slice_of(said->words, said->n), words))
        return said->number;
    if (read_words(&f->words, words) < 0)
        return -1;
    number = number_of_words(f);
    if (number >= 0 && words.n <= SAID_BYTES) {
        said->number = (uint32_t)number;
        said->n = (uint32_t)words.n;
        memcpy(said->words, words.p, words.n);
    }
    return number;
}

struct slice flags_text(const struct flags *f, uint32_t number)
{
    if (number == FLAGS_NONE)
        return SLICE("");
    INSIST(number <= f->n);
    return f->sets[number - 1]->text;
}

/* --- what may be stored ----------------------------------------------------------------------- */

/* flag of RFC 9051 section 9, with "]". */
static bool is_flag(struct slice word)
{
    size_t from = word.n > 0 && word.p[0] == '\\';

    for (size_t i = from; i < word.n; i++) {
        if (!lex_is_atom_char(word.p[i]) && word.p[i] != ']')
            return false;
    }
    return word.n > from;
}

int64_t flags_permitted(struct flags *f, uint32_t number, struct slice permitted, bool *out_lost)
{
    const struct slice any = SLICE("\\*");
    struct words *words = &f->words, *may = &f->permitted;
    bool is_any = false;
    size_t kept = 0, k = 0;

    if (read_words(words, flags_text(f, number)) < 0 || read_words(may, permitted) < 0)
        return -1;
    for (size_t i = 0; i < may->n; i++)
        is_any |= slice_eq(may->p[i], any);
    for (size_t i = 0; i < words->n; i++) { /* both are in order */
        const struct slice word = words->p[i];

        while (k < may->n && compare(&may->p[k], &word) < 0)
            k++;
        if (is_flag(word) && (permitted.n == 0 || (is_any && word.p[0] != '\\') ||
                              (k < may->n && compare(&may->p[k], &word) == 0)))
            words->p[kept++] = word;
    }
    *out_lost = kept < words->n;
    if (!*out_lost)
        return number;
    words->n = kept;
    return number_of_words(f);
}
