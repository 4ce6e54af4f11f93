/* Units of systemd and containers, from the paths of /proc/PID/cgroup (cgroups(7)). Pure. */
#ifndef USHER_PORTS_CGROUP_H
#define USHER_PORTS_CGROUP_H

#include "base/slice.h"

enum { CGROUP_UNIT = 256, CGROUP_CONTAINER = 300 };

/* Bytes as they stand in the paths, not yet fit for showing; "": none. */
struct cgroup {
    char unit[CGROUP_UNIT];           /* "dovecot.service", as systemctl(1) takes it */
    char container[CGROUP_CONTAINER]; /* "docker 1f2e3d4c5b6a", "lxc NAME": see look_process */
};

/* Any bytes; lines that are none are passed over. */
void cgroup_parse(struct slice text, struct cgroup *out_cgroup);

#endif
