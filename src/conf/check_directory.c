/* Mistakes of meaning in the settings of directories, and of how users are named there. What rules
 * and maps say is directory/check.h's. */
#include "base/addr.h"
#include "conf/check.h"
#include "conf/store.h"
#include "conf/value.h"

#include <string.h>

/* --- names of users --------------------------------------------------------------------------- */

/* Not empty, without blanks and control characters. */
static bool is_word(const char *text)
{
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return false;
    }
    return text[0] != '\0';
}

/* Mail knows domains that DNS does not, so only what cannot be one is refused. */
static bool is_domain(const char *text)
{
    return is_word(text) && !strpbrk(text, "@*") && text[0] != '.' && strlen(text) <= 255;
}

void check_usernames(struct check *c)
{
    const struct conf_global *g = &c->conf->global;
    const struct conf_list *cut = &g->username_strip_domains;
    const struct slice added = slice_str(g->username_domain);
    char shown[VALUE_SHOWN];

    if (added.n > 0 && !is_domain(g->username_domain))
        mistake(c, where_of(c, &g->username_domain, NULL),
                "username_domain = \"%s\" is no domain; write one as in example.org, without @",
                value_show(g->username_domain, shown));
    for (size_t i = 0; i < cut->n; i++) {
        const bool is_all = strcmp(cut->items[i], "*") == 0;

        if (!is_all && !is_domain(cut->items[i]))
            mistake(c, where_of(c, cut, NULL),
                    "username_strip_domains: \"%s\" is no domain; write one as in example.org, or "
                    "* for all",
                    value_show(cut->items[i], shown));
        if (added.n > 0 && (is_all || slice_ieq(slice_str(cut->items[i]), added)))
            mistake(c, where_of(c, cut, NULL),
                    "username_strip_domains cuts off what username_domain adds; leave one of them "
                    "out");
    }
}

/* --- directories ------------------------------------------------------------------------------ */

static const char *const drivers[] = {
    [DRIVER_STATIC] = "static", [DRIVER_FILE] = "file", [DRIVER_SOCKETMAP] = "socketmap"};

/* Settings that only one driver reads. */
static void check_foreign(struct check *c, const struct conf_directory *d)
{
    const struct {
        const char *name;
        const void *member;
        enum conf_driver driver;
    } settings[] = {
        {"rules", &d->rules, DRIVER_STATIC},
        {"path", &d->path, DRIVER_FILE},
        {"address", &d->address, DRIVER_SOCKETMAP},
        {"map", &d->map, DRIVER_SOCKETMAP},
        {"cache_size", &d->cache_size, DRIVER_SOCKETMAP},
        {"cache_time", &d->cache_time, DRIVER_SOCKETMAP},
        {"cache_unknown_time", &d->cache_unknown_time, DRIVER_SOCKETMAP},
        {"cache_stale_time", &d->cache_stale_time, DRIVER_SOCKETMAP},
    };

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const struct conf_where *where = store_where_changed(c->conf, settings[i].member);

        if (where && settings[i].driver != d->driver)
            mistake(c, where, "%s has no effect with driver = %s; it is for driver = %s",
                    settings[i].name, drivers[d->driver], drivers[settings[i].driver]);
    }
}

static void check_socketmap(struct check *c, const struct conf_directory *d)
{
    const struct conf_where *where = where_of(c, &d->address, &d->where);
    char shown[VALUE_SHOWN];
    struct slice host;
    struct addr addr;
    uint16_t port;

    if (!d->address[0])
        mistake(c, where,
                "directory \"%s\" has no address; write address = \"127.0.0.1:10100\" with that of "
                "the server",
                value_show(d->title, shown));
    else if (addr_split(slice_str(d->address), &host, &port, NULL) || port == 0 ||
             !addr_parse_ip(host, port, &addr))
        mistake(c, where, "address = \"%s\" is no address; write ip:port",
                value_show(d->address, shown));
    if (!is_word(d->map))
        mistake(c, where_of(c, &d->map, &d->where),
                "map = \"%s\" is no name of a map; write one without blanks",
                value_show(d->map, shown));
}

static void check_directory(struct check *c, const struct conf_directory *d)
{
    char shown[VALUE_SHOWN];

    check_title(c, SECTION_DIRECTORY, d->title, &d->where);
    check_foreign(c, d);
    if (d->driver == DRIVER_STATIC && d->rules.n == 0)
        mistake(c, where_of(c, &d->rules, &d->where),
                "directory \"%s\" has no rules; write rules = {\"ann@example.org pool=main\"}",
                value_show(d->title, shown));
    if (d->driver == DRIVER_FILE && !d->path[0])
        mistake(c, where_of(c, &d->path, &d->where),
                "directory \"%s\" has no path; write path = \"users.map\" with the file of the map",
                value_show(d->title, shown));
    if (d->driver == DRIVER_SOCKETMAP)
        check_socketmap(c, d);
}

void check_directories(struct check *c)
{
    const struct conf *conf = c->conf;

    if (conf->directories_n > CONF_DIRECTORIES_MAX)
        mistake(c, NULL, "there are %zu directories; %d is the most", conf->directories_n,
                CONF_DIRECTORIES_MAX);
    for (size_t i = 0; i < conf->directories_n; i++)
        check_directory(c, &conf->directories[i]);
}
