/* INTERNALDATE: date-time of RFC 9051 section 9, "17-Jul-1996 02:44:25 -0700". */
#ifndef USHER_IMAP_DATE_H
#define USHER_IMAP_DATE_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct imap_date {
    int64_t time_s;   /* since 1970, before that below 0; years 0 to 9999 */
    int16_t zone_min; /* east of Greenwich */
};

enum { DATE_TEXT = 27 };

/* Without the quotes. Taken beyond the grammar: a day of one digit with or without the blank
 * before it, any case of the month, a second of 60. Refused: a day that the month does not have, a
 * zone beyond 14 hours or whose minutes are above 59. */
bool date_parse(struct slice s, struct imap_date *out_date);

/* With NUL. The same instant, in its zone. False: the year is not 0 to 9999. */
bool date_write(struct imap_date date, char out[DATE_TEXT]);

#endif
