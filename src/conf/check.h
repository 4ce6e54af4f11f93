/* What the files of conf_check() share. Seen by conf/ only. */
#ifndef USHER_CONF_CHECK_H
#define USHER_CONF_CHECK_H

#include "base/slice.h"
#include "conf/conf.h"
#include "conf/settings.h"

#include <stdbool.h>
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

/* Settings of a section that must be given. All of them are texts. */
void check_required(struct check *c, enum section_id id, const void *object, const char *title,
                    const struct conf_where *where);

/* Whether the name of a section is one. */
void check_title(struct check *c, enum section_id id, const char *title,
                 const struct conf_where *where);

/* Of letters, digits and . _ -, as titles are. */
bool is_name(const char *text);

/* A file that must be readable now. */
void check_file(struct check *c, const char *path, const char *what,
                const struct conf_where *where);

/* Whether DNS could know it. The last label is not a number, as 10.0.0.300 is no name. */
bool is_dns_name(struct slice name);

/* check_tls.c */
void check_listener_tls(struct check *c, const struct conf_listener *l, bool with_files);
void check_certificates(struct check *c, bool with_files);
void check_backend_tls(struct check *c, const struct conf_backend *b, bool with_files);

/* check_admin.c: the unix door. */
void check_admin(struct check *c, bool with_files);

/* check_directory.c */
void check_usernames(struct check *c);
void check_directories(struct check *c);

/* check_pool.c: what a pool says of its users, its queue and its probes. */
void check_pool_rules(struct check *c, const struct conf_pool *pool, bool with_files);

/* check_lists.c: settings that are lists of addresses, networks or pins. */
void check_nameservers(struct check *c);
void check_networks(struct check *c, const struct conf_list *list, const char *name);
void check_backend_lists(struct check *c, const struct conf_backend *b);

#endif
