/* From files to the one text that libconfuse is given. */
#include "conf/source.h"

#include "conf/store.h"
#include "conf/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Sections and lists in one another; the grammar needs three. */
enum { BRACES_MAX = 8 };

/* One file being copied. */
struct scan {
    struct source *src;
    const struct scan *parent; /* the file that includes this one */
    const char *name;
    const char *p, *end; /* what is not copied yet */
    unsigned line;
    dev_t device; /* the file's identity */
    ino_t inode;
    unsigned depth; /* of includes */
    unsigned braces;
    unsigned opened[BRACES_MAX]; /* the lines of the open ones */
};

static int read_file(struct source *src, const char *path, const struct scan *parent,
                     struct err *err);

__attribute__((format(printf, 4, 5))) static int fail(const struct scan *s, unsigned line,
                                                      struct err *err, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(err, 0, "%s:%u: %s", s->name, line, text);
}

static int put(struct scan *s, const char *p, size_t n, struct err *err)
{
    if (buf_put(&s->src->text, slice_of(p, n)))
        return fail(s, s->line, err, "the configuration is too large");
    return 0;
}

static int put_newline(struct scan *s, struct err *err)
{
    if (put(s, "\n", 1, err))
        return -1;
    s->src->line++;
    return 0;
}

/* From here on the text's lines are those of `s`. */
static int begin_part(struct scan *s, struct err *err)
{
    struct source *src = s->src;

    if (src->parts_n == src->parts_cap) {
        size_t cap = src->parts_cap ? src->parts_cap * 2 : 8;
        void *parts = reallocarray(src->parts, cap, sizeof *src->parts);

        if (!parts)
            return err_set(err, ENOMEM, "no memory for the configuration");
        src->parts = parts;
        src->parts_cap = cap;
    }
    src->parts[src->parts_n++] = (struct source_part){
        .line = src->line,
        .where = {.file = s->name, .line = s->line},
    };
    return 0;
}

static int peek(const struct scan *s, size_t ahead)
{
    return (size_t)(s->end - s->p) > ahead ? (unsigned char)s->p[ahead] : EOF;
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t';
}

static bool is_newline(const struct scan *s)
{
    return peek(s, 0) == '\n' || (peek(s, 0) == '\r' && peek(s, 1) == '\n');
}

/* What may stand in a word without quotes around it. */
static bool is_word(int c)
{
    return c > ' ' && c != 0x7f && !strchr("#\"'={}(),", c);
}

static int bad_character(const struct scan *s, struct err *err)
{
    const unsigned c = (unsigned char)*s->p;

    if (c == '(' || c == ')')
        return fail(s, s->line, err, "unexpected \"%c\"; only include(\"file\") has parentheses",
                    c);
    return fail(s, s->line, err, "unexpected character 0x%02x; is this a text file?", c);
}

static int scan_newline(struct scan *s, struct err *err)
{
    s->p += *s->p == '\r' ? 2 : 1;
    s->line++;
    return put_newline(s, err);
}

/* From the comment's sign to before the end of the line. */
static void skip_line_comment(struct scan *s)
{
    while (s->p < s->end && *s->p != '\n')
        s->p++;
}

static int skip_block_comment(struct scan *s, struct err *err)
{
    const unsigned began = s->line;

    for (s->p += 2; s->p < s->end; s->p++) {
        if (*s->p == '*' && peek(s, 1) == '/') {
            s->p += 2;
            return put(s, " ", 1, err);
        }
        if (*s->p == '\n') {
            s->line++;
            if (put_newline(s, err))
                return -1;
        }
    }
    return fail(s, began, err, "this comment has no end; write */ behind it");
}

static bool is_variable(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* libconfuse would take an unset variable for an empty one. */
static int check_is_set(const struct scan *s, struct slice name, struct err *err)
{
    char *copy = slice_dup(name);
    bool is_set;

    if (!copy)
        return err_set(err, ENOMEM, "no memory for the configuration");
    is_set = getenv(copy) != NULL;
    free(copy);
    if (is_set)
        return 0;
    return fail(s, s->line, err,
                "the environment has no %.*s; write \"${%.*s:-otherwise}\" to do without",
                SLICE_ARG(name), SLICE_ARG(name));
}

/* "${NAME}" or "${NAME:-otherwise}" in double quotes, s->p at the dollar. Only looked at;
 * libconfuse puts the value in. */
static int scan_variable(struct scan *s, struct err *err)
{
    const char *name = s->p + 2, *p = name;
    struct slice variable;

    while (p < s->end && is_variable(*p))
        p++;
    variable = slice_of(name, (size_t)(p - name));
    s->p = p;
    if (variable.n > 0 && peek(s, 0) == '}') {
        s->p++;
        return check_is_set(s, variable, err);
    }
    if (variable.n == 0 || peek(s, 0) != ':' || peek(s, 1) != '-')
        return fail(s, s->line, err, "write \"${NAME}\" for a variable, or \"\\$\" for a dollar");
    while (s->p < s->end && (unsigned char)*s->p >= ' ' && !strchr("}\"\\$", *s->p))
        s->p++;
    if (peek(s, 0) != '}')
        return fail(s, s->line, err,
                    "what stands for an unset variable is plain text, and ends with \"}\"");
    s->p++;
    return 0;
}

static bool is_hex(int c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* A backslash in double quotes, s->p on it. */
static int scan_escape(struct scan *s, struct err *err)
{
    const int c = peek(s, 1);

    if (c == 'x' && is_hex(peek(s, 2)) && is_hex(peek(s, 3))) {
        if (peek(s, 2) == '0' && peek(s, 3) == '0')
            return fail(s, s->line, err, "a text cannot hold a NUL");
        s->p += 4;
        return 0;
    }
    if (c <= 0 || !strchr("\\\"'$nrt", c))
        return fail(s, s->line, err,
                    "a backslash in double quotes needs one of \\ \" ' $ n r t behind it, or x and "
                    "two hexadecimal digits; write \"\\\\\" for a backslash");
    s->p += 2;
    return 0;
}

/* One character of a text in quotes, or what stands for one. */
static int scan_quoted_next(struct scan *s, char quote, struct err *err)
{
    const unsigned char c = (unsigned char)*s->p;

    if ((c < ' ' && c != '\t') || c == 0x7f)
        return fail(s, s->line, err, "unexpected character 0x%02x in a text; write \"\\x%02x\"", c,
                    c);
    if (quote == '"' && c == '\\')
        return scan_escape(s, err);
    if (quote == '"' && c == '$' && peek(s, 1) == '{')
        return scan_variable(s, err);
    /* In single quotes only these two are escapes. */
    s->p += c == '\\' && (peek(s, 1) == '\\' || peek(s, 1) == '\'') ? 2 : 1;
    return 0;
}

/* A text in quotes, copied as it is. */
static int scan_quoted(struct scan *s, struct err *err)
{
    const char *begin = s->p;
    const char quote = *s->p++;

    while (s->p < s->end && *s->p != quote && *s->p != '\n')
        if (scan_quoted_next(s, quote, err))
            return -1;
    if (peek(s, 0) != quote)
        return fail(s, s->line, err, "this text has no end; is the closing %c missing?", quote);
    s->p++;
    return put(s, begin, (size_t)(s->p - begin), err);
}

/* Past blanks, newlines and nothing else. */
static int skip_blanks(struct scan *s, struct err *err)
{
    while (s->p < s->end && (is_blank(*s->p) || is_newline(s))) {
        if (is_blank(*s->p))
            s->p++;
        else if (scan_newline(s, err))
            return -1;
    }
    return 0;
}

/* The name of an included file, relative to the one that says it. Freed by the caller. */
static char *include_path(const struct scan *s, struct slice name, struct err *err)
{
    const char *slash = strrchr(s->name, '/');
    char *path = NULL;

    if (slash && name.n > 0 && name.p[0] != '/') {
        if (asprintf(&path, "%.*s/%.*s", (int)(slash - s->name), s->name, SLICE_ARG(name)) < 0)
            path = NULL;
    } else {
        path = slice_dup(name);
    }
    if (!path)
        err_set(err, ENOMEM, "no memory for the configuration");
    return path;
}

/* The ("file") behind the word include, s->p at the parenthesis. */
static int scan_include_name(struct scan *s, struct slice *out_name, struct err *err)
{
    const unsigned line = s->line;
    const char *name;
    char quote;

    s->p++;
    if (skip_blanks(s, err))
        return -1;
    if (peek(s, 0) != '"' && peek(s, 0) != '\'')
        return fail(s, line, err, "write include(\"file\")");
    quote = *s->p++;
    name = s->p;
    while (s->p < s->end && *s->p != quote && (unsigned char)*s->p >= ' ' && !strchr("\\$", *s->p))
        s->p++;
    if (peek(s, 0) != quote || s->p == name)
        return fail(s, line, err, "write include(\"file\"), the name without \\ and $");
    *out_name = slice_of(name, (size_t)(s->p - name));
    s->p++;
    if (skip_blanks(s, err))
        return -1;
    if (peek(s, 0) != ')')
        return fail(s, line, err, "write include(\"file\"); the \")\" is missing");
    s->p++;
    return 0;
}

/* Puts another file in, on lines of its own. */
static int scan_include(struct scan *s, struct err *err)
{
    struct slice name = {NULL, 0};
    char *path;
    int rc;

    if (!s->src->is_file)
        return fail(s, s->line, err, "include is for files; nothing can be included here");
    if (scan_include_name(s, &name, err))
        return -1;
    path = include_path(s, name, err);
    if (!path)
        return -1;
    rc = put_newline(s, err);
    if (rc == 0)
        rc = read_file(s->src, path, s, err);
    if (rc == 0)
        rc = put_newline(s, err);
    if (rc == 0)
        rc = begin_part(s, err);
    free(path);
    return rc;
}

/* Says whether `word`, which ends at s->p, is the include of include("file"); moves s->p on then.
 */
static bool is_include(struct scan *s, struct slice word)
{
    const char *ahead = s->p;

    if (!slice_eq(word, SLICE("include")))
        return false;
    while (ahead < s->end && is_blank(*ahead))
        ahead++;
    if (ahead == s->end || *ahead != '(')
        return false;
    s->p = ahead;
    return true;
}

/* A word, put in quotes if libconfuse would lose a part of it. */
static int scan_word(struct scan *s, struct err *err)
{
    const char *begin = s->p;
    const char *quote = "";
    struct slice word;

    for (; s->p < s->end && is_word((unsigned char)*s->p); s->p++) {
        if (*s->p == ';')
            return fail(s, s->line, err, "unexpected \";\"; a line needs no sign at its end");
        if (strchr("\\$|", *s->p))
            return fail(s, s->line, err, "put a value with \"%c\" in single quotes", *s->p);
        if (*s->p == '*' || *s->p == '+')
            quote = "'";
    }
    word = slice_of(begin, (size_t)(s->p - begin));
    if (is_include(s, word))
        return scan_include(s, err);
    if (put(s, quote, strlen(quote), err) || put(s, word.p, word.n, err))
        return -1;
    return put(s, quote, strlen(quote), err);
}

static int scan_sign(struct scan *s, struct err *err)
{
    if (*s->p == '{') {
        if (s->braces == BRACES_MAX)
            return fail(s, s->line, err, "too many sections in one another");
        s->opened[s->braces++] = s->line;
    } else if (*s->p == '}') {
        if (s->braces == 0)
            return fail(s, s->line, err, "this \"}\" closes nothing that was opened in this file");
        s->braces--;
    }
    return put(s, s->p++, 1, err);
}

static int scan_next(struct scan *s, struct err *err)
{
    const int c = peek(s, 0);

    if (is_newline(s))
        return scan_newline(s, err);
    if (c == '#' || (c == '/' && peek(s, 1) == '/')) {
        skip_line_comment(s);
        return 0;
    }
    if (c == '/' && peek(s, 1) == '*')
        return skip_block_comment(s, err);
    if (c == '"' || c == '\'')
        return scan_quoted(s, err);
    if (is_blank(c) || (c > 0 && strchr("={},", c)))
        return scan_sign(s, err);
    if (is_word(c))
        return scan_word(s, err);
    return bad_character(s, err);
}

static int scan_all(struct scan *s, struct slice text, struct err *err)
{
    s->line = 1;
    s->p = text.p;
    s->end = text.p + text.n;
    if (begin_part(s, err))
        return -1;
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        s->p += 3; /* the byte order mark that some editors write */
    while (s->p < s->end)
        if (scan_next(s, err))
            return -1;
    if (s->braces > 0)
        return fail(s, s->opened[s->braces - 1], err,
                    "the \"{\" here has no end; write \"}\" behind it");
    return 0;
}

/* All bytes of a file into the heap, at most what is left of SOURCE_MAX. */
static int slurp(struct source *src, FILE *in, const char *name, char **out_bytes, size_t *out_n,
                 struct err *err)
{
    size_t cap = 16 * 1024, n = 0, got;
    char *bytes = malloc(cap);

    while (bytes && (got = fread(bytes + n, 1, cap - n, in)) > 0) {
        void *more;

        n += got;
        if (n > SOURCE_MAX - src->read) {
            free(bytes);
            return err_set(err, EFBIG, "%s: too large; a configuration has at most %d bytes", name,
                           SOURCE_MAX);
        }
        if (n < cap)
            continue;
        cap *= 2;
        more = realloc(bytes, cap);
        if (!more)
            free(bytes);
        bytes = more;
    }
    if (!bytes)
        return err_set(err, ENOMEM, "%s: no memory for it", name);
    if (ferror(in)) {
        int code = errno;

        free(bytes);
        return err_sys(err, code, "%s", name);
    }
    src->read += n;
    *out_bytes = bytes;
    *out_n = n;
    return 0;
}

static int identify(struct scan *s, FILE *in, struct err *err)
{
    struct stat st;

    if (fstat(fileno(in), &st))
        return err_sys(err, errno, "%s", s->name);
    s->device = st.st_dev;
    s->inode = st.st_ino;
    for (const struct scan *up = s->parent; up; up = up->parent)
        if (up->device == s->device && up->inode == s->inode)
            return fail(s->parent, s->parent->line, err, "%s includes itself", s->name);
    return 0;
}

static int scan_opened(struct scan *s, FILE *in, struct err *err)
{
    char *bytes = NULL;
    size_t n = 0;
    int rc;

    if (identify(s, in, err) || slurp(s->src, in, s->name, &bytes, &n, err))
        return -1;
    rc = scan_all(s, slice_of(bytes, n), err);
    free(bytes);
    return rc;
}

static int read_file(struct source *src, const char *path, const struct scan *parent,
                     struct err *err)
{
    struct scan s = {.src = src, .parent = parent};
    FILE *in;
    int rc;

    s.name = store_file(src->conf, path, err);
    if (!s.name)
        return -1;
    s.depth = parent ? parent->depth + 1 : 0;
    if (s.depth > SOURCE_DEPTH)
        return fail(parent, parent->line, err, "files include one another more than %d deep",
                    SOURCE_DEPTH);
    in = fopen(path, "re");
    if (!in) {
        int code = errno;

        err_sys(err, code, "%s", path);
        return parent ? err_prefix(err, "%s:%u", parent->name, parent->line) : -1;
    }
    rc = scan_opened(&s, in, err);
    fclose(in);
    return rc;
}

void source_init(struct source *src, struct conf *conf)
{
    memset(src, 0, sizeof *src);
    src->conf = conf;
    src->line = 1;
    /* Quotes and the newlines around included files come on top. */
    buf_init(&src->text, 2 * (size_t)SOURCE_MAX, false);
}

void source_done(struct source *src)
{
    buf_release(&src->text);
    free(src->parts);
    src->parts = NULL;
}

int source_read(struct source *src, const char *path, struct err *err)
{
    src->is_file = true;
    return read_file(src, path, NULL, err);
}

int source_read_text(struct source *src, struct slice text, const char *name, struct err *err)
{
    struct scan s = {.src = src};

    s.name = store_file(src->conf, name, err);
    if (!s.name)
        return -1;
    if (text.n > SOURCE_MAX)
        return err_set(err, EFBIG, "%s: too large; a configuration has at most %d bytes", name,
                       SOURCE_MAX);
    return scan_all(&s, text, err);
}

struct conf_where source_where(const struct source *src, unsigned line)
{
    struct conf_where where = {.file = "", .line = 0};

    for (size_t i = src->parts_n; i-- > 0;)
        if (src->parts[i].line <= line) {
            where = src->parts[i].where;
            where.line += line - src->parts[i].line;
            break;
        }
    return where;
}
