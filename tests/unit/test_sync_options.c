/* The command lines of `usher sync` and `usher verify`: URLs, options, imapsync's words, and what
 * is said of those that are wrong. */
#include "cli/sync_options.h"

#include "base/secret.h"
#include "cli/sync_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm.h"

/* ---- Helpers ---- */

/* "TLS USER HOST PORT", with "-" for what is not there; or "! " and the error. In the program's own
 * memory, until the next call. Parses a copy that ends where the memory does. */
static const char *url(const char *text)
{
    static char told[1024];
    static const char *const tls[] = {"off", "starttls", "implicit"};
    const size_t n = strlen(text);
    char *copy = malloc(n + 1);
    struct sync_url u;
    struct err err;

    assert_non_null(copy);
    memcpy(copy, text, n);
    if (sync_url_parse(slice_of(copy, n), &u, &err) < 0)
        snprintf(told, sizeof told, "! %s", err.text);
    else
        snprintf(told, sizeof told, "%s %s %s %u", tls[u.tls], u.user[0] ? u.user : "-", u.host,
                 u.port);
    free(copy);
    return told;
}

enum { WORDS = 40 };

/* A command line, its words in memory of their own, as they may be wiped. */
struct line {
    int argc;
    char *argv[WORDS];
    struct sync_options options;
    int done;
    struct err err;
};

/* Words are separated by blanks; "~" in one is a blank. */
static struct line *read_line(const char *text)
{
    struct line *l = calloc(1, sizeof *l);

    assert_non_null(l);
    while (*text) {
        const size_t n = strcspn(text, " ");
        char *word = strndup(text, n);

        assert_non_null(word);
        for (char *c = word; *c; c++)
            if (*c == '~')
                *c = ' ';
        assert_true(l->argc < WORDS);
        l->argv[l->argc++] = word;
        text += n;
        text += strspn(text, " ");
    }
    l->done = sync_options_read(&l->options, l->argc, l->argv, &l->err);
    return l;
}

static void done(struct line **l)
{
    for (int i = 0; i < (*l)->argc; i++)
        free((*l)->argv[i]);
    sync_options_free(&(*l)->options);
    free(*l);
    *l = NULL;
}

#define URLS "sync imaps://ann@a imaps://ann@b "

static struct line *good(const char *text)
{
    struct line *l = read_line(text);

    if (l->done < 0)
        fail_msg("%s: %s", text, l->err.text);
    return l;
}

/* The error holds these words. */
static void refuses(const char *text, const char *words)
{
    struct line *l = read_line(text);

    if (l->done == 0)
        fail_msg("%s: was taken", text);
    if (!strstr(l->err.text, words))
        fail_msg("%s: %s", text, l->err.text);
    done(&l);
}

static const struct sync_side *side(const struct line *l, int i)
{
    return i == 1 ? &l->options.params.from : &l->options.params.to;
}

static void assert_slice(struct slice s, const char *text)
{
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

/* ---- URLs ---- */

static void test_a_url_has_its_parts(void **state)
{
    static const char *const rows[][2] = {
        {"imaps://ann@mail.example.org", "implicit ann mail.example.org 0"},
        {"imaps://ann@mail.example.org/", "implicit ann mail.example.org 0"},
        {"imap://ann@127.0.0.1:1143", "off ann 127.0.0.1 1143"},
        {"imap+starttls://ann@h:65535", "starttls ann h 65535"},
        {"IMAPS://Ann@H", "implicit Ann H 0"},
        {"imaps://h", "implicit - h 0"},
        {"imaps://ann@example.org@h", "implicit ann@example.org h 0"},
        {"imaps://ann%40example.org@h:1", "implicit ann@example.org h 1"},
        {"imaps://ann%2fb%3A%25c@h", "implicit ann/b:%c h 0"},
        {"imaps://%c3%a4@h", "implicit \xc3\xa4 h 0"},
        {"imaps://\xc3\xa4@h", "implicit \xc3\xa4 h 0"},
        {"imaps://ann*carrier@h", "implicit ann*carrier h 0"},
        {"imaps://ann;AUTH=*@h", "implicit ann h 0"},
        {"imaps://ann;auth=*@h", "implicit ann h 0"},
        {"imaps://;AUTH=*@h", "implicit - h 0"},
        {"imaps://a;b@h", "implicit a;b h 0"},
        {"imaps://ann@[::1]", "implicit ann ::1 0"},
        {"imaps://ann@[2001:db8::1]:994", "implicit ann 2001:db8::1 994"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(url(rows[i][0]), rows[i][1]);
}

static void test_a_url_that_is_none_is_refused_with_a_reason(void **state)
{
    static const char *const rows[][2] = {
        {"", "write it as imaps://"},
        {"ann@h", "write it as imaps://"},
        {"imaps:ann@h", "write it as imaps://"},
        {"imaps:/", "write it as imaps://"},
        {"pop3://ann@h", "write imaps://"},
        {"imap+ssl://ann@h", "write imaps://"},
        {"imaps://", "the host is missing"},
        {"imaps://ann@", "the host is missing"},
        {"imaps://ann@:143", "the host is missing"},
        {"imaps://@h", "the user is empty"},
        {"imaps://ann@h:", "a port"},
        {"imaps://ann@h:0", "a port"},
        {"imaps://ann@h:65536", "a port"},
        {"imaps://ann@h:1x", "a port"},
        {"imaps://ann@2001:db8::1", "stands in brackets"},
        {"imaps://ann@[2001:db8::1", "not closed"},
        {"imaps://ann@[]", "no IPv6 address"},
        {"imaps://ann@[127.0.0.1]", "no IPv6 address"},
        {"imaps://ann@[h]", "no IPv6 address"},
        {"imaps://ann@[fe80::1%25lo]", "no IPv6 address"},
        {"imaps://ann@[::1]x", "a port"},
        {"imaps://ann@h h", "neither a name nor an address"},
        {"imaps://ann@h%20", "neither a name nor an address"},
        {"imaps://ann@\xc3\xa4", "xn--"},
        {"imaps://ann@h/INBOX", "--folder"},
        {"imaps://ann/b@h", "%2F"},
        {"imaps://ann@h?x", "nothing may stand behind the host"},
        {"imaps://ann@h#", "nothing may stand behind the host"},
        {"imaps://ann@h/a@evil", "nothing may stand behind the host"},
        {"imaps://ann;AUTH=GSSAPI@h", "chosen by itself"},
        {"imaps://ann;AUTH=@h", "chosen by itself"},
        {"imaps://ann%@h", "%25"},
        {"imaps://ann%4@h", "%25"},
        {"imaps://ann%4g@h", "%25"},
        {"imaps://ann%00@h", "NUL"},
        {"imaps://ann%0d%0ab@h", "control character"},
        {"imaps://ann%7f@h", "control character"},
        {"imaps://ann%e4@h", "not UTF-8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *told = url(rows[i][0]);

        if (strncmp(told, "! ", 2) != 0 || !strstr(told, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], told);
    }
}

static void test_a_password_in_a_url_is_refused_and_not_repeated(void **state)
{
    static const char *const rows[] = {"imaps://ann:geheim@h", "imaps://ann:geheim@x@h",
                                       "imap://:geheim@h", "imaps://ann@x:geheim@h"};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *told = url(rows[i]);

        assert_non_null(strstr(told, "a password may not stand in the URL"));
        assert_null(strstr(told, "geheim"));
    }
    /* Nor where the URL is wrong in another way. */
    assert_null(strstr(url("imaps://ann:geh/eim@h"), "geh"));
    assert_null(strstr(url("http://ann:geheim@h"), "geheim"));
}

static void test_long_users_and_hosts_are_refused(void **state)
{
    char text[2048];

    (void)state;
    snprintf(text, sizeof text, "imaps://%0*d@h", SYNC_URL_USER - 1, 0);
    assert_true(strncmp(url(text), "implicit 0", 10) == 0);
    snprintf(text, sizeof text, "imaps://%0*d@h", SYNC_URL_USER, 0);
    assert_non_null(strstr(url(text), "longer than"));
    snprintf(text, sizeof text, "imaps://a@%0*d", SYNC_URL_HOST - 1, 0);
    assert_true(strncmp(url(text), "implicit a 0", 12) == 0);
    snprintf(text, sizeof text, "imaps://a@%0*d", SYNC_URL_HOST, 0);
    assert_non_null(strstr(url(text), "longer than"));
}

/* ---- Accounts ---- */

static void test_two_urls_are_from_and_to(void **state)
{
    struct line *l = good("sync imap://ann@a imap+starttls://b%40c@[::1]:7");

    (void)state;
    assert_string_equal(side(l, 1)->name, "from");
    assert_string_equal(side(l, 1)->host, "a");
    assert_int_equal(side(l, 1)->port, 143);
    assert_int_equal(side(l, 1)->tls, SYNC_TLS_OFF);
    assert_slice(side(l, 1)->user, "ann");
    assert_slice(side(l, 1)->authzid, "");
    assert_true(side(l, 1)->verifies);
    assert_string_equal(side(l, 2)->name, "to");
    assert_string_equal(side(l, 2)->host, "::1");
    assert_int_equal(side(l, 2)->port, 7);
    assert_int_equal(side(l, 2)->tls, SYNC_TLS_STARTTLS);
    assert_slice(side(l, 2)->user, "b@c");
    assert_false(l->options.accounts[0].may_be_clear);
    done(&l);
}

static void test_imapsyncs_words_for_tls(void **state)
{
    static const struct {
        const char *words;
        enum sync_tls tls;
        unsigned port;
    } rows[] = {
        {"", SYNC_TLS_IMPLICIT, 993},
        {"--ssl1", SYNC_TLS_IMPLICIT, 993},
        {"--ssl1 --notls1", SYNC_TLS_IMPLICIT, 993},
        {"--notls1", SYNC_TLS_IMPLICIT, 993},
        {"--port1 993", SYNC_TLS_IMPLICIT, 993},
        {"--port1 143", SYNC_TLS_STARTTLS, 143},
        {"--port1 1143", SYNC_TLS_STARTTLS, 1143},
        {"--port1 1143 --notls1", SYNC_TLS_OFF, 1143},
        {"--port1 994 --ssl1", SYNC_TLS_IMPLICIT, 994},
        {"--tls1", SYNC_TLS_STARTTLS, 143},
        {"--tls1 --nossl1", SYNC_TLS_STARTTLS, 143},
        {"--tls1 --port1 993", SYNC_TLS_STARTTLS, 993},
        {"--nossl1", SYNC_TLS_STARTTLS, 143},
        {"--nossl1 --notls1", SYNC_TLS_OFF, 143},
        {"--nossl1 --notls1 --port1 10143", SYNC_TLS_OFF, 10143},
        {"--ssl2 --nossl1 --notls1", SYNC_TLS_OFF, 143},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        struct line *l;

        snprintf(text, sizeof text, "sync --host1 a --user1 u --host2 b --user2 v %s",
                 rows[i].words);
        l = good(text);
        if (side(l, 1)->tls != rows[i].tls || side(l, 1)->port != rows[i].port)
            fail_msg("%s: %d %u", rows[i].words, (int)side(l, 1)->tls, side(l, 1)->port);
        assert_int_equal(side(l, 2)->tls, SYNC_TLS_IMPLICIT);
        done(&l);
    }
}

static void test_authuser_logs_in_for_the_user(void **state)
{
    struct line *l = good("sync --host1 a --user1 ann --authuser1 carrier imaps://ann@b --host2 b "
                          "--user2 ann --help");

    (void)state;
    assert_true(l->options.asks_help);
    done(&l);
    l = good("sync --host1 a --user1 ann --authuser1 carrier --host2 b --user2 ann");
    assert_slice(side(l, 1)->user, "carrier");
    assert_slice(side(l, 1)->authzid, "ann");
    assert_slice(side(l, 2)->user, "ann");
    assert_slice(side(l, 2)->authzid, "");
    done(&l);
    l = good("sync imaps://a imaps://ann@b --user1 ann --authuser2 carrier");
    assert_slice(side(l, 1)->user, "ann");
    assert_slice(side(l, 2)->user, "carrier");
    assert_slice(side(l, 2)->authzid, "ann");
    done(&l);
}

static void test_accounts_that_are_not_clear_are_refused(void **state)
{
    (void)state;
    refuses("sync", "FROM and TO are missing");
    refuses("sync imaps://ann@a", "both accounts as URLs");
    refuses("sync imaps://ann@a --host2 b --user2 u", "both accounts as URLs");
    refuses(URLS "--host1 c", "both accounts as URLs");
    refuses(URLS "imaps://ann@c", "a word too many: imaps://ann@c");
    refuses("sync --host1 a --user1 u", "--host2 is missing");
    refuses("sync --host2 a --user2 u", "--host1 is missing");
    refuses("sync --host1 a --host2 b --user2 v", "FROM has no user");
    refuses("sync imaps://ann@a imaps://b", "TO has no user");
    refuses(URLS "--user1 ann", "FROM has a user in its URL");
    refuses(URLS "--port2 143", "--port2 belongs to --host2");
    refuses(URLS "--ssl1", "--ssl1 belongs to --host1");
    refuses("sync imaps://ann@a imap://ann:pw@b", "TO: a password");
    refuses("sync --host1 imaps://a --user1 u --host2 b --user2 v", "--host1: the host is neither");
    refuses("sync --host1 a --user1 u\xff --host2 b --user2 v", "--user1: the user is not UTF-8");
    refuses(URLS "--authuser2 a\nb", "--authuser2: the user has a control character");
    refuses("sync --host1 a --user1 u --host2 b --user2 v --ssl1 --nossl1", "--ssl1 and --nossl1");
    refuses("sync --host1 a --user1 u --host2 b --user2 v --ssl2 --tls2", "--ssl2 and --tls2");
    refuses("sync --host1 a --user1 u --host2 b --user2 v --tls1 --notls1", "--tls1 and --notls1");
}

/* ---- Passwords ---- */

static void test_passwords_may_come_from_each_place(void **state)
{
    struct line *l = good(URLS "--passfile1 f --password-command2 echo~pw");

    (void)state;
    assert_int_equal(l->options.accounts[0].password_from, PASSWORD_FILE);
    assert_string_equal(l->options.accounts[0].word, "f");
    assert_int_equal(l->options.accounts[1].password_from, PASSWORD_COMMAND);
    assert_string_equal(l->options.accounts[1].word, "echo pw");
    done(&l);
    l = good(URLS "--password-env1=NAME --password-file2=g");
    assert_int_equal(l->options.accounts[0].password_from, PASSWORD_ENV);
    assert_string_equal(l->options.accounts[0].word, "NAME");
    assert_int_equal(l->options.accounts[1].password_from, PASSWORD_FILE);
    done(&l);
    l = good(URLS);
    assert_int_equal(l->options.accounts[0].password_from, PASSWORD_ASKED);
    done(&l);
    refuses(URLS "--passfile1 f --password-env1 N", "FROM has its password in two ways");
    refuses(URLS "--password2 a --passfile2 f", "TO has its password in two ways");
}

static void assert_no_secret(const struct line *l)
{
    for (int i = 0; i < l->argc; i++)
        for (size_t at = 0; at < 64 && l->argv[i][at]; at++)
            assert_int_not_equal(strncmp(l->argv[i] + at, "geheim", 6), 0);
}

static void test_a_password_on_the_command_line_is_taken_and_wiped(void **state)
{
    struct line *l = good(URLS "--password1 geheim --password2=geheim2");

    (void)state;
    assert_int_equal(l->options.accounts[0].password_from, PASSWORD_GIVEN);
    assert_slice(l->options.accounts[0].password, "geheim");
    assert_slice(l->options.accounts[1].password, "geheim2");
    assert_no_secret(l);
    done(&l);
    l = good(URLS "--password1 geheim0 --password1 geheim");
    assert_slice(l->options.accounts[0].password, "geheim");
    assert_no_secret(l);
    done(&l);
    l = read_line(URLS "--password1 geheim --no-such-option");
    assert_int_equal(l->done, -1);
    assert_no_secret(l);
    done(&l);
    refuses(URLS "--password1=", "--password1: the value is empty");
}

static void test_a_mistyped_password_option_does_not_tell_the_password(void **state)
{
    struct line *l = read_line(URLS "--pasword1=geheim");

    (void)state;
    assert_int_equal(l->done, -1);
    assert_string_equal(l->err.text, "there is no option --pasword1; did you mean --password1?");
    done(&l);
}

/* ---- Values ---- */

static void test_defaults_are_those_of_the_table(void **state)
{
    struct line *l = good(URLS);
    const struct sync_params *p = &l->options.params;

    (void)state;
    assert_int_equal(p->what, SYNC_ALL);
    assert_int_equal(p->lanes, 4);
    assert_int_equal(p->memory, 32 << 20);
    assert_int_equal(p->timeout_ms, 120000);
    assert_int_equal(p->max_errors, 1000);
    assert_int_equal(p->delete_share, 25);
    assert_int_equal(p->sample, 1);
    assert_int_equal(p->compress, SYNC_COMPRESS_AUTO);
    assert_int_equal(p->max_rate + p->max_size + p->min_size + p->max_age_s + p->min_age_s, 0);
    assert_false(p->deletes || p->is_dry || p->is_full || p->choice.automap);
    assert_true(p->with_subscriptions && p->with_acl && p->with_metadata && p->with_quota);
    assert_null(p->search);
    assert_null(p->journal);
    assert_true(l->options.has_journal);
    assert_int_equal(p->choice.folders.n + p->choice.pairs_n + p->choice.regextrans2.n, 0);
    done(&l);
}

static void test_values_take_their_units(void **state)
{
    struct line *l =
        good(URLS "--maxsize 8M --minsize=100 --maxage 30 --minage 1.5 --timeout 30s "
                  "--memory 64M --maxbytespersecond 500k --connections 16 --errorsmax 0 "
                  "--compress yes --sample 100 --delete2 --delete2-share 0");
    const struct sync_params *p = &l->options.params;

    (void)state;
    assert_int_equal(p->max_size, 8 << 20);
    assert_int_equal(p->min_size, 100);
    assert_int_equal(p->max_age_s, 30 * 86400);
    assert_int_equal(p->min_age_s, 36 * 3600);
    assert_int_equal(p->timeout_ms, 30000);
    assert_int_equal(p->memory, 64 << 20);
    assert_int_equal(p->max_rate, 500 * 1024);
    assert_int_equal(p->lanes, 16);
    assert_int_equal(p->max_errors, 0);
    assert_int_equal(p->compress, SYNC_COMPRESS_YES);
    assert_int_equal(p->sample, 100);
    assert_true(p->deletes);
    assert_int_equal(p->delete_share, 0);
    done(&l);
    l = good(URLS "--timeout 1500ms --compress no --maxage 36500 --timeout 24h");
    assert_int_equal(l->options.params.timeout_ms, 24 * 3600 * 1000);
    assert_int_equal(l->options.params.compress, SYNC_COMPRESS_NO);
    assert_int_equal(l->options.params.max_age_s, 36500 * UINT64_C(86400));
    done(&l);
}

static void test_values_that_are_none_are_refused(void **state)
{
    static const char *const rows[][2] = {
        {"--maxsize 8m", "--maxsize: \"8m\": write a number of bytes"},
        {"--maxsize -1", "--maxsize"},
        {"--maxsize 0", "1 to 1024G"},
        {"--maxsize 99999999999999999999", "--maxsize"},
        {"--maxsize 18014398509481984k", "--maxsize"},
        {"--maxage 1.2345", "--maxage: \"1.2345\": write a number of days"},
        {"--maxage 1.", "--maxage"},
        {"--maxage .5", "--maxage"},
        {"--maxage 36501", "0.001 to 36500"},
        {"--maxage 5d", "--maxage"},
        {"--timeout 0", "1 to 24h"},
        {"--timeout 5d", "--timeout"},
        {"--connections 0", "1 to 16"},
        {"--connections 17", "1 to 16"},
        {"--connections 4.0", "a whole number"},
        {"--memory 1M", "4M to 4G"},
        {"--compress maybe", "one of auto | no | yes"},
        {"--compress auto|no", "one of auto | no | yes"},
        {"--sample 101", "0 to 100"},
        {"--delete2-share 25", "nothing without --delete2"},
        {"--delete2 --delete2-share 101", "0 to 100"},
        {"--minsize 2 --maxsize 1", "no message would be left"},
        {"--minage 2 --maxage 2", "no message would be left"},
        {"--search SEEN\r\nX", "control character"},
        {"--search TEXT~{5}", "literals"},
        {"--search=", "the value is empty"},
        {"--f1f2 a", "FOLDER1=FOLDER2"},
        {"--f1f2 =a", "FOLDER1=FOLDER2"},
        {"--f1f2 a=", "FOLDER1=FOLDER2"},
        {"--folder", "--folder: needs FOLDER behind it"},
        {"--folder --dry", "a value that begins with --"},
        {"--dry=yes", "--dry: takes no value"},
        {"--justlogin --justfolders", "--justlogin and --justfolders exclude each other"},
        {"--delete2 --justfolders", "--justfolders and --delete2 exclude each other"},
        {"--quiet --verbose", "exclude each other"},
        {"--journal f --no-journal", "exclude each other"},
        {"-dry", "options begin with \"--\""},
        {"-", "options begin with \"--\""},
        {"--", "options begin with \"--\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];

        snprintf(text, sizeof text, URLS "%s", rows[i][0]);
        refuses(text, rows[i][1]);
    }
}

static void assert_words(const struct sync_words *words, const char *a, const char *b)
{
    assert_int_equal(words->n, b ? 2 : 1);
    assert_string_equal(words->items[0], a);
    if (b)
        assert_string_equal(words->items[1], b);
}

static void test_folders_are_listed_in_their_order(void **state)
{
    struct line *l = good(URLS "--folder A --folderrec B --folder=--C --include i --exclude e "
                               "--exclude f --f1f2 x=y --f1f2 p=q=r --automap --subfolder1 S1 "
                               "--subfolder2 S2 --regextrans2 s/a/b/ --regextrans2 s/b/c/");
    const struct sync_choice *c = &l->options.params.choice;

    (void)state;
    assert_words(&c->folders, "A", "--C");
    assert_words(&c->subtrees, "B", NULL);
    assert_words(&c->includes, "i", NULL);
    assert_words(&c->excludes, "e", "f");
    assert_words(&c->regextrans2, "s/a/b/", "s/b/c/");
    assert_int_equal(c->pairs_n, 2);
    assert_string_equal(c->pairs[0].from, "x");
    assert_string_equal(c->pairs[0].to, "y");
    assert_string_equal(c->pairs[1].from, "p");
    assert_string_equal(c->pairs[1].to, "q=r");
    assert_true(c->automap);
    assert_string_equal(c->subfolder1, "S1");
    assert_string_equal(c->subfolder2, "S2");
    done(&l);
}

static void test_what_is_done_and_told(void **state)
{
    struct line *l = good(URLS "--dry --full --justfolders --no-acl --no-metadata --no-quota "
                               "--nosubscribe --json --html h --logfile l --verbose --ca c "
                               "--journal j --cleartext2 --no-verify1 --search SINCE~1-Jan-2025");
    const struct sync_params *p = &l->options.params;

    (void)state;
    assert_int_equal(p->what, SYNC_FOLDERS);
    assert_true(p->is_dry && p->is_full);
    assert_false(p->with_acl || p->with_metadata || p->with_quota || p->with_subscriptions);
    assert_true(l->options.is_json && l->options.is_verbose && !l->options.is_quiet);
    assert_string_equal(l->options.html, "h");
    assert_string_equal(l->options.log, "l");
    assert_string_equal(l->options.ca, "c");
    assert_string_equal(p->journal, "j");
    assert_string_equal(p->search, "SINCE 1-Jan-2025");
    assert_false(l->options.accounts[0].may_be_clear);
    assert_true(l->options.accounts[1].may_be_clear);
    assert_false(p->from.verifies);
    assert_true(p->to.verifies);
    done(&l);
    l = good(URLS "--justlogin");
    assert_int_equal(l->options.params.what, SYNC_LOGIN);
    done(&l);
    l = good(URLS "--justfoldersizes --no-journal --quiet");
    assert_int_equal(l->options.params.what, SYNC_SIZES);
    assert_false(l->options.has_journal);
    assert_true(l->options.is_quiet);
    done(&l);
}

static void test_verify_takes_no_option_that_changes_something(void **state)
{
    static const char *const others[] = {"--dry", "--delete2", "--justfolders", "--no-acl"};
    struct line *l = good("verify imaps://ann@a imaps://ann@b --full --folder A");

    (void)state;
    assert_int_equal(l->options.params.what, SYNC_VERIFY);
    assert_true(l->options.is_verify);
    done(&l);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char text[128];

        snprintf(text, sizeof text, "verify imaps://ann@a imaps://ann@b %s", others[i]);
        refuses(text, "is for \"usher sync\"");
    }
}

/* ---- Options that there are not ---- */

static void test_imapsyncs_other_options_are_answered(void **state)
{
    static const char *const rows[][2] = {
        {"--syncinternaldates", "imapsync's --syncinternaldates is not here: not needed, dates"},
        {"--usecache", "the journal"},
        {"--nousecache", "imapsync's --nousecache is not here"},
        {"--addheader", "not needed"},
        {"--noexpunge", "never changed"},
        {"--expunge1", "never changed"},
        {"--delete1", "never changed"},
        {"--sep1=.", "the servers tell their separators"},
        {"--prefix2", "NAMESPACE"},
        {"--gmail1", "--host1"},
        {"--office2", "--host1"},
        {"--exchange2", "--host1"},
        {"--buffersize", "--memory"},
        {"--fastio1", "--memory"},
        {"--skipsize", "not needed"},
        {"--useuid", "the journal"},
        {"--delete2folders", "folders are never deleted"},
        {"--nofoldersizes", "--justfoldersizes"},
        {"--no-releasecheck", "imapsync's --no-releasecheck"},
        {"--fixInboxINBOX", "imapsync's --fixInboxINBOX"},
        {"--nodelete2", "it is so unless --delete2 is given"},
        {"--nodry", "it is so unless --dry is given"},
        {"--no-automap", "it is so unless --automap is given"},
        {"--debugimap1", "--verbose"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];

        snprintf(text, sizeof text, URLS "%s", rows[i][0]);
        refuses(text, rows[i][1]);
    }
}

static void test_unknown_options_get_the_nearest(void **state)
{
    (void)state;
    refuses(URLS "--foldre A", "did you mean --folder?");
    refuses(URLS "--hots1 a", "did you mean --host1?");
    refuses(URLS "--maxsiez=1", "did you mean --maxsize?");
    refuses(URLS "--gobbledygook", "there is no option --gobbledygook");
    refuses(URLS "--no\nsuch\x1b", "--no?such?");
    refuses("verify imaps://ann@a imaps://ann@b --folde A", "did you mean --folder?");
    refuses(URLS "--host3 a", "there is no option --host3");
    refuses(URLS "--host a", "there is no option --host;");
}

/* ---- The journal's place ---- */

static const char *journal(const char *text)
{
    static char path[4096];
    struct line *l = good(text);
    struct err err;

    assert_int_equal(sync_place_journal(&l->options, path, sizeof path, &err), 0);
    done(&l);
    return path;
}

static void test_a_journal_is_named_by_its_accounts(void **state)
{
    char first[4096];

    (void)state;
    setenv("XDG_STATE_HOME", "/s", 1);
    snprintf(first, sizeof first, "%s", journal("sync imaps://Ann@A.org imaps://.b%2f..%2fc@b:7"));
    assert_true(strncmp(first, "/s/usher/sync/Ann@a.org--_b_.._c@b_7-", 37) == 0);
    assert_string_equal(first + strlen(first) - 8, ".journal");
    assert_int_equal(strlen(first), 37 + 16 + 8);
    /* The way to the same account does not count. */
    assert_string_equal(first, journal("sync imap+starttls://Ann@a.org imap://.b%2f..%2fc@B:7"));
    assert_string_equal(first, journal("verify imaps://Ann@a.org:143 imaps://.b%2f..%2fc@b:7"));
    assert_string_equal(first, journal("sync imaps://a.org --user1 Ann --authuser1 m "
                                       "imaps://.b%2f..%2fc@b:7"));
    /* Another account does. */
    assert_string_not_equal(first, journal("sync imaps://ann@a.org imaps://.b%2f..%2fc@b:7"));
    assert_string_not_equal(first, journal("sync imaps://Ann@a.org imaps://.b%2f..%2fc@b:8"));
    assert_string_not_equal(first, journal("sync imaps://Ann@a.org imaps://_b%2f..%2fc@b:7"));
    assert_string_not_equal(first, journal("sync imaps://.b%2f..%2fc@b:7 imaps://Ann@a.org"));
}

static void test_a_journal_lies_in_the_home_where_nothing_else_is_said(void **state)
{
    char path[32];
    struct line *l = good(URLS);
    struct err err;

    (void)state;
    setenv("XDG_STATE_HOME", "relative", 1);
    setenv("HOME", "/h", 1);
    assert_true(strncmp(journal(URLS), "/h/.local/state/usher/sync/ann@a--ann@b-", 40) == 0);
    unsetenv("XDG_STATE_HOME");
    assert_true(strncmp(journal(URLS), "/h/.local/state/usher/sync/ann@a--ann@b-", 40) == 0);
    assert_int_equal(sync_place_journal(&l->options, path, sizeof path, &err), -1);
    assert_non_null(strstr(err.text, "too long"));
    done(&l);
}

static void test_help_lists_what_the_command_takes(void **state)
{
    char text[32768];
    FILE *out = fmemopen(text, sizeof text, "w");

    (void)state;
    assert_non_null(out);
    sync_options_help(out, false);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "    --host1 HOST, --host2 HOST\n"));
    assert_non_null(strstr(text, "    --delete2-share PERCENT (25)\n"));
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        assert_in_range(strcspn(line, "\n"), 0, 79);
    out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    sync_options_help(out, true);
    assert_int_equal(fclose(out), 0);
    assert_null(strstr(text, "    --delete2"));
    assert_non_null(strstr(text, "    --full\n"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_url_has_its_parts),
        cmocka_unit_test(test_a_url_that_is_none_is_refused_with_a_reason),
        cmocka_unit_test(test_a_password_in_a_url_is_refused_and_not_repeated),
        cmocka_unit_test(test_long_users_and_hosts_are_refused),
        cmocka_unit_test(test_two_urls_are_from_and_to),
        cmocka_unit_test(test_imapsyncs_words_for_tls),
        cmocka_unit_test(test_authuser_logs_in_for_the_user),
        cmocka_unit_test(test_accounts_that_are_not_clear_are_refused),
        cmocka_unit_test(test_passwords_may_come_from_each_place),
        cmocka_unit_test(test_a_password_on_the_command_line_is_taken_and_wiped),
        cmocka_unit_test(test_a_mistyped_password_option_does_not_tell_the_password),
        cmocka_unit_test(test_defaults_are_those_of_the_table),
        cmocka_unit_test(test_values_take_their_units),
        cmocka_unit_test(test_values_that_are_none_are_refused),
        cmocka_unit_test(test_folders_are_listed_in_their_order),
        cmocka_unit_test(test_what_is_done_and_told),
        cmocka_unit_test(test_verify_takes_no_option_that_changes_something),
        cmocka_unit_test(test_imapsyncs_other_options_are_answered),
        cmocka_unit_test(test_unknown_options_get_the_nearest),
        cmocka_unit_test(test_a_journal_is_named_by_its_accounts),
        cmocka_unit_test(test_a_journal_lies_in_the_home_where_nothing_else_is_said),
        cmocka_unit_test(test_help_lists_what_the_command_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
