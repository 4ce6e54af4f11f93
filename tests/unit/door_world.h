/* The unix door in one process: its loop, real sockets with a path, and a control that only notes
 * what it is told. The linker sends clock_gettime() here. */
#ifndef USHER_TESTS_DOOR_WORLD_H
#define USHER_TESTS_DOOR_WORLD_H

#include "admin/door.h"
#include "base/log.h"
#include "cm.h"
#include "net/local.h"
#include "operate_fake.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char dir[64], path[80];
static struct conf *conf;
static struct backends backends;
static struct operate control;
static struct child child;
static struct door *door;
static struct local listening;
static int log_fds[2];
static unsigned changes;
static unsigned turns;
static struct err err;

/* So many seconds have passed that have not; the linker sends the loop's clock here. */
static time_t ahead_s;

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    int done = __real_clock_gettime(clock, out);

    out->tv_sec += ahead_s;
    return done;
}

static bool stops_at_change;

static inline void on_changed(void *arg)
{
    (void)arg;
    changes++;
    if (stops_at_change)
        loop_stop(child.loop);
}

static inline void count_turn(void *arg)
{
    (void)arg;
    turns++;
}

static inline int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/usher-door-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/ctl", dir);
    if (conf_load_text("admin_see = {\"daemon\", \"@mail\"} admin_steer = {\"bin\"}\n"
                       "listener l { address = \"127.0.0.1:0\" }\n"
                       "directory people { driver = static rules = {\"* pool=main\"} }\n"
                       "pool main { backend mail1 { address = \"192.0.2.1:10143\" }\n"
                       "backend mail2 { address = \"192.0.2.2:10143\" } }\n",
                       "t", &conf, &err) < 0 ||
        backends_init(&backends, conf, &err) < 0 || local_listen(path, &listening, &err) < 0)
        return -1;
    control = (struct operate){.backends = &backends};
    child = (struct child){.loop = loop_new(&err), .conf = conf};
    loop_on_turn(child.loop, count_turn, NULL);
    if (pipe2(log_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    log_open(log_fds[1], LEVEL_INFO);
    changes = turns = 0;
    if (admin_door.open(&child, dup(listening.fd), &door, &err) < 0)
        return -1;
    admin_door.begin(door, &control, on_changed, NULL);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    admin_door.close(&door);
    fake_done(&control);
    local_close(&listening, path);
    loop_free(&child.loop);
    backends_done(&backends);
    conf_free(&conf);
    log_open(STDERR_FILENO, LEVEL_ERROR);
    close(log_fds[0]);
    close(log_fds[1]);
    return rmdir(dir);
}

/* --- the loop, while something is waited for -------------------------------------------------- */

struct wait {
    struct watch watch;
    struct deadline late;
    bool is_late;
};

static inline void on_wait(struct watch *w, unsigned events)
{
    (void)w;
    (void)events;
    loop_stop(child.loop);
}

static inline void on_late(struct deadline *d)
{
    CONTAINER(d, struct wait, late)->is_late = true;
    loop_stop(child.loop);
}

/* Runs the door until there is something to be read from `fd`. */
static inline void run_until_readable(int fd)
{
    struct wait w = {.is_late = false};

    watch_init(&w.watch, fd, on_wait);
    watch_set(child.loop, &w.watch, LOOP_READ);
    deadline_init(&w.late, on_late);
    deadline_set(child.loop, &w.late, 20000);
    loop_run(child.loop);
    watch_set(child.loop, &w.watch, 0);
    deadline_clear(&w.late);
    assert_false(w.is_late);
}

/* -1 with errno when nobody listens, or one may not. */
static inline int connect_to(const char *to)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(at.sun_path, sizeof at.sun_path, "%s", to);
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd); /* leaves errno alone */
    return -1;
}

static inline int knock(void)
{
    int fd = connect_to(path);

    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What comes until `lines` line ends have, or the end. */
static inline const char *hear(int fd, size_t lines)
{
    static char text[1 << 20];
    size_t n = 0;

    while (lines > 0) {
        ssize_t got;

        run_until_readable(fd);
        got = read(fd, text + n, sizeof text - 1 - n);
        if (got <= 0)
            break;
        for (ssize_t i = 0; i < got && lines > 0; i++)
            lines -= text[n + (size_t)i] == '\n';
        n += (size_t)got;
    }
    text[n] = '\0';
    return text;
}

/* How many lines come, up to `most`, before the end. */
static inline size_t count_lines(int fd, size_t most)
{
    char text[16384];
    size_t n = 0;

    while (n < most) {
        ssize_t got;

        run_until_readable(fd);
        got = read(fd, text, sizeof text);
        if (got <= 0)
            break;
        for (ssize_t i = 0; i < got; i++)
            n += text[i] == '\n';
    }
    return n;
}

static inline void assert_ended(int fd)
{
    assert_string_equal(hear(fd, 1), "");
    close(fd);
}

static inline const char *log_text(void)
{
    static char text[8192];
    ssize_t n = read(log_fds[0], text, sizeof text - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

#define POOLS                                                                                     \
    "{\"row\":{\"pool\":\"main\",\"storage\":\"own\",\"backends\":2,\"sessions\":30,\"users\":3," \
    "\"place\":\"hash\",\"check\":\"greeting\"}}\n"                                               \
    "{\"done\":{\"rows\":1}}\n"
#define UNPINNED "{\"done\":{\"users\":1,\"text\":\"ann has no pin\"}}\n"

/* The wheel is set to wake soon, and then it is later than it thinks. */
static inline void pass(time_t seconds)
{
    struct wait w = {.is_late = false};

    deadline_init(&w.late, on_late);
    deadline_set(child.loop, &w.late, 50);
    ahead_s += seconds;
    loop_run(child.loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
