/* The project's lists as enums with names. Each list is an X-macro file beside this header, where
 * each row carries its manual text; the reference in docs/reference/ is generated from the same
 * rows. */
#ifndef USHER_TABLES_TABLES_H
#define USHER_TABLES_TABLES_H

#include <stdbool.h>
#include <stddef.h>

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

enum command {
#define COMMAND(NAME, words, right, arguments, director, manual) COMMAND_##NAME,
#include "tables/commands.def"
#undef COMMAND
    COMMAND_COUNT
};

enum command_right { RIGHT_SEE, RIGHT_STEER };

/* What a row says of one argument. */
struct command_argument {
    char name[16];  /* its key in a request: "backend" */
    char value[16]; /* what stands for it, which says of what kind it is: "BACKEND" */
    bool is_necessary;
    bool is_named; /* typed as --name VALUE */
};

enum { COMMAND_ARGUMENTS_MAX = 8 };

/* Names are lower case, as they stand in logs, metrics and the configuration. */
const char *log_level_name(enum log_level level);
const char *log_event_name(enum log_event event);
enum log_level log_event_level(enum log_event event);
const char *close_reason_name(enum close_reason reason);
enum log_level close_reason_level(enum close_reason reason);
const char *metric_name(enum metric metric);

/* "backend up", as it is typed and as it stands in a request. */
const char *command_words(enum command command);
enum command_right command_right(enum command command);

/* All of a command, in the order of its row. Returns how many. */
size_t command_arguments(enum command command,
                         struct command_argument out_all[COMMAND_ARGUMENTS_MAX]);

#endif
