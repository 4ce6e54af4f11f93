/* From files to the one text that libconfuse is given, and from its lines back to the files'.
 *
 * libconfuse 3.3 reads leniently: it counts lines wrongly after comments, drops characters that it
 * does not know, ends texts at a NUL, takes a section for finished where the file ends, and puts
 * nothing in the place of an unset variable. So the characters are looked at here first. What
 * passes is copied line by line, comments left out and included files put in; quotes are put around
 * words that need them. Meaning is not looked at: words and their order are libconfuse's.
 *
 * Seen by conf/ only.
 */
#ifndef USHER_CONF_SOURCE_H
#define USHER_CONF_SOURCE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes of all files together, and how deep they may include one another. */
enum { SOURCE_MAX = 4 * 1024 * 1024, SOURCE_DEPTH = 8 };

/* Lines of the text from `line` on are those of `where`'s file from its line on. */
struct source_part {
    unsigned line;
    struct conf_where where;
};

struct source {
    struct conf *conf; /* keeps the files' names */
    struct buf text;
    bool is_file;  /* read from a file, so that relative paths are relative to it */
    unsigned line; /* of the text's end */
    size_t read;   /* bytes of files so far */
    struct source_part *parts;
    size_t parts_n, parts_cap;
};

void source_init(struct source *src, struct conf *conf);
void source_done(struct source *src);

/* Reads a file and what it includes. The error is "file:line: what", or without line if the file
 * cannot be read. */
int source_read(struct source *src, const char *path, struct err *err) MUST_CHECK;

/* The same from memory, where include is refused: whoever loads a text opens no files. */
int source_read_text(struct source *src, struct slice text, const char *name,
                     struct err *err) MUST_CHECK;

/* Where a line of the text was written. */
struct conf_where source_where(const struct source *src, unsigned line);

#endif
