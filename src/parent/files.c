/* Files into sealed memory. */
#include "parent/files.h"

#include "ipc/message.h"
#include "net/tls.h"
#include "worker/check_password.h"
#include "worker/tls_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 16 * 1024 * 1024 };

int files_seal(int fd, struct err *err)
{
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return err_sys(err, errno, "cannot seal memory");
    return 0;
}

static int copy_pieces(int from, int to, char *piece, size_t cap, const char *path, struct err *err)
{
    size_t sum = 0;
    ssize_t n;

    while ((n = read(from, piece, cap)) > 0) {
        sum += (size_t)n;
        if (sum > FILE_MAX)
            return err_set(err, 0, "%s: larger than 16 MiB", path);
        if (write(to, piece, (size_t)n) != n)
            return err_sys(err, errno, "cannot keep %s in memory", path);
    }
    return n < 0 ? err_sys(err, errno, "cannot read %s", path) : 0;
}

static int copy_all(int from, int to, const char *path, struct err *err)
{
    char piece[65536];
    int done = copy_pieces(from, to, piece, sizeof piece, path, err);

    wipe(piece, sizeof piece);
    return done;
}

/* Without waiting: whoever opens a pipe would wait for its writer. */
static int open_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return err_sys(err, errno, "cannot open %s", path);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return err_set(err, 0, "%s is not a file", path);
}

static int read_file(const char *path, struct err *err)
{
    int from = open_file(path, err);
    int to;

    if (from < 0)
        return -1;
    to = memfd_create("usher-file", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (to < 0)
        err_sys(err, errno, "cannot make memory for %s", path);
    if (to >= 0 && (copy_all(from, to, path, err) < 0 || files_seal(to, err) < 0)) {
        close(to);
        to = -1;
    }
    close(from);
    return to;
}

/* For us to look at; keys and passwords shall not be in a core. */
static int map_file(struct given_file *f, struct err *err)
{
    struct stat st;

    if (fstat(f->fd, &st) < 0)
        return err_sys(err, errno, "cannot look at memory");
    if (st.st_size == 0)
        return 0;
    f->data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, f->fd, 0);
    if (f->data == MAP_FAILED) {
        f->data = NULL;
        return err_sys(err, errno, "cannot map memory");
    }
    f->n = (size_t)st.st_size;
    (void)madvise(f->data, f->n, MADV_DONTDUMP);
    return 0;
}

static const struct given_file *find(const struct files *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->all[i].name, name) == 0)
            return &f->all[i];
    }
    return NULL;
}

struct slice files_find(const void *files, const char *name)
{
    const struct given_file *f = find(files, name);

    return f ? slice_of(f->data, f->n) : slice_of(NULL, 0);
}

static int make_room(struct files *f, struct err *err)
{
    size_t cap = f->cap ? 2 * f->cap : 16;
    struct given_file *more;

    if (f->n < f->cap)
        return 0;
    more = reallocarray(f->all, cap, sizeof *more);
    if (!more)
        return err_set(err, ENOMEM, "out of memory");
    f->all = more;
    f->cap = cap;
    return 0;
}

int files_add(struct files *f, struct slice name, int fd, struct err *err)
{
    char *copy = slice_dup(name);

    if (!copy || make_room(f, err) < 0) {
        free(copy);
        close(fd);
        return err_set(err, ENOMEM, "out of memory");
    }
    f->all[f->n] = (struct given_file){.name = copy, .fd = fd};
    return map_file(&f->all[f->n++], err);
}

static bool is_same(const struct given_file *one, const struct given_file *other)
{
    return one->n == other->n && (one->n == 0 || memcmp(one->data, other->data, one->n) == 0);
}

size_t files_differ(const struct files *a, const struct files *b)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++) {
        const struct given_file *other = find(b, a->all[i].name);

        n += !other || !is_same(&a->all[i], other);
    }
    for (size_t i = 0; i < b->n; i++)
        n += !find(a, b->all[i].name);
    return n;
}

static int add_file(void *arg, const char *name, struct err *err)
{
    struct files *f = arg;
    const char *path = strcmp(name, TLS_SET_SYSTEM_CA) == 0 ? tls_system_ca_file() : name;
    int fd;

    if (find(f, name))
        return 0;
    if (!path)
        return err_set(err, 0,
                       "this machine has no CA certificates; install them (Debian: the package "
                       "ca-certificates), or write tls_ca");
    if (strlen(name) > IPC_TEXT_MAX)
        return err_set(err, ENAMETOOLONG, "a path of %zu bytes; %d is the most", strlen(name),
                       IPC_TEXT_MAX);
    fd = read_file(path, err);
    return fd < 0 ? -1 : files_add(f, slice_str(name), fd, err);
}

int files_read(const struct conf *conf, struct files *out_files, struct err *err)
{
    struct files f = {0};

    if (tls_set_names(conf, add_file, &f, err) < 0 ||
        check_password_names(conf, add_file, &f, err) < 0) {
        files_free(&f);
        return -1;
    }
    *out_files = f;
    return 0;
}

void files_free(struct files *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->all[i].data)
            munmap(f->all[i].data, f->all[i].n);
        close(f->all[i].fd);
        free(f->all[i].name);
    }
    free(f->all);
    *f = (struct files){0};
}
