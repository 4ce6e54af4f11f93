/* Maps: read whole and in pieces they are the same, or wrong with the same words on the same line;
 * and each name that a line has is found. */
#include "directory/map.h"
#include "ipc/message.h"

#include "cut.h"

#include <stdlib.h>

static const char *const domains[] = {"old.example"};

static const struct conf_global confs[] = {
    {.username_domain = "", .username_case = USERNAME_LOWER},
    {.username_domain = ""},
    {.username_domain = "example.org",
     .username_case = USERNAME_LOWER,
     .username_strip_domains = {domains, 1}},
};

struct reading {
    struct facts_map *map;
    size_t lines;
    int done;
    struct err err;
};

static void on_line(void *arg, size_t line, const struct facts *facts)
{
    struct reading *r = arg;

    (void)facts;
    INSIST(line > 0 && line >= r->lines);
    r->lines++;
}

static void begin(struct reading *r, const struct conf_global *conf)
{
    const struct facts_map_params p = {.conf = conf, .salt = {3, 5}, .on_line = on_line, .arg = r};

    *r = (struct reading){.map = facts_map_new(&p)};
    INSIST(r->map);
}

/* A copy of each piece, so that reading behind its end shows. */
static void read_piece(struct reading *r, struct slice piece)
{
    char *copy = malloc(piece.n ? piece.n : 1);

    INSIST(copy);
    if (piece.n)
        memcpy(copy, piece.p, piece.n);
    r->done = facts_map_step(r->map, slice_of(copy, piece.n), &r->err);
    free(copy);
}

static void read_all(struct reading *r, struct slice text, uint64_t seed)
{
    struct cut c = {.left = text, .seed = seed};

    while (r->done == 0 && c.left.n > 0) {
        const size_t n = cut_size(&c);
        const struct slice piece = slice_sub(c.left, 0, n);

        c.left = slice_sub(c.left, n, c.left.n);
        read_piece(r, piece);
    }
    if (r->done == 0)
        r->done = facts_map_finish(r->map, &r->err);
}

static void check_find(const struct reading *a, const struct reading *b, struct slice user)
{
    struct slice one = {0}, other = {0};

    INSIST(facts_map_find(a->map, user, &one) == facts_map_find(b->map, user, &other));
    INSIST(slice_eq(one, other));
}

/* Asks for all that looks like a name: what stands between blanks and line ends. */
static void check_words(const struct reading *a, const struct reading *b, struct slice text)
{
    size_t from = 0, asked = 0;

    for (size_t i = 0; i <= text.n && asked < 50; i++) {
        if (i < text.n && (unsigned char)text.p[i] > ' ')
            continue;
        if (i > from && i - from <= IPC_USER_MAX) {
            check_find(a, b, slice_sub(text, from, i));
            asked++;
        }
        from = i + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole, pieces;
    const struct conf_global *conf;
    struct fuzz_input in;

    if (size > 8192 || !fuzz_input_read(&in, data, size))
        return 0;
    conf = &confs[in.flags % (sizeof confs / sizeof *confs)];
    begin(&whole, conf);
    begin(&pieces, conf);
    read_all(&whole, in.bytes, 0);
    read_all(&pieces, in.bytes, in.seed > 0 ? in.seed : 1);
    INSIST(whole.done == pieces.done && whole.lines == pieces.lines);
    INSIST(strcmp(whole.err.text, pieces.err.text) == 0);
    INSIST(whole.done == 0 || (whole.err.text[0] && facts_map_line(whole.map) > 0));
    INSIST(facts_map_line(whole.map) == facts_map_line(pieces.map));
    INSIST(facts_map_users(whole.map) + facts_map_rules(whole.map) == whole.lines);
    INSIST(facts_map_users(whole.map) == facts_map_users(pieces.map));
    if (whole.done == 0)
        check_words(&whole, &pieces, in.bytes);
    facts_map_free(&whole.map);
    facts_map_free(&pieces.map);
    return 0;
}
