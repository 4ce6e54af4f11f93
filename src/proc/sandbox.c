/* Closing the sandbox: what libraries would open later is opened first, then Landlock, then
 * seccomp. */
#include "proc/sandbox.h"

#include "base/hash.h"
#include "base/log.h"
#include "proc/build.h"
#include "proc/crash.h"
#include "proc/sandbox_landlock.h"

#include <errno.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* More than any number of a system call, for years to come. */
enum { CALL_NAMES = 640 };

int sandbox_prepare(struct err *err)
{
    const struct rlimit none = {0, 0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
        prctl(PR_SET_DUMPABLE, sandbox_build.is_dumpable, 0, 0, 0) < 0)
        return err_sys(err, errno, "cannot limit this process");
    return 0;
}

/* The first use of a clock opens the time zone, the first of OpenSSL its configuration. The role
 * does the rest by beginning before the sandbox is closed. */
static void use_libraries(void)
{
    time_t now = time(NULL);
    struct tm tm;

    (void)gmtime_r(&now, &tm);
    (void)hash_key(SLICE(""));
}

/* Asking libseccomp takes memory, so it is not left to the handler of a signal. Never freed. */
static void learn_names(void)
{
    const char **names = calloc(CALL_NAMES, sizeof *names);

    if (!names)
        return;
    for (int i = 0; i < CALL_NAMES; i++)
        names[i] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
    crash_call_names(names, CALL_NAMES);
}

/* --- seccomp ---------------------------------------------------------------------------------- */

static int allow(scmp_filter_ctx filter, const struct sandbox_call *call)
{
    struct scmp_arg_cmp args[SANDBOX_ARGS];
    unsigned n = 0;

    for (size_t i = 0; i < SANDBOX_ARGS && call->args[i].what != ARG_ANY; i++) {
        const struct sandbox_arg *a = &call->args[i];
        uint64_t value = a->what == ARG_SELF ? (uint64_t)getpid() : a->value;

        args[n++] = (struct scmp_arg_cmp){a->index, SCMP_CMP_MASKED_EQ, a->mask, value};
    }
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call->number, n, args);
}

static int allow_all(scmp_filter_ctx filter, unsigned roles, const struct sandbox_call *calls,
                     size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        int done = calls[i].roles & roles ? allow(filter, &calls[i]) : 0;

        if (done < 0)
            return err_sys(err, -done, "row %zu of the list of system calls", i);
    }
    return 0;
}

static int set_attributes(scmp_filter_ctx filter, uint32_t foreign, struct err *err)
{
    /* Calls of another architecture (32 bits, x32) go round the list by other numbers. */
    int done = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, foreign);

    /* For all threads. */
    if (done == 0)
        done = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* A search instead of a walk, as the list is long. */
    if (done == 0)
        done = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return done < 0 ? err_sys(err, -done, "attributes of the filter") : 0;
}

/* *out_is_closed false: the kernel refused, with its reason in `why`. */
static int close_calls(enum role role, const struct conf *conf, bool *out_is_closed,
                       struct err *why, struct err *err)
{
    bool is_log = conf->global.sandbox == SANDBOX_LOG;
    unsigned roles = 1U << role;
    scmp_filter_ctx filter = seccomp_init(is_log ? SCMP_ACT_LOG : SCMP_ACT_TRAP);

    if (!filter)
        return err_set(err, ENOMEM, "no memory for the filter");
    if (role == ROLE_WORKER && sandbox_has_source(conf))
        roles |= FOR_SOURCE;
    if (set_attributes(filter, is_log ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS, err) < 0 ||
        allow_all(filter, roles, sandbox_calls, sandbox_calls_n, err) < 0 ||
        allow_all(filter, roles, sandbox_build.more, sandbox_build.more_n, err) < 0) {
        seccomp_release(filter);
        return -1;
    }
    *out_is_closed = seccomp_load(filter) == 0;
    /* errno, as what the function returns does not know all the kernel's words. */
    if (!*out_is_closed)
        err_sys(why, errno, "the kernel does not take the list of system calls");
    seccomp_release(filter);
    return 0;
}

/* --- both ------------------------------------------------------------------------------------- */

static void tell_partial(enum role role, const char *part, const struct err *why)
{
    struct log_line l;

    log_begin(&l, LOG_SANDBOX_PARTIAL);
    log_str(&l, "role", role_name(role));
    log_str(&l, "part", part);
    log_str(&l, "detail", why->text);
    log_end(&l);
}

static void tell_closed(enum role role, enum conf_sandbox mode, int landlock)
{
    static const char *const modes[] = {"enforce", "log", "off"};
    struct log_line l;

    log_begin(&l, LOG_SANDBOX);
    log_str(&l, "role", role_name(role));
    log_str(&l, "mode", modes[mode]);
    log_uint(&l, "landlock", (uint64_t)landlock);
    log_end(&l);
}

int sandbox_close(enum role role, const struct conf *conf, sandbox_threads *threads, void *arg,
                  struct err *err)
{
    enum conf_sandbox mode = (enum conf_sandbox)conf->global.sandbox;
    bool is_closed = true;
    int landlock = 0;
    struct err why;

    if (mode != SANDBOX_OFF) {
        use_libraries();
        learn_names();
    }
    /* Landlock cannot merely note what it would deny. */
    if (mode == SANDBOX_ENFORCE && sandbox_build.closes_files) {
        if (sandbox_landlock(role, conf, &landlock, &why, err) < 0)
            return -1;
        if (landlock == 0)
            tell_partial(role, "landlock", &why);
    }
    if (threads && threads(arg, err) < 0)
        return -1;
    if (mode != SANDBOX_OFF && close_calls(role, conf, &is_closed, &why, err) < 0)
        return err_prefix(err, "seccomp");
    if (!is_closed)
        tell_partial(role, "seccomp", &why);
    tell_closed(role, mode, landlock);
    return 0;
}
