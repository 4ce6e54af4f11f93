/* A configuration of any bytes loads or is refused; what loads is checked, printed, and loads again
 * to the same. */
#include "conf/conf.h"

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
