/* The project's lists as enums with names. Each list is an X-macro file beside this header, where
 * each row carries its manual text; the reference in docs/reference/ is generated from the same
 * rows. */
#ifndef USHER_TABLES_TABLES_H
#define USHER_TABLES_TABLES_H

enum log_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_NOTICE, LEVEL_WARNING, LEVEL_ERROR, LEVEL_COUNT };

enum log_event {
#define LOG_EVENT(NAME, name, level, fields, manual) LOG_##NAME,
#include "tables/log_events.def"
#undef LOG_EVENT
    LOG_EVENT_COUNT
};

enum close_reason {
#define CLOSE_REASON(NAME, name, level, manual) CLOSE_##NAME,
#include "tables/close_reasons.def"
#undef CLOSE_REASON
    CLOSE_REASON_COUNT
};

enum metric {
#define METRIC(NAME, name, manual) METRIC_##NAME,
#include "tables/metrics.def"
#undef METRIC
    METRIC_COUNT
};

/* Names are lower case, as they stand in logs, metrics and the configuration. */
const char *log_level_name(enum log_level level);
const char *log_event_name(enum log_event event);
enum log_level log_event_level(enum log_event event);
const char *close_reason_name(enum close_reason reason);
enum log_level close_reason_level(enum close_reason reason);
const char *metric_name(enum metric metric);

#endif
