/* The rows of tables/settings.def as data: what loading, checking and printing walk over, so that a
 * setting is written down once. Seen by conf/ only.
 */
#ifndef USHER_CONF_SETTINGS_H
#define USHER_CONF_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

/* The kinds are described in settings.def, their C types in conf.h. */
enum setting_kind {
    KIND_STR,
    KIND_PATH,
    KIND_LIST,
    KIND_BOOL,
    KIND_INT,
    KIND_DURATION,
    KIND_SIZE,
    KIND_CHOICE
};

struct setting {
    const char *name;
    const char *def;    /* as one would write it; NULL: it must be given */
    const char *values; /* "lowest to highest", the words of a choice, or "" */
    uint32_t offset;    /* of the member in its section's struct */
    uint8_t kind;       /* enum setting_kind */
};

enum section_id {
    SECTION_GLOBAL,
    SECTION_LISTENER,
    SECTION_TLS,
    SECTION_CERTIFICATE,
    SECTION_DIRECTORY,
    SECTION_POOL,
    SECTION_BACKEND,
    SECTIONS
};

struct section {
    const char *name; /* as written in the file; "" for what stands in no section */
    const struct setting *settings;
    size_t n;
};

extern const struct section conf_sections[SECTIONS];

/* What the member holds when the file says nothing, as text. */
static inline const char *setting_default(const struct setting *s)
{
    return s->def ? s->def : "";
}

/* The setting's member of `object`, the struct of its section. */
static inline void *setting_member(const struct setting *s, void *object)
{
    return (char *)object + s->offset;
}

static inline const void *setting_value(const struct setting *s, const void *object)
{
    return (const char *)object + s->offset;
}

#endif
