/* libconfuse's part: the grammar, and its tree turned into the snapshot.
 *
 * Each setting is a pointer option, so that a value can keep its line; what it means is for
 * value.c. The values of wrong form stay, for conf_check() to report all of them.
 */
#include "conf/parse.h"

#include "conf/nearest.h"
#include "conf/settings.h"
#include "conf/store.h"
#include "conf/value.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A section's first option. Its default is read when libconfuse makes the section, which is the one
 * moment to learn where the section begins. No word of a file can be it: only quotes let a bar
 * pass, and on_begin() refuses those. */
#define BEGIN_OPTION "|"

enum { WORDS_MAX = 64 }; /* that a section knows */

/* A value as the file has it; `first`: the line of the same setting before it, or 0. */
struct raw {
    unsigned line, first;
    char text[];
};

/* libconfuse hands its callbacks nothing of ours; this is set while it runs. */
static struct parse {
    const struct source *src;
    struct err *err;
    bool has_failed;
} parse;

/* libconfuse's options, for the time of one parse_source(). */
struct grammar {
    cfg_opt_t global[WORDS_MAX], listener[WORDS_MAX], tls[WORDS_MAX], certificate[WORDS_MAX],
        directory[WORDS_MAX], pool[WORDS_MAX], backend[WORDS_MAX];
    char begin[2]; /* the default of BEGIN_OPTION, anything */
};

/* The first error is the cause; the others only follow from it. */
__attribute__((format(printf, 2, 3))) static void fail(const cfg_t *cfg, const char *fmt, ...)
{
    const struct conf_where where = source_where(parse.src, (unsigned)cfg->line);
    char text[400];
    va_list ap;

    if (parse.has_failed)
        return;
    parse.has_failed = true;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    err_set(parse.err, 0, "%s:%u: %s", where.file, where.line, text);
}

/* Adds to a text as far as there is room. */
__attribute__((format(printf, 3, 4))) static void add(char *text, size_t size, const char *fmt, ...)
{
    const size_t used = strlen(text);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text + used, size - used, fmt, ap);
    va_end(ap);
}

/* Names what a section knows, with the word that was probably meant. */
static void fail_unknown(const cfg_t *cfg, const char *word)
{
    const char *names[WORDS_MAX] = {NULL};
    const bool is_root = strcmp(cfg->name, "root") == 0;
    const char *near;
    char shown[VALUE_SHOWN], known[240] = "";
    size_t n = 0;

    for (const cfg_opt_t *opt = cfg->opts; opt->name && n < WORDS_MAX; opt++)
        if (strcmp(opt->name, BEGIN_OPTION) != 0)
            names[n++] = opt->name;
    near = nearest(word, names, n);
    /* Outside of sections there are too many for a message. */
    if (!is_root)
        add(known, sizeof known, "; %s has", cfg->name);
    for (size_t i = 0; i < n && !is_root; i++)
        add(known, sizeof known, "%s %s", i ? "," : "", names[i]);
    if (near)
        add(known, sizeof known, "; did you mean %s?", near);
    fail(cfg, "unknown word \"%s\"%s", value_show(word, shown), known);
}

/* Where the section that already has the title stands. Listeners and pools may share one, and
 * libconfuse does not say which it means; then both are told. */
static void fail_duplicate(const cfg_t *cfg, const char *title)
{
    char shown[VALUE_SHOWN], places[240] = "";

    for (cfg_opt_t *opt = cfg->opts; opt->name; opt++) {
        const struct raw *begin;
        struct conf_where where;
        cfg_t *sec;

        if (opt->type != CFGT_SEC || !(opt->flags & CFGF_TITLE))
            continue;
        sec = cfg_opt_gettsec(opt, title);
        if (!sec)
            continue;
        begin = cfg_getptr(sec, BEGIN_OPTION);
        where = source_where(parse.src, begin->line);
        add(places, sizeof places, "; %s \"%s\" stands at %s:%u", opt->name,
            value_show(title, shown), where.file, where.line);
    }
    fail(cfg, "the name \"%s\" is taken%s; write another", value_show(title, shown), places);
}

/* What libconfuse complains of, in words that help. (Its messages are translated only in programs
 * that call setlocale(), which this one does not.) */
static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    static const struct {
        const char *theirs, *before, *behind;
    } messages[] = {
        {"missing equal sign after option '%s'", "",
         " is a setting; write = and a value behind it"},
        {"missing title for section '%s'", "", " is a section that needs a name behind it"},
        {"missing opening brace for section '%s'", "\"{\" is missing behind section ", ""},
    };
    char shown[VALUE_SHOWN];
    const char *word;

    if (!strstr(fmt, "'%s'")) {
        fail(cfg, "%s",
             strcmp(fmt, "premature end of file") == 0 ? "the text ends in the middle of a setting"
                                                       : fmt);
        return;
    }
    /* Where libconfuse quotes a word, it is the first argument. */
    word = va_arg(ap, const char *);
    if (strcmp(fmt, "no such option '%s'") == 0)
        fail_unknown(cfg, word);
    if (strcmp(fmt, "found duplicate title '%s'") == 0)
        fail_duplicate(cfg, word);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        if (strcmp(fmt, messages[i].theirs) == 0)
            fail(cfg, "%s\"%s\"%s", messages[i].before, value_show(word, shown),
                 messages[i].behind);
    fail(cfg, "unexpected \"%s\"", value_show(word, shown));
}

/* libconfuse follows "tls|key" into other sections; our files do not say that. */
static bool is_own(const cfg_t *cfg, const cfg_opt_t *opt)
{
    for (const cfg_opt_t *own = cfg->opts; own->name; own++)
        if (own == opt)
            return true;
    fail(cfg, "\"%s\" does not belong here", opt->name);
    return false;
}

/* Keeps a value with its line. libconfuse frees the old value when a setting stands twice, but
 * keeps the comment, which therefore has the first one's line. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *out_value)
{
    const size_t n = strlen(value) + 1;
    const unsigned first = opt->comment ? (unsigned)strtoul(opt->comment, NULL, 10) : 0;
    struct raw *raw;
    char line[16];

    if (!is_own(cfg, opt))
        return -1;
    raw = malloc(sizeof *raw + n);
    snprintf(line, sizeof line, "%d", cfg->line);
    if (!raw || (!opt->comment && cfg_opt_setcomment(opt, line) != CFG_SUCCESS)) {
        free(raw);
        fail(cfg, "no memory for the configuration");
        return -1;
    }
    raw->line = (unsigned)cfg->line;
    raw->first = first;
    memcpy(raw->text, value, n);
    *(void **)out_value = raw;
    return 0;
}

static int on_begin(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *out_value)
{
    if (opt->comment) {
        fail(cfg, "unexpected \"%s\"", opt->name);
        return -1;
    }
    return on_value(cfg, opt, value, out_value);
}

/* Told when a section is complete. */
static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
    return is_own(cfg, opt) ? 0 : -1;
}

static cfg_opt_t section_option(enum section_id id, cfg_opt_t *subopts, cfg_flag_t flags)
{
    cfg_opt_t opt = CFG_SEC(NULL, subopts, CFGF_MULTI | flags);

    opt.name = conf_sections[id].name;
    opt.validcb = on_section;
    return opt;
}

/* The options of a section's settings, then `more`, then the end. */
static void make_options(struct grammar *g, cfg_opt_t *opts, enum section_id id,
                         const cfg_opt_t *more, size_t more_n)
{
    const struct section *section = &conf_sections[id];
    size_t n = 0;

    INSIST(section->n + more_n + 2 <= WORDS_MAX);
    for (; n < section->n; n++) {
        const struct setting *s = &section->settings[n];

        opts[n] = (cfg_opt_t){
            .name = s->name,
            .type = CFGT_PTR,
            .flags = CFGF_NODEFAULT | (s->kind == KIND_LIST ? CFGF_LIST : CFGF_NONE),
            .parsecb = on_value,
            .freecb = free,
        };
    }
    for (size_t i = 0; i < more_n; i++)
        opts[n++] = more[i];
    if (id != SECTION_GLOBAL)
        opts[n++] = (cfg_opt_t){
            .name = BEGIN_OPTION,
            .type = CFGT_PTR,
            .def = {.parsed = g->begin},
            .parsecb = on_begin,
            .freecb = free,
        };
    opts[n] = (cfg_opt_t)CFG_END();
}

static void make_grammar(struct grammar *g)
{
    const cfg_flag_t named = CFGF_TITLE | CFGF_NO_TITLE_DUPES;
    cfg_opt_t sub[5];

    memcpy(g->begin, ".", 2);
    make_options(g, g->backend, SECTION_BACKEND, NULL, 0);
    sub[0] = section_option(SECTION_BACKEND, g->backend, named);
    make_options(g, g->pool, SECTION_POOL, sub, 1);
    make_options(g, g->tls, SECTION_TLS, NULL, 0);
    make_options(g, g->certificate, SECTION_CERTIFICATE, NULL, 0);
    make_options(g, g->directory, SECTION_DIRECTORY, NULL, 0);
    make_options(g, g->listener, SECTION_LISTENER, NULL, 0);
    sub[0] = section_option(SECTION_LISTENER, g->listener, named);
    sub[1] = section_option(SECTION_TLS, g->tls, CFGF_NONE);
    sub[2] = section_option(SECTION_CERTIFICATE, g->certificate, named);
    sub[3] = section_option(SECTION_DIRECTORY, g->directory, named);
    sub[4] = section_option(SECTION_POOL, g->pool, named);
    make_options(g, g->global, SECTION_GLOBAL, sub, 5);
}

/* A path that does not depend on the working directory, as its reader may have another. */
static const char *resolve(struct conf *conf, const struct conf_where *where, const char *text,
                           struct err *err)
{
    const char *slash = strrchr(where->file, '/');
    const int dir_n = slash ? (int)(slash - where->file) + 1 : 0;
    char *cwd = NULL, *path = NULL;
    const char *kept = NULL;

    if (where->file[0] != '/')
        cwd = getcwd(NULL, 0);
    if ((where->file[0] != '/' && !cwd) ||
        asprintf(&path, "%s%s%.*s%s", cwd ? cwd : "", cwd ? "/" : "", dir_n, where->file, text) < 0)
        err_sys(err, errno, "%s:%u: cannot tell the directory of \"%s\"", where->file, where->line,
                text);
    else
        kept = store_text(conf, slice_str(path), err);
    free(cwd);
    free(path);
    return kept;
}

/* The texts of a setting that was given. */
static int take_texts(struct conf *conf, const struct setting *s, cfg_opt_t *opt,
                      struct conf_note *note, struct err *err)
{
    const size_t n = cfg_opt_size(opt);
    const char **texts = store_alloc(conf, n, sizeof *texts, err);

    if (!texts)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct raw *raw = cfg_opt_getnptr(opt, (unsigned)i);

        if (s->kind == KIND_PATH && parse.src->is_file && raw->text[0] && raw->text[0] != '/')
            texts[i] = resolve(conf, &note->where, raw->text, err);
        else
            texts[i] = store_text(conf, slice_str(raw->text), err);
        if (!texts[i])
            return -1;
    }
    note->texts = texts;
    note->texts_n = n;
    return 0;
}

static void store_value(const struct setting *s, const struct conf_note *note, void *object)
{
    union value value;

    if (s->kind == KIND_LIST)
        *(struct conf_list *)setting_member(s, object) =
            (struct conf_list){note->texts, note->texts_n};
    else if (value_parse(s, note->texts[0], &value, NULL) == 0)
        value_store(s, &value, object);
}

/* The items of a list's default, between blanks. */
static int store_default_list(struct conf *conf, const struct setting *s, void *object,
                              struct err *err)
{
    const char *at = setting_default(s);
    const char **items = store_alloc(conf, strlen(at) / 2 + 1, sizeof *items, err);
    size_t n = 0;

    if (!items)
        return -1;
    while (*at) {
        const size_t len = strcspn(at, " ");

        items[n] = store_text(conf, slice_of(at, len), err);
        if (!items[n++])
            return -1;
        at += len;
        at += strspn(at, " ");
    }
    *(struct conf_list *)setting_member(s, object) = (struct conf_list){items, n};
    return 0;
}

static int store_default(struct conf *conf, const struct setting *s, void *object, struct err *err)
{
    union value value;

    if (s->kind == KIND_LIST)
        return store_default_list(conf, s, object, err);
    INSIST(value_parse(s, setting_default(s), &value, NULL) == 0);
    value_store(s, &value, object);
    return 0;
}

/* Of a section that is not written. */
static int store_defaults(struct conf *conf, enum section_id id, void *object, struct err *err)
{
    for (size_t i = 0; i < conf_sections[id].n; i++) {
        if (store_default(conf, &conf_sections[id].settings[i], object, err) < 0)
            return -1;
    }
    return 0;
}

/* All settings of a section; `where` is the section's. */
static int take_settings(struct conf *conf, cfg_t *cfg, enum section_id id,
                         const struct conf_where *where, void *object, struct err *err)
{
    for (size_t i = 0; i < conf_sections[id].n; i++) {
        const struct setting *s = &conf_sections[id].settings[i];
        cfg_opt_t *opt = cfg_getopt(cfg, s->name);
        struct conf_note note = {.setting = s, .object = object, .where = *where};

        if (store_default(conf, s, object, err) < 0)
            return -1;
        if (!(opt->flags & CFGF_MODIFIED))
            continue;
        /* An empty list tells no line. */
        if (cfg_opt_size(opt) > 0) {
            const struct raw *raw = cfg_opt_getnptr(opt, 0);

            note.where = source_where(parse.src, raw->line);
            if (raw->first)
                note.first = source_where(parse.src, raw->first);
        }
        if (take_texts(conf, s, opt, &note, err) || store_note(conf, &note, err))
            return -1;
        store_value(s, &note, object);
    }
    return 0;
}

static struct conf_where begin_of(cfg_t *cfg)
{
    const struct raw *begin = cfg_getptr(cfg, BEGIN_OPTION);

    return source_where(parse.src, begin->line);
}

static int take_listeners(struct conf *conf, cfg_t *root, struct err *err)
{
    const unsigned n = cfg_size(root, "listener");

    conf->listeners = store_alloc(conf, n, sizeof *conf->listeners, err);
    if (!conf->listeners)
        return -1;
    conf->listeners_n = n;
    for (unsigned i = 0; i < n; i++) {
        cfg_t *cfg = cfg_getnsec(root, "listener", i);
        struct conf_listener *listener = &conf->listeners[i];

        listener->where = begin_of(cfg);
        listener->title = store_text(conf, slice_str(cfg_title(cfg)), err);
        if (!listener->title ||
            take_settings(conf, cfg, SECTION_LISTENER, &listener->where, listener, err))
            return -1;
    }
    return 0;
}

static int take_backends(struct conf *conf, cfg_t *section, struct conf_pool *pool, struct err *err)
{
    const unsigned n = cfg_size(section, "backend");

    pool->backends = store_alloc(conf, n, sizeof *pool->backends, err);
    if (!pool->backends)
        return -1;
    pool->backends_n = n;
    for (unsigned i = 0; i < n; i++) {
        cfg_t *cfg = cfg_getnsec(section, "backend", i);
        struct conf_backend *backend = &pool->backends[i];

        backend->where = begin_of(cfg);
        backend->title = store_text(conf, slice_str(cfg_title(cfg)), err);
        if (!backend->title ||
            take_settings(conf, cfg, SECTION_BACKEND, &backend->where, backend, err))
            return -1;
    }
    return 0;
}

/* The one behind the last. */
static int take_removed(struct conf *conf, struct conf_pool *pool, struct err *err)
{
    const struct conf_where nowhere = {.file = "", .line = 0};

    pool->where = nowhere;
    pool->title = CONF_POOL_REMOVED;
    pool->backends = store_alloc(conf, 0, sizeof *pool->backends, err);
    return pool->backends ? store_defaults(conf, SECTION_POOL, pool, err) : -1;
}

static int take_pools(struct conf *conf, cfg_t *root, struct err *err)
{
    const unsigned n = cfg_size(root, "pool");

    conf->pools = store_alloc(conf, (size_t)n + 1, sizeof *conf->pools, err);
    if (!conf->pools)
        return -1;
    conf->pools_n = n;
    for (unsigned i = 0; i < n; i++) {
        cfg_t *cfg = cfg_getnsec(root, "pool", i);
        struct conf_pool *pool = &conf->pools[i];

        pool->where = begin_of(cfg);
        pool->title = store_text(conf, slice_str(cfg_title(cfg)), err);
        if (!pool->title || take_settings(conf, cfg, SECTION_POOL, &pool->where, pool, err) ||
            take_backends(conf, cfg, pool, err))
            return -1;
    }
    return take_removed(conf, &conf->pools[n], err);
}

static int take_tls(struct conf *conf, cfg_t *root, struct err *err)
{
    cfg_t *cfg = cfg_getnsec(root, "tls", 0);
    struct conf_where where;

    if (cfg_size(root, "tls") > 1) {
        const struct conf_where second = begin_of(cfg_getnsec(root, "tls", 1));

        where = begin_of(cfg);
        return err_set(err, 0, "%s:%u: there is a section tls at %s:%u; write one only",
                       second.file, second.line, where.file, where.line);
    }
    if (cfg) {
        where = begin_of(cfg);
        return take_settings(conf, cfg, SECTION_TLS, &where, &conf->tls, err);
    }
    return store_defaults(conf, SECTION_TLS, &conf->tls, err);
}

static int take_certificates(struct conf *conf, cfg_t *root, struct err *err)
{
    const unsigned n = cfg_size(root, "certificate");

    conf->certificates = store_alloc(conf, n, sizeof *conf->certificates, err);
    if (!conf->certificates)
        return -1;
    conf->certificates_n = n;
    for (unsigned i = 0; i < n; i++) {
        cfg_t *cfg = cfg_getnsec(root, "certificate", i);
        struct conf_certificate *c = &conf->certificates[i];

        c->where = begin_of(cfg);
        c->title = store_text(conf, slice_str(cfg_title(cfg)), err);
        if (!c->title || take_settings(conf, cfg, SECTION_CERTIFICATE, &c->where, c, err))
            return -1;
    }
    return 0;
}

static int take_directories(struct conf *conf, cfg_t *root, struct err *err)
{
    const unsigned n = cfg_size(root, "directory");

    conf->directories = store_alloc(conf, n, sizeof *conf->directories, err);
    if (!conf->directories)
        return -1;
    conf->directories_n = n;
    for (unsigned i = 0; i < n; i++) {
        cfg_t *cfg = cfg_getnsec(root, "directory", i);
        struct conf_directory *d = &conf->directories[i];

        d->where = begin_of(cfg);
        d->title = store_text(conf, slice_str(cfg_title(cfg)), err);
        if (!d->title || take_settings(conf, cfg, SECTION_DIRECTORY, &d->where, d, err))
            return -1;
    }
    return 0;
}

static int take_all(struct conf *conf, cfg_t *root, struct err *err)
{
    const struct conf_where nowhere = {.file = "", .line = 0};

    if (take_settings(conf, root, SECTION_GLOBAL, &nowhere, &conf->global, err) ||
        take_listeners(conf, root, err) || take_tls(conf, root, err) ||
        take_certificates(conf, root, err) || take_directories(conf, root, err))
        return -1;
    return take_pools(conf, root, err);
}

/* Gives libconfuse the text; -1 when it found a mistake, which on_error() was told. */
static int run_parser(cfg_t *root, const struct buf *buf)
{
    struct slice text;
    FILE *in;
    int rc;

    if (buf_len(buf) == 0)
        return 0;
    text = buf_slice(buf);
    in = fmemopen((void *)(uintptr_t)text.p, text.n, "r");
    if (!in) {
        fail(root, "no memory for the configuration");
        return -1;
    }
    rc = cfg_parse_fp(root, in);
    fclose(in);
    if (rc == CFG_SUCCESS)
        return 0;
    fail(root, "no memory for the configuration");
    return -1;
}

int parse_source(const struct source *src, struct conf *conf, struct err *err)
{
    struct grammar grammar;
    cfg_t *root;
    int rc;

    make_grammar(&grammar);
    parse = (struct parse){.src = src, .err = err};
    root = cfg_init(grammar.global, CFGF_NONE);
    if (!root)
        return err_set(err, ENOMEM, "no memory for the configuration");
    cfg_set_error_function(root, on_error);
    rc = run_parser(root, &src->text);
    if (rc == 0)
        rc = take_all(conf, root, err);
    cfg_free(root);
    parse = (struct parse){0};
    return rc;
}

const char *conf_library(void)
{
    return strncmp(confuse_version, "libConfuse ", 11) == 0 ? confuse_version + 11
                                                            : confuse_version;
}
