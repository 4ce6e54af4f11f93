/* The table of notes in shared memory. What they mean, and for how long they count, is left to the
 * caller. */
#include "control/shared.h"

#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUCKETS = SHARED_SLOTS / SHARED_BUCKET };

static const char magic[8] = "usherMEM";

struct header {
    char magic[8];
    uint32_t version;
    uint32_t slot_bytes;
    uint64_t bytes;
    struct hash128 salt;
    uint64_t check; /* of what stands before */
};

/* All zero: never used. Its check does not hold then either. */
struct slot {
    struct hash128 key;
    uint64_t value;
    uint32_t time_s;
    uint32_t check;
};

/* Slots for which there is one bit. */
enum { PART = 128, PARTS = SHARED_SLOTS / PART };

struct shared {
    struct header header;
    /* A bit for each part that was ever written to. The others take no memory, but would if they
     * were only looked at. */
    uint64_t used[PARTS / 64];
    char unused[SHARED_HEADER - sizeof(struct header) - PARTS / 8];
    struct slot slots[SHARED_SLOTS];
};

_Static_assert(sizeof(struct slot) == SHARED_SLOT, "a note");
_Static_assert(sizeof(struct shared) == SHARED_BYTES, "no hole before the slots");

static uint64_t header_check(const struct header *h)
{
    uint64_t check;

    memcpy(&check, h->magic, sizeof check);
    check = num_mix(check ^ h->version);
    check = num_mix(check ^ h->slot_bytes);
    check = num_mix(check ^ h->bytes);
    check = num_mix(check ^ h->salt.high);
    return num_mix(check ^ h->salt.low);
}

static struct header fresh_header(void)
{
    struct header h = {.version = SHARED_VERSION, .slot_bytes = SHARED_SLOT, .bytes = SHARED_BYTES};

    memcpy(h.magic, magic, sizeof magic);
    hash_random(&h.salt, sizeof h.salt);
    h.check = header_check(&h);
    return h;
}

int shared_create(struct err *err)
{
    struct header h = fresh_header();
    int fd = memfd_create("usher-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_sys(err, errno, "cannot make shared memory");
    if (ftruncate(fd, (off_t)SHARED_BYTES) < 0 || pwrite(fd, &h, sizeof h, 0) != sizeof h ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        err_sys(err, errno, "cannot size shared memory");
        close(fd);
        return -1;
    }
    return fd;
}

static const char *why_lost(const struct header *h)
{
    if (memcmp(h->magic, magic, sizeof magic) != 0 || h->check != header_check(h))
        return "the header is broken";
    if (h->version != SHARED_VERSION || h->slot_bytes != SHARED_SLOT || h->bytes != SHARED_BYTES)
        return "written by another version";
    return NULL;
}

int shared_map(int fd, struct shared **out_shared, const char **out_lost, struct err *err)
{
    struct stat st;
    struct shared *s;

    if (fstat(fd, &st) < 0)
        return err_sys(err, errno, "cannot look at shared memory");
    /* Touching pages behind its end would kill us. */
    if (st.st_size < (off_t)SHARED_BYTES)
        return err_set(err, 0, "shared memory is of %lld bytes, not %zu", (long long)st.st_size,
                       SHARED_BYTES);
    s = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (s == MAP_FAILED)
        return err_sys(err, errno, "cannot map shared memory");
    *out_lost = why_lost(&s->header);
    *out_shared = s;
    return 0;
}

void shared_clear(struct shared *shared)
{
    /* Gives the pages back; they read as zero again. */
    if (madvise(shared, SHARED_BYTES, MADV_REMOVE) < 0)
        memset(shared, 0, SHARED_BYTES);
    shared->header = fresh_header();
}

void shared_unmap(struct shared **shared)
{
    if (*shared)
        munmap(*shared, SHARED_BYTES);
    *shared = NULL;
}

struct hash128 shared_salt(const struct shared *shared)
{
    return shared->header.salt;
}

/* Salted, so that a slot of zeros does not check. */
static uint32_t slot_check(const struct slot *slot)
{
    uint64_t h = num_mix(slot->key.high ^ 0x7573686572616666U);

    h = num_mix(h ^ slot->key.low);
    h = num_mix(h ^ slot->value);
    return (uint32_t)num_mix(h ^ slot->time_s);
}

static bool is_part_used(const struct shared *shared, size_t slot)
{
    return shared->used[slot / PART / 64] >> (slot / PART % 64) & 1;
}

static void use_part(struct shared *shared, size_t slot)
{
    shared->used[slot / PART / 64] |= UINT64_C(1) << (slot / PART % 64);
}

static bool is_whole(const struct slot *slot)
{
    return slot->check == slot_check(slot);
}

static bool has_key(const struct slot *slot, struct hash128 key)
{
    return slot->key.high == key.high && slot->key.low == key.low && is_whole(slot);
}

static size_t bucket_of(struct hash128 key)
{
    return (size_t)(key.low % BUCKETS) * SHARED_BUCKET;
}

bool shared_find(const struct shared *shared, struct hash128 key, uint64_t now_s,
                 uint64_t max_age_s, struct shared_note *out_note)
{
    const struct slot *bucket = &shared->slots[bucket_of(key)];

    for (int i = 0; i < SHARED_BUCKET; i++) {
        if (!has_key(&bucket[i], key))
            continue;
        /* A time to come is none of ours. */
        if (bucket[i].time_s > now_s || now_s - bucket[i].time_s > max_age_s)
            return false;
        *out_note = (struct shared_note){bucket[i].value, bucket[i].time_s};
        return true;
    }
    return false;
}

static uint64_t by_age(const void *arg, const struct shared_note *note)
{
    (void)arg;
    return note->time_s;
}

/* The key's own slot, else one that is free or torn, else the one of least worth. */
static struct slot *slot_for(struct slot *bucket, struct hash128 key, shared_worth *worth,
                             const void *arg)
{
    struct slot *least = NULL;
    uint64_t least_worth = 0;

    for (int i = 0; i < SHARED_BUCKET; i++) {
        if (has_key(&bucket[i], key))
            return &bucket[i];
    }
    for (int i = 0; i < SHARED_BUCKET; i++) {
        const struct shared_note note = {bucket[i].value, bucket[i].time_s};
        uint64_t its_worth;

        if (!is_whole(&bucket[i]))
            return &bucket[i];
        its_worth = worth(arg, &note);
        if (!least || its_worth < least_worth) {
            least = &bucket[i];
            least_worth = its_worth;
        }
    }
    return least;
}

void shared_put(struct shared *shared, struct hash128 key, const struct shared_note *note,
                shared_worth *worth, const void *arg)
{
    struct slot *slot = slot_for(&shared->slots[bucket_of(key)], key, worth ? worth : by_age, arg);
    struct slot next = {.key = key, .value = note->value, .time_s = note->time_s};

    next.check = slot_check(&next);
    use_part(shared, bucket_of(key));
    *slot = next;
}

bool shared_remove(struct shared *shared, struct hash128 key)
{
    struct slot *bucket = &shared->slots[bucket_of(key)];

    for (int i = 0; i < SHARED_BUCKET; i++) {
        if (has_key(&bucket[i], key)) {
            bucket[i] = (struct slot){0};
            return true;
        }
    }
    return false;
}

size_t shared_remove_value(struct shared *shared, uint64_t value)
{
    size_t removed = 0;

    for (size_t at = 0; at < SHARED_SLOTS; at += PART) {
        if (!is_part_used(shared, at))
            continue;
        for (struct slot *slot = &shared->slots[at]; slot < &shared->slots[at + PART]; slot++) {
            if (slot->value == value && is_whole(slot)) {
                *slot = (struct slot){0};
                removed++;
            }
        }
    }
    return removed;
}
