/* Commands about usher itself: reload, upgrade, and the workers of all generations. */
#include "admin/commands.h"

#include <errno.h>

int admin_reload(struct call *c, struct err *err)
{
    (void)c;
    return err_set(err, ENOSYS, "not yet");
}

int admin_upgrade(struct call *c, struct err *err)
{
    (void)c;
    return err_set(err, ENOSYS, "not yet");
}

int admin_workers(struct call *c, struct err *err)
{
    (void)c;
    return err_set(err, ENOSYS, "not yet");
}
