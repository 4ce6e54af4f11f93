/* The memory for passwords of base/secret.h: a buddy allocator over one locked mapping.
 *
 * A tree of halves stands over the arena: node 1 is all of it, nodes 2n and 2n + 1 are the halves
 * of node n, the leaves are the smallest blocks. For each node `lack` says by how many orders the
 * largest free block below it falls short of the node itself: 0 is a node that is wholly free, so
 * that memory of zeros is a tree where all is free, and order + 1 is one where nothing is. It lies
 * beside the arena: nothing is ever written into a block that is free.
 */
#include "base/secret.h"

#include "base/slice.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Under the address sanitizer what is free may not be touched; elsewhere these do nothing. */
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum {
    LEAF = 64, /* a block of order k has LEAF << k bytes */
    LEAVES = SECRET_ARENA / LEAF,
    ROOT = 1,
    ROOT_ORDER = 16,
    /* A login as it commonly is fits in this. Half of the arena is kept for such blocks, so that
     * clients who send long lines do not drive the passwords of others out to the heap. */
    COMMON_MOST = 1024,
    /* A larger one would be a waste: the largest line and literal before login together. */
    BLOCK_MOST = 128 * 1024
};

_Static_assert(LEAVES == 1 << ROOT_ORDER, "the arena is a power of two");

static struct {
    /* Over all but `begin`, which is set before there are threads. Where there is one only, it is
     * an instruction each way and never a system call. */
    pthread_mutex_t lock;
    char *begin; /* NULL: there is no arena */
    size_t used, on_heap;
    uint8_t lack[2 * LEAVES];
} arena = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* 0: nothing is free below the node; k + 1: the largest free block has order k. */
static unsigned room_below(unsigned node, unsigned order)
{
    return order + 1 - arena.lack[node];
}

static unsigned order_of(size_t n)
{
    unsigned long long more = (n - 1) / LEAF;

    return more == 0 ? 0 : 64 - (unsigned)__builtin_clzll(more);
}

static size_t size_of(unsigned order)
{
    return (size_t)LEAF << order;
}

static unsigned max_of(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* What the nodes above know of a node that has changed. */
static void tell_parents(unsigned node, unsigned order)
{
    while (node > ROOT) {
        unsigned left, right, whole = order + 1;

        node /= 2;
        left = room_below(2 * node, order);
        right = room_below(2 * node + 1, order);
        order++;
        arena.lack[node] =
            left == whole && right == whole ? 0 : (uint8_t)(order + 1 - max_of(left, right));
    }
}

/* Takes the block that fits best on the way down; NULL when there is none. */
static char *take(unsigned order)
{
    unsigned node = ROOT, at = ROOT_ORDER;
    size_t offset;

    if (room_below(node, at) <= order)
        return NULL;
    while (at > order) {
        unsigned left, right;

        at--;
        left = room_below(2 * node, at);
        right = room_below(2 * node + 1, at);
        node = 2 * node + (left > order && (right <= order || left <= right) ? 0 : 1);
    }
    arena.lack[node] = (uint8_t)(order + 1);
    tell_parents(node, order);
    offset = ((size_t)node << order) - LEAVES;
    return arena.begin + offset * LEAF;
}

static void give_back(size_t offset, unsigned order)
{
    unsigned node = (unsigned)(LEAVES + offset / LEAF) >> order;

    /* Freed twice, by another size, or not at its beginning? */
    INSIST(offset % size_of(order) == 0 && arena.lack[node] == order + 1);
    INSIST(order == 0 || (arena.lack[2 * node] == 0 && arena.lack[2 * node + 1] == 0));
    arena.lack[node] = 0;
    tell_parents(node, order);
}

static char *alloc_in_arena(size_t n)
{
    unsigned order = order_of(n);
    char *p;

    if (!arena.begin || n > BLOCK_MOST ||
        (n > COMMON_MOST && arena.used + size_of(order) > SECRET_ARENA / 2))
        return NULL;
    p = take(order);
    if (!p)
        return NULL;
    ASAN_UNPOISON_MEMORY_REGION(p, n);
    arena.used += size_of(order);
    return p;
}

static void lock(void)
{
    INSIST(pthread_mutex_lock(&arena.lock) == 0);
}

static void unlock(void)
{
    INSIST(pthread_mutex_unlock(&arena.lock) == 0);
}

void *secret_alloc(size_t n)
{
    char *p;

    INSIST(n > 0);
    lock();
    p = alloc_in_arena(n);
    if (!p) {
        p = malloc(n);
        if (p)
            arena.on_heap += n;
    }
    unlock();
    return p;
}

static bool is_in_arena(const char *p)
{
    /* Numbers, since pointers into different objects have no order. */
    return arena.begin && (uintptr_t)p - (uintptr_t)arena.begin < SECRET_ARENA;
}

void secret_free(void *p, size_t n)
{
    if (!p)
        return;
    wipe(p, n);
    lock();
    if (is_in_arena(p)) {
        give_back((size_t)((char *)p - arena.begin), order_of(n));
        ASAN_POISON_MEMORY_REGION(p, size_of(order_of(n)));
        arena.used -= size_of(order_of(n));
    } else {
        INSIST(n <= arena.on_heap);
        arena.on_heap -= n;
        free(p);
    }
    unlock();
}

static size_t guard(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

int secret_begin(struct err *err)
{
    char *map;

    INSIST(!arena.begin);
    map = mmap(NULL, SECRET_ARENA + 2 * guard(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return err_sys(err, errno, "no memory for passwords");
    if (mprotect(map + guard(), SECRET_ARENA, PROT_READ | PROT_WRITE) < 0) {
        err_sys(err, errno, "no memory for passwords");
        munmap(map, SECRET_ARENA + 2 * guard());
        return -1;
    }
    arena.begin = map + guard();
    ASAN_POISON_MEMORY_REGION(arena.begin, SECRET_ARENA);
    (void)madvise(arena.begin, SECRET_ARENA, MADV_DONTDUMP);
    (void)madvise(arena.begin, SECRET_ARENA, MADV_WIPEONFORK);
    /* Pages are locked as they come into use; all at once only where that is not known. */
    if (mlock2(arena.begin, SECRET_ARENA, MLOCK_ONFAULT) < 0 &&
        (errno != ENOSYS || mlock(arena.begin, SECRET_ARENA) < 0))
        return err_sys(err, errno, "cannot lock %d KiB; LimitMEMLOCK or ulimit -l must allow it",
                       SECRET_ARENA / 1024);
    return 0;
}

void secret_end(void)
{
    if (!arena.begin)
        return;
    INSIST(arena.used == 0);
    ASAN_UNPOISON_MEMORY_REGION(arena.begin, SECRET_ARENA);
    munmap(arena.begin - guard(), SECRET_ARENA + 2 * guard());
    arena.begin = NULL;
}

static size_t look(const size_t *n)
{
    size_t seen;

    lock();
    seen = *n;
    unlock();
    return seen;
}

size_t secret_used(void)
{
    return look(&arena.used);
}

size_t secret_on_heap(void)
{
    return look(&arena.on_heap);
}
