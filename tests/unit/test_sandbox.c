/* What a role may do once its sandbox is closed, and how it ends when it does anything else. Each
 * act is done in a child of its own. */
#include "proc/sandbox.h"

#include "base/log.h"
#include "dying.h"
#include "proc/build.h"
#include "proc/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* An act ends its process with DENIED when the kernel refused it, without the list being asked or
 * after it. */
enum { DENIED = 3, FAILED = 4 };

static char folder[] = "/tmp/usher-test-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

/* What is opened before the sandbox is closed, as a process is given things. */
static struct {
    int listening; /* on loopback */
    struct sockaddr_in at;
} given;

static void open_things(void)
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
};

static void close_sandbox(const struct row *row)
{
    static const char *source[] = {"127.0.0.1"};
    static struct conf_backend backend = {.title = "mail1"};
    static struct conf_pool pool = {.title = "main", .backends = &backend, .backends_n = 1};
    struct conf conf = {.pools = &pool, .pools_n = 1};
    struct err err;

    conf.global.sandbox = (uint8_t)row->mode;
    conf.global.state = folder;
    if (row->has_source)
        backend.source = (struct conf_list){source, 1};
    if (sandbox_prepare(&err) < 0 || sandbox_close(row->role, &conf, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        _exit(FAILED);
    }
}

static void act_within(int log, const void *arg)
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

static struct end act(enum role role, enum conf_sandbox mode, void (*what)(void))
{
    const struct row row = {.role = role, .mode = mode, .act = what};

    return end_of(act_within, &row);
}

static bool is_denied(const struct end *end)
{
    return WIFEXITED(end->status) && WEXITSTATUS(end->status) == DENIED;
}

/* For acts that may succeed. */
static void expect(bool has_worked)
{
    if (!has_worked)
        _exit(errno == EACCES ? DENIED : FAILED);
}

/* --- what nobody may -------------------------------------------------------------------------- */

static void run_a_program(void)
{
    char *argv[] = {(char *)(uintptr_t) "true", NULL};

    execv("/bin/true", argv);
}

/* These could not succeed in any case, as the kernel would see. */
static void fork_a_process(void)
{
    (void)syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0);
}

static void begin_a_thread(void)
{
    (void)syscall(SYS_clone3, NULL, 0);
}

static void trace_a_process(void)
{
    (void)ptrace(PTRACE_PEEKDATA, 0, 0, 0);
}

static void read_memory_of_a_process(void)
{
    struct iovec to = {&given, sizeof given};

    (void)process_vm_readv(0, &to, 1, &to, 1, 0);
}

static void signal_another(void)
{
    kill(1, 0);
}

static void signal_anothers_thread(void)
{
    (void)syscall(SYS_tgkill, 1, 1, 0);
}

static void map_executable(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_memory_executable(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static void make_a_file_in_memory(void)
{
    (void)memfd_create("test", 0);
}

static void open_a_unix_socket(void)
{
    (void)socket(AF_UNIX, SOCK_STREAM, 0);
}

static void open_a_netlink_socket(void)
{
    (void)socket(AF_NETLINK, SOCK_RAW, 0);
}

static void open_a_raw_socket(void)
{
    (void)socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static void open_a_multipath_socket(void)
{
    (void)socket(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */);
}

static void listen_on_a_socket(void)
{
    (void)listen(given.listening, 9);
}

static void bind_a_socket(void)
{
    (void)bind(given.listening, (struct sockaddr *)&given.at, sizeof given.at);
}

static void duplicate_a_descriptor(void)
{
    (void)fcntl(0, F_DUPFD, 9);
}

static void type_into_a_terminal(void)
{
    (void)syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x");
}

static void raise_a_limit(void)
{
    const struct rlimit limit = {9, 9};

    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void read_anothers_limit(void)
{
    struct rlimit limit;

    (void)syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, NULL, &limit);
}

static void change_the_mode_of_a_file(void)
{
    (void)chmod("/", 0);
}

static void leave_a_namespace(void)
{
    (void)unshare(CLONE_NEWUSER);
}

static void make_a_ring(void)
{
    (void)syscall(SYS_io_uring_setup, 1, NULL);
}

static void be_dumpable_again(void)
{
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* --- what some may ---------------------------------------------------------------------------- */

static void open_a_file(void)
{
    expect(open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
}

static void ask_for_a_file(void)
{
    struct stat st;

    expect(syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &st, 0) == 0);
}

static void open_a_file_of_processes(void)
{
    expect(open("/proc/self/status", O_RDONLY | O_CLOEXEC) >= 0);
}

static void write_to_a_file(void)
{
    expect(open("/etc/passwd", O_WRONLY | O_CLOEXEC) >= 0);
}

static void remove_a_file(void)
{
    expect(unlinkat(-1, "none", 0) == 0);
}

static void make_a_file_elsewhere(void)
{
    expect(open("/tmp", O_TMPFILE | O_RDWR, 0600) >= 0);
}

static void open_a_socket_of_udp(void)
{
    expect(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0);
}

static void open_a_socket_of_tcp(void)
{
    expect(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) >= 0);
}

static void signal_itself(void)
{
    expect(raise(SIGCHLD) == 0);
}

/* A client comes, and a backend is gone to. */
static void serve(void)
{
    struct sockaddr_storage peer;
    socklen_t n = sizeof peer;
    int on = 1, one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), other;

    expect(connect(one, (struct sockaddr *)&given.at, sizeof given.at) == 0);
    other = accept4(given.listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    expect(setsockopt(other, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0);
    expect(getsockname(other, (struct sockaddr *)&peer, &n) == 0);
    expect(send(one, "hello", 5, MSG_NOSIGNAL) == 5);
    expect(recv(other, &peer, 5, 0) == 5);
    expect(shutdown(one, SHUT_WR) == 0 && close(other) == 0);
}

static void use_memory(void)
{
    char *p = malloc(64UL << 20);

    expect(p != NULL);
    memset(p, 1, 1UL << 20);
    p = realloc(p, 128UL << 20);
    expect(p != NULL);
    free(p);
}

static void read_a_limit(void)
{
    struct rlimit limit;

    expect(getrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void write_the_log(void)
{
    log_detail(LOG_FATAL, "here");
}

/* Files as SQLite handles them. */
static void keep_a_state(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    char path[64];
    int dir, fd;

    snprintf(path, sizeof path, "%s/file", folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    expect(fd >= 0 && ftruncate(fd, 4096) == 0 && pwrite(fd, "x", 1, 0) == 1);
    expect(fcntl(fd, F_SETLK, &lock) == 0 && fdatasync(fd) == 0);
    expect(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
    dir = open(folder, O_RDONLY | O_CLOEXEC);
    expect(dir >= 0 && fsync(dir) == 0);
    expect(open(path, O_RDWR | O_TRUNC) >= 0);
    expect(unlink(path) == 0);
    expect(open("/dev/urandom", O_RDONLY | O_CLOEXEC) >= 0);
}

static void bind_to(uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    expect(bind(fd, (struct sockaddr *)&any, sizeof any) == 0);
}

static void bind_to_any_port(void)
{
    bind_to(0);
}

static void bind_to_a_port_of_its_own(void)
{
    bind_to(47143);
}

/* --- tests ------------------------------------------------------------------------------------ */

static const enum role roles[] = {ROLE_WORKER, ROLE_LOOKUP, ROLE_CONTROL};

/* In a build whose run time needs the same call, an act that is not `is_ours` passes the list. */
struct forbidden {
    const char *call;
    void (*act)(void);
    bool is_ours;
};

static void assert_violation(const struct end *end, enum role role, const char *call)
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

static void assert_forbidden(enum role role, const struct forbidden *f)
{
    struct end end = act(role, SANDBOX_ENFORCE, f->act);

    if (f->is_ours || sandbox_build.more_n == 0)
        assert_violation(&end, role, f->call);
}

static void test_nobody_may_do_what_no_role_needs(void **state)
{
    static const struct forbidden all[] = {
        {"execve", run_a_program, true},
        {"clone", fork_a_process, false},
        {"clone3", begin_a_thread, true},
        {"ptrace", trace_a_process, false},
        {"process_vm_readv", read_memory_of_a_process, true},
        {"kill", signal_another, true},
        {"tgkill", signal_anothers_thread, true},
        {"mmap", map_executable, true},
        {"mprotect", make_memory_executable, true},
        {"memfd_create", make_a_file_in_memory, true},
        {"socket", open_a_unix_socket, true},
        {"socket", open_a_netlink_socket, true},
        {"socket", open_a_raw_socket, true},
        {"socket", open_a_multipath_socket, true},
        {"listen", listen_on_a_socket, true},
        {"bind", bind_a_socket, true},
        {"fcntl", duplicate_a_descriptor, false},
        {"ioctl", type_into_a_terminal, true},
        {"prlimit64", raise_a_limit, true},
        {"prlimit64", read_anothers_limit, true},
        {"chmod", change_the_mode_of_a_file, true},
        {"unshare", leave_a_namespace, true},
        {"io_uring_setup", make_a_ring, true},
        {"prctl", be_dumpable_again, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t k = 0; k < sizeof roles / sizeof *roles; k++)
            assert_forbidden(roles[k], &all[i]);
    }
}

static void test_no_role_may_do_what_another_needs(void **state)
{
    static const struct {
        enum role role;
        struct forbidden forbidden;
    } rows[] = {
        {ROLE_WORKER, {"openat", open_a_file, false}},
        {ROLE_WORKER, {"newfstatat", ask_for_a_file, false}},
        {ROLE_WORKER, {"socket", open_a_socket_of_udp, true}},
        {ROLE_LOOKUP, {"openat", write_to_a_file, false}},
        {ROLE_LOOKUP, {"unlinkat", remove_a_file, true}},
        {ROLE_CONTROL, {"socket", open_a_socket_of_tcp, true}},
        {ROLE_CONTROL, {"socket", open_a_socket_of_udp, true}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_forbidden(rows[i].role, &rows[i].forbidden);
}

static void test_each_role_may_do_what_it_needs(void **state)
{
    static const struct {
        enum role role;
        void (*act)(void);
    } rows[] = {
        {ROLE_WORKER, serve},         {ROLE_WORKER, open_a_socket_of_tcp},
        {ROLE_LOOKUP, open_a_file},   {ROLE_LOOKUP, open_a_socket_of_udp},
        {ROLE_CONTROL, keep_a_state}, {ROLE_LOOKUP, open_a_socket_of_tcp},
    };
    static void (*const all[])(void) = {use_memory, read_a_limit, signal_itself};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct end end = act(rows[i].role, SANDBOX_ENFORCE, rows[i].act);

        assert_string_equal(end.said, "");
        assert_true(is_well(&end));
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) {
            struct end end = act(roles[k], SANDBOX_ENFORCE, all[i]);

            assert_string_equal(end.said, "");
            assert_true(is_well(&end));
        }
    }
}

static void test_the_log_is_written_as_before(void **state)
{
    struct end end = act(ROLE_WORKER, SANDBOX_ENFORCE, write_the_log);

    (void)state;
    assert_true(is_log_line(end.said));
    assert_true(matches(end.said, "Z error fatal detail=here\n$"));
}

static void abort_now(void)
{
    abort();
}

static void test_an_abort_is_no_violation(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) {
        struct end end = act(roles[k], SANDBOX_ENFORCE, abort_now);

        assert_true(is_killed_by(&end, SIGABRT));
        assert_null(strstr(end.said, "sandbox_violation"));
    }
}

#ifdef __x86_64__
static void call_by_a_number_of_x32(void)
{
    (void)syscall(0x40000000 + SYS_getpid);
}

static void test_numbers_of_another_architecture_do_not_go_round_the_list(void **state)
{
    struct end end = act(ROLE_WORKER, SANDBOX_ENFORCE, call_by_a_number_of_x32);

    (void)state;
    assert_true(is_killed_by(&end, SIGSYS));
    assert_string_equal(end.said, "");
}
#endif

static void test_the_mode_log_lets_calls_pass(void **state)
{
    static void (*const all[])(void) = {open_a_unix_socket, bind_a_socket, open_a_file,
                                        make_a_file_elsewhere};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct end end = act(ROLE_WORKER, SANDBOX_LOG, all[i]);

        assert_string_equal(end.said, "");
        assert_true(is_well(&end));
    }
}

static void expect_no_filter(void)
{
    expect(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0);
}

static void expect_limits(void)
{
    struct rlimit core;

    expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    expect(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == sandbox_build.is_dumpable);
    expect(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
}

static void test_the_mode_off_has_no_list_but_the_limits_all_the_same(void **state)
{
    static void (*const all[])(void) = {expect_no_filter, expect_limits, open_a_unix_socket,
                                        open_a_file};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct end end = act(ROLE_WORKER, SANDBOX_OFF, all[i]);

        assert_string_equal(end.said, "");
        assert_true(is_well(&end));
    }
}

/* --- Landlock --------------------------------------------------------------------------------- */

/* What this kernel offers; 0: nothing. */
static int landlock(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* its version */);

    return version > 0 && sandbox_build.closes_files ? (int)version : 0;
}

static void test_files_outside_of_a_roles_own_are_denied(void **state)
{
    static const struct {
        enum role role;
        void (*act)(void);
    } rows[] = {
        {ROLE_LOOKUP, open_a_file_of_processes},
        {ROLE_CONTROL, open_a_file},
        {ROLE_CONTROL, make_a_file_elsewhere},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && landlock(); i++) {
        struct end end = act(rows[i].role, SANDBOX_ENFORCE, rows[i].act);

        assert_string_equal(end.said, "");
        assert_true(is_denied(&end));
    }
}

static void test_with_a_source_ports_of_the_kernels_choice_may_be_bound(void **state)
{
    struct row row = {.role = ROLE_WORKER, .has_source = true, .act = bind_to_any_port};
    struct end end = end_of(act_within, &row);

    (void)state;
    assert_true(is_well(&end));
    row.act = bind_to_a_port_of_its_own;
    end = end_of(act_within, &row);
    if (landlock() >= 4)
        assert_true(is_denied(&end));
}

static void test_a_source_is_of_no_use_to_other_roles(void **state)
{
    const struct row row = {.role = ROLE_LOOKUP, .has_source = true, .act = bind_to_any_port};
    struct end end = end_of(act_within, &row);

    (void)state;
    assert_violation(&end, ROLE_LOOKUP, "bind");
}

/* --- hosts that deny a part ------------------------------------------------------------------- */

/* As a container's host may do. */
static void deny(const int *calls, size_t n, int code)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    for (size_t i = 0; i < n; i++)
        (void)seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)code), calls[i], 0);
    (void)seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1,
                           SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP));
    if (seccomp_load(filter) < 0)
        _exit(FAILED);
    seccomp_release(filter);
}

static void deny_seccomp(void)
{
    deny((int[]){SCMP_SYS(seccomp)}, 1, EPERM);
}

static void deny_landlock(void)
{
    deny((int[]){SCMP_SYS(landlock_create_ruleset)}, 1, ENOSYS);
}

static void deny_landlocks_last_step(void)
{
    deny((int[]){SCMP_SYS(landlock_restrict_self)}, 1, EPERM);
}

static void test_without_seccomp_files_are_closed_all_the_same(void **state)
{
    struct row row = {.role = ROLE_WORKER, .act = open_a_unix_socket, .before = deny_seccomp};
    struct end end = end_of(act_within, &row);

    (void)state;
    assert_true(is_log_line(end.said));
    assert_true(matches(end.said, "Z warning sandbox_partial role=worker part=seccomp detail=\".*"
                                  "Operation not permitted\"\n$"));
    assert_true(is_well(&end));
    row.act = open_a_file;
    end = end_of(act_within, &row);
    assert_true(landlock() ? is_denied(&end) : is_well(&end));
}

static void test_without_landlock_calls_are_closed_all_the_same(void **state)
{
    static void (*const ways[])(void) = {deny_landlock, deny_landlocks_last_step};

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways && landlock(); i++) {
        struct row row = {.role = ROLE_LOOKUP, .act = open_a_file_of_processes, .before = ways[i]};
        struct end end = end_of(act_within, &row);

        assert_true(is_log_line(end.said));
        assert_true(matches(
            end.said, "Z warning sandbox_partial role=lookup part=landlock detail=\".+\"\n$"));
        assert_true(is_well(&end));
        row.act = run_a_program;
        end = end_of(act_within, &row);
        assert_true(is_killed_by(&end, SIGSYS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_may_do_what_no_role_needs),
        cmocka_unit_test(test_no_role_may_do_what_another_needs),
        cmocka_unit_test(test_each_role_may_do_what_it_needs),
        cmocka_unit_test(test_the_log_is_written_as_before),
        cmocka_unit_test(test_an_abort_is_no_violation),
#ifdef __x86_64__
        cmocka_unit_test(test_numbers_of_another_architecture_do_not_go_round_the_list),
#endif
        cmocka_unit_test(test_the_mode_log_lets_calls_pass),
        cmocka_unit_test(test_the_mode_off_has_no_list_but_the_limits_all_the_same),
        cmocka_unit_test(test_files_outside_of_a_roles_own_are_denied),
        cmocka_unit_test(test_with_a_source_ports_of_the_kernels_choice_may_be_bound),
        cmocka_unit_test(test_a_source_is_of_no_use_to_other_roles),
        cmocka_unit_test(test_without_seccomp_files_are_closed_all_the_same),
        cmocka_unit_test(test_without_landlock_calls_are_closed_all_the_same),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
