/* Mistakes of meaning in the settings of the unix door: where it is, and who may do what there. */
#include "conf/check.h"
#include "conf/value.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

static void check_socket(struct check *c)
{
    const struct conf_global *g = &c->conf->global;
    const char *path = g->admin_socket;
    char shown[VALUE_SHOWN];

    if (!path[0]) {
        if (strlen(g->state) + sizeof "/ctl" > CONF_SOCKET_PATH)
            mistake(c, where_of(c, &g->state, NULL),
                    "state is too long a path for the socket of usher ctl in it, which has %d "
                    "bytes at most; write admin_socket = \"/run/usher/ctl\", or off",
                    CONF_SOCKET_PATH - 1);
        return;
    }
    if (strcmp(path, "off") == 0)
        return;
    if (path[0] != '/' || path[strlen(path) - 1] == '/')
        mistake(c, where_of(c, &g->admin_socket, NULL),
                "admin_socket = \"%s\": write the whole path of a file, as in /run/usher/ctl, or "
                "off",
                value_show(path, shown));
    if (strlen(path) >= CONF_SOCKET_PATH)
        mistake(c, where_of(c, &g->admin_socket, NULL),
                "admin_socket is too long; the path of a socket has %d bytes at most",
                CONF_SOCKET_PATH - 1);
}

static void check_people(struct check *c, const struct conf_list *list, const char *name,
                         bool with_files)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *who = list->items[i];
        const bool is_group = who[0] == '@';
        char shown[VALUE_SHOWN];

        if (!who[is_group])
            mistake(c, where_of(c, list, NULL),
                    "%s: a name is empty; write that of a user, or @ and that of a group", name);
        else if (with_files && is_group && !getgrnam(who + 1))
            mistake(c, where_of(c, list, NULL),
                    "%s: there is no group \"%s\"; make one or write another", name,
                    value_show(who + 1, shown));
        else if (with_files && !is_group && !getpwnam(who))
            mistake(c, where_of(c, list, NULL),
                    "%s: there is no user \"%s\"; make one or write another, a group as @group",
                    name, value_show(who, shown));
    }
}

void check_admin(struct check *c, bool with_files)
{
    const struct conf_global *g = &c->conf->global;

    check_socket(c);
    check_people(c, &g->admin_see, "admin_see", with_files);
    check_people(c, &g->admin_steer, "admin_steer", with_files);
}
