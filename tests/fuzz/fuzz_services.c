/* An /etc/services: every name that is kept can be shown and is found, on a port that has a name;
 * what is kept is in the text; and the same lines with CRLF, or behind a comment, mean the same. */
#include "ports/machine.h"

#include <stdlib.h>
#include <string.h>

static bool has_word(struct slice text, struct slice word)
{
    return memmem(text.p, text.n, word.p, word.n) != NULL;
}

static void check_name(const struct services *s, const char *name, struct slice text)
{
    struct slice word = slice_str(name);
    size_t protocols = 0;
    uint16_t port = 0;

    INSIST(word.n > 0 && has_word(text, word) && !slice_has(word, '#'));
    for (size_t i = 0; i < word.n; i++)
        INSIST(word.p[i] > ' ' && word.p[i] <= '~');
    INSIST(services_find_name(s, word, &port) && port > 0);
    for (unsigned protocol = 0; protocol < PORT_PROTOCOLS; protocol++) {
        const char *found = services_find(s, port, protocol);
        const char *differs = services_differs(s, port, protocol);
        uint16_t found_port = 0;

        if (found) {
            INSIST(services_find_name(s, slice_str(found), &found_port) && found_port > 0);
            protocols++;
        }
        INSIST(!differs || differs == found);
    }
    INSIST(protocols > 0);
}

static void check_same(const struct services *s, struct slice text)
{
    struct services *other = NULL;

    INSIST(services_parse(text, &other, NULL) == 0);
    INSIST(services_count(s) == services_count(other));
    for (size_t i = 0; i < services_count(s); i++)
        INSIST(strcmp(services_name(s, i), services_name(other, i)) == 0);
    services_free(&other);
}

/* Each newline becomes CRLF, in front of it a comment. */
static void check_other_line_ends(const struct services *s, struct slice text)
{
    static const char comment[] = "\n# imap 143/tcp\r\n";
    char *copy = malloc(text.n * 2 + sizeof comment);
    size_t n = sizeof comment - 1;

    INSIST(copy);
    memcpy(copy, comment, n);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n')
            copy[n++] = '\r';
        copy[n++] = text.p[i];
    }
    check_same(s, slice_of(copy, n));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct services *s = NULL;
    struct slice text;
    char *copy;

    if (size > 4096)
        return 0;
    copy = malloc(size ? size : 1);
    INSIST(copy);
    if (size)
        memcpy(copy, data, size);
    text = slice_of(copy, size);
    INSIST(services_parse(text, &s, NULL) == 0);
    for (size_t i = 0; i < services_count(s); i++)
        check_name(s, services_name(s, i), text);
    check_other_line_ends(s, text);
    services_free(&s);
    free(copy);
    return 0;
}
