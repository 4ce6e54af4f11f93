/* Requests: from a line to a command and its arguments. */
#include "admin/request.h"

#include "base/num.h"
#include "conf/nearest.h"
#include "control/network.h"
#include "control/registry.h"
#include "directory/username.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* How much of a wrong word is said again. */
enum { SHOWN = 80 };

/* Among so many names a mistyped one is looked for, which is a matter of milliseconds. */
enum { NEAR_MOST = 1000 };

static int not_known(const char *what, const char *word, const char *const *words, size_t n,
                     struct err *err)
{
    const char *near = nearest(word, words, n);

    if (near)
        return err_set(err, 0, "there is no %s %.*s; did you mean %s?", what, SHOWN, word, near);
    return err_set(err, 0, "there is no %s %.*s", what, SHOWN, word);
}

/* --- the command ------------------------------------------------------------------------------ */

static int find_command(const char *words, enum command *out_command, struct err *err)
{
    const char *all[COMMAND_COUNT];

    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        all[i] = command_words((enum command)i);
        if (strcmp(all[i], words) == 0) {
            *out_command = (enum command)i;
            return 0;
        }
    }
    return not_known("command", words, all, COMMAND_COUNT, err);
}

/* Jansson bounds how deep values nest, refuses what is no UTF-8, and NUL within a text. */
static json_t *parse(struct slice line, struct err *err)
{
    json_error_t wrong;
    json_t *json = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &wrong);

    if (json && !json_is_object(json)) {
        json_decref(json);
        json = NULL;
    }
    if (!json)
        err_set(err, 0, "a request is one JSON object on a line, as in {\"command\": \"status\"}");
    return json;
}

int request_open(struct slice line, struct request *out_request, struct err *err)
{
    struct request r = {
        .backend = BACKEND_NONE, .from = BACKEND_NONE, .to = BACKEND_NONE, .pool = -1};
    const char *words;

    r.json = parse(line, err);
    if (!r.json)
        return -1;
    words = json_string_value(json_object_get(r.json, "command"));
    if (!words)
        err_set(err, 0, "a request says its command, as in {\"command\": \"status\"}");
    if (!words || find_command(words, &r.command, err) < 0) {
        request_done(&r);
        return -1;
    }
    *out_request = r;
    return 0;
}

void request_done(struct request *r)
{
    json_decref(r->json);
    r->json = NULL;
}

/* --- kinds of arguments ----------------------------------------------------------------------- */

/* An argument, its text, and where it goes. */
struct taking {
    struct request *r;
    const struct backends *backends;
    const char *name;
    const char *text;
    size_t n;
};

/* Whatever is asked about a user is about the one who would log in by this name. */
static int take_user(const struct taking *t, struct err *err)
{
    const struct slice typed = slice_of(t->text, t->n);

    if (!user_is_name(typed) ||
        !username_normalize(&t->backends->conf->global, typed, t->r->name, &t->r->user))
        return err_set(err, 0, "%s is no name of a user: it has 1 to %d bytes, and no line ends",
                       t->name, IPC_USER_MAX);
    return 0;
}

static int no_backend(const struct taking *t, struct err *err)
{
    const struct backends *b = t->backends;
    const size_t n = b->titles_n < NEAR_MOST ? b->titles_n : NEAR_MOST;
    const char **all = calloc(n + 1, sizeof *all);

    for (size_t i = 0; all && i < n; i++)
        all[i] = b->titles[i]->text;
    not_known("backend", t->text, all, all ? n : 0, err);
    free(all);
    return -1;
}

/* Strangers too: who has their users may want to move them. */
static int take_backend(const struct taking *t, struct err *err)
{
    const struct backends *b = t->backends;
    uint32_t *to = strcmp(t->name, "from") == 0 ? &t->r->from
                   : strcmp(t->name, "to") == 0 ? &t->r->to
                                                : &t->r->backend;

    for (size_t i = 0; i < b->titles_n; i++) {
        if (strcmp(b->titles[i]->text, t->text) == 0) {
            *to = b->titles[i]->number;
            return 0;
        }
    }
    return no_backend(t, err);
}

static int take_pool(const struct taking *t, struct err *err)
{
    const struct conf *conf = t->backends->conf;
    const char *all[CONF_POOLS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < conf->pools_n && i < CONF_POOLS_MAX; i++) {
        all[n++] = conf->pools[i].title;
        if (strcmp(conf->pools[i].title, t->text) == 0) {
            t->r->pool = (int)i;
            return 0;
        }
    }
    return not_known("pool", t->text, all, n, err);
}

static int take_address(const struct taking *t, struct err *err)
{
    struct addr addr;

    if (!addr_parse_ip(slice_of(t->text, t->n), 0, &addr))
        return err_set(err, 0,
                       "%s: %.*s is no address; write it without a port, as in 192.0.2.1 or "
                       "2001:db8::1",
                       t->name, SHOWN, t->text);
    t->r->client = network_client(&addr);
    t->r->has_client = true;
    return 0;
}

/* "instance.id", as the log has it. */
static int take_id(const struct taking *t, struct err *err)
{
    const char *dot = strchr(t->text, '.');
    uint64_t instance, id;

    if (!dot || !num_parse(slice_of(t->text, (size_t)(dot - t->text)), UINT32_MAX, &instance) ||
        !num_parse(slice_str(dot + 1), UINT32_MAX, &id))
        return err_set(err, 0,
                       "%s: %.*s is no id of a session; it is as the log has it, as in 3.42",
                       t->name, SHOWN, t->text);
    t->r->session = (struct operate_key){(uint32_t)instance, (uint32_t)id};
    t->r->has_session = true;
    return 0;
}

static int take_number(const struct taking *t, struct err *err)
{
    uint64_t n;

    if (!num_parse(slice_of(t->text, t->n), REQUEST_RATE_MAX, &n) || n == 0)
        return err_set(err, 0, "%s: %.*s is no number from 1 to %d", t->name, SHOWN, t->text,
                       REQUEST_RATE_MAX);
    t->r->rate = (uint32_t)n;
    return 0;
}

/* By what stands for the value in the row. */
static int take(const char *value, const struct taking *t, struct err *err)
{
    static const struct {
        const char *value;
        int (*take)(const struct taking *t, struct err *err);
    } kinds[] = {{"USER", take_user},       {"BACKEND", take_backend}, {"POOL", take_pool},
                 {"ADDRESS", take_address}, {"ID", take_id},           {"N", take_number}};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].value, value) == 0)
            return kinds[i].take(t, err);
    }
    INSIST(false); /* a row of commands.def has an argument of no kind */
    return -1;
}

/* --- all of them ------------------------------------------------------------------------------ */

static int refuse_unknown(const struct request *r, const struct command_argument *all, size_t n,
                          struct err *err)
{
    const char *names[COMMAND_ARGUMENTS_MAX];
    const char *key;
    json_t *value;

    for (size_t i = 0; i < n; i++)
        names[i] = all[i].name;
    json_object_foreach (r->json, key, value) {
        bool is_known = strcmp(key, "command") == 0;
        const char *near;

        for (size_t i = 0; i < n; i++)
            is_known = is_known || strcmp(key, names[i]) == 0;
        if (is_known)
            continue;
        near = nearest(key, names, n);
        return err_set(err, 0, "%s takes no %.*s%s%s%s", command_words(r->command), SHOWN, key,
                       near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return 0;
}

static int take_one(struct request *r, const struct backends *backends,
                    const struct command_argument *a, struct err *err)
{
    const json_t *value = json_object_get(r->json, a->name);
    struct taking t = {.r = r, .backends = backends, .name = a->name};

    if (!value && !a->is_necessary)
        return 0;
    if (!value)
        return err_set(err, 0, "%s wants %s, which is missing", command_words(r->command), a->name);
    if (!json_is_string(value))
        return err_set(err, 0, "%s is no string; write \"%s\": \"...\"", a->name, a->name);
    t.text = json_string_value(value);
    t.n = json_string_length(value);
    if (t.n == 0)
        return err_set(err, 0, "%s is empty; leave it out, or say it", a->name);
    return take(a->value, &t, err);
}

int request_check(struct request *r, const struct backends *backends, struct err *err)
{
    struct command_argument all[COMMAND_ARGUMENTS_MAX];
    const size_t n = command_arguments(r->command, all);

    if (refuse_unknown(r, all, n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (take_one(r, backends, &all[i], err) < 0)
            return -1;
    }
    return 0;
}
