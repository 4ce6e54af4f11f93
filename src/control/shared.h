/* Notes in memory that outlives control: the parent holds it, each control maps it. Used for where
 * users of shared storage were (control/route.h), and for failed logins and from where users log in
 * (control/penalty.h), one memory each.
 *
 *     header  | bucket 0: 8 slots of 32 bytes | bucket 1 | ...
 *
 * A bucketed table of fixed size in a sparse memory file: only buckets in use take memory. A note
 * is a number and a time under a key; keys are hashes, so that there are no names; the low bits of
 * `low` choose the bucket. Each slot has a
 * check word, so that one that was half written when its control was killed counts as empty. A full
 * bucket gives up the note that is worth least: nothing that is correct may depend on a note.
 *
 * Memory operations only; one process writes at a time (the parent grants one epoch).
 *
 * An upgrade hands it on, so a version never changes: header, place and shape of the slots, the
 * hash that checks them. tests/unit has its bytes recorded.
 */
#ifndef USHER_CONTROL_SHARED_H
#define USHER_CONTROL_SHARED_H

#include "base/err.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHARED_VERSION = 3,
    SHARED_SLOTS = 1 << 20,
    SHARED_BUCKET = 8,
    SHARED_HEADER = 4096,
    SHARED_SLOT = 32
};

#define SHARED_BYTES (SHARED_HEADER + (size_t)SHARED_SLOTS * SHARED_SLOT)

struct shared;

struct shared_note {
    uint64_t value;
    uint32_t time_s; /* of the monotonic clock */
};

/* What a note is worth; of a full bucket the one of least worth goes. */
typedef uint64_t shared_worth(const void *arg, const struct shared_note *note);

/* The parent: makes the memory, empty and sealed against resizing, and returns its descriptor. */
int shared_create(struct err *err) MUST_CHECK;

/* Maps it; the caller keeps `fd` and may close it. What an unknown version left, or what has a
 * broken header, cannot be used: *out_lost then says why, and is NULL otherwise, and shared_clear()
 * comes before anything else. Nothing is written here: of two programs that know different versions
 * the older may be using it still, and go on to. */
int shared_map(int fd, struct shared **out_shared, const char **out_lost,
               struct err *err) MUST_CHECK;

/* Throws away what is there, whatever it is: empty, of our version. Only for the control that has
 * been told to begin. */
void shared_clear(struct shared *shared);

/* Clears *shared; harmless when it is NULL. */
void shared_unmap(struct shared **shared);

/* Random bytes that were drawn when this memory began, for keys that nobody outside can compute. */
struct hash128 shared_salt(const struct shared *shared);

/* The note under `key`, if its time is at most `max_age_s` before `now_s`. */
bool shared_find(const struct shared *shared, struct hash128 key, uint64_t now_s,
                 uint64_t max_age_s, struct shared_note *out_note);

/* Writes it over what was there. `worth` NULL: the older, the less. */
void shared_put(struct shared *shared, struct hash128 key, const struct shared_note *note,
                shared_worth *worth, const void *arg);

/* Forgets the note under `key`. Says whether there was one. */
bool shared_remove(struct shared *shared, struct hash128 key);

/* Forgets all notes of this value; returns how many. Passes over all that is in use: some
 * milliseconds. */
size_t shared_remove_value(struct shared *shared, uint64_t value);

#endif
