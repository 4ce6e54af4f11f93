/* What the files of conf_check() share. Seen by conf/ only. */
#ifndef USHER_CONF_CHECK_H
#define USHER_CONF_CHECK_H

#include "conf/conf.h"

#include <stddef.h>

struct mistake {
    struct conf_where where;
    size_t file;  /* its index, for the order */
    size_t found; /* the how manyth, so that sorting keeps the order within a line */
    char *text;
};

struct check {
    const struct conf *conf;
    conf_report *report;
    void *arg;
    struct mistake *mistakes;
    size_t n, cap;
    unsigned count;
};

/* Keeps one mistake for the report. `where` NULL: the file as a whole. */
__attribute__((format(printf, 3, 4))) void mistake(struct check *c, const struct conf_where *where,
                                                   const char *fmt, ...);

/* Where a member was written, or else its section. */
const struct conf_where *where_of(const struct check *c, const void *member,
                                  const struct conf_where *section);

/* check_lists.c: settings that are lists of addresses, networks or pins. */
void check_nameservers(struct check *c);
void check_trusted_networks(struct check *c);
void check_backend_lists(struct check *c, const struct conf_backend *b);

#endif
