/* The world of operate_world.h with controls that follow one another on purpose. */
#ifndef USHER_TESTS_SUCCESSION_WORLD_H
#define USHER_TESTS_SUCCESSION_WORLD_H

#include "operate_world.h"

#include "control/moves.h"
#include "control/notes.h"
#include "control/succession.h"

static struct buf notes;
static struct succession_sum sum;

static inline struct succession now_here(void)
{
    return (struct succession){.conf = conf,
                               .backends = &backends,
                               .admission = admission,
                               .moves = operate_machine(operate),
                               .state = state_file};
}

/* Into `notes`. */
static inline void leave(void)
{
    const struct succession s = now_here();

    buf_release(&notes);
    buf_init(&notes, NOTES_MAX, false);
    succession_write(&s, now_ms, &notes, &sum);
    if (sum.lost > 0)
        fail_msg("%s", sum.why.text);
}

static inline void follow(struct slice text)
{
    const struct succession s = now_here();

    succession_take(&s, text, now_ms, &sum);
}

/* A new control that knows what `text` says, and waits for workers 0 and 1. */
static inline void succeed_with(struct slice text)
{
    end_operating();
    end_control();
    new_control();
    begin_operating();
    hush();
    follow(text);
    admission_start(admission, 2, now_ms);
    attach(0);
    attach(1);
    hush();
}

static inline void succeed_to(const char *lines)
{
    char text[4096];

    snprintf(text, sizeof text, "usher notes 1\n%s", lines);
    succeed_with(slice_str(text));
}

/* The next control begins where this one ends. */
static inline void succeed(void)
{
    if (state_flush(state_file, &err) < 0)
        fail_msg("%s", err.text);
    leave();
    succeed_with(buf_slice(&notes));
    if (sum.lost > 0)
        fail_msg("%s", sum.why.text);
}

static inline void crash(void)
{
    reboot();
    hush();
}

static inline void assert_notes(const char *line)
{
    char *text = slice_dup(buf_slice(&notes));

    assert_non_null(text);
    if (!strstr(text, line))
        fail_msg("no \"%s\" in:\n%s", line, text);
    free(text);
}

static inline int teardown_succession(void **state)
{
    buf_release(&notes);
    return teardown_operating(state);
}

#define SUCCEEDING(name) cmocka_unit_test_setup_teardown(name, setup_operating, teardown_succession)

#endif
