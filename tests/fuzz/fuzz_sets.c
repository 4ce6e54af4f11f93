/* Sequence sets beside a simple reader of them; and numbers that are written and read again. Dates
 * too: what is read is written as what is read the same. */
#include "cut.h"

#include "imap/date.h"
#include "imap/set.h"

enum { MAX_INPUT = 4096 };

/* A number or "*" from *s on, moving it; 0: none, or too large. */
static uint64_t model_number(const char **s, const char *end, uint32_t star)
{
    uint64_t v = 0;

    if (*s < end && **s == '*') {
        ++*s;
        return star;
    }
    for (; *s < end && **s >= '0' && **s <= '9'; ++*s) {
        if (v <= UINT32_MAX)
            v = v * 10 + (uint64_t)(**s - '0');
    }
    return v <= UINT32_MAX ? v : 0;
}

/* Whether the whole text is a set; sums up how many numbers it has. */
static bool model(struct slice text, uint32_t star, uint64_t *out_count)
{
    const char *s = text.p, *end = text.p + text.n;

    *out_count = 0;
    for (;;) {
        uint64_t first = model_number(&s, end, star), last = first;

        if (first > 0 && s < end && *s == ':') {
            s++;
            last = model_number(&s, end, star);
        }
        if (first == 0 || last == 0)
            return false;
        *out_count += first > last ? first - last + 1 : last - first + 1;
        if (s == end)
            return true;
        if (*s++ != ',')
            return false;
    }
}

static void check_read(struct slice text, uint32_t star)
{
    struct slice left = text;
    struct set_range range;
    uint64_t expected, count = 0;
    bool is_set = model(text, star, &expected);

    while (set_next(&left, star, &range)) {
        INSIST(range.first > 0 && range.first <= range.last && lies_in(left, text));
        count += (uint64_t)range.last - range.first + 1;
    }
    INSIST((left.n == 0 && text.n > 0) == is_set);
    INSIST(!is_set || count == expected);
    if (star == 0)
        INSIST(set_count(text) == (is_set && expected <= UINT32_MAX ? expected : 0));
}

/* Each byte is a step to the next number: ahead, back, or none. */
static void check_written(struct slice steps)
{
    struct buf out;
    struct set_writer w = set_writer(&out);
    struct slice set;
    struct set_range range = {1, 0};
    uint32_t at = 1, last = 0;

    buf_init(&out, MAX_INPUT * 12, false);
    for (size_t i = 0; i < steps.n; i++) {
        size_t before = set_length(&w);

        at += (uint32_t)(signed char)steps.p[i];
        at = at > 0 ? at : 1;
        INSIST(set_put(&w, at) == 0);
        INSIST(set_length(&w) >= before && set_length(&w) <= before + SET_NUMBER);
    }
    INSIST(set_end(&w) == 0);
    INSIST(set_length(&w) == buf_len(&out));
    set = buf_slice(&out);
    at = 1;
    for (size_t i = 0; i < steps.n; i++) { /* each is in the range that is read, or in the next */
        at += (uint32_t)(signed char)steps.p[i];
        at = at > 0 ? at : 1;
        if (at < range.first || at > range.last) {
            INSIST(last == range.last);
            INSIST(set_next(&set, 0, &range) && range.first == at);
            last = at;
        }
        last = at > last ? at : last;
    }
    INSIST(set.n == 0 && last == range.last);
    buf_release(&out);
}

static void check_date(struct slice text)
{
    struct imap_date date, again;
    char written[DATE_TEXT];

    if (!date_parse(text, &date))
        return;
    INSIST(date_write(date, written));
    INSIST(date_parse(slice_str(written), &again));
    INSIST(again.time_s == date.time_s && again.zone_min == date.zone_min);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    check_read(in.bytes, 0);
    check_read(in.bytes, in.seed);
    check_read(in.bytes, UINT32_MAX);
    check_written(in.bytes);
    check_date(in.bytes);
    return 0;
}
