/* What the parent opens before its children start: files, the state directory, listening sockets,
 * limits. */
#include "parent/internal.h"

#include "base/log.h"
#include "net/listen.h"
#include "net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 16 * 1024 * 1024 };

/* Nobody, us included, changes it any more. */
static int seal(int fd, struct err *err)
{
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return err_sys(err, errno, "cannot seal memory");
    return 0;
}

static int copy_all(int from, int to, const char *path, struct err *err)
{
    char piece[65536];
    size_t sum = 0;
    ssize_t n;

    while ((n = read(from, piece, sizeof piece)) > 0) {
        sum += (size_t)n;
        if (sum > FILE_MAX)
            return err_set(err, 0, "%s: larger than 16 MiB", path);
        if (write(to, piece, (size_t)n) != n)
            return err_sys(err, errno, "cannot keep %s in memory", path);
    }
    wipe(piece, sizeof piece);
    return n < 0 ? err_sys(err, errno, "cannot read %s", path) : 0;
}

static int read_file(const char *path, struct err *err)
{
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to;

    if (from < 0)
        return err_sys(err, errno, "cannot open %s", path);
    to = memfd_create("usher-file", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (to < 0)
        err_sys(err, errno, "cannot make memory for %s", path);
    if (to >= 0 && (copy_all(from, to, path, err) < 0 || seal(to, err) < 0)) {
        close(to);
        to = -1;
    }
    close(from);
    return to;
}

static int add_file(struct parent *p, const char *path, struct err *err)
{
    struct given_file *more;
    int fd;

    if (!path[0])
        return 0;
    if (strlen(path) > IPC_TEXT_MAX)
        return err_set(err, ENAMETOOLONG, "a path of %zu bytes; %d is the most", strlen(path),
                       IPC_TEXT_MAX);
    for (size_t i = 0; i < p->files_n; i++) {
        if (strcmp(p->files[i].path, path) == 0)
            return 0;
    }
    more = realloc(p->files, (p->files_n + 1) * sizeof *more);
    if (!more)
        return err_set(err, ENOMEM, "out of memory");
    p->files = more;
    fd = read_file(path, err);
    if (fd < 0)
        return -1;
    p->files[p->files_n++] = (struct given_file){path, fd};
    return 0;
}

/* Backends without CAs of their own trust the system's; workers may not open files. */
static int add_ca(struct parent *p, const struct conf_backend *b, struct err *err)
{
    const char *ca = b->tls_ca[0] ? b->tls_ca : tls_system_ca_file();

    if (b->tls == BACKEND_TLS_OFF || !ca)
        return 0;
    return add_file(p, ca, err) < 0 ? err_prefix(err, "backend %s", b->title) : 0;
}

static int print_conf(struct parent *p, struct err *err)
{
    int fd = memfd_create("usher-conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int copy = fd < 0 ? -1 : dup(fd);
    FILE *f = copy < 0 ? NULL : fdopen(copy, "w");
    int done;

    if (!f) {
        if (copy >= 0)
            close(copy);
        if (fd >= 0)
            close(fd);
        return err_sys(err, errno, "cannot make memory for the configuration");
    }
    done = conf_print(p->conf, f, err);
    if (fclose(f) != 0 && done == 0)
        done = err_sys(err, errno, "cannot write the configuration to memory");
    if (done < 0 || seal(fd, err) < 0) {
        close(fd);
        return -1;
    }
    p->conf_fd = fd;
    return 0;
}

int resources_files(struct parent *p, struct err *err)
{
    const struct conf *conf = p->conf;

    if (print_conf(p, err) < 0 || add_file(p, conf->tls.certificate, err) < 0 ||
        add_file(p, conf->tls.key, err) < 0)
        return -1;
    for (size_t i = 0; i < conf->pools_n; i++) {
        for (size_t j = 0; j < conf->pools[i].backends_n; j++) {
            if (add_ca(p, &conf->pools[i].backends[j], err) < 0)
                return -1;
        }
    }
    return 0;
}

int resources_state(const struct conf *conf, struct err *err)
{
    const char *dir = conf->global.state;
    const struct passwd *pw;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_sys(err, errno, "cannot make the state directory %s", dir);
    if (geteuid() != 0)
        return access(dir, W_OK | X_OK) < 0
                   ? err_sys(err, errno, "cannot write to the state directory %s", dir)
                   : 0;
    pw = getpwnam(conf->global.user);
    if (!pw)
        return err_set(err, 0, "user \"%s\" does not exist; make it, or name another with user =",
                       conf->global.user);
    if (chown(dir, pw->pw_uid, pw->pw_gid) < 0)
        return err_sys(err, errno, "cannot give the state directory %s to user %s", dir,
                       conf->global.user);
    return 0;
}

static int open_port(struct parent *p, unsigned listener, struct addr addr, struct err *err)
{
    static const char *const tls_names[] = {"off", "starttls", "implicit"};
    struct port *more = realloc(p->ports, (p->ports_n + 1) * sizeof *more);
    struct log_line l;
    int *fds;

    if (!more)
        return err_set(err, ENOMEM, "out of memory");
    p->ports = more;
    fds = calloc(p->workers_n, sizeof *fds);
    if (!fds)
        return err_set(err, ENOMEM, "out of memory");
    if (listen_open(&addr, fds, p->workers_n, err) < 0) {
        free(fds);
        return err_prefix(err, "listener %s", p->conf->listeners[listener].title);
    }
    p->ports[p->ports_n++] = (struct port){listener, addr, fds};
    log_begin(&l, LOG_LISTENING);
    log_str(&l, "listener", p->conf->listeners[listener].title);
    log_addr(&l, "address", &addr);
    log_str(&l, "tls", tls_names[p->conf->listeners[listener].tls]);
    log_end(&l);
    return 0;
}

int resources_ports(struct parent *p, struct err *err)
{
    for (unsigned i = 0; i < p->conf->listeners_n; i++) {
        struct addr addrs[2];
        int n = listen_addresses(p->conf->listeners[i].address, addrs, err);

        if (n < 0)
            return err_prefix(err, "listener %s", p->conf->listeners[i].title);
        for (int k = 0; k < n; k++) {
            /* "*:0" is one port on both families. */
            if (k > 0 && addr_port(&addrs[k]) == 0)
                addr_set_port(&addrs[k], addr_port(&p->ports[p->ports_n - 1].addr));
            if (open_port(p, i, addrs[k], err) < 0)
                return -1;
        }
    }
    return 0;
}

void resources_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void resources_close_ports(struct parent *p)
{
    for (size_t i = 0; i < p->ports_n; i++) {
        for (unsigned k = 0; k < p->workers_n; k++)
            close_fd(p->ports[i].fds[k]);
        free(p->ports[i].fds);
    }
    free(p->ports);
    p->ports = NULL;
    p->ports_n = 0;
}

void resources_free(struct parent *p)
{
    resources_close_ports(p);
    for (size_t i = 0; i < p->files_n; i++)
        close_fd(p->files[i].fd);
    free(p->files);
    p->files = NULL;
    p->files_n = 0;
    close_fd(p->conf_fd);
    close_fd(p->counters_fd);
    close_fd(p->shared_fd);
}
