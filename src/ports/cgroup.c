/* Units of systemd and containers, from the paths of /proc/PID/cgroup (cgroups(7)): of version 2
 * ("0::/path"), of version 1 ("4:memory:/path"), and of both together. Pure.
 *
 * A path is walked from the outside to the inside, and the innermost unit and container count. No
 * unit is a scope that only stands for a container, and whoever is in a container of a user is in
 * no unit of that user's manager.
 */
#include "ports/cgroup.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

/* Digits of an identity in full, and those that the runtimes' own tools show. */
enum { ID = 64, ID_SHOWN = 12 };

/* What stands before the identity: "docker-1f2e....scope". */
static const struct runtime {
    struct slice prefix;
    const char *name;
} runtimes[] = {
    {SLICE("docker"), "docker"},         {SLICE("libpod"), "podman"},
    {SLICE("libpod-conmon"), "podman"}, /* keeps the container's ports while it runs */
    {SLICE("libpod-payload"), "podman"}, {SLICE("cri-containerd"), "containerd"},
    {SLICE("nerdctl"), "containerd"},    {SLICE("crio"), "cri-o"},
    {SLICE("crio-conmon"), "cri-o"},
};

static bool starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static bool ends(struct slice s, struct slice suffix)
{
    return s.n >= suffix.n && memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0;
}

/* Takes a beginning (an end) off, and says whether it was there. */
static bool cut_start(struct slice *s, struct slice prefix)
{
    if (!starts(*s, prefix))
        return false;
    *s = slice_sub(*s, prefix.n, s->n);
    return true;
}

static bool cut_end(struct slice *s, struct slice suffix)
{
    if (!ends(*s, suffix))
        return false;
    s->n -= suffix.n;
    return true;
}

static bool contains(struct slice s, struct slice part)
{
    return s.n >= part.n && memmem(s.p, s.n, part.p, part.n);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether a component ends in an identity, alone or behind '-' or ':'; what stands before that is
 * *out_prefix. */
static bool split_id(struct slice s, struct slice *out_prefix, struct slice *out_id)
{
    struct slice id;

    (void)cut_end(&s, SLICE(".scope"));
    if (s.n < ID)
        return false;
    id = slice_sub(s, s.n - ID, s.n);
    for (size_t i = 0; i < id.n; i++) {
        if (hex_digit(id.p[i]) < 0)
            return false;
    }
    s.n -= ID;
    if (s.n > 0) {
        if (s.p[s.n - 1] != '-' && s.p[s.n - 1] != ':')
            return false;
        s.n--;
    }
    *out_prefix = s;
    *out_id = id;
    return true;
}

/* "kubepods-burstable-pod7.slice:cri-containerd" is what containerd makes of its slice, its own
 * word and the identity when told the wrong driver. */
static const char *runtime_of(struct slice prefix)
{
    for (size_t i = prefix.n; i > 0; i--) {
        if (prefix.p[i - 1] == ':') {
            prefix = slice_sub(prefix, i, prefix.n);
            break;
        }
    }
    for (size_t i = 0; i < sizeof runtimes / sizeof runtimes[0]; i++) {
        if (slice_eq(prefix, runtimes[i].prefix))
            return runtimes[i].name;
    }
    return NULL;
}

static void set_container(struct cgroup *out, const char *kind, struct slice name)
{
    snprintf(out->container, sizeof out->container, "%s %.*s", kind, SLICE_ARG(name));
}

/* What "\x2d" at the beginning stands for; 0: there is no such thing. */
static char escaped_char(struct slice s)
{
    int high, low;

    if (s.n < 4 || s.p[0] != '\\' || s.p[1] != 'x')
        return '\0';
    high = hex_digit(s.p[2]);
    low = hex_digit(s.p[3]);
    return (char)(high >= 0 && low >= 0 ? high * 16 + low : 0);
}

/* Without systemd's escapes: "my\x2dmachine" is "my-machine". Returns what is in `out`. */
static struct slice unescaped(struct slice s, char *out, size_t cap)
{
    size_t n = 0;

    while (s.n > 0 && n < cap) {
        char c = escaped_char(s);

        out[n++] = c ? c : s.p[0];
        s = slice_sub(s, c ? 4 : 1, s.n);
    }
    return slice_of(out, n);
}

static bool machine_of(struct slice name, struct cgroup *out)
{
    char machine[CGROUP_UNIT];

    if (name.n == 0)
        return false;
    set_container(out, "machine", unescaped(name, machine, sizeof machine));
    return true;
}

/* A component that only stands for a container; `parent` is the one before it. */
static bool is_container(struct slice component, struct slice parent, bool is_kubernetes,
                         struct cgroup *out)
{
    struct slice prefix, id;

    if (split_id(component, &prefix, &id)) {
        const char *runtime = runtime_of(prefix);

        if (prefix.n == 0 && slice_eq(parent, SLICE("docker")))
            runtime = "docker";
        if (is_kubernetes && (runtime || prefix.n == 0))
            runtime = "kubernetes";
        if (runtime)
            set_container(out, runtime, slice_sub(id, 0, ID_SHOWN));
        return runtime != NULL;
    }
    if ((cut_start(&component, SLICE("lxc.payload.")) || slice_eq(parent, SLICE("lxc.payload")) ||
         slice_eq(parent, SLICE("lxc"))) &&
        component.n > 0) {
        set_container(out, "lxc", component);
        return true;
    }
    return cut_start(&component, SLICE("machine-")) && cut_end(&component, SLICE(".scope")) &&
           machine_of(component, out);
}

/* systemd writes '_' before a name that the kernel's own files could have. */
static void set_unit(struct slice component, struct cgroup *out)
{
    struct slice machine = component;

    (void)cut_start(&component, SLICE("_"));
    if (component.n <= sizeof ".service" - 1 || component.n >= sizeof out->unit ||
        !(ends(component, SLICE(".service")) || ends(component, SLICE(".scope"))))
        return;
    snprintf(out->unit, sizeof out->unit, "%.*s", SLICE_ARG(component));
    if (cut_start(&machine, SLICE("systemd-nspawn@")) && cut_end(&machine, SLICE(".service")))
        (void)machine_of(machine, out);
}

static void parse_path(struct slice path, struct cgroup *out)
{
    struct slice parent = SLICE("");
    bool is_kubernetes = false;

    memset(out, 0, sizeof *out);
    (void)cut_end(&path, SLICE(" (deleted)"));
    while (path.n > 0) {
        const char *slash = memchr(path.p, '/', path.n);
        size_t n = slash ? (size_t)(slash - path.p) : path.n;
        struct slice component = slice_sub(path, 0, n);

        path = slice_sub(path, n + 1, path.n);
        is_kubernetes = is_kubernetes || contains(component, SLICE("kubepods"));
        if (!is_container(component, parent, is_kubernetes, out))
            set_unit(component, out);
        else if (starts(slice_str(out->unit), SLICE("user@")))
            out->unit[0] = '\0';
        parent = component;
    }
}

/* How much a line tells of units: version 2 most, systemd's own hierarchy of version 1 next, the
 * others nothing; false: it is no line. */
static bool parse_line(struct slice line, unsigned *out_rank, struct slice *out_path)
{
    const char *first = line.n ? memchr(line.p, ':', line.n) : NULL;
    const char *second =
        first ? memchr(first + 1, ':', line.n - (size_t)(first + 1 - line.p)) : NULL;
    struct slice controllers;
    uint64_t number;

    if (!second || slice_has(line, '\0') ||
        !num_parse(slice_of(line.p, (size_t)(first - line.p)), UINT32_MAX, &number))
        return false;
    controllers = slice_of(first + 1, (size_t)(second - first - 1));
    *out_path = slice_sub(line, (size_t)(second + 1 - line.p), line.n);
    if (controllers.n == 0)
        *out_rank = 0;
    else
        *out_rank = slice_eq(controllers, SLICE("name=systemd")) ? 1 : 2;
    return true;
}

void cgroup_parse(struct slice text, struct cgroup *out_cgroup)
{
    unsigned unit_rank = 2, container_rank = 3;

    memset(out_cgroup, 0, sizeof *out_cgroup);
    while (text.n > 0) {
        const char *newline = memchr(text.p, '\n', text.n);
        size_t n = newline ? (size_t)(newline - text.p) : text.n;
        struct slice path;
        struct cgroup found;
        unsigned rank;

        if (parse_line(slice_sub(text, 0, n), &rank, &path)) {
            parse_path(path, &found);
            if (found.unit[0] && rank < unit_rank) {
                memcpy(out_cgroup->unit, found.unit, sizeof found.unit);
                unit_rank = rank;
            }
            if (found.container[0] && rank < container_rank) {
                memcpy(out_cgroup->container, found.container, sizeof found.container);
                container_rank = rank;
            }
        }
        text = slice_sub(text, n + 1, text.n);
    }
}
