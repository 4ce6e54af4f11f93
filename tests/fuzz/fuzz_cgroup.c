/* The text of /proc/PID/cgroup: units and containers are words of their kind that stand in it, and
 * neither its lines told twice nor lines that are none change them. */
#include "base/buf.h"
#include "ports/cgroup.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUT = 16384 };

static bool has(struct slice text, struct slice part)
{
    return memmem(text.p, text.n, part.p, part.n) != NULL;
}

static bool ends(struct slice s, struct slice end)
{
    return s.n > end.n && slice_eq(slice_sub(s, s.n - end.n, s.n), end);
}

static void check_unit(struct slice unit, struct slice text)
{
    INSIST(unit.n < CGROUP_UNIT);
    if (unit.n == 0)
        return;
    INSIST(ends(unit, SLICE(".service")) || ends(unit, SLICE(".scope")));
    INSIST(!slice_has(unit, '/') && !slice_has(unit, '\n') && has(text, unit));
}

static void check_container(struct slice container, struct slice text)
{
    static const struct slice kinds[] = {
        SLICE("docker "), SLICE("podman "),     SLICE("containerd "),
        SLICE("cri-o "),  SLICE("kubernetes "), SLICE("lxc "),
    };
    bool is_known = false;

    INSIST(container.n < CGROUP_CONTAINER);
    /* A machine's name had escapes, and may be anything. */
    if (container.n == 0 || slice_istarts(container, SLICE("machine ")))
        return;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct slice name = slice_sub(container, kinds[i].n, container.n);

        if (slice_istarts(container, kinds[i]))
            is_known = name.n > 0 && has(text, name) && !slice_has(name, '/');
    }
    INSIST(is_known);
}

static bool is_same(const struct cgroup *a, const struct cgroup *b)
{
    return strcmp(a->unit, b->unit) == 0 && strcmp(a->container, b->container) == 0;
}

/* The text, something between, and the text again, mean what it means alone. */
static void check_again(struct slice text, const char *between, const struct cgroup *found)
{
    struct cgroup again;
    struct buf b;

    buf_init(&b, 3 * MAX_INPUT, false);
    INSIST(buf_put(&b, text) == 0 && buf_puts(&b, between) == 0 && buf_put(&b, text) == 0);
    cgroup_parse(buf_slice(&b), &again);
    INSIST(is_same(found, &again));
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct cgroup found;

    if (size > MAX_INPUT)
        return 0;
    cgroup_parse(text, &found);
    check_unit(slice_str(found.unit), text);
    check_container(slice_str(found.container), text);
    check_again(text, "\n", &found);
    check_again(text, "\nno line\n7:\n::/x.service\n", &found);
    return 0;
}
