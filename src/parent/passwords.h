/* What is wrong with the files of check_password: for `usher check`, for the start, and for each
 * time that the files are read again.
 */
#ifndef USHER_PARENT_PASSWORDS_H
#define USHER_PARENT_PASSWORDS_H

#include "parent/certificates.h"

/* Finds all mistakes: files without a password, or with one that cannot be sent. Returns how many.
 */
unsigned passwords_check(const struct conf *conf, const struct files *files,
                         certificates_report *report, void *arg) MUST_CHECK;

#endif
