/* Lines of a map, and who is found in it. Where lines are kept is map_index.c's. */
#include "directory/map.h"

#include "base/regex.h"
#include "directory/map_parts.h"
#include "directory/username.h"
#include "ipc/message.h"

#include <stdlib.h>
#include <string.h>

struct expression {
    struct regex *regex;
    uint32_t place;
};

struct facts_map {
    struct facts_map_params params;
    struct map_index index;
    struct expression *expressions;
    size_t expressions_n;
    struct regex_space *space; /* NULL while there are no expressions */
    size_t users, line;
    bool has_begun; /* what a byte order mark may stand before is over */
    size_t part_n;
    char part[FACTS_MAP_LINE + 4]; /* the line that the last piece has cut, with mark and CR */
};

/* A line taken apart. */
struct row {
    enum map_kind kind;
    struct slice key, facts; /* the key without the sign of its kind */
};

struct facts_map *facts_map_new(const struct facts_map_params *params)
{
    struct facts_map *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->params = *params;
    map_index_init(&m->index, params->salt);
    return m;
}

bool facts_map_free_some(struct facts_map **m)
{
    enum { BLOCKS = 2 }; /* half a millisecond */
    struct facts_map *gone = *m;

    if (!gone)
        return true;
    for (int i = 0; i < BLOCKS; i++) {
        if (map_index_drop(&gone->index))
            continue;
        for (size_t k = 0; k < gone->expressions_n; k++)
            regex_free(&gone->expressions[k].regex);
        free(gone->expressions);
        regex_space_free(&gone->space);
        wipe(gone->part, sizeof gone->part);
        free(gone);
        *m = NULL;
        return true;
    }
    return false;
}

void facts_map_free(struct facts_map **m)
{
    while (!facts_map_free_some(m))
        ;
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    while (s.n > 0 && is_blank(s.p[0]))
        s = slice_sub(s, 1, s.n);
    return s;
}

static int check_bytes(struct slice line, struct err *err)
{
    for (size_t i = 0; i < line.n; i++) {
        const unsigned char c = (unsigned char)line.p[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return err_set(err, 0, "a control character (0x%02x) in the line, as byte %zu", c,
                           i + 1);
    }
    return 0;
}

/* Cuts the key, between '"' or not, off a line that has one. */
static int cut_key(struct slice line, struct slice *out_key, struct slice *out_rest,
                   struct err *err)
{
    size_t n = 0;

    if (line.p[0] != '"') {
        while (n < line.n && !is_blank(line.p[n]))
            n++;
        *out_key = slice_sub(line, 0, n);
        *out_rest = slice_sub(line, n, line.n);
        return 0;
    }
    for (n = 1; n < line.n && line.p[n] != '"';)
        n++;
    if (n == line.n)
        return err_set(err, 0, "the key lacks its second '\"'");
    if (n + 1 < line.n && !is_blank(line.p[n + 1]))
        return err_set(err, 0, "a blank is missing behind the key");
    *out_key = slice_sub(line, 1, n);
    *out_rest = slice_sub(line, n + 1, line.n);
    return 0;
}

/* `name` is the memory of keys that are changed. */
static int read_name(const struct facts_map *m, struct slice key, char name[IPC_USER_MAX],
                     struct slice *out_key, struct err *err)
{
    if (slice_has(key, '"'))
        return err_set(err, 0, "a '\"' in a name; write an expression, as in ~^a\\x22b$");
    if (!username_normalize(m->params.conf, key, name, out_key))
        return err_set(err, 0, "no user has this name: it is empty, or longer than %d bytes",
                       IPC_USER_MAX);
    return 0;
}

static int read_domain(struct slice key, char name[IPC_USER_MAX], struct slice *out_key,
                       struct err *err)
{
    if (key.n == 0 || key.n >= IPC_USER_MAX || slice_has(key, '@') || slice_has(key, '"'))
        return err_set(err, 0, "behind @ there is no domain; write one, as in @example.org");
    for (size_t i = 0; i < key.n; i++)
        name[i] = key.p[i] >= 'A' && key.p[i] <= 'Z' ? (char)(key.p[i] - 'A' + 'a') : key.p[i];
    *out_key = slice_of(name, key.n);
    return 0;
}

static int read_row(const struct facts_map *m, struct slice line, char name[IPC_USER_MAX],
                    struct row *out_row, struct err *err)
{
    struct slice key, rest;

    if (check_bytes(line, err) < 0 || cut_key(line, &key, &rest, err) < 0)
        return -1;
    out_row->facts = trim(rest);
    if (slice_eq(key, SLICE("*"))) {
        out_row->kind = MAP_ALL;
        out_row->key = slice_of(NULL, 0);
        return 0;
    }
    if (key.n > 0 && key.p[0] == '@') {
        out_row->kind = MAP_DOMAIN;
        return read_domain(slice_sub(key, 1, key.n), name, &out_row->key, err);
    }
    if (key.n > 0 && key.p[0] == '~') {
        out_row->kind = MAP_EXPRESSION;
        out_row->key = slice_sub(key, 1, key.n);
        return key.n > 1 ? 0 : err_set(err, 0, "behind ~ there is no expression");
    }
    out_row->kind = MAP_NAME;
    return read_name(m, key, name, &out_row->key, err);
}

static int check_new(const struct facts_map *m, const struct row *row, struct err *err)
{
    static const char *const signs[] = {
        [MAP_NAME] = "", [MAP_DOMAIN] = "@", [MAP_EXPRESSION] = "~", [MAP_ALL] = "*"};
    const struct map_entry *e = map_index_find(&m->index, row->kind, row->key);

    if (!e)
        return 0;
    return err_set(err, 0, "%s%.*s stands %s %u already%s", signs[row->kind],
                   row->key.n < 200 ? (int)row->key.n : 200, row->key.p ? row->key.p : "",
                   m->params.has_items ? "as item" : "on line", e->line,
                   row->kind == MAP_NAME ? " (as names are normalized)" : "");
}

/* Room for one more, and the expression itself; it is the map's when the line is kept. */
static int read_expression(struct facts_map *m, struct slice pattern, struct err *err)
{
    const bool has_no_case = m->params.conf->username_case == USERNAME_LOWER;
    struct expression *more;

    if (m->expressions_n == FACTS_MAP_EXPRESSIONS)
        return err_set(err, 0, "more than %d expressions", FACTS_MAP_EXPRESSIONS);
    if (!m->space)
        m->space = regex_space_new();
    more = reallocarray(m->expressions, m->expressions_n + 1, sizeof *more);
    if (more)
        m->expressions = more;
    if (!more || !m->space)
        return err_set(err, 0, "no memory for the expression");
    more[m->expressions_n].place = 0;
    if (regex_new(pattern, has_no_case, &more[m->expressions_n].regex, err) < 0)
        return -1;
    m->expressions_n++;
    return 0;
}

static int keep(struct facts_map *m, const struct row *row, struct err *err)
{
    const bool is_expression = row->kind == MAP_EXPRESSION;
    uint32_t place;

    if (m->line > UINT32_MAX)
        return err_set(err, 0, "too many lines");
    if (is_expression && read_expression(m, row->key, err) < 0)
        return -1;
    place = map_index_add(&m->index, row->kind, row->key, row->facts, (uint32_t)m->line);
    if (is_expression && place)
        m->expressions[m->expressions_n - 1].place = place;
    else if (is_expression)
        regex_free(&m->expressions[--m->expressions_n].regex);
    if (!place)
        return err_set(err, 0, "no memory for a map of so many lines");
    m->users += row->kind == MAP_NAME;
    return 0;
}

/* `line` is without its end, m->line its number. */
static int read_line(struct facts_map *m, struct slice line, struct err *err)
{
    char name[IPC_USER_MAX];
    struct facts facts;
    struct row row;

    if (line.n > FACTS_MAP_LINE)
        return err_set(err, 0, "a line of more than %d bytes", FACTS_MAP_LINE);
    line = trim(line);
    if (line.n == 0 || line.p[0] == '#')
        return check_bytes(line, err);
    if (read_row(m, line, name, &row, err) < 0 || facts_parse(row.facts, &facts, err) < 0 ||
        check_new(m, &row, err) < 0 || keep(m, &row, err) < 0)
        return -1;
    if (m->params.on_line)
        m->params.on_line(m->params.arg, m->line, &facts);
    return 0;
}

int facts_map_add(struct facts_map *m, struct slice line, struct err *err)
{
    m->line++;
    return read_line(m, line, err);
}

/* --- pieces ----------------------------------------------------------------------------------- */

static struct slice without_mark(struct facts_map *m, struct slice line)
{
    static const char mark[] = "\xef\xbb\xbf";

    if (!m->has_begun && line.n >= 3 && memcmp(line.p, mark, 3) == 0)
        line = slice_sub(line, 3, line.n);
    m->has_begun = true;
    return line;
}

static int read_raw(struct facts_map *m, struct slice line, struct err *err)
{
    m->line++;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    return read_line(m, without_mark(m, line), err);
}

/* Adds to the line that is not complete yet. */
static int put_part(struct facts_map *m, struct slice s, struct err *err)
{
    if (s.n > sizeof m->part - m->part_n) {
        m->line++;
        return err_set(err, 0, "a line of more than %d bytes", FACTS_MAP_LINE);
    }
    if (s.n > 0)
        memcpy(m->part + m->part_n, s.p, s.n);
    m->part_n += s.n;
    return 0;
}

static int read_part(struct facts_map *m, struct err *err)
{
    const size_t n = m->part_n;

    m->part_n = 0;
    return read_raw(m, slice_of(m->part, n), err);
}

int facts_map_step(struct facts_map *m, struct slice piece, struct err *err)
{
    while (piece.n > 0) {
        const char *end = memchr(piece.p, '\n', piece.n);
        const size_t n = end ? (size_t)(end - piece.p) : piece.n;
        const struct slice line = slice_sub(piece, 0, n);

        if (!end)
            return put_part(m, line, err);
        piece = slice_sub(piece, n + 1, piece.n);
        if (m->part_n > 0) {
            if (put_part(m, line, err) < 0 || read_part(m, err) < 0)
                return -1;
        } else if (read_raw(m, line, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int facts_map_finish(struct facts_map *m, struct err *err)
{
    return m->part_n > 0 ? read_part(m, err) : 0;
}

/* --- finding ---------------------------------------------------------------------------------- */

size_t facts_map_line(const struct facts_map *m)
{
    return m->line;
}

size_t facts_map_users(const struct facts_map *m)
{
    return m->users;
}

size_t facts_map_rules(const struct facts_map *m)
{
    return m->index.n - m->users;
}

size_t facts_map_bytes(const struct facts_map *m)
{
    return sizeof *m + map_index_bytes(&m->index) + m->expressions_n * sizeof *m->expressions;
}

static const struct map_entry *find_domain(const struct facts_map *m, struct slice user)
{
    const char *at = user.n > 0 ? memrchr(user.p, '@', user.n) : NULL;
    char domain[IPC_USER_MAX];
    struct slice key;

    if (!at || read_domain(slice_sub(user, (size_t)(at - user.p) + 1, user.n), domain, &key, NULL))
        return NULL;
    return map_index_find(&m->index, MAP_DOMAIN, key);
}

enum facts_map_result facts_map_find(const struct facts_map *m, struct slice user,
                                     struct slice *out_facts)
{
    const struct map_entry *e = map_index_find(&m->index, MAP_NAME, user);

    if (!e)
        e = find_domain(m, user);
    if (!e && m->expressions_n > 0)
        regex_space_begin(m->space);
    for (size_t i = 0; !e && i < m->expressions_n; i++) {
        const struct expression *x = &m->expressions[i];
        const enum regex_result result = regex_match(x->regex, m->space, user);

        if (result == REGEX_FAILED) {
            *out_facts = map_entry_key(map_index_at(&m->index, x->place));
            return FACTS_MAP_FAILED;
        }
        if (result == REGEX_YES)
            e = map_index_at(&m->index, x->place);
    }
    if (!e)
        e = map_index_find(&m->index, MAP_ALL, slice_of(NULL, 0));
    if (!e)
        return FACTS_MAP_UNKNOWN;
    *out_facts = map_entry_facts(e);
    return FACTS_MAP_FOUND;
}
