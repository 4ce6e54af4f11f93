/* Values of settings: from text to the member's type and back. */
#include "conf/value.h"

#include "base/num.h"
#include "base/slice.h"
#include "conf/conf.h"

#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Smallest first. */
static const struct unit plain[] = {{"", 1}};
static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
static const struct unit sizes[] = {
    {"", 1}, {"k", UINT64_C(1) << 10}, {"M", UINT64_C(1) << 20}, {"G", UINT64_C(1) << 30}};

/* How a kind's numbers are written. */
struct numeral {
    const struct unit *units;
    size_t n;
    uint64_t max; /* that the member can hold */
    const char *how;
};

static const struct numeral *numeral_of(const struct setting *s)
{
    static const struct numeral numerals[] = {
        [KIND_INT] = {plain, 1, UINT32_MAX, "a whole number"},
        [KIND_DURATION] = {durations, 5, UINT32_MAX,
                           "a number with ms, s, m, h or d right behind it"},
        [KIND_SIZE] = {sizes, 4, UINT64_MAX, "a number of bytes, or one with k, M or G behind it"},
    };

    return &numerals[s->kind];
}

const char *value_show(const char *text, char out[VALUE_SHOWN])
{
    size_t n = 0;

    for (; *text && n < VALUE_SHOWN - 4; text++)
        out[n++] = (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text;
    if (*text) {
        memcpy(out + n, "...", 3);
        n += 3;
    }
    out[n] = '\0';
    return out;
}

static bool number_parse(const struct numeral *numeral, struct slice text, uint64_t *out_number)
{
    size_t digits = 0;

    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    for (size_t i = 0; i < numeral->n; i++) {
        const struct unit *unit = &numeral->units[i];

        if (slice_eq(slice_sub(text, digits, text.n), slice_str(unit->name))) {
            uint64_t number;

            if (!num_parse(slice_sub(text, 0, digits), numeral->max / unit->factor, &number))
                return false;
            *out_number = number * unit->factor;
            return true;
        }
    }
    return false;
}

/* Says whether `number` lies in the "lowest to highest" of the setting. */
static bool in_range(const struct setting *s, const struct numeral *numeral, uint64_t number)
{
    const char *to = strstr(s->values, " to ");
    uint64_t lowest, highest;

    if (!to)
        return true;
    INSIST(number_parse(numeral, slice_of(s->values, (size_t)(to - s->values)), &lowest));
    INSIST(number_parse(numeral, slice_str(to + 4), &highest));
    return number >= lowest && number <= highest;
}

static int parse_number(const struct setting *s, const char *text, uint64_t *out_number,
                        struct err *err)
{
    const struct numeral *numeral = numeral_of(s);
    char shown[VALUE_SHOWN];
    uint64_t number;

    if (!number_parse(numeral, slice_str(text), &number))
        return err_set(err, 0, "%s = \"%s\": write %s, %s%s as in \"%s\"", s->name,
                       value_show(text, shown), numeral->how, s->values, *s->values ? "," : "",
                       setting_default(s));
    if (!in_range(s, numeral, number))
        return err_set(err, 0, "%s = %s is out of range: write %s, %s", s->name,
                       value_show(text, shown), numeral->how, s->values);
    *out_number = number;
    return 0;
}

/* Cuts the next word off a list of them, separated by `separator`. */
static bool next_word(struct slice *words, const char *separator, struct slice *out_word)
{
    const size_t n = strlen(separator);
    const char *end;

    if (!words->p)
        return false;
    end = memmem(words->p, words->n, separator, n);
    *out_word = slice_of(words->p, end ? (size_t)(end - words->p) : words->n);
    *words = end ? slice_sub(*words, out_word->n + n, words->n) : slice_of(NULL, 0);
    return true;
}

static int parse_choice(const struct setting *s, const char *text, uint8_t *out_choice,
                        struct err *err)
{
    struct slice words = slice_str(s->values), word;
    char shown[VALUE_SHOWN];

    for (uint8_t i = 0; next_word(&words, " | ", &word); i++)
        if (slice_eq(word, slice_str(text))) {
            *out_choice = i;
            return 0;
        }
    return err_set(err, 0, "%s = \"%s\": write one of %s", s->name, value_show(text, shown),
                   s->values);
}

static int parse_bool(const struct setting *s, const char *text, bool *out_flag, struct err *err)
{
    const bool yes = strcmp(text, "yes") == 0;
    char shown[VALUE_SHOWN];

    if (!yes && strcmp(text, "no") != 0)
        return err_set(err, 0, "%s = \"%s\": write yes or no", s->name, value_show(text, shown));
    *out_flag = yes;
    return 0;
}

int value_parse(const struct setting *s, const char *text, union value *out_value, struct err *err)
{
    uint64_t number = 0;

    switch ((enum setting_kind)s->kind) {
    case KIND_STR:
    case KIND_PATH:
    case KIND_LIST:
        out_value->str = text;
        return 0;
    case KIND_BOOL:
        return parse_bool(s, text, &out_value->flag, err);
    case KIND_INT:
    case KIND_DURATION:
        if (parse_number(s, text, &number, err))
            return -1;
        out_value->u32 = (uint32_t)number;
        return 0;
    case KIND_SIZE:
        if (parse_number(s, text, &number, err))
            return -1;
        out_value->u64 = number;
        return 0;
    case KIND_CHOICE:
        return parse_choice(s, text, &out_value->choice, err);
    }
    INSIST(false); /* a kind that settings.def does not have */
    return -1;
}

void value_store(const struct setting *s, const union value *value, void *object)
{
    void *member = setting_member(s, object);

    switch ((enum setting_kind)s->kind) {
    case KIND_STR:
    case KIND_PATH:
        *(const char **)member = value->str;
        break;
    case KIND_LIST:
        INSIST(false); /* a list is stored by its items */
        break;
    case KIND_BOOL:
        *(bool *)member = value->flag;
        break;
    case KIND_INT:
    case KIND_DURATION:
        *(uint32_t *)member = value->u32;
        break;
    case KIND_SIZE:
        *(uint64_t *)member = value->u64;
        break;
    case KIND_CHOICE:
        *(uint8_t *)member = value->choice;
        break;
    }
}

bool value_is_default(const struct setting *s, const void *object)
{
    const void *member = setting_value(s, object);
    union value value = {0};

    INSIST(value_parse(s, setting_default(s), &value, NULL) == 0);
    switch ((enum setting_kind)s->kind) {
    case KIND_STR:
    case KIND_PATH:
        return strcmp(*(const char *const *)member, value.str) == 0;
    case KIND_LIST:
        return ((const struct conf_list *)member)->n == 0 && !*value.str;
    case KIND_BOOL:
        return *(const bool *)member == value.flag;
    case KIND_INT:
    case KIND_DURATION:
        return *(const uint32_t *)member == value.u32;
    case KIND_SIZE:
        return *(const uint64_t *)member == value.u64;
    case KIND_CHOICE:
        return *(const uint8_t *)member == value.choice;
    }
    INSIST(false); /* a kind that settings.def does not have */
    return false;
}

static bool is_same_list(const struct conf_list *a, const struct conf_list *b)
{
    size_t i = 0;

    while (i < a->n && i < b->n && strcmp(a->items[i], b->items[i]) == 0)
        i++;
    return i == a->n && i == b->n;
}

bool value_is_same(const struct setting *s, const void *object, const void *other)
{
    const void *a = setting_value(s, object), *b = setting_value(s, other);

    switch ((enum setting_kind)s->kind) {
    case KIND_STR:
    case KIND_PATH:
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    case KIND_LIST:
        return is_same_list(a, b);
    case KIND_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case KIND_INT:
    case KIND_DURATION:
        return *(const uint32_t *)a == *(const uint32_t *)b;
    case KIND_SIZE:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    case KIND_CHOICE:
        return *(const uint8_t *)a == *(const uint8_t *)b;
    }
    INSIST(false); /* a kind that settings.def does not have */
    return false;
}

struct slice value_word(const struct setting *s, const void *object)
{
    const uint8_t choice = *(const uint8_t *)setting_value(s, object);
    struct slice words = slice_str(s->values), word = {NULL, 0};

    for (unsigned i = 0; next_word(&words, " | ", &word); i++)
        if (i == choice)
            return word;
    INSIST(false); /* value_store() took a word's index */
    return word;
}

void value_print_text(const char *text, FILE *out)
{
    putc('"', out);
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\' || c == '$')
            fprintf(out, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

/* In the largest unit that divides the number; no time at all in seconds. */
static void print_number(const struct setting *s, uint64_t number, FILE *out)
{
    const struct numeral *numeral = numeral_of(s);
    const struct unit *unit = &numeral->units[number == 0 && s->kind == KIND_DURATION ? 1 : 0];

    for (size_t i = 1; number > 0 && i < numeral->n; i++)
        if (number % numeral->units[i].factor == 0)
            unit = &numeral->units[i];
    fprintf(out, "%llu%s", (unsigned long long)(number / unit->factor), unit->name);
}

static void print_list(const struct conf_list *list, FILE *out)
{
    putc('{', out);
    for (size_t i = 0; i < list->n; i++) {
        fputs(i ? ", " : "", out);
        value_print_text(list->items[i], out);
    }
    putc('}', out);
}

void value_print(const struct setting *s, const void *object, FILE *out)
{
    const void *member = setting_value(s, object);

    switch ((enum setting_kind)s->kind) {
    case KIND_STR:
    case KIND_PATH:
        value_print_text(*(const char *const *)member, out);
        break;
    case KIND_LIST:
        print_list(member, out);
        break;
    case KIND_BOOL:
        fputs(*(const bool *)member ? "yes" : "no", out);
        break;
    case KIND_INT:
    case KIND_DURATION:
        print_number(s, *(const uint32_t *)member, out);
        break;
    case KIND_SIZE:
        print_number(s, *(const uint64_t *)member, out);
        break;
    case KIND_CHOICE:
        fprintf(out, "%.*s", SLICE_ARG(value_word(s, object)));
        break;
    }
}
