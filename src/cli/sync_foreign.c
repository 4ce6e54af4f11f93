/* usher sync: what is said of an option that there is not: imapsync's own ones have their answers
 * in tables/sync_foreign.def. */
#include "cli/sync_words.h"

#include "conf/nearest.h"

#include <stdio.h>
#include <string.h>

struct foreign {
    const char *names, *answer;
};

static const struct foreign foreigns[] = {
#define SYNC_FOREIGN(names, answer) {names, answer},
#include "tables/sync_foreign.def"
#undef SYNC_FOREIGN
};

/* "sep#" is sep1 and sep2. imapsync takes names in any case of letters. */
static bool is_name(struct slice pattern, struct slice word)
{
    if (pattern.n == 0 || pattern.p[pattern.n - 1] != '#')
        return slice_ieq(pattern, word);
    return word.n == pattern.n && (word.p[word.n - 1] == '1' || word.p[word.n - 1] == '2') &&
           slice_istarts(word, slice_sub(pattern, 0, pattern.n - 1));
}

static const char *answer_to(struct slice word)
{
    for (size_t i = 0; i < sizeof foreigns / sizeof *foreigns; i++) {
        for (const char *at = foreigns[i].names; *at;) {
            size_t n = strcspn(at, " ");

            if (is_name(slice_of(at, n), word))
                return foreigns[i].answer;
            at += n;
            at += strspn(at, " ");
        }
    }
    return NULL;
}

/* What stands behind "no" or "no-"; empty when that does not stand there. */
static struct slice without_no(struct slice word)
{
    if (!slice_istarts(word, SLICE("no")))
        return slice_of(NULL, 0);
    word = slice_sub(word, 2, word.n);
    return word.n > 0 && word.p[0] == '-' ? slice_sub(word, 1, word.n) : word;
}

static bool is_flag(struct slice word)
{
    for (unsigned i = 0; i < SYNC_OPTIONS; i++)
        if (sync_rows[i].kind == SYNC_FLAG && !sync_rows[i].is_each &&
            slice_ieq(word, slice_str(sync_rows[i].name)))
            return true;
    return false;
}

enum { NAME_ROOM = 32, NAMES = 2 * SYNC_OPTIONS };

/* Of the options that the command has. An option of each side is two words. */
static const char *near_to(const char *word, bool is_verify, char room[NAMES][NAME_ROOM])
{
    const char *words[NAMES];
    size_t n = 0;

    for (unsigned i = 0; i < NAMES; i++) {
        const struct sync_row *row = &sync_rows[i / 2];

        if ((is_verify && !row->is_for_verify) || (!row->is_each && i % 2 == 1))
            continue;
        snprintf(room[n], NAME_ROOM, "%s%s", row->name, !row->is_each ? "" : i % 2 ? "2" : "1");
        words[n] = room[n];
        n++;
    }
    return nearest(word, words, n);
}

int sync_unknown(const char *name, bool is_verify, struct err *err)
{
    const struct slice word = slice_str(name), positive = without_no(word);
    char room[NAMES][NAME_ROOM];
    const char *answer = answer_to(word), *near;

    if (!answer && positive.n > 0)
        answer = answer_to(positive);
    if (answer)
        return err_set(err, 0, "imapsync's --%s is not here: %s", name, answer);
    if (positive.n > 0 && is_flag(positive))
        return err_set(err, 0, "--%s is not needed: it is so unless --%.*s is given", name,
                       SLICE_ARG(positive));
    near = near_to(name, is_verify, room);
    if (near)
        return err_set(err, 0, "there is no option --%s; did you mean --%s?", name, near);
    return err_set(err, 0, "there is no option --%s", name);
}
