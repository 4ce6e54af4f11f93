/* Which folder of the source goes to which of the target: choosing and renaming. Pure, but for the
 * regular expressions, which are PCRE2's (base/regex.h).
 *
 * Names are UTF-8, with the separator of their side. The way of a name:
 *
 *     chosen?     folders, subtrees, includes, excludes (struct sync_choice); below subfolder1
 *     pairs       f1f2 decides alone, if it names the folder
 *     special use automap decides alone, where the target has a folder of that use; not with a
 *                 subfolder
 *     INBOX       is INBOX at both sides, in any case of letters, whatever the prefixes
 *     prefix      that of the source's namespace is taken off, or subfolder1
 *     levels      a level that has the target's separator in it has "_" in its place, and so has a
 *                 target without levels for what separates them at the source
 *     prefix      that of the target's namespace, and subfolder2, are put before; INBOX goes to
 *                 subfolder2/INBOX then
 *     regextrans2 in the order given, on the whole name (names_trans.h)
 *
 * Where both sides have the same prefix and separator, and there is no subfolder, all between
 * "INBOX" and regextrans2 leaves a name as it is. Blanks, levels "." and empty levels before the
 * last one are nobody's business here. Two folders may come to one name: that is for the caller to
 * see.
 *
 * A prefix "INBOX." makes folders below INBOX and beside it the same to us: INBOX.Sent of one side
 * is Sent of the other. What is below INBOX without such a prefix stays there: INBOX/a is
 * INBOX.INBOX.a then, so that it is not taken for a.
 *
 * Subfolders are given with or without the prefix of their side, and may end with its separator.
 * subfolder1 itself goes to INBOX, as subfolder1/INBOX does: whoever has an empty or unselectable
 * subfolder1 should pass it over.
 *
 * Not for two threads at a time, naming_map() neither.
 */
#ifndef USHER_SYNC_NAMES_H
#define USHER_SYNC_NAMES_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "sync/sync.h"

#include <stdbool.h>

struct naming;

/* The personal namespace of a side. */
struct names_space {
    struct slice prefix; /* "INBOX." or empty; UTF-8 */
    char separator;      /* 0: flat */
};

/* The longest name that goes, in bytes, at either side. */
enum { NAMES_LONGEST = 8192 };

/* `choice` and the prefixes must live as long. The error names the option and what is wrong in it.
 */
int naming_new(const struct sync_choice *choice, struct names_space from, struct names_space to,
               struct naming **out_names, struct err *err) MUST_CHECK;
void naming_free(struct naming **n);

/* For automap: the target has the folder `name`, for the special use `use` ("\Sent"), or for none
 * that it tells: `use` is empty then. Where no folder is told for a use, one that has a well-known
 * name for it is taken. Harmless without automap. */
int naming_add_use(struct naming *n, struct slice use, struct slice name,
                   struct err *err) MUST_CHECK;

/* The same of the source, which may be left out. Of several folders of one use only the first one
 * told (or else that with the name known best) is mapped by it then; others go by their names. */
int naming_add_source_use(struct naming *n, struct slice use, struct slice name,
                          struct err *err) MUST_CHECK;

enum names_verdict {
    NAMES_GO,     /* the name at the target is behind `out` */
    NAMES_LEFT,   /* not chosen */
    NAMES_UNFIT,  /* chosen, but it has no name at the target, or one of its own: err says why (an
                     empty last level, INBOX.INBOX where that would be INBOX, an expression that
                     came to its bounds or made nothing of it) */
    NAMES_FAILED, /* memory */
};

/* `use`: its special use, "\Sent", or empty, and then a well-known name tells. */
enum names_verdict naming_map(const struct naming *n, struct slice from, struct slice use,
                              struct buf *out, struct err *err) MUST_CHECK;

/* Whether two names of one side are the same folder: INBOX in any case of letters, and so its first
 * level; all else byte by byte. */
bool names_are_same(struct slice a, struct slice b, char separator);

/* The choices of folders that named nothing: for each of --folder, --folderrec, the first of
 * --f1f2, and --subfolder1, whether naming_map() was ever asked for it (or for what is below it, if
 * they are about that); *out_option and *out_word tell the `i`th that was not. False: there is none
 * any more. */
bool naming_unused(const struct naming *n, size_t i, const char **out_option,
                   const char **out_word);

#endif
