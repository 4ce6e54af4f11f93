/* Several links to the source, for the folder that a lane carries; see sync/lane.h. */
#include "sync/lane.h"

#include "sync/link.h"
#include "sync/look.h"
#include "sync/state.h"

enum {
    OPEN_MS = 10000, /* for a server to let one more in, as nothing goes on meanwhile */
    BREAKS = 3,      /* of such links, after which this lane has no more of them */
};

static void close_one(struct lane *lane, size_t i)
{
    struct link *l = lane->sources[i];
    struct link_count count;

    for (lane->sources_n--; i < lane->sources_n; i++)
        lane->sources[i] = lane->sources[i + 1];
    link_close(l);
    count = link_count(l);
    sync_wire(lane->sync, true, count.in_wire + count.out_wire);
    link_free(&l);
}

/* Only as many connections are ours as there are. */
static void give_back(struct lane *lane)
{
    unsigned used = (unsigned)lane->sources_n - 1;

    sync_sources_give(lane->sync, lane->further - used);
    lane->further = used;
}

void lane_narrow(struct lane *lane)
{
    if (lane->sources_n == 0)
        lane->sources[lane->sources_n++] = lane->from;
    while (lane->sources_n > 1)
        close_one(lane, lane->sources_n - 1);
    give_back(lane);
    lane->width = width_begin();
    lane->wanted = 1;
}

static void close_broken(struct lane *lane)
{
    size_t before = lane->sources_n;

    for (size_t i = lane->sources_n - 1; i > 0; i--) {
        if (!link_is_open(lane->sources[i]))
            close_one(lane, i);
    }
    if (lane->sources_n == before)
        return;
    lane->breaks += (unsigned)(before - lane->sources_n);
    width_set(&lane->width, lane->sources_n);
    if (lane->wanted > lane->sources_n)
        lane->wanted = lane->sources_n;
}

bool lane_judge_width(struct lane *lane, const struct width_pace *pace)
{
    lane->wanted = lane->breaks < BREAKS ? width_next(&lane->width, pace) : lane->sources_n;
    if (lane->wanted > lane->sources_n) {
        unsigned taken = sync_sources_take(lane->sync, (unsigned)(lane->wanted - lane->sources_n));

        lane->further += taken;
        lane->wanted = lane->sources_n + taken;
    }
    return lane->wanted != lane->sources_n;
}

/* The folder must be the same one there: its UIDs mean something else otherwise. */
static int examine(struct link *l, struct slice name, uint32_t uidvalidity, struct err *err)
{
    struct look_selected open;
    struct link_answer answer;

    if (look_select(l, name, true, &open, &answer, err) < 0)
        return -1;
    if (answer.kind != RESPONSE_OK)
        return err_set(err, 0, "the folder is refused: %.*s",
                       SLICE_ARG(slice_sub(answer.text, 0, 200)));
    if (open.uidvalidity != uidvalidity)
        return err_set(err, 0, "UIDVALIDITY of the folder is %u there, and not %u",
                       (unsigned)open.uidvalidity, (unsigned)uidvalidity);
    return 0;
}

/* False: it is not to be had. */
static bool open_one(struct lane *lane, struct slice name, uint32_t uidvalidity)
{
    const struct sync_params *params = sync_params(lane->sync);
    struct link *l = link_new(lane->loop, lane->sync, &params->from);
    struct err err;

    if (!l)
        return false;
    link_set_timeout(l, params->timeout_ms < OPEN_MS ? params->timeout_ms : OPEN_MS);
    lane->sources[lane->sources_n++] = l;
    if (link_open(l, &err) == 0 && lane_compress(lane, l, &err) == 0 &&
        examine(l, name, uidvalidity, &err) == 0) {
        link_set_timeout(l, 0);
        return true;
    }
    if (!sync_is_stopping(lane->sync))
        sync_log(lane->sync, "%s: one connection less: %s", params->from.host, err.text);
    if (link_trouble(l) == LINK_BUSY || link_trouble(l) == LINK_REFUSED)
        sync_source_is_full(lane->sync);
    close_one(lane, lane->sources_n - 1);
    return false;
}

void lane_widen(struct lane *lane, struct slice name, uint32_t uidvalidity)
{
    size_t before = lane->sources_n, wanted;

    close_broken(lane);
    wanted = lane->wanted;
    if (wanted == lane->sources_n) {
        give_back(lane);
        return;
    }
    while (lane->sources_n > wanted)
        close_one(lane, lane->sources_n - 1);
    while (lane->sources_n < wanted && !sync_is_stopping(lane->sync) &&
           open_one(lane, name, uidvalidity))
        ;
    width_set(&lane->width, lane->sources_n);
    lane->wanted = lane->sources_n;
    give_back(lane);
    if (lane->sources_n != before)
        sync_log(lane->sync, "%.*s: %zu connection%s to the source", SLICE_ARG(name),
                 lane->sources_n, lane->sources_n == 1 ? "" : "s");
}
