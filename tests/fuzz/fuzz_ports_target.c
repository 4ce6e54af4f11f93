/* A word that names ports, and behind a newline an /etc/services for it: what is understood is a
 * port, can be written again and means the same then; what is refused says why in plain ASCII. The
 * first byte says whether anybody asks why, since to look for the nearest name takes long. */
#include "ports/target.h"

#include "ports/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse(struct slice word, const struct services *services, struct target *t,
                 struct err *err)
{
    char *copy = malloc(word.n ? word.n : 1);
    int result;

    INSIST(copy);
    if (word.n)
        memcpy(copy, word.p, word.n);
    if (err)
        err->text[0] = '\0';
    result = target_parse(slice_of(copy, word.n), services, t, err);
    free(copy);
    return result;
}

static void check_error(const struct err *err)
{
    INSIST(err->text[0] && strlen(err->text) < sizeof err->text - 1);
    for (const char *p = err->text; *p; p++)
        INSIST(*p >= ' ' && *p <= '~');
}

/* What was understood as `t`, written with numbers. */
static void check_again(const struct target *t, const struct services *services, const char *text)
{
    struct target again;

    INSIST(parse(slice_str(text), services, &again, NULL) == 0);
    INSIST(again.first == t->first && again.last == t->last && !again.is_service);
    INSIST(addr_is_set(&again.addr) == addr_is_set(&t->addr));
    INSIST(!addr_is_set(&t->addr) || memcmp(&again.addr, &t->addr, sizeof t->addr) == 0);
    INSIST((again.host[0] == '\0') == (t->host[0] == '\0'));
}

static void check_target(const struct target *t, const struct services *services)
{
    char text[TARGET_HOST + 16], address[ADDR_TEXT];
    const size_t host_n = strnlen(t->host, sizeof t->host);

    INSIST(t->first > 0 && t->first <= t->last && host_n < sizeof t->host);
    INSIST(t->first == t->last || (!t->is_service && host_n == 0));
    INSIST(!addr_is_set(&t->addr) || (host_n > 0 && addr_port(&t->addr) == t->first));
    for (size_t i = 0; i < host_n; i++)
        INSIST(t->host[i] > ' ' && t->host[i] <= '~' && !strchr("[]/@", t->host[i]));
    if (addr_is_set(&t->addr))
        check_again(t, services, addr_format(&t->addr, address));
    snprintf(text, sizeof text, t->first == t->last ? "%u" : "%u-%u", t->first, t->last);
    if (host_n == 0)
        check_again(t, services, text);
    else if (!strchr(t->host, ':')) {
        snprintf(text, sizeof text, "%s:%u", t->host, t->first);
        check_again(t, services, text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size), word;
    struct services *services = NULL;
    const char *newline;
    struct target t;
    struct err err;
    bool asks;

    if (size == 0)
        return 0;
    asks = data[0] % 4 == 1;
    in = slice_sub(in, 1, in.n);
    newline = in.n ? memchr(in.p, '\n', in.n) : NULL;
    word = slice_sub(in, 0, newline ? (size_t)(newline - in.p) : in.n);
    if (newline)
        INSIST(services_parse(slice_sub(in, word.n + 1, in.n), &services, NULL) == 0);
    memset(&t, 0, sizeof t);
    if (parse(word, services, &t, asks ? &err : NULL) == 0)
        check_target(&t, services);
    else if (asks)
        check_error(&err);
    services_free(&services);
    return 0;
}
