/* The arithmetic of silence. */
#include "parent/silence.h"

enum {
    LOOKS = 10,        /* within the limit */
    LATE_LOOKS = 2,    /* a look that is later than this was kept from us */
    STARTING = 10,     /* so many times the limit */
    APART = 3,         /* the part of the limit that two children are given up apart */
    ABORTING_MS = 1000 /* for a line in the log, and to end */
};

void silence_watch(struct silence *s, uint32_t least_ms, uint64_t now_ms)
{
    if (s->every_ms > 0)
        silence_look(s, now_ms);
    s->looked_ms = now_ms;
    s->every_ms = least_ms / LOOKS;
}

void silence_look(struct silence *s, uint64_t now_ms)
{
    const uint64_t most_ms = (uint64_t)LATE_LOOKS * s->every_ms;
    const uint64_t passed_ms = now_ms - s->looked_ms;

    s->looked_ms = now_ms;
    s->clock_ms += passed_ms < most_ms ? passed_ms : most_ms;
}

void silence_started(const struct silence *s, uint32_t limit_ms, struct sign *out_sign)
{
    *out_sign = (struct sign){.limit_ms = limit_ms, .heard_ms = s->clock_ms};
}

void silence_heard(const struct silence *s, struct sign *sign)
{
    sign->heard_ms = s->clock_ms;
}

uint64_t silence_of(const struct silence *s, const struct sign *sign)
{
    return s->clock_ms - sign->heard_ms;
}

enum silence_verdict silence_judge(struct silence *s, struct sign *sign, bool is_ready)
{
    const uint64_t limit_ms = (uint64_t)sign->limit_ms * (is_ready ? 1 : STARTING);

    if (limit_ms == 0)
        return SILENCE_FINE;
    if (sign->aborted_ms)
        return s->clock_ms - sign->aborted_ms >= ABORTING_MS ? SILENCE_KILL : SILENCE_FINE;
    if (silence_of(s, sign) <= limit_ms || s->clock_ms - s->gave_up_ms < sign->limit_ms / APART)
        return SILENCE_FINE;
    s->gave_up_ms = sign->aborted_ms = s->clock_ms;
    return SILENCE_ABORT;
}
