/* The log of base/log.h: building a line, and writing it without ever waiting for its reader. */
#include "base/log.h"

#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* As many lines as all sessions of a full worker write when it stops, some 200 bytes each.
 * Untouched, it costs nothing. */
enum { LOG_WAITING = 4 * 1024 * 1024 };

enum { DRAIN_AGAIN_MS = 2 };

/* The longest value as it stands in a line, so that a peer's cannot push the keys behind it out. */
enum { LOG_VALUE = 512 };

/* The process' one log: where it goes, and what its reader has not taken yet (whole lines). */
static struct {
    int fd;
    enum log_level level;
    bool is_socket;
    bool is_blocking;
    void (*on_dropped)(void *, uint64_t);
    void *on_dropped_arg;
    uint64_t dropped;      /* not yet told in a line */
    size_t start, waiting; /* what waits: buffer[start] to buffer[start + waiting - 1] */
} state = {.fd = STDERR_FILENO, .level = LEVEL_INFO, .is_blocking = true};

/* Not a part of `state`, whose first values would make all of it a part of the program's file. */
static char buffer[LOG_WAITING];

void log_open(int fd, enum log_level level)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    state.fd = fd;
    state.level = level;
    state.is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    state.is_blocking = flags < 0 || !(flags & O_NONBLOCK);
}

void log_on_dropped(void (*cb)(void *arg, uint64_t lines), void *arg)
{
    state.on_dropped = cb;
    state.on_dropped_arg = arg;
}

int log_reopen(int fd)
{
    char path[32];
    int own;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    own = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return own < 0 ? fd : own;
}

/* Writes as much as goes without waiting; returns how much, 0 when nothing. A reader that is gone
 * takes everything: there is nobody to keep the lines for. */
static size_t write_some(const char *p, size_t n)
{
    ssize_t done;

    if (state.is_socket) {
        done = send(state.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        struct pollfd pfd = {.fd = state.fd, .events = POLLOUT};

        if (state.is_blocking && poll(&pfd, 1, 0) == 0)
            return 0;
        done = write(state.fd, p, n);
    }
    if (done >= 0)
        return (size_t)done;
    return errno == EPIPE ? n : 0;
}

/* How much of what waits to write at once: whole lines, and no more than a pipe takes as one piece,
 * since other processes write their lines between ours. */
static size_t next_piece(void)
{
    const char *p = buffer + state.start;
    size_t n = state.waiting < PIPE_BUF ? state.waiting : PIPE_BUF;
    const char *end = memrchr(p, '\n', n);

    return end ? (size_t)(end + 1 - p) : n;
}

static void tell_dropped(void)
{
    struct log_line l;
    uint64_t dropped = state.dropped;

    state.dropped = 0;
    log_begin(&l, LOG_LOG_DROPPED);
    log_uint(&l, "lines", dropped);
    log_end(&l);
}

void log_flush(void)
{
    size_t done = 0;

    while (state.waiting > 0) {
        done = write_some(buffer + state.start, next_piece());
        if (done == 0)
            return;
        state.start += done;
        state.waiting -= done;
    }
    state.start = 0;
    if (done > 0 && state.dropped)
        tell_dropped();
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void log_drain(unsigned timeout_ms)
{
    uint64_t until = now_ms() + timeout_ms, lines = 0;

    log_flush();
    while (state.waiting > 0 && now_ms() < until) {
        /* Not only for what the reader takes: another process may have filled the pipe again. */
        poll(NULL, 0, DRAIN_AGAIN_MS);
        log_flush();
    }
    for (size_t i = 0; i < state.waiting; i++)
        lines += buffer[state.start + i] == '\n';
    state.waiting = 0;
    if (lines > 0 && state.on_dropped)
        state.on_dropped(state.on_dropped_arg, lines);
}

/* Puts a line behind those that wait; false when there is no room. */
static bool keep(const char *p, size_t n)
{
    if (n > LOG_WAITING - state.waiting - state.start) {
        /* Moving is worth it only for much room: a slow reader makes a little at a time. */
        if (state.start < LOG_WAITING / 2)
            return false;
        memmove(buffer, buffer + state.start, state.waiting);
        state.start = 0;
    }
    memcpy(buffer + state.start + state.waiting, p, n);
    state.waiting += n;
    return true;
}

bool log_is_waiting(void)
{
    return state.waiting > 0;
}

static void put_raw(struct log_line *l, const char *p, size_t n)
{
    /* The newline always has its place. */
    if (l->is_cut || n > (size_t)LOG_LINE - 1 - l->len) {
        l->is_cut = true;
        return;
    }
    memcpy(l->text + l->len, p, n);
    l->len = (uint16_t)(l->len + n);
}

void log_begin(struct log_line *l, enum log_event event)
{
    log_begin_at(l, event, log_event_level(event));
}

void log_begin_at(struct log_line *l, enum log_event event, enum log_level level)
{
    char stamp[96];
    struct timespec now;
    struct tm tm;
    size_t n;

    l->event = event;
    l->level = level;
    l->len = 0;
    l->is_cut = false;
    if (level < state.level)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp + n, sizeof stamp - n, ".%03dZ %s %s", (int)(now.tv_nsec / 1000000),
             log_level_name(level), log_event_name(event));
    put_raw(l, stamp, strlen(stamp));
}

/* How many bytes at the start of `s` may stand in the log as they are: one printable character, not
 * a C1 control (U+0080 to U+009F), which terminals obey. */
static size_t printable(struct slice s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = utf8_char(s);

    if (n == 1)
        return c >= 0x20 && c != 0x7f ? 1 : 0;
    if (n == 2 && c == 0xc2 && (unsigned char)s.p[1] < 0xa0)
        return 0;
    return n;
}

static bool needs_quotes(struct slice s)
{
    for (size_t i = 0; i < s.n;) {
        size_t n = printable(slice_sub(s, i, s.n));

        if (n == 0 || strchr(" \"=\\", s.p[i]))
            return true;
        i += n;
    }
    return false;
}

/* One character of a quoted value. Returns how many bytes of `s` it was. */
static size_t put_quoted(struct log_line *l, struct slice s)
{
    size_t n = printable(s);
    char hex[8];

    if (n == 1 && (s.p[0] == '"' || s.p[0] == '\\'))
        put_raw(l, "\\", 1);
    if (n > 0) {
        put_raw(l, s.p, n);
        return n;
    }
    if (s.p[0] == '\n' || s.p[0] == '\r' || s.p[0] == '\t')
        snprintf(hex, sizeof hex, "\\%c", s.p[0] == '\n' ? 'n' : s.p[0] == '\r' ? 'r' : 't');
    else
        snprintf(hex, sizeof hex, "\\x%02x", (unsigned char)s.p[0]);
    put_raw(l, hex, strlen(hex));
    return 1;
}

void log_slice(struct log_line *l, const char *key, struct slice value)
{
    size_t i = 0, end;

    if (value.n == 0 || l->level < state.level)
        return;
    put_raw(l, " ", 1);
    put_raw(l, key, strlen(key));
    put_raw(l, "=", 1);
    if (value.n <= LOG_VALUE && !needs_quotes(value)) {
        put_raw(l, value.p, value.n);
        return;
    }
    put_raw(l, "\"", 1);
    end = l->len + LOG_VALUE;
    while (i < value.n && l->len < end)
        i += put_quoted(l, slice_sub(value, i, value.n));
    put_raw(l, i < value.n ? "...\"" : "\"", i < value.n ? 4 : 1);
}

void log_str(struct log_line *l, const char *key, const char *value)
{
    log_slice(l, key, slice_str(value));
}

void log_addr(struct log_line *l, const char *key, const struct addr *value)
{
    char text[ADDR_TEXT];

    if (!addr_is_set(value))
        return;
    addr_format(value, text);
    /* Digits, dots, colons and brackets need no quotes. */
    log_slice(l, key, slice_str(text));
}

void log_uint(struct log_line *l, const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    log_slice(l, key, slice_str(text));
}

void log_end(struct log_line *l)
{
    size_t done = 0;

    if (l->level < state.level)
        return;
    l->text[l->len++] = '\n';
    log_flush();
    if (state.waiting == 0)
        done = write_some(l->text, l->len);
    /* A stream may take a part; the rest goes first when it takes more. */
    if (done == l->len || keep(l->text + done, l->len - done))
        return;
    state.dropped++;
    if (state.on_dropped)
        state.on_dropped(state.on_dropped_arg, 1);
}

void log_detail(enum log_event event, const char *fmt, ...)
{
    struct log_line l;
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_begin(&l, event);
    log_str(&l, "detail", text);
    log_end(&l);
}
