/* A test's own end of a channel: messages are made and taken apart here, without a loop and without
 * memory from the heap. */
#ifndef USHER_TESTS_UNIT_CHANNEL_END_H
#define USHER_TESTS_UNIT_CHANNEL_END_H

#include "cm.h"
#include "ipc/message.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

/* Messages are taken from its packets one by one. */
struct end {
    int fd;
    bool is_closed; /* the other end is */
    _Alignas(8) char packet[IPC_PACKET_MAX];
    size_t at, n;
};

static inline void send_msg(struct end *e, enum msg_type type, uint32_t id, const void *body,
                            struct slice tail, int fd)
{
    _Alignas(8) char packet[IPC_MESSAGE_MAX] = {0};
    size_t n = sizeof(struct msg_head) + msg_body_size(type) + tail.n;
    size_t padding = (8 - n % 8) % 8;
    struct msg_head head = {(uint16_t)(n + padding), (uint8_t)type, (uint8_t)padding, id};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {packet, n + padding};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

    memcpy(packet, &head, sizeof head);
    if (body)
        memcpy(packet + sizeof head, body, msg_body_size(type));
    if (tail.n)
        memcpy(packet + sizeof head + msg_body_size(type), tail.p, tail.n);
    if (fd >= 0) {
        struct cmsghdr *c;

        mh.msg_control = control.space;
        mh.msg_controllen = sizeof control.space;
        c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    assert_int_equal(sendmsg(e->fd, &mh, MSG_NOSIGNAL), (ssize_t)(n + padding));
}

static inline void say_hello(struct end *e, enum role role)
{
    struct msg_hello hello = {IPC_MAGIC, IPC_VERSION, IPC_OLDEST, (uint8_t)role, 0, 0, 9, 0, 0};

    send_msg(e, MSG_HELLO, 0, &hello, SLICE(""), -1);
}

/* Whether a message is there, HELLOs passed over; it lasts until the next call. */
static inline bool next_msg(struct end *e, struct msg *out_msg)
{
    do {
        size_t n;

        if (e->at == e->n) {
            ssize_t got = recv(e->fd, e->packet, sizeof e->packet, MSG_DONTWAIT);

            e->is_closed = got == 0 || (got < 0 && errno != EAGAIN);
            if (got <= 0)
                return false;
            e->at = 0;
            e->n = (size_t)got;
        }
        n = msg_parse(slice_of(e->packet + e->at, e->n - e->at), out_msg);
        assert_true(n > 0);
        e->at += n;
    } while (out_msg->type == MSG_HELLO);
    return true;
}

#endif
