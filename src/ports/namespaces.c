/* Other network namespaces: finding, entering and naming them. What is seen there is left to
 * sockets.c.
 *
 * A namespace has no name and no list of its own in the kernel: it is found by a process that lives
 * in it, or by a file that ip-netns(8) has bound it to.
 */
#include "ports/look_parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char named[] = "/run/netns";
static const char our_own[] = "/proc/thread-self/ns/net";

int namespaces_ours(struct look_draft *d, struct err *err)
{
    struct look_namespace *ours;
    struct stat st;

    ours = draft_namespace(d, stat(our_own, &st) == 0 ? st.st_ino : 0);
    if (!ours)
        return draft_no_memory(err);
    ours->is_ours = true;
    ours->pid = getpid();
    return 0;
}

/* --- finding ---------------------------------------------------------------------------------- */

/* The number of a namespace that is known already, or SIZE_MAX. */
static size_t find(const struct look_draft *d, uint64_t inode)
{
    for (size_t i = 0; i < d->look.namespaces_n; i++) {
        if (d->look.namespaces[i].inode == inode)
            return i;
    }
    return SIZE_MAX;
}

/* "net:[4026531840]" */
static bool parse_link(const char *link, uint64_t *out_inode)
{
    char *end;

    if (strncmp(link, "net:[", 5) != 0)
        return false;
    *out_inode = strtoull(link + 5, &end, 10);
    return *end == ']';
}

static int find_by_processes(struct look_draft *d, int proc, struct err *err)
{
    struct proc_numbers pids;
    const char *name;

    proc_numbers_begin(&pids, proc);
    while ((name = proc_numbers_next(&pids))) {
        char path[64], link[64];
        struct look_namespace *new;
        uint64_t inode;
        ssize_t n;

        snprintf(path, sizeof path, "%s/ns/net", name);
        n = readlinkat(proc, path, link, sizeof link - 1);
        if (n < 0)
            continue; /* it has ended, or is hidden from us */
        link[n] = '\0';
        if (!parse_link(link, &inode) || find(d, inode) != SIZE_MAX)
            continue;
        new = draft_namespace(d, inode);
        if (!new)
            return draft_no_memory(err);
        new->pid = (pid_t)strtol(name, NULL, 10);
        d->ways[d->look.namespaces_n - 1].pid = new->pid;
    }
    return 0;
}

static int name_one(struct look_draft *d, uint64_t inode, const char *file, struct err *err)
{
    size_t i = find(d, inode);

    if (i == SIZE_MAX) {
        if (!draft_namespace(d, inode))
            return draft_no_memory(err);
        i = d->look.namespaces_n - 1;
    }
    if (d->look.namespaces[i].name[0])
        return 0;
    d->ways[i].file = draft_copy(d, slice_str(file));
    d->look.namespaces[i].name = draft_text(d, slice_str(file), TEXT_MOST);
    return d->ways[i].file && d->look.namespaces[i].name ? 0 : draft_no_memory(err);
}

/* A file there that nothing is bound to any more is on another device than our own namespace. */
static int find_by_names(struct look_draft *d, dev_t device, struct err *err)
{
    DIR *folder = opendir(named);
    const struct dirent *entry;
    int done = 0;

    while (folder && done == 0 && (entry = readdir(folder))) {
        struct stat st;

        if (fstatat(dirfd(folder), entry->d_name, &st, 0) == 0 && st.st_dev == device)
            done = name_one(d, st.st_ino, entry->d_name, err);
    }
    if (folder)
        closedir(folder);
    return done;
}

/* --- entering --------------------------------------------------------------------------------- */

/* Opens what `path` names if it still is the namespace; else -1 with errno. */
static int open_if(const char *path, uint64_t inode)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || (fstat(fd, &st) == 0 && st.st_ino == inode))
        return fd;
    close(fd);
    errno = ENOENT;
    return -1;
}

static int open_way(const struct draft_way *way, uint64_t inode)
{
    char path[sizeof named + 1 + 256];
    int fd = -1;

    errno = ENOENT;
    if (way->file) {
        snprintf(path, sizeof path, "%s/%s", named, way->file);
        fd = open_if(path, inode);
    }
    if (fd < 0 && way->pid) {
        snprintf(path, sizeof path, "/proc/%d/ns/net", (int)way->pid);
        fd = open_if(path, inode);
    }
    return fd;
}

/* One that has ended meanwhile is not hidden. */
static int collect_in(struct look_draft *d, size_t i, int own, struct err *err)
{
    int fd = open_way(&d->ways[i], d->look.namespaces[i].inode), done;

    if (fd < 0) {
        if (errno != ENOENT && errno != ESRCH)
            d->look.hidden_namespaces++;
        return 0;
    }
    if (setns(fd, CLONE_NEWNET) < 0) {
        d->look.hidden_namespaces++;
        close(fd);
        return 0;
    }
    close(fd);
    d->here = i;
    done = sockets_collect(d, err);
    d->here = 0;
    /* Whatever we did from now on would be done in the wrong place. */
    INSIST(setns(own, CLONE_NEWNET) == 0);
    return done;
}

static int find_all(struct look_draft *d, int own, struct err *err)
{
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), done = 0;
    struct stat st;

    if (proc >= 0) {
        done = find_by_processes(d, proc, err);
        close(proc);
    }
    if (done == 0 && fstat(own, &st) == 0)
        done = find_by_names(d, st.st_dev, err);
    return done;
}

int namespaces_collect(struct look_draft *d, struct err *err)
{
    int own = open(our_own, O_RDONLY | O_CLOEXEC), done;

    /* Without /proc nobody else is seen either. */
    if (own < 0)
        return 0;
    done = find_all(d, own, err);
    /* Who may not come back does not go: within a user namespace of our own those below it are open
     * to us, and the one that we are in is not. */
    if (done == 0 && setns(own, CLONE_NEWNET) < 0)
        d->look.hidden_namespaces = d->look.namespaces_n - 1;
    else
        for (size_t i = 1; done == 0 && i < d->look.namespaces_n; i++)
            done = collect_in(d, i, own, err);
    close(own);
    return done;
}

/* --- naming ----------------------------------------------------------------------------------- */

static int name_by_container(struct look_draft *d, struct look_namespace *ns, struct err *err)
{
    struct cgroup cgroup;
    char path[64];

    if (ns->name[0] || ns->pid == 0 || ns->is_ours)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)ns->pid);
    owners_cgroup(AT_FDCWD, path, &cgroup);
    ns->name = draft_text(d, slice_str(cgroup.container), TEXT_MOST);
    return ns->name ? 0 : draft_no_memory(err);
}

int namespaces_tidy(struct look_draft *d, struct err *err)
{
    struct look *look = &d->look;
    size_t kept = 0, next = 0;

    /* Sockets were seen one namespace after the other. */
    for (size_t i = 0; i < look->namespaces_n; i++) {
        size_t first = next;

        while (next < look->sockets_n && look->sockets[next].namespace_i == i)
            look->sockets[next++].namespace_i = kept;
        if (next == first && i > 0)
            continue;
        look->namespaces[kept] = look->namespaces[i];
        if (name_by_container(d, &look->namespaces[kept], err) < 0)
            return -1;
        kept++;
    }
    look->namespaces_n = kept;
    return 0;
}
