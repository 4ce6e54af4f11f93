/* What differs between two snapshots, in lines for people. It walks the tables of settings, so a
 * new setting is told of without a word here. */
#include "conf/diff.h"

#include "base/utf8.h"
#include "conf/settings.h"
#include "conf/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHOWN = 160,                 /* of a value, with NUL */
    NAMED = 2 * VALUE_SHOWN + 32 /* of a section with what it is in, with NUL */
};

/* Who is told, and how often that was. */
struct telling {
    conf_told *told;
    void *arg;
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void tell(struct telling *t, const char *fmt, ...)
{
    char text[CONF_DIFF_TEXT];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    t->told(t->arg, text);
    t->n++;
}

/* --- values ----------------------------------------------------------------------------------- */

/* A whole character is cut or none. */
static void cut(const char *text, char out[SHOWN])
{
    const size_t all = strlen(text);
    size_t n = 0;

    if (all < SHOWN) {
        memcpy(out, text, all + 1);
        return;
    }
    for (;;) {
        const size_t one = utf8_char(slice_of(text + n, all - n < 4 ? all - n : 4));
        const size_t next = n + (one > 0 ? one : 1);

        if (next > SHOWN - sizeof "...")
            break;
        n = next;
    }
    memcpy(out, text, n);
    memcpy(out + n, "...", sizeof "...");
}

/* Without memory, "?". */
static void show(const struct setting *s, const void *object, char out[SHOWN])
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (f)
        value_print(s, object, f);
    if (!f || fclose(f))
        memcpy(out, "?", sizeof "?");
    else
        cut(text, out);
    free(text);
}

/* Rules may have passwords in them. */
static bool is_secret(enum section_id id, const struct setting *s)
{
    return id == SECTION_DIRECTORY && s->offset == offsetof(struct conf_directory, rules);
}

/* `name`: of the section, or "". */
static void tell_settings(struct telling *t, enum section_id id, const char *name,
                          const void *before, const void *after)
{
    const char *colon = name[0] ? ": " : "";

    for (size_t i = 0; i < conf_sections[id].n; i++) {
        const struct setting *s = &conf_sections[id].settings[i];
        char was[SHOWN], is[SHOWN];

        if (value_is_same(s, before, after))
            continue;
        show(s, before, was);
        show(s, after, is);
        if (is_secret(id, s) || strcmp(was, is) == 0)
            tell(t, "%s%s%s changed", name, colon, s->name);
        else
            tell(t, "%s%s%s %s -> %s", name, colon, s->name, was, is);
    }
}

/* --- sections --------------------------------------------------------------------------------- */

/* All of one kind. */
struct sections {
    const void *first;
    size_t n, size;
};

struct both {
    enum section_id id;
    const char *pool; /* that they are in; NULL: none */
    struct sections before, after;
};

#define SECTIONS_OF(array)                                        \
    {                                                             \
        .first = (array), .n = array##_n, .size = sizeof *(array) \
    }

#define BOTH(section, array)                                                                      \
    {                                                                                             \
        .id = (section), .before = SECTIONS_OF(before->array), .after = SECTIONS_OF(after->array) \
    }

#define TITLE_IS_FIRST(type) \
    _Static_assert(offsetof(struct type, title) == 0, "title_at() takes any kind")
TITLE_IS_FIRST(conf_listener);
TITLE_IS_FIRST(conf_certificate);
TITLE_IS_FIRST(conf_directory);
TITLE_IS_FIRST(conf_pool);
TITLE_IS_FIRST(conf_backend);

static const void *section_at(const struct sections *s, size_t i)
{
    return (const char *)s->first + i * s->size;
}

static const char *title_at(const struct sections *s, size_t i)
{
    return *(const char *const *)section_at(s, i);
}

/* Where the section with this title is; s->n: nowhere. */
static size_t find(const struct sections *s, const char *title)
{
    size_t i = 0;

    while (i < s->n && strcmp(title_at(s, i), title) != 0)
        i++;
    return i;
}

/* As in "backend mail3 (pool main)". */
static void name_section(const struct both *b, const char *title, char out[NAMED])
{
    char shown[VALUE_SHOWN], pool[VALUE_SHOWN];

    value_show(title, shown);
    if (b->pool)
        snprintf(out, NAMED, "%s %s (pool %s)", conf_sections[b->id].name, shown,
                 value_show(b->pool, pool));
    else
        snprintf(out, NAMED, "%s %s", conf_sections[b->id].name, shown);
}

static void tell_sections(struct telling *t, const struct both *b);

/* Either pool may be missing. */
static void tell_backends(struct telling *t, const struct conf_pool *old,
                          const struct conf_pool *new)
{
    static const struct conf_pool none;
    const struct conf_pool *before = old ? old : &none, *after = new ? new : &none;
    struct both backends = BOTH(SECTION_BACKEND, backends);

    backends.pool = new ? new->title : old->title;
    tell_sections(t, &backends);
}

static void tell_sections(struct telling *t, const struct both *b)
{
    char name[NAMED];

    for (size_t i = 0; i < b->after.n; i++) {
        const size_t at = find(&b->before, title_at(&b->after, i));
        const void *old = at < b->before.n ? section_at(&b->before, at) : NULL;

        name_section(b, title_at(&b->after, i), name);
        if (old)
            tell_settings(t, b->id, name, old, section_at(&b->after, i));
        else
            tell(t, "%s: added", name);
        if (b->id == SECTION_POOL)
            tell_backends(t, old, section_at(&b->after, i));
    }
    for (size_t i = 0; i < b->before.n; i++) {
        if (find(&b->after, title_at(&b->before, i)) < b->after.n)
            continue;
        name_section(b, title_at(&b->before, i), name);
        tell(t, "%s: removed", name);
        if (b->id == SECTION_POOL)
            tell_backends(t, section_at(&b->before, i), NULL);
    }
}

/* --- their order ------------------------------------------------------------------------------ */

/* Of those that are in both. */
static void tell_order(struct telling *t, const struct both *b)
{
    bool has_changed = false;
    size_t last = 0;

    for (size_t i = 0; i < b->after.n; i++) {
        const size_t at = find(&b->before, title_at(&b->after, i));

        if (at == b->before.n)
            continue;
        has_changed |= at < last;
        last = at;
    }
    if (has_changed)
        tell(t, "order of directories changed");
}

static void tell_first(struct telling *t, const struct both *b)
{
    char was[VALUE_SHOWN], is[VALUE_SHOWN];

    if (b->before.n == 0 || b->after.n == 0 ||
        strcmp(title_at(&b->before, 0), title_at(&b->after, 0)) == 0)
        return;
    tell(t, "first %s %s -> %s", conf_sections[b->id].name,
         value_show(title_at(&b->before, 0), was), value_show(title_at(&b->after, 0), is));
}

/* --- all of it -------------------------------------------------------------------------------- */

size_t conf_diff(const struct conf *before, const struct conf *after, conf_told *told, void *arg)
{
    const struct both listeners = BOTH(SECTION_LISTENER, listeners);
    const struct both certificates = BOTH(SECTION_CERTIFICATE, certificates);
    const struct both directories = BOTH(SECTION_DIRECTORY, directories);
    const struct both pools = BOTH(SECTION_POOL, pools);
    struct telling t = {.told = told, .arg = arg};

    tell_settings(&t, SECTION_GLOBAL, "", &before->global, &after->global);
    tell_sections(&t, &listeners);
    tell_first(&t, &listeners);
    tell_settings(&t, SECTION_TLS, conf_sections[SECTION_TLS].name, &before->tls, &after->tls);
    tell_sections(&t, &certificates);
    tell_sections(&t, &directories);
    tell_order(&t, &directories);
    tell_sections(&t, &pools);
    tell_first(&t, &pools);
    return t.n;
}

/* What to do instead of changing it; NULL: it may change. */
static const char *instead_of(const struct setting *s)
{
    switch (s->offset) {
    case offsetof(struct conf_global, user):
        return "stop it, give the directory state to the new user, and start it";
    case offsetof(struct conf_global, worker_user):
        return "stop it and start it";
    case offsetof(struct conf_global, state):
        return "stop it, move the directory, and start it";
    default:
        return NULL;
    }
}

size_t conf_diff_refused(const struct conf *before, const struct conf *after, conf_told *told,
                         void *arg)
{
    const struct section *global = &conf_sections[SECTION_GLOBAL];
    struct telling t = {.told = told, .arg = arg};

    for (size_t i = 0; i < global->n; i++) {
        const struct setting *s = &global->settings[i];
        const char *instead = instead_of(s);
        char was[SHOWN], is[SHOWN];

        if (!instead || value_is_same(s, &before->global, &after->global))
            continue;
        show(s, &before->global, was);
        show(s, &after->global, is);
        tell(&t, "%s %s -> %s: cannot change while usher runs; %s", s->name, was, is, instead);
    }
    return t.n;
}
