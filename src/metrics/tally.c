/* Counters of several programs added up. */
#include "metrics/tally.h"

#include "base/list.h"
#include "metrics/counters.h"
#include "metrics/layout.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is known of the header is in here, for what is mapped may change at any time. */
struct memory {
    struct list node;
    int fd;
    const char *blocks;
    size_t bytes;
    uint32_t blocks_n, block_bytes;
    bool is_ours;         /* by its layout */
    int at[METRIC_COUNT]; /* of each of our metrics in a block of theirs; -1: nowhere */
};

struct tally {
    struct list memories; /* in the order in which they came */
};

static void memory_free(struct memory *m)
{
    list_remove(&m->node);
    if (m->blocks)
        munmap((void *)(uintptr_t)m->blocks, m->bytes);
    close(m->fd);
    free(m);
}

struct tally *tally_new(void)
{
    struct tally *t = calloc(1, sizeof *t);

    if (t)
        list_init(&t->memories);
    return t;
}

void tally_free(struct tally **tally)
{
    if (!*tally)
        return;
    list_for_each_safe (it, &(*tally)->memories)
        memory_free(CONTAINER(it, struct memory, node));
    free(*tally);
    *tally = NULL;
}

static void take_layout(struct memory *m, const struct layout *theirs)
{
    struct layout ours;

    layout_ours(&ours);
    m->is_ours = layout_equals(&ours, theirs);
    m->bytes = layout_bytes(theirs);
    m->blocks_n = theirs->blocks_n;
    m->block_bytes = theirs->block_bytes;
    for (enum metric i = 0; i < METRIC_COUNT; i++)
        m->at[i] = layout_find(theirs, metric_name(i));
}

static int map(struct memory *m, struct err *err)
{
    struct layout theirs;
    void *p;

    if (layout_read(m->fd, &theirs, err) < 0)
        return -1;
    take_layout(m, &theirs);
    p = mmap(NULL, m->bytes, PROT_READ, MAP_SHARED, m->fd, LAYOUT_BLOCKS);
    if (p == MAP_FAILED)
        return err_sys(err, errno, "cannot map the counters");
    m->blocks = p;
    return 0;
}

int tally_add(struct tally *tally, int fd, struct err *err)
{
    struct memory *m = calloc(1, sizeof *m);

    if (!m) {
        close(fd);
        return err_set(err, ENOMEM, "out of memory");
    }
    list_init(&m->node);
    m->fd = fd;
    if (map(m, err) < 0) {
        memory_free(m);
        return -1;
    }
    list_append(&tally->memories, &m->node);
    return 0;
}

static int find_own(const struct tally *tally)
{
    list_for_each (it, &tally->memories) {
        const struct memory *m = CONTAINER(it, const struct memory, node);

        if (m->is_ours)
            return m->fd;
    }
    return -1;
}

int tally_own(struct tally *tally, struct err *err)
{
    int fd = find_own(tally);

    if (fd >= 0)
        return fd;
    fd = counters_create(err);
    if (fd < 0 || tally_add(tally, fd, err) < 0)
        return -1;
    return fd;
}

int tally_fd(const struct tally *tally, size_t i)
{
    list_for_each (it, &tally->memories) {
        if (i-- == 0)
            return CONTAINER(it, const struct memory, node)->fd;
    }
    return -1;
}

static uint64_t total_of(const struct memory *m, enum metric metric)
{
    uint64_t sum = 0;

    if (m->at[metric] < 0)
        return 0;
    for (uint32_t i = 0; i < m->blocks_n; i++) {
        const void *block = m->blocks + (size_t)i * m->block_bytes;
        const _Atomic uint64_t *values = block;

        sum += atomic_load_explicit(&values[m->at[metric]], memory_order_relaxed);
    }
    return sum;
}

uint64_t tally_total(const struct tally *tally, enum metric metric)
{
    uint64_t sum = 0;

    list_for_each (it, &tally->memories)
        sum += total_of(CONTAINER(it, const struct memory, node), metric);
    return sum;
}
