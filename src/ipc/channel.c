/* Channels: queueing, packing messages into packets, passing descriptors. What messages mean is
 * left to others. */
#include "ipc/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Packets read from one channel before others get their turn. */
enum { PACKETS_A_TURN = 64 };

void channels_flush(struct channels *all)
{
    /* Not one pass: on_drained may queue more, and the loop sleeps behind this. Each flush takes
     * its channel out of the list; one that is blocked stays out. */
    while (!list_empty(&all->dirty))
        channel_flush(CONTAINER(all->dirty.next, struct channel, dirty));
}

void channels_init(struct channels *all, struct loop *loop)
{
    all->loop = loop;
    list_init(&all->dirty);
}

int channel_pair(int out_fds[2], struct err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, out_fds) < 0)
        return err_sys(err, errno, "cannot make a pair of sockets");
    return 0;
}

void channel_close(struct channel *ch)
{
    if (!ch->is_open)
        return;
    ch->is_open = false;
    list_remove(&ch->dirty);
    watch_set(ch->all->loop, &ch->watch, 0);
    close(ch->watch.io.fd);
    for (size_t i = 0; i < ch->fds_n; i++)
        close(ch->fds[i]);
    free(ch->fds);
    ch->fds = NULL;
    ch->fds_n = ch->fds_cap = 0;
    buf_release(&ch->queue);
}

static void fail(struct channel *ch, const char *why)
{
    if (!ch->is_open)
        return;
    channel_close(ch);
    ch->events->on_closed(ch, why);
}

/* --- sending
 * ------------------------------------------------------------------------------------------------
 */

static int keep_fd(struct channel *ch, int fd)
{
    if (ch->fds_n == ch->fds_cap) {
        size_t cap = ch->fds_cap ? 2 * ch->fds_cap : 8;
        int *more = realloc(ch->fds, cap * sizeof *more);

        if (!more)
            return -1;
        ch->fds = more;
        ch->fds_cap = cap;
    }
    ch->fds[ch->fds_n++] = fd;
    return 0;
}

void channel_send(struct channel *ch, enum msg_type type, uint32_t id, const void *body,
                  struct slice tail, int fd)
{
    size_t body_n = msg_body_size(type);
    size_t n = sizeof(struct msg_head) + body_n + tail.n;
    size_t padding = (8 - n % 8) % 8;
    struct msg_head head = {.len = (uint16_t)(n + padding),
                            .type = (uint8_t)type,
                            .padding = (uint8_t)padding,
                            .id = id};
    char *room;

    INSIST(tail.n <= (msg_has_tail(type) ? IPC_TEXT_MAX : 0) && (fd >= 0) == msg_has_fd(type));
    if (!ch->is_open) {
        if (fd >= 0)
            close(fd);
        return;
    }
    room = buf_room(&ch->queue, n + padding);
    if (!room || (fd >= 0 && keep_fd(ch, fd) < 0)) {
        /* Told from the loop, not from within a send: the shutdown makes the peer's end show there.
         */
        if (fd >= 0)
            close(fd);
        shutdown(ch->watch.io.fd, SHUT_RDWR);
        return;
    }
    memcpy(room, &head, sizeof head);
    if (body_n)
        memcpy(room + sizeof head, body, body_n);
    if (tail.n)
        memcpy(room + sizeof head + body_n, tail.p, tail.n);
    memset(room + n, 0, padding);
    buf_added(&ch->queue, n + padding);
    if (!ch->is_blocked && list_empty(&ch->dirty))
        list_append(&ch->all->dirty, &ch->dirty);
}

/* Bytes of whole messages that make the next packet; one with a descriptor goes alone. */
static size_t next_packet(struct slice queue, bool *out_has_fd)
{
    size_t n = 0;

    while (n < queue.n) {
        struct msg_head head;
        bool has_fd;

        memcpy(&head, queue.p + n, sizeof head);
        has_fd = msg_has_fd((enum msg_type)head.type);
        if (n > 0 && (has_fd || n + head.len > IPC_PACKET_MAX))
            break;
        n += head.len;
        *out_has_fd = has_fd;
        if (has_fd)
            break;
    }
    return n;
}

static ssize_t send_packet(struct channel *ch, struct slice packet, bool has_fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)packet.p, packet.n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (has_fd) {
        struct cmsghdr *c;

        mh.msg_control = control.space;
        mh.msg_controllen = sizeof control.space;
        c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &ch->fds[0], sizeof(int));
    }
    do {
        n = sendmsg(ch->watch.io.fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0 && has_fd) {
        close(ch->fds[0]);
        ch->fds_n--;
        memmove(ch->fds, ch->fds + 1, ch->fds_n * sizeof ch->fds[0]);
    }
    return n;
}

static void tell_drained(struct channel *ch)
{
    if (!ch->was_full || buf_len(&ch->queue) >= CHANNEL_PACE)
        return;
    ch->was_full = false;
    if (ch->events->on_drained)
        ch->events->on_drained(ch);
}

void channel_flush(struct channel *ch)
{
    list_remove(&ch->dirty);
    ch->is_blocked = false;
    while (ch->is_open && buf_len(&ch->queue) > 0) {
        bool has_fd = false;
        size_t n = next_packet(buf_slice(&ch->queue), &has_fd);

        if (send_packet(ch, slice_sub(buf_slice(&ch->queue), 0, n), has_fd) < 0) {
            /* ETOOMANYREFS: without rights of root there may be as many descriptors on their way
             * as a process may have; some arrive. */
            ch->is_blocked = errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS;
            /* A peer that is gone shows as the end of what we read; there it is told, once. */
            if (!ch->is_blocked)
                shutdown(ch->watch.io.fd, SHUT_RDWR);
            break;
        }
        buf_take(&ch->queue, n);
    }
    if (!ch->is_open)
        return;
    if (buf_len(&ch->queue) == 0)
        buf_release(&ch->queue);
    watch_set(ch->all->loop, &ch->watch, ch->is_blocked ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    tell_drained(ch);
}

bool channel_is_full(struct channel *ch)
{
    if (buf_len(&ch->queue) >= CHANNEL_PACE)
        ch->was_full = true;
    return ch->was_full;
}

/* --- receiving
 * ---------------------------------------------------------------------------------------------- */

static int take_fd(struct msghdr *mh)
{
    int fd = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        /* The padding of `control` has room for a second one; a peer that was taken over may send
         * it. */
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int got;

            memcpy(&got, (const char *)c + at, sizeof got);
            if (fd < 0)
                fd = got;
            else
                close(got);
        }
    }
    return fd;
}

static bool is_good_hello(const struct msg *m)
{
    const struct msg_hello *h = m->body;

    return m->type == MSG_HELLO && h->magic == IPC_MAGIC && h->oldest <= IPC_VERSION &&
           h->version >= IPC_OLDEST && h->role < ROLE_COUNT;
}

/* Hands out the messages of one packet. `fd` belongs to the first that must have one. Returns what
 * is wrong with the packet, NULL if nothing is. */
static const char *take_packet(struct channel *ch, struct slice packet, int fd)
{
    const char *why = NULL;

    while (ch->is_open && packet.n > 0 && !why) {
        struct msg m;
        size_t n = msg_parse(packet, &m);

        if (n == 0) {
            why = "malformed message";
        } else if (ch->peer.role == ROLE_COUNT) {
            if (is_good_hello(&m))
                memcpy(&ch->peer, m.body, sizeof ch->peer);
            else
                why = "the peer speaks another version";
        } else if (msg_has_fd(m.type) && fd < 0) {
            why = "message without its descriptor";
        } else {
            if (msg_has_fd(m.type)) {
                m.fd = fd;
                fd = -1;
            }
            ch->events->on_message(ch, &m);
        }
        packet = slice_sub(packet, n, packet.n);
    }
    if (fd >= 0)
        close(fd);
    return why;
}

/* False: nothing is there any more. */
static bool receive_some(struct channel *ch)
{
    _Alignas(8) char packet[IPC_PACKET_MAX];

    for (int i = 0; i < PACKETS_A_TURN && ch->is_open; i++) {
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iov = {packet, sizeof packet};
        struct msghdr mh = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof control.space};
        ssize_t n = recvmsg(ch->watch.io.fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        /* Asked before, as the channel may be gone then. The parent sends keys of TLS tickets. */
        bool has_secrets = ch->events->has_secrets || ch->peer.role == ROLE_PARENT;
        const char *why;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return errno == EINTR;
        if (n <= 0) {
            /* A reset is the end of a peer that had not read all. */
            fail(ch, n == 0 || errno == ECONNRESET ? "the peer is gone" : strerror(errno));
            return false;
        }
        why = take_packet(ch, slice_of(packet, (size_t)n), take_fd(&mh));
        if (has_secrets)
            wipe(packet, (size_t)n);
        if (why) {
            fail(ch, why);
            return false;
        }
    }
    return ch->is_open;
}

void channel_receive(struct channel *ch)
{
    while (ch->is_open && receive_some(ch))
        ;
}

bool channel_is_empty(const struct channel *ch)
{
    return buf_len(&ch->queue) == 0;
}

static void on_event(struct watch *w, unsigned events)
{
    struct channel *ch = CONTAINER(w, struct channel, watch);

    if (events & LOOP_WRITE)
        channel_flush(ch);
    if (ch->is_open && (events & LOOP_READ))
        (void)receive_some(ch);
}

static void begin(struct channel *ch, struct channels *all, int fd, enum role self,
                  const struct channel_events *events)
{
    *ch = (struct channel){
        .all = all, .events = events, .peer = {.role = ROLE_COUNT}, .is_open = true};
    list_init(&ch->dirty);
    /* The keys of TLS tickets pass through the parent's. */
    buf_init(&ch->queue, CHANNEL_QUEUE_MAX, events->has_secrets || self == ROLE_PARENT);
    watch_init(&ch->watch, fd, on_event);
    watch_set(all->loop, &ch->watch, LOOP_READ);
}

void channel_open(struct channel *ch, struct channels *all, int fd, const struct msg_hello *self,
                  const struct channel_events *events)
{
    begin(ch, all, fd, (enum role)self->role, events);
    channel_send(ch, MSG_HELLO, 0, self, slice_of(NULL, 0), -1);
}

void channel_adopt(struct channel *ch, struct channels *all, int fd, enum role self,
                   const struct msg_hello *peer, const struct channel_events *events)
{
    begin(ch, all, fd, self, events);
    ch->peer = *peer;
}
