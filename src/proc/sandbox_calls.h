/* The table of the sandbox: what each role may ask of the kernel once it is closed. */
#ifndef USHER_PROC_SANDBOX_CALLS_H
#define USHER_PROC_SANDBOX_CALLS_H

#include "ipc/message.h"

#include <stddef.h>
#include <stdint.h>

enum { SANDBOX_ARGS = 3 };

/* A condition on one argument: (argument & mask) == value. Arguments that are an int in C are
 * compared in their lower half only, since the upper half of the register means nothing. */
struct sandbox_arg {
    enum { ARG_ANY, ARG_IS, ARG_SELF } what; /* ARG_SELF: the value is this process' id */
    unsigned index;
    uint64_t mask, value;
};

/* All conditions must hold. Several rows for one call are alternatives. */
struct sandbox_call {
    int number; /* libseccomp's: negative where this architecture has no such call */
    unsigned roles;
    struct sandbox_arg args[SANDBOX_ARGS];
};

/* For `roles`. */
enum {
    FOR_WORKER = 1 << ROLE_WORKER,
    FOR_LOOKUP = 1 << ROLE_LOOKUP,
    FOR_CONTROL = 1 << ROLE_CONTROL,
    FOR_ALL = FOR_WORKER | FOR_LOOKUP | FOR_CONTROL,
    FOR_SOURCE = 1 << ROLE_COUNT /* a worker, if a backend has `source` */
};

#define BITS(index, mask, value)   \
    {                              \
        ARG_IS, index, mask, value \
    }
#define INT(index, value)   BITS(index, UINT32_MAX, value)
#define LACKS(index, bits)  BITS(index, bits, 0)
#define NULL_POINTER(index) BITS(index, UINT64_MAX, 0)
#define SELF(index)                    \
    {                                  \
        ARG_SELF, index, UINT32_MAX, 0 \
    }

/* Conditions, if any, stand last. `why` is for the reader. */
#define CALL(name, roles, why, ...) \
    {                               \
        SCMP_SYS(name), roles,      \
        {                           \
            __VA_ARGS__             \
        }                           \
    }

extern const struct sandbox_call sandbox_calls[];
extern const size_t sandbox_calls_n;

#endif
