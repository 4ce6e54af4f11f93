/* Names of folders through sync/names.h: what is expected of one, or of a choice that is wrong. */
#ifndef USHER_TESTS_UNIT_FOLDER_NAMES_WORLD_H
#define USHER_TESTS_UNIT_FOLDER_NAMES_WORLD_H

#include "sync/names.h"

#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct names_space slashes = {{"", 0}, '/'};
static const struct names_space dots = {{"", 0}, '.'};
static const struct names_space below_inbox = {{"INBOX.", 6}, '.'};
static const struct names_space flat = {{"", 0}, 0};

#define WORDS(...)                                                      \
    {                                                                   \
        (const char *const[]){__VA_ARGS__},                             \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *) \
    }

static struct naming *make(const struct sync_choice *choice, struct names_space from,
                           struct names_space to)
{
    struct naming *n = NULL;
    struct err err;

    if (naming_new(choice, from, to, &n, &err) < 0)
        fail_msg("%s", err.text);
    return n;
}

/* What becomes of a name: the other, "-" left, or "!" and the reason. */
static inline const char *map_use(const struct naming *n, const char *from, const char *use)
{
    static char said[NAMES_LONGEST + 600];
    enum names_verdict verdict;
    struct err err = {0};
    struct buf out;

    buf_init(&out, NAMES_LONGEST + 10, false);
    assert_int_equal(buf_puts(&out, ">"), 0);
    verdict = naming_map(n, slice_str(from), slice_str(use), &out, &err);
    if (verdict == NAMES_GO)
        snprintf(said, sizeof said, "%.*s", (int)buf_len(&out) - 1, out.p + out.r + 1);
    else
        snprintf(said, sizeof said, "%s%s", verdict == NAMES_LEFT ? "-" : "!", err.text);
    assert_true(verdict == NAMES_GO ? !err.text[0] : buf_len(&out) == 1);
    assert_true((verdict == NAMES_UNFIT) == (err.text[0] != '\0'));
    buf_release(&out);
    return said;
}

static inline void expect(const struct naming *n, const char *from, const char *to)
{
    const char *said = map_use(n, from, "");

    if (to[0] == '!' ? !strstr(said, to + 1) || said[0] != '!' : strcmp(said, to) != 0)
        fail_msg("\"%s\" becomes \"%s\", not \"%s\"", from, said, to);
}

static inline void expect_one(const struct sync_choice *choice, struct names_space from,
                              struct names_space to, const char *name, const char *other)
{
    struct naming *n = make(choice, from, to);

    expect(n, name, other);
    naming_free(&n);
    assert_null(n);
}

static inline void expect_plain(struct names_space from, struct names_space to, const char *name,
                                const char *other)
{
    expect_one(&(struct sync_choice){0}, from, to, name, other);
}

static inline void refuse(const struct sync_choice *choice, const char *word)
{
    struct naming *n = NULL;
    struct err err;

    assert_int_equal(naming_new(choice, slashes, flat, &n, &err), -1);
    assert_null(n);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
}

#endif
