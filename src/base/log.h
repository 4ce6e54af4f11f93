/* The log: one line an event, each event a row of tables/log_events.def.
 *
 *     2026-11-23T06:12:49.123Z info login id=1.42 user=ann@example.org backend=mail1
 *
 * Keys and values as logfmt: a value with a blank, a quote, an equals sign or what is not printable
 * stands in quotes with \" \\ \n \r \t \xNN. What peers sent can therefore never break or forge a
 * line.
 *
 * A slow reader never stalls the process: lines are written without blocking; what the reader does
 * not take at once waits in a bounded buffer, then is dropped and counted. One log a process.
 */
#ifndef USHER_BASE_LOG_H
#define USHER_BASE_LOG_H

#include "base/addr.h"
#include "base/slice.h"
#include "tables/tables.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOG_LINE = 2048 };

/* A line being written; lives on the stack from log_begin to log_end. */
struct log_line {
    enum log_event event;
    enum log_level level;
    uint16_t len;
    bool is_cut;
    char text[LOG_LINE];
};

/* Writes to `fd` from now on (the caller keeps it open), events of `level` and above. */
void log_open(int fd, enum log_level level);

/* Who is to be told how many lines were just dropped. */
void log_on_dropped(void (*cb)(void *arg, uint64_t lines), void *arg);

/* Makes a description of its own for what `fd` stands for, non-blocking, so that nobody else who
 * shares `fd` is made non-blocking with us. Falls back to `fd` itself (where lines are only written
 * when poll says that there is room). */
int log_reopen(int fd);

void log_begin(struct log_line *l, enum log_event event);

/* As log_begin, at another level than the event's own. */
void log_begin_at(struct log_line *l, enum log_event event, enum log_level level);

/* Each leaves the key out when there is nothing to tell: an empty text, no address. */
void log_slice(struct log_line *l, const char *key, struct slice value);
void log_str(struct log_line *l, const char *key, const char *value);
void log_addr(struct log_line *l, const char *key, const struct addr *value);
void log_uint(struct log_line *l, const char *key, uint64_t value);

void log_end(struct log_line *l);

/* An event whose only key is `detail`. */
void log_detail(enum log_event event, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes what waits, as far as the reader takes it. Called by log_end; and whoever runs a loop
 * calls it now and then while log_is_waiting(). */
void log_flush(void);
bool log_is_waiting(void);

/* For the end of a process: waits for the reader, up to `timeout_ms`; what it has not taken then is
 * dropped and counted. */
void log_drain(unsigned timeout_ms);

#endif
