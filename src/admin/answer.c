/* Answers: lines of JSON. */
#include "admin/answer.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* The room that most lines need. */
enum { LINE = 512 };

#define REPLACEMENT "\xef\xbf\xbd"

void answer_put(struct answer *a, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new_nocheck(object, key, value) != 0)
        a->is_failed = true;
}

void answer_append(struct answer *a, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        a->is_failed = true;
}

static json_t *repaired(struct slice bytes)
{
    char *text = malloc(bytes.n * (sizeof REPLACEMENT - 1) + 1);
    json_t *value;
    size_t n = 0;

    if (!text)
        return NULL;
    while (bytes.n > 0) {
        const size_t good = utf8_char(bytes);
        const struct slice next = good ? slice_sub(bytes, 0, good) : SLICE(REPLACEMENT);

        memcpy(text + n, next.p, next.n);
        n += next.n;
        bytes = slice_sub(bytes, good ? good : 1, bytes.n);
    }
    value = json_stringn_nocheck(text, n);
    free(text);
    return value;
}

json_t *answer_bytes(struct slice bytes)
{
    json_t *value = json_stringn(bytes.p ? bytes.p : "", bytes.n);

    return value ? value : repaired(bytes);
}

json_t *answer_text(const char *text)
{
    return text[0] ? answer_bytes(slice_str(text)) : json_null();
}

json_t *answer_number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* `head`, the object, "}" and a line end. Says whether there was room. */
static bool put_line(struct buf *out, const char *head, const json_t *object)
{
    const size_t around = strlen(head) + 2;
    size_t need = LINE, cap, n;

    for (;;) {
        char *room = buf_room_some(out, need, &cap);

        if (!room || cap < around)
            return false;
        n = json_dumpb(object, room + around - 2, cap - around, JSON_COMPACT);
        if (n == 0)
            return false;
        if (n + around <= cap) {
            memcpy(room, head, around - 2);
            memcpy(room + around - 2 + n, "}\n", 2);
            buf_added(out, n + around);
            return true;
        }
        if (need >= n + around)
            return false;
        need = n + around;
    }
}

static void put_object(struct answer *a, const char *head, json_t *object)
{
    if (!a->is_failed && (!object || !put_line(a->out, head, object)))
        a->is_failed = true;
    json_decref(object);
}

void answer_row(struct answer *a, json_t *row)
{
    put_object(a, "{\"row\":", row);
}

void answer_done(struct answer *a, json_t *done)
{
    put_object(a, "{\"done\":", done);
}

bool answer_error(struct answer *a, const char *code, const char *text)
{
    json_t *object = json_object();
    struct answer building = {0};
    char *line;
    bool is_put;

    answer_put(&building, object, "error", answer_text(text));
    answer_put(&building, object, "code", json_string(code));
    line = building.is_failed ? NULL : json_dumps(object, JSON_COMPACT);
    is_put = line && buf_printf(a->out, "%s\n", line) == 0;
    free(line);
    json_decref(object);
    return is_put;
}
