/* usher ctl: reads the words, asks the running usher, has the answer shown. */
#include "cli/ctl.h"

#include "base/buf.h"
#include "base/term.h"
#include "cli/cli.h"
#include "cli/ctl_link.h"
#include "cli/ctl_show.h"
#include "cli/ctl_wait.h"
#include "cli/ctl_words.h"
#include "conf/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes of a reason, and what each becomes at most; a NUL is behind them. */
enum { TOLD_MOST = 64 << 10, ESCAPED_MOST = 4 };

/* What went wrong may repeat what others have sent, whatever they are. */
static void tell(const char *text)
{
    struct buf safe;

    buf_init(&safe, TOLD_MOST * ESCAPED_MOST + 1, false);
    if (term_escape(&safe, slice_sub(slice_str(text), 0, TOLD_MOST)) == 0)
        fprintf(stderr, "usher ctl: %.*s\n", SLICE_ARG(buf_slice(&safe)));
    buf_release(&safe);
}

static int wrong(const struct err *err)
{
    tell(err->text);
    fputs("\"usher help ctl\" lists the commands.\n", stderr);
    return CLI_USAGE;
}

/* --- where it listens ------------------------------------------------------------------------- */

static int load(const char *file, struct conf **out_conf, struct err *err)
{
    const bool is_given = file != NULL;

    file = is_given ? file : CLI_DEFAULT_FILE;
    if (!is_given && access(file, F_OK) != 0 && errno == ENOENT)
        return conf_load_text("", "defaults", out_conf, err);
    if (access(file, R_OK) != 0)
        return err_set(err, 0,
                       "cannot read %s, which says where usher listens: %s; --socket PATH "
                       "says it too",
                       file, strerror(errno));
    return conf_load(file, out_conf, err);
}

/* CLI_OK and *out_path, which may be `room`; or what the exit status is then. */
static int find_socket(const struct ctl_line *line, char room[CONF_SOCKET_PATH],
                       const char **out_path, struct err *err)
{
    struct conf *conf;

    *out_path = line->socket;
    if (line->socket)
        return CLI_OK;
    if (load(line->file, &conf, err) != 0)
        return CLI_FAILED;
    *out_path = conf_admin_socket(conf, room);
    conf_free(&conf);
    if (*out_path)
        return CLI_OK;
    err_set(err, 0, "%s has admin_socket = off: that usher takes no commands",
            line->file ? line->file : CLI_DEFAULT_FILE);
    return CTL_NOBODY;
}

/* --- asking ----------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : otherwise;
}

static int failed(struct ctl_show *show, const char *text, const char *code)
{
    ctl_show_error(show, text, code);
    fflush(stdout);
    tell(text);
    return strcmp(code, "usage") == 0         ? CLI_USAGE
           : strcmp(code, "unreachable") == 0 ? CTL_NOBODY
                                              : CLI_FAILED;
}

/* The connection failed. Being kept out is an answer. */
static int unreachable(struct ctl_show *show, const struct err *err)
{
    return failed(show, err->text,
                  err->code == EACCES || err->code == EPERM ? "denied" : "unreachable");
}

static bool is_change(enum command command)
{
    return command == COMMAND_RELOAD || command == COMMAND_UPGRADE;
}

/* The connection failed before the answer was whole. Of a change it is not known then whether it
 * was made: who would have said it may be among what was replaced. */
static int cut(struct ctl_show *show, struct err *err)
{
    char text[sizeof err->text + 128];

    if (!is_change(show->command) || (err->code != ECONNRESET && err->code != ETIMEDOUT))
        return unreachable(show, err);
    snprintf(text, sizeof text, "%s; \"usher ctl workers\" and the log tell what came of it",
             err->code == ECONNRESET ? "usher was changing over, and its answer was lost"
                                     : err->text);
    return failed(show, text, "failed");
}

/* A move that has begun, up to its end. People read at once that it has begun; scripts get one
 * object, when it is known how it went. */
static int wait_for(struct ctl_link *link, struct ctl_show *show, const json_t *request,
                    const struct ctl_before *before, const json_t *begun)
{
    struct err err;

    if (!show->is_json) {
        ctl_show_done(show, begun);
        fflush(show->out);
    }
    if (ctl_wait(link, request, before, &err) != 0)
        return err.code ? unreachable(show, &err) : failed(show, err.text, "failed");
    if (show->is_json) {
        ctl_show_done(show, begun);
    } else {
        ctl_show_styled(show, TERM_GOOD, "It is over.");
        fputs("\n", show->out);
    }
    return CLI_OK;
}

/* Takes the answer as it comes; *out_done is its end if it is good. */
static int take(struct ctl_link *link, struct ctl_show *show, json_t **out_done)
{
    struct err err;
    json_t *object, *part;
    int code;

    for (;;) {
        if (ctl_link_next(link, &object, &err) != 0)
            return cut(show, &err);
        if ((part = json_object_get(object, "row"))) {
            ctl_show_row(show, json_incref(part));
        } else if ((part = json_object_get(object, "done"))) {
            *out_done = json_incref(part);
            json_decref(object);
            return CLI_OK;
        } else {
            code = failed(show, text_of(object, "error", "usher's answer is no answer"),
                          text_of(object, "code", "failed"));
            json_decref(object);
            return code;
        }
        json_decref(object);
    }
}

static int ask(struct ctl_link *link, struct ctl_show *show, const struct ctl_line *line,
               const json_t *request)
{
    struct err err;
    json_t *done = NULL;
    struct ctl_before before = {0};
    int code;

    if (ctl_link_open(link, &err) != 0)
        return unreachable(show, &err);
    if (line->is_wait && ctl_before(link, &before, &err) != 0)
        return err.code ? unreachable(show, &err) : failed(show, err.text, "denied");
    if (ctl_link_send(link, request, &err) != 0)
        return unreachable(show, &err);
    code = take(link, show, &done);
    if (code == CLI_OK && is_change(show->command) &&
        json_integer_value(json_object_get(done, "generation")) > 0)
        ctl_settle(link);
    if (code == CLI_OK && line->is_wait)
        code = wait_for(link, show, request, &before, done);
    else if (code == CLI_OK)
        ctl_show_done(show, done);
    json_decref(done);
    return code;
}

static int run(const struct ctl_line *line, enum command command, const json_t *request)
{
    struct ctl_show show;
    struct ctl_link link;
    struct err err;
    char room[CONF_SOCKET_PATH];
    const char *path;
    int code;

    ctl_show_init(&show, stdout, command, line->is_json);
    code = find_socket(line, room, &path, &err);
    if (code != CLI_OK) {
        failed(&show, err.text, code == CTL_NOBODY ? "unreachable" : "failed");
    } else {
        ctl_link_init(&link, path);
        if (is_change(command))
            link.silence_s = CTL_CHANGE_S;
        code = ask(&link, &show, line, request);
        ctl_link_done(&link);
    }
    if (show.is_failed) {
        tell("out of memory: not all was shown");
        code = CLI_FAILED;
    }
    ctl_show_free(&show);
    return code;
}

int cli_ctl(int argc, char **argv)
{
    struct ctl_line line;
    enum command command;
    json_t *request;
    struct err err;
    int code;

    if (ctl_line_parse(argc, argv, &line, &err) != 0)
        return wrong(&err);
    if (line.is_help || (line.words_n > 0 && strcmp(line.words[0], "help") == 0))
        return ctl_help(stdout, line.words + !line.is_help, line.words_n - !line.is_help);
    if (line.words_n == 0)
        return cli_usage("ctl");
    if (ctl_request(&line, &command, &request, &err) != 0)
        return wrong(&err);
    code = run(&line, command, request);
    json_decref(request);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        err_sys(&err, errno, "cannot write");
        tell(err.text);
        code = CLI_FAILED;
    }
    return code;
}
