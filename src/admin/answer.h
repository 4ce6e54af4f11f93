/* Answers of the unix door: lines of JSON into a buffer. Values are made by Jansson, whose
 * functions hand on NULL where memory is out, so that it shows where a value is put. */
#ifndef USHER_ADMIN_ANSWER_H
#define USHER_ADMIN_ANSWER_H

#include "base/buf.h"
#include "base/slice.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct answer {
    struct buf *out;
    bool is_failed; /* memory is out, or a line is longer than the buffer may be: nothing more is
                       put, but an error */
};

/* Puts a value, which it takes over, under a name. */
void answer_put(struct answer *a, json_t *object, const char *key, json_t *value);
void answer_append(struct answer *a, json_t *array, json_t *value);

/* Bytes as they are. What is no UTF-8, as a name in a login may be, becomes U+FFFD. */
json_t *answer_bytes(struct slice bytes);

/* "" is null. */
json_t *answer_text(const char *text);

json_t *answer_number(uint64_t n);

/* {"row": ...} and {"done": ...}; they take the object over. */
void answer_row(struct answer *a, json_t *row);
void answer_done(struct answer *a, json_t *done);

/* {"error": text, "code": code}; also after is_failed. Says whether there was memory for it. */
bool answer_error(struct answer *a, const char *code, const char *text);

#endif
