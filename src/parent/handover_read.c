/* The state that the program before us has left: read, checked, and made ours. */
#include "parent/change.h"
#include "parent/handover.h"
#include "parent/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* What goes wrong first is kept; from then on everything that is asked for is empty. */
struct reading {
    struct parent *p;
    bool is_trial;
    bool has_failed;
    struct err *err;
};

static void fail(struct reading *r, const char *key)
{
    if (!r->has_failed)
        err_set(r->err, EINVAL, "the state says nothing that makes sense of \"%s\"", key);
    r->has_failed = true;
}

static json_t *member(struct reading *r, json_t *of, const char *key, json_type type)
{
    json_t *found = json_object_get(of, key);

    if (found && json_typeof(found) == type)
        return found;
    fail(r, key);
    return NULL;
}

static uint64_t number(struct reading *r, json_t *of, const char *key, uint64_t most)
{
    json_t *found = member(r, of, key, JSON_INTEGER);
    json_int_t n = found ? json_integer_value(found) : 0;

    if (n >= 0 && (uint64_t)n <= most)
        return (uint64_t)n;
    fail(r, key);
    return 0;
}

/* Of what is counted from 1. */
static uint64_t positive(struct reading *r, json_t *of, const char *key, uint64_t most)
{
    const uint64_t n = number(r, of, key, most);

    if (n == 0)
        fail(r, key);
    return n;
}

static bool truth(struct reading *r, json_t *of, const char *key)
{
    json_t *found = json_object_get(of, key);

    if (!json_is_boolean(found))
        fail(r, key);
    return json_is_true(found);
}

/* A word of ours, which is ASCII. Without NUL inside, as Jansson has it. */
static const char *word(struct reading *r, json_t *of, const char *key)
{
    json_t *found = member(r, of, key, JSON_STRING);

    return found ? json_string_value(found) : "";
}

/* The bytes of which handover.c has made characters. Returns false when it did not make these. */
static bool to_bytes(char *text)
{
    char *out = text;

    for (const char *in = text; *in; out++) {
        const unsigned char c = (unsigned char)*in++;

        if (c < 0x80) {
            *out = (char)c;
            continue;
        }
        if (c != 0xc2 && c != 0xc3)
            return false;
        *out = (char)(c << 6 | (*in++ & 0x3f));
    }
    *out = '\0';
    return true;
}

/* On the heap; NULL when it has failed. */
static char *text(struct reading *r, json_t *of, const char *key)
{
    json_t *found = member(r, of, key, JSON_STRING);
    char *made = found ? strdup(json_string_value(found)) : NULL;

    if (made && to_bytes(made))
        return made;
    free(made);
    fail(r, key);
    return NULL;
}

/* The same, and NULL for null. */
static char *text_or_null(struct reading *r, json_t *of, const char *key)
{
    return json_is_null(json_object_get(of, key)) ? NULL : text(r, of, key);
}

/* A descriptor of ours from now on; -1: none. */
static int take_fd(struct reading *r, json_t *value, const char *key)
{
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : -2;

    if (n < -1 || n > INT32_MAX) {
        fail(r, key);
        return -1;
    }
    if (r->is_trial || n < 0)
        return -1;
    if (fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0) {
        fail(r, key);
        return -1;
    }
    return (int)n;
}

static int fd_of(struct reading *r, json_t *of, const char *key)
{
    return take_fd(r, json_object_get(of, key), key);
}

/* --- parts -------------------------------------------------------------------------------------
 */

static void read_address(struct reading *r, json_t *of, struct addr *out)
{
    struct err ignored;
    struct slice host;
    uint16_t port;

    *out = (struct addr){0};
    if (addr_split(slice_str(word(r, of, "at")), &host, &port, &ignored) != 0 ||
        !addr_parse_ip(host, port, out))
        fail(r, "at");
}

static struct port *add_port(struct reading *r, json_t *of, struct ports *ports,
                             const struct conf_listener *words, size_t fds_n)
{
    const unsigned listener = (unsigned)number(r, of, "listener", CONF_LISTENERS_MAX - 1);
    struct port *port = NULL;
    struct addr addr;

    read_address(r, of, &addr);
    if (fds_n > PASSED_MOST + CONF_WORKERS_MAX)
        fail(r, "fds");
    if (!r->has_failed) {
        port = ports_add(ports, words, listener, &addr, (unsigned)fds_n, r->err);
        r->has_failed = !port;
    }
    return port;
}

static void read_port(struct reading *r, json_t *of, struct ports *ports)
{
    char *title = text(r, of, "title"), *address = text(r, of, "address");
    const struct conf_listener words = {.title = title, .address = address};
    json_t *fds = member(r, of, "fds", JSON_ARRAY);
    struct port *port = add_port(r, of, ports, &words, json_array_size(fds));

    free(title);
    free(address);
    if (!port)
        return;
    port->is_passed = truth(r, of, "passed");
    for (size_t i = 0; i < json_array_size(fds); i++)
        port->fds[port->fds_n++] = take_fd(r, json_array_get(fds, i), "fds");
}

static void read_ports(struct reading *r, json_t *of, struct ports *ports)
{
    json_t *all = member(r, of, "ports", JSON_ARRAY);

    for (size_t i = 0; i < json_array_size(all); i++)
        read_port(r, json_array_get(all, i), ports);
}

static void read_door(struct reading *r, json_t *of, struct local *door, char **out_path)
{
    json_t *found = member(r, of, "door", JSON_OBJECT);

    door->fd = fd_of(r, found, "fd");
    door->dev = (dev_t)number(r, found, "dev", INT64_MAX);
    door->ino = (ino_t)number(r, found, "ino", INT64_MAX);
    *out_path = text_or_null(r, found, "path");
}

static void read_files(struct reading *r, json_t *of, struct files *files)
{
    json_t *all = member(r, of, "files", JSON_ARRAY);

    for (size_t i = 0; i < json_array_size(all) && !r->has_failed; i++) {
        json_t *one = json_array_get(all, i);
        char *name = text(r, one, "name");
        int fd = fd_of(r, one, "fd");

        if (r->has_failed)
            close_fd(&fd);
        if (fd >= 0 && files_add(files, slice_str(name), fd, r->err) < 0)
            r->has_failed = true;
        free(name);
    }
}

static struct process *place_of(struct reading *r, struct generation *g, json_t *of)
{
    const char *role = word(r, of, "role");
    unsigned slot = (unsigned)number(r, of, "slot", CONF_WORKERS_MAX - 1);

    if (strcmp(role, role_name(ROLE_CONTROL)) == 0)
        return &g->control;
    if (strcmp(role, role_name(ROLE_LOOKUP)) == 0)
        return &g->lookup;
    if (strcmp(role, role_name(ROLE_PREPARE)) == 0)
        return &g->preparer;
    if (strcmp(role, role_name(ROLE_WORKER)) == 0 && slot < g->workers_n)
        return &g->workers[slot];
    fail(r, "role");
    return NULL;
}

static void read_process(struct reading *r, json_t *of, struct generation *g)
{
    struct process *pr = place_of(r, g, of);
    struct msg_hello peer = {
        .magic = IPC_MAGIC,
        .version = (uint16_t)number(r, of, "ipc", UINT16_MAX),
        .oldest = (uint16_t)number(r, of, "ipc_oldest", UINT16_MAX),
        .role = (uint8_t)number(r, of, "peer_role", ROLE_COUNT),
    };
    const uint32_t instance = (uint32_t)positive(r, of, "instance", UINT32_MAX);
    const pid_t pid = (pid_t)positive(r, of, "pid", INT32_MAX);
    int fd;

    /* There is one already. */
    if (!r->has_failed && pr->instance > 0)
        fail(r, "role");
    if (r->has_failed)
        return;
    pr->instance = instance;
    pr->started_s = number(r, of, "started", INT64_MAX);
    pr->is_ready = truth(r, of, "ready");
    pr->has_begun = truth(r, of, "begun");
    fd = fd_of(r, of, "channel");
    if (r->is_trial)
        return;
    pr->pid = pid;
    pr->started_ms = pr->begun_ms = loop_now_ms(r->p->loop);
    if (fd >= 0)
        channel_adopt(&pr->channel, &r->p->channels, fd, ROLE_PARENT, &peer, &process_events);
}

static void put_generation(struct reading *r, struct generation *g, const char *place)
{
    struct parent *p = r->p;

    if (strcmp(place, "current") == 0 && !p->current) {
        p->current = g;
    } else if (strcmp(place, "next") == 0 && !p->next) {
        p->next = g;
    } else {
        list_append(&p->past, &g->node);
        if (strcmp(place, "past") != 0)
            fail(r, "place");
    }
}

static void read_version(struct reading *r, json_t *of, struct generation *g)
{
    char *version = text(r, of, "version");

    if (version)
        snprintf(g->version, sizeof g->version, "%s", version);
    free(version);
}

static void read_generation(struct reading *r, json_t *of)
{
    json_t *processes = member(r, of, "processes", JSON_ARRAY);
    struct generation *g = generation_new(r->p);

    if (!g) {
        fail(r, "generations");
        return;
    }
    g->number = (uint32_t)number(r, of, "number", UINT32_MAX);
    read_version(r, of, g);
    g->is_given_up = truth(r, of, "given_up");
    g->watchdog_ms = (uint32_t)number(r, of, "watchdog", UINT32_MAX);
    generation_set_workers(g, (unsigned)number(r, of, "workers", CONF_WORKERS_MAX));
    g->counters_fd = fd_of(r, of, "counters");
    g->conf_fd = fd_of(r, of, "conf");
    g->rules_fd = fd_of(r, of, "rules");
    read_files(r, of, &g->files);
    put_generation(r, g, word(r, of, "place"));
    for (size_t i = 0; i < json_array_size(processes); i++)
        read_process(r, json_array_get(processes, i), g);
}

static void read_change(struct reading *r, json_t *of)
{
    json_t *found = json_object_get(of, "change");
    struct change *c;

    if (json_is_null(found))
        return;
    if (!member(r, of, "change", JSON_OBJECT))
        return;
    c = r->p->change = change_new(r->p, (enum change_kind)number(r, found, "what", CHANGE_UPGRADE));
    if (!c) {
        fail(r, "change");
        return;
    }
    c->asker.instance = (uint32_t)number(r, found, "asker", UINT32_MAX);
    c->asker.id = (uint32_t)number(r, found, "id", UINT32_MAX);
    c->prepared.door = (uint32_t)number(r, found, "door_is", DOOR_NONE);
    c->is_prepared = true;
    read_door(r, found, &c->door, &c->door_path);
    read_ports(r, found, &c->ports);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_tickets(struct reading *r, json_t *of)
{
    const char *hex = word(r, of, "tickets");
    unsigned char *keys = &r->p->tickets.keys[0][0];

    if (strlen(hex) != 2 * sizeof r->p->tickets.keys) {
        fail(r, "tickets");
        return;
    }
    for (size_t i = 0; i < sizeof r->p->tickets.keys; i++) {
        int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

        if (high < 0 || low < 0) {
            fail(r, "tickets");
            return;
        }
        keys[i] = (unsigned char)(high << 4 | low);
    }
}

static void read_memory(struct reading *r, json_t *of)
{
    json_t *counters = member(r, of, "counters", JSON_ARRAY);
    json_t *shared = member(r, of, "shared", JSON_ARRAY);

    for (size_t i = 0; i < json_array_size(counters); i++) {
        int fd = take_fd(r, json_array_get(counters, i), "counters");

        if (fd >= 0 && !r->has_failed && tally_add(r->p->tally, fd, r->err) < 0)
            r->has_failed = true;
    }
    for (size_t i = 0; i < json_array_size(shared); i++) {
        int fd = take_fd(r, json_array_get(shared, i), "shared");

        if (i < SHARED_COUNT)
            r->p->shared_fds[i] = fd;
        else
            close_fd(&fd);
    }
}

/* --- the whole ---------------------------------------------------------------------------------
 */

static void read_counts(struct reading *r, json_t *of)
{
    json_t *last = member(r, of, "last", JSON_OBJECT);

    r->p->last_instance = (uint32_t)number(r, last, "instance", UINT32_MAX);
    r->p->epoch = (uint32_t)number(r, last, "epoch", UINT32_MAX);
    r->p->rotated_ms = number(r, last, "rotated", INT64_MAX);
}

static void read_asked(struct reading *r, json_t *of)
{
    json_t *asked = member(r, of, "asked", JSON_OBJECT);

    r->p->is_asked[CHANGE_RELOAD] = truth(r, asked, "reload");
    r->p->is_asked[CHANGE_UPGRADE] = truth(r, asked, "upgrade");
}

static void read_state(struct reading *r, json_t *state)
{
    struct parent *p = r->p;
    json_t *generations = member(r, state, "generations", JSON_ARRAY);

    p->tally = tally_new();
    if (!p->tally) {
        fail(r, "counters");
        return;
    }
    p->log_fd = fd_of(r, state, "log");
    p->notes_fd = fd_of(r, state, "notes");
    p->program = text(r, state, "program");
    p->conf_path = text(r, state, "configuration");
    p->service.socket = text_or_null(r, state, "notify");
    p->service.watchdog_ms = (uint32_t)number(r, state, "watchdog", UINT32_MAX);
    read_memory(r, state);
    read_tickets(r, state);
    read_door(r, state, &p->door, &p->door_path);
    read_ports(r, state, &p->ports);
    for (size_t i = 0; i < json_array_size(generations) && !r->has_failed; i++)
        read_generation(r, json_array_get(generations, i));
    read_change(r, state);
    read_counts(r, state);
    read_asked(r, state);
    if (!p->current || !p->program || !p->conf_path)
        fail(r, "generations");
}

static int check_version(json_t *state, struct err *err)
{
    json_int_t version = json_integer_value(json_object_get(state, "usher_state"));
    json_int_t oldest = json_integer_value(json_object_get(state, "oldest"));
    const char *program = json_string_value(json_object_get(state, "version"));

    if (version >= HANDOVER_OLDEST && oldest >= 1 && oldest <= HANDOVER_VERSION)
        return 0;
    return err_set(err, EPROTO,
                   "usher %s leaves its state in version %lld (readable from %lld on), and "
                   "usher " USHER_VERSION " understands %d to %d: stop usher and start it anew",
                   program ? program : "?", (long long)version, (long long)oldest, HANDOVER_OLDEST,
                   HANDOVER_VERSION);
}

int handover_read(struct parent *p, struct slice text, bool is_trial, struct err *err)
{
    struct reading r = {.p = p, .is_trial = is_trial, .err = err};
    json_error_t where;
    json_t *state;

    handover_wipe_pieces();
    state = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(state)) {
        json_decref(state);
        return err_set(err, EINVAL, "the state cannot be read: %s", where.text);
    }
    if (check_version(state, err) == 0)
        read_state(&r, state);
    else
        r.has_failed = true;
    json_decref(state);
    return r.has_failed ? -1 : 0;
}
