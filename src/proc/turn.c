/* The end of each turn of the loop, the same in all processes. */
#include "proc/child.h"

#include "base/log.h"

enum { LOG_AGAIN_MS = 100 };

static void on_turn(void *arg)
{
    struct turn *t = arg;

    channels_flush(t->channels);
    log_flush();
    if (log_is_waiting() && !deadline_is_set(&t->log_again))
        deadline_set(t->loop, &t->log_again, LOG_AGAIN_MS);
}

/* It only wakes the loop; the turn does the rest. */
static void on_log_again(struct deadline *d)
{
    (void)d;
}

void turn_init(struct turn *t, struct loop *loop, struct channels *channels)
{
    t->loop = loop;
    t->channels = channels;
    deadline_init(&t->log_again, on_log_again);
    loop_on_turn(loop, on_turn, t);
}

void turn_done(struct turn *t)
{
    deadline_clear(&t->log_again);
}
