/* The sandbox of what is installed: the table, and nothing beside. */
#include "proc/build.h"

const struct sandbox_build sandbox_build = {.closes_files = true};
