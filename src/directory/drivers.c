/* The drivers of directories by their number, and what those over a map share. */
#include "directory/drivers.h"

const struct directory_driver *directory_driver(enum conf_driver which)
{
    static const struct directory_driver *const drivers[] = {
        [DRIVER_STATIC] = &directory_static,
        [DRIVER_FILE] = &directory_file,
        [DRIVER_SOCKETMAP] = &directory_socketmap,
    };

    INSIST((size_t)which < sizeof drivers / sizeof *drivers);
    return drivers[which];
}

void directory_find(const struct facts_map *map, struct slice user, directory_done *done, void *arg)
{
    struct slice found;
    struct err err;

    switch (facts_map_find(map, user, &found)) {
    case FACTS_MAP_FOUND:
        done(arg, DIRECTORY_FOUND, found);
        break;
    case FACTS_MAP_UNKNOWN:
        done(arg, DIRECTORY_UNKNOWN, slice_of(NULL, 0));
        break;
    case FACTS_MAP_FAILED:
        err_set(&err, 0, "the expressions up to ~%.*s take too many steps with this name",
                SLICE_ARG(slice_sub(found, 0, 200)));
        done(arg, DIRECTORY_FAILED, slice_str(err.text));
        break;
    }
}
