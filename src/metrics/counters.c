/* Counters in shared memory. */
#include "metrics/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

int counters_create(struct err *err)
{
    int fd = memfd_create("usher-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_sys(err, errno, "cannot make the counters' shared memory");
    if (ftruncate(fd, sizeof(struct counters) * COUNTERS_BLOCKS) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        err_sys(err, errno, "cannot size the counters' shared memory");
        close(fd);
        return -1;
    }
    return fd;
}

struct counters *counters_map(int fd, struct err *err)
{
    void *p = mmap(NULL, sizeof(struct counters) * COUNTERS_BLOCKS, PROT_READ | PROT_WRITE,
                   MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        err_sys(err, errno, "cannot map the counters");
        return NULL;
    }
    return p;
}

/* The block has one writer: a plain add of two relaxed halves is enough, and costs no locked
 * instruction. */
void counters_add(struct counters *block, enum metric metric, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&block->values[metric], memory_order_relaxed);

    atomic_store_explicit(&block->values[metric], old + n, memory_order_relaxed);
}

uint64_t counters_total(const struct counters *blocks, enum metric metric)
{
    uint64_t sum = 0;

    for (int i = 0; i < COUNTERS_BLOCKS; i++)
        sum += atomic_load_explicit(&blocks[i].values[metric], memory_order_relaxed);
    return sum;
}
