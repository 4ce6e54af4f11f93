/* usher check: is the configuration good? */
#include "directory/check.h"
#include "cli/cli.h"
#include "conf/conf.h"
#include "parent/certificates.h"
#include "parent/files.h"
#include "parent/passwords.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Mistakes and warnings, told as they are found. */
struct tally {
    unsigned mistakes, warnings;
    bool with_warnings; /* whether they are told */
};

static const char *plural(unsigned n)
{
    return n == 1 ? "" : "s";
}

/* Where it is, in bold on a terminal; nothing else is marked. */
static void tell(const struct conf_where *where, const char *kind, const char *text)
{
    const bool is_bold = isatty(STDERR_FILENO) && !getenv("NO_COLOR");

    fputs(is_bold ? "\033[1m" : "", stderr);
    if (where->line)
        fprintf(stderr, "%s:%u:", where->file, where->line);
    else
        fprintf(stderr, "%s:", where->file);
    fprintf(stderr, "%s %s%s\n", is_bold ? "\033[0m" : "", kind, text);
}

static void on_mistake(void *arg, const struct conf_where *where, const char *text)
{
    struct tally *t = arg;

    t->mistakes++;
    tell(where, "", text);
}

static int print(const struct conf *conf)
{
    struct err err;

    if (conf_print(conf, stdout, &err) == 0)
        return CLI_OK;
    fprintf(stderr, "usher check: %s\n", err.text);
    return CLI_FAILED;
}

struct files_told {
    struct tally *tally;
    const char *path; /* of the configuration, for what stands on no line */
};

static void on_finding(void *arg, const struct certificates_finding *finding)
{
    const struct files_told *told = arg;
    const struct conf_where whole = {told->path, 0};
    const struct conf_where *where = finding->where ? finding->where : &whole;

    if (finding->is_mistake) {
        on_mistake(told->tally, where, finding->text);
    } else if (told->tally->with_warnings) {
        told->tally->warnings++;
        tell(where, "warning: ", finding->text);
    }
}

/* What the files say that the configuration names. */
static void check_files(const struct conf *conf, const char *path, struct tally *t)
{
    struct files_told told = {t, path};
    const struct conf_where whole = {path, 0};
    struct files files;
    struct err err;
    unsigned before = t->mistakes, found;

    if (files_read(conf, &files, &err) < 0) {
        on_mistake(t, &whole, err.text);
        return;
    }
    found = certificates_check(conf, &files, time(NULL), on_finding, &told) +
            passwords_check(conf, &files, on_finding, &told);
    INSIST(found == t->mistakes - before);
    files_free(&files);
}

static void on_directory(void *arg, const struct directory_finding *finding)
{
    struct tally *t = arg;

    if (finding->is_mistake) {
        on_mistake(t, finding->where, finding->text);
    } else if (t->with_warnings) {
        t->warnings++;
        tell(finding->where, "warning: ", finding->text);
    }
}

/* Rules and maps. Where doubts are not told, the maps need not be read. */
static unsigned check_directories(const struct conf *conf, bool with_files, struct tally *t)
{
    return directory_check(conf, with_files && t->with_warnings, on_directory, t);
}

static int load(const char *path, bool with_files, struct tally *t, struct conf **out_conf)
{
    struct conf *conf;
    struct err err;

    if (conf_load(path, &conf, &err) < 0) {
        fprintf(stderr, "%s\n1 mistake\n", err.text);
        return CLI_FAILED;
    }
    if (conf_check(conf, with_files, on_mistake, t) == 0 &&
        check_directories(conf, with_files, t) == 0 && with_files)
        check_files(conf, path, t);
    if (t->mistakes > 0) {
        fprintf(stderr, "%u mistake%s\n", t->mistakes, plural(t->mistakes));
        conf_free(&conf);
        return CLI_FAILED;
    }
    *out_conf = conf;
    return CLI_OK;
}

int cli_load(const char *path, struct conf **out_conf)
{
    struct tally t = {0};

    return load(path, true, &t, out_conf);
}

int cli_load_settings(const char *path, struct conf **out_conf)
{
    struct tally t = {0};

    return load(path, false, &t, out_conf);
}

int cli_check(int argc, char **argv)
{
    struct tally t = {.with_warnings = true};
    struct cli_options o;
    struct conf *conf;
    int status = CLI_OK;

    if (cli_options(argc, argv, &o) != CLI_OK)
        return CLI_USAGE;
    if (load(o.file, o.with_files, &t, &conf) != CLI_OK)
        return CLI_FAILED;
    if (o.is_print)
        status = print(conf);
    else if (t.warnings > 0)
        printf("%s: ok, %u warning%s\n", o.file, t.warnings, plural(t.warnings));
    else
        printf("%s: ok\n", o.file);
    conf_free(&conf);
    return status;
}
