/* What the files of sync/look.h share.
 *
 *     look.c          opening a folder, searching, asking in pieces
 *     look_list.c     the list of its messages
 *     look_gone.c     which of those that were known have gone
 *     look_digest.c   digests
 *     look_subject.c  subjects
 */
#ifndef USHER_SYNC_LOOK_PARTS_H
#define USHER_SYNC_LOOK_PARTS_H

#include "base/buf.h"
#include "base/err.h"
#include "imap/data.h"
#include "imap/set.h"
#include "sync/link.h"
#include "sync/look.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOOK_MOST = 1 << 24, /* UIDs that are taken of a folder; more are a server's nonsense */
    LOOK_PIECE = 5000,   /* messages of which one command asks, about */
    LOOK_COMMANDS = 32,  /* in flight */
    LOOK_LINKS = 2,      /* that are asked side by side */
    LOOK_COMMAND = 8000, /* bytes of one, RFC 7162 section 4 */
    LOOK_NUMBERS = 24    /* room for two UIDs and what is between */
};

/* --- commands --------------------------------------------------------------------------------- */

/* Commands that are to be sent together. */
struct look_commands {
    struct buf text;
    size_t ends[LOOK_COMMANDS];
    size_t n;
};
void look_commands_init(struct look_commands *c);
void look_commands_free(struct look_commands *c);
void look_commands_clear(struct look_commands *c);

/* A command is written into c->text; this ends it. */
void look_commands_end(struct look_commands *c);
struct slice look_command(const struct look_commands *c, size_t i);

/* Commands of one link, to be sent side by side with those of others. */
struct look_asking {
    struct link *link;
    struct look_commands *commands; /* may be empty */
    link_data *on_data;
    void *arg;
    struct link_answer answer; /* comes of it */
};

/* Sends all, waits until they are answered, and empties them. `answer` is OK if all of a link are.
 * Of several one that is not is sent once more, alone, and if it fails again `answer` is what it is
 * told. At most LOOK_LINKS of them, each of another link. */
int look_ask(struct look_asking *all, size_t n, struct err *err) MUST_CHECK;

/* An answer in place of the server's. */
struct link_answer look_answer(enum response_kind kind, const char *text);

/* Writes a set of the first of these UIDs, at most `most` and as many as a command has room for;
 * *out_taken tells how many. -1: memory. */
int look_put_set(struct look_commands *c, const uint32_t *uids, size_t n, size_t most,
                 size_t *out_taken, struct err *err) MUST_CHECK;

/* Where a UID lies among `n` ascending ones; n: nowhere. */
size_t look_index(const uint32_t *uids, size_t n, uint32_t uid);

/* --- pieces ----------------------------------------------------------------------------------- */

/* Ranges of UIDs that lie side by side from `first` to `last`, each of about LOOK_PIECE messages or
 * a little more, in *out (free()). One if the folder is small, or the server does not tell. */
int look_pieces(struct link *l, uint32_t first, uint32_t last, struct look_extent extent,
                struct set_range **out, size_t *out_n, struct err *err) MUST_CHECK;

/* "7:12", "7:*" if the last is UINT32_MAX. */
void look_range_text(struct set_range range, char out[LOOK_NUMBERS]);

/* --- what comes ------------------------------------------------------------------------------- */

/* Where strings of responses are decoded to; grows as it has to. */
struct look_room {
    char *p;
    size_t n;
};

/* Room for n bytes; NULL when memory is out. */
char *look_room(struct look_room *room, size_t n);

/* Whether the event is untagged data of this word. */
bool look_is_data(struct pipeline *p, enum pipeline_event event, struct slice word);

/* Reads an event that is a whole FETCH with a UID, without literals of bodies. 0: it is none. -1:
 * memory. */
int look_fetched(struct pipeline *p, enum pipeline_event event, struct look_room *room,
                 struct data_fetch *out, struct err *err) MUST_CHECK;

/* Nothing has gone, for all that is known. */
void look_gone_clear(struct look_gone *gone);

#endif
