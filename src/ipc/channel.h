/* One end of a conversation between two processes: messages of ipc/message.h over a SOCK_SEQPACKET
 * socket.
 *
 * Sending never blocks and never fails for lack of room in the socket, which holds only a few
 * hundred packets: messages queue in the channel and go out, many to a packet, when the loop's turn
 * ends (channels_flush) and as the peer reads. Who has much to say (a replay) paces itself by
 * channel_is_full() and the on_drained callback. A queue above CHANNEL_QUEUE_MAX means that the
 * peer is stuck; the channel counts as closed then.
 */
#ifndef USHER_IPC_CHANNEL_H
#define USHER_IPC_CHANNEL_H

#include "base/buf.h"
#include "ipc/message.h"
#include "net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHANNEL_PACE = 64 * 1024, CHANNEL_QUEUE_MAX = 64 * 1024 * 1024 };

/* All channels of a process: those with something to send are flushed together. */
struct channels {
    struct loop *loop;
    struct list dirty;
};

struct channel;

struct channel_events {
    /* One message; m->fd is now the callee's. The channel may be closed in it; no further callback
     * comes then. */
    void (*on_message)(struct channel *ch, const struct msg *m);
    /* The peer has gone, or sent what is no message (`why`). Already closed; may free what embeds
     * the channel. */
    void (*on_closed)(struct channel *ch, const char *why);
    /* The queue has run below CHANNEL_PACE after channel_is_full() was true. May be NULL. */
    void (*on_drained)(struct channel *ch);
    /* Passwords pass here: what was queued, and what was received, is wiped. The parent's channels
     * are so in any case. */
    bool has_secrets;
};

/* Embedded by its owner. */
struct channel {
    struct channels *all;
    const struct channel_events *events;
    struct watch watch;
    struct list dirty; /* in channels.dirty while something is to be sent and the socket takes it */
    struct buf queue;  /* whole messages, as they go out */
    int *fds;          /* of the queued messages that carry one, in order; closed once sent */
    size_t fds_n, fds_cap;
    struct msg_hello peer; /* what the peer said of itself; role ROLE_COUNT until its HELLO came */
    bool is_open;
    bool was_full;   /* channel_is_full() has said so since the last on_drained */
    bool is_blocked; /* the socket takes nothing now; the watch will tell */
};

/* Once a process. */
void channels_init(struct channels *all, struct loop *loop);

/* Sends what was queued, as far as the sockets take it; to be called at the end of each turn of the
 * loop (loop_on_turn). */
void channels_flush(struct channels *all);

/* A pair of connected sockets, non-blocking and close-on-exec. */
int channel_pair(int out_fds[2], struct err *err) MUST_CHECK;

/* Takes over `fd` and says HELLO. */
void channel_open(struct channel *ch, struct channels *all, int fd, const struct msg_hello *self,
                  const struct channel_events *events);

/* Takes over an end that another program of this process has opened: no HELLO is said, and the peer
 * has said its own. */
void channel_adopt(struct channel *ch, struct channels *all, int fd, enum role self,
                   const struct msg_hello *peer, const struct channel_events *events);

/* Queues a message. `body` has the size of its type (NULL if that is 0). `fd`: -1, or a descriptor
 * that is the channel's from now on. On a closed channel it is dropped: its owner has been or will
 * be told of the end. */
void channel_send(struct channel *ch, enum msg_type type, uint32_t id, const void *body,
                  struct slice tail, int fd);

/* Whether a paced sender should wait for on_drained. */
bool channel_is_full(struct channel *ch);

/* Sends what the socket takes now. */
void channel_flush(struct channel *ch);

/* Hands out all that has come, at once: before a peer that has ended is forgotten. May close it. */
void channel_receive(struct channel *ch);

/* Whether all that was queued has gone. */
bool channel_is_empty(const struct channel *ch);

/* Drops what is queued. No callback. Harmless twice. */
void channel_close(struct channel *ch);

#endif
