/* The files that TLS is made of (certificates, keys, CAs, CRLs), and those with the passwords of
 * probes: read all at one time into sealed memory, which children get descriptors of. Reading is
 * here alone; children open no files.
 */
#ifndef USHER_PARENT_FILES_H
#define USHER_PARENT_FILES_H

#include "base/err.h"
#include "base/slice.h"

#include <stddef.h>

struct conf;

struct given_file {
    char *name; /* the configuration's path, or TLS_SET_SYSTEM_CA */
    int fd;
    void *data; /* the same, mapped; NULL when it is empty */
    size_t n;
};

/* Zeroed: none. */
struct files {
    struct given_file *all;
    size_t n, cap;
};

/* Reads every file that tls_set.h and check_password.h ask for. *out_files is written only on
 * success. */
int files_read(const struct conf *conf, struct files *out_files, struct err *err) MUST_CHECK;

/* One more, that somebody else has read. `fd` is the files' from now on, also on failure. */
int files_add(struct files *f, struct slice name, int fd, struct err *err) MUST_CHECK;

/* How many files differ between the two, in content or by being there in one only. */
size_t files_differ(const struct files *a, const struct files *b);

/* For struct tls_files, whose arg is a struct files. */
struct slice files_find(const void *files, const char *name);

/* Empties it; harmless twice. */
void files_free(struct files *f);

/* Nobody changes the memory behind `fd` any more, us included. */
int files_seal(int fd, struct err *err) MUST_CHECK;

#endif
