/* What the files of gendoc share; see tools/gendoc.c. All is written to standard output. */
#ifndef USHER_TOOLS_GENDOC_H
#define USHER_TOOLS_GENDOC_H

#include <stdbool.h>

/* --- gendoc.c --------------------------------------------------------------------------------- */

bool is_word(char c);

/* A manual text in a table's cell: what Markdown would take for its own is escaped. */
void put_text(const char *text);
void put_lower(const char *text);

/* The head of a page that comes from a table of src/tables/. */
void put_title(const char *title, const char *table);

/* A text in mdoc, a sentence a line, so that a change of one shows as that. */
void put_mdoc(const char *text);

/* --- gendoc_sync.c ---------------------------------------------------------------------------- */

void put_sync_options(void);
void put_sync_reasons(void);

/* The options as usher-sync(8) lists them. Each group is a list of its own. */
void put_man_sync(void);

#endif
