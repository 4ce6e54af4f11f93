/* The socket at which operators knock: made before control starts, given to each control, removed
 * when usher stops. What is asked there is admin/door.h's. */
#include "parent/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int door_open(struct parent *p, struct err *err)
{
    char path[CONF_SOCKET_PATH];

    if (!conf_admin_socket(p->conf, path))
        return 0;
    p->door_path = strdup(path);
    if (!p->door_path)
        return err_set(err, ENOMEM, "out of memory");
    return local_listen(path, &p->door, err) < 0 ? err_prefix(err, "admin_socket") : 0;
}

void door_close(struct parent *p)
{
    if (p->door_path)
        local_close(&p->door, p->door_path);
    free(p->door_path);
    p->door_path = NULL;
}
