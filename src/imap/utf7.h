/* Names of mailboxes as they stand on the wire: modified UTF-7 (RFC 3501 section 5.1.3), and UTF-8
 * to us.
 *
 * Decoding is strict, so that a name that is decoded and encoded again is the same bytes: no
 * printable ASCII within base64, no superfluous shift, no surrogate alone, no bits left over, no
 * "&" without its "-". A name that is not of this form is refused, and whoever has it goes on with
 * its bytes. Bytes above 127 are taken as they are if they are UTF-8, as servers send them to whom
 * UTF8=ACCEPT (RFC 6855) was given, and some to anybody; a name that mixes both is refused. */
#ifndef USHER_IMAP_UTF7_H
#define USHER_IMAP_UTF7_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>

/* Puts the name in UTF-8 behind `out`. False, with `out` as it was: it is none of these, or does
 * not fit. NUL, CR and LF are refused, on both ways. */
bool utf7_decode(struct slice wire, struct buf *out) MUST_CHECK;

/* Puts a name that is UTF-8 behind `out` in modified UTF-7. False, with `out` as it was: it is no
 * UTF-8, or does not fit. */
bool utf7_encode(struct slice name, struct buf *out) MUST_CHECK;

#endif
