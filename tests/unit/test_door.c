/* The unix door: requests and answers, bounds, rights, and the socket itself. */
#include "door_world.h"

#include "admin/rights.h"

#include <grp.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- requests and answers --------------------------------------------------------------------- */

static void test_requests_are_answered_one_after_the_other(void **state)
{
    int fd = knock();

    (void)state;
    say(fd, "{\"command\":\"pools\"}\n\r\n{\"command\":\"unpin\",\"user\":\"ann\"}\r\n");
    assert_string_equal(hear(fd, 3), POOLS UNPINNED);
    say(fd, "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(fd, 2), POOLS);
    close(fd);
}

static void test_a_request_may_come_byte_by_byte(void **state)
{
    static const char line[] = "{\"command\":\"pools\"}\n";
    int fd = knock();

    (void)state;
    for (const char *at = line; *at; at++) {
        const char byte[] = {*at, '\0'};
        int other = knock();

        say(fd, byte);
        /* Whoever else is answered shows that this byte has been read. */
        say(other, "{\"command\":\"nonsense\"}\n");
        (void)hear(other, 1);
        close(other);
    }
    assert_string_equal(hear(fd, 2), POOLS);
    close(fd);
}

static void test_a_peer_that_has_finished_sending_is_answered_and_let_go(void **state)
{
    int fd = knock();

    (void)state;
    /* The last line needs no end, as printf leaves it out. */
    say(fd, "{\"command\":\"pools\"}\n{\"command\":\"pools\"}");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_string_equal(hear(fd, 4), POOLS POOLS);
    assert_ended(fd);
}

static void test_a_wrong_request_does_not_end_the_connection(void **state)
{
    int fd = knock();

    (void)state;
    say(fd, "\x01\xff\n{\"command\":\"pools\"}\n");
    assert_string_equal(
        hear(fd, 3), "{\"error\":\"a request is one JSON object on a line, as in {\\\"command\\\": "
                     "\\\"status\\\"}\",\"code\":\"usage\"}\n" POOLS);
    close(fd);
}

static void test_a_request_that_is_too_long_ends_the_connection(void **state)
{
    static char line[70000];
    int fd = knock();
    size_t sent = 0;

    (void)state;
    memset(line, ' ', sizeof line);
    while (sent < sizeof line) {
        ssize_t n = send(fd, line + sent, sizeof line - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            break;
        sent += (size_t)n;
    }
    assert_string_equal(hear(fd, 1),
                        "{\"error\":\"the request is too long\",\"code\":\"usage\"}\n");
    close(fd);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void test_a_list_is_made_as_it_is_taken(void **state)
{
    int fd = knock(), other = knock();

    (void)state;
    control.sessions = 50000;
    say(fd, "{\"command\":\"sessions\"}\n");
    run_until_readable(fd);
    /* Nobody reads any more: the rest is not made, and others are served. */
    say(other, "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(other, 2), POOLS);
    turns = 0;
    for (unsigned i = 0; i < 10; i++) {
        say(other, "{\"command\":\"pools\"}\n");
        assert_string_equal(hear(other, 2), POOLS);
    }
    assert_true(turns < 2000); /* it sleeps in between */
    assert_int_equal(count_lines(fd, 50001), 50001);
    close(fd);
    close(other);
}

static void test_one_piece_is_done_in_a_turn_of_the_loop(void **state)
{
    int fds[8];

    (void)state;
    control.sessions = 1280;
    for (size_t i = 0; i < 8; i++) {
        fds[i] = knock();
        say(fds[i], "{\"command\":\"sessions\",\"backend\":\"mail1\"}\n");
    }
    for (size_t i = 0; i < 8; i++) {
        assert_non_null(strstr(hear(fds[i], 641), "{\"done\":{\"rows\":640}}\n"));
        close(fds[i]);
    }
    /* A beginning and five pieces of 128 each. */
    assert_true(turns >= 8 * 6);
}

static void test_a_peer_that_goes_away_during_a_list_is_forgotten(void **state)
{
    int fd = knock(), other = knock();

    (void)state;
    control.sessions = 50000;
    say(fd, "{\"command\":\"users\"}\n");
    run_until_readable(fd);
    close(fd);
    say(other, "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(other, 2), POOLS);
    close(other);
}

#define TOO_MANY "{\"error\":\"too many operators are connected; try again\",\"code\":\"failed\"}\n"

static void test_the_thirty_third_is_told_and_let_go(void **state)
{
    int fds[32], more[9];

    (void)state;
    for (size_t i = 0; i < 32; i++) {
        fds[i] = knock();
        say(fds[i], "{\"command\":\"pools\"}\n");
        assert_string_equal(hear(fds[i], 2), POOLS);
    }
    /* Eight are listened to until they have asked; so the ninth is told at once. */
    for (size_t i = 0; i < 9; i++)
        more[i] = knock();
    assert_string_equal(hear(more[8], 1), TOO_MANY);
    assert_ended(more[8]);
    for (size_t i = 0; i < 8; i++) {
        say(more[i], "{\"command\":\"pools\"}\n{\"command\":\"pools\"}\n");
        assert_string_equal(hear(more[i], 1), TOO_MANY);
        assert_string_equal(hear(more[i], 1), "");
        close(more[i]);
    }
    /* One goes, and there is room for another. */
    assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
    assert_ended(fds[0]);
    fds[0] = knock();
    say(fds[0], "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(fds[0], 2), POOLS);
    for (size_t i = 0; i < 32; i++)
        close(fds[i]);
}

static void test_many_small_requests_at_once_are_all_answered(void **state)
{
    enum { REQUESTS = 2000 };
    static char lines[REQUESTS * 24];
    size_t n = 0;
    int fd = knock();

    (void)state;
    for (unsigned i = 0; i < REQUESTS; i++)
        n += (size_t)snprintf(lines + n, sizeof lines - n, "{\"command\":\"pools\"}\n");
    /* The kernel has room for all; the door takes them as it answers. */
    say(fd, lines);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_int_equal(count_lines(fd, 2 * REQUESTS), 2 * REQUESTS);
    assert_ended(fd);
}

/* --- silence ---------------------------------------------------------------------------------- */

static void test_a_minute_of_silence_ends_a_connection(void **state)
{
    int fd = knock(), late = knock();

    (void)state;
    say(fd, "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(fd, 2), POOLS);
    pass(58);
    /* Who says something, if it is a whole request, may stay; half of one is silence. */
    say(late, "{\"command\":");
    say(fd, "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(fd, 2), POOLS);
    pass(3);
    assert_ended(late);
    say(fd, "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(fd, 2), POOLS);
    pass(61);
    assert_ended(fd);
}

static void test_who_may_not_come_in_and_is_silent_is_told_at_last(void **state)
{
    int fds[32], one_more;

    (void)state;
    for (size_t i = 0; i < 32; i++)
        fds[i] = knock();
    one_more = knock();
    say(fds[31], "{\"command\":\"pools\"}\n");
    assert_string_equal(hear(fds[31], 2), POOLS);
    pass(6);
    assert_string_equal(hear(one_more, 1), TOO_MANY);
    assert_ended(one_more);
    for (size_t i = 0; i < 32; i++)
        close(fds[i]);
}

/* Until the door writes no more, as there is no room. */
static void fill(int fd)
{
    int before, lying = 0;

    do {
        before = lying;
        pass(0);
        assert_int_equal(ioctl(fd, FIONREAD, &lying), 0);
    } while (lying == 0 || lying != before);
}

static void test_a_reader_who_stops_reading_is_let_go(void **state)
{
    int fd = knock();

    (void)state;
    control.sessions = 50000;
    say(fd, "{\"command\":\"sessions\"}\n");
    fill(fd);
    pass(61);
    assert_true(count_lines(fd, 50001) < 50001);
    close(fd);
}

/* --- steering --------------------------------------------------------------------------------- */

static void test_steering_is_logged_and_told(void **state)
{
    char want[256];
    int fd = knock();

    (void)state;
    say(fd, "{\"command\":\"pin\",\"user\":\"a\\\"b\",\"backend\":\"mail2\"}\n");
    assert_string_equal(hear(fd, 1),
                        "{\"done\":{\"users\":1,\"text\":\"a\\\"b is pinned to mail2\"}}\n");
    snprintf(want, sizeof want,
             "uid=%u pid=%d command=pin user=\"a\\\"b\" backend=mail2 detail=\"a\\\"b is pinned to "
             "mail2\"\n",
             getuid(), getpid());
    assert_non_null(strstr(log_text(), want));
    assert_int_equal(changes, 1);
    control.fails = true;
    say(fd, "{\"command\":\"move\",\"from\":\"mail1\",\"to\":\"mail2\"}\n");
    assert_string_equal(hear(fd, 1),
                        "{\"error\":\"the state file cannot be written\",\"code\":\"failed\"}\n");
    assert_non_null(strstr(log_text(),
                           "command=move backend=mail2 detail=\"the state file cannot be "
                           "written\"\n"));
    assert_int_equal(changes, 1);
    /* Neither what is wrong in itself nor what only sees. */
    say(fd, "{\"command\":\"pin\"}\n{\"command\":\"pools\"}\n");
    (void)hear(fd, 3);
    assert_string_equal(log_text(), "");
    close(fd);
}

/* --- rights ----------------------------------------------------------------------------------- */

static struct right right_of(uid_t uid, gid_t group)
{
    const struct local_peer peer = {.uid = uid, .groups = &group, .groups_n = 1};
    struct rights rights;
    struct right right;

    assert_int_equal(rights_init(&rights, &conf->global, &err), 0);
    right = rights_of(&rights, &peer);
    rights_done(&rights);
    return right;
}

static void test_rights_come_from_users_and_groups(void **state)
{
    const uid_t daemon = getpwnam("daemon")->pw_uid, bin = getpwnam("bin")->pw_uid;
    const gid_t mail = getgrnam("mail")->gr_gid;
    struct right right;

    (void)state;
    right = right_of(daemon, 60000);
    assert_true(right.may_see && !right.may_steer);
    assert_string_equal(right.by, "daemon");
    right = right_of(bin, 60000);
    assert_true(right.may_see && right.may_steer);
    right = right_of(60000, mail);
    assert_true(right.may_see && !right.may_steer);
    right = right_of(bin, mail);
    assert_true(right.may_see && right.may_steer);
    right = right_of(60000, 60000);
    assert_false(right.may_see || right.may_steer);
    right = right_of(0, 60000);
    assert_true(right.may_see && right.may_steer);
    assert_string_equal(right.by, "root");
    right = right_of(geteuid(), 60000);
    assert_true(right.may_see && right.may_steer);
}

/* Another account says it and hears; only root can become one. */
static const char *hear_as(const char *user, gid_t group, const char *text, size_t lines)
{
    static char said[4096];
    const struct passwd *pw = getpwnam(user);
    int fds[2];
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    pid = fork();
    if (pid == 0) {
        size_t heard = 0;
        int fd;

        if (setgroups(1, &group) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
            setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0 || (fd = connect_to(path)) < 0)
            _exit(1);
        (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
        while (heard < lines && (n = read(fd, said, sizeof said)) > 0) {
            for (ssize_t i = 0; i < n; i++)
                heard += said[i] == '\n';
            if (write(fds[1], said, (size_t)n) != n)
                _exit(1);
        }
        _exit(0);
    }
    close(fds[1]);
    run_until_readable(fds[0]);
    n = read(fds[0], said, sizeof said - 1);
    said[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return said;
}

static void test_who_has_connected_is_known_by_the_kernel(void **state)
{
    const gid_t mail = getgrnam("mail")->gr_gid;

    (void)state;
    if (geteuid() != 0)
        return; /* the rules themselves are tested above */
    assert_string_equal(hear_as("nobody", 60000, "{\"command\":\"pools\"}\n", 1),
                        "{\"error\":\"you may not; the settings admin_see and admin_steer say who "
                        "may\",\"code\":\"denied\"}\n");
    assert_string_equal(hear_as("nobody", mail, "{\"command\":\"unpin\",\"user\":\"ann\"}\n", 1),
                        "{\"error\":\"you may see, but not steer; the setting admin_steer says who "
                        "may\",\"code\":\"denied\"}\n");
    assert_string_equal(control.did, "");
    assert_string_equal(hear_as("bin", 60000, "{\"command\":\"unpin\",\"user\":\"ann\"}\n", 1),
                        UNPINNED);
    assert_non_null(strstr(log_text(), " steered by=bin uid=2 "));
}

/* --- the socket itself ------------------------------------------------------------------------ */

static void test_a_socket_that_somebody_listens_on_is_left_alone(void **state)
{
    struct local second;
    struct stat st;

    (void)state;
    assert_int_equal(local_listen(path, &second, &err), -1);
    assert_non_null(strstr(err.text, "somebody listens on "));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0666);
}

static void test_a_socket_that_was_left_behind_is_replaced(void **state)
{
    char name[80];
    struct local first, second;
    struct stat st;

    (void)state;
    snprintf(name, sizeof name, "%s/left", dir);
    assert_int_equal(local_listen(name, &first, &err), 0);
    close(first.fd); /* as if killed */
    assert_int_equal(connect_to(name), -1);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(local_listen(name, &second, &err), 0);
    /* A socket that has taken our place is not ours to remove. */
    assert_int_equal(unlink(name), 0);
    assert_int_equal(local_listen(name, &first, &err), 0);
    local_close(&second, name);
    assert_int_equal(stat(name, &st), 0);
    local_close(&first, name);
    assert_int_equal(stat(name, &st), -1);
}

static void test_what_is_no_socket_is_left_alone(void **state)
{
    char name[80];
    struct local one;
    int fd;

    (void)state;
    snprintf(name, sizeof name, "%s/file", dir);
    fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(local_listen(name, &one, &err), -1);
    assert_non_null(strstr(err.text, "is no socket"));
    assert_int_equal(unlink(name), 0);
    /* A link that leads nowhere is not followed. */
    assert_int_equal(symlink("/tmp/usher-door-nowhere", name), 0);
    assert_int_equal(local_listen(name, &one, &err), -1);
    assert_int_equal(unlink(name), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_are_answered_one_after_the_other),
        TEST(test_a_request_may_come_byte_by_byte),
        TEST(test_a_peer_that_has_finished_sending_is_answered_and_let_go),
        TEST(test_a_wrong_request_does_not_end_the_connection),
        TEST(test_a_request_that_is_too_long_ends_the_connection),
        TEST(test_a_list_is_made_as_it_is_taken),
        TEST(test_one_piece_is_done_in_a_turn_of_the_loop),
        TEST(test_a_peer_that_goes_away_during_a_list_is_forgotten),
        TEST(test_the_thirty_third_is_told_and_let_go),
        TEST(test_many_small_requests_at_once_are_all_answered),
        TEST(test_a_minute_of_silence_ends_a_connection),
        TEST(test_who_may_not_come_in_and_is_silent_is_told_at_last),
        TEST(test_a_reader_who_stops_reading_is_let_go),
        TEST(test_steering_is_logged_and_told),
        TEST(test_rights_come_from_users_and_groups),
        TEST(test_who_has_connected_is_known_by_the_kernel),
        TEST(test_a_socket_that_somebody_listens_on_is_left_alone),
        TEST(test_a_socket_that_was_left_behind_is_replaced),
        TEST(test_what_is_no_socket_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
