/* usher sync, usher verify: a run, from the command line to the exit status. */
#include "cli/sync.h"

#include "base/num.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/sync_options.h"
#include "cli/sync_parts.h"
#include "cli/sync_place.h"
#include "proc/build.h"
#include "sync/names.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct run {
    const char *command; /* "sync" or "verify" */
    struct sync_options options;
    char journal[PATH_MAX];
    FILE *log, *html;
    struct sync_shown *shown;
    struct sync_stop stop;
    bool has_told_stop;
    sigset_t awaited, before; /* signals that end the run; the mask as it was */
    pthread_t waiter;
};

static int tell(const struct run *r, int status, const struct err *err)
{
    fprintf(stderr, "usher %s: %s\n", r->command, err->text);
    if (status == SYNC_EXIT_USAGE)
        fprintf(stderr, "\"usher help %s\" explains it.\n", r->command);
    return status;
}

/* --- signals ---------------------------------------------------------------------------------- */

/* The first signal ends the run in order; a second SIGINT is from somebody who will not wait. */
static void *wait_for_signals(void *arg)
{
    struct run *r = arg;
    int number;

    for (;;) {
        if (sigwait(&r->awaited, &number) != 0)
            continue;
        if (__atomic_load_n(&r->stop.signal, __ATOMIC_RELAXED) == 0) {
            __atomic_store_n(&r->stop.signal, number, __ATOMIC_RELAXED);
        } else if (number == SIGINT) {
            sigset_t set;

            sigemptyset(&set);
            sigaddset(&set, SIGINT);
            signal(SIGINT, SIG_DFL);
            pthread_sigmask(SIG_UNBLOCK, &set, NULL);
            raise(SIGINT);
        }
    }
    return NULL;
}

/* What is ignored, as by nohup(1), stays so. */
static int watch_signals(struct run *r, struct err *err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    int failure;

    sigemptyset(&r->awaited);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction now;

        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(&r->awaited, numbers[i]);
    }
    /* All threads that come have this mask; sigwait() in one of them is who is told. */
    pthread_sigmask(SIG_BLOCK, &r->awaited, &r->before);
    failure = pthread_create(&r->waiter, NULL, wait_for_signals, r);
    if (failure == 0)
        return 0;
    pthread_sigmask(SIG_SETMASK, &r->before, NULL);
    return err_sys(err, failure, "a thread for signals");
}

static void leave_signals(struct run *r)
{
    pthread_cancel(r->waiter);
    pthread_join(r->waiter, NULL);
    pthread_sigmask(SIG_SETMASK, &r->before, NULL);
}

/* --- while it runs ---------------------------------------------------------------------------- */

static void on_line(void *arg, const char *line)
{
    struct run *r = arg;

    sync_shown_line(r->shown, line);
}

static void on_progress(void *arg, const struct sync_progress *progress)
{
    struct run *r = arg;

    if (!r->has_told_stop && __atomic_load_n(&r->stop.signal, __ATOMIC_RELAXED) != 0) {
        r->has_told_stop = true;
        sync_shown_line(r->shown,
                        "stopping; the next run goes on from here (interrupt again to end "
                        "at once)");
    }
    sync_shown_progress(r->shown, progress);
}

/* --- what came of it -------------------------------------------------------------------------- */

static int print(const struct run *r, const struct sync_report *report, struct err *err)
{
    int done = r->options.is_json ? sync_print_json(report, stdout)
                                  : sync_print_text(report, stdout, r->options.is_verbose);

    if (done == 0 && fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return err_sys(err, errno, "the report could not be printed");
}

static int write_html(const struct run *r, const struct sync_report *report, struct err *err)
{
    if (!r->html)
        return 0;
    /* What there was before is cut off now, not when the run began. A pipe has nothing to cut. */
    if (ftruncate(fileno(r->html), 0) < 0 && errno != EINVAL)
        return err_sys(err, errno, "%s", r->options.html);
    if (sync_report_html(report, r->html, err) < 0)
        return err_prefix(err, "%s", r->options.html);
    if (fflush(r->html) != 0 || ferror(r->html))
        return err_sys(err, errno, "%s", r->options.html);
    return 0;
}

/* A report that could not be shown is a failure of its own, unless there is a graver one. */
static int show(const struct run *r, const struct sync_report *report)
{
    int status = report->status;
    struct err err;

    if (print(r, report, &err) < 0)
        status = tell(r, status ? status : SYNC_EXIT_CATCH_ALL, &err);
    if (write_html(r, report, &err) < 0)
        status = tell(r, status ? status : SYNC_EXIT_CATCH_ALL, &err);
    return status;
}

/* --- the run ---------------------------------------------------------------------------------- */

static int go(struct run *r)
{
    const struct sync_watch watch = {on_progress, on_line, r};
    struct sync_report *report = NULL;
    struct err err;
    int done, status;

    if (watch_signals(r, &err) < 0)
        return tell(r, SYNC_EXIT_CATCH_ALL, &err);
    done = sync_run(&r->options.params, &r->stop, &watch, &report, &err);
    leave_signals(r);
    sync_shown_end(r->shown);
    if (done < 0)
        return tell(r, SYNC_EXIT_CATCH_ALL, &err);
    status = show(r, report);
    sync_report_free(&report);
    return status;
}

static int open_file(const char *path, int flags, mode_t mode, FILE **out, struct err *err)
{
    int fd;

    if (!path)
        return 0;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode);
    *out = fd < 0 ? NULL : fdopen(fd, flags & O_APPEND ? "a" : "w");
    if (*out)
        return 0;
    (void)err_sys(err, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A log has names of folders and subjects of messages, and is for whoever runs us; a page is made
 * to be shown. */
static int open_files(struct run *r, struct err *err)
{
    const struct sync_shown_params params = {
        .out = stderr, .is_quiet = r->options.is_quiet, .is_verbose = r->options.is_verbose};
    struct sync_shown_params with_log = params;

    if (open_file(r->options.log, O_APPEND, 0600, &r->log, err) < 0 ||
        open_file(r->options.html, 0, 0666, &r->html, err) < 0)
        return -1;
    with_log.log = r->log;
    return sync_shown_new(&with_log, &r->shown, err);
}

/* For tests of what a crash leaves: see die_at of sync/sync.h. */
static uint64_t moment_to_die(void)
{
    const char *text = getenv("USHER_SYNC_DIE_AT");
    uint64_t at;

    return text && num_parse(slice_str(text), UINT64_MAX, &at) ? at : 0;
}

/* Mistakes in expressions and names are told before anybody is asked for a password. */
static int check_choice(const struct sync_choice *choice, struct err *err)
{
    const struct names_space any = {.separator = '/'};
    struct naming *names;

    if (naming_new(choice, any, any, &names, err) < 0)
        return -1;
    naming_free(&names);
    return 0;
}

static int prepare(struct run *r, struct err *err)
{
    struct sync_options *o = &r->options;
    int status;

    if (check_choice(&o->params.choice, err) < 0)
        return SYNC_EXIT_USAGE;
    if (o->has_journal && !o->params.journal) {
        if (sync_place_journal(o, r->journal, sizeof r->journal, err) < 0)
            return SYNC_EXIT_USAGE;
        o->params.journal = r->journal;
    }
    status = sync_places_open(o, err);
    if (status != SYNC_EXIT_OK)
        return status;
    o->params.die_at = moment_to_die();
    return open_files(r, err) < 0 ? SYNC_EXIT_USAGE : SYNC_EXIT_OK;
}

static int read_words(struct run *r, int argc, char **argv, struct err *err)
{
    static const char *const names[2] = {"FROM", "TO"};

    if (sync_options_read(&r->options, argc, argv, err) < 0)
        return SYNC_EXIT_USAGE;
    for (size_t i = 0; i < 2; i++)
        if (r->options.accounts[i].password_from == PASSWORD_GIVEN)
            fprintf(stderr,
                    "usher %s: warning: the password of %s stood on the command line, where others "
                    "may have read it; --password-file%zu FILE is safer\n",
                    r->command, names[i], i + 1);
    return SYNC_EXIT_OK;
}

static int run(struct run *r, int argc, char **argv)
{
    struct err err;
    int status = read_words(r, argc, argv, &err);

    if (status != SYNC_EXIT_OK)
        return tell(r, status, &err);
    if (r->options.asks_help) {
        char *words[] = {argv[0], argv[0]};

        return cli_help(2, words);
    }
    status = prepare(r, &err);
    return status == SYNC_EXIT_OK ? go(r) : tell(r, status, &err);
}

/* Passwords are out of cores by themselves (base/secret.h); mail that passes through is not. */
static void forbid_cores(void)
{
    const struct rlimit none = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, sandbox_build.is_dumpable, 0, 0, 0);
}

static void close_files(struct run *r)
{
    sync_shown_free(&r->shown);
    if (r->log)
        fclose(r->log);
    if (r->html)
        fclose(r->html);
}

int cli_sync(int argc, char **argv)
{
    struct run *r = calloc(1, sizeof *r);
    struct err err;
    int status;

    if (!r) {
        fprintf(stderr, "usher %s: out of memory\n", argv[0]);
        return SYNC_EXIT_CATCH_ALL;
    }
    r->command = argv[0];
    forbid_cores();
    /* Where memory cannot be locked the passwords are wiped all the same. */
    if (secret_begin(&err) < 0)
        err.code = 0;
    status = run(r, argc, argv);
    close_files(r);
    sync_places_close(&r->options);
    sync_options_free(&r->options);
    secret_end();
    free(r);
    return status;
}
