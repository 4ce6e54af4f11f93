/* What the files of mailboxes.h share: commands in the making, and names off the wire. */
#ifndef USHER_SYNC_MAILBOXES_PARTS_H
#define USHER_SYNC_MAILBOXES_PARTS_H

#include "sync/mailboxes.h"
#include "sync/report.h"

/* Commands for link_calls(), one behind the other in one text. */
struct commands {
    struct buf text;
    struct command_part {
        size_t from, n, about;
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

/* The same, and what the command is about: the caller's number, which commands_about() tells by the
 * command's own. */
bool commands_end_about(struct commands *c, size_t about);
size_t commands_about(const struct commands *c, size_t i);

/* All of them, pipelined. Without any, nothing happens. */
int commands_call(const struct commands *c, struct link *l, link_data *on_data,
                  link_answered *on_answer, void *arg, struct err *err) MUST_CHECK;

/* Those of two links side by side; `args` has one for each. */
int commands_call_both(const struct commands *const both[2], struct link *const links[2],
                       link_data *on_data, link_answered *on_answer, void *const args[2],
                       struct err *err) MUST_CHECK;

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

/* Names that commands in flight are about. Answers come in the order of the names, most likely. */
struct names_asked {
    const struct slice *all;
    size_t n;
    size_t next; /* ours: where to look first */
};

/* Which of them it is; false: none. */
bool mailboxes_which(struct names_asked *asked, struct slice name, char separator, size_t *out_i);

struct notes;

/* One of the two sides that are asked about folders at the same time. */
struct side_asked {
    void *owner;
    struct link *link;
    const char *called; /* "source" */
    bool is_source;
    struct slice *names;
    char **untold; /* for each folder: the words of its refusal, or NULL */
    struct names_asked asked;
    struct commands commands; /* each about the index of a folder */
};

/* The source is the first. -1: memory; to be ended all the same. */
int sides_init(struct side_asked sides[2], void *owner, struct link *from, struct link *to,
               const struct mailbox_twins *all, size_t n, struct err *err) MUST_CHECK;
void sides_done(struct side_asked sides[2]);

/* A command is written, about the folder `i`. */
void side_end(struct side_asked *side, size_t i);

/* The commands of both; the functions are given the side as `arg`. on_answer may be
 * side_answered(), which keeps refusals. */
int sides_call(struct side_asked sides[2], link_data *on_data, link_answered *on_answer,
               struct err *err) MUST_CHECK;
int side_answered(void *arg, size_t command, const struct link_answer *answer, struct err *err);

/* Whether both have told of the folder. What is refused is noted, with the name of what was asked
 * for; the target's refusal alone where `needs_target`. */
bool sides_have_told(const struct side_asked sides[2], size_t i, bool needs_target,
                     struct notes *notes, uint32_t folder, const char *what);

/* Which folder that is, of a name off the wire. */
bool side_which(struct side_asked *side, struct slice wire, size_t *out_i);

/* Words about folders, kept until it is sure that what they are about is not done again. */
struct notes {
    struct note {
        uint32_t folder;
        char *words;
    } * all;
    size_t n, cap;
};

void notes_add(struct notes *n, uint32_t folder, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Has sync_issue() tell them. */
void notes_tell(const struct notes *n, struct sync *s, enum sync_reason reason);
void notes_done(struct notes *n);

/* "MESSAGES UIDNEXT ...", what to ask for by STATUS. */
void commands_put_status_items(struct commands *c, const struct link *l);

/* Has STATUS in `text`, of a mailbox whose name is *out_name then, on the heap. */
bool mailboxes_read_status(const struct link *l, struct slice text, char *room, char **out_name,
                           struct data_status *out);

#endif
