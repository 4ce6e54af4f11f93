/* Stands where a new program should, and is none: for processes of the role ROLE, or of all, it
 * does ACT; for others it executes REAL, which is one. */
#include "ipc/message.h"
#include "proc/child.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OTHER_VERSION = 99 };

static inline int leave(void)
{
    return 1;
}

static inline int hang(void)
{
    while (pause() < 0)
        continue;
    return 0;
}

/* Speaks as no usher of today does. */
static inline int be_a_stranger(void)
{
    struct {
        struct msg_head head;
        struct msg_hello hello;
    } packet = {.head = {.len = sizeof packet, .type = MSG_HELLO},
                .hello = msg_hello_of(ROLE_PREPARE)};

    packet.hello.version = packet.hello.oldest = OTHER_VERSION;
    (void)send(CHILD_FD_PARENT, &packet, sizeof packet, MSG_NOSIGNAL);
    return hang();
}

/* Executed as `usher: ROLE --role ROLE`. */
int main(int argc, char **argv)
{
    const char *role = argc > 2 ? argv[2] : "";

    if (!ROLE[0] || strcmp(role, ROLE) == 0)
        return ACT();
    execv(REAL, argv);
    return 126;
}
