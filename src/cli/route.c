/* usher route: has the words read, the way found out, and shown. */
#include "cli/route.h"

#include "cli/cli.h"
#include "cli/ctl_show.h"
#include "cli/route_way.h"
#include "cli/route_words.h"

#include <errno.h>
#include <stdio.h>

static int failed(const struct way_words *words, struct ctl_show *show, const char *text)
{
    ctl_show_error(show, text, "failed");
    fflush(stdout);
    way_tell(words, text);
    return ROUTE_FAILED;
}

static int show_way(const struct way_words *words, struct ctl_show *show, const struct way *w)
{
    static const int statuses[] = {[WAY_GOES] = ROUTE_SERVED,
                                   [WAY_WAITS] = ROUTE_SERVED,
                                   [WAY_REFUSED] = ROUTE_REFUSED,
                                   [WAY_UNKNOWN] = ROUTE_FAILED};
    struct err err;

    if (words->is_json) {
        json_t *route = route_json(w, words->way.user);

        if (!route)
            return failed(words, show, "out of memory");
        ctl_show_done(show, route);
        json_decref(route);
    } else {
        route_page(show, w, words->way.user);
    }
    if (show->is_failed)
        return failed(words, show, "out of memory: not all was shown");
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)err_sys(&err, errno, "cannot write");
        way_tell(words, err.text);
        return ROUTE_FAILED;
    }
    return statuses[w->end];
}

static int run(const struct way_words *words, struct ctl_show *show, const struct conf *conf)
{
    struct way w;
    struct err err;
    int status;

    if (way_init(&w, conf, &words->way, &err) < 0) {
        ctl_show_error(show, err.text, "usage");
        fflush(stdout);
        way_tell(words, err.text);
        return CLI_USAGE;
    }
    status = way_find(&w, &err) == 0 ? show_way(words, show, &w) : failed(words, show, err.text);
    way_done(&w);
    return status;
}

int cli_route(int argc, char **argv)
{
    struct way_words words;
    struct ctl_show show;
    struct conf *conf;
    int status;

    if (way_words_read(argc, argv, &words) != CLI_OK)
        return CLI_USAGE;
    if (cli_load_settings(words.file, &conf) != CLI_OK)
        return CLI_USAGE;
    ctl_show_init(&show, stdout, COMMAND_ROUTE, words.is_json);
    status = run(&words, &show, conf);
    ctl_show_free(&show);
    conf_free(&conf);
    return status;
}
