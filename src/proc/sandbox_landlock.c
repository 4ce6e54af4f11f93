/* Landlock, by its system calls: the C library has no functions for it, and its headers may be
 * older than the kernel. */
#include "proc/sandbox_landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights by the version of the interface that brought them. */
enum {
    VERSION_REFER = 2,
    VERSION_TRUNCATE = 3,
    VERSION_NET = 4,
    VERSION_IOCTL = 5,
    VERSION_SCOPE = 6,
    RIGHTS_OF_1 = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1, /* the last of the first version */
    RIGHT_REFER = 1 << 13,
    RIGHT_TRUNCATE = 1 << 14,
    RIGHT_IOCTL = 1 << 15,
    NET_BIND = 1 << 0,
    NET_CONNECT = 1 << 1,
    SCOPE_ABSTRACT_SOCKETS = 1 << 0,
    SCOPE_SIGNALS = 1 << 1,
    RULE_PORT = 2 /* LANDLOCK_RULE_NET_PORT */
};

/* struct landlock_ruleset_attr as of version 6; older kernels take it as long as what they do not
 * know is zero. */
struct ruleset {
    uint64_t files, net, scoped;
};

/* struct landlock_net_port_attr. */
struct port_rule {
    uint64_t allowed, port;
};

enum {
    READ = LANDLOCK_ACCESS_FS_READ_FILE,
    WRITE_STATE = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                  LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                  LANDLOCK_ACCESS_FS_MAKE_REG | RIGHT_TRUNCATE
};

/* Of a rule. DENIED: not by a fault of ours, so the process goes on without Landlock. */
enum added { ADDED, DENIED, FAILED };

bool sandbox_has_source(const struct conf *conf)
{
    for (size_t i = 0; i < conf->pools_n; i++) {
        for (size_t j = 0; j < conf->pools[i].backends_n; j++) {
            if (conf->pools[i].backends[j].source.n > 0)
                return true;
        }
    }
    return false;
}

/* All that this kernel can deny. Connecting is not denied: ports of backends and nameservers may
 * change while we run, and rules cannot be added later. */
static struct ruleset all_of(enum role role, int version)
{
    struct ruleset all = {.files = RIGHTS_OF_1};

    if (version >= VERSION_REFER)
        all.files |= RIGHT_REFER;
    if (version >= VERSION_TRUNCATE)
        all.files |= RIGHT_TRUNCATE;
    if (version >= VERSION_NET)
        all.net = role == ROLE_CONTROL ? NET_BIND | NET_CONNECT : NET_BIND;
    if (version >= VERSION_IOCTL)
        all.files |= RIGHT_IOCTL;
    if (version >= VERSION_SCOPE)
        all.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
    return all;
}

/* With the call itself denied there is nothing that more rules could change. */
static enum added add(int set, int type, const void *rule, struct err *err)
{
    if (syscall(SYS_landlock_add_rule, set, type, rule, 0) == 0)
        return ADDED;
    err_sys(err, errno, "cannot add a rule");
    return err->code == EPERM || err->code == ENOSYS ? DENIED : FAILED;
}

/* The file, or all below the folder. */
static enum added allow(int set, const struct ruleset *all, const char *path, uint64_t rights,
                        struct err *err)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights & all->files};
    int fd = open(path, O_PATH | O_CLOEXEC);
    enum added done;

    if (fd < 0) {
        err_sys(err, errno, "cannot open %s", path);
        return FAILED;
    }
    rule.parent_fd = fd;
    done = add(set, LANDLOCK_RULE_PATH_BENEATH, &rule, err);
    if (done != ADDED)
        err_prefix(err, "%s", path);
    close(fd);
    return done;
}

/* The folder of a file, so that another may be put in its place by renaming. Never the root, which
 * is everything: of a file that lies there it is the file itself. What is not there now may not be
 * read later. */
static enum added allow_folder_of(int set, const struct ruleset *all, const char *file,
                                  struct err *err)
{
    char *path = strdup(file);
    char *slash = path ? strrchr(path, '/') : NULL;
    enum added done = ADDED;

    if (slash && slash > path)
        *slash = '\0';
    if (path && access(path, F_OK) == 0)
        done = allow(set, all, path, READ, err);
    free(path);
    return done;
}

/* Also where it is a link to, as it often is: with systemd-resolved, and with those who change many
 * files at once. */
static enum added allow_replaced(int set, const struct ruleset *all, const char *file,
                                 struct err *err)
{
    enum added done = allow_folder_of(set, all, file, err);
    char *real = realpath(file, NULL);

    if (real && done == ADDED)
        done = allow_folder_of(set, all, real, err);
    free(real);
    return done;
}

static enum added allow_names(int set, const struct ruleset *all, struct err *err)
{
    static const char *const files[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"};
    enum added done = allow(set, all, "/etc", READ, err);

    for (size_t i = 0; i < sizeof files / sizeof *files && done == ADDED; i++)
        done = allow_replaced(set, all, files[i], err);
    return done;
}

static enum added allow_lookup(int set, const struct ruleset *all, const struct conf *conf,
                               struct err *err)
{
    enum added done = allow_names(set, all, err);

    for (size_t i = 0; i < conf->directories_n && done == ADDED; i++) {
        if (conf->directories[i].driver == DRIVER_FILE)
            done = allow_replaced(set, all, conf->directories[i].path, err);
    }
    return done;
}

static enum added allow_state(int set, const struct ruleset *all, const char *path, struct err *err)
{
    enum added done = allow(set, all, path, WRITE_STATE, err);

    /* SQLite's source of salts, which it opens when it first needs one. */
    return done == ADDED ? allow(set, all, "/dev/urandom", READ, err) : done;
}

static enum added add_rules(int set, const struct ruleset *all, enum role role,
                            const struct conf *conf, struct err *err)
{
    const struct port_rule any_port = {.allowed = NET_BIND, .port = 0};

    if (role == ROLE_LOOKUP)
        return allow_lookup(set, all, conf, err);
    if (role == ROLE_CONTROL)
        return allow_state(set, all, conf->global.state, err);
    return all->net && sandbox_has_source(conf) ? add(set, RULE_PORT, &any_port, err) : ADDED;
}

int sandbox_landlock(enum role role, const struct conf *conf, int *out_version, struct err *why,
                     struct err *err)
{
    int version =
        (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset all = all_of(role, version);
    enum added added;
    int set;

    *out_version = 0;
    if (version < 1) {
        err_sys(why, errno, "this kernel has no Landlock, or it is switched off");
        return 0;
    }
    set = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
    if (set < 0) {
        err_sys(why, errno, "cannot make rules of Landlock");
        return 0;
    }
    added = add_rules(set, &all, role, conf, why);
    if (added == ADDED && syscall(SYS_landlock_restrict_self, set, 0) < 0)
        err_sys(why, errno, "cannot restrict this process by Landlock");
    else if (added == ADDED)
        *out_version = version;
    close(set);
    return added == FAILED ? err_set(err, why->code, "Landlock: %s", why->text) : 0;
}
