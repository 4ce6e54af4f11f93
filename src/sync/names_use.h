/* Which folder is there for what: special uses (RFC 6154), told by a server or guessed from names
 * that mail programs commonly make. A part of names.c. */
#ifndef USHER_SYNC_NAMES_USE_H
#define USHER_SYNC_NAMES_USE_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* The folders of one side that have a use. */
struct names_uses {
    struct names_use *all;
    size_t n;
};

/* What a name (without its namespace's prefix) commonly is for; empty: nothing is known. */
struct slice names_use_guess(struct slice bare);

/* `use` empty: it is guessed, and nothing happens if it cannot be. `bare` is the end of `name`
 * without the prefix. After some dozens no more are taken, so that a server cannot fill memory. */
int names_uses_add(struct names_uses *u, struct slice use, struct slice name, struct slice bare,
                   struct err *err) MUST_CHECK;

/* The folder for `use`: of those that were told, or else guessed, one that is called `bare`; or
 * else the first told, or that with the name known best. False: there is none. */
bool names_uses_find(const struct names_uses *u, struct slice use, struct slice bare,
                     struct slice *out_name);

void names_uses_done(struct names_uses *u);

#endif
