/* Certificates and CRLs from any text: they are refused with words, or what is told of them keeps
 * its contract; and a certificate covers the names that it tells, and no more.
 *
 * The first byte: whether bytes are PEM text or DER that is put into PEM, and whether they are a
 * certificate or a CRL. A line follows, which is the name to ask for; then the bytes. */
#include "base/base64.h"
#include "base/buf.h"
#include "net/tls.h"

#include <ctype.h>
#include <stdlib.h>

enum { MAX_INPUT = 8192, LINE = 48 /* bytes of a line of 64 digits */ };

enum flag { IS_DER = 1, IS_CRL = 2, IS_KEY_TOO = 4 };

static void put_pem(struct buf *out, const char *label, struct slice der)
{
    INSIST(buf_printf(out, "-----BEGIN %s-----\n", label) == 0);
    for (size_t i = 0; i < der.n; i += LINE) {
        struct slice part = slice_sub(der, i, i + LINE);
        char digits[BASE64_LEN(LINE)];

        base64_encode(part, digits);
        INSIST(buf_printf(out, "%.*s\n", (int)BASE64_LEN(part.n), digits) == 0);
    }
    INSIST(buf_printf(out, "-----END %s-----\n", label) == 0);
}

/* A name of a certificate: letters are small, and only what may be in a name. */
static void check_name(const char *name)
{
    size_t n = strlen(name);

    INSIST(n >= 1 && n < TLS_NAME_TEXT && name[0] != '.');
    for (size_t i = 0; i < n; i++)
        INSIST(islower((unsigned char)name[i]) || isdigit((unsigned char)name[i]) ||
               strchr("-._*", name[i]));
}

/* RFC 6125 section 6.4.3, as tls.h has it: "*." and the rest behind the first label. */
static bool stands_for(const char *pattern, const char *name)
{
    size_t label = strcspn(name, ".");

    if (strcasecmp(pattern, name) == 0)
        return true;
    return strncmp(pattern, "*.", 2) == 0 && name[label] == '.' &&
           strcasecmp(pattern + 1, name + label) == 0;
}

static void check_facts(const struct tls_facts *facts, const char *asked)
{
    bool is_covered = false;

    INSIST(facts->names_n <= TLS_NAMES_MAX && facts->key_kind && facts->key_kind[0]);
    for (size_t i = 0; i < facts->names_n; i++) {
        check_name(facts->names[i]);
        is_covered = is_covered || stands_for(facts->names[i], asked);
        /* As a client asks for it, which knows no pattern; the dot of a rooted name goes. */
        if (facts->names[i][strlen(facts->names[i]) - 1] != '.')
            INSIST(tls_covers(facts, facts->names[i]) == !strchr(facts->names[i], '*'));
    }
    if (tls_covers(facts, asked))
        INSIST(is_covered || asked[strlen(asked) - 1] == '.'); /* a rooted name */
}

static void look(struct slice pem, struct slice key, const char *asked)
{
    static struct tls_facts facts;
    const struct tls_identity identity = {"fuzz", pem, key};
    struct err err = {.text = ""};

    if (tls_look(&identity, &facts, &err) == 0)
        check_facts(&facts, asked);
    else
        INSIST(strncmp(err.text, "fuzz: ", 6) == 0 && err.text[6] != '\0');
}

static void look_crls(struct slice pem)
{
    struct err err = {.text = ""};
    int64_t next;

    if (tls_look_crls(pem, "fuzz", &next, &err) < 0)
        INSIST(strncmp(err.text, "fuzz: ", 6) == 0 && err.text[6] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    const char *lf;
    struct buf pem;
    char *asked;
    bool is_crl;

    if (size < 2 || size > MAX_INPUT)
        return 0;
    is_crl = data[0] & IS_CRL;
    lf = memchr(in.p + 1, '\n', in.n - 1);
    if (!lf)
        return 0;
    asked = slice_dup(slice_sub(in, 1, (size_t)(lf - in.p)));
    INSIST(asked);
    in = slice_sub(in, (size_t)(lf - in.p) + 1, in.n);
    buf_init(&pem, 1 << 20, false);
    if (data[0] & IS_DER)
        put_pem(&pem, is_crl ? "X509 CRL" : "CERTIFICATE", in);
    else
        INSIST(buf_put(&pem, in) == 0);
    if (is_crl)
        look_crls(buf_slice(&pem));
    else
        look(buf_slice(&pem), data[0] & IS_KEY_TOO ? buf_slice(&pem) : SLICE(""), asked);
    buf_release(&pem);
    free(asked);
    return 0;
}
