/* The event loop over libev: descriptors, signals, the turn hook, and our own wheel of deadlines.
 *
 * The wheel has WHEEL_SLOTS lists of deadlines, one a tick; a deadline lies in the slot of its tick
 * modulo their number and stays there for as many rotations as it takes. A bit a slot says that the
 * slot may hold something, so that a single timer can sleep until the next one that does:
 *
 *     tick worked off ──┐     ┌── the timer is set for here
 *     slot:    . . . . .v. . .x. . . . x x . . . . . . x .
 *
 * Clearing a deadline only unlinks it. Its bit stays until the wheel passes, which costs one idle
 * wake at most and saves every deadline a pointer to its loop.
 */
#include "net/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WHEEL_SLOTS = 512, WORD_BITS = 64, WHEEL_WORDS = WHEEL_SLOTS / WORD_BITS };

_Static_assert((WHEEL_SLOTS & (WHEEL_SLOTS - 1)) == 0, "slots are found by masking");

struct loop_signal {
    ev_signal ev;
    struct list node;
    void (*cb)(void *arg, int signal);
    void *arg;
};

struct loop {
    struct ev_loop *ev;
    ev_prepare before_sleep;
    ev_check after_sleep;
    void (*on_turn)(void *arg);
    void *on_turn_arg;
    struct list signals;
    uint64_t now_ms; /* as of this turn; valid while is_running */
    bool is_running;

    ev_timer wheel_timer;
    uint64_t wheel_tick; /* the last one worked off */
    uint64_t wake_tick;  /* what wheel_timer is set for; 0: it does not run */
    uint64_t filled[WHEEL_WORDS];
    struct list slots[WHEEL_SLOTS];
};

static uint64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->is_running ? loop->now_ms : clock_ms();
}

/* ---- the wheel ---- */

static unsigned slot_of(uint64_t tick)
{
    return (unsigned)(tick & (WHEEL_SLOTS - 1));
}

static void slot_mark(struct loop *loop, unsigned slot)
{
    loop->filled[slot / WORD_BITS] |= UINT64_C(1) << slot % WORD_BITS;
}

/* The first tick after `tick` whose slot may hold something; 0 when none does. */
static uint64_t next_filled(const struct loop *loop, uint64_t tick)
{
    unsigned first = slot_of(tick + 1);

    /* One word more than there are: the first is looked at from its middle on, then wholly. */
    for (unsigned i = 0; i <= WHEEL_WORDS; i++) {
        unsigned word = (first / WORD_BITS + i) % WHEEL_WORDS;
        uint64_t bits = loop->filled[word];
        unsigned slot;

        if (i == 0)
            bits &= ~UINT64_C(0) << first % WORD_BITS;
        if (bits == 0)
            continue;
        slot = word * WORD_BITS + (unsigned)__builtin_ctzll(bits);
        return tick + 1 + slot_of(slot - first);
    }
    return 0;
}

/* Lets the timer run until `tick`; 0: stops it. */
static void wheel_sleep(struct loop *loop, uint64_t tick)
{
    uint64_t now_ms = loop_now_ms(loop);
    uint64_t at_ms = tick * LOOP_TICK_MS;

    loop->wake_tick = tick;
    ev_timer_stop(loop->ev, &loop->wheel_timer);
    if (tick == 0)
        return;
    ev_timer_set(&loop->wheel_timer, at_ms > now_ms ? (double)(at_ms - now_ms) / 1e3 : 0., 0.);
    ev_timer_start(loop->ev, &loop->wheel_timer);
}

static void wheel_put(struct loop *loop, struct deadline *d)
{
    /* Rounded up, so that it is never early; and never into a slot that is being worked off or was
     * already, where it would wait for a whole rotation. */
    uint64_t tick = (d->at_ms + LOOP_TICK_MS - 1) / LOOP_TICK_MS;

    if (tick <= loop->wheel_tick)
        tick = loop->wheel_tick + 1;
    list_append(&loop->slots[slot_of(tick)], &d->node);
    slot_mark(loop, slot_of(tick));

    /* One of a later rotation wakes the wheel in this one too: an idle wake each rotation. */
    tick = loop->wheel_tick + 1 + slot_of(tick - loop->wheel_tick - 1);
    if (loop->wake_tick == 0 || tick < loop->wake_tick)
        wheel_sleep(loop, tick);
}

static void slot_work_off(struct loop *loop, uint64_t tick)
{
    struct list *slot = &loop->slots[slot_of(tick)];
    struct list due;

    loop->wheel_tick = tick;
    loop->filled[slot_of(tick) / WORD_BITS] &= ~(UINT64_C(1) << slot_of(tick) % WORD_BITS);

    /* Callbacks may unlink or move any node, so the nodes are taken off a list of our own one by
     * one, whatever is at its head. */
    list_init(&due);
    if (!list_empty(slot)) {
        due = *slot;
        due.next->prev = due.prev->next = &due;
        list_init(slot);
    }
    while (!list_empty(&due)) {
        struct deadline *d = CONTAINER(due.next, struct deadline, node);

        list_remove(&d->node);
        if (d->at_ms > tick * LOOP_TICK_MS) {
            list_append(slot, &d->node);
            slot_mark(loop, slot_of(tick));
            continue;
        }
        d->at_ms = 0;
        d->cb(d);
    }
}

static void on_wheel_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct loop *loop = CONTAINER(timer, struct loop, wheel_timer);
    uint64_t now_tick = loop->now_ms / LOOP_TICK_MS;
    uint64_t tick;

    (void)ev;
    (void)events;
    /* While this works, no callback needs to set the timer, nor may one move the wheel on: all is
     * looked through again below. */
    loop->wake_tick = 1;
    while ((tick = next_filled(loop, loop->wheel_tick)) != 0 && tick <= now_tick)
        slot_work_off(loop, tick);
    wheel_sleep(loop, tick);
}

void deadline_init(struct deadline *d, void (*cb)(struct deadline *d))
{
    list_init(&d->node);
    d->at_ms = 0;
    d->cb = cb;
}

void deadline_set(struct loop *loop, struct deadline *d, uint64_t in_ms)
{
    uint64_t now_ms = loop_now_ms(loop);
    uint64_t idle_to = now_ms / LOOP_TICK_MS;

    list_remove(&d->node);
    /* A wheel that sleeps has as good as worked off what lies before its next wake: nothing. */
    if (loop->wake_tick && loop->wake_tick - 1 < idle_to)
        idle_to = loop->wake_tick - 1;
    if (idle_to > loop->wheel_tick)
        loop->wheel_tick = idle_to;
    /* Centuries from now will do for ever, and leave room for arithmetic. */
    d->at_ms = now_ms + (in_ms < UINT64_MAX / 4 ? in_ms : UINT64_MAX / 4);
    wheel_put(loop, d);
}

void deadline_clear(struct deadline *d)
{
    list_remove(&d->node);
    d->at_ms = 0;
}

/* ---- descriptors ---- */

static void on_io(struct ev_loop *ev, ev_io *io, int events)
{
    struct watch *w = CONTAINER(io, struct watch, io);

    (void)ev;
    /* libev stops a watcher and adds EV_ERROR when the kernel refuses to watch. The owner is called
     * as if all had come: its next read or write finds out. */
    w->cb(w, (unsigned)(events & (LOOP_READ | LOOP_WRITE)));
}

void watch_init(struct watch *w, int fd, void (*cb)(struct watch *w, unsigned events))
{
    ev_io_init(&w->io, on_io, fd, 0);
    w->cb = cb;
}

void watch_set(struct loop *loop, struct watch *w, unsigned events)
{
    unsigned now = ev_is_active(&w->io) ? (unsigned)(w->io.events & (LOOP_READ | LOOP_WRITE)) : 0;

    INSIST((events & ~(unsigned)(LOOP_READ | LOOP_WRITE)) == 0);
    if (now == events)
        return;
    if (now)
        ev_io_stop(loop->ev, &w->io);
    if (events) {
        /* Unlike ev_io_set(), this does not make libev believe that the descriptor is a new one,
         * for which it would call the kernel each time. */
        ev_io_modify(&w->io, (int)events);
        ev_io_start(loop->ev, &w->io);
    }
}

/* ---- signals ---- */

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct loop_signal *s = CONTAINER(watcher, struct loop_signal, ev);

    (void)ev;
    (void)events;
    s->cb(s->arg, watcher->signum);
}

int loop_on_signal(struct loop *loop, int signal, void (*cb)(void *arg, int signal), void *arg,
                   struct err *err)
{
    struct loop_signal *s = calloc(1, sizeof *s);

    INSIST(signal > 0 && signal < NSIG);
    if (!s)
        return err_sys(err, ENOMEM, "catching signal %d", signal);
    s->cb = cb;
    s->arg = arg;
    list_append(&loop->signals, &s->node);
    ev_signal_init(&s->ev, on_signal, signal);
    ev_signal_start(loop->ev, &s->ev);
    return 0;
}

/* ---- the loop itself ---- */

static void on_before_sleep(struct ev_loop *ev, ev_prepare *watcher, int events)
{
    struct loop *loop = CONTAINER(watcher, struct loop, before_sleep);

    (void)ev;
    (void)events;
    if (loop->on_turn)
        loop->on_turn(loop->on_turn_arg);
}

static void on_after_sleep(struct ev_loop *ev, ev_check *watcher, int events)
{
    struct loop *loop = CONTAINER(watcher, struct loop, after_sleep);

    (void)ev;
    (void)events;
    loop->now_ms = clock_ms();
}

/* Instead of libev's perror(), which duplicates a descriptor, and so would end a process in its
 * sandbox for that. */
static void on_failure_of_libev(const char *call)
{
    fprintf(stderr, "usher: %s: %s\n", call, strerror(errno));
    abort();
}

struct loop *loop_new(struct err *err)
{
    struct loop *loop = calloc(1, sizeof *loop);

    if (!loop) {
        (void)err_sys(err, ENOMEM, "the event loop");
        return NULL;
    }
    ev_set_syserr_cb(on_failure_of_libev);
    /* A loop of our own, not libev's default one: that one takes SIGCHLD and reaps every child. */
    loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!loop->ev) {
        (void)err_sys(err, errno, "the event loop: no epoll descriptor");
        free(loop);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN);
    list_init(&loop->signals);
    for (unsigned i = 0; i < WHEEL_SLOTS; i++)
        list_init(&loop->slots[i]);
    loop->wheel_tick = clock_ms() / LOOP_TICK_MS;
    ev_timer_init(&loop->wheel_timer, on_wheel_timer, 0., 0.);
    /* These two also keep libev running while there is nothing to watch. Setting the clock comes
     * before all other callbacks of a turn. */
    ev_prepare_init(&loop->before_sleep, on_before_sleep);
    ev_prepare_start(loop->ev, &loop->before_sleep);
    ev_check_init(&loop->after_sleep, on_after_sleep);
    ev_set_priority(&loop->after_sleep, EV_MAXPRI);
    ev_check_start(loop->ev, &loop->after_sleep);
    return loop;
}

void loop_free(struct loop **loop)
{
    struct loop *l = *loop;

    if (!l)
        return;
    INSIST(!l->is_running);
    list_for_each_safe (it, &l->signals) {
        struct loop_signal *s = CONTAINER(it, struct loop_signal, node);

        ev_signal_stop(l->ev, &s->ev);
        free(s);
    }
    /* A deadline that is still linked would later write to memory that is gone. */
    for (unsigned i = 0; i < WHEEL_SLOTS; i++)
        INSIST(list_empty(&l->slots[i]));
    ev_loop_destroy(l->ev);
    free(l);
    *loop = NULL;
}

void loop_run(struct loop *loop)
{
    INSIST(!loop->is_running);
    loop->now_ms = clock_ms();
    loop->is_running = true;
    ev_run(loop->ev, 0);
    if (loop->on_turn)
        loop->on_turn(loop->on_turn_arg);
    loop->is_running = false;
}

void loop_stop(struct loop *loop)
{
    ev_break(loop->ev, EVBREAK_ALL);
}

void loop_on_turn(struct loop *loop, void (*cb)(void *arg), void *arg)
{
    loop->on_turn = cb;
    loop->on_turn_arg = arg;
}
