/* The socket at which operators knock: made before control starts, given to each control, removed
 * when usher stops. What is asked there is admin/door.h's. */
#include "parent/internal.h"

int door_open(struct parent *p, struct err *err)
{
    char path[CONF_SOCKET_PATH];

    if (!conf_admin_socket(p->conf, path))
        return 0;
    return local_listen(path, &p->door, err) < 0 ? err_prefix(err, "admin_socket") : 0;
}

void door_close(struct parent *p)
{
    char path[CONF_SOCKET_PATH];

    if (conf_admin_socket(p->conf, path))
        local_close(&p->door, path);
}
