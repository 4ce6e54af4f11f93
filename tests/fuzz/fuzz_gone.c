/* VANISHED of any bytes (imap/data.h, sync/look.h): what has gone is what is known and in one of
 * the sets, as a count by hand has it, whatever else they hold. A line is a response. */
#include "base/err.h"
#include "base/slice.h"
#include "imap/data.h"
#include "imap/set.h"
#include "sync/look.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MAX_INPUT = 1 << 12, KNOWN = 64 };

/* Close together, far apart, and the ends of what there may be. */
static void make_known(uint32_t known[KNOWN])
{
    for (uint32_t i = 0; i < KNOWN; i++)
        known[i] = i < 20   ? i + 1
                   : i < 40 ? i * 7
                   : i < 60 ? i * 1000003
                            : UINT32_MAX - KNOWN + 1 + i;
}

static void mark(const uint32_t known[KNOWN], bool has_gone[KNOWN], struct slice set)
{
    struct set_range range;

    while (set_next(&set, 0, &range)) {
        for (size_t i = 0; i < KNOWN; i++)
            has_gone[i] |= known[i] >= range.first && known[i] <= range.last;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice left = slice_of((const char *)data, size);
    bool has_gone[KNOWN] = {false};
    uint32_t known[KNOWN];
    struct look_gone gone;
    struct err err;

    if (size > MAX_INPUT)
        return 0;
    make_known(known);
    INSIST(look_gone_init(&gone, known, KNOWN, &err) == 0);
    while (left.n > 0) {
        const char *end = memchr(left.p, '\n', left.n);
        size_t n = end ? (size_t)(end - left.p) : left.n;
        bool is_earlier;
        struct slice set;

        if (data_vanished(slice_sub(left, 0, n), &is_earlier, &set) && is_earlier) {
            look_gone_take(&gone, set);
            mark(known, has_gone, set);
        }
        left = slice_sub(left, n + (end != NULL), left.n);
    }
    for (size_t i = 0; i < KNOWN; i++)
        INSIST(look_is_gone(&gone, i) == has_gone[i]);
    look_gone_free(&gone);
    return 0;
}
