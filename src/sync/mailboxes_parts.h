/* What the files of mailboxes.h share: commands in the making, and names off the wire. */
#ifndef USHER_SYNC_MAILBOXES_PARTS_H
#define USHER_SYNC_MAILBOXES_PARTS_H

#include "sync/mailboxes.h"

/* Commands for link_calls(), one behind the other in one text. */
struct commands {
    struct buf text;
    struct command_part {
        size_t from, n;
    } * parts;
    size_t n, cap;
    size_t begun; /* where the one begins that is being written */
    bool is_bad;  /* memory was out, or it got too long */
};

void commands_init(struct commands *c);
void commands_done(struct commands *c);

/* Writes a piece of a command; what fails is told by commands_end(). */
void commands_put(struct commands *c, const char *words);
void commands_put_slice(struct commands *c, struct slice s);

/* A mailbox, and any other string (astring of RFC 9051), in the form that can carry it; NUL cannot
 * be. */
void commands_put_name(struct commands *c, const struct link *l, struct slice name);
void commands_put_string(struct commands *c, struct slice s);

/* The command is written. False: it could not be, and is not there. */
bool commands_end(struct commands *c);

/* All of them, pipelined. Without any, nothing happens. */
int commands_call(const struct commands *c, struct link *l, link_data *on_data,
                  link_answered *on_answer, void *arg, struct err *err) MUST_CHECK;

/* A single one, which must have been ended. */
int commands_call_one(const struct commands *c, struct link *l, link_data *on_data, void *arg,
                      struct link_answer *out_answer, struct err *err) MUST_CHECK;

/* A whole untagged response of this word ("LIST"), with `*out_room` for as many bytes as its text
 * has, to be freed. False: it is another, or memory is out. */
bool mailboxes_is_data(struct pipeline *p, enum pipeline_event event, const char *word,
                       struct slice *out_text, char **out_room);

/* The name in UTF-8 on the heap, "INBOX" for that in any case of letters; *out_is_fit is false and
 * the name its bytes, if it is neither modified UTF-7 nor UTF-8. NULL when memory is out. */
char *mailboxes_name(const struct link *l, struct slice wire, bool *out_is_fit);

/* "MESSAGES UIDNEXT ...", what to ask for by STATUS. */
void commands_put_status_items(struct commands *c, const struct link *l);

/* Has STATUS in `text`, of a mailbox whose name is *out_name then, on the heap. */
bool mailboxes_read_status(const struct link *l, struct slice text, char *room, char **out_name,
                           struct data_status *out);

#endif
