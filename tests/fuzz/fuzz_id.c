/* The list of ID: what is read keeps the limits, and is read again from whatever is written of it,
 * with and without waiting for the other side. */
#include "cut.h"

#include "imap/id.h"

#include <stdlib.h>

enum { MAX_INPUT = 4096 };

static bool same_pairs(struct id a, struct id b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        const struct id_pair *x = &a.pairs[i], *y = &b.pairs[i];

        if (!slice_eq(x->key, y->key) || x->is_nil != y->is_nil || !slice_eq(x->value, y->value))
            return false;
    }
    return true;
}

static void check_pairs(struct id id, struct slice memory)
{
    INSIST(id.n <= ID_PAIRS);
    for (size_t i = 0; i < id.n; i++) {
        const struct id_pair *pair = &id.pairs[i];

        INSIST(pair->key.n <= ID_KEY && lex_is_text(pair->key) && lies_in(pair->key, memory));
        INSIST(pair->value.n <= ID_VALUE && lex_is_text(pair->value) &&
               lies_in(pair->value, memory));
        INSIST(!pair->is_nil || pair->value.n == 0);
    }
}

/* Writes as to a server that says "+" to each literal; returns how often it has to. */
static size_t write_all(struct buf *out, struct id id, size_t nonsync_max)
{
    struct slice due = {0};
    size_t at = 0, waits = 0;

    do {
        INSIST(buf_put(out, due) == 0);
        INSIST(id_write(out, id, nonsync_max, &at, &due) == 0);
        waits += due.n > 0;
        INSIST(due.n == 0 || due.n > nonsync_max);
    } while (due.n > 0);
    return waits;
}

static void write_and_read(struct id id, size_t nonsync_max)
{
    struct id_pair pairs[ID_PAIRS];
    struct id again = {pairs, 0};
    struct buf out;
    struct lex l;
    char *to;

    buf_init(&out, 1 << 20, false);
    INSIST((write_all(&out, id, nonsync_max) > 0) == id_waits(id, nonsync_max));
    to = malloc(buf_len(&out));
    l = lex_start(buf_slice(&out));
    INSIST(to && id_parse(&l, to, pairs, &again.n) && l.s.n == 0 && same_pairs(id, again));
    free(to);
    buf_release(&out);
}

/* A buffer that is too small is told, and never overrun. */
static void write_too_much(struct id id)
{
    struct slice due;
    size_t at = 0, n;
    struct buf out;

    buf_init(&out, 1 << 20, false);
    INSIST(id_write(&out, id, SIZE_MAX, &at, &due) == 0);
    n = buf_len(&out);
    buf_release(&out);
    for (size_t most = 0; most <= n; most += n / 16 + 1) {
        buf_init(&out, most, false);
        at = 0;
        INSIST((id_write(&out, id, SIZE_MAX, &at, &due) < 0) == (most < n));
        INSIST(buf_len(&out) <= most);
        buf_release(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t nonsync_max[] = {0, 1, 7, SIZE_MAX};
    struct slice s = slice_of(data, size);
    struct id_pair pairs[ID_PAIRS];
    struct lex l = lex_start(s);
    struct id id = {pairs, 0};
    char *to;

    if (size > MAX_INPUT)
        return 0;
    to = malloc(size);
    INSIST(to);
    if (id_parse(&l, to, pairs, &id.n)) {
        INSIST(lies_in(l.s, s) && l.s.n < s.n);
        check_pairs(id, slice_of(to, size));
        for (size_t i = 0; i < sizeof(nonsync_max) / sizeof(nonsync_max[0]); i++)
            write_and_read(id, nonsync_max[i]);
        write_too_much(id);
    } else {
        INSIST(l.s.p == s.p && l.s.n == s.n);
    }
    free(to);
    return 0;
}
