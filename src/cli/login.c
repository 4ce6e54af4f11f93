/* usher login: the steps before the connection, and what comes of it all. */
#include "cli/login.h"

#include "admin/answer.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/ctl_show.h"
#include "cli/login_parts.h"
#include "cli/route.h"
#include "cli/route_way.h"
#include "cli/route_words.h"
#include "lookup/verify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct attempt {
    const struct way_words *words;
    struct ctl_show *show;
    struct steps steps;
    struct way way;
    uint32_t backend; /* BACKEND_NONE: none was chosen */
    struct slice password;
    struct login_end end;
};

/* What is wrong with us, or with what we were asked. */
static int failed(struct attempt *a, int status, const char *text)
{
    ctl_show_error(a->show, text, status == CLI_USAGE ? "usage" : "failed");
    fflush(stdout);
    way_tell(a->words, text);
    return status;
}

/* --- the result ------------------------------------------------------------------------------- */

static const char *title_of(const struct attempt *a)
{
    return a->backend == BACKEND_NONE ? "" : backends_title(&a->way.backends, a->backend);
}

static void put(struct attempt *a, json_t *o, const char *key, json_t *value)
{
    a->show->is_failed |= json_object_set_new(o, key, value) != 0;
}

static void show_json(struct attempt *a)
{
    static const char *const results[] = {
        [LOGIN_DONE] = "ok", [LOGIN_REFUSED] = "refused", [LOGIN_NO_VERDICT] = "failed"};
    char address[ADDR_TEXT];
    json_t *o = json_object();
    bool is_reached = addr_is_set(&a->end.reached);

    put(a, o, "result", json_string(results[a->end.status]));
    put(a, o, "text", answer_text(a->end.text));
    put(a, o, "user", answer_bytes(a->way.user));
    put(a, o, "pool", json_string(a->way.conf->pools[a->way.pool].title));
    put(a, o, "backend", answer_text(title_of(a)));
    put(a, o, "address",
        is_reached ? answer_text(addr_format(&a->end.reached, address)) : json_null());
    put(a, o, "ms", json_real((double)a->steps.all_us / 1000));
    ctl_show_done(a->show, o);
    json_decref(o);
}

static void show_line(struct attempt *a)
{
    static const struct {
        enum term_style style;
        const char *words;
    } results[] = {[LOGIN_DONE] = {TERM_GOOD, " is logged in"},
                   [LOGIN_REFUSED] = {TERM_BAD, " is refused"},
                   [LOGIN_NO_VERDICT] = {TERM_BAD, " is neither let in nor refused"}};
    char name[IPC_USER_MAX + 1], address[ADDR_TEXT];

    snprintf(name, sizeof name, "%.*s", SLICE_ARG(a->way.user));
    if (a->steps.is_explained)
        fputs("\n", stdout);
    ctl_show_styled(a->show, TERM_BOLD, name);
    ctl_show_styled(a->show, results[a->end.status].style, results[a->end.status].words);
    if (a->backend != BACKEND_NONE)
        printf(" at %s", title_of(a));
    if (addr_is_set(&a->end.reached))
        printf(" (%s)", addr_format(&a->end.reached, address));
    if (a->backend != BACKEND_NONE)
        printf(", after %.0f ms", (double)a->steps.all_us / 1000);
    ctl_show_styled(a->show, TERM_PLAIN, a->end.text[0] ? ": " : "");
    ctl_show_styled(a->show, TERM_PLAIN, a->end.text);
    fputs("\n", stdout);
}

static int show_result(struct attempt *a)
{
    struct err err;

    if (a->end.status == CLI_USAGE)
        return failed(a, CLI_USAGE, a->end.text);
    if (a->show->is_json)
        show_json(a);
    else
        show_line(a);
    if (a->show->is_failed)
        return failed(a, LOGIN_NO_VERDICT, "out of memory: not all was shown");
    if (fflush(stdout) == 0 && !ferror(stdout))
        return a->end.status;
    (void)err_sys(&err, errno, "cannot write");
    way_tell(a->words, err.text);
    return LOGIN_NO_VERDICT;
}

static int end(struct attempt *a, int status, const char *text)
{
    a->end.status = status;
    snprintf(a->end.text, sizeof a->end.text, "%s", text);
    return show_result(a);
}

/* --- where to --------------------------------------------------------------------------------- */

static void tell_directory(struct attempt *a)
{
    const struct way_told *told = &a->way.told;
    char text[ROUTE_FACTS + CONF_NAME_MAX + sizeof(struct err)], facts[ROUTE_FACTS];

    if (!told->is_asked)
        return;
    if (told->status == DIRECTORY_FAILED)
        snprintf(text, sizeof text, "%s: %s", told->directory, told->trouble.text);
    else if (told->status == DIRECTORY_UNKNOWN)
        snprintf(text, sizeof text, "the user is not known to any");
    else
        snprintf(text, sizeof text, "%s: %s", told->directory, route_facts(&a->way, facts));
    steps_took(&a->steps, "directory", told->took_us, text);
}

/* True: to a->backend. */
static bool choose(struct attempt *a)
{
    const struct way *w = &a->way;
    const bool is_told = a->backend != BACKEND_NONE; /* by --backend */
    const char *own =
        w->view.chosen != BACKEND_NONE ? backends_title(&w->backends, w->view.chosen) : "none";
    struct err text; /* for its room */

    tell_directory(a);
    if (is_told) {
        (void)err_set(&text, 0, "%s, by --backend; without it %s: %s", title_of(a), own, w->why);
    } else {
        a->backend = w->view.chosen;
        (void)err_set(&text, 0, "%s of pool %s: %s", own, w->conf->pools[w->pool].title, w->why);
    }
    steps_took(&a->steps, "choice", w->chose_us, text.text);
    return is_told || w->end == WAY_GOES;
}

/* --- the password ----------------------------------------------------------------------------- */

struct judging {
    struct way *way;
    enum verify_verdict verdict;
    bool is_over;
};

static void on_verified(void *arg, enum verify_verdict verdict)
{
    struct judging *j = arg;

    j->verdict = verdict;
    j->is_over = true;
    loop_stop(j->way->loop);
}

/* As the process lookup does it for a session. */
static enum verify_verdict verify(struct attempt *a, struct err *err)
{
    struct judging j = {.way = &a->way, .verdict = VERIFY_FAILED};
    struct verify *v = verify_new(a->way.loop, err);

    if (!v)
        return VERIFY_FAILED;
    (void)err_set(err, 0, "out of memory");
    if (verify_begin(v, err) == 0 &&
        verify_password(v, 0, a->password, a->way.told.facts.password_hash,
                        a->way.conf->global.directory_timeout, on_verified, &j)) {
        if (!j.is_over)
            loop_run(a->way.loop);
        if (j.verdict == VERIFY_FAILED)
            (void)err_set(err, 0, "it could not be compared in time");
    }
    (void)verify_free(&v);
    return j.verdict;
}

/* True: go on. */
static bool check_password(struct attempt *a)
{
    struct err err;

    if (a->way.told.status != DIRECTORY_FOUND || a->way.told.is_useless ||
        !a->way.told.facts.verifies)
        return true;
    steps_begin(&a->steps, "verify");
    a->end.status = LOGIN_NO_VERDICT;
    switch (verify(a, &err)) {
    case VERIFY_RIGHT:
        steps_end(&a->steps, "the password is that of password_hash");
        return true;
    case VERIFY_WRONG:
        a->end.status = LOGIN_REFUSED;
        (void)err_set(&err, 0, "by usher: the password is not that of password_hash");
        break;
    case VERIFY_NO_HASH:
        (void)err_set(&err, 0, "password_hash is no hash that crypt(3) of this machine takes");
        break;
    case VERIFY_FAILED:
        break;
    }
    steps_fail(&a->steps, err.text);
    snprintf(a->end.text, sizeof a->end.text, "verify: %s", err.text);
    return false;
}

static struct login_credentials credentials(const struct attempt *a)
{
    const struct way_told *told = &a->way.told;
    const struct facts *f = &told->facts;
    struct login_credentials c = {.user = a->way.user, .password = a->password};

    if (told->status != DIRECTORY_FOUND || told->is_useless)
        return c;
    if (f->backend_user.n > 0)
        c.user = f->backend_user;
    if (f->backend_password.n > 0) {
        c.password = f->backend_password;
    } else if (f->master_user.n > 0) {
        c.authzid = c.user;
        c.user = f->master_user;
        c.password = f->master_password;
    }
    return c;
}

/* --- all -------------------------------------------------------------------------------------- */

static int log_in(struct attempt *a)
{
    char prompt[IPC_USER_MAX + CONF_NAME_MAX + 32];
    struct login_credentials c;
    struct err err;

    fflush(stdout);
    snprintf(prompt, sizeof prompt, "Password of %.*s, for %s: ", SLICE_ARG(a->way.user),
             title_of(a));
    if (password_read(a->words->password_file, prompt, &a->password, &err) < 0)
        return failed(a, CLI_USAGE, err.text);
    if (check_password(a)) {
        c = credentials(a);
        talk_login(&a->way, a->backend, &c, &a->steps, &a->end);
    }
    password_free(&a->password);
    return show_result(a);
}

static int run(struct attempt *a)
{
    struct err err;

    if (a->words->backend && way_backend(&a->way, a->words->backend, &a->backend, &err) < 0)
        return failed(a, CLI_USAGE, err.text);
    if (way_find(&a->way, &err) < 0)
        return failed(a, LOGIN_NO_VERDICT, err.text);
    if (choose(a))
        return log_in(a);
    if (a->way.end == WAY_WAITS)
        return end(a, LOGIN_NO_VERDICT, "the user is on hold: a login would wait for release");
    return end(a, a->way.is_disabled ? LOGIN_REFUSED : LOGIN_NO_VERDICT, a->way.why);
}

static int open_way(const struct way_words *words, struct ctl_show *show, const struct conf *conf)
{
    struct attempt a = {.words = words,
                        .show = show,
                        .steps = {.show = show, .is_explained = words->is_explained},
                        .backend = BACKEND_NONE};
    struct err err;
    int status;

    if (way_init(&a.way, conf, &words->way, &err) < 0)
        return failed(&a, CLI_USAGE, err.text);
    status = run(&a);
    way_done(&a.way);
    return status;
}

int cli_login(int argc, char **argv)
{
    struct way_words words;
    struct ctl_show show;
    struct conf *conf;
    struct err err;
    int status;

    if (way_words_read(argc, argv, &words) != CLI_OK)
        return CLI_USAGE;
    if (cli_load_settings(words.file, &conf) != CLI_OK)
        return CLI_USAGE;
    /* Where memory cannot be locked the password is wiped all the same. */
    if (secret_begin(&err) < 0)
        err.code = 0;
    ctl_show_init(&show, stdout, COMMAND_ROUTE, words.is_json);
    status = open_way(&words, &show, conf);
    ctl_show_free(&show);
    conf_free(&conf);
    secret_end();
    return status;
}
