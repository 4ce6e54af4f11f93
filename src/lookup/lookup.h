/* The lookup process: answers control's questions that take time: names of backends, facts about
 * users. Holds nothing that must last: control asks again when it is replaced. */
#ifndef USHER_LOOKUP_LOOKUP_H
#define USHER_LOOKUP_LOOKUP_H

#include "proc/child.h"

extern const struct child_role lookup_role;

#endif
