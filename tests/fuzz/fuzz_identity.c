/* Messages in pieces of any size: digests are those of the whole, and do not depend on how lines
 * end or are folded, nor on fields that are left out. */
#include "cut.h"

#include "sync/identity.h"

#include <stdlib.h>

enum { MAX_INPUT = 1 << 16, ALL = IDENTITY_HEAD | IDENTITY_RAW | IDENTITY_TEXT };

static struct identity_digest read_all(struct identity_reader *r, struct slice s, unsigned what)
{
    struct identity_digest digest;

    identity_begin(r, what);
    identity_add(r, s);
    identity_end(r, &digest);
    return digest;
}

static struct identity_digest read_cut(struct identity_reader *r, struct slice s, uint64_t seed)
{
    struct cut cut = {.left = s, .seed = seed};
    struct identity_digest digest;

    identity_begin(r, ALL);
    while (cut.left.n > 0) {
        size_t n = cut_size(&cut);

        identity_add(r, slice_sub(cut.left, 0, n));
        cut.left = slice_sub(cut.left, n, cut.left.n);
    }
    identity_end(r, &digest);
    return digest;
}

static void check_same(struct identity_digest a, struct identity_digest b)
{
    INSIST(a.size == b.size && a.is_weak == b.is_weak && a.has_nul == b.has_nul);
    INSIST(hash128_eq(a.head, b.head) && hash128_eq(a.raw, b.raw) && hash128_eq(a.text, b.text));
}

/* Writes CR before each LF that has none: neither header nor text change by that. */
static void check_line_ends(struct identity_reader *r, struct slice s, struct identity_digest whole)
{
    struct identity_digest digest;
    char *crlf = malloc(2 * s.n + 1);
    size_t n = 0;

    INSIST(crlf);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
            crlf[n++] = '\r';
        crlf[n++] = s.p[i];
    }
    digest = read_all(r, slice_of(crlf, n), ALL);
    INSIST(hash128_eq(digest.head, whole.head) && hash128_eq(digest.text, whole.text));
    INSIST(digest.is_weak == whole.is_weak);
    free(crlf);
}

/* A field that is left out may come before all others that are no mbox's. */
static void check_left_out(struct identity_reader *r, struct slice s, struct identity_digest whole)
{
    static const struct slice field = SLICE("A: b\nStatus: RO\n \t x\r\n");
    struct identity_digest with, without;

    if (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
        return;
    identity_begin(r, ALL);
    identity_add(r, field);
    identity_add(r, s);
    identity_end(r, &with);
    identity_begin(r, ALL);
    identity_add(r, slice_sub(field, 0, 5));
    identity_add(r, s);
    identity_end(r, &without);
    INSIST(hash128_eq(with.head, without.head) && hash128_eq(with.text, without.text));
    INSIST(hash128_eq(with.text, whole.text) && with.is_weak == without.is_weak);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity_reader *r;
    struct identity_digest whole;
    struct fuzz_input in;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    r = identity_reader_new();
    INSIST(r);
    whole = read_all(r, in.bytes, ALL);
    INSIST(whole.size == in.bytes.n && hash128_eq(whole.raw, hash_stable(in.bytes)));
    check_same(whole, read_cut(r, in.bytes, in.seed));
    check_same(whole, read_cut(r, in.bytes, 1));
    INSIST(hash128_eq(read_all(r, in.bytes, IDENTITY_HEAD).head, whole.head));
    INSIST(hash128_eq(read_all(r, in.bytes, IDENTITY_TEXT).text, whole.text));
    check_line_ends(r, in.bytes, whole);
    check_left_out(r, in.bytes, whole);
    identity_reader_free(&r);
    return 0;
}
