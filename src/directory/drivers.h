/* What the drivers over a map share. */
#ifndef USHER_DIRECTORY_DRIVERS_H
#define USHER_DIRECTORY_DRIVERS_H

#include "directory/directory.h"
#include "directory/map.h"

/* Answers at once with what the map says of the user. */
void directory_find(const struct facts_map *map, struct slice user, directory_done *done,
                    void *arg);

#endif
