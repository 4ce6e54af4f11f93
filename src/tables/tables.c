/* Names of the tables' rows, for the log and the manual; the arguments of commands. */
#include "tables/tables.h"

#include "base/err.h"
#include "base/slice.h"

#include <string.h>

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

struct command_row {
    const char *words;
    enum command_right right;
    const char *arguments;
};

static const struct command_row commands[COMMAND_COUNT] = {
#define COMMAND(NAME, words, right, arguments, director, manual) \
    [COMMAND_##NAME] = {words, RIGHT_##right, arguments},
#include "tables/commands.def"
#undef COMMAND
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

const char *command_words(enum command command)
{
    INSIST(command < COMMAND_COUNT);
    return commands[command].words;
}

enum command_right command_right(enum command command)
{
    INSIST(command < COMMAND_COUNT);
    return commands[command].right;
}

/* The next word of a row; empty at its end. */
static struct slice next_word(const char **at)
{
    struct slice word;

    *at += strspn(*at, " ");
    word = slice_of(*at, strcspn(*at, " "));
    *at += word.n;
    return word;
}

static void copy_word(struct slice word, char out[16], bool is_lower)
{
    INSIST(word.n > 0 && word.n < 16);
    for (size_t i = 0; i < word.n; i++)
        out[i] =
            is_lower && word.p[i] >= 'A' && word.p[i] <= 'Z' ? (char)(word.p[i] | 0x20) : word.p[i];
    out[word.n] = '\0';
}

size_t command_arguments(enum command command,
                         struct command_argument out_all[COMMAND_ARGUMENTS_MAX])
{
    const char *at;
    struct slice word;
    size_t n = 0;

    INSIST(command < COMMAND_COUNT);
    at = commands[command].arguments;
    while ((word = next_word(&at)).n > 0) {
        struct command_argument *a = &out_all[n++];

        INSIST(n <= COMMAND_ARGUMENTS_MAX);
        *a = (struct command_argument){.is_necessary = word.p[0] != '[' && word.p[0] != '-',
                                       .is_named = word.p[0] == '-'};
        if (word.p[0] == '[')
            word = slice_sub(word, 1, word.n - 1);
        if (a->is_named)
            word = slice_sub(word, 2, word.n);
        copy_word(word, a->name, true);
        copy_word(a->is_named ? next_word(&at) : word, a->value, false);
    }
    return n;
}
