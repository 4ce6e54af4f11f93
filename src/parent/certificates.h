/* What is to be said of the files of TLS: what is wrong with them, and what is only doubtful. For
 * `usher check`, for the start, and for each time that the files are read again.
 */
#ifndef USHER_PARENT_CERTIFICATES_H
#define USHER_PARENT_CERTIFICATES_H

#include "conf/conf.h"
#include "parent/files.h"

#include <stdbool.h>
#include <stdint.h>

/* A certificate is doubtful from so many days before its end. */
enum { CERTIFICATES_SOON_DAYS = 14 };

struct certificates_finding {
    bool is_mistake;                /* else a doubt */
    const struct conf_where *where; /* what says the file, or its section */
    const char *file;               /* the certificate's; "" when no single one is meant */
    const char *text;
};

typedef void certificates_report(void *arg, const struct certificates_finding *finding);

/* Finds all mistakes: a key that does not belong to its certificate, PEM that is none, suites that
 * OpenSSL does not know, and whatever else keeps a worker from making its contexts, since the same
 * are made here. Without any, then the doubts, at `now` (seconds since 1970): certificates that are
 * expired, soon will be or are not valid yet; CRLs that are out of date; names of server_names that
 * no certificate covers; two certificates of one kind for a name; certificates without a name.
 * Returns how many mistakes. */
unsigned certificates_check(const struct conf *conf, const struct files *files, int64_t now,
                            certificates_report *report, void *arg) MUST_CHECK;

/* The doubts about dates alone. Returns when the next will arise, INT64_MAX when never. */
int64_t certificates_look(const struct conf *conf, const struct files *files, int64_t now,
                          certificates_report *report, void *arg);

#endif
