/* A snapshot's memory, and its notes of where settings were written. */
#include "conf/store.h"

#include "conf/value.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct conf_block {
    struct conf_block *next;
    _Alignas(max_align_t) char bytes[];
};

void *store_alloc(struct conf *conf, size_t n, size_t size, struct err *err)
{
    struct conf_block *block = NULL;
    size_t bytes;

    if (!__builtin_mul_overflow(n, size, &bytes) &&
        !__builtin_add_overflow(bytes, sizeof *block, &bytes))
        block = calloc(1, bytes);
    if (!block) {
        err_set(err, ENOMEM, "no memory for the configuration");
        return NULL;
    }
    block->next = conf->origins->blocks;
    conf->origins->blocks = block;
    return block->bytes;
}

const char *store_text(struct conf *conf, struct slice s, struct err *err)
{
    char *copy = store_alloc(conf, s.n + 1, 1, err);

    if (copy && s.n)
        memcpy(copy, s.p, s.n);
    return copy;
}

/* Makes room for one more entry of an array. */
static void *grown(void *array, size_t n, size_t *cap, size_t size, struct err *err)
{
    size_t wanted = *cap ? *cap * 2 : 16;
    void *bigger;

    if (n < *cap)
        return array;
    bigger = reallocarray(array, wanted, size);
    if (!bigger) {
        err_set(err, ENOMEM, "no memory for the configuration");
        return NULL;
    }
    *cap = wanted;
    return bigger;
}

const char *store_file(struct conf *conf, const char *name, struct err *err)
{
    struct conf_origin *o = conf->origins;
    const char *copy;
    void *files;

    for (size_t i = 0; i < o->files_n; i++)
        if (strcmp(o->files[i], name) == 0)
            return o->files[i];
    files = grown(o->files, o->files_n, &o->files_cap, sizeof *o->files, err);
    if (!files)
        return NULL;
    o->files = files;
    copy = store_text(conf, slice_str(name), err);
    if (copy)
        o->files[o->files_n++] = copy;
    return copy;
}

int store_note(struct conf *conf, const struct conf_note *note, struct err *err)
{
    struct conf_origin *o = conf->origins;
    void *notes = grown(o->notes, o->notes_n, &o->notes_cap, sizeof *o->notes, err);

    if (!notes)
        return -1;
    o->notes = notes;
    o->notes[o->notes_n++] = *note;
    return 0;
}

static const struct conf_note *find_note(const struct conf *conf, const void *member)
{
    const struct conf_origin *o = conf->origins;

    for (size_t i = 0; i < o->notes_n; i++)
        if (setting_value(o->notes[i].setting, o->notes[i].object) == member)
            return &o->notes[i];
    return NULL;
}

const struct conf_where *store_where(const struct conf *conf, const void *member)
{
    const struct conf_note *note = find_note(conf, member);

    return note ? &note->where : NULL;
}

const struct conf_where *store_where_changed(const struct conf *conf, const void *member)
{
    const struct conf_note *note = find_note(conf, member);

    return note && !value_is_default(note->setting, note->object) ? &note->where : NULL;
}

const struct conf_where *conf_where_of(const struct conf *conf, const void *member,
                                       const struct conf_where *section)
{
    const struct conf_where *where = store_where(conf, member);

    return where ? where : section;
}

void conf_free(struct conf **conf)
{
    struct conf *c = *conf;

    if (!c)
        return;
    while (c->origins && c->origins->blocks) {
        struct conf_block *block = c->origins->blocks;

        c->origins->blocks = block->next;
        free(block);
    }
    if (c->origins) {
        free(c->origins->files);
        free(c->origins->notes);
    }
    free(c->origins);
    free(c);
    *conf = NULL;
}
