/* Counters in shared memory. */
#include "metrics/counters.h"

#include "metrics/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

int counters_create(struct err *err)
{
    struct layout ours;
    int fd = memfd_create("usher-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_sys(err, errno, "cannot make the counters' shared memory");
    layout_ours(&ours);
    if (ftruncate(fd, (off_t)(LAYOUT_BLOCKS + layout_bytes(&ours))) < 0 ||
        pwrite(fd, &ours, sizeof ours, 0) != sizeof ours ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        err_sys(err, errno, "cannot size the counters' shared memory");
        close(fd);
        return -1;
    }
    return fd;
}

struct counters *counters_map(int fd, struct err *err)
{
    struct layout ours, theirs;
    void *p;

    layout_ours(&ours);
    if (layout_read(fd, &theirs, err) < 0)
        return NULL;
    if (!layout_equals(&ours, &theirs)) {
        err_set(err, 0, "the counters are of a program with other metrics");
        return NULL;
    }
    p = mmap(NULL, layout_bytes(&ours), PROT_READ | PROT_WRITE, MAP_SHARED, fd, LAYOUT_BLOCKS);
    if (p == MAP_FAILED) {
        err_sys(err, errno, "cannot map the counters");
        return NULL;
    }
    return p;
}

/* Two generations of a slot may write at once, hence the locked instruction. Hardly ever do both,
 * so that its cache line is here already. */
void counters_add(struct counters *block, enum metric metric, uint64_t n)
{
    atomic_fetch_add_explicit(&block->values[metric], n, memory_order_relaxed);
}

uint64_t counters_total(const struct counters *blocks, enum metric metric)
{
    uint64_t sum = 0;

    for (int i = 0; i < COUNTERS_BLOCKS; i++)
        sum += atomic_load_explicit(&blocks[i].values[metric], memory_order_relaxed);
    return sum;
}
