/* The parent's state as JSON, written by one program and read by the next. */
#include "parent/handover.h"

#include "parent/change.h"
#include "parent/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void wipe_and_free(void *piece)
{
    if (piece)
        wipe(piece, malloc_usable_size(piece));
    free(piece);
}

void handover_wipe_pieces(void)
{
    json_set_alloc_funcs(malloc, wipe_and_free);
}

/* --- writing
 * ------------------------------------------------------------------------------------------------
 * Jansson's functions hand on NULL where memory is out, up to the whole. */

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* JSON has characters where paths and titles have bytes: each byte becomes the character of its
 * number. NULL becomes null. */
static json_t *print_text(const char *text)
{
    const size_t n = text ? strlen(text) : 0;
    char *chars = text ? malloc(2 * n + 1) : NULL;
    size_t chars_n = 0;
    json_t *done;

    if (!text)
        return json_null();
    if (!chars)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const unsigned char byte = (unsigned char)text[i];

        if (byte < 0x80) {
            chars[chars_n++] = text[i];
        } else {
            chars[chars_n++] = (char)(0xc0 | byte >> 6);
            chars[chars_n++] = (char)(0x80 | (byte & 0x3f));
        }
    }
    done = json_stringn(chars, chars_n);
    free(chars);
    return done;
}

static json_t *print_fds(const int *fds, unsigned n)
{
    json_t *all = json_array();

    for (unsigned i = 0; i < n; i++) {
        if (json_array_append_new(all, json_integer(fds[i])) < 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static json_t *print_port(const struct port *port)
{
    char text[ADDR_TEXT];

    return json_pack("{s:o, s:o, s:o, s:s, s:b, s:o}", "listener", number(port->listener), "title",
                     print_text(port->title), "address", print_text(port->address), "at",
                     addr_format(&port->addr, text), "passed", port->is_passed, "fds",
                     print_fds(port->fds, port->fds_n));
}

static json_t *print_ports(const struct ports *ports)
{
    json_t *all = json_array();

    for (size_t i = 0; i < ports->n; i++) {
        if (json_array_append_new(all, print_port(&ports->all[i])) < 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static json_t *print_door(const struct local *door, const char *path)
{
    return json_pack("{s:i, s:o, s:o, s:o}", "fd", door->fd, "path", print_text(path), "dev",
                     number((uint64_t)door->dev), "ino", number((uint64_t)door->ino));
}

static json_t *print_files(const struct files *files)
{
    json_t *all = json_array();

    for (size_t i = 0; i < files->n; i++) {
        if (json_array_append_new(all,
                                  json_pack("{s:o, s:i}", "name", print_text(files->all[i].name),
                                            "fd", files->all[i].fd)) < 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static json_t *print_process(const struct process *pr)
{
    const struct msg_hello *peer = &pr->channel.peer;

    return json_pack(
        "{s:s, s:o, s:o, s:o, s:i, s:b, s:b, s:o, s:o, s:o, s:o}", "role", role_name(pr->role),
        "slot", number(pr->slot), "instance", number(pr->instance), "pid",
        number((uint64_t)pr->pid), "channel", pr->channel.is_open ? pr->channel.watch.io.fd : -1,
        "ready", pr->is_ready, "begun", pr->has_begun, "started", number(pr->started_s), "ipc",
        number(peer->version), "ipc_oldest", number(peer->oldest), "peer_role", number(peer->role));
}

struct printing {
    json_t *all;
    bool has_failed;
};

static void add_process(struct process *pr, void *arg)
{
    struct printing *printing = arg;

    if (pr->pid && json_array_append_new(printing->all, print_process(pr)) < 0)
        printing->has_failed = true;
}

static json_t *print_generation(struct generation *g, const char *place)
{
    struct printing processes = {.all = json_array()};

    generation_each(g, add_process, &processes);
    if (processes.has_failed) {
        json_decref(processes.all);
        processes.all = NULL;
    }
    return json_pack("{s:s, s:o, s:o, s:b, s:o, s:i, s:o, s:i, s:i, s:o, s:o}", "place", place,
                     "number", number(g->number), "version", print_text(g->version), "given_up",
                     g->is_given_up, "watchdog", number(g->watchdog_ms), "counters", g->counters_fd,
                     "workers", number(g->workers_n), "conf", g->conf_fd, "rules", g->rules_fd,
                     "files", print_files(&g->files), "processes", processes.all);
}

static json_t *print_generations(const struct parent *p)
{
    json_t *all = json_array();
    bool is_well = json_array_append_new(all, print_generation(p->current, "current")) == 0;

    if (p->next)
        is_well &= json_array_append_new(all, print_generation(p->next, "next")) == 0;
    list_for_each (it, &p->past)
        is_well &= json_array_append_new(
                       all, print_generation(CONTAINER(it, struct generation, node), "past")) == 0;
    if (is_well)
        return all;
    json_decref(all);
    return NULL;
}

static json_t *print_change(const struct change *c)
{
    if (!c)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "what", number(c->what), "asker",
                     number(c->asker.instance), "id", number(c->asker.id), "door_is",
                     number(c->prepared.door), "door", print_door(&c->door, c->door_path), "ports",
                     print_ports(&c->ports));
}

/* Two characters a byte. */
static json_t *print_bytes(const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * n + 1);
    json_t *done;

    if (!text)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    done = json_stringn(text, 2 * n);
    wipe(text, 2 * n);
    free(text);
    return done;
}

static json_t *print_counts(const struct parent *p)
{
    return json_pack("{s:o, s:o, s:o}", "instance", number(p->last_instance), "epoch",
                     number(p->epoch), "rotated", number(p->rotated_ms));
}

static json_t *print_asked(const struct parent *p)
{
    return json_pack("{s:b, s:b}", "reload", p->is_asked[CHANGE_RELOAD], "upgrade",
                     p->is_asked[CHANGE_UPGRADE]);
}

static json_t *print_counters(const struct parent *p)
{
    json_t *all = json_array();
    int fd;

    for (size_t i = 0; (fd = tally_fd(p->tally, i)) >= 0; i++) {
        if (json_array_append_new(all, json_integer(fd)) < 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static json_t *print_state(const struct parent *p)
{
    return json_pack(
        "{s:i, s:i, s:s, s:o, s:o, s:i, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "usher_state", HANDOVER_VERSION, "oldest", HANDOVER_OLDEST, "version", USHER_VERSION,
        "program", print_text(p->program), "configuration", print_text(p->conf_path), "log",
        p->log_fd, "counters", print_counters(p), "shared", print_fds(p->shared_fds, SHARED_COUNT),
        "notes", p->notes_fd, "last", print_counts(p), "asked", print_asked(p), "tickets",
        print_bytes(&p->tickets.keys[0][0], sizeof p->tickets.keys), "notify",
        print_text(p->service.socket), "watchdog", number(p->service.watchdog_ms), "door",
        print_door(&p->door, p->door_path), "ports", print_ports(&p->ports), "generations",
        print_generations(p));
}

static int write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, text, n);

        if (written <= 0)
            return -1;
        text += written;
        n -= (size_t)written;
    }
    return 0;
}

int handover_print(const struct parent *p, int *out_fd, struct err *err)
{
    json_t *state;
    char *text = NULL;
    int fd, done;

    handover_wipe_pieces();
    state = print_state(p);
    if (!state || json_object_set_new(state, "change", print_change(p->change)) < 0 ||
        !(text = json_dumps(state, JSON_INDENT(1)))) {
        json_decref(state);
        return err_set(err, ENOMEM, "out of memory");
    }
    json_decref(state);
    fd = memfd_create("usher-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    done = fd < 0 ? -1 : write_all(fd, text, strlen(text));
    wipe(text, strlen(text));
    free(text);
    if (done < 0) {
        err_sys(err, errno, "cannot keep the state in memory");
        close_fd(&fd);
        return -1;
    }
    *out_fd = fd;
    return 0;
}

/* --- its descriptors
 * ------------------------------------------------------------------------------------------------
 */

static void each_of_ports(const struct ports *ports, void (*each)(int fd))
{
    for (size_t i = 0; i < ports->n; i++) {
        for (unsigned k = 0; k < ports->all[i].fds_n; k++)
            each(ports->all[i].fds[k]);
    }
}

static void each_of_process(struct process *pr, void *arg)
{
    void (**each)(int fd) = arg;

    if (pr->pid && pr->channel.is_open)
        (*each)(pr->channel.watch.io.fd);
}

static void each_of_generation(struct generation *g, void (*each)(int fd))
{
    each(g->counters_fd);
    each(g->conf_fd);
    each(g->rules_fd);
    for (size_t i = 0; i < g->files.n; i++)
        each(g->files.all[i].fd);
    generation_each(g, each_of_process, &each);
}

void handover_each_fd(const struct parent *p, void (*each)(int fd))
{
    each(p->log_fd);
    for (size_t i = 0; tally_fd(p->tally, i) >= 0; i++)
        each(tally_fd(p->tally, i));
    each(p->notes_fd);
    each(p->door.fd);
    for (size_t i = 0; i < SHARED_COUNT; i++)
        each(p->shared_fds[i]);
    each_of_ports(&p->ports, each);
    each_of_generation(p->current, each);
    if (p->next)
        each_of_generation(p->next, each);
    list_for_each (it, &p->past)
        each_of_generation(CONTAINER(it, struct generation, node), each);
    if (p->change) {
        each_of_ports(&p->change->ports, each);
        each(p->change->door.fd);
    }
}
