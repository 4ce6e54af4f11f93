/* Values of settings: from text to the member's type and back. LIST has its items' texts and does
 * not pass here. Seen by conf/ only.
 */
#ifndef USHER_CONF_VALUE_H
#define USHER_CONF_VALUE_H

#include "base/err.h"
#include "base/slice.h"
#include "conf/settings.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One value of any kind; what setting_member() points to begins like it. */
union value {
    const char *str; /* STR, PATH: the text itself, not a copy */
    bool flag;
    uint32_t u32; /* INT, DURATION in ms */
    uint64_t u64; /* SIZE in bytes */
    uint8_t choice;
};

/* The error says what is wrong with the text, and what to write instead. */
int value_parse(const struct setting *s, const char *text, union value *out_value,
                struct err *err) MUST_CHECK;

/* Writes the value to the setting's member of `object`. */
void value_store(const struct setting *s, const union value *value, void *object);

/* Whether the member holds what it does when the file says nothing. Of a list with a default it
 * says no, though it may be that. */
bool value_is_default(const struct setting *s, const void *object);

/* Whether the setting's members of two objects hold the same; of lists, in the same order. */
bool value_is_same(const struct setting *s, const void *object, const void *other);

/* The word of the setting's member; of a CHOICE only. */
struct slice value_word(const struct setting *s, const void *object);

/* Prints the member's value as the file would say it, LIST too. Mistakes stay in `out`. */
void value_print(const struct setting *s, const void *object, FILE *out);

/* Prints a text in double quotes, such that loading it gives the same bytes. */
void value_print_text(const char *text, FILE *out);

/* Text of the file made fit for a message: printable, not longer than a line. Returns `out`. */
enum { VALUE_SHOWN = 72 };
const char *value_show(const char *text, char out[VALUE_SHOWN]);

#endif
