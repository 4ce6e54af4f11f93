/* Which processes have the sockets: the descriptors of all processes in /proc, looked up in a table
 * of the inodes that are wanted. The only costly part of a look: so no memory and no file for those
 * that have none of the sockets, but opening, listing and reading the links of their descriptors.
 */
#include "ports/look_parts.h"

#include "base/num.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* /proc/PID/status has 1.5 KiB; a cgroup of version 1 has a dozen lines, each a path. */
enum { FILE_MOST = 16384 };

struct user {
    uid_t uid;
    const char *name;
};

/* That a process has a socket. */
struct pair {
    size_t socket_i, process_i;
};

struct search {
    struct look_draft *d;
    int proc;
    /* Numbers of sockets from 1, by inode, open addressing; 0 is empty. */
    size_t *table;
    size_t mask;
    /* Of each socket, the number from 1 of the process that was last seen to have it: it may have
     * several descriptors of it. */
    size_t *seen;
    struct pair *pairs;
    size_t pairs_n, pairs_cap;
    struct user *users;
    size_t users_n, users_cap;
    struct proc_numbers pids, fds; /* here, since the compiler clears what is on the stack */
    char bytes[FILE_MOST];
};

/* --- folders of numbers ----------------------------------------------------------------------- */

void proc_numbers_begin(struct proc_numbers *it, int fd)
{
    it->fd = fd;
    it->at = it->n = 0;
}

const char *proc_numbers_next(struct proc_numbers *it)
{
    for (;;) {
        const struct dirent64 *entry;

        if (it->at == it->n) {
            ssize_t got = getdents64(it->fd, it->bytes, sizeof it->bytes);

            if (got <= 0)
                return NULL;
            it->at = 0;
            it->n = (size_t)got;
        }
        entry = (const void *)(it->bytes + it->at);
        it->at += entry->d_reclen;
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            return entry->d_name;
    }
}

/* --- small files ------------------------------------------------------------------------------ */

/* As much of a file as there is room for. */
static struct slice read_file(int folder, const char *path, char *out, size_t cap)
{
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t got;

    if (fd < 0)
        return slice_of(out, 0);
    while (n < cap && (got = read(fd, out + n, cap - n)) > 0)
        n += (size_t)got;
    close(fd);
    return slice_of(out, n);
}

void owners_cgroup(int folder, const char *path, struct cgroup *out_cgroup)
{
    char bytes[FILE_MOST];
    struct slice text = read_file(folder, path, bytes, sizeof bytes);

    /* A path that is cut might end in the name of another unit. */
    if (text.n == sizeof bytes) {
        while (text.n > 0 && bytes[text.n - 1] != '\n')
            text.n--;
    }
    cgroup_parse(text, out_cgroup);
}

const char *owners_user(uid_t uid, char out[USER_TEXT])
{
    char bytes[8192];
    struct passwd pw, *found = NULL;

    /* -1 is nobody's number: it stands for one that could not be read. */
    if (uid == (uid_t)-1)
        snprintf(out, USER_TEXT, "?");
    else if (getpwuid_r(uid, &pw, bytes, sizeof bytes, &found) == 0 && found && found->pw_name[0])
        snprintf(out, USER_TEXT, "%s", found->pw_name);
    else
        snprintf(out, USER_TEXT, "%u", (unsigned)uid);
    return out;
}

static const char *user_name(struct search *s, uid_t uid)
{
    char name[USER_TEXT];
    struct user *users;

    for (size_t i = 0; i < s->users_n; i++) {
        if (s->users[i].uid == uid)
            return s->users[i].name;
    }
    users = draft_room(s->users, s->users_n, &s->users_cap, sizeof *users);
    if (!users)
        return NULL;
    s->users = users;
    owners_user(uid, name);
    users[s->users_n] = (struct user){uid, draft_text(s->d, slice_str(name), TEXT_MOST)};
    return users[s->users_n].name ? users[s->users_n++].name : NULL;
}

/* --- a process that has one of the sockets ---------------------------------------------------- */

static const char *read_name(struct search *s, int fds)
{
    struct slice text = read_file(fds, "../comm", s->bytes, sizeof s->bytes);

    if (text.n > 0 && text.p[text.n - 1] == '\n')
        text.n--;
    return draft_text(s->d, text.n > 0 ? text : SLICE("?"), TEXT_MOST);
}

/* NUL stands between the words, and often in a row at the end where a process has written its own
 * title. */
static const char *read_command(struct search *s, int fds)
{
    struct slice text = read_file(fds, "../cmdline", s->bytes, sizeof s->bytes);

    while (text.n > 0 && (text.p[text.n - 1] == '\0' || text.p[text.n - 1] == ' '))
        text.n--;
    for (size_t i = 0; i < text.n; i++) {
        if (s->bytes[i] == '\0')
            s->bytes[i] = ' ';
    }
    return draft_text(s->d, text, TEXT_MOST_COMMAND);
}

/* The second number of "Uid:" is the effective one. */
static uid_t read_uid(struct search *s, int fds)
{
    struct slice text = read_file(fds, "../status", s->bytes, sizeof s->bytes - 1);
    const char *line;
    char *end;

    s->bytes[text.n] = '\0';
    line = strstr(s->bytes, "\nUid:");
    if (!line)
        return (uid_t)-1;
    (void)strtoul(line + 5, &end, 10);
    return (uid_t)strtoul(end, NULL, 10);
}

static int add_process(struct search *s, pid_t pid, int fds, struct err *err)
{
    struct look *look = &s->d->look;
    struct look_process *processes =
        draft_room(look->processes, look->processes_n, &s->d->processes_cap, sizeof *processes);
    struct cgroup cgroup;
    struct look_process p = {.pid = pid};

    if (!processes)
        return draft_no_memory(err);
    look->processes = processes;
    p.name = read_name(s, fds);
    p.command = read_command(s, fds);
    p.uid = read_uid(s, fds);
    p.user = user_name(s, p.uid);
    owners_cgroup(fds, "../cgroup", &cgroup);
    p.unit = draft_text(s->d, slice_str(cgroup.unit), TEXT_MOST);
    p.container = draft_text(s->d, slice_str(cgroup.container), TEXT_MOST);
    if (!p.name || !p.command || !p.user || !p.unit || !p.container)
        return draft_no_memory(err);
    processes[look->processes_n++] = p;
    return 0;
}

/* --- the search ------------------------------------------------------------------------------- */

static size_t slot_of(const struct search *s, uint64_t inode)
{
    return num_mix(inode) & s->mask;
}

static int make_tables(struct search *s, struct err *err)
{
    size_t n = s->d->look.sockets_n, size = 16;

    while (size < 4 * n)
        size *= 2;
    s->mask = size - 1;
    s->table = calloc(size, sizeof *s->table);
    s->seen = calloc(n, sizeof *s->seen);
    if (!s->table || !s->seen)
        return draft_no_memory(err);
    for (size_t i = 0; i < n; i++) {
        size_t slot = slot_of(s, s->d->look.sockets[i].inode);

        if (s->d->look.sockets[i].inode == 0)
            continue; /* nobody's: of the kernel, or closed already */
        while (s->table[slot])
            slot = (slot + 1) & s->mask;
        s->table[slot] = i + 1;
    }
    return 0;
}

/* That the process, number `process_i`, has a socket with the inode, if that is wanted. */
static int match(struct search *s, uint64_t inode, pid_t pid, size_t process_i, int fds,
                 struct err *err)
{
    for (size_t slot = slot_of(s, inode); s->table[slot]; slot = (slot + 1) & s->mask) {
        size_t i = s->table[slot] - 1;
        struct pair *pairs;

        if (s->d->look.sockets[i].inode != inode || s->seen[i] == process_i + 1)
            continue;
        if (s->d->look.processes_n == process_i && add_process(s, pid, fds, err) < 0)
            return -1;
        pairs = draft_room(s->pairs, s->pairs_n, &s->pairs_cap, sizeof *pairs);
        if (!pairs)
            return draft_no_memory(err);
        s->pairs = pairs;
        pairs[s->pairs_n++] = (struct pair){i, process_i};
        s->d->look.sockets[i].processes_n++;
        s->seen[i] = process_i + 1;
    }
    return 0;
}

/* "socket:[1234]" */
static bool parse_link(const char *link, size_t n, uint64_t *out_inode)
{
    const struct slice before = SLICE("socket:[");

    if (n <= before.n || memcmp(link, before.p, before.n) != 0 || link[n - 1] != ']')
        return false;
    return num_parse(slice_of(link + before.n, n - before.n - 1), UINT64_MAX, out_inode);
}

/* Threads of the kernel and what is left of a process that has ended have no memory, and no
 * descriptors to hide. */
static bool has_memory(struct search *s, const char *pid)
{
    char path[64];
    struct slice text;

    snprintf(path, sizeof path, "%s/statm", pid);
    text = read_file(s->proc, path, s->bytes, sizeof s->bytes);
    return text.n > 0 && text.p[0] != '0';
}

static int look_at_descriptors(struct search *s, const char *pid, int fds, struct err *err)
{
    size_t process_i = s->d->look.processes_n;
    const char *name;

    proc_numbers_begin(&s->fds, fds);
    while ((name = proc_numbers_next(&s->fds))) {
        char link[64];
        ssize_t n = readlinkat(fds, name, link, sizeof link);
        uint64_t inode;

        if (n < 0 && (errno == EACCES || errno == EPERM)) {
            s->d->look.hidden_processes++;
            return 0;
        }
        if (n > 0 && parse_link(link, (size_t)n, &inode) &&
            match(s, inode, (pid_t)strtol(pid, NULL, 10), process_i, fds, err) < 0)
            return -1;
    }
    return 0;
}

static int look_at_process(struct search *s, const char *pid, struct err *err)
{
    char path[64];
    int fds, done;

    snprintf(path, sizeof path, "%s/fd", pid);
    fds = openat(s->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fds >= 0) {
        done = look_at_descriptors(s, pid, fds, err);
        close(fds);
        return done;
    }
    if (errno == EACCES || errno == EPERM)
        s->d->look.hidden_processes += has_memory(s, pid);
    else if (errno != ENOENT && errno != ESRCH)
        return err_sys(err, errno, "cannot read /proc/%s", path);
    return 0;
}

/* Pairs come process by process, and processes by pid. */
static int give_out(struct search *s, struct err *err)
{
    struct look *look = &s->d->look;
    size_t at = 0;

    s->d->owners = calloc(s->pairs_n + 1, sizeof *s->d->owners);
    if (!s->d->owners)
        return draft_no_memory(err);
    for (size_t i = 0; i < look->sockets_n; i++) {
        look->sockets[i].processes_i = s->d->owners + at;
        at += look->sockets[i].processes_n;
        look->sockets[i].processes_n = 0;
    }
    for (size_t i = 0; i < s->pairs_n; i++) {
        struct look_socket *socket = &look->sockets[s->pairs[i].socket_i];

        socket->processes_i[socket->processes_n++] = s->pairs[i].process_i;
    }
    return 0;
}

static int search_all(struct search *s, struct err *err)
{
    const char *pid;

    if (make_tables(s, err) < 0)
        return -1;
    proc_numbers_begin(&s->pids, s->proc);
    while ((pid = proc_numbers_next(&s->pids))) {
        if (look_at_process(s, pid, err) < 0)
            return -1;
    }
    return give_out(s, err);
}

static int find_in(struct look_draft *d, int proc, struct err *err)
{
    struct search s = {.d = d, .proc = proc};
    int done = search_all(&s, err);

    free(s.table);
    free(s.seen);
    free(s.pairs);
    free(s.users);
    return done;
}

int owners_find(struct look_draft *d, struct err *err)
{
    int proc, done;

    if (d->look.sockets_n == 0)
        return 0;
    proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return 0; /* nobody is seen; the sockets still are */
    done = find_in(d, proc, err);
    close(proc);
    return done;
}
