/* The names of /etc/services. */
#include "ports/machine.h"

#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 4 * 1024 * 1024 };

/* A name or an alias. */
struct service {
    const char *name;
    uint32_t order; /* in the file */
    uint16_t port;
    uint8_t protocol;
    bool is_alias;
};

struct services {
    struct service *list; /* by port, protocol, aliases last, order */
    size_t n, cap;
    char *text; /* where the names lie, each with a NUL behind it */
};

/* ---- Parsing ---- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next word of the line, which it is taken from with the blank behind it, where its NUL may be
 * put; empty at the end. */
static struct slice take_word(struct slice *line)
{
    struct slice word;
    size_t from = 0, to;

    while (from < line->n && is_blank(line->p[from]))
        from++;
    to = from;
    while (to < line->n && !is_blank(line->p[to]))
        to++;
    word = slice_sub(*line, from, to);
    *line = slice_sub(*line, to + 1, line->n);
    return word;
}

static bool is_printable(struct slice word)
{
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] <= ' ' || word.p[i] > '~')
            return false;
    return word.n > 0;
}

/* "143/tcp" */
static bool parse_port(struct slice word, uint16_t *out_port, uint8_t *out_protocol)
{
    const char *slash = word.n ? memchr(word.p, '/', word.n) : NULL;
    size_t port_n = slash ? (size_t)(slash - word.p) : 0;
    uint64_t port;

    if (!slash || !num_parse(slice_sub(word, 0, port_n), 65535, &port) || port == 0)
        return false;
    for (unsigned i = 0; i < PORT_PROTOCOLS; i++)
        if (slice_eq(slice_sub(word, port_n + 1, word.n), slice_str(port_protocol_name(i)))) {
            *out_port = (uint16_t)port;
            *out_protocol = (uint8_t)i;
            return true;
        }
    return false;
}

/* The word lies in s->text, and the byte behind it is not needed any more. */
static int add(struct services *s, const struct service *like, struct slice word, struct err *err)
{
    struct service *service;

    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 512;
        void *list = reallocarray(s->list, cap, sizeof *s->list);

        if (!list)
            return err_set(err, ENOMEM, "no memory for the names of services");
        s->list = list;
        s->cap = cap;
    }
    s->text[word.p + word.n - s->text] = '\0';
    service = &s->list[s->n];
    *service = *like;
    service->name = word.p;
    service->order = (uint32_t)s->n++;
    return 0;
}

static int parse_line(struct services *s, struct slice line, struct err *err)
{
    struct slice name = take_word(&line), port = take_word(&line), alias;
    struct service like = {.is_alias = false};

    if (!is_printable(name) || !parse_port(port, &like.port, &like.protocol))
        return 0;
    if (add(s, &like, name, err))
        return -1;
    like.is_alias = true;
    for (alias = take_word(&line); alias.n > 0; alias = take_word(&line))
        if (is_printable(alias) && add(s, &like, alias, err))
            return -1;
    return 0;
}

static int parse_lines(struct services *s, struct slice text, struct err *err)
{
    while (text.n > 0) {
        const char *newline = memchr(text.p, '\n', text.n);
        size_t end = newline ? (size_t)(newline - text.p) : text.n;
        struct slice line = slice_sub(text, 0, end);
        const char *comment = line.n ? memchr(line.p, '#', line.n) : NULL;

        if (comment)
            line.n = (size_t)(comment - line.p);
        text = slice_sub(text, end + 1, text.n);
        if (parse_line(s, line, err))
            return -1;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct service *x = a, *y = b;

    if (x->port != y->port)
        return x->port < y->port ? -1 : 1;
    if (x->protocol != y->protocol)
        return x->protocol < y->protocol ? -1 : 1;
    if (x->is_alias != y->is_alias)
        return x->is_alias ? 1 : -1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* `text` is `n` bytes and one of space; it is ours from now on. */
static int parse_owned(char *text, size_t n, struct services **out_services, struct err *err)
{
    struct services *s = calloc(1, sizeof *s);

    if (!s) {
        free(text);
        return err_set(err, ENOMEM, "no memory for the names of services");
    }
    s->text = text;
    if (parse_lines(s, slice_of(text, n), err)) {
        services_free(&s);
        return -1;
    }
    if (s->n > 0)
        qsort(s->list, s->n, sizeof *s->list, compare);
    *out_services = s;
    return 0;
}

int services_parse(struct slice text, struct services **out_services, struct err *err)
{
    char *copy = slice_dup(text);

    if (!copy)
        return err_set(err, ENOMEM, "no memory for the names of services");
    return parse_owned(copy, text.n, out_services, err);
}

/* ---- The file ---- */

/* All of the file, which was made sure to be a regular one. Bytes that it grows by meanwhile are
 * not read. */
static int read_all(int fd, const char *path, size_t size, char **out_text, size_t *out_n,
                    struct err *err)
{
    char *text = malloc(size + 1);
    size_t n = 0;

    if (!text)
        return err_set(err, ENOMEM, "no memory for %s", path);
    while (n < size) {
        ssize_t got = read(fd, text + n, size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(text);
            return err_sys(err, errno, "cannot read %s", path);
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *out_text = text;
    *out_n = n;
    return 0;
}

static int read_open(int fd, const char *path, char **out_text, size_t *out_n, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st))
        return err_sys(err, errno, "cannot look at %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, 0, "%s is no regular file", path);
    if (st.st_size > FILE_MAX)
        return err_set(err, EFBIG, "%s has more than %d MiB", path, FILE_MAX / 1024 / 1024);
    return read_all(fd, path, (size_t)st.st_size, out_text, out_n, err);
}

int services_read(const char *path, struct services **out_services, struct err *err)
{
    /* Not to wait for the other end of a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), result;
    char *text = NULL;
    size_t n = 0;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return services_parse(SLICE(""), out_services, err);
    if (fd < 0)
        return err_sys(err, errno, "cannot open %s", path);
    result = read_open(fd, path, &text, &n, err);
    close(fd);
    return result ? result : parse_owned(text, n, out_services, err);
}

void services_free(struct services **s)
{
    if (!*s)
        return;
    free((*s)->list);
    free((*s)->text);
    free(*s);
    *s = NULL;
}

/* ---- Questions ---- */

const char *services_find(const struct services *s, uint16_t port, enum port_protocol protocol)
{
    const struct service wanted = {.port = port, .protocol = (uint8_t)protocol};
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        /* `wanted` is the first that one of its port and protocol can be. */
        if (compare(&s->list[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == s->n || s->list[low].port != port || s->list[low].protocol != protocol)
        return NULL;
    return s->list[low].name;
}

bool services_find_name(const struct services *s, struct slice name, uint16_t *out_port)
{
    const struct service *found = NULL;

    for (size_t i = 0; i < s->n; i++)
        if ((!found || s->list[i].order < found->order) &&
            slice_eq(name, slice_str(s->list[i].name)))
            found = &s->list[i];
    if (!found)
        return false;
    *out_port = found->port;
    return true;
}

size_t services_count(const struct services *s)
{
    return s->n;
}

const char *services_name(const struct services *s, size_t i)
{
    INSIST(i < s->n);
    return s->list[i].name;
}

const char *services_differs(const struct services *s, uint16_t port, enum port_protocol protocol)
{
    const char *name = services_find(s, port, protocol);
    size_t first, n;

    if (!name)
        return NULL;
    n = iana_find(port, &first);
    for (size_t i = first; i < first + n; i++) {
        struct iana_entry entry = iana_entry(i);

        if (entry.protocols & 1U << protocol &&
            slice_ieq(slice_str(name), slice_str(entry.service)))
            return NULL;
    }
    return name;
}
