/* Pure: which child is silent for so long that it must hang.
 *
 * The clock that counts is not the machine's: it goes on only while the parent itself runs. When
 * it was not run for a while (the machine slept, was frozen or starved) nothing is held against the
 * children, who were not run either. And they are given up one after the other, a third of the
 * limit apart: where all are silent at once, it is rather the machine that hangs, and the end of
 * one may help the others.
 */
#ifndef USHER_PARENT_SILENCE_H
#define USHER_PARENT_SILENCE_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: nobody is watched. */
struct silence {
    uint32_t every_ms; /* how often to look; 0: nobody is watched */
    uint64_t clock_ms;
    uint64_t looked_ms;  /* on the machine's clock */
    uint64_t gave_up_ms; /* when the last child was given up; on ours, as all below */
};

/* Of one child. */
struct sign {
    uint32_t limit_ms; /* 0: it is never silent for too long */
    uint64_t heard_ms;
    uint64_t aborted_ms; /* 0: not told to abort */
};

enum silence_verdict {
    SILENCE_FINE,
    SILENCE_ABORT, /* it hangs: have it tell where, and end */
    SILENCE_KILL   /* it did not even do that */
};

/* `least_ms`: the shortest limit of all children; 0: none of them has one. For the first time, or
 * because others live now: those who do have been heard as lately as before. */
void silence_watch(struct silence *s, uint32_t least_ms, uint64_t now_ms);

/* To be called every `every_ms`, and before silence_judge(): moves the clock on. */
void silence_look(struct silence *s, uint64_t now_ms);

/* A child was started. `limit_ms`: the setting `watchdog` of its own configuration, by which it
 * gives its signs. */
void silence_started(const struct silence *s, uint32_t limit_ms, struct sign *out_sign);

void silence_heard(const struct silence *s, struct sign *sign);

/* For how long it has said nothing. */
uint64_t silence_of(const struct silence *s, const struct sign *sign);

/* What is to be done about a child that runs. One that is not ready yet may take ten times as long:
 * it may have a large state to read. */
enum silence_verdict silence_judge(struct silence *s, struct sign *sign, bool is_ready);

#endif
