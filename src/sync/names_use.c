/* Special uses; see sync/names_use.h. */
#include "sync/names_use.h"

#include <stdint.h>
#include <stdlib.h>

enum { USES_MAX = 64, TOLD = 0 };

struct names_use {
    char *use, *name;
    struct slice bare; /* the end of `name` */
    size_t rank;       /* TOLD, or how well the name is known: less is better */
};

/* What Thunderbird, Outlook, Apple Mail and the webmails make, in the languages in which they
 * commonly do; for each use the name comes first that most have. */
static const struct {
    struct slice use, name;
} known[] = {
#define KNOWN(use, name)          \
    {                             \
        {"\\" use, sizeof use},   \
        {                         \
            name, sizeof name - 1 \
        }                         \
    }
    KNOWN("Sent", "Sent"),
    KNOWN("Sent", "Sent Items"),
    KNOWN("Sent", "Sent Messages"),
    KNOWN("Sent", "Sent Mail"),
    KNOWN("Sent", "Gesendet"),
    KNOWN("Sent", "Gesendete Elemente"),
    KNOWN("Sent", "Gesendete Objekte"),
    KNOWN("Sent", "Envoy\u00e9s"),
    KNOWN("Sent", "Objets envoy\u00e9s"),
    KNOWN("Sent", "\u00c9l\u00e9ments envoy\u00e9s"),
    KNOWN("Sent", "Enviados"),
    KNOWN("Sent", "Elementos enviados"),
    KNOWN("Sent", "Posta inviata"),
    KNOWN("Sent", "Elementy wys\u0142ane"),
    KNOWN("Sent", "\u041e\u0442\u043f\u0440\u0430\u0432\u043b\u0435\u043d\u043d\u044b\u0435"),
    KNOWN("Drafts", "Drafts"),
    KNOWN("Drafts", "Draft"),
    KNOWN("Drafts", "Entw\u00fcrfe"),
    KNOWN("Drafts", "Brouillons"),
    KNOWN("Drafts", "Borradores"),
    KNOWN("Drafts", "Bozze"),
    KNOWN("Drafts", "Szkice"),
    KNOWN("Drafts", "\u0427\u0435\u0440\u043d\u043e\u0432\u0438\u043a\u0438"),
    KNOWN("Trash", "Trash"),
    KNOWN("Trash", "Deleted Items"),
    KNOWN("Trash", "Deleted Messages"),
    KNOWN("Trash", "Papierkorb"),
    KNOWN("Trash", "Gel\u00f6schte Elemente"),
    KNOWN("Trash", "Corbeille"),
    KNOWN("Trash", "\u00c9l\u00e9ments supprim\u00e9s"),
    KNOWN("Trash", "Papelera"),
    KNOWN("Trash", "Cestino"),
    KNOWN("Trash", "Kosz"),
    KNOWN("Trash", "\u041a\u043e\u0440\u0437\u0438\u043d\u0430"),
    KNOWN("Junk", "Junk"),
    KNOWN("Junk", "Spam"),
    KNOWN("Junk", "Junk E-mail"),
    KNOWN("Junk", "Junk Email"),
    KNOWN("Junk", "Bulk Mail"),
    KNOWN("Junk", "\u0421\u043f\u0430\u043c"),
    KNOWN("Archive", "Archive"),
    KNOWN("Archive", "Archives"),
    KNOWN("Archive", "Archiv"),
    KNOWN("Archive", "\u0410\u0440\u0445\u0438\u0432"),
    KNOWN("All", "All Mail"),
    KNOWN("All", "All Messages"),
    KNOWN("Flagged", "Flagged"),
    KNOWN("Flagged", "Starred"),
#undef KNOWN
};

enum { KNOWN_N = sizeof known / sizeof *known };

/* The row of `known`, or KNOWN_N. */
static size_t known_row(struct slice bare)
{
    size_t i = 0;

    while (i < KNOWN_N && !slice_ieq(known[i].name, bare))
        i++;
    return i;
}

struct slice names_use_guess(struct slice bare)
{
    const size_t row = known_row(bare);

    return row < KNOWN_N ? known[row].use : (struct slice){0};
}

int names_uses_add(struct names_uses *u, struct slice use, struct slice name, struct slice bare,
                   struct err *err)
{
    const size_t row = known_row(bare);
    struct names_use added;

    if (u->n == USES_MAX || (use.n == 0 && row == KNOWN_N))
        return 0;
    if (!u->all)
        u->all = calloc(USES_MAX, sizeof *u->all);
    added = (struct names_use){.use = slice_dup(use.n > 0 ? use : known[row].use),
                               .name = slice_dup(name),
                               .rank = use.n > 0 ? TOLD : 1 + row};
    if (!u->all || !added.use || !added.name) {
        free(added.use);
        free(added.name);
        return err_set(err, 0, "no memory for the special uses");
    }
    added.bare = slice_of(added.name + (name.n - bare.n), bare.n);
    u->all[u->n++] = added;
    return 0;
}

/* Whether `a` is rather the folder for a use than `b`. */
static bool is_better(const struct names_use *a, const struct names_use *b, struct slice bare)
{
    const bool a_is_told = a->rank == TOLD, b_is_told = b->rank == TOLD;
    const bool a_is_it = slice_ieq(a->bare, bare), b_is_it = slice_ieq(b->bare, bare);

    if (a_is_told != b_is_told)
        return a_is_told;
    if (a_is_it != b_is_it)
        return a_is_it;
    return a->rank < b->rank;
}

bool names_uses_find(const struct names_uses *u, struct slice use, struct slice bare,
                     struct slice *out_name)
{
    const struct names_use *best = NULL;

    for (size_t i = 0; i < u->n; i++) {
        if (slice_ieq(slice_str(u->all[i].use), use) &&
            (!best || is_better(&u->all[i], best, bare)))
            best = &u->all[i];
    }
    if (!best)
        return false;
    *out_name = slice_str(best->name);
    return true;
}

void names_uses_done(struct names_uses *u)
{
    for (size_t i = 0; i < u->n; i++) {
        free(u->all[i].use);
        free(u->all[i].name);
    }
    free(u->all);
    *u = (struct names_uses){0};
}
