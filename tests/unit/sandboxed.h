/* Acts within a closed sandbox. */
#ifndef USHER_TESTS_UNIT_SANDBOXED_H
#define USHER_TESTS_UNIT_SANDBOXED_H

#include "dying.h"

#include "base/log.h"
#include "proc/build.h"
#include "proc/crash.h"
#include "proc/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/socket.h>

/* How a process ends whose act was refused by Landlock, or failed for whatever other reason. */
enum { DENIED = 3, FAILED = 4 };

static char folder[] = "/tmp/usher-test-XXXXXX";

static inline int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

/* What is opened before the sandbox is closed, as a process is given things. */
static struct {
    int listening; /* on loopback */
    struct sockaddr_in at;
} given;

static inline void open_things(void)
{
    socklen_t n = sizeof given.at;

    given.at.sin_family = AF_INET;
    given.at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    given.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(given.listening, (struct sockaddr *)&given.at, n) < 0 ||
        listen(given.listening, 1) < 0 ||
        getsockname(given.listening, (struct sockaddr *)&given.at, &n) < 0)
        _exit(FAILED);
}

struct row {
    enum role role;
    enum conf_sandbox mode;
    bool has_source;
    void (*act)(void);
    void (*before)(void); /* or NULL */
    const char *map;      /* of a directory, or NULL */
};

static inline void close_sandbox(const struct row *row)
{
    static const char *source[] = {"127.0.0.1"};
    static struct conf_backend backend = {.title = "mail1"};
    static struct conf_pool pool = {.title = "main", .backends = &backend, .backends_n = 1};
    struct conf_directory directory = {.title = "people", .driver = DRIVER_FILE, .path = row->map};
    struct conf conf = {
        .pools = &pool, .pools_n = 1, .directories = &directory, .directories_n = row->map != NULL};
    struct err err;

    conf.global.sandbox = (uint8_t)row->mode;
    conf.global.state = folder;
    if (row->has_source)
        backend.source = (struct conf_list){source, 1};
    if (sandbox_prepare(&err) < 0 || sandbox_close(row->role, &conf, NULL, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        _exit(FAILED);
    }
}

static inline void act_within(int log, const void *arg)
{
    const struct row *row = arg;

    log_open(log, LEVEL_INFO);
    crash_begin(role_name(row->role), log);
    open_things();
    if (row->before)
        row->before();
    close_sandbox(row);
    row->act();
}

static inline struct end act(enum role role, enum conf_sandbox mode, void (*what)(void))
{
    const struct row row = {.role = role, .mode = mode, .act = what};

    return end_of(act_within, &row);
}

static inline bool is_denied(const struct end *end)
{
    return WIFEXITED(end->status) && WEXITSTATUS(end->status) == DENIED;
}

/* For acts that may succeed. */
static inline void expect(bool has_worked)
{
    if (!has_worked)
        _exit(errno == EACCES ? DENIED : FAILED);
}

static inline void assert_violation(const struct end *end, enum role role, const char *call)
{
    char pattern[256];

    snprintf(pattern, sizeof pattern,
             "Z error sandbox_violation role=%s pid=%d call=%s number=%d build_id=[0-9a-f]{40} "
             "frames=\"",
             role_name(role), end->pid, call, seccomp_syscall_resolve_name(call));
    assert_true(is_killed_by(end, SIGSYS));
    assert_true(is_log_line(end->said));
    assert_true(matches(end->said, pattern));
}

/* --- acts of several tests -------------------------------------------------------------------- */

static inline void run_a_program(void)
{
    char *argv[] = {(char *)(uintptr_t) "true", NULL};

    execv("/bin/true", argv);
}

static inline void open_a_unix_socket(void)
{
    (void)socket(AF_UNIX, SOCK_STREAM, 0);
}

static inline void open_a_file(void)
{
    expect(open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
}

static inline void make_a_file_elsewhere(void)
{
    expect(open("/tmp", O_TMPFILE | O_RDWR, 0600) >= 0);
}

#endif
