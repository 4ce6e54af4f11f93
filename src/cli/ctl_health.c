/* usher health: for probes of containers and load balancers, which want an exit status and no tool
 * beside. It asks what `usher ctl status` asks, so it is control itself that answers. */
#include "base/term.h"
#include "cli/cli.h"
#include "cli/ctl.h"
#include "cli/ctl_link.h"
#include "cli/ctl_wait.h"
#include "conf/conf.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Less than probes wait by custom, so that they learn why. A control that hangs for longer is the
 * watchdog's to end. */
enum { PATIENCE_S = 10 };

static void on_alarm(int signal)
{
    static const char late[] = "usher health: usher does not answer within 10 seconds\n";

    (void)signal;
    (void)!write(STDERR_FILENO, late, sizeof late - 1);
    _exit(CTL_NOBODY);
}

/* Says whether usher admits logins: a control that has just been started does not before all
 * workers have told it of their sessions. */
static int judge(const json_t *done)
{
    const json_int_t workers = json_integer_value(json_object_get(done, "workers"));
    const bool is_recovered = json_is_true(json_object_get(done, "recovered"));

    if (is_recovered && workers > 0) {
        puts("ready");
        return CLI_OK;
    }
    fprintf(stderr, "usher health: not ready: %s\n",
            workers > 0 ? "control waits for workers to tell it of their sessions"
                        : "there is no worker");
    return CLI_FAILED;
}

static int ask(const char *path, struct err *err)
{
    json_t *request = json_pack("{ss}", "command", "status"), *done = NULL;
    struct ctl_link link;
    int code = CTL_NOBODY;

    ctl_link_init(&link, path);
    if (!request)
        err_set(err, 0, "out of memory");
    else if (ctl_ask(&link, request, NULL, &done, err) == 0)
        code = judge(done);
    ctl_link_done(&link);
    json_decref(request);
    json_decref(done);
    return code;
}

/* CTL_NOBODY with an error, or what judge() found. */
static int health(const char *file, struct err *err)
{
    char room[CONF_SOCKET_PATH];
    struct conf *conf;
    const char *path;
    int code = CTL_NOBODY;

    if (conf_load(file, &conf, err) != 0)
        return code;
    path = conf_admin_socket(conf, room);
    if (path)
        code = ask(path, err);
    else
        err_set(err, 0, "%s has admin_socket = off: that usher answers no questions", file);
    conf_free(&conf);
    return code;
}

int cli_health(int argc, char **argv)
{
    struct cli_options options;
    struct buf safe;
    struct err err;
    int code;

    if (cli_options(argc, argv, &options) != CLI_OK)
        return CLI_USAGE;
    signal(SIGALRM, on_alarm);
    alarm(PATIENCE_S);
    code = health(options.file, &err);
    if (code != CTL_NOBODY)
        return code;
    /* Who answers may be somebody else. */
    buf_init(&safe, sizeof err.text * 4 + 1, false);
    if (term_escape(&safe, slice_str(err.text)) == 0)
        fprintf(stderr, "usher health: %.*s\n", SLICE_ARG(buf_slice(&safe)));
    buf_release(&safe);
    return code;
}
