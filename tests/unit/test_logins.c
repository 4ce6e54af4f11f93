/* Workers' questions about passwords in lookup: what the directories know decides, and what they
 * have for the backend goes back with the answer. */
#include "channel_end.h"

#include "base/log.h"
#include "base/secret.h"
#include "directory/directories.h"
#include "lookup/logins.h"
#include "lookup/verify.h"

#include <crypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, PULSE_MS = 50 };

static struct {
    struct child child;
    struct logins logins;
    struct directories *directories;
    struct end worker;
    uint32_t workers;
    struct deadline pulse;
    struct msg msg;
    uint64_t begun_ms;
    bool has_msg, waits;
    int log_fd;
} world;

static void on_turn(void *arg)
{
    (void)arg;
    channels_flush(&world.child.channels);
    if (world.waits && !world.has_msg && next_msg(&world.worker, &world.msg)) {
        world.has_msg = true;
        loop_stop(world.child.loop);
    }
}

static void on_pulse(struct deadline *d)
{
    if (loop_now_ms(world.child.loop) - world.begun_ms > PATIENCE_MS)
        loop_stop(world.child.loop);
    else
        deadline_set(world.child.loop, d, PULSE_MS);
}

/* The next answer to the worker. */
static const struct msg_verified *answer(void)
{
    world.has_msg = false;
    world.waits = true;
    world.begun_ms = loop_now_ms(world.child.loop);
    deadline_set(world.child.loop, &world.pulse, PULSE_MS);
    loop_run(world.child.loop);
    deadline_clear(&world.pulse);
    world.waits = false;
    assert_true(world.has_msg);
    assert_int_equal(world.msg.type, MSG_VERIFIED);
    return world.msg.body;
}

bool __real_verify_password(struct verify *v, uint32_t party, struct slice password,
                            struct slice hash, uint32_t within_ms, verify_done *done, void *arg);
bool __wrap_verify_password(struct verify *v, uint32_t party, struct slice password,
                            struct slice hash, uint32_t within_ms, verify_done *done, void *arg);

static uint32_t last_within_ms;

bool __wrap_verify_password(struct verify *v, uint32_t party, struct slice password,
                            struct slice hash, uint32_t within_ms, verify_done *done, void *arg)
{
    last_within_ms = within_ms;
    return __real_verify_password(v, party, password, hash, within_ms, done, arg);
}

static void on_news(void *arg, const struct directory_news *news)
{
    (void)arg;
    (void)news;
}

static void new_worker_of(uint32_t instance)
{
    const struct msg_peer who = {.role = ROLE_WORKER, .instance = instance};
    struct err err;
    int fds[2];

    assert_int_equal(channel_pair(fds, &err), 0);
    world.worker = (struct end){.fd = fds[0]};
    say_hello(&world.worker, ROLE_WORKER);
    logins_take_worker(&world.logins, &who, fds[1]);
}

static void new_worker(void)
{
    new_worker_of(++world.workers);
}

/* Lookup with a directory of these rules. */
static void begin(const char *rules)
{
    struct directories_params params = {.tell = on_news};
    struct child *c = &world.child;
    struct err err = {0};
    char text[4096];

    memset(&world, 0, sizeof world);
    snprintf(text, sizeof text,
             "workers = 1\nlistener l { address = \"127.0.0.1:0\"\ntls = off\n"
             "auth_allow_cleartext = yes }\n"
             "directory people { driver = static\nrules = { %s } }\n"
             "pool main { backend b1 { address = \"b1.test:1\" } }\n",
             rules);
    if (conf_load_text(text, "t", &c->conf, &err) < 0)
        fail_msg("%s", err.text);
    world.log_fd = memfd_create("log", MFD_CLOEXEC);
    log_open(world.log_fd, LEVEL_INFO);
    c->loop = loop_new(&err);
    c->self = (struct msg_hello){IPC_MAGIC, IPC_VERSION, IPC_OLDEST, ROLE_LOOKUP, 0, 0, 3, 0, 0};
    channels_init(&c->channels, c->loop);
    loop_on_turn(c->loop, on_turn, NULL);
    deadline_init(&world.pulse, on_pulse);
    params.conf = c->conf;
    params.loop = c->loop;
    if (directories_new(&params, &world.directories, &err) < 0)
        fail_msg("%s", err.text);
    logins_init(&world.logins, c);
    assert_int_equal(logins_start(&world.logins, world.directories, &err), 0);
    assert_int_equal(logins_begin(&world.logins, &err), 0);
    new_worker();
}

static void finish(void)
{
    struct child *c = &world.child;

    directories_free(&world.directories);
    logins_stop(&world.logins);
    loop_free(&c->loop);
    conf_free(&c->conf);
    close(world.worker.fd);
    log_open(STDERR_FILENO, LEVEL_ERROR);
    close(world.log_fd);
}

static const char *log_text(void)
{
    static char text[8192];
    ssize_t n = pread(world.log_fd, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void ask_numbered(uint32_t question, const char *user, const char *password)
{
    struct msg_verify m = {.name_n = (uint16_t)strlen(user), .question = question};
    char tail[IPC_TEXT_MAX];
    int n = snprintf(tail, sizeof tail, "%s%s", user, password);

    send_msg(&world.worker, MSG_VERIFY, 7, &m, slice_of(tail, (size_t)n), -1);
}

static const struct msg_verified *verified(const char *user, const char *password)
{
    ask_numbered(5, user, password);
    return answer();
}

static const char *hash(void)
{
    static struct crypt_data data;

    memset(&data, 0, sizeof data);
    return crypt_rn("secret", "$2b$04$abcdefghijklmnopqrstuu", &data, sizeof data);
}

/* One rule of a user whose password is "secret", with more facts. */
static const char *rule(const char *user, const char *more)
{
    static char text[512];

    snprintf(text, sizeof text, "\"%s password_hash=%s %s\"", user, hash(), more);
    return text;
}

static void test_the_directory_says_which_password_is_right(void **state)
{
    const struct msg_verified *v;

    (void)state;
    begin(rule("ann", ""));
    v = verified("ann", "secret");
    assert_int_equal(world.msg.id, 7);
    assert_int_equal(v->question, 5);
    assert_int_equal(v->verified, VERIFIED_OK);
    assert_false(v->is_replaced || v->is_master || v->user_n || v->password_n);
    v = verified("ann", "guess");
    assert_int_equal(v->question, 5);
    assert_int_equal(v->verified, VERIFIED_REFUSED);
    assert_int_equal(world.msg.tail.n, 0);
    assert_int_equal(verified("ann", "")->verified, VERIFIED_REFUSED);
    finish();
}

static void test_what_the_backend_is_to_be_shown_comes_with_a_right_password_only(void **state)
{
    const struct msg_verified *v;

    (void)state;
    begin(rule("ann", "backend_password=deep"));
    v = verified("ann", "secret");
    assert_int_equal(v->verified, VERIFIED_OK);
    assert_true(v->is_replaced && !v->is_master);
    assert_int_equal(v->user_n, 0);
    assert_true(slice_eq(world.msg.tail, SLICE("deep")));
    v = verified("ann", "guess");
    assert_int_equal(v->verified, VERIFIED_REFUSED);
    assert_false(v->is_replaced || v->password_n);
    assert_int_equal(world.msg.tail.n, 0);
    finish();
}

static void test_a_master_comes_with_name_and_password(void **state)
{
    const struct msg_verified *v;

    (void)state;
    begin(rule("ann", "master_user=chief master_password=top"));
    v = verified("ann", "secret");
    assert_int_equal(v->verified, VERIFIED_OK);
    assert_true(v->is_replaced && v->is_master);
    assert_int_equal(v->user_n, 5);
    assert_int_equal(v->password_n, 3);
    assert_true(slice_eq(world.msg.tail, SLICE("chieftop")));
    finish();
}

/* Facts may have changed since the lease; the worker compares. */
static void test_the_name_for_the_backend_comes_behind_all(void **state)
{
    const struct msg_verified *v;

    (void)state;
    begin(rule("ann", "backend_user=u42"));
    v = verified("ann", "secret");
    assert_int_equal(v->verified, VERIFIED_OK);
    assert_int_equal(v->told_n, 3);
    assert_false(v->user_n || v->password_n || v->is_replaced || v->is_master);
    assert_true(slice_eq(world.msg.tail, SLICE("u42")));
    assert_int_equal(verified("ann", "guess")->told_n, 0);
    assert_int_equal(world.msg.tail.n, 0);
    finish();
    begin(rule("ann", "master_user=chief master_password=top backend_user=u42"));
    v = verified("ann", "secret");
    assert_int_equal(v->told_n, 3);
    assert_true(slice_eq(world.msg.tail, SLICE("chieftopu42")));
    finish();
}

static void test_who_has_no_hash_cannot_be_verified(void **state)
{
    (void)state;
    begin("\"ann pool=main\"");
    assert_int_equal(verified("ann", "secret")->verified, VERIFIED_UNAVAILABLE);
    assert_true(slice_eq(world.msg.tail, SLICE("the directory has no password_hash of the user")));
    assert_int_equal(verified("bob", "secret")->verified, VERIFIED_UNAVAILABLE);
    finish();
}

static void test_a_hash_that_is_none_is_told_to_the_log_without_it(void **state)
{
    (void)state;
    begin("\"ann password_hash=$nosuch$hush\"");
    assert_int_equal(verified("ann", "secret")->verified, VERIFIED_UNAVAILABLE);
    assert_non_null(strstr(log_text(), "directory_failed directory=people"));
    assert_non_null(strstr(log_text(), "ann"));
    assert_null(strstr(log_text(), "hush"));
    finish();
}

static void test_questions_that_make_no_sense_are_answered_all_the_same(void **state)
{
    static const struct {
        uint16_t name_n;
        struct slice tail;
    } rows[] = {{0, SLICE("secret")}, {9, SLICE("ann")}, {3, SLICE("ann\0x")}};
    static char long_tail[IPC_TEXT_MAX];

    (void)state;
    begin(rule("ann", ""));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct msg_verify m = {.name_n = rows[i].name_n, .question = 1};

        send_msg(&world.worker, MSG_VERIFY, 7, &m, rows[i].tail, -1);
        assert_int_equal(answer()->verified, VERIFIED_UNAVAILABLE);
    }
    memset(long_tail, 'x', sizeof long_tail);
    for (unsigned name_n = 3; name_n <= IPC_USER_MAX + 1; name_n += IPC_USER_MAX - 2) {
        const struct msg_verify m = {.name_n = (uint16_t)name_n, .question = 1};

        send_msg(&world.worker, MSG_VERIFY, 7, &m, slice_of(long_tail, sizeof long_tail), -1);
        assert_int_equal(answer()->verified, VERIFIED_UNAVAILABLE);
    }
    assert_int_equal(verified("ann", "secret")->verified, VERIFIED_OK);
    finish();
}

/* Else, in a rush, each would be begun at the last moment and answered behind it, for nobody. */
static void test_no_hash_is_begun_that_would_not_be_answered_in_time(void **state)
{
    (void)state;
    begin(rule("ann", ""));
    assert_int_equal(verified("ann", "secret")->verified, VERIFIED_OK);
    assert_in_range(last_within_ms, 1,
                    world.child.conf->global.directory_timeout + VERIFY_BEYOND_MS / 2);
    finish();
}

static void test_a_worker_that_is_gone_is_not_answered(void **state)
{
    (void)state;
    begin(rule("ann", ""));
    for (uint32_t i = 0; i < 20; i++)
        ask_numbered(i, "ann", "secret");
    close(world.worker.fd);
    new_worker();
    assert_int_equal(verified("ann", "secret")->question, 5);
    finish();
}

static void test_a_worker_has_one_channel(void **state)
{
    struct end first;
    char byte;

    (void)state;
    begin(rule("ann", ""));
    ask_numbered(4, "ann", "secret");
    first = world.worker;
    new_worker_of(world.workers);
    assert_int_equal(verified("ann", "secret")->question, 5);
    while (recv(first.fd, &byte, 1, MSG_DONTWAIT) > 0)
        ;
    assert_int_equal(recv(first.fd, &byte, 1, MSG_DONTWAIT), 0);
    close(first.fd);
    finish();
}

static void test_no_secret_is_left_behind_an_answer(void **state)
{
    size_t before;

    (void)state;
    begin(rule("ann", "backend_password=deep"));
    assert_int_equal(verified("ann", "secret")->verified, VERIFIED_OK);
    before = secret_used();
    assert_int_equal(verified("ann", "secret")->verified, VERIFIED_OK);
    assert_int_equal(verified("ann", "guess")->verified, VERIFIED_REFUSED);
    assert_int_equal(secret_used(), before);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_directory_says_which_password_is_right),
        cmocka_unit_test(test_what_the_backend_is_to_be_shown_comes_with_a_right_password_only),
        cmocka_unit_test(test_a_master_comes_with_name_and_password),
        cmocka_unit_test(test_the_name_for_the_backend_comes_behind_all),
        cmocka_unit_test(test_who_has_no_hash_cannot_be_verified),
        cmocka_unit_test(test_a_hash_that_is_none_is_told_to_the_log_without_it),
        cmocka_unit_test(test_questions_that_make_no_sense_are_answered_all_the_same),
        cmocka_unit_test(test_no_hash_is_begun_that_would_not_be_answered_in_time),
        cmocka_unit_test(test_a_worker_that_is_gone_is_not_answered),
        cmocka_unit_test(test_a_worker_has_one_channel),
        cmocka_unit_test(test_no_secret_is_left_behind_an_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
