/* Whose the sockets are: processes, in our own and in other network namespaces. */
#include "ports_sockets.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

enum { NOBODY = 65534 };

/* --- processes -------------------------------------------------------------------------------- */

static void test_processes_that_share_a_socket(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);
    struct child children[2];
    struct look *look;
    uint32_t told;

    (void)state;
    for (size_t i = 0; i < 2; i++)
        children[i] = begin_child(do_nothing, NULL, &told);
    look = look_at(&s);
    assert_int_equal(seen(look, &s)->processes_n, 3);
    assert_int_equal(look->processes_n, 3);
    for (size_t i = 1; i < 3; i++)
        assert_true(owner(look, seen(look, &s), i - 1)->pid < owner(look, seen(look, &s), i)->pid);
    look_free(&look);
    for (size_t i = 0; i < 2; i++)
        end_child(&children[i]);
    look = look_at(&s);
    assert_int_equal(seen(look, &s)->processes_n, 1);
    look_free(&look);
    close(s.fd);
}

static void test_two_descriptors_of_a_socket_are_one_process(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);
    int again = dup(s.fd);
    struct look *look = look_at(&s);

    (void)state;
    assert_int_equal(seen(look, &s)->processes_n, 1);
    look_free(&look);
    close(again);
    close(s.fd);
}

static void test_process_with_many_sockets(void **state)
{
    enum { MANY = 150 };
    struct sock s[MANY];
    struct question q = {0};
    struct look *look;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        s[i] = listening("127.0.0.1", 0, 0, 1);
        ask_for(&q, addr_port(&s[i].addr));
    }
    look = answer(&q);
    assert_int_equal(look->processes_n, 1);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(seen(look, &s[i])->processes_n, 1);
        close(s[i].fd);
    }
    look_free(&look);
}

static void take_a_strange_name(void *arg)
{
    const struct sock *s = arg;
    struct look *look;

    assert_int_equal(prctl(PR_SET_NAME, "a\x1b[7m\xff\xc2\x9b\xc3\xa4 b"), 0);
    look = look_at(s);
    for (size_t i = 0; i < look->processes_n; i++) {
        if (look->processes[i].pid == getpid())
            assert_string_equal(look->processes[i].name, "a\\x1b[7m\\xff\\xc2\\x9b\xc3\xa4 b");
    }
    assert_int_equal(look->processes_n, 2);
    look_free(&look);
}

static void test_names_are_fit_for_showing(void **state)
{
    struct sock s = listening("127.0.0.1", 0, 0, 5);

    (void)state;
    in_child(take_a_strange_name, &s);
    close(s.fd);
}

/* What others' descriptors are refused to: whoever is no root, by this; and root has to become
 * somebody. */
static uint32_t hide(void *arg)
{
    (void)arg;
    assert_int_equal(prctl(PR_SET_DUMPABLE, 0), 0);
    return listen_for_good("127.0.0.1");
}

static void look_at_hidden(void *arg)
{
    struct sock s = {.addr = at("127.0.0.1", (uint16_t) * (uint32_t *)arg)};
    uid_t uid = geteuid();
    struct look *look;

    if (uid == 0) {
        assert_int_equal(setgid(NOBODY), 0);
        assert_int_equal(setuid(NOBODY), 0);
    }
    look = look_at(&s);
    assert_int_equal(look->sockets_n, 1);
    assert_int_equal(look->sockets[0].uid, uid);
    assert_int_equal(look->sockets[0].processes_n, 0);
    assert_int_equal(look->processes_n, 0);
    assert_true(look->hidden_processes >= 1);
    look_free(&look);
}

static void test_processes_that_are_hidden_are_counted(void **state)
{
    uint32_t port;
    struct child c = begin_child(hide, NULL, &port);

    (void)state;
    in_child(look_at_hidden, &port);
    end_child(&c);
}

/* --- other network namespaces ----------------------------------------------------------------- */

/* 0: not allowed here. The address of a new namespace is down, but every address can be bound. */
static uint32_t listen_elsewhere(void *arg)
{
    (void)arg;
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return 0;
    return listen_for_good("0.0.0.0");
}

static const struct look_socket *find_in(const struct look *look, uint64_t namespace)
{
    for (size_t i = 0; i < look->sockets_n; i++) {
        if (look->namespaces[look->sockets[i].namespace_i].inode == namespace)
            return &look->sockets[i];
    }
    return NULL;
}

static uint64_t namespace_of(pid_t pid)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

static bool may_enter(pid_t pid)
{
    char path[64];
    pid_t child;
    int status;

    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(setns(open(path, O_RDONLY | O_CLOEXEC), CLONE_NEWNET) == 0 ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

static void test_other_namespaces_as_far_as_we_may(void **state)
{
    uint32_t port;
    struct child c = begin_child(listen_elsewhere, NULL, &port);
    uint64_t ours = namespace_of(getpid()), theirs = namespace_of(c.pid);
    struct question q = {.params.with_other_namespaces = true};
    const struct look_socket *found;
    struct look *look;

    (void)state;
    ask_for(&q, (uint16_t)port);
    look = answer(&q);
    found = find_in(look, theirs);
    assert_int_equal(look->namespaces[0].inode, ours);
    if (theirs == ours) {
        assert_int_equal(look->sockets_n, 0);
    } else if (may_enter(c.pid)) {
        assert_non_null(found);
        assert_true(found->namespace_i > 0);
        assert_false(look->namespaces[found->namespace_i].is_ours);
        assert_int_equal(look->namespaces[found->namespace_i].pid, c.pid);
        assert_int_equal(addr_port(&found->addr), port);
        assert_int_equal(owner(look, found, 0)->pid, c.pid);
    } else {
        assert_null(found);
        assert_true(look->hidden_namespaces >= 1);
        assert_int_equal(look->namespaces_n, 1);
    }
    look_free(&look);
    /* We are back where we were, and look elsewhere only when asked. */
    assert_int_equal(namespace_of(getpid()), ours);
    q.params.with_other_namespaces = false;
    look = answer(&q);
    assert_int_equal(look->sockets_n, 0);
    assert_int_equal(look->hidden_namespaces, 0);
    look_free(&look);
    end_child(&c);
}

/* Needs root: /run is another one for this process, with a namespace in which nobody lives. */
static void look_into_named(void *arg)
{
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;
    struct question q = {.params.with_other_namespaces = true};
    const struct look_socket *found;
    struct look *look;
    struct sock s;

    (void)arg;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return;
    assert_int_equal(mount("none", "/run", "tmpfs", 0, NULL), 0);
    assert_int_equal(mkdir("/run/netns", 0755), 0);
    fd = open("/run/netns/stale", O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
    close(fd);
    fd = open("/run/netns/mail front", O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
    close(fd);
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    s = listening("0.0.0.0", 0, 0, 5);
    assert_int_equal(mount("/proc/self/ns/net", "/run/netns/mail front", NULL, MS_BIND, NULL), 0);
    assert_int_equal(setns(own, CLONE_NEWNET), 0);
    ask_for(&q, addr_port(&s.addr));
    look = answer(&q);
    found = seen(look, &s);
    assert_string_equal(look->namespaces[found->namespace_i].name, "mail front");
    assert_int_equal(look->namespaces[found->namespace_i].pid, 0);
    assert_int_equal(owner(look, found, 0)->pid, getpid());
    look_free(&look);
}

static void test_namespaces_have_the_names_of_run_netns(void **state)
{
    (void)state;
    in_child(look_into_named, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes_that_share_a_socket),
        cmocka_unit_test(test_two_descriptors_of_a_socket_are_one_process),
        cmocka_unit_test(test_process_with_many_sockets),
        cmocka_unit_test(test_names_are_fit_for_showing),
        cmocka_unit_test(test_processes_that_are_hidden_are_counted),
        cmocka_unit_test(test_other_namespaces_as_far_as_we_may),
        cmocka_unit_test(test_namespaces_have_the_names_of_run_netns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
