/* The control process: one thread that decides who may log in where (control/admission.h), knows
 * what lasts (control/state.h, control/shared.h), and keeps the backends' addresses fresh
 * (control/resolve.h). It parses no byte from outside. */
#ifndef USHER_CONTROL_CONTROL_H
#define USHER_CONTROL_CONTROL_H

#include "proc/child.h"

extern const struct child_role control_role;

#endif
