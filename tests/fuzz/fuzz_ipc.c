/* A packet from a process that was taken over: parsing never reads outside it, always ends, and
 * what it takes apart can be put together again. */
#include "base/err.h"
#include "ipc/message.h"

#include <stdlib.h>
#include <string.h>

/* The message as channel_send() writes it, but with the padding that it came with. */
static void put_together(const struct msg *m, struct slice bytes)
{
    size_t n = sizeof(struct msg_head) + msg_body_size(m->type) + m->tail.n;
    struct msg_head head;
    struct msg again;
    char *copy = malloc(bytes.n);

    INSIST(copy && bytes.n >= n && bytes.n - n < 8);
    memset(copy, 0, bytes.n);
    head = (struct msg_head){.len = (uint16_t)bytes.n,
                             .type = (uint8_t)m->type,
                             .padding = (uint8_t)(bytes.n - n),
                             .id = m->id};
    memcpy(copy, &head, sizeof head);
    memcpy(copy + sizeof head, m->body, msg_body_size(m->type));
    if (m->tail.n)
        memcpy(copy + n - m->tail.n, m->tail.p, m->tail.n);
    INSIST(memcmp(copy, bytes.p, n) == 0);
    INSIST(msg_parse(slice_of(copy, bytes.n), &again) == bytes.n);
    INSIST(again.type == m->type && again.id == m->id && slice_eq(again.tail, m->tail));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    struct slice rest = slice_of(copy, size);

    INSIST(copy);
    if (size)
        memcpy(copy, data, size);
    while (rest.n > 0) {
        struct msg m;
        size_t n = msg_parse(rest, &m);

        if (n == 0)
            break;
        INSIST(n <= rest.n && n % 8 == 0 && n <= IPC_MESSAGE_MAX && m.fd == -1);
        INSIST(m.tail.n <= (msg_has_tail(m.type) ? IPC_TEXT_MAX : 0));
        INSIST((const char *)m.body == rest.p + sizeof(struct msg_head));
        INSIST((const char *)m.body + msg_body_size(m.type) == m.tail.p);
        INSIST(msg_type_name(m.type)[0] != '\0');
        put_together(&m, slice_sub(rest, 0, n));
        rest = slice_sub(rest, n, rest.n);
    }
    free(copy);
    return 0;
}
