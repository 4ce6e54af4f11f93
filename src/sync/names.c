/* The way of a folder's name from the source to the target; see sync/names.h. */
#include "sync/names.h"

#include "base/regex.h"
#include "base/utf8.h"
#include "sync/names_trans.h"
#include "sync/names_use.h"

#include <stdint.h>
#include <stdlib.h>

/* A folder that an option names. */
enum word_kind { WORD_FOLDER, WORD_SUBTREE, WORD_PAIR, WORD_SUBFOLDER };

struct word {
    enum word_kind kind;
    const char *option, *text; /* as given */
    struct slice name;         /* a subtree's without a separator at its end */
    const char *to;            /* of a pair */
    bool was_asked;
};

struct naming {
    const struct sync_choice *choice;
    struct names_space from, to;
    struct slice subfolder1, subfolder2; /* without a separator at the end; empty: none */
    struct word *words;
    size_t words_n;
    struct regex **includes, **excludes;
    struct names_trans **transes;
    struct regex_space *space;
    struct names_uses from_uses, to_uses;
};

/* --- comparing -------------------------------------------------------------------------------- */

static bool is_inbox(struct slice name)
{
    return slice_ieq(name, SLICE("INBOX"));
}

static struct slice behind(struct slice s, size_t n)
{
    return slice_sub(s, n, s.n);
}

/* Whether the first level is INBOX. */
static bool is_in_inbox(struct slice name, char separator)
{
    return is_inbox(slice_sub(name, 0, 5)) &&
           (name.n == 5 || (separator && name.p[5] == separator));
}

/* Whether `name` begins with `start`, bytes of it, in the sense of names_are_same(). */
static bool starts(struct slice name, struct slice start, char separator)
{
    const bool is_folded = is_in_inbox(name, separator) && is_in_inbox(start, separator);
    const size_t same = is_folded ? 5 : 0;

    return name.n >= start.n &&
           slice_eq(slice_sub(name, same, start.n), slice_sub(start, same, start.n));
}

bool names_are_same(struct slice a, struct slice b, char separator)
{
    return a.n == b.n && starts(a, b, separator);
}

static bool is_below(struct slice name, struct slice parent, char separator)
{
    return separator && name.n > parent.n && name.p[parent.n] == separator &&
           starts(name, parent, separator);
}

static struct slice without_end(struct slice s, char separator)
{
    while (separator && s.n > 0 && s.p[s.n - 1] == separator)
        s.n--;
    return s;
}

/* Whether these bytes can be a name at all. */
static bool is_text(struct slice s)
{
    for (size_t at = 0, n; at < s.n; at += n) {
        n = utf8_char(behind(s, at));
        if (n == 0 || s.p[at] == '\0' || s.p[at] == '\r' || s.p[at] == '\n')
            return false;
    }
    return true;
}

/* --- making ----------------------------------------------------------------------------------- */

static int add_word(struct naming *n, enum word_kind kind, const char *option, const char *text,
                    const char *to, struct err *err)
{
    const struct slice name = slice_str(text);

    if (name.n == 0 || !is_text(name))
        return err_set(err, 0, "%s: a folder's name in UTF-8 must stand here", option);
    if (kind == WORD_PAIR && (!to[0] || !is_text(slice_str(to))))
        return err_set(err, 0, "%s %s: the name at the target is missing, or not UTF-8", option,
                       text);
    n->words[n->words_n++] =
        (struct word){.kind = kind,
                      .option = option,
                      .text = text,
                      .name = kind == WORD_SUBTREE ? without_end(name, n->from.separator) : name,
                      .to = to};
    return 0;
}

static int add_words(struct naming *n, struct err *err)
{
    const struct sync_choice *c = n->choice;
    int added = 0;

    n->words = calloc(c->folders.n + c->subtrees.n + c->pairs_n + 1, sizeof *n->words);
    if (!n->words)
        return err_set(err, 0, "no memory for the choice of folders");
    for (size_t i = 0; i < c->folders.n && added == 0; i++)
        added = add_word(n, WORD_FOLDER, "--folder", c->folders.items[i], NULL, err);
    for (size_t i = 0; i < c->subtrees.n && added == 0; i++)
        added = add_word(n, WORD_SUBTREE, "--folderrec", c->subtrees.items[i], NULL, err);
    for (size_t i = 0; i < c->pairs_n && added == 0; i++)
        added = add_word(n, WORD_PAIR, "--f1f2", c->pairs[i].from, c->pairs[i].to, err);
    if (n->subfolder1.n > 0 && added == 0)
        added = add_word(n, WORD_SUBFOLDER, "--subfolder1", c->subfolder1, NULL, err);
    return added;
}

static int add_expressions(const struct sync_words *words, const char *option,
                           struct regex ***out_regexes, struct err *err)
{
    struct regex **all = calloc(words->n + 1, sizeof *all);

    if (!all)
        return err_set(err, 0, "no memory for %s", option);
    *out_regexes = all;
    for (size_t i = 0; i < words->n; i++) {
        if (regex_new_with(slice_str(words->items[i]), REGEX_CHARACTERS, &all[i], err) < 0)
            return err_prefix(err, "%s %s", option, words->items[i]);
    }
    return 0;
}

static int add_transes(struct naming *n, struct err *err)
{
    const struct sync_words *words = &n->choice->regextrans2;

    n->transes = calloc(words->n + 1, sizeof *n->transes);
    if (!n->transes)
        return err_set(err, 0, "no memory for --regextrans2");
    for (size_t i = 0; i < words->n; i++) {
        if (names_trans_new(slice_str(words->items[i]), &n->transes[i], err) < 0)
            return err_prefix(err, "--regextrans2 %s", words->items[i]);
    }
    return 0;
}

/* subfolder2 without what stands before it anyway, which may be all of it. */
static int set_subfolders(struct naming *n, struct err *err)
{
    struct slice at_to = without_end(slice_str(n->choice->subfolder2), n->to.separator);

    if (names_are_same(at_to, without_end(n->to.prefix, n->to.separator), n->to.separator))
        at_to.n = 0;
    else if (starts(at_to, n->to.prefix, n->to.separator))
        at_to = behind(at_to, n->to.prefix.n);
    if (!is_text(at_to))
        return err_set(err, 0, "--subfolder2: a folder's name in UTF-8 must stand here");
    if (at_to.n > 0 && !n->to.separator)
        return err_set(err, 0, "--subfolder2: the target has no folders in folders");
    n->subfolder1 = without_end(slice_str(n->choice->subfolder1), n->from.separator);
    n->subfolder2 = at_to;
    return 0;
}

int naming_new(const struct sync_choice *choice, struct names_space from, struct names_space to,
               struct naming **out_names, struct err *err)
{
    struct naming *n = calloc(1, sizeof *n);

    if (!n)
        return err_set(err, 0, "no memory for the names of folders");
    n->choice = choice;
    n->from = from;
    n->to = to;
    n->space = regex_space_new();
    if (!n->space)
        (void)err_set(err, 0, "no memory for regular expressions");
    if (!n->space || set_subfolders(n, err) < 0 || add_words(n, err) < 0 ||
        add_expressions(&choice->includes, "--include", &n->includes, err) < 0 ||
        add_expressions(&choice->excludes, "--exclude", &n->excludes, err) < 0 ||
        add_transes(n, err) < 0) {
        naming_free(&n);
        return -1;
    }
    *out_names = n;
    return 0;
}

void naming_free(struct naming **names)
{
    struct naming *n = *names;

    if (!n)
        return;
    for (size_t i = 0; n->includes && i < n->choice->includes.n; i++)
        regex_free(&n->includes[i]);
    for (size_t i = 0; n->excludes && i < n->choice->excludes.n; i++)
        regex_free(&n->excludes[i]);
    for (size_t i = 0; n->transes && i < n->choice->regextrans2.n; i++)
        names_trans_free(&n->transes[i]);
    free(n->includes);
    free(n->excludes);
    free(n->transes);
    free(n->words);
    names_uses_done(&n->from_uses);
    names_uses_done(&n->to_uses);
    regex_space_free(&n->space);
    free(n);
    *names = NULL;
}

/* --- choosing --------------------------------------------------------------------------------- */

/* Where a name of the source begins behind its prefix. */
static struct slice bare_name(struct slice name, const struct names_space *space)
{
    const bool has_it = !is_inbox(name) && starts(name, space->prefix, space->separator);

    return behind(name, has_it ? space->prefix.n : 0);
}

/* Whether the name is of the subtree of subfolder1; *out_rest is what is below it, empty for that
 * folder itself. The prefix may be missing in the option. */
static bool is_of_subfolder1(const struct naming *n, struct slice name, struct slice *out_rest)
{
    const struct slice forms[] = {name, bare_name(name, &n->from)};

    for (size_t i = 0; i < 2; i++) {
        const struct slice form = forms[i];

        if (names_are_same(form, n->subfolder1, n->from.separator) ||
            is_below(form, n->subfolder1, n->from.separator)) {
            *out_rest = behind(form, n->subfolder1.n + 1);
            return true;
        }
    }
    return false;
}

static bool is_about(const struct naming *n, const struct word *w, struct slice name)
{
    struct slice rest;

    switch (w->kind) {
    case WORD_FOLDER:
    case WORD_PAIR:
        return names_are_same(name, w->name, n->from.separator);
    case WORD_SUBTREE:
        return names_are_same(name, w->name, n->from.separator) ||
               is_below(name, w->name, n->from.separator);
    case WORD_SUBFOLDER:
        return is_of_subfolder1(n, name, &rest);
    }
    return false;
}

/* REGEX_YES if one of them matches. The error is about the one that failed. */
static enum regex_result any_matches(const struct naming *n, struct regex *const *regexes,
                                     const struct sync_words *words, const char *option,
                                     struct slice name, struct err *err)
{
    for (size_t i = 0; i < words->n; i++) {
        const enum regex_result result = regex_match(regexes[i], n->space, name);

        if (result == REGEX_FAILED)
            (void)err_set(err, 0, "%s %s takes too many steps on this name", option,
                          words->items[i]);
        if (result != REGEX_NO)
            return result;
    }
    return REGEX_NO;
}

/* NAMES_GO: chosen; *out_to is then what f1f2 says, or NULL. */
static enum names_verdict choose(const struct naming *n, struct slice name, const char **out_to,
                                 struct err *err)
{
    const struct sync_choice *c = n->choice;
    bool is_wanted = c->folders.n + c->subtrees.n + c->includes.n == 0;
    bool is_in_subfolder = n->subfolder1.n == 0;
    enum regex_result result;

    *out_to = NULL;
    for (size_t i = 0; i < n->words_n; i++) {
        struct word *w = &n->words[i];

        if (!is_about(n, w, name))
            continue;
        w->was_asked = true;
        is_wanted |= w->kind == WORD_FOLDER || w->kind == WORD_SUBTREE;
        is_in_subfolder |= w->kind == WORD_SUBFOLDER;
        if (w->kind == WORD_PAIR && !*out_to)
            *out_to = w->to;
    }
    if (!is_in_subfolder)
        return NAMES_LEFT;
    if (!is_wanted) {
        result = any_matches(n, n->includes, &c->includes, "--include", name, err);
        if (result != REGEX_YES)
            return result == REGEX_NO ? NAMES_LEFT : NAMES_UNFIT;
    }
    result = any_matches(n, n->excludes, &c->excludes, "--exclude", name, err);
    if (result == REGEX_FAILED)
        return NAMES_UNFIT;
    return result == REGEX_YES ? NAMES_LEFT : NAMES_GO;
}

bool naming_unused(const struct naming *n, size_t i, const char **out_option, const char **out_word)
{
    for (size_t at = 0; at < n->words_n; at++) {
        if (n->words[at].was_asked || i-- > 0)
            continue;
        *out_option = n->words[at].option;
        *out_word = n->words[at].text;
        return true;
    }
    return false;
}

/* --- special uses ----------------------------------------------------------------------------- */

int naming_add_use(struct naming *n, struct slice use, struct slice name, struct err *err)
{
    return names_uses_add(&n->to_uses, use, name, bare_name(name, &n->to), err);
}

int naming_add_source_use(struct naming *n, struct slice use, struct slice name, struct err *err)
{
    return names_uses_add(&n->from_uses, use, name, bare_name(name, &n->from), err);
}

/* Whether automap has a folder of the target for this one of the source. */
static bool has_use(const struct naming *n, struct slice name, struct slice use,
                    struct slice *out_to)
{
    const struct slice bare = bare_name(name, &n->from);
    const struct slice known = use.n > 0 ? use : names_use_guess(bare);
    struct slice first;

    if (!n->choice->automap || n->subfolder1.n > 0 || n->subfolder2.n > 0 || is_inbox(name) ||
        known.n == 0)
        return false;
    if (names_uses_find(&n->from_uses, known, (struct slice){0}, &first) &&
        !names_are_same(first, name, n->from.separator))
        return false;
    return names_uses_find(&n->to_uses, known, bare, out_to);
}

/* --- renaming --------------------------------------------------------------------------------- */

/* What does not fit into a name's room is too long; memory is asked for before. */
static enum names_verdict put(struct buf *to, struct slice s, struct err *err)
{
    if (s.n > buf_left(to)) {
        (void)err_set(err, 0, "its name at the target would be too long");
        return NAMES_UNFIT;
    }
    if (buf_put(to, s) < 0) {
        (void)err_set(err, 0, "no memory for the names of folders");
        return NAMES_FAILED;
    }
    return NAMES_GO;
}

/* A name without its prefix, with the target's separator; a flat source has NUL for one, which no
 * name has. */
static enum names_verdict put_levels(const struct naming *n, struct slice bare, struct buf *to,
                                     struct err *err)
{
    const char from = n->from.separator, separator = n->to.separator;
    const size_t before = buf_len(to);
    const enum names_verdict verdict = put(to, bare, err);
    char *p;

    if (verdict != NAMES_GO)
        return verdict;
    p = to->p + to->r + before;
    for (size_t i = 0; i < bare.n; i++) {
        if (p[i] == from)
            p[i] = separator ? separator : '_';
        else if (p[i] == separator)
            p[i] = '_';
    }
    return NAMES_GO;
}

/* What stands before all names at the target: its prefix and subfolder2. */
static enum names_verdict put_root(const struct naming *n, bool is_for_inbox, struct buf *to,
                                   struct err *err)
{
    enum names_verdict verdict = NAMES_GO;

    if (!is_for_inbox || n->subfolder2.n > 0)
        verdict = put(to, n->to.prefix, err);
    if (verdict == NAMES_GO && n->subfolder2.n > 0)
        verdict = put(to, n->subfolder2, err);
    if (verdict == NAMES_GO && n->subfolder2.n > 0)
        verdict = put(to, slice_of(&n->to.separator, 1), err);
    return verdict;
}

static bool are_spaces_equal(const struct naming *n)
{
    return n->subfolder1.n == 0 && n->subfolder2.n == 0 && n->from.separator == n->to.separator &&
           slice_eq(n->from.prefix, n->to.prefix);
}

/* From one namespace to the other. */
static enum names_verdict move_over(const struct naming *n, struct slice name, struct buf *to,
                                    struct err *err)
{
    struct slice bare = bare_name(name, &n->from);
    enum names_verdict verdict;
    bool is_for_inbox;

    if (n->subfolder1.n > 0)
        INSIST(is_of_subfolder1(n, name, &bare));
    is_for_inbox = n->subfolder1.n > 0 ? bare.n == 0 || is_inbox(bare) : is_inbox(name);
    if (are_spaces_equal(n) && !is_for_inbox)
        return put(to, name, err);
    if (bare.n == 0 && !is_for_inbox) {
        (void)err_set(err, 0, "its name is the prefix of all others, and nothing beside it");
        return NAMES_UNFIT;
    }
    verdict = put_root(n, is_for_inbox, to, err);
    if (verdict != NAMES_GO)
        return verdict;
    if (is_for_inbox)
        return put(to, SLICE("INBOX"), err);
    verdict = put_levels(n, bare, to, err);
    if (verdict == NAMES_GO && is_inbox(buf_slice(to))) {
        (void)err_set(err, 0, "beside INBOX the target can have no folder of this name");
        return NAMES_UNFIT;
    }
    return verdict;
}

/* Leaves in `name` what the expressions make of it. */
static enum names_verdict transform(const struct naming *n, struct buf *name, struct err *err)
{
    const struct sync_words *words = &n->choice->regextrans2;

    for (size_t i = 0; i < words->n; i++) {
        enum names_trans_result result;
        struct buf next;

        buf_init(&next, NAMES_LONGEST, false);
        result = names_trans_apply(n->transes[i], n->space, buf_slice(name), &next);
        buf_release(name);
        *name = next;
        if (result == NAMES_TRANS_OK)
            continue;
        (void)err_set(err, 0, "--regextrans2 %s %s", words->items[i],
                      result == NAMES_TRANS_LONG     ? "makes its name too long"
                      : result == NAMES_TRANS_MEMORY ? "had no memory"
                                                     : "takes too many steps on its name");
        return result == NAMES_TRANS_MEMORY ? NAMES_FAILED : NAMES_UNFIT;
    }
    return NAMES_GO;
}

/* What keeps a name of either side from being one, or NULL. A separator at the end would be the
 * same folder as without it. */
static const char *fault_of(struct slice name, char separator)
{
    if (name.n == 0)
        return "is empty";
    if (name.n > NAMES_LONGEST)
        return "is too long";
    if (!is_text(name))
        return "is not UTF-8, or has NUL or line ends";
    if (separator && name.p[name.n - 1] == separator)
        return "ends with a separator";
    return NULL;
}

/* All that is behind choosing. */
static enum names_verdict rename_to(const struct naming *n, struct slice from, struct slice use,
                                    const char *pair, struct buf *to, struct err *err)
{
    enum names_verdict verdict;
    struct slice by_use;

    if (pair)
        return put(to, slice_str(pair), err);
    if (has_use(n, from, use, &by_use))
        return put(to, by_use, err);
    verdict = move_over(n, from, to, err);
    return verdict == NAMES_GO ? transform(n, to, err) : verdict;
}

static enum names_verdict finish(const struct naming *n, struct slice to, struct buf *out,
                                 struct err *err)
{
    const char *fault = fault_of(to, n->to.separator);

    if (fault) {
        (void)err_set(err, 0, "its name at the target %s", fault);
        return NAMES_UNFIT;
    }
    if (buf_put(out, is_inbox(to) ? SLICE("INBOX") : to) < 0) {
        (void)err_set(err, 0, "no memory for the names of folders");
        return NAMES_FAILED;
    }
    return NAMES_GO;
}

enum names_verdict naming_map(const struct naming *n, struct slice from, struct slice use,
                              struct buf *out, struct err *err)
{
    const char *pair, *fault = fault_of(from, n->from.separator);
    enum names_verdict verdict;
    struct buf to;

    regex_space_begin(n->space);
    verdict = choose(n, from, &pair, err);
    if (verdict != NAMES_GO)
        return verdict;
    if (fault && !pair) {
        (void)err_set(err, 0, "its name %s", fault);
        return NAMES_UNFIT;
    }
    buf_init(&to, NAMES_LONGEST, false);
    verdict = rename_to(n, from, use, pair, &to, err);
    if (verdict == NAMES_GO)
        verdict = finish(n, buf_slice(&to), out, err);
    buf_release(&to);
    return verdict;
}
