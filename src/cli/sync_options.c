/* usher sync: what the options mean together. */
#include "cli/sync_options.h"

#include "cli/login_parts.h"
#include "cli/sync_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[2] = {"FROM", "TO"};

struct sync_kept {
    struct sync_kept *next;
};

/* Memory that is freed with `o`. */
static void *keep(struct sync_options *o, size_t n, struct err *err)
{
    struct sync_kept *kept = calloc(1, sizeof *kept + n);

    if (!kept) {
        (void)err_set(err, 0, "out of memory");
        return NULL;
    }
    kept->next = o->kept;
    o->kept = kept;
    return kept + 1;
}

static bool is_on(const struct sync_given *g, enum sync_option option)
{
    return g->values[option][0].is_given;
}

static bool is_on_at(const struct sync_given *g, enum sync_option option, size_t side)
{
    return g->values[option][side].is_given;
}

static const char *text_of(const struct sync_given *g, enum sync_option option)
{
    return g->values[option][0].text;
}

static uint64_t number_of(const struct sync_given *g, enum sync_option option)
{
    return g->values[option][0].number;
}

/* --- an account ------------------------------------------------------------------------------- */

/* --ssl1 and its like, without a URL. */
static int choose_tls(const struct sync_given *g, size_t i, struct sync_side *side, struct err *err)
{
    const bool ssl = is_on_at(g, OPTION_SSL, i), nossl = is_on_at(g, OPTION_NOSSL, i);
    const bool tls = is_on_at(g, OPTION_TLS, i), notls = is_on_at(g, OPTION_NOTLS, i);
    const uint16_t port = (uint16_t)g->values[OPTION_PORT][i].number;
    const size_t n = i + 1;

    if (ssl && (nossl || tls))
        return err_set(err, 0, "--ssl%zu and --%s%zu exclude each other", n,
                       nossl ? "nossl" : "tls", n);
    if (tls && notls)
        return err_set(err, 0, "--tls%zu and --notls%zu exclude each other", n, n);
    if (tls)
        side->tls = SYNC_TLS_STARTTLS;
    else if (ssl || (!nossl && (port == 0 || port == sync_url_usual_port(SYNC_TLS_IMPLICIT))))
        side->tls = SYNC_TLS_IMPLICIT;
    else
        side->tls = notls ? SYNC_TLS_OFF : SYNC_TLS_STARTTLS;
    side->port = port ? port : sync_url_usual_port(side->tls);
    return 0;
}

static int set_user(struct sync_account *a, const char *user, struct err *err)
{
    if (sync_url_check_user(slice_str(user), err) < 0)
        return -1;
    snprintf(a->user, sizeof a->user, "%s", user);
    return 0;
}

/* From --host1 and what belongs to it. */
static int read_host(const struct sync_given *g, size_t i, struct sync_account *a,
                     struct sync_side *side, struct err *err)
{
    const char *host = g->values[OPTION_HOST][i].text;

    if (sync_url_check_host(slice_str(host), err) < 0)
        return err_prefix(err, "--host%zu", i + 1);
    snprintf(a->host, sizeof a->host, "%s", host);
    return choose_tls(g, i, side, err);
}

static int read_url(const struct sync_given *g, size_t i, struct sync_account *a,
                    struct sync_side *side, struct err *err)
{
    static const enum sync_option others[] = {OPTION_PORT, OPTION_SSL, OPTION_NOSSL, OPTION_TLS,
                                              OPTION_NOTLS};
    struct sync_url url;

    for (size_t o = 0; o < sizeof others / sizeof *others; o++)
        if (is_on_at(g, others[o], i))
            return err_set(err, 0,
                           "--%s%zu belongs to --host%zu: write it in the URL of %s instead",
                           sync_rows[others[o]].name, i + 1, i + 1, names[i]);
    if (sync_url_parse(slice_str(g->urls[i]), &url, err) < 0)
        return err_prefix(err, "%s", names[i]);
    if (url.user[0] && is_on_at(g, OPTION_USER, i))
        return err_set(err, 0, "%s has a user in its URL, and another one by --user%zu", names[i],
                       i + 1);
    memcpy(a->host, url.host, sizeof a->host);
    memcpy(a->user, url.user, sizeof a->user);
    side->tls = url.tls;
    side->port = url.port ? url.port : sync_url_usual_port(url.tls);
    return 0;
}

static int read_password(struct sync_given *g, size_t i, struct sync_account *a, struct err *err)
{
    static const struct {
        enum sync_option option;
        enum sync_password_from from;
    } ways[] = {{OPTION_PASSWORD_FILE, PASSWORD_FILE},
                {OPTION_PASSWORD_ENV, PASSWORD_ENV},
                {OPTION_PASSWORD_COMMAND, PASSWORD_COMMAND},
                {OPTION_PASSWORD, PASSWORD_GIVEN}};

    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        if (!is_on_at(g, ways[w].option, i))
            continue;
        if (a->password_from != PASSWORD_ASKED)
            return err_set(err, 0, "%s has its password in two ways, --%s%zu being the second",
                           names[i], sync_rows[ways[w].option].name, i + 1);
        a->password_from = ways[w].from;
        a->word = g->values[ways[w].option][i].text;
    }
    a->password = g->passwords[i];
    g->passwords[i] = slice_of(NULL, 0);
    return 0;
}

/* Who is shown to the server, and for whom. */
static int read_users(const struct sync_given *g, size_t i, struct sync_account *a,
                      struct sync_side *side, struct err *err)
{
    const char *user = g->values[OPTION_USER][i].text;
    const char *master = g->values[OPTION_AUTHUSER][i].text;

    if (user && set_user(a, user, err) < 0)
        return err_prefix(err, "--user%zu", i + 1);
    if (a->user[0] == '\0')
        return err_set(err, 0,
                       "%s has no user: write it in the URL before \"@\", or --user%zu USER",
                       names[i], i + 1);
    if (master && sync_url_check_user(slice_str(master), err) < 0)
        return err_prefix(err, "--authuser%zu", i + 1);
    snprintf(a->authuser, sizeof a->authuser, "%s", master ? master : "");
    side->user = slice_str(master ? a->authuser : a->user);
    side->authzid = master ? slice_str(a->user) : slice_of(NULL, 0);
    return 0;
}

static int read_account(struct sync_options *o, struct sync_given *g, size_t i, struct err *err)
{
    struct sync_account *a = &o->accounts[i];
    struct sync_side *side = i == 0 ? &o->params.from : &o->params.to;
    int done = g->urls_n == 2 ? read_url(g, i, a, side, err) : read_host(g, i, a, side, err);

    if (done < 0 || read_users(g, i, a, side, err) < 0 || read_password(g, i, a, err) < 0)
        return -1;
    side->name = i == 0 ? "from" : "to";
    side->host = a->host;
    side->verifies = !is_on_at(g, OPTION_NO_VERIFY, i);
    a->may_be_clear = is_on_at(g, OPTION_CLEARTEXT, i);
    return 0;
}

static int read_accounts(struct sync_options *o, struct sync_given *g, struct err *err)
{
    const bool host1 = is_on_at(g, OPTION_HOST, 0), host2 = is_on_at(g, OPTION_HOST, 1);

    if (g->urls_n == 1 || (g->urls_n == 2 && (host1 || host2)))
        return err_set(err, 0,
                       "write both accounts as URLs, FROM and TO, or both by --host1 and "
                       "--host2");
    if (g->urls_n == 0 && !(host1 && host2))
        return err_set(err, 0, "%s",
                       !host1 && !host2 ? "FROM and TO are missing: imaps://USER@HOST twice"
                       : host1          ? "--host2 is missing"
                                        : "--host1 is missing");
    return read_account(o, g, 0, err) < 0 || read_account(o, g, 1, err) < 0 ? -1 : 0;
}

/* --- folders and messages --------------------------------------------------------------------- */

/* "A=B" in two texts. */
static int split_pair(struct sync_options *o, const char *word, struct sync_pair *out,
                      struct err *err)
{
    const char *equals = strchr(word, '=');
    char shown[SYNC_SHOWN], *from;

    if (!equals || equals == word || equals[1] == '\0')
        return err_set(err, 0, "--f1f2 \"%s\": write FOLDER1=FOLDER2", sync_show_word(word, shown));
    from = keep(o, (size_t)(equals - word) + 1, err);
    if (!from)
        return -1;
    memcpy(from, word, (size_t)(equals - word));
    *out = (struct sync_pair){from, equals + 1};
    return 0;
}

static int read_pairs(struct sync_options *o, const struct sync_given *g, struct err *err)
{
    const struct sync_words *words = &g->lists[OPTION_F1F2];
    struct sync_pair *pairs = keep(o, (words->n + 1) * sizeof *pairs, err);

    if (!pairs)
        return -1;
    for (size_t i = 0; i < words->n; i++)
        if (split_pair(o, words->items[i], &pairs[i], err) < 0)
            return -1;
    o->params.choice.pairs = pairs;
    o->params.choice.pairs_n = words->n;
    return 0;
}

/* The texts lie in argv, the list of them is kept. */
static int keep_words(struct sync_options *o, const struct sync_given *g, enum sync_option option,
                      struct sync_words *out, struct err *err)
{
    const struct sync_words *words = &g->lists[option];
    const char **items = keep(o, (words->n + 1) * sizeof *items, err);

    if (!items)
        return -1;
    for (size_t i = 0; i < words->n; i++)
        items[i] = words->items[i];
    *out = (struct sync_words){items, words->n};
    return 0;
}

static int read_choice(struct sync_options *o, const struct sync_given *g, struct err *err)
{
    struct sync_choice *c = &o->params.choice;

    c->automap = is_on(g, OPTION_AUTOMAP);
    c->subfolder1 = text_of(g, OPTION_SUBFOLDER1);
    c->subfolder2 = text_of(g, OPTION_SUBFOLDER2);
    if (keep_words(o, g, OPTION_FOLDER, &c->folders, err) < 0 ||
        keep_words(o, g, OPTION_FOLDERREC, &c->subtrees, err) < 0 ||
        keep_words(o, g, OPTION_INCLUDE, &c->includes, err) < 0 ||
        keep_words(o, g, OPTION_EXCLUDE, &c->excludes, err) < 0 ||
        keep_words(o, g, OPTION_REGEXTRANS2, &c->regextrans2, err) < 0)
        return -1;
    return read_pairs(o, g, err);
}

/* The criteria become part of a command; they may not end it, nor announce a literal. */
static int read_search(struct sync_params *p, const char *criteria, struct err *err)
{
    const size_t n = criteria ? strlen(criteria) : 0;

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)criteria[i] < ' ' || criteria[i] == 0x7f)
            return err_set(err, 0, "--search has a control character in it");
    if (n > 0 && criteria[n - 1] == '}')
        return err_set(err, 0, "--search cannot have literals: write texts in double quotes");
    p->search = criteria;
    return 0;
}

static int read_messages(struct sync_params *p, const struct sync_given *g, struct err *err)
{
    p->max_size = number_of(g, OPTION_MAXSIZE);
    p->min_size = number_of(g, OPTION_MINSIZE);
    p->max_age_s = (uint32_t)number_of(g, OPTION_MAXAGE);
    p->min_age_s = (uint32_t)number_of(g, OPTION_MINAGE);
    if (p->max_size > 0 && p->min_size > p->max_size)
        return err_set(err, 0, "--minsize is more than --maxsize: no message would be left");
    if (p->max_age_s > 0 && p->min_age_s >= p->max_age_s)
        return err_set(err, 0, "--minage is not less than --maxage: no message would be left");
    return read_search(p, text_of(g, OPTION_SEARCH), err);
}

/* --- what is done ----------------------------------------------------------------------------- */

static int read_what(struct sync_params *p, const struct sync_given *g, struct err *err)
{
    static const struct {
        enum sync_option option;
        enum sync_what what;
    } justs[] = {{OPTION_JUSTLOGIN, SYNC_LOGIN},
                 {OPTION_JUSTFOLDERS, SYNC_FOLDERS},
                 {OPTION_JUSTFOLDERSIZES, SYNC_SIZES}};
    const char *first = NULL;

    p->what = g->is_verify ? SYNC_VERIFY : SYNC_ALL;
    for (size_t i = 0; i < sizeof justs / sizeof *justs; i++) {
        if (!is_on(g, justs[i].option))
            continue;
        if (first)
            return err_set(err, 0, "--%s and --%s exclude each other", first,
                           sync_rows[justs[i].option].name);
        first = sync_rows[justs[i].option].name;
        p->what = justs[i].what;
    }
    if (first && is_on(g, OPTION_DELETE2))
        return err_set(err, 0, "--%s and --delete2 exclude each other", first);
    return 0;
}

static int read_deletes(struct sync_params *p, const struct sync_given *g, struct err *err)
{
    p->deletes = is_on(g, OPTION_DELETE2);
    p->delete_share = (unsigned)number_of(g, OPTION_DELETE2_SHARE);
    if (!p->deletes && is_on(g, OPTION_DELETE2_SHARE))
        return err_set(err, 0, "--delete2-share means nothing without --delete2");
    return 0;
}

static void read_ways(struct sync_params *p, const struct sync_given *g)
{
    p->is_dry = is_on(g, OPTION_DRY);
    p->is_full = is_on(g, OPTION_FULL);
    p->sample = (unsigned)number_of(g, OPTION_SAMPLE);
    p->with_subscriptions = !is_on(g, OPTION_NO_SUBSCRIBE);
    p->with_acl = !is_on(g, OPTION_NO_ACL);
    p->with_metadata = !is_on(g, OPTION_NO_METADATA);
    p->with_quota = !is_on(g, OPTION_NO_QUOTA);
    p->lanes = (unsigned)number_of(g, OPTION_CONNECTIONS);
    p->memory = number_of(g, OPTION_MEMORY);
    p->max_rate = number_of(g, OPTION_MAXBYTESPERSECOND);
    p->max_errors = (unsigned)number_of(g, OPTION_ERRORSMAX);
    p->timeout_ms = (uint32_t)number_of(g, OPTION_TIMEOUT);
    p->compress = (enum sync_compress)number_of(g, OPTION_COMPRESS);
}

static int read_telling(struct sync_options *o, const struct sync_given *g, struct err *err)
{
    o->ca = text_of(g, OPTION_CA);
    o->html = text_of(g, OPTION_HTML);
    o->log = text_of(g, OPTION_LOG);
    o->is_json = is_on(g, OPTION_JSON);
    o->is_verbose = is_on(g, OPTION_VERBOSE);
    o->is_quiet = is_on(g, OPTION_QUIET);
    o->params.journal = text_of(g, OPTION_JOURNAL);
    o->has_journal = !is_on(g, OPTION_NO_JOURNAL);
    if (o->is_quiet && o->is_verbose)
        return err_set(err, 0, "--quiet and --verbose exclude each other");
    if (o->params.journal && !o->has_journal)
        return err_set(err, 0, "--journal and --no-journal exclude each other");
    return 0;
}

/* --- all -------------------------------------------------------------------------------------- */

static int understand(struct sync_options *o, struct sync_given *g, struct err *err)
{
    o->is_verify = g->is_verify;
    o->asks_help = g->asks_help;
    if (g->asks_help)
        return 0;
    if (read_accounts(o, g, err) < 0 || read_choice(o, g, err) < 0 ||
        read_messages(&o->params, g, err) < 0 || read_what(&o->params, g, err) < 0 ||
        read_deletes(&o->params, g, err) < 0)
        return -1;
    read_ways(&o->params, g);
    return read_telling(o, g, err);
}

int sync_options_read(struct sync_options *o, int argc, char **argv, struct err *err)
{
    struct sync_given *g = malloc(sizeof *g);
    int done;

    *o = (struct sync_options){.is_verify = false};
    if (!g)
        return err_set(err, 0, "out of memory");
    done = sync_given_read(g, argc, argv, err);
    if (done == 0)
        done = understand(o, g, err);
    sync_given_free(g);
    free(g);
    return done;
}

void sync_options_free(struct sync_options *o)
{
    password_free(&o->accounts[0].password);
    password_free(&o->accounts[1].password);
    while (o->kept) {
        struct sync_kept *next = o->kept->next;

        free(o->kept);
        o->kept = next;
    }
}
