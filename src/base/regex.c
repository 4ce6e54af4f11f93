/* PCRE2, 8 bit, interpreted. */
#include "base/regex.h"

#include "base/utf8.h"

#include <stdint.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* A step takes some 20 ns, and as much more for each STEP_BYTES of the subject, as it may walk over
 * all of it; a level of depth some 150 bytes. */
enum {
    STEPS_MAX = 50000,      /* of one expression */
    STEPS_ALL_MAX = 300000, /* of all that a subject is held against */
    STEP_BYTES = 64,
    DEPTH_MAX = 5000,
    HEAP_MAX_KIB = 2048
};

struct regex {
    pcre2_code *code;
    bool is_utf;
};

struct regex_space {
    pcre2_match_data *data;
    pcre2_match_context *bounds;
    size_t steps_left;
    size_t groups; /* pairs of parentheses that the last search has told, the whole included */
};

/* PCRE2 calls before each item of an expression that it tries; its own count is that of one match,
 * and it keeps that for itself. */
static int on_step(pcre2_callout_block *at, void *arg)
{
    struct regex_space *s = arg;
    const size_t cost = 1 + at->subject_length / STEP_BYTES;

    if (cost > s->steps_left)
        return PCRE2_ERROR_CALLOUT;
    s->steps_left -= cost;
    return 0;
}

void regex_space_begin(struct regex_space *s)
{
    s->steps_left = STEPS_ALL_MAX;
}

struct regex_space *regex_space_new(void)
{
    struct regex_space *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->data = pcre2_match_data_create(1 + REGEX_GROUPS, NULL);
    s->bounds = pcre2_match_context_create(NULL);
    if (!s->data || !s->bounds) {
        regex_space_free(&s);
        return NULL;
    }
    pcre2_set_match_limit(s->bounds, STEPS_MAX);
    pcre2_set_depth_limit(s->bounds, DEPTH_MAX);
    pcre2_set_heap_limit(s->bounds, HEAP_MAX_KIB);
    (void)pcre2_set_callout(s->bounds, on_step, s);
    regex_space_begin(s);
    return s;
}

void regex_space_free(struct regex_space **s)
{
    if (!*s)
        return;
    pcre2_match_context_free((*s)->bounds);
    pcre2_match_data_free((*s)->data);
    free(*s);
    *s = NULL;
}

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    }
    return true;
}

static bool is_utf8(struct slice s)
{
    for (size_t at = 0, n; at < s.n; at += n) {
        n = utf8_char(slice_sub(s, at, s.n));
        if (n == 0)
            return false;
    }
    return true;
}

static pcre2_code *compile(struct slice pattern, uint32_t options, struct err *err)
{
    PCRE2_UCHAR words[160];
    PCRE2_SIZE at;
    int code;
    /* C, and with it PCRE2, takes no NULL for an empty text. */
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)(pattern.n > 0 ? pattern.p : ""), pattern.n, options,
                                   &code, &at, NULL);

    if (!re) {
        pcre2_get_error_message(code, words, sizeof words);
        (void)err_set(err, 0, "the expression is wrong at byte %zu: %s", (size_t)at + 1,
                      (const char *)words);
    }
    return re;
}

static uint32_t options_of(unsigned how, bool is_utf)
{
    return PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT |
           (is_utf ? PCRE2_UTF : PCRE2_NEVER_UTF) | (how & REGEX_NO_CASE ? PCRE2_CASELESS : 0) |
           (how & REGEX_EXTENDED ? PCRE2_EXTENDED : 0) | (how & REGEX_LINES ? PCRE2_MULTILINE : 0) |
           (how & REGEX_DOT_ALL ? PCRE2_DOTALL : 0);
}

int regex_new_with(struct slice pattern, unsigned how, struct regex **out_regex, struct err *err)
{
    const bool is_utf = how & REGEX_CHARACTERS || !is_ascii(pattern);
    struct regex *r;

    if (is_utf && !is_utf8(pattern))
        return err_set(err, 0, "the expression is not UTF-8");
    r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, 0, "no memory for the expression");
    r->is_utf = is_utf;
    r->code = compile(pattern, options_of(how, is_utf), err);
    if (!r->code) {
        regex_free(&r);
        return -1;
    }
    *out_regex = r;
    return 0;
}

int regex_new(struct slice pattern, bool has_no_case, struct regex **out_regex, struct err *err)
{
    return regex_new_with(pattern, has_no_case ? REGEX_NO_CASE : 0, out_regex, err);
}

void regex_free(struct regex **r)
{
    if (!*r)
        return;
    pcre2_code_free((*r)->code);
    free(*r);
    *r = NULL;
}

enum regex_result regex_search(const struct regex *r, struct regex_space *space,
                               struct slice subject, size_t from, bool is_behind_empty)
{
    const uint32_t options =
        (r->is_utf ? PCRE2_NO_UTF_CHECK : 0) | (is_behind_empty ? PCRE2_NOTEMPTY_ATSTART : 0);
    int n;

    space->groups = 0;
    INSIST(from <= subject.n);
    if (r->is_utf && !is_utf8(subject))
        return REGEX_NO;
    n = pcre2_match(r->code, (PCRE2_SPTR)(subject.n > 0 ? subject.p : ""), subject.n, from, options,
                    space->data, space->bounds);
    if (n == PCRE2_ERROR_NOMATCH)
        return REGEX_NO;
    if (n < 0)
        return REGEX_FAILED;
    /* 0: there are more pairs than room for them. */
    space->groups = n > 0 ? (size_t)n : 1 + REGEX_GROUPS;
    return REGEX_YES;
}

enum regex_result regex_match(const struct regex *r, struct regex_space *space,
                              struct slice subject)
{
    return regex_search(r, space, subject, 0, false);
}

size_t regex_groups(const struct regex *r)
{
    uint32_t n = 0;

    (void)pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &n);
    return n;
}

bool regex_group(const struct regex_space *space, size_t i, struct regex_span *out_span)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(space->data);

    /* An expression with \K may say that its match ends before it begins. */
    if (i >= space->groups || at[2 * i] == PCRE2_UNSET || at[2 * i] > at[2 * i + 1])
        return false;
    *out_span = (struct regex_span){at[2 * i], at[2 * i + 1]};
    return true;
}
