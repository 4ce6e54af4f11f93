/* What a snapshot keeps beside its typed members: its memory, and where each setting was written.
 * Seen by conf/ only.
 */
#ifndef USHER_CONF_STORE_H
#define USHER_CONF_STORE_H

#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"
#include "conf/settings.h"

#include <stddef.h>

/* One setting as the file says it. Kept also when its value is no good, for conf_check(). */
struct conf_note {
    const struct setting *setting;
    const void *object;       /* the struct of the section that it stands in */
    const char *const *texts; /* the values: one, but any number for a LIST */
    size_t texts_n;
    struct conf_where where;
    struct conf_where first; /* line 0, or where the same setting stood before in this section */
};

struct conf_block;

struct conf_origin {
    struct conf_block *blocks; /* all memory that the snapshot points to */
    const char **files;        /* names in the order of first use; conf_where.file is one of them */
    size_t files_n, files_cap;
    struct conf_note *notes; /* in the order of sections */
    size_t notes_n, notes_cap;
};

/* Zeroed memory that lives as long as the snapshot; NULL (and the error) when there is none. */
void *store_alloc(struct conf *conf, size_t n, size_t size, struct err *err) MUST_CHECK;
const char *store_text(struct conf *conf, struct slice s, struct err *err) MUST_CHECK;

/* The name as conf_where.file has it. */
const char *store_file(struct conf *conf, const char *name, struct err *err) MUST_CHECK;

int store_note(struct conf *conf, const struct conf_note *note, struct err *err) MUST_CHECK;

/* Where the setting behind a member (&listener->tls) was written; NULL when it was not. */
const struct conf_where *store_where(const struct conf *conf, const void *member);

/* The same, but NULL also when what was written is the default: conf_print() writes all of them, so
 * they are no mistake where the setting has no effect. */
const struct conf_where *store_where_changed(const struct conf *conf, const void *member);

#endif
