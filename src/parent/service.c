/* What the service manager is told: that we are up, how it goes, that we reload, that we stop; and,
 * if it watches us, that our loop turns. Without one (NOTIFY_SOCKET) nothing of this happens. */
#include "base/log.h"
#include "base/num.h"
#include "parent/internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STATUS_MS = 10 * 1000,
    AGAIN_MS = 100,
    TEXT = 640,
    WATCHDOG_PARTS =
        2, /* how often it is told within the time that it waits (sd_watchdog_enabled(3)) */
    STOP_PARTS = 2, /* stop_timeout holds for the workers, then for the others */
    STOP_BEYOND_MS = 5000
};

/* The longest WATCHDOG_USEC that is taken: a century. */
static const uint64_t watchdog_most_us = UINT64_C(100) * 365 * 24 * 3600 * 1000000;

static void heed(struct parent *p, enum notify_result result, const struct err *err)
{
    struct service *s = &p->service;

    if (result == NOTIFY_FAILED && !s->is_failing)
        log_detail(LOG_NOTIFY_FAILED, "%s", err->text);
    s->is_failing = result == NOTIFY_FAILED;
    if (result == NOTIFY_WAITS && p->loop)
        deadline_set(p->loop, &s->again, AGAIN_MS);
}

static void say(struct parent *p, const char *text, bool must_arrive)
{
    struct err err;

    heed(p, notify_send(&p->service.notify, text, must_arrive, &err), &err);
}

static void on_again(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, service.again);
    struct err err;

    heed(p, notify_flush(&p->service.notify, &err), &err);
}

/* --- how it goes
 * ------------------------------------------------------------------------------------------------
 */

/* Changes when the status would. Totals only: a worker that dies does not count its sessions off.
 */
static uint64_t count(const struct parent *p)
{
    return tally_total(p->tally, METRIC_SESSIONS) + tally_total(p->tally, METRIC_LOGINS) +
           tally_total(p->tally, METRIC_LOGINS_REFUSED) +
           tally_total(p->tally, METRIC_LOGINS_FAILED);
}

/* `before`: lines that go with it. */
static void say_status(struct parent *p, const char *before, bool must_arrive)
{
    char text[TEXT];

    p->service.told = count(p);
    snprintf(text, sizeof text,
             "%sSTATUS=%sSince the start: %" PRIu64 " connections, %" PRIu64 " logins, %" PRIu64
             " refused, %" PRIu64 " failed",
             before,
             p->service.is_change_refused
                 ? "The last reload or upgrade was refused: see change_refused in the log. "
                 : "",
             tally_total(p->tally, METRIC_SESSIONS), tally_total(p->tally, METRIC_LOGINS),
             tally_total(p->tally, METRIC_LOGINS_REFUSED),
             tally_total(p->tally, METRIC_LOGINS_FAILED));
    say(p, text, must_arrive);
}

static void on_status(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, service.status);

    deadline_set(p->loop, d, STATUS_MS);
    if (count(p) != p->service.told)
        say_status(p, "", false);
}

/* --- its watchdog
 * -----------------------------------------------------------------------------------------------
 */

/* Told from the loop, so that it ceases when the loop does. */
static void on_watchdog(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, service.watchdog);

    deadline_set(p->loop, d, p->service.watchdog_ms);
    say(p, "WATCHDOG=1", false);
}

/* How often it wants to be told; 0: it does not, or it means another process. */
static uint32_t watchdog_asked(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t us, who;

    if (!usec || !num_parse(slice_str(usec), watchdog_most_us, &us) || us == 0)
        return 0;
    if (pid && (!num_parse(slice_str(pid), INT32_MAX, &who) || (pid_t)who != getpid()))
        return 0;
    us /= (uint64_t)WATCHDOG_PARTS * 1000;
    return us < 1 ? 1 : us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* --- from beginning to end
 * -------------------------------------------------------------------------------------- */

void service_init(struct parent *p)
{
    struct service *s = &p->service;

    s->notify.fd = -1;
    deadline_init(&s->status, on_status);
    deadline_init(&s->watchdog, on_watchdog);
    deadline_init(&s->again, on_again);
}

void service_begin(struct parent *p)
{
    static const char *const words[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    const char *socket = getenv("NOTIFY_SOCKET");
    struct err err;

    p->service.socket = socket ? strdup(socket) : NULL;
    if (notify_open(&p->service.notify, p->service.socket, &err) < 0)
        heed(p, NOTIFY_FAILED, &err);
    if (p->service.notify.fd >= 0)
        p->service.watchdog_ms = watchdog_asked();
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        unsetenv(words[i]);
    say(p, "STATUS=Starting", false);
}

void service_ready(struct parent *p)
{
    struct service *s = &p->service;

    if (s->notify.fd < 0)
        return;
    say_status(p, "READY=1\n", true);
    deadline_set(p->loop, &s->status, STATUS_MS);
    if (s->watchdog_ms > 0)
        deadline_set(p->loop, &s->watchdog, 0);
}

/* With the time, from which a manager that has asked for this sees that it is the answer. */
void service_changing(struct parent *p, enum change_kind what)
{
    struct timespec now;
    char text[TEXT];

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=%s",
             (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000,
             what == CHANGE_UPGRADE ? "Upgrading" : "Reloading");
    say(p, text, true);
}

void service_changed(struct parent *p, bool is_refused)
{
    p->service.is_change_refused = is_refused;
    if (!p->is_stopping)
        say_status(p, "READY=1\n", true);
}

void service_resume(struct parent *p, const char *socket, uint32_t watchdog_ms)
{
    struct service *s = &p->service;
    struct err err;

    s->socket = socket ? strdup(socket) : NULL;
    if (notify_open(&s->notify, s->socket, &err) < 0)
        heed(p, NOTIFY_FAILED, &err);
    if (s->notify.fd < 0)
        return;
    s->watchdog_ms = watchdog_ms;
    deadline_set(p->loop, &s->status, STATUS_MS);
    if (s->watchdog_ms > 0)
        deadline_set(p->loop, &s->watchdog, 0);
}

/* With the time that it may take: the manager's own limit may be shorter. */
void service_stopping(struct parent *p)
{
    const uint64_t most_ms = (uint64_t)STOP_PARTS * p->conf->global.stop_timeout + STOP_BEYOND_MS;
    char text[TEXT];

    deadline_clear(&p->service.status);
    snprintf(text, sizeof text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=Stopping",
             most_ms * 1000);
    say(p, text, true);
}

void service_failed(struct parent *p, const struct err *why)
{
    char text[TEXT];

    snprintf(text, sizeof text, "STATUS=%s", why->text);
    for (char *at = text; (at = strchr(at, '\n'));)
        *at = ' ';
    say(p, text, true);
}

void service_end(struct parent *p)
{
    struct service *s = &p->service;

    deadline_clear(&s->status);
    deadline_clear(&s->watchdog);
    deadline_clear(&s->again);
    notify_close(&s->notify);
    free(s->socket);
    s->socket = NULL;
}
