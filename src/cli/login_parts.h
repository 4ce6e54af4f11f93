/* What the files of `usher login` share:
 *
 *     login.c           which steps there are before the connection, and what comes of it all
 *     login_password.c  the password: from the terminal, a file, or standard input
 *     login_talk.c      the connection to the backend
 *     login_show.c      what is shown of the steps
 */
#ifndef USHER_CLI_LOGIN_PARTS_H
#define USHER_CLI_LOGIN_PARTS_H

#include "base/addr.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl_show;
struct way;

/* --- the password ----------------------------------------------------------------------------- */

enum { LOGIN_PASSWORD_MAX = 1024 };

/* The first line of a file, of standard input, or what is typed without echo below `prompt` when
 * that is a terminal (`file` NULL). What was typed so far is forgotten, and the terminal is as it
 * was, when a signal ends the process; after a stop it is asked anew. *out_password is of
 * secret_alloc(LOGIN_PASSWORD_MAX). */
int password_read(const char *file, const char *prompt, struct slice *out_password,
                  struct err *err) MUST_CHECK;

/* The first line of what comes from `fd`; *out_password as above. */
int password_read_fd(int fd, struct slice *out_password, struct err *err) MUST_CHECK;

/* Wipes and frees; harmless when it is empty. */
void password_free(struct slice *password);

/* --- the steps -------------------------------------------------------------------------------- */

struct steps {
    struct ctl_show *show;
    bool is_explained;
    const char *name;       /* of the step that goes on; NULL: none does */
    uint64_t at_us, all_us; /* when that began; the time of all that are over */
};

/* A step begins; the one before is over. Its name is static. */
void steps_begin(struct steps *s, const char *name);

/* It is over, with words for people; `steps_took` says how long it took by itself. */
void steps_end(struct steps *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void steps_took(struct steps *s, const char *name, uint64_t took_us, const char *text);

/* It has failed. */
void steps_fail(struct steps *s, const char *text);

/* --- the connection --------------------------------------------------------------------------- */

/* What the backend is to be told. */
struct login_credentials {
    struct slice user, authzid, password;
};

struct login_end {
    int status; /* the exit status */
    struct addr reached;
    char text[1024]; /* the backend's answer; or what went wrong, and at which step */
};

/* Goes from the backend's name to LOGOUT. */
void talk_login(const struct way *w, uint32_t backend, const struct login_credentials *credentials,
                struct steps *steps, struct login_end *out_end);

#endif
