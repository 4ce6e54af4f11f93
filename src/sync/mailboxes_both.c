/* Asking two servers about many folders at once, and what there is to be told of it; see
 * sync/mailboxes_parts.h. */
#include "sync/mailboxes_parts.h"

#include "base/room.h"
#include "sync/names.h"
#include "sync/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { NOTE_MOST = 1024 };

/* --- names ------------------------------------------------------------------------------------ */

bool mailboxes_which(struct names_asked *asked, struct slice name, char separator, size_t *out_i)
{
    for (size_t tried = 0; tried < asked->n; tried++) {
        const size_t i = (asked->next + tried) % asked->n;

        if (!names_are_same(asked->all[i], name, separator))
            continue;
        asked->next = i + 1;
        *out_i = i;
        return true;
    }
    return false;
}

/* --- sides ------------------------------------------------------------------------------------ */

int sides_init(struct side_asked sides[2], void *owner, struct link *from, struct link *to,
               const struct mailbox_twins *all, size_t n, struct err *err)
{
    for (size_t side = 0; side < 2; side++) {
        struct slice *names = calloc(n + 1, sizeof *names);

        for (size_t i = 0; names && i < n; i++)
            names[i] = side == 0 ? all[i].from : all[i].to;
        sides[side] = (struct side_asked){.owner = owner,
                                          .link = side == 0 ? from : to,
                                          .called = side == 0 ? "source" : "target",
                                          .is_source = side == 0,
                                          .names = names,
                                          .untold = calloc(n + 1, sizeof(char *)),
                                          .asked = {.all = names, .n = n}};
        commands_init(&sides[side].commands);
    }
    return sides[0].names && sides[1].names && sides[0].untold && sides[1].untold
               ? 0
               : err_set(err, 0, "no memory for commands");
}

void sides_done(struct side_asked sides[2])
{
    for (size_t side = 0; side < 2; side++) {
        for (size_t i = 0; sides[side].untold && i < sides[side].asked.n; i++)
            free(sides[side].untold[i]);
        free(sides[side].untold);
        free(sides[side].names);
        commands_done(&sides[side].commands);
    }
}

static int refuse(struct side_asked *side, size_t i, struct slice words, struct err *err)
{
    free(side->untold[i]);
    side->untold[i] = slice_dup(words);
    return side->untold[i] ? 0 : err_set(err, 0, "no memory for an answer");
}

void side_end(struct side_asked *side, size_t i)
{
    if (!commands_end_about(&side->commands, i))
        (void)refuse(side, i, SLICE("the name cannot be sent to this server"), &(struct err){0});
}

int side_answered(void *arg, size_t command, const struct link_answer *answer, struct err *err)
{
    struct side_asked *side = arg;

    return answer->kind == RESPONSE_OK
               ? 0
               : refuse(side, commands_about(&side->commands, command), answer->text, err);
}

bool sides_have_told(const struct side_asked sides[2], size_t i, bool needs_target,
                     struct notes *notes, uint32_t folder, const char *what)
{
    for (size_t side = 0; side < (needs_target ? 2 : 1); side++) {
        if (sides[side].untold[i]) {
            notes_add(notes, folder, "the %s does not tell the %s: %s", sides[side].called, what,
                      sides[side].untold[i]);
            return false;
        }
    }
    return true;
}

int sides_call(struct side_asked sides[2], link_data *on_data, link_answered *on_answer,
               struct err *err)
{
    const struct commands *const commands[2] = {&sides[0].commands, &sides[1].commands};
    struct link *const links[2] = {sides[0].link, sides[1].link};
    void *const args[2] = {&sides[0], &sides[1]};

    return commands_call_both(commands, links, on_data, on_answer, args, err);
}

bool side_which(struct side_asked *side, struct slice wire, size_t *out_i)
{
    bool is_fit, is_known;
    char *name = mailboxes_name(side->link, wire, &is_fit);

    is_known = name && mailboxes_which(&side->asked, slice_str(name), '\0', out_i);
    free(name);
    return is_known;
}

/* --- notes ------------------------------------------------------------------------------------ */

void notes_add(struct notes *n, uint32_t folder, const char *fmt, ...)
{
    struct note *all = room_for_one(n->all, n->n, &n->cap, sizeof *all);
    char words[NOTE_MOST];
    va_list ap;

    if (!all)
        return; /* the folder goes without its words */
    n->all = all;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    all[n->n++] = (struct note){folder, slice_dup(slice_str(words))};
}

void notes_tell(const struct notes *n, struct sync *s, enum sync_reason reason)
{
    for (size_t i = 0; i < n->n; i++) {
        sync_issue(s, reason, n->all[i].folder, 0, 0, (struct slice){0}, "%s",
                   n->all[i].words ? n->all[i].words : "");
    }
}

void notes_done(struct notes *n)
{
    for (size_t i = 0; i < n->n; i++)
        free(n->all[i].words);
    free(n->all);
    *n = (struct notes){0};
}
