/* A map: names, domains and expressions with the facts that belong to them, as a file or the
 * setting `rules` has them, read into an index. (base/map.h is another thing.) Pure.
 *
 *     ann@example.org pool=main      a name
 *     @example.com    pool=other     all names of a domain
 *     ~^test[0-9]+$   backend=mail3  all that match
 *     *               disabled=yes   everybody else
 *
 * A line is KEY, blanks (spaces, tabs) and facts (directory/facts.h), of which there may be none. A
 * key that has blanks stands between '"' and holds none; what '@', '~' and '*' mean stays so there,
 * but '#' is a comment only when it is the first thing on a line. Blank lines count for nothing, as
 * do a CR before the line's end and a byte order mark before everything.
 *
 * Names become what username_normalize() makes of them, so that they agree with those that are
 * looked up. Domains have no case. Expressions are matched against the whole normalized name,
 * without regard to case when username_case is lower.
 *
 * Reading takes pieces of any size, cut anywhere, and time in proportion to them. After an error of
 * reading so a map is only fit to be freed.
 */
#ifndef USHER_DIRECTORY_MAP_H
#define USHER_DIRECTORY_MAP_H

#include "base/err.h"
#include "base/slice.h"
#include "conf/conf.h"
#include "directory/facts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FACTS_MAP_LINE = 2048,       /* bytes of a line without its end */
    FACTS_MAP_EXPRESSIONS = 1000 /* each name that is not found may be held against all of them */
};

struct facts_map;

struct facts_map_params {
    const struct conf_global *conf; /* how names are normalized; outlives the map */
    uint64_t salt[2]; /* by chance, so that nobody can choose names whose hashes collide */
    bool has_items;   /* lines are items of a list: mistakes say so */
    /* NULL, or told of each line that was read. */
    void (*on_line)(void *arg, size_t line, const struct facts *facts);
    void *arg;
};

/* NULL when memory is out. */
struct facts_map *facts_map_new(const struct facts_map_params *params);

/* Clears *m; harmless when it is NULL. Its text is wiped. */
void facts_map_free(struct facts_map **m);

/* The same in small steps, for large ones: says whether all is free, and *m NULL. Between the first
 * step and the last there is nothing else to be done with it. */
bool facts_map_free_some(struct facts_map **m);

/* Reads one more piece. The error is what is wrong, without the line's number, and shows no
 * secret: that is facts_map_line(). Lines that are too long, have NUL or other control characters,
 * a key that stood before (also two names that become one), a name that cannot be, an expression
 * or facts that are wrong. */
int facts_map_step(struct facts_map *m, struct slice piece, struct err *err) MUST_CHECK;

/* The text is over. */
int facts_map_finish(struct facts_map *m, struct err *err) MUST_CHECK;

/* One line by itself, without its end, in place of pieces. On error the map is as before. */
int facts_map_add(struct facts_map *m, struct slice line, struct err *err) MUST_CHECK;

/* The line, from 1, that was read last, or is wrong. */
size_t facts_map_line(const struct facts_map *m);

size_t facts_map_users(const struct facts_map *m); /* names */
size_t facts_map_rules(const struct facts_map *m); /* domains, expressions, '*' */
size_t facts_map_bytes(const struct facts_map *m); /* of memory */

enum facts_map_result {
    FACTS_MAP_FOUND,
    FACTS_MAP_UNKNOWN,
    FACTS_MAP_FAILED /* an expression reached its bounds */
};

/* The name's line; else that of its domain (behind the last '@'); else the first expression that
 * matches; else '*'. `user` is normalized. The facts live as long as the map; on failure it is the
 * expression. */
enum facts_map_result facts_map_find(const struct facts_map *m, struct slice user,
                                     struct slice *out_facts);

#endif
