/* Names of folders: a choice of options in the first lines, names in the others. What comes out is
 * a name, the same each time; and without options, between equal namespaces, the name itself. */
#include "sync/names.h"

#include "base/utf8.h"
#include "cut.h"

#include <stdlib.h>

enum { OPTIONS = 6, NAMES = 12 };

static const struct names_space spaces[] = {
    {{"", 0}, '/'},       {{"", 0}, '.'},   {{"INBOX.", 6}, '.'},
    {{"INBOX/", 6}, '/'}, {{"~x", 2}, '^'}, {{"", 0}, 0},
};

/* The next line, as a string of its own. */
static char *take_line(struct slice *rest)
{
    size_t n = 0;
    char *line;

    while (n < rest->n && rest->p[n] != '\n')
        n++;
    line = slice_dup(slice_sub(*rest, 0, n));
    INSIST(line);
    *rest = slice_sub(*rest, n + 1, rest->n);
    return line;
}

static void check_name(struct slice name)
{
    INSIST(name.n > 0 && name.n <= NAMES_LONGEST && !slice_has(name, '\0'));
    for (size_t at = 0, n; at < name.n; at += n) {
        n = utf8_char(slice_sub(name, at, name.n));
        INSIST(n > 0 && name.p[at] != '\r' && name.p[at] != '\n');
    }
}

static enum names_verdict map(const struct naming *n, const char *name, struct buf *out)
{
    struct err err = {0};
    enum names_verdict verdict = naming_map(n, slice_str(name), (struct slice){0}, out, &err);

    INSIST(verdict != NAMES_FAILED);
    INSIST((verdict == NAMES_UNFIT) == (err.text[0] != '\0'));
    INSIST((verdict == NAMES_GO) == (buf_len(out) > 0));
    return verdict;
}

static void check_map(const struct naming *n, const char *name, bool is_identity)
{
    struct buf out, again;

    buf_init(&out, NAMES_LONGEST, false);
    buf_init(&again, NAMES_LONGEST, false);
    INSIST(map(n, name, &out) == map(n, name, &again));
    INSIST(slice_eq(buf_slice(&out), buf_slice(&again)));
    if (buf_len(&out) > 0)
        check_name(buf_slice(&out));
    if (is_identity && buf_len(&out) > 0)
        INSIST(slice_eq(buf_slice(&out), slice_str(name)) ||
               (slice_ieq(slice_str(name), SLICE("INBOX")) &&
                slice_eq(buf_slice(&out), SLICE("INBOX"))));
    buf_release(&out);
    buf_release(&again);
}

static struct sync_choice choice_of(char *const *lines, uint8_t flags, const struct sync_pair *pair)
{
    struct sync_choice c = {.automap = flags & 1};

    if (lines[0][0])
        c.regextrans2 = (struct sync_words){(const char *const *)&lines[0], 1};
    if (lines[1][0])
        c.includes = (struct sync_words){(const char *const *)&lines[1], 1};
    if (lines[2][0])
        c.excludes = (struct sync_words){(const char *const *)&lines[2], 1};
    if (lines[3][0])
        c.subtrees = (struct sync_words){(const char *const *)&lines[3], 1};
    if (lines[4][0])
        *(flags & 2 ? &c.subfolder1 : &c.subfolder2) = lines[4];
    if (lines[5][0]) {
        c.pairs = pair;
        c.pairs_n = 1;
    }
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct names_space from, to;
    struct sync_choice choice;
    struct naming *n = NULL;
    struct sync_pair pair;
    char *lines[OPTIONS];
    struct fuzz_input in;
    bool is_plain = true;
    struct err err;

    if (size > 4096 || !fuzz_input_read(&in, data, size))
        return 0;
    from = spaces[in.seed % 6];
    to = spaces[in.seed / 6 % 6];
    for (size_t i = 0; i < OPTIONS; i++) {
        lines[i] = take_line(&in.bytes);
        is_plain &= !lines[i][0];
    }
    pair = (struct sync_pair){lines[5], lines[1]};
    choice = choice_of(lines, in.flags, &pair);
    if (naming_new(&choice, from, to, &n, &err) == 0) {
        INSIST(naming_add_use(n, SLICE("\\Sent"), SLICE("Out"), &err) == 0);
        for (int i = 0; i < NAMES && in.bytes.n > 0; i++) {
            char *name = take_line(&in.bytes);

            check_map(n, name, is_plain && !(in.flags & 1) && in.seed % 6 == in.seed / 6 % 6);
            free(name);
        }
    } else {
        INSIST(err.text[0]);
    }
    naming_free(&n);
    for (size_t i = 0; i < OPTIONS; i++)
        free(lines[i]);
    return 0;
}
