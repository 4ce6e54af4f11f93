/* Sockets from /proc/net (proc_net(5)), for where the kernel refuses sock_diag. */
#include "ports/look_parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A line of inet sockets has 150 bytes, one of unix sockets at most 108 more than 60. A longer one
 * is passed over, and what lies behind so much of a file is not looked at. */
enum { BUFFER = 16384, FILE_MOST = 1 << 30 };

/* The bit of a flag of listening unix sockets (__SO_ACCEPTCON). */
enum { ACCEPTS = 0x10000 };

/* --- lines ------------------------------------------------------------------------------------ */

/* The next word, without the blanks before it; empty at the end. */
static struct slice next_word(struct slice *line)
{
    size_t start = 0, end;
    struct slice word;

    while (start < line->n && line->p[start] == ' ')
        start++;
    for (end = start; end < line->n && line->p[end] != ' ';)
        end++;
    word = slice_sub(*line, start, end);
    *line = slice_sub(*line, end, line->n);
    return word;
}

static bool parse_number(struct slice s, unsigned base, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;

    if (s.n == 0 || s.n > 16)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        unsigned digit = base;

        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A') + 10;
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        if (digit >= base || value > (most - digit) / base)
            return false;
        value = value * base + digit;
    }
    *out = value;
    return true;
}

/* Cuts "left:right" in two. */
static bool split(struct slice s, struct slice *out_left, struct slice *out_right)
{
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;

    if (!colon)
        return false;
    *out_left = slice_sub(s, 0, (size_t)(colon - s.p));
    *out_right = slice_sub(s, out_left->n + 1, s.n);
    return true;
}

/* "0100007F:1F90": each 32 bits of the address as a number of this machine, the port as a number.
 */
static bool parse_addr(struct slice s, int family, struct addr *out_addr)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    uint32_t words[4];
    size_t n = family == AF_INET6 ? 4 : 1;
    struct slice ip, port;
    uint64_t number, value;

    if (!split(s, &ip, &port) || ip.n != 8 * n || !parse_number(port, 16, UINT16_MAX, &number))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!parse_number(slice_sub(ip, 8 * i, 8 * i + 8), 16, UINT32_MAX, &value))
            return false;
        words[i] = (uint32_t)value;
    }
    if (family == AF_INET6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)number)};

        memcpy(&in6.sin6_addr, words, sizeof in6.sin6_addr);
        memcpy(&ss, &in6, sizeof in6);
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number)};

        memcpy(&in.sin_addr, words, sizeof in.sin_addr);
        memcpy(&ss, &in, sizeof in);
    }
    *out_addr = addr_from_sockaddr(&ss);
    return true;
}

/* Number, local address, remote address, state, both queues, timer, retransmissions, user,
 * timeout, inode; more follows. */
bool procnet_parse(struct slice line, int family, struct seen_socket *out_seen)
{
    struct seen_socket seen = {0};
    struct slice words[10], sent, received;
    uint64_t state, queue, uid, inode;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        words[i] = next_word(&line);
    if (!parse_addr(words[1], family, &seen.addr) ||
        !parse_number(words[3], 16, UINT8_MAX, &state) || !split(words[4], &sent, &received) ||
        !parse_number(received, 16, UINT32_MAX, &queue) ||
        !parse_number(words[7], 10, UINT32_MAX, &uid) ||
        !parse_number(words[9], 10, UINT32_MAX, &inode))
        return false;
    seen.state = (unsigned)state;
    seen.queue = (uint32_t)queue;
    seen.uid = (uint32_t)uid;
    seen.inode = inode;
    *out_seen = seen;
    return true;
}

/* Address of the kernel, references, protocol, flags, type, state, inode, name. Of an abstract
 * name each NUL is '@' here, so that what only begins with '@' cannot be told from it. */
bool procnet_parse_unix(struct slice line, char name[PROCNET_NAME], struct seen_unix *out_seen)
{
    struct slice words[7];
    uint64_t flags, type, inode;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        words[i] = next_word(&line);
    if (!parse_number(words[3], 16, UINT32_MAX, &flags) || !(flags & ACCEPTS) ||
        !parse_number(words[4], 16, UINT16_MAX, &type) || type != SOCK_STREAM ||
        !parse_number(words[6], 10, UINT32_MAX, &inode) || line.n < 2 || line.n > PROCNET_NAME)
        return false;
    line = slice_sub(line, 1, line.n);
    memcpy(name, line.p, line.n);
    if (name[0] == '@')
        name[0] = '\0';
    *out_seen =
        (struct seen_unix){.name = slice_of(name, line.n), .uid = UINT32_MAX, .inode = inode};
    return true;
}

/* --- files ------------------------------------------------------------------------------------ */

struct reading {
    struct look_draft *d;
    const struct socket_kind *kind;
    uint32_t states;
    bool is_v6only; /* what sockets are that do not ask for either */
};

static int on_line(const struct reading *r, struct slice line, struct err *err)
{
    char name[PROCNET_NAME];
    struct seen_socket seen;
    struct seen_unix seen_unix;

    if (r->kind->family == AF_UNIX) {
        if (!procnet_parse_unix(line, name, &seen_unix))
            return 0;
        return draft_seen_unix(r->d, &seen_unix, err);
    }
    if (!procnet_parse(line, r->kind->family, &seen) || seen.state > LOOK_TCP_STATES ||
        !(r->states >> seen.state & 1))
        return 0;
    seen.protocol = r->kind->protocol;
    seen.is_v6only = r->is_v6only;
    return draft_seen(r->d, &seen, err);
}

/* Calls on_line for each line; *out_code is why the file cannot be read. */
static int read_lines(int fd, const struct reading *r, int *out_code, struct err *err)
{
    char bytes[BUFFER];
    size_t n = 0, all = 0;
    bool is_too_long = false;
    ssize_t got;

    while (all < FILE_MOST && (got = read(fd, bytes + n, sizeof bytes - n)) > 0) {
        struct slice rest = slice_of(bytes, n + (size_t)got);
        const char *newline;

        all += (size_t)got;
        while (rest.n > 0 && (newline = memchr(rest.p, '\n', rest.n))) {
            struct slice line = slice_sub(rest, 0, (size_t)(newline - rest.p));

            if (!is_too_long && on_line(r, line, err) < 0)
                return -1;
            is_too_long = false;
            rest = slice_sub(rest, line.n + 1, rest.n);
        }
        if (rest.n == sizeof bytes) {
            is_too_long = true;
            rest.n = 0;
        }
        memmove(bytes, rest.p, rest.n);
        n = rest.n;
    }
    *out_code = all < FILE_MOST && got < 0 ? errno : 0;
    return 0;
}

static bool is_v6only_by_default(void)
{
    int fd = open("/proc/sys/net/ipv6/bindv6only", O_RDONLY | O_CLOEXEC);
    char digit = '0';

    if (fd >= 0) {
        (void)!read(fd, &digit, 1);
        close(fd);
    }
    return digit == '1';
}

/* Whether an IPv4 socket has the port of `s`, so that this cannot have it too. */
static bool is_taken_in_ipv4(const struct look_draft *d, const struct look_socket *s)
{
    for (size_t i = 0; i < d->look.sockets_n; i++) {
        const struct look_socket *other = &d->look.sockets[i];

        if (other->namespace_i == s->namespace_i && other->protocol == s->protocol &&
            other->addr.sa.sa_family == AF_INET && addr_port(&other->addr) == addr_port(&s->addr))
            return true;
    }
    return false;
}

int procnet_collect(struct look_draft *d, const struct socket_kind *kind, uint32_t states,
                    int *out_code, struct err *err)
{
    struct reading reading = {.d = d, .kind = kind, .states = states};
    size_t before = d->look.sockets_n;
    char path[64];
    int fd, done;

    /* Of this thread, since it may be in another namespace than it was. */
    snprintf(path, sizeof path, "/proc/thread-self/net/%s", kind->file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *out_code = errno;
        return 0;
    }
    reading.is_v6only = kind->family == AF_INET6 && is_v6only_by_default();
    done = read_lines(fd, &reading, out_code, err);
    close(fd);
    for (size_t i = before; i < d->look.sockets_n; i++) {
        struct look_socket *s = &d->look.sockets[i];

        s->takes_ipv4 = s->takes_ipv4 && !is_taken_in_ipv4(d, s);
    }
    return done;
}
