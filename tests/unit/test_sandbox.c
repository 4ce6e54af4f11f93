/* Which system calls a role may make once its sandbox is closed, and how it ends when it makes any
 * other. */
/* First, since the EV_NONE of libev and that of <elf.h> cannot come the other way round. */
#include "net/loop.h"

#include "sandboxed.h"

#include <linux/filter.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* --- what nobody may -------------------------------------------------------------------------- */

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

/* The socket's group would obey it: all connections to the first of the workers. */
static void steer_connections(void)
{
    struct sock_filter code[] = {{.code = BPF_RET | BPF_K}};
    const struct sock_fprog program = {1, code};

    (void)setsockopt(given.listening, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
                     sizeof program);
}

static void filter_what_comes(void)
{
    struct sock_filter code[] = {{.code = BPF_RET | BPF_K}};
    const struct sock_fprog program = {1, code};

    (void)setsockopt(given.listening, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static void load_a_module(void)
{
    (void)setsockopt(given.listening, IPPROTO_TCP, TCP_ULP, "tls", 4);
}

static void read_who_the_peer_is(void)
{
    struct ucred peer;
    socklen_t n = sizeof peer;

    (void)getsockopt(given.listening, SOL_SOCKET, SO_PEERCRED, &peer, &n);
}

static void read_a_peers_label(void)
{
    char label[64];
    socklen_t n = sizeof label;

    (void)getsockopt(given.listening, SOL_SOCKET, SO_PEERSEC, label, &n);
}

static void go_on_after_a_violation(void)
{
    signal(SIGSYS, SIG_IGN);
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
    (void)syscall(SYS_fchmodat, -1, "none", 0);
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

static void ask_for_a_file(void)
{
    struct stat st;

    expect(syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &st, 0) == 0);
}

static void write_to_a_file(void)
{
    expect(open("/etc/passwd", O_WRONLY | O_CLOEXEC) >= 0);
}

static void remove_a_file(void)
{
    expect(unlinkat(-1, "none", 0) == 0);
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

static void set_option(int fd, int level, int name)
{
    int on = 1;

    expect(setsockopt(fd, level, name, &on, sizeof on) == 0);
}

static void keep_a_connection_alive(void)
{
    set_option(given.listening, SOL_SOCKET, SO_KEEPALIVE);
}

static void ask_for_a_sockets_error(void)
{
    int code;
    socklen_t n = sizeof code;

    expect(getsockopt(given.listening, SOL_SOCKET, SO_ERROR, &code, &n) == 0 && code == 0);
}

static void prepare_for_a_source(void)
{
    set_option(given.listening, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
}

static void ask_over_tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    expect(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
}

/* The log, say, whose description all processes share. */
static void have_a_descriptor_wait(void)
{
    (void)fcntl(STDERR_FILENO, F_SETFL, O_RDWR);
}

/* As net/dial.h and net/stream.h do. */
static void go_to_a_server(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    expect(connect(fd, (struct sockaddr *)&given.at, sizeof given.at) == 0);
    ask_for_a_sockets_error();
    set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT);
}

/* A client comes, and a backend is gone to. */
static void serve(void)
{
    static const int options[] = {TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT};
    struct sockaddr_storage peer;
    socklen_t n = sizeof peer;
    int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), other;

    expect(connect(one, (struct sockaddr *)&given.at, sizeof given.at) == 0);
    other = accept4(given.listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    set_option(other, SOL_SOCKET, SO_KEEPALIVE);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        set_option(other, IPPROTO_TCP, options[i]);
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

/* --- tests ------------------------------------------------------------------------------------ */

static const enum role roles[] = {ROLE_WORKER, ROLE_LOOKUP, ROLE_CONTROL};

/* In a build whose run time needs the same call, an act that is not `is_ours` passes the list. */
struct forbidden {
    const char *call;
    void (*act)(void);
    bool is_ours;
};

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
        {"setsockopt", steer_connections, true},
        {"setsockopt", filter_what_comes, true},
        {"setsockopt", load_a_module, true},
        {"getsockopt", read_a_peers_label, true},
        {"rt_sigaction", go_on_after_a_violation, false},
        {"fcntl", duplicate_a_descriptor, false},
        {"ioctl", type_into_a_terminal, true},
        {"prlimit64", raise_a_limit, true},
        {"prlimit64", read_anothers_limit, true},
        {"fchmodat", change_the_mode_of_a_file, true},
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
        {ROLE_WORKER, {"setsockopt", prepare_for_a_source, true}},
        {ROLE_LOOKUP, {"setsockopt", prepare_for_a_source, true}},
        {ROLE_CONTROL, {"getsockopt", ask_for_a_sockets_error, true}},
        {ROLE_LOOKUP, {"fcntl", have_a_descriptor_wait, false}},
        {ROLE_LOOKUP, {"getsockopt", read_who_the_peer_is, true}},
        {ROLE_WORKER, {"getsockopt", read_who_the_peer_is, true}},
        {ROLE_CONTROL, {"setsockopt", keep_a_connection_alive, true}},
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
        {ROLE_WORKER, serve},          {ROLE_WORKER, open_a_socket_of_tcp},
        {ROLE_LOOKUP, open_a_file},    {ROLE_LOOKUP, open_a_socket_of_udp},
        {ROLE_CONTROL, keep_a_state},  {ROLE_LOOKUP, open_a_socket_of_tcp},
        {ROLE_LOOKUP, ask_over_tcp},   {ROLE_WORKER, ask_for_a_sockets_error},
        {ROLE_LOOKUP, go_to_a_server},
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

static void block_signals_and_run_a_program(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    run_a_program();
}

static void test_blocking_its_signal_does_not_outlive_a_violation(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) {
        struct end end = act(roles[k], SANDBOX_ENFORCE, block_signals_and_run_a_program);

        assert_true(is_killed_by(&end, SIGSYS));
    }
}

static struct {
    struct loop *loop;
    int fd; /* of its epoll */
} spoilt;

static void make_a_loop(void)
{
    struct err err;

    /* The lowest number that is free. */
    spoilt.fd = dup(0);
    close(spoilt.fd);
    spoilt.loop = loop_new(&err);
}

static void run_a_spoilt_loop(void)
{
    close(spoilt.fd);
    loop_run(spoilt.loop);
}

static void test_a_loop_that_fails_says_why_and_violates_nothing(void **state)
{
    const struct row row = {.role = ROLE_WORKER, .act = run_a_spoilt_loop, .before = make_a_loop};
    struct end end = end_of(act_within, &row);

    (void)state;
    assert_true(is_killed_by(&end, SIGABRT));
    assert_true(matches(end.said, "^usher: .*epoll_wait: Bad file descriptor\n"));
    assert_null(strstr(end.said, "sandbox_violation"));
}

void __stack_chk_fail(void);

static void test_the_c_library_may_say_why_it_aborts(void **state)
{
    struct end end = act(ROLE_WORKER, SANDBOX_ENFORCE, __stack_chk_fail);

    (void)state;
    assert_true(is_killed_by(&end, SIGABRT));
    assert_memory_equal(end.said, "*** stack smashing detected ***", 31);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_may_do_what_no_role_needs),
        cmocka_unit_test(test_no_role_may_do_what_another_needs),
        cmocka_unit_test(test_each_role_may_do_what_it_needs),
        cmocka_unit_test(test_the_log_is_written_as_before),
        cmocka_unit_test(test_an_abort_is_no_violation),
        cmocka_unit_test(test_blocking_its_signal_does_not_outlive_a_violation),
        cmocka_unit_test(test_a_loop_that_fails_says_why_and_violates_nothing),
        cmocka_unit_test(test_the_c_library_may_say_why_it_aborts),
#ifdef __x86_64__
        cmocka_unit_test(test_numbers_of_another_architecture_do_not_go_round_the_list),
#endif
        cmocka_unit_test(test_the_mode_log_lets_calls_pass),
        cmocka_unit_test(test_the_mode_off_has_no_list_but_the_limits_all_the_same),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
