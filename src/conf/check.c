/* Mistakes of meaning: what the grammar lets pass and nobody can have wanted. All are collected,
 * then told in the order of the files. */
#include "conf/check.h"
#include "base/addr.h"
#include "base/num.h"
#include "conf/conf.h"
#include "conf/store.h"
#include "conf/value.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Were it shorter, a busy machine would pass for a process that hangs. */
enum { WATCHDOG_LEAST_MS = 1000 };

/* A listener's address, taken apart. */
struct endpoint {
    struct addr addr; /* with the port; family AF_UNSPEC: every address */
    uint16_t port;
};

static bool keep(struct check *c, const struct conf_where *where, const char *text)
{
    const struct conf_origin *o = c->conf->origins;
    size_t file = 0;
    char *copy;

    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 16;
        void *more = reallocarray(c->mistakes, cap, sizeof *c->mistakes);

        if (!more)
            return false;
        c->mistakes = more;
        c->cap = cap;
    }
    copy = slice_dup(slice_str(text));
    if (!copy)
        return false;
    while (file < o->files_n && o->files[file] != where->file)
        file++;
    c->mistakes[c->n] =
        (struct mistake){.where = *where, .file = file, .found = c->n, .text = copy};
    c->n++;
    return true;
}

void mistake(struct check *c, const struct conf_where *where, const char *fmt, ...)
{
    struct conf_where nowhere = {.file = "", .line = 0};
    char text[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->count++;
    /* What the file lacks as a whole belongs to its name. */
    if (c->conf->origins->files_n > 0)
        nowhere.file = c->conf->origins->files[0];
    if (!where || where->line == 0)
        where = &nowhere;
    /* Without memory the order is given up, not the message. */
    if (!keep(c, where, text))
        c->report(c->arg, where, text);
}

static int compare_mistakes(const void *one, const void *other)
{
    const struct mistake *a = one, *b = other;

    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->where.line != b->where.line)
        return a->where.line < b->where.line ? -1 : 1;
    return a->found < b->found ? -1 : 1;
}

const struct conf_where *where_of(const struct check *c, const void *member,
                                  const struct conf_where *section)
{
    return conf_where_of(c->conf, member, section);
}

/* Each value by itself: is it one of its kind, and is it the only one? */
static void check_notes(struct check *c)
{
    const struct conf_origin *o = c->conf->origins;

    for (size_t i = 0; i < o->notes_n; i++) {
        const struct conf_note *note = &o->notes[i];
        union value value;
        struct err err;

        if (note->first.line)
            mistake(c, &note->where, "%s stands twice, at %s:%u too; write it once",
                    note->setting->name, note->first.file, note->first.line);
        for (size_t j = 0; j < note->texts_n; j++)
            if (value_parse(note->setting, note->texts[j], &value, &err))
                mistake(c, &note->where, "%s", err.text);
    }
}

void check_required(struct check *c, enum section_id id, const void *object, const char *title,
                    const struct conf_where *where)
{
    char shown[VALUE_SHOWN];

    for (size_t i = 0; i < conf_sections[id].n; i++) {
        const struct setting *s = &conf_sections[id].settings[i];

        if (!s->def && **(const char *const *)setting_value(s, object) == '\0')
            mistake(c, where, "%s \"%s\" has no %s; write %s = ...", conf_sections[id].name,
                    value_show(title, shown), s->name, s->name);
    }
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_name(const char *text)
{
    const size_t n = strlen(text);

    if (n == 0 || n > CONF_NAME_MAX || !is_alnum(text[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_alnum(text[i]) && !strchr("._-", text[i]))
            return false;
    return true;
}

void check_title(struct check *c, enum section_id id, const char *title,
                 const struct conf_where *where)
{
    char shown[VALUE_SHOWN];

    if (!is_name(title))
        mistake(c, where,
                "\"%s\" is no name for a %s; write letters, digits and . _ -, at most %d, "
                "a letter or digit first",
                value_show(title, shown), conf_sections[id].name, CONF_NAME_MAX);
}

/* A label of RFC 1123, with underscores as some networks use them. */
static bool is_dns_label(struct slice label)
{
    if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!is_alnum(label.p[i]) && label.p[i] != '_' && label.p[i] != '-')
            return false;
    return true;
}

bool is_dns_name(struct slice name)
{
    struct slice label;
    uint64_t number;
    size_t from = 0;

    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > 253)
        return false;
    do {
        const char *dot = memchr(name.p + from, '.', name.n - from);

        label = slice_sub(name, from, dot ? (size_t)(dot - name.p) : name.n);
        if (!is_dns_label(label))
            return false;
        from += label.n + 1;
    } while (from < name.n);
    return from == name.n + 1 && !num_parse(label, UINT64_MAX, &number);
}

void check_file(struct check *c, const char *path, const char *what, const struct conf_where *where)
{
    char shown[VALUE_SHOWN];
    struct stat st;

    if (stat(path, &st) || access(path, R_OK))
        mistake(c, where, "cannot read %s %s: %s", what, value_show(path, shown), strerror(errno));
    else if (!S_ISREG(st.st_mode))
        mistake(c, where, "%s %s is not a file", what, value_show(path, shown));
}

static void check_workers(struct check *c)
{
    const char *workers = c->conf->global.workers;
    char shown[VALUE_SHOWN];
    uint64_t n;

    if (strcmp(workers, "auto") == 0 ||
        (num_parse(slice_str(workers), CONF_WORKERS_MAX, &n) && n > 0))
        return;
    mistake(c, where_of(c, &c->conf->global.workers, NULL),
            "workers = \"%s\": write a number from 1 to %d, or auto", value_show(workers, shown),
            CONF_WORKERS_MAX);
}

/* Whom a process becomes; `user` is a member of conf->global. Empty is the same as another, or a
 * mistake that is told elsewhere. */
static void check_user(struct check *c, const char *const *user)
{
    const struct passwd *pw;
    char shown[VALUE_SHOWN];

    if (geteuid() != 0 || !(*user)[0])
        return;
    pw = getpwnam(*user);
    if (!pw)
        mistake(c, where_of(c, user, NULL), "there is no user \"%s\"; make one or write another",
                value_show(*user, shown));
    else if (pw->pw_uid == 0)
        mistake(c, where_of(c, user, NULL), "user \"%s\" is root; write another",
                value_show(*user, shown));
}

/* May be missing, then it is made. */
static void check_state(struct check *c)
{
    const char *state = c->conf->global.state;
    const struct conf_where *where = where_of(c, &c->conf->global.state, NULL);
    char shown[VALUE_SHOWN];
    struct stat st;

    if (stat(state, &st)) {
        if (errno != ENOENT)
            mistake(c, where, "state %s cannot be used: %s", value_show(state, shown),
                    strerror(errno));
    } else if (!S_ISDIR(st.st_mode)) {
        mistake(c, where, "state %s is not a directory; write one", value_show(state, shown));
    }
}

static void check_global(struct check *c, bool with_files)
{
    const struct conf_global *g = &c->conf->global;

    check_workers(c);
    check_nameservers(c);
    check_networks(c, &c->conf->global.trusted_networks, "trusted_networks");
    check_networks(c, &c->conf->global.penalty_exempt, "penalty_exempt");
    if (!g->user[0])
        mistake(c, where_of(c, &g->user, NULL), "user is empty; write the name of a user");
    if (!g->state[0])
        mistake(c, where_of(c, &g->state, NULL), "state is empty; write a directory");
    if (g->watchdog > 0 && g->watchdog < WATCHDOG_LEAST_MS)
        mistake(c, where_of(c, &g->watchdog, NULL),
                "watchdog is shorter than 1s; write 1s or more, or 0s for never");
    check_usernames(c);
    check_admin(c, with_files);
    if (!with_files)
        return;
    check_user(c, &c->conf->global.user);
    check_user(c, &c->conf->global.worker_user);
    if (g->state[0])
        check_state(c);
}

static bool is_wildcard(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

static bool is_loopback(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

static bool is_same_ip(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) == 0;
}

/* Says whether the kernel would give one's connections to the other. Port 0 is never the same. */
static bool collide(const struct endpoint *a, const struct endpoint *b)
{
    if (a->port != b->port || a->port == 0)
        return false;
    if (!addr_is_set(&a->addr) || !addr_is_set(&b->addr))
        return true;
    if (a->addr.sa.sa_family != b->addr.sa.sa_family)
        return false;
    return is_wildcard(&a->addr) || is_wildcard(&b->addr) || is_same_ip(&a->addr, &b->addr);
}

static int parse_listen(const char *text, struct endpoint *out_endpoint, struct err *err)
{
    struct endpoint e = {0};
    struct slice host;

    if (addr_split(slice_str(text), &host, &e.port, err))
        return -1;
    if (!slice_eq(host, SLICE("*")) && !addr_parse_ip(host, e.port, &e.addr))
        return err_set(err, 0, "\"%.*s\" is no address; write ip:port, or *:port for every address",
                       SLICE_ARG(host));
    *out_endpoint = e;
    return 0;
}

static const struct conf_pool *find_pool(const struct conf *conf, const char *title)
{
    for (size_t i = 0; i < conf->pools_n; i++)
        if (strcmp(conf->pools[i].title, title) == 0)
            return &conf->pools[i];
    return NULL;
}

static void check_listener(struct check *c, const struct conf_listener *l, bool with_files)
{
    char shown[VALUE_SHOWN];

    check_title(c, SECTION_LISTENER, l->title, &l->where);
    check_required(c, SECTION_LISTENER, l, l->title, &l->where);
    if (l->pool[0] && !find_pool(c->conf, l->pool))
        mistake(c, where_of(c, &l->pool, &l->where),
                "there is no pool \"%s\"; write pool \"%s\" { ... } or the name of another",
                value_show(l->pool, shown), shown);
    if (l->tls == LISTENER_TLS_OFF && !l->auth_allow_cleartext)
        mistake(c, where_of(c, &l->tls, &l->where),
                "nobody can log in here: tls is off and passwords are refused without it; write "
                "tls = starttls, or auth_allow_cleartext = yes");
    if (l->proxy && c->conf->global.trusted_networks.n == 0)
        mistake(c, where_of(c, &l->proxy, &l->where),
                "nobody can connect here: proxy = yes, and there are no trusted_networks; write "
                "trusted_networks = {\"192.0.2.0/24\"} with the proxy's address");
    check_listener_tls(c, l, with_files);
}

/* The addresses that are good, at the index of their listener; others have port 0. */
static void check_endpoints(struct check *c, struct endpoint *endpoints)
{
    const struct conf *conf = c->conf;

    for (size_t i = 0; i < conf->listeners_n; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        const struct conf_where *where = where_of(c, &l->address, &l->where);
        struct err err;

        endpoints[i] = (struct endpoint){0};
        if (l->address[0] && parse_listen(l->address, &endpoints[i], &err))
            mistake(c, where, "address = %s", err.text);
        for (size_t j = 0; j < i; j++)
            if (collide(&endpoints[i], &endpoints[j]))
                mistake(c, where,
                        "listener %s at %s:%u has this address and port already; write "
                        "another port",
                        conf->listeners[j].title, conf->listeners[j].where.file,
                        conf->listeners[j].where.line);
    }
}

static void check_listeners(struct check *c, struct endpoint *endpoints, bool with_files)
{
    const struct conf *conf = c->conf;

    if (conf->listeners_n == 0)
        mistake(c, NULL, "there is no listener; write listener imap { address = \"*:143\" }");
    for (size_t i = 0; i < conf->listeners_n; i++)
        check_listener(c, &conf->listeners[i], with_files);
    if (conf->listeners_n > CONF_LISTENERS_MAX)
        mistake(c, NULL, "there are %zu listeners; %d is the most", conf->listeners_n,
                CONF_LISTENERS_MAX);
    else
        check_endpoints(c, endpoints);
    check_certificates(c, with_files);
}

/* A backend that is one of our own listeners would make us our own client, for ever. */
static void check_loop(struct check *c, const struct addr *addr, const struct endpoint *endpoints,
                       const struct conf_where *where)
{
    if (c->conf->listeners_n > CONF_LISTENERS_MAX)
        return;
    for (size_t i = 0; i < c->conf->listeners_n; i++) {
        const struct endpoint backend = {*addr, addr_port(addr)};
        const bool is_ours = endpoints[i].port == backend.port && backend.port != 0 &&
                             (is_same_ip(&endpoints[i].addr, addr) ||
                              (is_loopback(addr) && collide(&endpoints[i], &backend)));

        if (is_ours)
            mistake(c, where, "this is our own listener %s; write the address of the hidden server",
                    c->conf->listeners[i].title);
    }
}

static void check_backend_address(struct check *c, const struct conf_backend *b,
                                  const struct endpoint *endpoints)
{
    const struct conf_where *where = where_of(c, &b->address, &b->where);
    char shown[VALUE_SHOWN];
    struct slice host;
    struct addr addr;
    uint16_t port;
    struct err err;

    if (addr_split(slice_str(b->address), &host, &port, &err)) {
        mistake(c, where, "address = %s", err.text);
        return;
    }
    if (port == 0)
        mistake(c, where,
                "address = \"%s\": port 0 cannot be connected to; write that of the "
                "server, by custom 10143",
                value_show(b->address, shown));
    if (addr_parse_ip(host, port, &addr)) {
        if (is_wildcard(&addr))
            mistake(c, where, "address = \"%s\" is no one's; write the address of the server",
                    value_show(b->address, shown));
        check_loop(c, &addr, endpoints, where);
    } else if (!is_dns_name(host)) {
        mistake(c, where,
                "address = \"%s\": the host is neither an address nor a name; write "
                "host:port",
                value_show(b->address, shown));
    }
}

static void check_pool(struct check *c, const struct conf_pool *pool,
                       const struct endpoint *endpoints, bool with_files)
{
    char shown[VALUE_SHOWN];
    bool has_weight = false;

    check_title(c, SECTION_POOL, pool->title, &pool->where);
    check_required(c, SECTION_POOL, pool, pool->title, &pool->where);
    check_pool_rules(c, pool, with_files);
    for (size_t i = 0; i < pool->backends_n; i++) {
        const struct conf_backend *b = &pool->backends[i];

        check_title(c, SECTION_BACKEND, b->title, &b->where);
        check_required(c, SECTION_BACKEND, b, b->title, &b->where);
        if (b->address[0])
            check_backend_address(c, b, endpoints);
        check_backend_tls(c, b, with_files);
        check_backend_lists(c, b);
        has_weight = has_weight || b->weight > 0;
    }
    if (pool->backends_n == 0)
        mistake(c, &pool->where,
                "pool \"%s\" has no backend; write backend NAME { address = \"host:10143\" } in it",
                value_show(pool->title, shown));
    else if (!has_weight)
        mistake(c, &pool->where,
                "all weights of pool \"%s\" are 0, so nobody can be placed in it; "
                "write weight = 1 for one backend at least",
                value_show(pool->title, shown));
}

static int compare_backends(const void *one, const void *other)
{
    const struct conf_backend *a = *(const struct conf_backend *const *)one;
    const struct conf_backend *b = *(const struct conf_backend *const *)other;
    const int order = strcmp(a->title, b->title);

    /* Addresses tell nothing; of the same name, sort by line so that the later one is blamed. */
    return order ? order : (a->where.line > b->where.line) - (a->where.line < b->where.line);
}

/* Logs and operators name a backend without its pool. */
static void check_backend_titles(struct check *c, size_t n)
{
    const struct conf *conf = c->conf;
    const struct conf_backend **all = calloc(n + 1, sizeof *all);
    size_t filled = 0;
    char shown[VALUE_SHOWN];

    if (!all) {
        mistake(c, NULL, "no memory to compare the names of the backends");
        return;
    }
    for (size_t i = 0; i < conf->pools_n; i++)
        for (size_t j = 0; j < conf->pools[i].backends_n; j++)
            all[filled++] = &conf->pools[i].backends[j];
    qsort(all, n, sizeof *all, compare_backends);
    for (size_t i = 1; i < n; i++)
        if (strcmp(all[i]->title, all[i - 1]->title) == 0)
            mistake(c, &all[i]->where,
                    "the name \"%s\" is taken by the backend at %s:%u; write another",
                    value_show(all[i]->title, shown), all[i - 1]->where.file,
                    all[i - 1]->where.line);
    free(all);
}

static void check_pools(struct check *c, const struct endpoint *endpoints, bool with_files)
{
    const struct conf *conf = c->conf;
    size_t backends = 0;

    if (conf->pools_n == 0)
        mistake(c, NULL,
                "there is no pool; write pool main { backend NAME { address = \"host:10143\" } }");
    if (conf->pools_n > CONF_POOLS_MAX)
        mistake(c, NULL, "there are %zu pools; %d is the most", conf->pools_n, CONF_POOLS_MAX);
    for (size_t i = 0; i < conf->pools_n; i++) {
        check_pool(c, &conf->pools[i], endpoints, with_files);
        backends += conf->pools[i].backends_n;
    }
    if (backends > CONF_BACKENDS_MAX)
        mistake(c, NULL, "there are %zu backends; %d is the most", backends, CONF_BACKENDS_MAX);
    check_backend_titles(c, backends);
}

unsigned conf_check(const struct conf *conf, bool with_files, conf_report *report, void *arg)
{
    struct check c = {.conf = conf, .report = report, .arg = arg};
    struct endpoint endpoints[CONF_LISTENERS_MAX];

    memset(endpoints, 0, sizeof endpoints);
    check_notes(&c);
    check_global(&c, with_files);
    check_listeners(&c, endpoints, with_files);
    check_directories(&c);
    check_pools(&c, endpoints, with_files);
    if (c.n > 0)
        qsort(c.mistakes, c.n, sizeof *c.mistakes, compare_mistakes);
    for (size_t i = 0; i < c.n; i++) {
        report(arg, &c.mistakes[i].where, c.mistakes[i].text);
        free(c.mistakes[i].text);
    }
    free(c.mistakes);
    return c.count;
}
