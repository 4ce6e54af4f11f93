/* The header of the memory of counters. What another process wrote is believed in nothing. */
#include "metrics/layout.h"

#include "metrics/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "usherCNT";

static const char names[] =
#define METRIC(NAME, name, manual) name "\0"
#include "tables/metrics.def"
#undef METRIC
    ;

_Static_assert(sizeof names <= sizeof((struct layout *)NULL)->names, "names of all metrics");
_Static_assert(sizeof(struct counters) <= LAYOUT_BLOCK_BYTES_MAX, "a block");
_Static_assert((int)COUNTERS_BLOCKS <= (int)LAYOUT_BLOCKS_MAX, "blocks");

void layout_ours(struct layout *out_layout)
{
    *out_layout = (struct layout){.version = LAYOUT_VERSION,
                                  .metrics_n = METRIC_COUNT,
                                  .blocks_n = COUNTERS_BLOCKS,
                                  .block_bytes = sizeof(struct counters)};
    memcpy(out_layout->magic, magic, sizeof magic);
    memcpy(out_layout->names, names, sizeof names);
}

bool layout_equals(const struct layout *a, const struct layout *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

size_t layout_bytes(const struct layout *layout)
{
    return (size_t)layout->blocks_n * layout->block_bytes;
}

/* Each is there, and ends within the header. */
static bool has_names(const struct layout *layout)
{
    const size_t room = sizeof layout->names;
    size_t at = 0;

    for (uint32_t i = 0; i < layout->metrics_n; i++) {
        size_t n = strnlen(layout->names + at, room - at);

        if (n == 0 || n == room - at)
            return false;
        at += n + 1;
    }
    return true;
}

static const char *what_is_wrong(const struct layout *layout, uint64_t bytes)
{
    if (memcmp(layout->magic, magic, sizeof magic) != 0)
        return "these are no counters";
    if (layout->version != LAYOUT_VERSION)
        return "counters of another version";
    if (layout->blocks_n > LAYOUT_BLOCKS_MAX || layout->block_bytes > LAYOUT_BLOCK_BYTES_MAX ||
        layout->block_bytes % sizeof(uint64_t) != 0 || layout_bytes(layout) == 0 ||
        layout->metrics_n > layout->block_bytes / sizeof(uint64_t) ||
        layout_bytes(layout) > bytes - LAYOUT_BLOCKS)
        return "the sizes in the header of counters cannot be";
    if (!has_names(layout))
        return "the names in the header of counters are not whole";
    return NULL;
}

int layout_read(int fd, struct layout *out_layout, struct err *err)
{
    struct layout layout;
    struct stat st;
    const char *wrong;
    int seals;

    if (fstat(fd, &st) < 0)
        return err_sys(err, errno, "cannot look at the counters' shared memory");
    seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return err_set(err, 0, "the counters' shared memory could shrink");
    if (st.st_size < LAYOUT_BLOCKS || pread(fd, &layout, sizeof layout, 0) != sizeof layout)
        return err_set(err, 0, "the counters' shared memory is of %lld bytes",
                       (long long)st.st_size);
    wrong = what_is_wrong(&layout, (uint64_t)st.st_size);
    if (wrong)
        return err_set(err, 0, "%s", wrong);
    *out_layout = layout;
    return 0;
}

int layout_find(const struct layout *layout, const char *name)
{
    const char *at = layout->names;

    for (uint32_t i = 0; i < layout->metrics_n; i++) {
        if (strcmp(at, name) == 0)
            return (int)i;
        at += strlen(at) + 1;
    }
    return -1;
}
