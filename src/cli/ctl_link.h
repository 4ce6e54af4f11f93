/* A connection to the unix door: requests out, answers in, as admin/door.h says.
 *
 * An answer is read to its end before any of it is handed out, about 150 bytes for each row: so
 * usher is not kept waiting by somebody who reads a long list page by page, and hangs up on nobody
 * who does.
 */
#ifndef USHER_CLI_CTL_LINK_H
#define USHER_CLI_CTL_LINK_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

enum {
    CTL_SILENCE_S = 70, /* so long it may say nothing: longer than any directory_timeout */
    CTL_CHANGE_S = 10 * 60 + CTL_SILENCE_S, /* while it changes itself: any reload_timeout */
    CTL_ANSWER_MAX = 1 << 30                /* bytes of an answer */
};

struct ctl_link {
    const char *path; /* the socket's */
    int fd;           /* -1: not connected */
    int silence_s;    /* so long it may say nothing; CTL_SILENCE_S unless the owner sets another */
    struct buf in;
    size_t whole_n; /* bytes of `in` that are an answer up to its end; 0: that has not come */
    size_t line_at; /* the bytes before are whole rows */
};

/* `path` must live as long. Connects to nobody yet. */
void ctl_link_init(struct ctl_link *link, const char *path);
void ctl_link_done(struct ctl_link *link);

/* Connects. The error says what can be done about it; its code is the errno value, so EACCES where
 * the file system keeps us out. */
int ctl_link_open(struct ctl_link *link, struct err *err) MUST_CHECK;

int ctl_link_send(struct ctl_link *link, const json_t *request, struct err *err) MUST_CHECK;

/* The next object of the answer; the caller has it. */
int ctl_link_next(struct ctl_link *link, json_t **out_object, struct err *err) MUST_CHECK;

#endif
