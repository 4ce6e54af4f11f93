/* The words of `usher route` and `usher login`. */
#include "cli/route_words.h"

#include "base/buf.h"
#include "base/term.h"
#include "cli/cli.h"
#include "conf/nearest.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { TOLD_MOST = 4096, ESCAPED_MOST = 4, OPTIONS_MOST = 9 };

void way_tell(const struct way_words *words, const char *text)
{
    struct buf safe;

    buf_init(&safe, TOLD_MOST * ESCAPED_MOST + 1, false);
    if (term_escape(&safe, slice_sub(slice_str(text), 0, TOLD_MOST)) == 0)
        fprintf(stderr, "usher %s: %.*s\n", words->command, SLICE_ARG(buf_slice(&safe)));
    buf_release(&safe);
}

static int wrong(const struct way_words *words, const char *what, const char *word)
{
    struct err err;

    (void)err_set(&err, 0, "%s%s%s", what, word ? " " : "", word ? word : "");
    way_tell(words, err.text);
    return cli_usage(words->command);
}

/* "unknown option --lisener; did you mean --listener?" */
static int unknown(const struct way_words *words, const char *word, const struct option *longs)
{
    const char *names[OPTIONS_MOST], *near;
    char name[64];
    struct err err;
    size_t n = 0;

    while (n < OPTIONS_MOST && longs[n].name) {
        names[n] = longs[n].name;
        n++;
    }
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    near = strncmp(name, "--", 2) == 0 ? nearest(name + 2, names, n) : NULL;
    (void)err_set(&err, 0, "unknown option %s%s%s%s", name, near ? "; did you mean --" : "",
                  near ? near : "", near ? "?" : "");
    way_tell(words, err.text);
    return cli_usage(words->command);
}

static void take(struct way_words *w, int c, const char *value)
{
    switch (c) {
    case 'c':
        w->file = value;
        break;
    case 'p':
        w->way.pool = value;
        break;
    case 'l':
        w->way.listener = value;
        break;
    case 'j':
        w->is_json = true;
        break;
    case 'b':
        w->backend = value;
        break;
    case 'f':
        w->password_file = value;
        break;
    default:
        w->is_explained = true;
        break;
    }
}

/* What is left of the words is the user. */
static int take_user(struct way_words *w, int n, char **words)
{
    if (n == 0)
        return wrong(w, "whose? Name a user", NULL);
    if (n > 1)
        return wrong(w, "one user at a time, not also", words[1]);
    if (w->way.pool && w->way.listener)
        return wrong(w, "--pool and --listener say the same: write one of them", NULL);
    w->way.user = words[0];
    return CLI_OK;
}

int way_words_read(int argc, char **argv, struct way_words *out_words)
{
    static const struct option route[] = {
        {"config", required_argument, NULL, 'c'},
        {"pool", required_argument, NULL, 'p'},
        {"listener", required_argument, NULL, 'l'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    static const struct option login[] = {
        {"config", required_argument, NULL, 'c'},
        {"pool", required_argument, NULL, 'p'},
        {"listener", required_argument, NULL, 'l'},
        {"json", no_argument, NULL, 'j'},
        {"backend", required_argument, NULL, 'b'},
        {"password-file", required_argument, NULL, 'f'},
        {"explain", no_argument, NULL, 'e'},
        {"password", required_argument, NULL, 'x'},
        /* is not the one above, cut short */ {NULL, 0, NULL, 0},
    };
    struct way_words w = {.command = argv[0], .file = CLI_DEFAULT_FILE};
    const struct option *longs = strcmp(argv[0], "login") == 0 ? login : route;
    int c, at = 1;

    optind = 0; /* glibc: begin anew */
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":c:", longs, NULL)) != -1) {
        if (c == ':')
            return wrong(&w, "a value is missing behind", argv[optind - 1]);
        if (c == 'x')
            return wrong(&w, "a password does not belong on a command line, where others see it",
                         NULL);
        if (c == '?')
            return unknown(&w, argv[optind > at ? optind - 1 : optind], longs);
        take(&w, c, optarg);
        at = optind;
    }
    if (take_user(&w, argc - optind, argv + optind) != CLI_OK)
        return CLI_USAGE;
    *out_words = w;
    return CLI_OK;
}
