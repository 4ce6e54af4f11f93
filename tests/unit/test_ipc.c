/* Messages and channels between processes. */
#include "ipc/channel.h"

#include "cm.h"
#include "no_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- messages
 * -------------------------------------------------------------------------------------------------------
 */

static size_t build(char *out, enum msg_type type, const void *body, struct slice tail)
{
    size_t body_n = msg_body_size(type), n = sizeof(struct msg_head) + body_n + tail.n;
    size_t padding = (8 - n % 8) % 8;
    struct msg_head head = {.len = (uint16_t)(n + padding),
                            .type = (uint8_t)type,
                            .padding = (uint8_t)padding,
                            .id = 42};

    memset(out, 0, n + padding);
    memcpy(out, &head, sizeof head);
    if (body_n)
        memcpy(out + sizeof head, body, body_n);
    if (tail.n)
        memcpy(out + sizeof head + body_n, tail.p, tail.n);
    return n + padding;
}

static void test_message_comes_apart_as_it_was_put_together(void **state)
{
    static const char *const users[] = {"", "a", "ann@example.org", "12345678"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        _Alignas(8) char bytes[IPC_MESSAGE_MAX];
        const struct msg_admit admit = {.mech = MECH_PLAIN};
        size_t n = build(bytes, MSG_ADMIT, &admit, slice_str(users[i]));
        struct msg m;

        assert_int_equal(msg_parse(slice_of(bytes, n), &m), n);
        assert_int_equal(m.type, MSG_ADMIT);
        assert_int_equal(m.id, 42);
        assert_int_equal(((const struct msg_admit *)m.body)->mech, MECH_PLAIN);
        assert_true(slice_eq(m.tail, slice_str(users[i])));
        assert_int_equal(m.fd, -1);
    }
}

static void test_every_truncation_of_a_message_is_refused(void **state)
{
    _Alignas(8) char bytes[IPC_MESSAGE_MAX];
    const struct msg_admit admit = {0};
    size_t n = build(bytes, MSG_ADMIT, &admit, SLICE("ann"));
    struct msg m;

    (void)state;
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(msg_parse(slice_of(bytes, cut), &m), 0);
}

static void test_malformed_heads_are_refused(void **state)
{
    enum { ADMIT = sizeof(struct msg_head) + sizeof(struct msg_admit) };
    static const struct msg_head bad[] = {
        {.len = 8, .type = MSG_NONE},
        {.len = 8, .type = MSG_TYPE_COUNT},
        {.len = 0, .type = MSG_GO},
        {.len = 12, .type = MSG_GO},
        {.len = 16, .type = MSG_GO},               /* a tail where none may be */
        {.len = 8, .type = MSG_ADMIT},             /* no body */
        {.len = 16, .type = MSG_GO, .padding = 8}, /* more padding than is ever needed */
        {.len = 8, .type = MSG_GO, .padding = 1},
        {.len = IPC_MESSAGE_MAX + 8, .type = MSG_ADMIT},
        {.len = ADMIT + IPC_TEXT_MAX + 8, .type = MSG_ADMIT}, /* 8 bytes of tail too many */
        {.len = ADMIT - 8, .type = MSG_ADMIT},
    };
    _Alignas(8) char bytes[8192] = {0};
    struct msg m;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(bytes, &bad[i], sizeof bad[i]);
        assert_int_equal(msg_parse(slice_of(bytes, sizeof bytes), &m), 0);
    }
}

static void test_everything_that_processes_say_has_a_name(void **state)
{
    (void)state;
    for (enum msg_type i = MSG_NONE + 1; i < MSG_TYPE_COUNT; i++) {
        if (!msg_is_type(i))
            continue;
        assert_string_not_equal(msg_type_name(i), "");
        for (enum msg_type k = MSG_NONE + 1; k < i; k++)
            assert_false(msg_is_type(k) && strcmp(msg_type_name(i), msg_type_name(k)) == 0);
    }
    assert_string_equal(role_name(ROLE_PARENT), "parent");
    assert_string_equal(role_name(ROLE_LOOKUP), "lookup");
}

/* --- channels
 * -------------------------------------------------------------------------------------------------------
 */

struct end {
    struct channel ch;
    unsigned got, closed, drained;
    uint32_t last_id;
    bool is_in_order;
    int fd;
    char tail[64];
    struct loop *loop;
    unsigned stop_after; /* messages */
};

static struct loop *loop;
static struct channels all;
static struct end left, right;

static void on_message(struct channel *ch, const struct msg *m)
{
    struct end *e = CONTAINER(ch, struct end, ch);

    e->is_in_order &= m->id == e->last_id + 1;
    e->last_id = m->id;
    e->got++;
    if (m->fd >= 0) {
        if (e->fd >= 0)
            close(e->fd);
        e->fd = m->fd;
    }
    snprintf(e->tail, sizeof e->tail, "%.*s", SLICE_ARG(m->tail));
    if (e->got == e->stop_after)
        loop_stop(loop);
}

static void on_closed(struct channel *ch, const char *why)
{
    struct end *e = CONTAINER(ch, struct end, ch);

    e->closed++;
    snprintf(e->tail, sizeof e->tail, "%s", why);
    loop_stop(loop);
}

static void on_drained(struct channel *ch)
{
    CONTAINER(ch, struct end, ch)->drained++;
}

static const struct channel_events events = {
    .on_message = on_message, .on_closed = on_closed, .on_drained = on_drained};
static const struct msg_hello hello = {.magic = IPC_MAGIC,
                                       .version = IPC_VERSION,
                                       .oldest = IPC_OLDEST,
                                       .role = ROLE_WORKER,
                                       .instance = 9};

static void begin(struct end *e, int fd)
{
    *e = (struct end){.is_in_order = true, .fd = -1};
    channel_open(&e->ch, &all, fd, &hello, &events);
}

static int pair[2];

static void on_turn(void *arg)
{
    channels_flush(arg);
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    loop = loop_new(&err);
    channels_init(&all, loop);
    loop_on_turn(loop, on_turn, &all);
    if (channel_pair(pair, &err) < 0)
        return -1;
    begin(&left, pair[0]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    channel_close(&left.ch);
    channel_close(&right.ch);
    loop_free(&loop);
    return 0;
}

static void say(struct channel *ch, uint32_t id, const char *user)
{
    const struct msg_admit admit = {0};

    channel_send(ch, MSG_ADMIT, id, &admit, slice_str(user), -1);
}

static void test_thousands_of_messages_arrive_in_order(void **state)
{
    enum { N = 20000 };

    (void)state;
    begin(&right, pair[1]);
    for (uint32_t i = 1; i <= N; i++)
        say(&left.ch, i, "somebody@example.org");
    right.stop_after = N;
    loop_run(loop);
    assert_int_equal(right.got, N);
    assert_true(right.is_in_order);
    assert_int_equal(right.ch.peer.role, ROLE_WORKER);
    assert_int_equal(right.ch.peer.instance, 9);
    assert_string_equal(right.tail, "somebody@example.org");
}

static void test_full_channel_says_so_and_tells_when_it_has_drained(void **state)
{
    uint32_t i = 0;

    (void)state;
    begin(&right, pair[1]);
    while (!channel_is_full(&left.ch))
        say(&left.ch, ++i, "somebody@example.org");
    assert_true(buf_len(&left.ch.queue) >= CHANNEL_PACE);
    right.stop_after = i;
    loop_run(loop);
    assert_int_equal(left.drained, 1);
    assert_false(channel_is_full(&left.ch));
}

static void test_what_the_parent_sends_is_kept_as_a_secret(void **state)
{
    struct msg_hello parents = hello;
    struct channel ch;
    int ends[2];
    struct err err;

    (void)state;
    assert_false(left.ch.queue.is_secret);
    parents.role = ROLE_PARENT;
    assert_int_equal(channel_pair(ends, &err), 0);
    channel_open(&ch, &all, ends[0], &parents, &events);
    assert_true(ch.queue.is_secret);
    channel_close(&ch);
    close(ends[1]);
}

static void test_descriptors_arrive_with_their_messages_among_others(void **state)
{
    const struct msg_listener listener = {.listener = 3};
    struct stat_pair {
        char a, b;
    } got;
    int pipes[2];

    (void)state;
    begin(&right, pair[1]);
    assert_int_equal(pipe(pipes), 0);
    say(&left.ch, 1, "before");
    channel_send(&left.ch, MSG_LISTENER, 2, &listener, slice_of(NULL, 0), pipes[1]);
    say(&left.ch, 3, "behind");
    right.stop_after = 3;
    loop_run(loop);
    assert_true(right.is_in_order);
    assert_true(right.fd >= 0);
    assert_true(fcntl(right.fd, F_GETFD) & FD_CLOEXEC);
    /* It is the same pipe, and the sender's copy is closed: with ours closed too, the pipe ends. */
    assert_int_equal(write(right.fd, "ab", 2), 2);
    assert_int_equal(read(pipes[0], &got, 2), 2);
    close(right.fd);
    assert_int_equal(read(pipes[0], &got, 2), 0);
    close(pipes[0]);
}

static void test_end_of_the_peer_is_told_once(void **state)
{
    (void)state;
    close(pair[1]);
    loop_run(loop);
    assert_int_equal(left.closed, 1);
    assert_false(left.ch.is_open);
    /* Sending now is harmless. */
    say(&left.ch, 1, "nobody");
}

static void send_raw(const void *p, size_t n)
{
    assert_int_equal(send(pair[1], p, n, 0), n);
}

/* Another pair for the next of several cases. */
static void begin_anew(void)
{
    struct err err;

    close(pair[1]);
    channel_close(&left.ch);
    assert_int_equal(channel_pair(pair, &err), 0);
    begin(&left, pair[0]);
}

static void test_peer_whose_versions_are_all_others_is_not_talked_to(void **state)
{
    static const struct msg_hello others[] = {
        {.version = IPC_VERSION + 1, .oldest = IPC_VERSION + 1},
        {.version = UINT16_MAX, .oldest = IPC_VERSION + 1},
        {.version = IPC_OLDEST - 1, .oldest = IPC_OLDEST - 1},
        {.version = IPC_OLDEST - 1, .oldest = 0},
        {.version = IPC_VERSION, .oldest = IPC_VERSION + 1}, /* from back to front */
    };
    _Alignas(8) char bytes[64];

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct msg_hello other = hello;

        other.version = others[i].version;
        other.oldest = others[i].oldest;
        send_raw(bytes, build(bytes, MSG_HELLO, &other, slice_of(NULL, 0)));
        send_raw(bytes, build(bytes, MSG_GO, NULL, slice_of(NULL, 0)));
        left.stop_after = 1;
        loop_run(loop);
        assert_int_equal(left.got, 0);
        assert_int_equal(left.closed, 1);
        assert_non_null(strstr(left.tail, "version"));
        begin_anew();
    }
    close(pair[1]);
}

static void test_peer_that_speaks_ours_among_others_is_talked_to(void **state)
{
    static const struct msg_hello others[] = {
        {.version = IPC_VERSION, .oldest = IPC_OLDEST},
        {.version = IPC_VERSION + 1, .oldest = IPC_VERSION},
        {.version = UINT16_MAX, .oldest = 0},
        {.version = IPC_OLDEST, .oldest = IPC_OLDEST - 1},
    };
    _Alignas(8) char bytes[64];

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct msg_hello other = hello;

        other.version = others[i].version;
        other.oldest = others[i].oldest;
        send_raw(bytes, build(bytes, MSG_HELLO, &other, slice_of(NULL, 0)));
        send_raw(bytes, build(bytes, MSG_GO, NULL, slice_of(NULL, 0)));
        left.stop_after = 1;
        loop_run(loop);
        assert_int_equal(left.got, 1);
        assert_int_equal(left.closed, 0);
        assert_int_equal(left.ch.peer.version, others[i].version);
        begin_anew();
    }
    close(pair[1]);
}

static void test_message_before_hello_ends_the_channel(void **state)
{
    _Alignas(8) char bytes[64];

    (void)state;
    send_raw(bytes, build(bytes, MSG_GO, NULL, slice_of(NULL, 0)));
    loop_run(loop);
    assert_int_equal(left.closed, 1);
    assert_int_equal(left.got, 0);
    close(pair[1]);
}

static void test_rubbish_behind_a_good_message_ends_the_channel(void **state)
{
    _Alignas(8) char bytes[128] = {0};
    size_t n = build(bytes, MSG_HELLO, &hello, slice_of(NULL, 0));

    (void)state;
    n += build(bytes + n, MSG_GO, NULL, slice_of(NULL, 0));
    send_raw(bytes, n + 8);
    loop_run(loop);
    assert_int_equal(left.got, 1);
    assert_int_equal(left.closed, 1);
    assert_string_equal(left.tail, "malformed message");
    close(pair[1]);
}

static void test_message_without_its_descriptor_ends_the_channel(void **state)
{
    const struct msg_listener listener = {0};
    _Alignas(8) char bytes[128] = {0};
    size_t n = build(bytes, MSG_HELLO, &hello, slice_of(NULL, 0));

    (void)state;
    n += build(bytes + n, MSG_LISTENER, &listener, slice_of(NULL, 0));
    send_raw(bytes, n);
    loop_run(loop);
    assert_int_equal(left.got, 0);
    assert_int_equal(left.closed, 1);
    close(pair[1]);
}

static void test_hello_that_is_not_ours_ends_the_channel(void **state)
{
    struct msg_hello strangers[] = {hello, hello};
    _Alignas(8) char bytes[64];

    (void)state;
    strangers[0].magic++;
    strangers[1].role = ROLE_COUNT;
    close(pair[1]);
    channel_close(&left.ch);
    for (size_t i = 0; i < 2; i++) {
        struct err err;

        assert_int_equal(channel_pair(pair, &err), 0);
        begin(&left, pair[0]);
        send_raw(bytes, build(bytes, MSG_HELLO, &strangers[i], slice_of(NULL, 0)));
        loop_run(loop);
        assert_int_equal(left.closed, 1);
        assert_string_equal(left.tail, "the peer speaks another version");
        close(pair[1]);
    }
}

static int new_pipe(int *out_read)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    *out_read = fds[0];
    return fds[1];
}

/* Nobody has its other end any more. */
static void assert_pipe_ended(int fd)
{
    char c;

    assert_int_equal(read(fd, &c, 1), 0);
    close(fd);
}

static void test_descriptors_that_were_not_sent_are_closed_with_the_channel(void **state)
{
    enum { N = 20 };
    int ends[N + 1];

    (void)state;
    for (int i = 0; i < N; i++)
        channel_send(&left.ch, MSG_CONF, 1, NULL, slice_of(NULL, 0), new_pipe(&ends[i]));
    channel_close(&left.ch);
    channel_close(&left.ch); /* harmless */
    channel_send(&left.ch, MSG_CONF, 1, NULL, slice_of(NULL, 0), new_pipe(&ends[N]));
    for (int i = 0; i <= N; i++)
        assert_pipe_ended(ends[i]);
    close(pair[1]);
}

static void test_many_descriptors_arrive_each_with_its_message(void **state)
{
    enum { N = 20 };
    int ends[N];

    (void)state;
    begin(&right, pair[1]);
    for (uint32_t i = 0; i < N; i++)
        channel_send(&left.ch, MSG_FILE, i + 1, NULL, SLICE("/x"), new_pipe(&ends[i]));
    for (unsigned i = 0; i < N; i++) {
        right.stop_after = i + 1;
        if (right.got == i)
            loop_run(loop);
    }
    assert_int_equal(right.got, N);
    assert_true(right.is_in_order);
    assert_int_equal(write(right.fd, "x", 1), 1); /* the last one is alive */
    close(right.fd);
    for (int i = 0; i < N; i++)
        close(ends[i]);
}

/* So that nobody else's turn is late: 64 packets a turn, and the rest is not forgotten. */
static void test_more_packets_than_fit_in_a_turn_arrive_in_the_next(void **state)
{
    enum { N = 100 };
    _Alignas(8) char bytes[64];

    (void)state;
    send_raw(bytes, build(bytes, MSG_HELLO, &hello, slice_of(NULL, 0)));
    for (int i = 0; i < N; i++)
        send_raw(bytes, build(bytes, MSG_GO, NULL, slice_of(NULL, 0)));
    left.stop_after = N;
    loop_run(loop);
    assert_int_equal(left.got, N);
    close(pair[1]);
}

/* Whoever knows that the peer is dead does not wait for turns. */
static void test_all_that_a_dead_peer_has_said_is_received_at_once(void **state)
{
    enum { N = 150 };
    _Alignas(8) char bytes[64];

    (void)state;
    send_raw(bytes, build(bytes, MSG_HELLO, &hello, slice_of(NULL, 0)));
    for (int i = 0; i < N; i++)
        send_raw(bytes, build(bytes, MSG_GO, NULL, slice_of(NULL, 0)));
    close(pair[1]);
    channel_receive(&left.ch);
    assert_int_equal(left.got, N);
    assert_false(left.ch.is_open);
}

/* As a user without rights, for whom no more descriptors may be on their way at one time than one
 * process may have. */
static int send_many_descriptors(void)
{
    enum { MOST = 64, N = 3 * MOST, NOBODY = 54321 };
    const struct rlimit limit = {MOST, MOST};

    begin(&right, pair[1]);
    for (uint32_t i = 0; i < N; i++)
        channel_send(&left.ch, MSG_FILE, i + 1, NULL, SLICE("/x"), dup(STDERR_FILENO));
    if ((geteuid() == 0 && setuid(NOBODY) < 0) || setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 2;
    right.stop_after = N;
    loop_run(loop);
    return right.got == N && right.is_in_order ? 0 : 1;
}

static void test_more_descriptors_than_may_be_on_their_way_arrive_all_the_same(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0)
        _exit(send_many_descriptors());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(pair[1]);
}

static void close_at_message(struct channel *ch, const struct msg *m)
{
    on_message(ch, m);
    channel_close(ch);
    loop_stop(loop);
}

static void test_channel_that_is_closed_in_its_callback_hands_out_no_more(void **state)
{
    static const struct channel_events closing = {.on_message = close_at_message,
                                                  .on_closed = on_closed};
    _Alignas(8) char bytes[256];
    size_t n = build(bytes, MSG_HELLO, &hello, slice_of(NULL, 0));

    (void)state;
    left.ch.events = &closing;
    n += build(bytes + n, MSG_GO, NULL, slice_of(NULL, 0));
    n += build(bytes + n, MSG_GO, NULL, slice_of(NULL, 0));
    send_raw(bytes, n);
    loop_run(loop);
    assert_int_equal(left.got, 1);
    assert_int_equal(left.closed, 0);
    close(pair[1]);
}

static void test_drained_queue_needs_nobody_to_tell(void **state)
{
    static const struct channel_events quiet = {.on_message = on_message, .on_closed = on_closed};
    uint32_t i = 0;

    (void)state;
    left.ch.events = &quiet;
    begin(&right, pair[1]);
    while (!channel_is_full(&left.ch))
        say(&left.ch, ++i, "somebody@example.org");
    right.stop_after = i;
    loop_run(loop);
    assert_int_equal(left.drained, 0);
    assert_false(channel_is_full(&left.ch));
}

static void test_peer_that_dies_without_reading_is_gone_too(void **state)
{
    (void)state;
    say(&left.ch, 1, "never read");
    channel_flush(&left.ch);
    close(pair[1]);
    loop_run(loop);
    assert_int_equal(left.closed, 1);
    assert_string_equal(left.tail, "the peer is gone");
}

/* The queue's memory, then that for the descriptors. */
static void test_message_for_which_there_is_no_memory_ends_the_channel(void **state)
{
    (void)state;
    close(pair[1]);
    channel_close(&left.ch);
    for (size_t at = 1; at <= 2; at++) {
        struct err err;
        int end;

        assert_int_equal(channel_pair(pair, &err), 0);
        begin(&left, pair[0]);
        channel_flush(&left.ch); /* HELLO, so that the queue has no memory */
        memory.n = 0;
        memory.fails_at = at;
        memory.is_on = true;
        channel_send(&left.ch, MSG_CONF, 1, NULL, slice_of(NULL, 0), new_pipe(&end));
        memory.is_on = false;
        assert_pipe_ended(end);
        loop_run(loop);
        assert_int_equal(left.closed, 1);
        close(pair[1]);
    }
}

static void test_second_descriptor_of_a_message_is_closed(void **state)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    _Alignas(8) char bytes[64];
    struct iovec iov = {bytes, build(bytes, MSG_HELLO, &hello, slice_of(NULL, 0))};
    struct msghdr mh = {.msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.space,
                        .msg_controllen = sizeof control.space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
    int pipes[2], two[2], before, after;
    char got;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    two[0] = two[1] = pipes[1];
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof two);
    memcpy(CMSG_DATA(c), two, sizeof two);
    before = dup(0);
    close(before);
    assert_true(sendmsg(pair[1], &mh, 0) > 0);
    close(pair[1]);
    loop_run(loop);
    close(pipes[1]);
    /* Nobody has the pipe open any more: it has ended. */
    assert_int_equal(read(pipes[0], &got, 1), 0);
    after = dup(0);
    close(after);
    assert_true(after <= before);
    close(pipes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_comes_apart_as_it_was_put_together),
        cmocka_unit_test(test_every_truncation_of_a_message_is_refused),
        cmocka_unit_test(test_malformed_heads_are_refused),
        cmocka_unit_test(test_everything_that_processes_say_has_a_name),
        cmocka_unit_test_setup_teardown(test_thousands_of_messages_arrive_in_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_the_parent_sends_is_kept_as_a_secret, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_full_channel_says_so_and_tells_when_it_has_drained,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors_arrive_with_their_messages_among_others,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_of_the_peer_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_whose_versions_are_all_others_is_not_talked_to,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_speaks_ours_among_others_is_talked_to, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_message_before_hello_ends_the_channel, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_rubbish_behind_a_good_message_ends_the_channel, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_second_descriptor_of_a_message_is_closed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_message_without_its_descriptor_ends_the_channel, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_message_for_which_there_is_no_memory_ends_the_channel,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_hello_that_is_not_ours_ends_the_channel, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_descriptors_that_were_not_sent_are_closed_with_the_channel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_descriptors_arrive_each_with_its_message, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_more_packets_than_fit_in_a_turn_arrive_in_the_next,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_that_a_dead_peer_has_said_is_received_at_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_more_descriptors_than_may_be_on_their_way_arrive_all_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_channel_that_is_closed_in_its_callback_hands_out_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drained_queue_needs_nobody_to_tell, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_dies_without_reading_is_gone_too, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
