/* Telling a service manager, of which the test plays the part. */
#include "net/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A manager's socket: by path, or by an abstract name. */
struct manager {
    int fd;
    char name[100]; /* as in NOTIFY_SOCKET */
};

static void begin(struct manager *m, bool is_abstract)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t n = sizeof at;

    snprintf(m->name, sizeof m->name, "%susher-notify-%d", is_abstract ? "@" : "/tmp/",
             (int)getpid());
    memcpy(at.sun_path, m->name, strlen(m->name));
    if (is_abstract) {
        at.sun_path[0] = '\0';
        n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(m->name));
    }
    m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(m->fd >= 0);
    assert_int_equal(bind(m->fd, (struct sockaddr *)&at, n), 0);
}

static void end(struct manager *m)
{
    close(m->fd);
    if (m->name[0] == '/')
        unlink(m->name);
}

static void expect(const struct manager *m, const char *text)
{
    char got[256] = "";

    assert_true(recv(m->fd, got, sizeof got - 1, 0) >= 0);
    assert_string_equal(got, text);
}

static void expect_nothing(const struct manager *m)
{
    char got[256];

    assert_int_equal(recv(m->fd, got, sizeof got, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static void tell_by(bool is_abstract)
{
    struct manager m;
    struct notify n;
    struct err err;

    begin(&m, is_abstract);
    assert_int_equal(notify_open(&n, m.name, &err), 0);
    assert_int_equal(notify_send(&n, "READY=1\nSTATUS=good", true, &err), NOTIFY_SENT);
    assert_int_equal(notify_send(&n, "WATCHDOG=1", false, &err), NOTIFY_SENT);
    expect(&m, "READY=1\nSTATUS=good");
    expect(&m, "WATCHDOG=1");
    expect_nothing(&m);
    notify_close(&n);
    notify_close(&n);
    end(&m);
}

static void test_a_manager_is_told_by_path(void **state)
{
    (void)state;
    tell_by(false);
}

static void test_a_manager_is_told_by_abstract_name(void **state)
{
    (void)state;
    tell_by(true);
}

static void test_without_a_manager_all_succeeds(void **state)
{
    static const char *const none[] = {NULL, ""};
    struct notify n;
    struct err err;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(notify_open(&n, none[i], &err), 0);
        assert_int_equal(n.fd, -1);
        assert_int_equal(notify_send(&n, "READY=1", true, &err), NOTIFY_SENT);
        assert_int_equal(notify_flush(&n, &err), NOTIFY_SENT);
        notify_close(&n);
    }
}

static void test_what_is_no_socket_of_this_machine_is_refused(void **state)
{
    static const char *const wrong[] = {"vsock:2:1234", "relative", "/", "@"};
    char text[200];
    struct notify n;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(notify_open(&n, wrong[i], &err), -1);
        assert_non_null(strstr(err.text, wrong[i]));
        assert_int_equal(n.fd, -1);
    }
    memset(text, 'x', sizeof text);
    text[0] = '/';
    text[108] = '\0'; /* a path has its NUL within */
    assert_int_equal(notify_open(&n, text, &err), -1);
    text[0] = '@'; /* an abstract name needs none */
    assert_int_equal(notify_open(&n, text, &err), 0);
    notify_close(&n);
    text[108] = 'x';
    text[109] = '\0';
    assert_int_equal(notify_open(&n, text, &err), -1);
}

static void test_a_manager_that_has_gone_is_an_error_once_it_is_told(void **state)
{
    struct manager m;
    struct notify n;
    struct err err;

    (void)state;
    begin(&m, false);
    assert_int_equal(notify_open(&n, m.name, &err), 0);
    end(&m);
    assert_int_equal(notify_send(&n, "READY=1", true, &err), NOTIFY_FAILED);
    assert_int_equal(err.code, ENOENT);
    /* It is there again, by another socket. */
    begin(&m, false);
    assert_int_equal(notify_send(&n, "READY=1", true, &err), NOTIFY_SENT);
    expect(&m, "READY=1");
    notify_close(&n);
    end(&m);
}

static void test_what_must_arrive_waits_for_a_manager_that_does_not_read(void **state)
{
    struct manager m;
    struct notify n;
    struct err err;
    char got[256];
    unsigned status = 0;

    (void)state;
    begin(&m, false);
    assert_int_equal(notify_open(&n, m.name, &err), 0);
    while (notify_send(&n, "RELOADING=1", true, &err) == NOTIFY_SENT)
        status++;
    assert_int_equal(notify_send(&n, "WATCHDOG=1", false, &err), NOTIFY_SENT); /* dropped */
    assert_int_equal(notify_send(&n, "READY=1", true, &err), NOTIFY_WAITS);
    assert_int_equal(notify_flush(&n, &err), NOTIFY_WAITS);
    for (unsigned i = 0; i < status; i++)
        expect(&m, "RELOADING=1");
    expect_nothing(&m);
    assert_int_equal(notify_flush(&n, &err), NOTIFY_SENT);
    expect(&m, "RELOADING=1");
    expect(&m, "READY=1");
    expect_nothing(&m);
    /* Whoever does not read at all does not cost us memory. */
    while (notify_send(&n, "RELOADING=1", true, &err) != NOTIFY_FAILED)
        ;
    assert_int_equal(err.code, ENOBUFS);
    assert_true(recv(m.fd, got, sizeof got, 0) > 0);
    notify_close(&n);
    end(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_manager_is_told_by_path),
        cmocka_unit_test(test_a_manager_is_told_by_abstract_name),
        cmocka_unit_test(test_without_a_manager_all_succeeds),
        cmocka_unit_test(test_what_is_no_socket_of_this_machine_is_refused),
        cmocka_unit_test(test_a_manager_that_has_gone_is_an_error_once_it_is_told),
        cmocka_unit_test(test_what_must_arrive_waits_for_a_manager_that_does_not_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
