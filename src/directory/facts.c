/* The text of directory/facts.h, read and written. */
#include "directory/facts.h"

#include "base/num.h"
#include "base/utf8.h"
#include "conf/conf.h"
#include "conf/nearest.h"
#include "ipc/message.h"

#include <stdio.h>
#include <string.h>

enum {
    SESSIONS_MAX = 1000000,
    HASH_MAX = 384 /* of crypt(3), with NUL */,
    SHOWN = 48,
    WORD_MOST = 20
};

/* The words in the order in which they are written. */
enum word_id {
    WORD_POOL,
    WORD_TAG,
    WORD_BACKEND,
    WORD_HOST,
    WORD_PORT,
    WORD_TLS,
    WORD_BACKEND_USER,
    WORD_DISABLED,
    WORD_MAX_SESSIONS,
    WORD_PASSWORD_HASH,
    WORD_BACKEND_PASSWORD,
    WORD_MASTER_USER,
    WORD_MASTER_PASSWORD,
    WORD_VERIFY, /* between processes only */
    WORDS
};

typedef bool take_value(struct facts *f, size_t offset, struct slice value);

struct word {
    const char *name;
    take_value *take; /* false: the value is none */
    const char *wants;
    size_t offset; /* of the slice */
    bool is_secret;
};

static const char *const tls_names[] = {"", "off", "starttls", "implicit"};

/* --- values ----------------------------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9');
}

static bool has_only(struct slice s, const char *others)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_alnum(s.p[i]) && !slice_has(slice_str(others), s.p[i]))
            return false;
    }
    return true;
}

static void put(struct facts *f, size_t offset, struct slice value)
{
    *(struct slice *)(void *)((char *)f + offset) = value;
}

static bool take_any(struct facts *f, size_t offset, struct slice value)
{
    put(f, offset, value);
    return true;
}

/* As conf/ has the names of its sections. */
static bool take_name(struct facts *f, size_t offset, struct slice value)
{
    put(f, offset, value);
    return value.n <= CONF_NAME_MAX && is_alnum(value.p[0]) && has_only(value, "._-");
}

static bool take_user(struct facts *f, size_t offset, struct slice value)
{
    put(f, offset, value);
    return value.n <= IPC_USER_MAX;
}

static bool take_host(struct facts *f, size_t offset, struct slice value)
{
    const bool is_open = value.p[0] == '[', is_closed = value.p[value.n - 1] == ']';

    if (is_open && is_closed)
        value = slice_sub(value, 1, value.n - 1);
    put(f, offset, value);
    return value.n > 0 && has_only(value, "._-:%");
}

static bool take_port(struct facts *f, size_t offset, struct slice value)
{
    uint64_t port;

    (void)offset;
    if (!num_parse(value, UINT16_MAX, &port) || port == 0)
        return false;
    f->port = (uint16_t)port;
    return true;
}

static bool take_tls(struct facts *f, size_t offset, struct slice value)
{
    (void)offset;
    for (size_t i = FACTS_TLS_OFF; i <= FACTS_TLS_IMPLICIT; i++) {
        if (slice_eq(value, slice_str(tls_names[i])))
            f->tls = (uint8_t)i;
    }
    return f->tls != FACTS_TLS_ANY;
}

static bool is_text(struct slice s)
{
    for (size_t at = 0, n; at < s.n; at += n) {
        n = utf8_char(slice_sub(s, at, s.n));
        if (n == 0)
            return false;
    }
    return true;
}

static bool take_disabled(struct facts *f, size_t offset, struct slice value)
{
    /* Whoever writes these wants no text of one word. */
    static const char *const doubtful[] = {"true", "false", "on", "off", "1", "0", "y", "n"};

    for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++) {
        if (slice_ieq(value, slice_str(doubtful[i])))
            return false;
    }
    if (slice_ieq(value, SLICE("no")))
        return true;
    f->is_disabled = true;
    if (!slice_ieq(value, SLICE("yes")))
        put(f, offset, value);
    return value.p[0] != '[' && is_text(value);
}

static bool take_sessions(struct facts *f, size_t offset, struct slice value)
{
    uint64_t n;

    (void)offset;
    if (!num_parse(value, SESSIONS_MAX, &n) || n == 0)
        return false;
    f->max_sessions = (uint32_t)n;
    return true;
}

/* "$id$...", "_" and 19 characters, or the 13 characters of old. What crypt(3) makes of it shows
 * when somebody logs in; here a password in clear is to be told from a hash. */
static bool take_hash(struct facts *f, size_t offset, struct slice value)
{
    const char *second;

    put(f, offset, value);
    f->verifies = true;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] <= ' ' || value.p[i] > '~' || strchr(":;*!\\", value.p[i]))
            return false;
    }
    if (value.n >= HASH_MAX)
        return false;
    if (value.p[0] == '_')
        return value.n == 20 && has_only(slice_sub(value, 1, value.n), "./");
    if (value.p[0] != '$')
        return value.n == 13 && has_only(value, "./");
    second = memchr(value.p + 1, '$', value.n - 1);
    return second && second > value.p + 1 && second < value.p + value.n - 1;
}

static bool take_verify(struct facts *f, size_t offset, struct slice value)
{
    (void)offset;
    f->verifies = slice_eq(value, SLICE("yes"));
    return f->verifies;
}

#define AT(member) offsetof(struct facts, member)

static const struct word words[WORDS] = {
    [WORD_POOL] = {"pool", take_name, "the name of a pool", AT(pool), false},
    [WORD_TAG] = {"tag", take_name, "a tag of letters, digits and . _ -", AT(tag), false},
    [WORD_BACKEND] = {"backend", take_name, "the name of a backend", AT(backend), false},
    [WORD_HOST] = {"host", take_host, "the name or address of a host", AT(host), false},
    [WORD_PORT] = {"port", take_port, "a port from 1 to 65535", 0, false},
    [WORD_TLS] = {"tls", take_tls, "off, starttls or implicit", 0, false},
    [WORD_BACKEND_USER] = {"backend_user", take_user, "a name of at most 512 bytes",
                           AT(backend_user), false},
    [WORD_DISABLED] = {"disabled", take_disabled, "yes, no, or a text that does not begin with [",
                       AT(disabled_text), false},
    [WORD_MAX_SESSIONS] = {"max_sessions", take_sessions, "a number from 1 to 1000000", 0, false},
    [WORD_PASSWORD_HASH] = {"password_hash", take_hash,
                            "a hash of crypt(3), as `mkpasswd -m yescrypt` makes them",
                            AT(password_hash), true},
    [WORD_BACKEND_PASSWORD] = {"backend_password", take_any, "", AT(backend_password), true},
    [WORD_MASTER_USER] = {"master_user", take_user, "a name of at most 512 bytes", AT(master_user),
                          true},
    [WORD_MASTER_PASSWORD] = {"master_password", take_any, "", AT(master_password), true},
    [WORD_VERIFY] = {"verify", take_verify, "yes", 0, false},
};

/* --- reading ---------------------------------------------------------------------------------- */

struct reader {
    struct slice text;
    size_t at;
    bool is_wire;
    const struct word *before; /* the last word that was read; NULL: none */
    uint32_t seen;             /* a bit a word */
    unsigned words_n;          /* so many */
    struct facts facts;
};

_Static_assert(WORDS <= 32, "a bit a word");

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static const struct word *find_word(struct slice name)
{
    for (size_t i = 0; i < WORDS; i++) {
        if (slice_eq(name, slice_str(words[i].name)))
            return &words[i];
    }
    return NULL;
}

/* What the operator or a server wrote, fit for a message. */
static const char *show(struct slice s, char out[SHOWN])
{
    const size_t n = s.n < SHOWN - 4 ? s.n : SHOWN - 4;

    for (size_t i = 0; i < n; i++)
        out[i] = s.p[i] > ' ' && s.p[i] <= '~' && s.p[i] != '"' ? s.p[i] : '?';
    memcpy(out + n, n < s.n ? "..." : "", n < s.n ? sizeof "..." : 1);
    return out;
}

/* Only as far as it could be a word of ours: a password or hash that is out of place is none. */
static int fail_unknown(const struct reader *r, struct slice name, struct err *err)
{
    const char *names[WORDS], *near;
    char shown[SHOWN];
    size_t n = 0;

    for (size_t i = 0; i < WORDS; i++)
        names[i] = words[i].name;
    while (n < name.n && n < WORD_MOST && (is_letter(name.p[n]) || name.p[n] == '_'))
        n++;
    show(slice_sub(name, 0, n), shown);
    near = nearest(shown, names, r->is_wire ? WORDS : WORD_VERIFY);
    return err_set(err, 0, "unknown word \"%s%s\"%s%s%s", shown, n < name.n ? "..." : "",
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* A secret with a blank in it looks like two words: the second is nothing to show either. */
static int fail_behind(const struct reader *r, struct err *err)
{
    return err_set(err, 0,
                   "what stands behind the value of %s is no word of ours with a value; a value "
                   "with blanks stands between '\"'",
                   r->before->name);
}

static int read_word(struct reader *r, const struct word **out_word, struct err *err)
{
    const size_t from = r->at;
    struct slice name;

    while (r->at < r->text.n && r->text.p[r->at] != '=' && !is_blank(r->text.p[r->at]))
        r->at++;
    name = slice_sub(r->text, from, r->at);
    *out_word = find_word(name);
    if (r->at == r->text.n || r->text.p[r->at] != '=') {
        if (*out_word)
            return err_set(err, 0, "%s has no value; write %s=...", (*out_word)->name,
                           (*out_word)->name);
        /* It is not shown, as it may be a password behind ':' or a blank in place of '='. */
        return r->before && r->before->is_secret
                   ? fail_behind(r, err)
                   : err_set(err, 0, "word %u has no value; write one as in pool=main",
                             r->words_n + 1);
    }
    if (!*out_word)
        return r->before && r->before->is_secret ? fail_behind(r, err) : fail_unknown(r, name, err);
    r->at++;
    return 0;
}

static int read_value(struct reader *r, const struct word *w, struct slice *out_value,
                      struct err *err)
{
    const bool is_quoted = r->at < r->text.n && r->text.p[r->at] == '"';
    size_t from = r->at, to;

    if (is_quoted) {
        const char *end;

        from++;
        end = memchr(r->text.p + from, '"', r->text.n - from);
        if (!end)
            return err_set(err, 0, "the value of %s lacks its second '\"'", w->name);
        to = (size_t)(end - r->text.p);
        r->at = to + 1;
    } else {
        while (r->at < r->text.n && !is_blank(r->text.p[r->at]) && r->text.p[r->at] != '"')
            r->at++;
        to = r->at;
    }
    if (r->at < r->text.n && !is_blank(r->text.p[r->at]))
        return err_set(err, 0,
                       "the value of %s has a '\"' in it; it stands before and behind a value, "
                       "or not at all",
                       w->name);
    if (to == from)
        return err_set(err, 0, "the value of %s is empty", w->name);
    *out_value = slice_sub(r->text, from, to);
    for (size_t i = 0; i < out_value->n; i++) {
        if ((unsigned char)out_value->p[i] < ' ' || out_value->p[i] == 0x7f)
            return err_set(err, 0, "the value of %s has a control character in it", w->name);
    }
    return 0;
}

static int take(struct reader *r, const struct word *w, struct slice value, struct err *err)
{
    char shown[SHOWN];
    const uint32_t bit = UINT32_C(1) << (w - words);

    if (r->seen & bit)
        return err_set(err, 0, "%s stands twice", w->name);
    if (r->is_wire ? w->is_secret : w == &words[WORD_VERIFY])
        return err_set(err, 0, "%s has no place here", w->name);
    r->seen |= bit;
    r->words_n++;
    r->before = w;
    if (w->take(&r->facts, w->offset, value))
        return 0;
    /* A value with '=' may be another word that a '"' has swallowed. */
    if (w->is_secret || slice_has(value, '='))
        return err_set(err, 0, "the value of %s is not %s", w->name, w->wants);
    return err_set(err, 0, "%s=%s is not %s", w->name, show(value, shown), w->wants);
}

/* What goes together, and what does not. */
static int check_whole(const struct facts *f, struct err *err)
{
    const bool has_user = f->master_user.n > 0, has_password = f->master_password.n > 0;

    if (f->backend.n > 0 && f->host.n > 0)
        return err_set(err, 0, "backend and host say the same; write one of them");
    if (f->host.n == 0 && (f->port > 0 || f->tls != FACTS_TLS_ANY))
        return err_set(err, 0, "%s needs a host; write host=...", f->port > 0 ? "port" : "tls");
    if (has_user != has_password)
        return err_set(err, 0, "%s needs %s", has_user ? "master_user" : "master_password",
                       has_user ? "master_password" : "master_user");
    if (has_user && f->backend_password.n > 0)
        return err_set(err, 0, "backend_password and master_user exclude each other");
    if (!f->verifies && (has_user || f->backend_password.n > 0))
        return err_set(err, 0, "%s needs password_hash, else anybody could log in",
                       has_user ? "master_user" : "backend_password");
    return 0;
}

static int parse(struct slice text, bool is_wire, struct facts *out_facts, struct err *err)
{
    struct reader r = {.text = text, .is_wire = is_wire};

    if (text.n > FACTS_MAX + (is_wire ? 11 : 0))
        return err_set(err, 0, "more than %d bytes of facts", FACTS_MAX);
    for (;;) {
        const struct word *w;
        struct slice value;

        while (r.at < text.n && is_blank(text.p[r.at]))
            r.at++;
        if (r.at == text.n)
            break;
        if (read_word(&r, &w, err) < 0 || read_value(&r, w, &value, err) < 0 ||
            take(&r, w, value, err) < 0)
            return -1;
    }
    if (check_whole(&r.facts, err) < 0)
        return -1;
    *out_facts = r.facts;
    return 0;
}

int facts_parse(struct slice text, struct facts *out_facts, struct err *err)
{
    return parse(text, false, out_facts, err);
}

int facts_parse_wire(struct slice text, struct facts *out_facts, struct err *err)
{
    return parse(text, true, out_facts, err);
}

/* --- writing ---------------------------------------------------------------------------------- */

struct writer {
    char *out;
    size_t n;
};

static void add(struct writer *w, struct slice s)
{
    INSIST(s.n <= FACTS_MAX + 16 - w->n);
    if (s.n > 0)
        memcpy(w->out + w->n, s.p, s.n);
    w->n += s.n;
}

static void add_fact(struct writer *w, enum word_id id, struct slice value)
{
    const bool is_quoted = slice_has(value, ' ');

    if (value.n == 0)
        return;
    if (w->n > 0)
        add(w, SLICE(" "));
    add(w, slice_str(words[id].name));
    add(w, is_quoted ? SLICE("=\"") : SLICE("="));
    add(w, value);
    if (is_quoted)
        add(w, SLICE("\""));
}

static void add_number(struct writer *w, enum word_id id, uint32_t number)
{
    char digits[16];
    const int n = snprintf(digits, sizeof digits, "%u", number);

    add_fact(w, id, slice_of(digits, number > 0 ? (size_t)n : 0));
}

size_t facts_write(const struct facts *facts, char out[FACTS_MAX + 16])
{
    struct writer w = {.out = out};

    add_fact(&w, WORD_POOL, facts->pool);
    add_fact(&w, WORD_TAG, facts->tag);
    add_fact(&w, WORD_BACKEND, facts->backend);
    add_fact(&w, WORD_HOST, facts->host);
    add_number(&w, WORD_PORT, facts->port);
    add_fact(&w, WORD_TLS, slice_str(tls_names[facts->tls]));
    add_fact(&w, WORD_BACKEND_USER, facts->backend_user);
    if (facts->is_disabled)
        add_fact(&w, WORD_DISABLED,
                 facts->disabled_text.n > 0 ? facts->disabled_text : SLICE("yes"));
    add_number(&w, WORD_MAX_SESSIONS, facts->max_sessions);
    if (facts->verifies)
        add_fact(&w, WORD_VERIFY, SLICE("yes"));
    return w.n;
}
