/* A channel that is fed any packets, with and without descriptors: it hands out the messages that
 * they hold up to the first fault, tells the end once, and no descriptor is lost.
 *
 * The first byte: whether a good HELLO goes before, and behind which message the channel's owner
 * closes it. Packets follow, each behind a byte that says how many descriptors come with it and two
 * bytes of length. */
#include "ipc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_INPUT = 32768, MAX_PACKETS = 32, MAX_FDS = 3, MAX_MESSAGES = 8192 };
enum { SAYS_HELLO = 1, CLOSES = 2 };

/* What is handed out of a message, or should be. */
struct said {
    enum msg_type type;
    uint32_t id;
    size_t tail;
    bool has_fd;
};

struct end {
    struct channel ch;
    struct said said[MAX_MESSAGES];
    size_t n, closed;
    size_t closes_behind; /* 0: never */
    bool is_fault;
};

static int null = -1; /* /dev/null */
static struct loop *loop;
static struct channels all;
static struct end end;

static const struct msg_hello hello = {.magic = IPC_MAGIC,
                                       .version = IPC_VERSION,
                                       .oldest = IPC_OLDEST,
                                       .role = ROLE_WORKER,
                                       .instance = 9};

/* ---- What the channel does ---- */

static void on_message(struct channel *ch, const struct msg *m)
{
    INSIST(ch == &end.ch && ch->is_open && end.n < MAX_MESSAGES);
    INSIST((m->fd >= 0) == msg_has_fd(m->type));
    end.said[end.n++] = (struct said){m->type, m->id, m->tail.n, m->fd >= 0};
    if (m->fd >= 0)
        INSIST(close(m->fd) == 0);
    if (end.n == end.closes_behind) {
        channel_close(ch);
        loop_stop(loop);
    }
}

static void on_closed(struct channel *ch, const char *why)
{
    INSIST(ch == &end.ch && !ch->is_open && why[0] != '\0');
    end.closed++;
    end.is_fault = strcmp(why, "the peer is gone") != 0;
    loop_stop(loop);
}

static void on_turn(void *arg)
{
    channels_flush(arg);
}

static const struct channel_events events = {.on_message = on_message, .on_closed = on_closed};

/* ---- What it should do ---- */

struct model {
    struct said said[MAX_MESSAGES];
    size_t n;
    bool has_hello, is_fault;
};

static bool is_good_hello(const struct msg *m)
{
    struct msg_hello h;

    if (m->type != MSG_HELLO)
        return false;
    memcpy(&h, m->body, sizeof h);
    return h.magic == IPC_MAGIC && h.oldest <= IPC_VERSION && h.version >= IPC_OLDEST &&
           h.role < ROLE_COUNT;
}

static void model_packet(struct model *model, struct slice packet, size_t fds)
{
    while (packet.n > 0 && !model->is_fault) {
        struct msg m;
        size_t n = msg_parse(packet, &m);

        if (n == 0 || (!model->has_hello && !is_good_hello(&m))) {
            model->is_fault = true;
        } else if (!model->has_hello) {
            model->has_hello = true;
        } else if (msg_has_fd(m.type) && fds == 0) {
            model->is_fault = true;
        } else {
            INSIST(model->n < MAX_MESSAGES);
            model->said[model->n++] = (struct said){m.type, m.id, m.tail.n, msg_has_fd(m.type)};
            if (msg_has_fd(m.type))
                fds = 0; /* one a packet; what else came with it is closed */
        }
        packet = slice_sub(packet, n, packet.n);
    }
}

/* ---- Feeding ---- */

/* False when the socket takes no more. Of what the descriptors are does not matter; not of the
 * socket, which would end when they do. */
static bool send_packet(int socket, struct slice packet, size_t fds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
    } control = {0};
    const int copies[MAX_FDS] = {null, null, null};
    struct iovec iov = {(void *)(uintptr_t)packet.p, packet.n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fds > 0) {
        struct cmsghdr *c;

        mh.msg_control = control.space;
        mh.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds * sizeof(int));
        memcpy(CMSG_DATA(c), copies, fds * sizeof(int));
    }
    return sendmsg(socket, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)packet.n;
}

static void send_hello(int socket, struct model *model)
{
    _Alignas(8) char bytes[sizeof(struct msg_head) + sizeof hello];
    const struct msg_head head = {.len = sizeof bytes, .type = MSG_HELLO};

    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, &hello, sizeof hello);
    model_packet(model, slice_of(bytes, sizeof bytes), 0);
    INSIST(send_packet(socket, slice_of(bytes, sizeof bytes), 0));
}

static void send_packets(int socket, struct slice in, struct model *model)
{
    for (int i = 0; i < MAX_PACKETS && in.n > 3; i++) {
        size_t fds = (uint8_t)in.p[0] % (MAX_FDS + 1);
        size_t n = (size_t)(uint8_t)in.p[1] << 8 | (uint8_t)in.p[2];
        struct slice packet = slice_sub(in, 3, 3 + (n < IPC_PACKET_MAX ? n : IPC_PACKET_MAX));

        in = slice_sub(in, 3 + packet.n, in.n);
        if (packet.n == 0 || model->is_fault) /* an empty packet looks like the peer's end */
            continue;
        if (!send_packet(socket, packet, fds))
            return;
        model_packet(model, packet, fds);
    }
}

static void compare(const struct model *model)
{
    if (end.closes_behind > 0 && end.closes_behind <= model->n)
        INSIST(end.n == end.closes_behind && end.closed == 0);
    else
        INSIST(end.n == model->n && end.closed == 1 && end.is_fault == model->is_fault);
    for (size_t i = 0; i < end.n; i++) {
        const struct said *a = &end.said[i], *b = &model->said[i];

        INSIST(a->type == b->type && a->id == b->id && a->tail == b->tail &&
               a->has_fd == b->has_fd);
    }
    INSIST(!end.ch.is_open);
}

/* ---- Descriptors ---- */

enum { LOOKED_AT = 64 };

static uint64_t open_descriptors(void)
{
    uint64_t open = 0;

    for (int fd = 0; fd < LOOKED_AT; fd++)
        open |= (uint64_t)(fcntl(fd, F_GETFD) >= 0) << fd;
    return open;
}

static void begin(void)
{
    struct err err;

    loop = loop_new(&err);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    INSIST(loop && null >= 0);
    channels_init(&all, loop);
    loop_on_turn(loop, on_turn, &all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    static uint64_t open_before;
    struct err err;
    int pair[2];

    if (size < 1 || size > MAX_INPUT)
        return 0;
    if (!loop)
        begin();
    INSIST(channel_pair(pair, &err) == 0);
    model.n = 0;
    model.has_hello = model.is_fault = false;
    end.n = end.closed = 0;
    end.is_fault = false;
    end.closes_behind = data[0] & CLOSES ? 1U + (data[0] >> 2) : 0;
    channel_open(&end.ch, &all, pair[0], &hello, &events);
    if (data[0] & SAYS_HELLO)
        send_hello(pair[1], &model);
    send_packets(pair[1], slice_of(data + 1, size - 1), &model);
    close(pair[1]);
    loop_run(loop);
    compare(&model);
    if (open_before == 0)
        open_before = open_descriptors();
    INSIST(open_descriptors() == open_before);
    return 0;
}
