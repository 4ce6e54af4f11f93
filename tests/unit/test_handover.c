/* What the parent leaves to its next program: all of it is there again, and whatever is not as it
 * should be is refused with the name of what is wrong.
 *
 * With `--seeds FOLDER` it writes what it hands over there, for tests/fuzz/corpus/handover. */
#include "cm.h"
#include "parent/change.h"
#include "parent/handover.h"
#include "parent/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FDS_MOST = 1024, PIDS = 100000 };

/* --- a parent with everything in it ------------------------------------------------------------
 */

static int memory(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static char *duplicate(const char *text)
{
    char *copy = strdup(text);

    assert_non_null(copy);
    return copy;
}

static void add_port(struct ports *ports, unsigned listener, const char *title, const char *ip,
                     unsigned fds)
{
    const struct conf_listener words = {.title = (char *)(uintptr_t)title,
                                        .address = (char *)(uintptr_t) "*:143"};
    struct addr addr;
    struct port *port;
    struct err err;

    assert_true(addr_parse_ip(slice_str(ip), (uint16_t)(10143 + listener), &addr));
    port = ports_add(ports, &words, listener, &addr, fds, &err);
    assert_non_null(port);
    port->is_passed = listener % 2;
    for (unsigned i = 0; i < fds; i++)
        port->fds[port->fds_n++] = memory();
}

static void on_message(struct channel *ch, const struct msg *m)
{
    (void)ch;
    (void)m;
}

static void on_closed(struct channel *ch, const char *why)
{
    (void)ch;
    (void)why;
}

static void add_process(struct process *pr, bool has_begun)
{
    static const struct channel_events events = {.on_message = on_message, .on_closed = on_closed};
    const struct msg_hello self = msg_hello_of(ROLE_PARENT);
    struct parent *p = pr->parent;
    struct err err;
    int fds[2];

    pr->instance = ++p->last_instance;
    /* That no process has: nobody is to be ended by a test. */
    pr->pid = (pid_t)(INT32_MAX - PIDS + (int)pr->instance);
    pr->is_ready = true;
    pr->has_begun = has_begun;
    pr->started_s = 1700000000 + pr->instance;
    assert_int_equal(channel_pair(fds, &err), 0);
    close(fds[1]);
    channel_open(&pr->channel, &p->channels, fds[0], &self, &events);
    pr->channel.peer = msg_hello_of(pr->role);
}

static struct generation *add_generation(struct parent *p, unsigned number, unsigned workers,
                                         bool has_begun)
{
    struct generation *g = generation_new(p);

    assert_non_null(g);
    g->number = number;
    snprintf(g->version, sizeof g->version, "1.%u", number);
    generation_set_workers(g, workers);
    g->watchdog_ms = 30000 + number;
    add_process(&g->control, has_begun);
    add_process(&g->lookup, has_begun);
    for (unsigned i = 0; i < workers; i++)
        add_process(&g->workers[i], has_begun);
    return g;
}

static void give(struct generation *g)
{
    static const char *const names[] = {"/etc/usher/key.pem", "/etc/usher/sch\xc3\xbcssel.pem",
                                        "/etc/usher/\xff\x80\x01\"\\.pem"};
    struct err err;

    g->counters_fd = memory();
    g->conf_fd = memory();
    g->rules_fd = memory();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(files_add(&g->files, slice_str(names[i]), memory(), &err), 0);
}

static void add_change(struct parent *p)
{
    struct change *c = p->change = change_new(p, CHANGE_UPGRADE);

    assert_non_null(c);
    c->asker = (struct change_asker){.instance = 3, .id = 77};
    c->prepared.door = DOOR_NEW;
    c->is_prepared = true;
    c->door = (struct local){.fd = memory(), .dev = 3, .ino = 4};
    c->door_path = duplicate("/run/usher/other");
    add_port(&c->ports, 0, "", "192.0.2.1", 0);
    add_port(&c->ports, 1, "", "2001:db8::1", 2);
}

static void begin(struct parent *p)
{
    struct err err;

    parent_init(p);
    p->loop = loop_new(&err);
    assert_non_null(p->loop);
    channels_init(&p->channels, p->loop);
}

static void fill(struct parent *p)
{
    struct generation *g;
    struct err err;

    begin(p);
    p->tally = tally_new();
    assert_non_null(p->tally);
    assert_true(tally_own(p->tally, &err) >= 0);
    p->log_fd = memory();
    p->notes_fd = memory();
    for (size_t i = 0; i < SHARED_COUNT; i++)
        p->shared_fds[i] = memory();
    p->program = duplicate("/usr/sbin/usher");
    p->conf_path = duplicate("/etc/usher/\xe4.conf");
    p->service.socket = duplicate("@notify");
    p->service.watchdog_ms = 1500;
    p->epoch = 7;
    p->rotated_ms = 123456789;
    p->is_asked[CHANGE_RELOAD] = true;
    for (size_t i = 0; i < sizeof p->tickets.keys; i++)
        ((unsigned char *)p->tickets.keys)[i] = (unsigned char)(i * 7);
    p->door = (struct local){.fd = memory(), .dev = 1, .ino = 2};
    p->door_path = duplicate("/run/usher/ctl");
    add_port(&p->ports, 0, "imap", "192.0.2.1", 3);
    add_port(&p->ports, 1,
             "\xfc"
             "ber",
             "::", 1);
    p->current = add_generation(p, 3, 2, true);
    give(p->current);
    p->next = add_generation(p, 4, 3, false);
    give(p->next);
    add_process(&p->next->preparer, false);
    g = add_generation(p, 1, 1, true);
    list_append(&p->past, &g->node);
    g = add_generation(p, 2, 1, false);
    g->is_given_up = true;
    list_append(&p->past, &g->node);
    add_change(p);
}

static void end(struct parent *p)
{
    /* Not as usher does: no socket of the file system is to be removed, and no log goes on. */
    close_fd(&p->door.fd);
    close_fd(&p->log_fd);
    parent_free(p);
    loop_free(&p->loop);
}

static json_t *printed(const struct parent *p)
{
    json_t *state;
    char *text;
    struct err err;
    off_t size;
    int fd;

    assert_int_equal(handover_print(p, &fd, &err), 0);
    size = lseek(fd, 0, SEEK_END);
    text = malloc((size_t)size);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)size, 0), size);
    close(fd);
    state = json_loadb(text, (size_t)size, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(state);
    free(text);
    return state;
}

/* What a whole parent prints. Its own descriptors are closed again. */
static json_t *whole(void)
{
    struct parent p;
    json_t *state;

    fill(&p);
    state = printed(&p);
    end(&p);
    return state;
}

static char *text_of(const json_t *state)
{
    char *text = json_dumps(state, JSON_INDENT(1) | JSON_SORT_KEYS);

    assert_non_null(text);
    return text;
}

static int read_text(struct parent *p, const char *text, size_t n, bool is_trial, struct err *err)
{
    /* Exactly as much as it is, for the sanitizer to guard. */
    char *copy = malloc(n ? n : 1);
    int done;

    assert_non_null(copy);
    memcpy(copy, text, n);
    if (is_trial)
        parent_init(p);
    else
        begin(p);
    *err = (struct err){0};
    done = handover_read(p, slice_of(copy, n), is_trial, err);
    free(copy);
    return done;
}

static int try_to_read(const json_t *state, struct err *err)
{
    struct parent p;
    char *text = text_of(state);
    int done = read_text(&p, text, strlen(text), true, err);

    free(text);
    parent_free(&p);
    return done;
}

/* --- its members -------------------------------------------------------------------------------
 */

typedef void on_member(json_t *of, const char *key, json_t *value, void *arg);

/* Calls it for every member of every object; it may replace the value, not remove it. */
static void each_member(json_t *value, on_member *each, void *arg)
{
    if (json_is_object(value)) {
        for (void *it = json_object_iter(value); it; it = json_object_iter_next(value, it)) {
            each_member(json_object_iter_value(it), each, arg);
            each(value, json_object_iter_key(it), json_object_iter_value(it), arg);
        }
    }
    for (size_t i = 0; i < json_array_size(value); i++)
        each_member(json_array_get(value, i), each, arg);
}

static bool is_one_of(const char *key, const char *const *keys)
{
    for (; *keys; keys++) {
        if (strcmp(key, *keys) == 0)
            return true;
    }
    return false;
}

static bool is_descriptor(const char *key, const json_t *value)
{
    static const char *const keys[] = {"fd",       "fds",    "channel", "log",   "notes",
                                       "counters", "shared", "conf",    "rules", NULL};

    return is_one_of(key, keys) && (json_is_integer(value) || json_is_array(value));
}

typedef json_int_t change_fd(json_int_t fd);

static void each_fd(json_t *of, const char *key, json_t *value, void *arg)
{
    change_fd **change = arg;

    (void)of;
    if (!is_descriptor(key, value))
        return;
    if (json_is_integer(value))
        assert_int_equal(json_integer_set(value, (*change)(json_integer_value(value))), 0);
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *one = json_array_get(value, i);

        assert_int_equal(json_integer_set(one, (*change)(json_integer_value(one))), 0);
    }
}

static void change_fds(json_t *state, change_fd *change)
{
    each_member(state, each_fd, &change);
}

static json_int_t duplicated(json_int_t fd)
{
    int copy = fd < 0 ? -1 : fcntl((int)fd, F_DUPFD, 0);

    assert_true(fd < 0 || copy >= 0);
    return copy;
}

/* What a descriptor leads to, whatever its number. */
static json_int_t inode(json_int_t fd)
{
    struct stat st;

    if (fd < 0)
        return -1;
    assert_int_equal(fstat((int)fd, &st), 0);
    return (json_int_t)st.st_ino;
}

static json_int_t none(json_int_t fd)
{
    (void)fd;
    return -1;
}

static void note_open(bool open[FDS_MOST])
{
    for (int fd = 0; fd < FDS_MOST; fd++)
        open[fd] = fcntl(fd, F_GETFD) >= 0;
}

/* Closes all that are open now and were not then; how many. */
static unsigned close_others(const bool before[FDS_MOST])
{
    unsigned n = 0;

    for (int fd = 0; fd < FDS_MOST; fd++) {
        if (before[fd])
            assert_true(fcntl(fd, F_GETFD) >= 0);
        else if (fcntl(fd, F_GETFD) >= 0)
            n += close(fd) == 0;
    }
    return n;
}

/* --- the round trip ----------------------------------------------------------------------------
 */

static void test_all_is_there_again(void **state)
{
    bool before[FDS_MOST];
    struct parent old, new;
    json_t *first, *second;
    struct err err;
    char *text, *other;

    (void)state;
    note_open(before);
    fill(&old);
    first = printed(&old);
    change_fds(first, duplicated);
    text = text_of(first);
    if (read_text(&new, text, strlen(text), false, &err) < 0)
        fail_msg("%s", err.text);
    free(text);
    second = printed(&new);
    change_fds(first, inode);
    change_fds(second, inode);
    text = text_of(first);
    other = text_of(second);
    assert_string_equal(text, other);
    free(text);
    free(other);
    json_decref(first);
    json_decref(second);
    end(&old);
    end(&new);
    assert_int_equal(close_others(before), 0);
}

static void test_what_was_taken_over_does_not_pass_to_children(void **state)
{
    struct parent old, new;
    json_t *handed;
    struct err err;
    char *text;

    (void)state;
    fill(&old);
    handed = printed(&old);
    change_fds(handed, duplicated);
    text = text_of(handed);
    assert_int_equal(read_text(&new, text, strlen(text), false, &err), 0);
    assert_true(fcntl(new.log_fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(new.ports.all[0].fds[2], F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(new.current->control.channel.watch.io.fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(new.change->ports.all[1].fds[0], F_GETFD) & FD_CLOEXEC);
    free(text);
    json_decref(handed);
    end(&old);
    end(&new);
}

static unsigned named;

static void count_named(int fd)
{
    if (fd >= 0) {
        named++;
        assert_true(fcntl(fd, F_GETFD) >= 0);
    }
}

static json_int_t count_printed(json_int_t fd)
{
    named -= fd >= 0;
    return fd;
}

/* What is named has to outlive the program; what is not must not. */
static void test_each_descriptor_that_is_named_is_kept(void **state)
{
    struct parent p;
    json_t *handed;

    (void)state;
    fill(&p);
    handed = printed(&p);
    named = 0;
    handover_each_fd(&p, count_named);
    assert_true(named > 30);
    change_fds(handed, count_printed);
    assert_int_equal(named, 0);
    json_decref(handed);
    end(&p);
}

static void test_a_trial_has_all_but_descriptors_and_children(void **state)
{
    bool before[FDS_MOST];
    json_t *handed = whole(), *second;
    struct parent p;
    struct err err;
    char *text = text_of(handed), *other;

    (void)state;
    note_open(before);
    if (read_text(&p, text, strlen(text), true, &err) < 0)
        fail_msg("%s", err.text);
    free(text);
    second = printed(&p);
    assert_int_equal(p.current->workers_n, 2);
    assert_int_equal(p.ports.all[0].fds_n, 3);
    /* As it is without them. */
    change_fds(handed, none);
    for (size_t i = 0; i < 4; i++) {
        json_t *g = json_array_get(json_object_get(handed, "generations"), i);

        json_array_clear(json_object_get(g, "processes"));
        json_array_clear(json_object_get(g, "files"));
    }
    json_array_clear(json_object_get(handed, "counters"));
    text = text_of(handed);
    other = text_of(second);
    assert_string_equal(text, other);
    free(text);
    free(other);
    json_decref(handed);
    json_decref(second);
    parent_free(&p);
    assert_int_equal(close_others(before), 0);
}

static void test_members_of_a_later_release_are_passed_over(void **state)
{
    json_t *handed = whole();
    json_t *g = json_array_get(json_object_get(handed, "generations"), 0);
    struct err err;

    (void)state;
    assert_int_equal(json_object_set_new(handed, "news", json_array()), 0);
    assert_int_equal(json_object_set_new(g, "news", json_string("?")), 0);
    assert_int_equal(json_object_set_new(handed, "usher_state", json_integer(99)), 0);
    assert_int_equal(try_to_read(handed, &err), 0);
    json_decref(handed);
}

/* --- what is wrong -----------------------------------------------------------------------------
 */

static void refused(const json_t *state, const char *words)
{
    struct err err;

    assert_int_equal(try_to_read(state, &err), -1);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say %s", err.text, words);
}

static void test_versions_that_we_do_not_understand(void **state)
{
    static const struct {
        json_int_t version, oldest;
    } rows[] = {{0, 1}, {-1, 1}, {1, 0}, {2, 2}, {99, 98}, {1, -1}};
    json_t *handed = whole();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_object_set_new(handed, "usher_state", json_integer(rows[i].version));
        json_object_set_new(handed, "oldest", json_integer(rows[i].oldest));
        refused(handed, "version");
    }
    json_decref(handed);
}

static void test_a_state_that_is_cut_short(void **state)
{
    json_t *handed = whole();
    char *text = text_of(handed);
    struct parent p;
    struct err err;

    (void)state;
    for (size_t n = 0; n < strlen(text); n++) {
        assert_int_equal(read_text(&p, text, n, true, &err), -1);
        assert_true(err.text[0]);
        parent_free(&p);
    }
    free(text);
    json_decref(handed);
}

/* The program's version is for the words of errors only. */
static bool is_needed(const json_t *state, const json_t *of, const char *key)
{
    return of != state || strcmp(key, "version") != 0;
}

static const char *name_of(const json_t *state, const json_t *of, const char *key, char quoted[128])
{
    const bool is_version =
        of == state && (strcmp(key, "usher_state") == 0 || strcmp(key, "oldest") == 0);

    snprintf(quoted, 128, "\"%s\"", key);
    return is_version ? "version" : quoted;
}

/* In this process, as in an upgrade: with descriptors that are open, of which those that are not
 * named must stay so. */
static void refused_in_earnest(const json_t *state, const char *words)
{
    bool before[FDS_MOST];
    json_t *copy = json_deep_copy(state);
    struct parent p;
    struct err err;
    char *text;

    assert_non_null(copy);
    note_open(before);
    change_fds(copy, duplicated);
    text = text_of(copy);
    assert_int_equal(read_text(&p, text, strlen(text), false, &err), -1);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say %s", err.text, words);
    end(&p);
    close_others(before);
    free(text);
    json_decref(copy);
}

static void leave_out(json_t *of, const char *key, json_t *value, void *arg)
{
    json_t *state = arg, *without;
    char quoted[128], marked[128];

    (void)value;
    if (!is_needed(state, of, key))
        return;
    /* As a member under another name. */
    snprintf(marked, sizeof marked, "%s?", key);
    without = json_deep_copy(of);
    assert_int_equal(json_object_clear(of), 0);
    for (void *it = json_object_iter(without); it; it = json_object_iter_next(without, it)) {
        const char *name = json_object_iter_key(it);

        json_object_set(of, strcmp(name, key) == 0 ? marked : name, json_object_iter_value(it));
    }
    refused(state, name_of(state, of, key, quoted));
    refused_in_earnest(state, name_of(state, of, key, quoted));
    assert_int_equal(json_object_clear(of), 0);
    assert_int_equal(json_object_update(of, without), 0);
    json_decref(without);
}

static void set_wrong(json_t *state, json_t *of, const char *key, json_t *wrong)
{
    char quoted[128];

    assert_int_equal(json_object_set_new(of, key, wrong), 0);
    refused(state, name_of(state, of, key, quoted));
    if (!is_descriptor(key, wrong))
        refused_in_earnest(state, name_of(state, of, key, quoted));
}

static bool may_be_null(const json_t *state, const json_t *of, const char *key)
{
    static const char *const keys[] = {"path", "notify", NULL};

    return is_one_of(key, keys) || (of == state && strcmp(key, "change") == 0);
}

static void mistype(json_t *of, const char *key, json_t *value, void *arg)
{
    json_t *state = arg;

    if (!is_needed(state, of, key))
        return;
    json_incref(value);
    if (!json_is_string(value))
        set_wrong(state, of, key, json_string("x"));
    if (!json_is_integer(value))
        set_wrong(state, of, key, json_integer(1));
    if (!json_is_array(value))
        set_wrong(state, of, key, json_array());
    if (!json_is_boolean(value))
        set_wrong(state, of, key, json_true());
    if (!json_is_object(value))
        set_wrong(state, of, key, json_object());
    if (!may_be_null(state, of, key))
        set_wrong(state, of, key, json_null());
    set_wrong(state, of, key, json_real(1.5));
    if (json_is_integer(value))
        set_wrong(state, of, key, json_integer(-2));
    assert_int_equal(json_object_set_new(of, key, value), 0);
}

/* Members are taken from a copy, since changing an object ends walks over it. */
struct walk {
    json_t *state;
    unsigned skip; /* members before the one that it is about */
    json_t *of;
    char key[64];
};

static void find_next(json_t *of, const char *key, json_t *value, void *arg)
{
    struct walk *w = arg;

    (void)value;
    if (w->of || w->skip-- > 0)
        return;
    w->of = of;
    snprintf(w->key, sizeof w->key, "%s", key);
}

/* For each member of the whole state. Returns how many there are. */
static unsigned for_each_alone(on_member *act)
{
    unsigned n = 0;

    for (;; n++) {
        /* From the start, so that descriptors that it names are open. */
        struct parent p;
        struct walk w = {.skip = n};

        fill(&p);
        w.state = printed(&p);
        each_member(w.state, find_next, &w);
        if (w.of)
            act(w.of, w.key, json_object_get(w.of, w.key), w.state);
        json_decref(w.state);
        end(&p);
        if (!w.of)
            return n;
    }
}

static void test_each_member_that_is_missing_is_named(void **state)
{
    (void)state;
    assert_true(for_each_alone(leave_out) > 200);
}

static void test_each_member_of_a_wrong_type_is_named(void **state)
{
    (void)state;
    assert_true(for_each_alone(mistype) > 200);
}

static void test_two_processes_in_one_place_are_refused(void **state)
{
    struct parent p;
    json_t *handed, *processes;

    (void)state;
    fill(&p);
    handed = printed(&p);
    processes =
        json_object_get(json_array_get(json_object_get(handed, "generations"), 0), "processes");
    assert_int_equal(json_array_append(processes, json_array_get(processes, 0)), 0);
    refused(handed, "\"role\"");
    refused_in_earnest(handed, "\"role\"");
    json_decref(handed);
    end(&p);
}

static json_int_t nobodys(json_int_t fd)
{
    (void)fd;
    return 1 << 20;
}

static void test_descriptors_that_are_not_open_are_refused(void **state)
{
    json_t *handed = whole();
    struct parent p;
    struct err err;
    char *text;

    (void)state;
    change_fds(handed, nobodys);
    text = text_of(handed);
    assert_int_equal(read_text(&p, text, strlen(text), false, &err), -1);
    assert_non_null(strstr(err.text, "\"log\""));
    end(&p);
    free(text);
    json_decref(handed);
}

/* --- seeds -------------------------------------------------------------------------------------
 */

static void write_seed(const char *folder, const char *name, const json_t *state)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    INSIST(json_dump_file(state, path, JSON_COMPACT) == 0);
}

static int write_seeds(const char *folder)
{
    json_t *state = whole();
    json_t *generations = json_object_get(state, "generations");

    write_seed(folder, "upgrade", state);
    json_array_remove(generations, 1);
    json_object_set_new(state, "change", json_null());
    write_seed(folder, "reload", state);
    json_array_clear(generations);
    write_seed(folder, "empty", state);
    json_decref(state);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_there_again),
        cmocka_unit_test(test_what_was_taken_over_does_not_pass_to_children),
        cmocka_unit_test(test_each_descriptor_that_is_named_is_kept),
        cmocka_unit_test(test_a_trial_has_all_but_descriptors_and_children),
        cmocka_unit_test(test_members_of_a_later_release_are_passed_over),
        cmocka_unit_test(test_versions_that_we_do_not_understand),
        cmocka_unit_test(test_a_state_that_is_cut_short),
        cmocka_unit_test(test_each_member_that_is_missing_is_named),
        cmocka_unit_test(test_each_member_of_a_wrong_type_is_named),
        cmocka_unit_test(test_two_processes_in_one_place_are_refused),
        cmocka_unit_test(test_descriptors_that_are_not_open_are_refused),
    };

    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
