/* How many connections to the source the folder that is carried is worth, learned while it is
 * carried. Pure.
 *
 * There are twice as many as long as the source is what holds it up, much is still to come, and the
 * last step has brought a decent part of what it could: the time of a server that gives each
 * connection so much, and no more, goes down by as much, while one that is slow by itself is not
 * burdened with connections that bring nothing.
 */
#ifndef USHER_SYNC_WIDTH_H
#define USHER_SYNC_WIDTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One for each folder. */
struct width {
    size_t links;          /* that there are */
    size_t before;         /* that there were before the last step */
    uint64_t rate;         /* bytes a second, by which the last step is judged */
    unsigned periods_left; /* for it to show what it brings */
    bool is_settled;       /* no further step is taken */
};

/* What has come in some time with that many links. */
struct width_pace {
    uint64_t bytes, ms;
    uint64_t dry_ms; /* of these the source held it up */
    uint64_t left;   /* bytes that are still to come, as far as that matters */
};

/* The most of `left` that matters beside `bytes`. */
enum { WIDTH_LEFT = 64 };

/* With one link. */
struct width width_begin(void);

/* How many there are to be: as many as there are, more, or less. */
size_t width_next(struct width *w, const struct width_pace *pace);

/* How many there are now that what was wanted was tried. */
void width_set(struct width *w, size_t links);

#endif
