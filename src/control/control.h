/* The control process: one thread that decides who may log in where (control/admission.h), knows
 * what lasts (control/state.h, control/shared.h), and keeps the backends' addresses fresh
 * (control/resolve.h). It parses no byte from outside; operators' requests come by a door of its
 * own (admin/door.h), which main.c puts into the role. */
#ifndef USHER_CONTROL_CONTROL_H
#define USHER_CONTROL_CONTROL_H

#include "proc/child.h"

struct door;
struct operate;

/* All in the control process, from its loop. */
struct control_door {
    /* `fd` is the listening socket, now the door's, also on failure. Nobody is let in yet. */
    int (*open)(struct child *child, int fd, struct door **out_door, struct err *err);
    /* Once: lets people in. `operate` outlives the door. Something was done or asked that may
     * change when control is due: the door calls `changed`. */
    void (*begin)(struct door *door, struct operate *operate, void (*changed)(void *arg),
                  void *arg);
    /* Control ends: nothing more is taken or begun. What has been answered to the end is sent,
     * which is waited for, `limit_ms` at most. */
    void (*finish)(struct door *door, unsigned limit_ms);
    /* Clears *door; harmless when it is NULL. */
    void (*close)(struct door **door);
};

/* `part` of the role (proc/child.h) is a struct control_door, or NULL: there is no door. */
extern const struct child_role control_role;

#endif
