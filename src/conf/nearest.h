/* "Did you mean": the known word that a mistyped one was probably meant to be. */
#ifndef USHER_CONF_NEAREST_H
#define USHER_CONF_NEAREST_H

#include <stddef.h>

/* The one of `words` that the fewest edits (a letter put in, left out, changed, or two neighbours
 * swapped) make of `word`; NULL when none is near: more than a third of its letters are wrong. */
const char *nearest(const char *word, const char *const *words, size_t n);

#endif
