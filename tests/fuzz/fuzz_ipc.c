/* A packet from a process that was taken over: parsing never reads outside it, always ends, and
 * what it takes apart fits together again. */
#include "base/err.h"
#include "ipc/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    struct slice rest = slice_of(copy, size);

    if (size)
        memcpy(copy, data, size);
    while (rest.n > 0) {
        struct msg m;
        size_t n = msg_parse(rest, &m);
        volatile char sum = 0;

        if (n == 0)
            break;
        INSIST(n <= rest.n && n % 8 == 0 && n <= IPC_MESSAGE_MAX);
        INSIST(m.tail.n <= (msg_has_tail(m.type) ? IPC_TEXT_MAX : 0));
        INSIST((const char *)m.body + msg_body_size(m.type) == m.tail.p);
        INSIST(m.tail.p + m.tail.n <= rest.p + n && (size_t)(rest.p + n - m.tail.p) - m.tail.n < 8);
        for (size_t i = 0; i < msg_body_size(m.type); i++)
            sum = (char)(sum + ((const char *)m.body)[i]);
        for (size_t i = 0; i < m.tail.n; i++)
            sum = (char)(sum + m.tail.p[i]);
        rest = slice_sub(rest, n, rest.n);
    }
    free(copy);
    return 0;
}
