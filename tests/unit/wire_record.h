/* Recorded bytes: files in tests/unit/data/, made to be read in a review.
 *
 *     # a comment
 *     NAME
 *         member   75 73 68 72     # what it says
 *         .        more bytes of the member
 *
 * The bytes of a record are all of its lines together; members are there for the reader, and for
 * the words of a test that fails. Numbers are in the order of little-endian machines.
 */
#ifndef USHER_TESTS_WIRE_RECORD_H
#define USHER_TESTS_WIRE_RECORD_H

#include "cm.h"

#include "base/addr.h"
#include "base/err.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_MEMBERS = 40, RECORD_BYTES = 4096, RECORDS = 100, RECORD_LINE = 16 };

struct member {
    char name[24];
    size_t at, n;
};

struct record {
    char name[24];
    size_t n;
    unsigned char bytes[RECORD_BYTES];
    struct member members[RECORD_MEMBERS]; /* in order, without a hole; none in one that was read */
    size_t members_n;
};

struct records {
    struct record all[RECORDS];
    size_t n;
};

static inline struct record *record_begin(struct records *r, const char *name)
{
    INSIST(r->n < RECORDS);
    snprintf(r->all[r->n].name, sizeof r->all[r->n].name, "%s", name);
    return &r->all[r->n++];
}

static inline void record_add(struct record *r, const void *bytes, size_t n)
{
    INSIST(n <= RECORD_BYTES - r->n);
    if (n)
        memcpy(r->bytes + r->n, bytes, n);
    r->n += n;
}

/* Says that the `n` bytes behind the last member are this one. */
static inline void record_member(struct record *r, const char *name, size_t n)
{
    struct member *m = &r->members[r->members_n];

    if (n == 0)
        return;
    INSIST(r->members_n < RECORD_MEMBERS);
    snprintf(m->name, sizeof m->name, "%s", name);
    m->at = r->members_n > 0 ? m[-1].at + m[-1].n : 0;
    m->n = n;
    r->members_n++;
}

static inline const struct record *record_find(const struct records *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->all[i].name, name) == 0)
            return &r->all[i];
    }
    return NULL;
}

/* --- reading --------------------------------------------------------------------------------- */

static inline void record_line(struct records *r, char *line)
{
    char *words, *word;

    line[strcspn(line, "#\n")] = '\0';
    word = strtok_r(line, " ", &words);
    if (!word)
        return;
    if (line[0] != ' ') {
        record_begin(r, word);
        return;
    }
    while ((word = strtok_r(NULL, " ", &words)) != NULL) {
        unsigned char byte = (unsigned char)strtoul(word, NULL, 16);

        INSIST(r->n > 0 && strlen(word) == 2 && isxdigit(word[0]) && isxdigit(word[1]));
        record_add(&r->all[r->n - 1], &byte, 1);
    }
}

/* On the heap. */
static inline struct records *records_read(const char *path)
{
    struct records *r = calloc(1, sizeof *r);
    FILE *f = fopen(path, "re");
    char line[256];

    INSIST(r && f);
    while (fgets(line, sizeof line, f))
        record_line(r, line);
    fclose(f);
    return r;
}

/* --- writing --------------------------------------------------------------------------------- */

/* How many bytes of text it is, without the NUL that may end it; 0: it is none. */
static inline size_t record_text(const unsigned char *p, size_t n)
{
    if (n > 0 && p[n - 1] == '\0')
        n--;
    for (size_t i = 0; i < n; i++) {
        if (!isprint(p[i]))
            return 0;
    }
    return n;
}

/* What the bytes say, as far as they show it by themselves. */
static inline void record_print_meaning(const struct member *m, const unsigned char *p)
{
    size_t text_n = record_text(p, m->n);
    char text[ADDR_TEXT];
    struct addr addr;
    uint64_t number = 0;

    if (text_n > 2) {
        printf("  # \"%.*s\"", (int)text_n, (const char *)p);
    } else if (m->n == sizeof addr) {
        memcpy(&addr, p, sizeof addr);
        printf("  # %s", addr_format(&addr, text));
    } else if (m->n <= sizeof number) {
        memcpy(&number, p, m->n);
        printf("  # %llu", (unsigned long long)number);
    }
}

static inline void record_print(const struct record *r)
{
    printf("\n%s\n", r->name);
    for (const struct member *m = r->members; m < r->members + r->members_n; m++) {
        for (size_t i = 0; i < m->n; i += RECORD_LINE) {
            printf("    %-14s", i ? "." : m->name);
            for (size_t k = i; k < i + RECORD_LINE && k < m->n; k++)
                printf(" %02x", r->bytes[m->at + k]);
            if (i == 0)
                record_print_meaning(m, r->bytes + m->at);
            printf("\n");
        }
    }
}

/* --- comparing ------------------------------------------------------------------------------- */

/* The first member in which what was made differs from what was recorded; NULL: none. */
static inline const char *record_difference(const struct record *made,
                                            const struct record *recorded)
{
    for (const struct member *m = made->members; m < made->members + made->members_n; m++) {
        if (m->at + m->n > recorded->n ||
            memcmp(made->bytes + m->at, recorded->bytes + m->at, m->n) != 0)
            return m->name;
    }
    return made->n != recorded->n ? "length" : NULL;
}

#endif
