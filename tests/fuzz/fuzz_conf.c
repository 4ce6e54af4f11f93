/* A configuration of any bytes loads or is refused; what loads is checked, printed, and loads again
 * to the same, of which no difference is told. */
#include "conf/conf.h"
#include "conf/diff.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void report(void *arg, const struct conf_where *where, const char *text)
{
    unsigned *told = arg;

    INSIST(where->file && text[0]);
    ++*told;
}

static unsigned check(const struct conf *conf)
{
    unsigned told = 0;
    unsigned count = conf_check(conf, false, report, &told);

    INSIST(told == count);
    return count;
}

static char *print(const struct conf *conf)
{
    struct err err;
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    INSIST(out && conf_print(conf, out, &err) == 0);
    fclose(out);
    return text;
}

static void tell(void *arg, const char *text)
{
    size_t *told = arg;

    INSIST(text[0] && strlen(text) < CONF_DIFF_TEXT);
    ++*told;
}

static size_t differences(const struct conf *before, const struct conf *after)
{
    size_t told = 0;
    size_t count = conf_diff(before, after, tell, &told);

    INSIST(told == count);
    return count;
}

static void compare_meanings(const struct conf *one, const struct conf *other)
{
    for (size_t p = 0; p < one->pools_n; p++) {
        for (size_t b = 0; b < one->pools[p].backends_n; b++)
            INSIST(conf_meaning(one, p, b) == conf_meaning(other, p, b));
    }
}

/* What is told of the way there is told of the way back. */
static void compare_with_none(const struct conf *conf)
{
    struct conf *none;
    struct err err;
    size_t told = 0, refused;

    INSIST(conf_load_text("", "none", &none, &err) == 0);
    INSIST(differences(none, conf) == differences(conf, none));
    refused = conf_diff_refused(none, conf, tell, &told);
    INSIST(refused == told);
    conf_free(&none);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct conf *conf, *again;
    struct err err;
    char *printed, *printed_again;

    memcpy(text, data, size);
    text[size] = '\0';
    if (conf_load_text(text, "fuzz", &conf, &err)) {
        INSIST(strncmp(err.text, "fuzz:", 5) == 0);
        free(text);
        return 0;
    }
    printed = print(conf);
    INSIST(conf_load_text(printed, "printed", &again, &err) == 0);
    printed_again = print(again);
    INSIST(strcmp(printed, printed_again) == 0);
    INSIST(differences(conf, again) == 0);
    compare_meanings(conf, again);
    compare_with_none(conf);
    /* What was good is good again; a mistake may have given way to its default. */
    if (check(conf) == 0)
        INSIST(check(again) == 0);
    else
        (void)check(again);
    free(printed);
    free(printed_again);
    conf_free(&conf);
    conf_free(&again);
    free(text);
    return 0;
}
