/* Mistakes of meaning in what a pool says of its users and of the health of its backends: what goes
 * together, and what has no effect. */
#include "conf/check.h"
#include "conf/store.h"
#include "conf/value.h"

#include <string.h>

static bool is_changed(const struct check *c, const void *member)
{
    return store_where_changed(c->conf, member) != NULL;
}

/* --- where users go --------------------------------------------------------------------------- */

static void check_place(struct check *c, const struct conf_pool *p)
{
    const struct conf_where *where = where_of(c, &p->place, &p->where);

    if (p->place == PLACE_TRY && p->storage != STORAGE_OWN)
        mistake(c, where,
                "place = try needs storage = own; with shared storage any backend knows all users");
    if (p->place == PLACE_TRY && p->backends_n > CONF_TRIED_MAX)
        mistake(c, where,
                "place = try with %zu backends; %d is the most, since each wrong password is tried "
                "on all of them; use a directory",
                p->backends_n, CONF_TRIED_MAX);
    if (p->place != PLACE_TRY && is_changed(c, &p->try_rate))
        mistake(c, where_of(c, &p->try_rate, &p->where),
                "try_rate has no effect without "
                "place = try");
}

static void check_backup(struct check *c, const struct conf_pool *p)
{
    size_t backups = 0;

    for (size_t i = 0; i < p->backends_n; i++) {
        const struct conf_backend *b = &p->backends[i];

        backups += b->backup;
        if (b->backup && p->storage != STORAGE_SHARED)
            mistake(c, where_of(c, &b->backup, &b->where),
                    "backup = yes needs storage = shared; with own storage no other backend has a "
                    "user's mail");
    }
    if (backups > 0 && backups == p->backends_n)
        mistake(c, &p->where, "all backends of pool \"%s\" are backup; one at least must not be",
                p->title);
}

/* Pools before this one that have the tag. */
static const struct conf_pool *find_tagged(const struct check *c, const struct conf_pool *before,
                                           const char *tag)
{
    for (const struct conf_pool *p = c->conf->pools; p < before; p++) {
        for (size_t i = 0; i < p->tags.n; i++) {
            if (strcmp(p->tags.items[i], tag) == 0)
                return p;
        }
    }
    return NULL;
}

static void check_tags(struct check *c, const struct conf_pool *p)
{
    const struct conf_where *where = where_of(c, &p->tags, &p->where);

    for (size_t i = 0; i < p->tags.n; i++) {
        const char *tag = p->tags.items[i];
        const struct conf_pool *other = find_tagged(c, p, tag);
        char shown[VALUE_SHOWN];

        if (!is_name(tag))
            mistake(c, where,
                    "tags: \"%s\" is none; write letters, digits and . _ -, at most %d, a letter "
                    "or digit first",
                    value_show(tag, shown), CONF_NAME_MAX);
        else if (other)
            mistake(c, where, "tags: \"%s\" is a tag of pool \"%s\" already, which its users get",
                    value_show(tag, shown), other->title);
    }
}

/* --- what clients are told -------------------------------------------------------------------- */

static void check_unavailable_text(struct check *c, const struct conf_pool *p)
{
    const struct conf_where *where = where_of(c, &p->unavailable_text, &p->where);
    const char *text = p->unavailable_text;

    if (text[0] == '[')
        mistake(c, where,
                "unavailable_text begins with [, which clients take for a response code; write "
                "words");
    if (strpbrk(text, "\r\n"))
        mistake(c, where, "unavailable_text has more than one line; write one");
}

static void check_queue(struct check *c, const struct conf_pool *p)
{
    if (is_changed(c, &p->queue_timeout) && p->queue_timeout >= c->conf->global.login_timeout)
        mistake(c, where_of(c, &p->queue_timeout, &p->where),
                "queue_timeout is not shorter than login_timeout, in which a login has to wait and "
                "be done; write a shorter one, or a longer login_timeout");
}

/* --- probes ----------------------------------------------------------------------------------- */

static void check_login(struct check *c, const struct conf_pool *p, bool with_files)
{
    const struct conf_where *where = where_of(c, &p->check, &p->where);

    if (p->check != CHECK_LOGIN) {
        if (p->check_user[0])
            mistake(c, where_of(c, &p->check_user, &p->where),
                    "check_user has no effect without check = login");
        if (p->check_password[0])
            mistake(c, where_of(c, &p->check_password, &p->where),
                    "check_password has no effect without check = login");
        return;
    }
    if (!p->check_user[0])
        mistake(c, where, "check = login needs somebody to log in; write check_user = \"NAME\"");
    if (!p->check_password[0])
        mistake(c, where, "check = login needs a password; write check_password = \"FILE\"");
    else if (with_files)
        check_file(c, p->check_password, "check_password",
                   where_of(c, &p->check_password, &p->where));
}

static void check_probes(struct check *c, const struct conf_pool *p)
{
    const struct {
        const char *name;
        const void *member;
    } settings[] = {
        {"check_interval", &p->check_interval}, {"check_fast_interval", &p->check_fast_interval},
        {"check_timeout", &p->check_timeout},   {"check_rise", &p->check_rise},
        {"check_fall", &p->check_fall},         {"passive_fall", &p->passive_fall},
    };

    for (size_t i = 0; i < sizeof settings / sizeof *settings && p->check == CHECK_OFF; i++) {
        if (is_changed(c, settings[i].member))
            mistake(c, where_of(c, settings[i].member, &p->where),
                    "%s has no effect with check = off", settings[i].name);
    }
    if (is_changed(c, &p->check_fast_interval) && p->check_fast_interval > p->check_interval)
        mistake(c, where_of(c, &p->check_fast_interval, &p->where),
                "check_fast_interval is longer than check_interval");
}

void check_pool_rules(struct check *c, const struct conf_pool *pool, bool with_files)
{
    check_place(c, pool);
    check_backup(c, pool);
    check_tags(c, pool);
    check_unavailable_text(c, pool);
    check_queue(c, pool);
    check_login(c, pool, with_files);
    check_probes(c, pool);
}
