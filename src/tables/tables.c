/* Names of the tables' rows, for the log and the manual. */
#include "tables/tables.h"

#include "base/err.h"

struct row {
    const char *name;
    enum log_level level;
};

static const char *const levels[LEVEL_COUNT] = {"debug", "info", "notice", "warning", "error"};

static const struct row log_events[LOG_EVENT_COUNT] = {
#define LOG_EVENT(NAME, name, level, fields, manual) [LOG_##NAME] = {name, LEVEL_##level},
#include "tables/log_events.def"
#undef LOG_EVENT
};

static const struct row close_reasons[CLOSE_REASON_COUNT] = {
#define CLOSE_REASON(NAME, name, level, manual) [CLOSE_##NAME] = {name, LEVEL_##level},
#include "tables/close_reasons.def"
#undef CLOSE_REASON
};

static const char *const metrics[METRIC_COUNT] = {
#define METRIC(NAME, name, manual) [METRIC_##NAME] = name,
#include "tables/metrics.def"
#undef METRIC
};

const char *log_level_name(enum log_level level)
{
    INSIST(level < LEVEL_COUNT);
    return levels[level];
}

const char *log_event_name(enum log_event event)
{
    INSIST(event < LOG_EVENT_COUNT);
    return log_events[event].name;
}

enum log_level log_event_level(enum log_event event)
{
    INSIST(event < LOG_EVENT_COUNT);
    return log_events[event].level;
}

const char *close_reason_name(enum close_reason reason)
{
    INSIST(reason < CLOSE_REASON_COUNT);
    return close_reasons[reason].name;
}

enum log_level close_reason_level(enum close_reason reason)
{
    INSIST(reason < CLOSE_REASON_COUNT);
    return close_reasons[reason].level;
}

const char *metric_name(enum metric metric)
{
    INSIST(metric < METRIC_COUNT);
    return metrics[metric];
}
