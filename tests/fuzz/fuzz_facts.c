/* Facts: what is read lies in the text, goes together, and is written without a secret so that it
 * reads the same; words about mistakes show none. */
#include "directory/facts.h"

#include "cut.h"

#include <stdlib.h>

static void check_parts(const struct facts *f, struct slice text)
{
    const struct slice parts[] = {f->pool,          f->tag,
                                  f->backend,       f->host,
                                  f->backend_user,  f->disabled_text,
                                  f->password_hash, f->backend_password,
                                  f->master_user,   f->master_password};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        INSIST(lies_in(parts[i], text) && !slice_has(parts[i], '"'));
        for (size_t k = 0; k < parts[i].n; k++)
            INSIST((unsigned char)parts[i].p[k] >= ' ' && parts[i].p[k] != 0x7f);
    }
    INSIST(f->backend.n == 0 || f->host.n == 0);
    INSIST(f->host.n > 0 || (f->port == 0 && f->tls == FACTS_TLS_ANY));
    INSIST((f->master_user.n > 0) == (f->master_password.n > 0));
    INSIST(f->verifies || (f->master_user.n == 0 && f->backend_password.n == 0));
    INSIST(f->is_disabled || f->disabled_text.n == 0);
    INSIST(f->disabled_text.n == 0 || f->disabled_text.p[0] != '[');
}

static void check_written(const struct facts *f, size_t most)
{
    char out[FACTS_MAX + 16], twice[FACTS_MAX + 16];
    const size_t n = facts_write(f, out);
    struct facts again;

    INSIST(n <= most);
    INSIST(facts_parse_wire(slice_of(out, n), &again, NULL) == 0);
    INSIST(slice_eq(again.pool, f->pool) && slice_eq(again.tag, f->tag) &&
           slice_eq(again.backend, f->backend) && slice_eq(again.host, f->host) &&
           slice_eq(again.backend_user, f->backend_user) &&
           slice_eq(again.disabled_text, f->disabled_text));
    INSIST(again.port == f->port && again.tls == f->tls && again.max_sessions == f->max_sessions &&
           again.is_disabled == f->is_disabled && again.verifies == f->verifies);
    INSIST(again.password_hash.n == 0 && again.backend_password.n == 0 &&
           again.master_user.n == 0 && again.master_password.n == 0);
    INSIST(facts_write(&again, twice) == n && memcmp(twice, out, n) == 0);
}

/* What stands behind a secret's word, and is no word itself, is not told. */
static void check_words(struct slice text, const char *words)
{
    static const char secret[] = "backend_password=", mark[] = "sesam";
    const char *at = memmem(text.p, text.n, secret, sizeof secret - 1);
    struct slice before, behind;

    if (!at || (at > text.p && at[-1] != ' '))
        return;
    before = slice_of(text.p, (size_t)(at - text.p));
    behind = slice_sub(text, before.n + sizeof secret - 1, text.n);
    if (count_in(before, slice_str(mark)) == 0 && !slice_has(before, '"') &&
        !slice_has(behind, '='))
        INSIST(!strstr(words, mark));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text;
    struct facts f;
    struct err err = {0};
    char *copy;

    if (size > 2048)
        return 0;
    copy = malloc(size ? size : 1);
    INSIST(copy);
    if (size)
        memcpy(copy, data, size);
    text = slice_of(copy, size);
    if (facts_parse(text, &f, &err) == 0) {
        check_parts(&f, text);
        check_written(&f, size + 11);
    } else {
        INSIST(err.text[0]);
        check_words(text, err.text);
    }
    if (facts_parse_wire(text, &f, &err) == 0) {
        check_parts(&f, text);
        check_written(&f, size + 11);
    }
    free(copy);
    return 0;
}
