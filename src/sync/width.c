/* How many connections to the source a folder is worth; see sync/width.h. */
#include "sync/width.h"

enum {
    BYTES_LEAST = 64 << 10, /* in a period, to go by it */
    DRY_PERCENT = 50,
    REST_S = 3, /* what is left takes longer than the opening */
    /* The new connections have to get up speed first. */
    PERIODS = 2,
    GAIN_PART = 3, /* a third of what the number of connections would bring at best */
};

struct width width_begin(void)
{
    return (struct width){.links = 1, .before = 1};
}

static bool has_gained(const struct width *w, uint64_t rate)
{
    return rate >= w->rate + w->rate * (w->links - w->before) / w->before / GAIN_PART;
}

size_t width_next(struct width *w, const struct width_pace *pace)
{
    uint64_t rate = pace->bytes * 1000 / (pace->ms > 0 ? pace->ms : 1);

    if (w->periods_left > 0 && !has_gained(w, rate)) {
        if (--w->periods_left > 0)
            return w->links;
        w->is_settled = true;
        return w->before;
    }
    w->periods_left = 0;
    if (w->is_settled || pace->bytes < BYTES_LEAST || pace->left < REST_S * rate ||
        pace->dry_ms * 100 < pace->ms * DRY_PERCENT)
        return w->links;
    w->rate = rate;
    return 2 * w->links;
}

void width_set(struct width *w, size_t links)
{
    w->before = w->links;
    w->links = links;
    w->periods_left = links > w->before ? PERIODS : 0;
    w->is_settled |= links <= w->before;
}
