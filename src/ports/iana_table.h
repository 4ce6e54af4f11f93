/* The table that tools/ports_table.py makes at build time; for registry.c alone. Constants without
 * pointers: it lies in the program's read-only pages and needs no relocation. */
#ifndef USHER_PORTS_IANA_TABLE_H
#define USHER_PORTS_IANA_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* An entry, from its highest bit: port 16, protocols 4, unused 4, offset of the service in
 * iana_texts 20, of the description 20. So entries are sorted by port. The tool has the same
 * numbers. */
enum {
    TABLE_PORT_SHIFT = 48,
    TABLE_PROTOCOLS_SHIFT = 44,
    TABLE_SERVICE_SHIFT = 20,
    TABLE_PROTOCOLS_MASK = 0xf,
    TABLE_OFFSET_MASK = 0xfffff
};

extern const size_t iana_table_n;
extern const uint64_t iana_table[];

/* Texts, each with its NUL. One that another ends with lies in that. */
extern const size_t iana_texts_n;
extern const char iana_texts[];

#endif
