/* The file of the setting check_password: its first line, without the line's end, is the password
 * with which probes log in. Whoever asks has the file's content: the parent, to say what is wrong
 * with it, and the worker, to use it.
 */
#ifndef USHER_WORKER_CHECK_PASSWORD_H
#define USHER_WORKER_CHECK_PASSWORD_H

#include "base/err.h"
#include "base/slice.h"

struct conf;
struct conf_pool;

/* More than any server takes. */
enum { CHECK_PASSWORD_MAX = 1024 };

/* The pool's file; "" when its probes do not log in. */
const char *check_password_file(const struct conf_pool *pool);

/* Calls each(arg, name, err) for all of these files. Ends at the first -1. */
int check_password_names(const struct conf *conf,
                         int (*each)(void *arg, const char *name, struct err *err), void *arg,
                         struct err *err) MUST_CHECK;

/* The password in the content of a file, as a part of it. -1 when there is none, or none that can
 * be sent: no byte in the first line, more than CHECK_PASSWORD_MAX, NUL. The error ends a sentence
 * that begins with the file's name. */
int check_password_of(struct slice text, struct slice *out_password, struct err *err) MUST_CHECK;

#endif
