/* What the code of mailboxes asks and tells the state of a sync: kept, to be compared. */
#ifndef USHER_TESTS_UNIT_MAILBOXES_WORLD_H
#define USHER_TESTS_UNIT_MAILBOXES_WORLD_H

#include "sync/mailboxes.h"

#include "link_fake.h"

#include "sync/state.h"

static struct sync_params params;
static char issues[2000], log_lines[1000];

const struct sync_params *sync_params(const struct sync *s)
{
    (void)s;
    return &params;
}

void sync_issue(struct sync *s, enum sync_reason reason, uint32_t folder, uint32_t from_uid,
                uint32_t to_uid, struct slice subject, const char *fmt, ...)
{
    size_t n = strlen(issues);
    va_list ap;

    (void)s;
    assert_int_equal(from_uid + to_uid + subject.n, 0);
    n += (size_t)snprintf(issues + n, sizeof issues - n, "%s %d: ", sync_reason_name(reason),
                          (int)folder);
    va_start(ap, fmt);
    n += (size_t)vsnprintf(issues + n, sizeof issues - n, fmt, ap);
    va_end(ap);
    snprintf(issues + n, sizeof issues - n, "\n");
}

void sync_log(struct sync *s, const char *fmt, ...)
{
    va_list ap;

    (void)s;
    va_start(ap, fmt);
    vsnprintf(log_lines, sizeof log_lines, fmt, ap);
    va_end(ap);
}

static inline void expect_issues(const char *expected)
{
    if (strcmp(issues, expected) != 0)
        fail_msg("told is \"%s\", not \"%s\"", issues, expected);
    issues[0] = '\0';
}

static inline int begin(void **state)
{
    (void)state;
    params = (struct sync_params){.from = {.user = SLICE("ann")}, .to = {.user = SLICE("anna")}};
    issues[0] = log_lines[0] = '\0';
    return 0;
}

#endif
