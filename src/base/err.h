/* The one failure idiom: a function returns int, 0 or -1, and takes a `struct err *` last.
 *
 * On -1 the callee has set the error; on 0 it has not touched it. The text is for a person: it
 * names what is wrong and where, begins in lower case and has no full stop. `code` is an errno
 * value where there is one, else 0. An error is handled and logged, or returned; never both.
 */
#ifndef USHER_BASE_ERR_H
#define USHER_BASE_ERR_H

#include <stddef.h>

struct err {
    int code;
    char text[508];
};

/* Sets text (printf style, cut at the end of the space) and code. Always returns -1, so that a
 * failing function can end with `return err_set(err, 0, "...")`. `err` may be NULL where nobody
 * asks. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, with ": " and the words of errno value `code` behind the text. */
int err_sys(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is there. Always returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define MUST_CHECK __attribute__((warn_unused_result))

/* An assert that stays in release builds: for what only our own bug can break. */
#define INSIST(cond)                                  \
    do {                                              \
        if (__builtin_expect(!(cond), 0))             \
            insist_failed(#cond, __FILE__, __LINE__); \
    } while (0)

/* Says which condition failed on stderr and aborts. */
_Noreturn void insist_failed(const char *cond, const char *file, int line);

#endif
