/* What the words of a server mean that has refused a message; see carry.h. Codes first (RFC 5530,
 * RFC 4469, RFC 9051 section 7.1), then words as servers are known to say them. */
#include "sync/carry.h"

#include "base/num.h"

static bool says(struct slice text, const char *word)
{
    struct slice w = slice_str(word);

    for (size_t i = 0; i + w.n <= text.n; i++) {
        if (slice_istarts(slice_sub(text, i, text.n), w))
            return true;
    }
    return false;
}

struct saying {
    const char *words;
    enum carry_refusal refusal;
    enum sync_reason reason;
};

static const struct saying codes[] = {
    {"TRYCREATE", REFUSAL_CREATE, 0},
    {"OVERQUOTA", REFUSAL_QUOTA, 0},
    {"TOOBIG", REFUSAL_MESSAGE, REASON_TOO_BIG},
    {"BADCHARSET", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"UNKNOWN-CTE", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"UNAVAILABLE", REFUSAL_PAUSE, 0},
    {"INUSE", REFUSAL_PAUSE, 0},
    {"THROTTLED", REFUSAL_PAUSE, 0},
};

/* In this order: "message size exceeds the quota" is the quota's. */
static const struct saying words[] = {
    {"throttl", REFUSAL_PAUSE, 0},
    {"backoff", REFUSAL_PAUSE, 0},
    {"try again", REFUSAL_PAUSE, 0},
    {"try later", REFUSAL_PAUSE, 0},
    {"temporar", REFUSAL_PAUSE, 0},
    {"rate limit", REFUSAL_PAUSE, 0},
    {"quota", REFUSAL_QUOTA, 0},
    {"mailbox is full", REFUSAL_QUOTA, 0},
    {"mailbox full", REFUSAL_QUOTA, 0},
    {"too large", REFUSAL_MESSAGE, REASON_TOO_BIG},
    {"too big", REFUSAL_MESSAGE, REASON_TOO_BIG},
    {"maximum size", REFUSAL_MESSAGE, REASON_TOO_BIG},
    {"size limit", REFUSAL_MESSAGE, REASON_TOO_BIG},
    {"message size", REFUSAL_MESSAGE, REASON_TOO_BIG},
    {"NUL char", REFUSAL_MESSAGE, REASON_HAS_NUL},
    {"NUL byte", REFUSAL_MESSAGE, REASON_HAS_NUL},
    {"NULs", REFUSAL_MESSAGE, REASON_HAS_NUL},
    {"bare newline", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"bare LF", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"invalid header", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"malformed", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"virus", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"empty message", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"zero byte", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"zero-length", REFUSAL_MESSAGE, REASON_BAD_MESSAGE},
    {"keyword", REFUSAL_KEYWORDS, 0},
    {"flag", REFUSAL_KEYWORDS, 0},
    {"date", REFUSAL_DATE, 0},
};

/* "Suggested Backoff Time: 92415 milliseconds", "retry after 30 seconds", "try again in 5s". */
static uint32_t pause_of(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        size_t end = i;
        uint64_t number;
        struct slice unit;

        while (end < text.n && text.p[end] >= '0' && text.p[end] <= '9')
            end++;
        if (end == i)
            continue;
        unit = slice_sub(text, end, text.n);
        if (unit.n > 0 && unit.p[0] == ' ')
            unit = slice_sub(unit, 1, unit.n);
        if (num_parse(slice_sub(text, i, end), 24 * 3600 * 1000, &number)) {
            if (slice_istarts(unit, SLICE("millisecond")) || slice_istarts(unit, SLICE("ms")))
                return (uint32_t)number;
            if (slice_istarts(unit, SLICE("minute")) && number <= 24 * 60)
                return (uint32_t)number * 60000;
            if (slice_istarts(unit, SLICE("s")) && number <= 24 * 3600)
                return (uint32_t)number * 1000;
        }
        i = end;
    }
    return 0;
}

static enum carry_refusal is_meant(const struct saying *s, struct slice text,
                                   enum sync_reason *out_reason, uint32_t *out_pause_ms)
{
    if (s->refusal == REFUSAL_MESSAGE)
        *out_reason = s->reason;
    if (s->refusal == REFUSAL_PAUSE)
        *out_pause_ms = pause_of(text);
    return s->refusal;
}

enum carry_refusal carry_refusal(struct slice code, struct slice text, enum sync_reason *out_reason,
                                 uint32_t *out_pause_ms)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (slice_ieq(code, slice_str(codes[i].words)))
            return is_meant(&codes[i], text, out_reason, out_pause_ms);
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (says(text, words[i].words))
            return is_meant(&words[i], text, out_reason, out_pause_ms);
    }
    /* [LIMIT] says that something is too much, and RFC 5530 leaves open whether it passes. */
    if (slice_ieq(code, SLICE("LIMIT"))) {
        *out_pause_ms = pause_of(text);
        return REFUSAL_LIMIT;
    }
    return REFUSAL_UNKNOWN;
}
