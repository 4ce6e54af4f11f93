/* What the parent opens before its children start: the configuration as they load it, the state
 * directory, limits. Listening sockets are ports.c's, files of TLS files.c's. */
#include "parent/internal.h"

#include "base/log.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int print_conf(const struct conf *conf, FILE *out, struct err *err);

static int keep_conf(const struct conf *conf, print_conf *print, int *out_fd, struct err *err)
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
    done = print(conf, f, err);
    if (fclose(f) != 0 && done == 0)
        done = err_sys(err, errno, "cannot write the configuration to memory");
    if (done < 0 || files_seal(fd, err) < 0) {
        close(fd);
        return -1;
    }
    *out_fd = fd;
    return 0;
}

int resources_conf(const struct conf *conf, int *out_conf_fd, int *out_rules_fd, struct err *err)
{
    int rules_fd;

    if (keep_conf(conf, conf_print, &rules_fd, err) < 0)
        return -1;
    if (keep_conf(conf, conf_print_without_rules, out_conf_fd, err) < 0) {
        close(rules_fd);
        return -1;
    }
    *out_rules_fd = rules_fd;
    return 0;
}

/* Links are kept as they are, since whoever changes a configuration or a program by putting a link
 * elsewhere means what it leads to then. NULL with errno. */
static char *absolute(const char *path)
{
    char *folder, *whole;

    if (path[0] == '/')
        return strdup(path);
    folder = getcwd(NULL, 0);
    if (!folder || asprintf(&whole, "%s/%s", folder, path) < 0)
        whole = NULL;
    free(folder);
    return whole;
}

static bool is_what_runs(const char *path)
{
    struct stat there, here;

    return path && stat(path, &there) == 0 && stat("/proc/self/exe", &here) == 0 &&
           there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

/* Where the words of PATH have the program of this name; NULL: nowhere, or somewhere else. */
static char *find_in_path(const char *name)
{
    const char *at = getenv("PATH");

    while (at && *at) {
        size_t n = strcspn(at, ":");
        char *whole;

        if (n > 0 && at[0] == '/' && asprintf(&whole, "%.*s/%s", (int)n, at, name) >= 0) {
            if (is_what_runs(whole))
                return whole;
            free(whole);
        }
        at += at[n] ? n + 1 : n;
    }
    return NULL;
}

/* What we were called by, if it leads to us; else what the kernel says. */
static char *find_program(const char *name)
{
    char *found = strchr(name, '/') ? absolute(name) : find_in_path(name);

    if (is_what_runs(found))
        return found;
    free(found);
    return realpath("/proc/self/exe", NULL);
}

int resources_paths(struct parent *p, const char *program, const char *conf_path, struct err *err)
{
    p->program = find_program(program);
    if (!p->program)
        return err_sys(err, errno, "cannot find out where this program is");
    p->conf_path = absolute(conf_path);
    if (!p->conf_path)
        return err_sys(err, errno, "cannot find out where %s is", conf_path);
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

void resources_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

void resources_free(struct parent *p)
{
    ports_close(&p->ports);
    passed_close(&p->passed);
    door_close(p);
    tally_free(&p->tally);
    close_fd(&p->notes_fd);
    for (size_t i = 0; i < SHARED_COUNT; i++)
        close_fd(&p->shared_fds[i]);
    free(p->program);
    free(p->conf_path);
}
