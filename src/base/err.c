/* Errors as values, and the assert that stays. Logging them is left to the caller. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int err_set(struct err *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    err->code = code;
    return -1;
}

int err_sys(struct err *err, int code, const char *fmt, ...)
{
    va_list ap;
    size_t n;

    if (!err)
        return -1;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    n = strlen(err->text);
    snprintf(err->text + n, sizeof err->text - n, ": %s", strerror(code));
    err->code = code;
    return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
    struct err old;
    va_list ap;
    size_t n;

    if (!err)
        return -1;
    old = *err;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    n = strlen(err->text);
    snprintf(err->text + n, sizeof err->text - n, ": %s", old.text);
    return -1;
}

_Noreturn void insist_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "usher: bug: %s:%d: %s does not hold\n", file, line, cond);
    abort();
}
