/* What ports mean here: their classes, and what the kernel's settings say about them. */
#include "ports/machine.h"

#include "base/buf.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All ports reserved, each written by itself, would be less. */
enum { SETTING_MAX = 512 * 1024 };

static const struct {
    const char *name;
    uint16_t first, last;
} classes[] = {
    [PORT_SYSTEM] = {"system", 0, 1023},
    [PORT_REGISTERED] = {"registered", 1024, 49151},
    [PORT_DYNAMIC] = {"dynamic", 49152, 65535},
};

enum port_class port_class(uint16_t port)
{
    if (port <= classes[PORT_SYSTEM].last)
        return PORT_SYSTEM;
    return port <= classes[PORT_REGISTERED].last ? PORT_REGISTERED : PORT_DYNAMIC;
}

const char *port_class_name(enum port_class class)
{
    return classes[class].name;
}

void port_class_range(enum port_class class, uint16_t *out_first, uint16_t *out_last)
{
    *out_first = classes[class].first;
    *out_last = classes[class].last;
}

/* ---- The kernel's settings ---- */

/* All of a file of /proc. The caller releases the buffer, whatever comes out. */
static bool read_setting(const char *proc, const char *name, struct buf *text)
{
    char path[4096];
    ssize_t got;
    char *room;
    int fd;

    buf_init(text, SETTING_MAX, false);
    if ((size_t)snprintf(path, sizeof path, "%s/sys/net/ipv4/%s", proc, name) >= sizeof path)
        return false;
    room = buf_room(text, SETTING_MAX);
    fd = room ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
    if (fd < 0)
        return false;
    /* At once: of a long set of ports the kernel gives only what the first read(2) has room for. */
    do
        got = read(fd, room, SETTING_MAX);
    while (got < 0 && errno == EINTR);
    close(fd);
    if (got <= 0 || got == SETTING_MAX)
        return false;
    buf_added(text, (size_t)got);
    return true;
}

/* Without the newline that the kernel puts at the end. */
static struct slice trimmed(struct slice s)
{
    return slice_sub(s, 0, s.n > 0 && s.p[s.n - 1] == '\n' ? s.n - 1 : s.n);
}

/* Two numbers with `between` between them, the first not above the second. */
static bool parse_pair(struct slice s, char between, uint64_t *out_first, uint64_t *out_last)
{
    const char *at = s.n ? memchr(s.p, between, s.n) : NULL;
    size_t first_n = at ? (size_t)(at - s.p) : s.n;

    return at && num_parse(slice_sub(s, 0, first_n), 65535, out_first) &&
           num_parse(slice_sub(s, first_n + 1, s.n), 65535, out_last) && *out_first <= *out_last;
}

bool machine_parse_set(struct slice text, uint64_t out_set[65536 / 64])
{
    uint64_t set[65536 / 64] = {0};

    text = trimmed(text);
    for (size_t at = 0; at < text.n;) {
        const char *comma = memchr(text.p + at, ',', text.n - at);
        size_t end = comma ? (size_t)(comma - text.p) : text.n;
        struct slice part = slice_sub(text, at, end);
        uint64_t first, last;

        if (num_parse(part, 65535, &first))
            last = first;
        else if (!parse_pair(part, '-', &first, &last))
            return false;
        for (; first <= last; first++)
            set[first / 64] |= UINT64_C(1) << first % 64;
        if (comma && end + 1 == text.n)
            return false;
        at = end + 1;
    }
    memcpy(out_set, set, sizeof set);
    return true;
}

static bool has_capability(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    memset(data, 0, sizeof data);
    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

void machine_read(const char *proc, struct machine *out_machine)
{
    struct machine m = {
        .unprivileged_from = 1024,
        .ephemeral_first = 32768,
        .ephemeral_last = 60999,
        .may_bind_all = has_capability(CAP_NET_BIND_SERVICE),
    };
    uint64_t first, last;
    struct buf text;

    if (read_setting(proc, "ip_unprivileged_port_start", &text) &&
        num_parse(trimmed(buf_slice(&text)), 65535, &first))
        m.unprivileged_from = (uint32_t)first;
    buf_release(&text);
    if (read_setting(proc, "ip_local_port_range", &text) &&
        parse_pair(trimmed(buf_slice(&text)), '\t', &first, &last) && first > 0) {
        m.ephemeral_first = (uint16_t)first;
        m.ephemeral_last = (uint16_t)last;
    }
    buf_release(&text);
    if (read_setting(proc, "ip_local_reserved_ports", &text))
        (void)machine_parse_set(buf_slice(&text), m.reserved);
    buf_release(&text);
    *out_machine = m;
}

bool machine_is_reserved(const struct machine *m, uint16_t port)
{
    return m->reserved[port / 64] >> port % 64 & 1;
}

bool machine_is_ephemeral(const struct machine *m, uint16_t port)
{
    return port >= m->ephemeral_first && port <= m->ephemeral_last && !machine_is_reserved(m, port);
}
