/* What a worker's indices stand for: control is told on each channel, before anything else, since
 * its configuration may be another one (NAME). Private to worker/.
 */
#ifndef USHER_WORKER_NAMES_H
#define USHER_WORKER_NAMES_H

#include "base/err.h"

#include <stdbool.h>

struct names;
struct worker;

/* Computed once: worker.names. -1 when memory is out. */
int names_make(struct worker *w, struct err *err) MUST_CHECK;

/* Harmless when there are none. */
void names_free(struct worker *w);

/* The channel to control is new. */
void names_begin(struct worker *w);

/* Tells as many of them as the channel takes now. True: control has been told all. */
bool names_tell(struct worker *w);

/* Whether the control that is connected has been told all. */
bool names_are_told(const struct worker *w);

#endif
