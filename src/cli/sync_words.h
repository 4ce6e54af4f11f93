/* The words of a command line against the rows of tables/sync_options.def: which options were given
 * and with what values. What they mean together is sync_options.c's. */
#ifndef USHER_CLI_SYNC_WORDS_H
#define USHER_CLI_SYNC_WORDS_H

#include "base/err.h"
#include "base/slice.h"
#include "cli/sync_options.h"
#include "sync/sync.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sync_kind {
    SYNC_FLAG,
    SYNC_TEXT,
    SYNC_LIST,
    SYNC_NUMBER,
    SYNC_SIZE,
    SYNC_SECONDS,
    SYNC_DAYS,
    SYNC_CHOICE
};

/* The columns are described in the table. */
struct sync_row {
    const char *name;
    bool is_each;
    enum sync_kind kind;
    const char *value, *fallback, *range;
    bool is_for_verify;
};

extern const struct sync_row sync_rows[SYNC_OPTIONS];

/* Of an option of EACH side [0] is FROM's and [1] TO's; of others [0] is it. */
struct sync_given {
    bool is_verify, asks_help;
    const char *urls[2]; /* FROM and TO, as they stand in argv */
    size_t urls_n;
    struct {
        bool is_given;
        const char *text; /* in argv; not of a LIST, and not of a password */
        uint64_t number;  /* of the kinds that are kept as numbers; else the default */
    } values[SYNC_OPTIONS][2];
    struct sync_words lists[SYNC_OPTIONS]; /* their items are of malloc(), as pointers into argv */
    struct slice passwords[2];             /* see struct sync_account */
};

/* argv[0] is the command. Whatever it returns, sync_given_free() is to be called. */
int sync_given_read(struct sync_given *g, int argc, char **argv, struct err *err) MUST_CHECK;
void sync_given_free(struct sync_given *g);

/* What is said of an option that there is not: sync_foreign.c. Always -1. */
int sync_unknown(const char *name, bool is_verify, struct err *err) MUST_CHECK;

/* A text of the command line fit for a message: printable, and no longer than a line. Returns
 * `out`. */
enum { SYNC_SHOWN = 72 };
const char *sync_show_word(const char *text, char out[SYNC_SHOWN]);

#endif
