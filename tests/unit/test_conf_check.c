/* The configuration: mistakes of meaning, each with its line and its words. */
#include "conf_testing.h"

static void expect_good(const char *text)
{
    struct conf *conf = load(text);
    struct told told;

    check(conf, false, &told);
    if (told.n)
        fail_msg("%s\nis told: %s", text, told.mistakes[0].text);
    conf_free(&conf);
}

/* Exactly one mistake, on `line`, whose text has `words`. */
static void expect_mistake(const char *text, unsigned line, const char *words)
{
    struct conf *conf = load(text);
    struct told told;

    check(conf, false, &told);
    if (told.n != 1 || told.mistakes[0].line != line || !strstr(told.mistakes[0].text, words))
        fail_msg("%s\nwanted one mistake on line %u with \"%s\"; got %u, the first on line %u: %s",
                 text, line, words, told.n, told.mistakes[0].line, told.mistakes[0].text);
    conf_free(&conf);
}

static void test_each_mistake_of_meaning_has_its_line(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
        const char *words;
    } cases[] = {
        {GOOD_LISTENER GOOD_POOL "login_tries = 0", 3, "login_tries = 0 is out of range"},
        {GOOD_LISTENER GOOD_POOL "login_tries = 101", 3, "1 to 100"},
        {GOOD_LISTENER GOOD_POOL "login_tries = x", 3, "a whole number"},
        {GOOD_LISTENER GOOD_POOL "login_tries = 3s", 3, "a whole number"},
        {GOOD_LISTENER GOOD_POOL "max_sessions = 99999999999999999999", 3, "a whole number"},
        {GOOD_LISTENER GOOD_POOL "\nlogin_timeout = 5", 4, "as in \"60s\""},
        {GOOD_LISTENER GOOD_POOL "login_timeout = \"5 s\"", 3, "ms, s, m, h or d"},
        {GOOD_LISTENER GOOD_POOL "login_timeout = 1w", 3, "ms, s, m, h or d"},
        {GOOD_LISTENER GOOD_POOL "login_timeout = s", 3, "ms, s, m, h or d"},
        {GOOD_LISTENER GOOD_POOL "idle_timeout = 50d", 3, "ms, s, m, h or d"},
        {GOOD_LISTENER GOOD_POOL "idle_timeout = 8d", 3, "idle_timeout = 8d is out of range"},
        {GOOD_LISTENER GOOD_POOL "max_line = 8K", 3, "k, M or G"},
        {GOOD_LISTENER GOOD_POOL "max_line = 65k", 3, "1k to 64k"},
        {GOOD_LISTENER GOOD_POOL "max_line = 99999999999999G", 3, "k, M or G"},
        {GOOD_LISTENER GOOD_POOL "log_level = loud", 3, "debug | info | notice"},
        {GOOD_LISTENER GOOD_POOL "log_level = \"debug | info\"", 3, "one of debug"},
        {GOOD_LISTENER GOOD_POOL "workers = 0", 3, "1 to 64, or auto"},
        {GOOD_LISTENER GOOD_POOL "workers = 65", 3, "1 to 64, or auto"},
        {GOOD_LISTENER GOOD_POOL "user = ''", 3, "user is empty"},
        {GOOD_LISTENER GOOD_POOL "state = ''", 3, "state is empty"},
        {GOOD_LISTENER GOOD_POOL "nameservers = {192.0.2.1, ns.example}", 3, "\"ns.example\""},
        {GOOD_LISTENER GOOD_POOL "nameservers = {'192.0.2.1:0'}", 3, "192.0.2.1:0"},
        {GOOD_LISTENER GOOD_POOL "trusted_networks = {192.0.2.0/33}", 3, "from 0 to 32"},
        {GOOD_LISTENER GOOD_POOL "trusted_networks = {192.0.2.0/24, home}", 3,
         "\"home\" is no network"},
        {GOOD_LISTENER GOOD_POOL "penalty_exempt = {127.0.0.0/8, home}", 3,
         "penalty_exempt: \"home\" is no network"},
        {GOOD_LISTENER GOOD_POOL "user = a\nuser = b", 4, "user stands twice, at t:3 too"},
        {GOOD_LISTENER GOOD_POOL "user = a user = b", 3, "user stands twice, at t:3 too"},
        {GOOD_LISTENER GOOD_POOL "nameservers = {::1}\nnameservers = {::1}", 4, "stands twice"},
        {GOOD_LISTENER GOOD_POOL "watchdog = 999ms", 3, "watchdog is shorter than 1s"},
        {GOOD_POOL, 0, "there is no listener"},
        {GOOD_LISTENER, 0, "there is no pool"},
        {GOOD_LISTENER GOOD_POOL "pool p {\n}", 3, "pool \"p\" has no backend"},
        {GOOD_LISTENER GOOD_POOL "pool p { backend b { address = h:1 weight=0 } }", 3,
         "all weights of pool \"p\" are 0"},
        {GOOD_LISTENER GOOD_POOL "pool p {\n backend b1 { address = h:1 } }", 4,
         "the name \"b1\" is taken by the backend at t:2"},
        {GOOD_LISTENER GOOD_POOL "pool -p { backend b { address = h:1 } }", 3, "is no name"},
        {GOOD_LISTENER GOOD_POOL "pool 'a b' { backend b { address = h:1 } }", 3, "is no name"},
        {GOOD_LISTENER GOOD_POOL "pool p { backend '' { address = h:1 } }", 3, "is no name"},
        {GOOD_POOL "listener l {\naddress = *:143 tls = off }", 3, "nobody can log in here"},
        {GOOD_POOL "listener l {\naddress = *:143 }", 2, "a certificate and its key"},
        {GOOD_POOL "tls { key = k }\nlistener l { address = *:143\ntls = implicit }", 4,
         "needs a certificate;"},
        {GOOD_POOL "tls { certificate = c }\nlistener l { address = *:143 }", 3,
         "the certificate's key;"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_mistake(cases[i].text, cases[i].line, cases[i].words);
}

static void test_listener_addresses(void **state)
{
#define LISTENER(name, address)                                                                 \
    "listener " name " { tls = off auth_allow_cleartext = yes pool = main\naddress = '" address \
    "' }\n"
    (void)state;
    expect_mistake(GOOD_POOL "listener l { tls = off\nauth_allow_cleartext = yes }", 2,
                   "listener \"l\" has no address");
    expect_mistake(GOOD_POOL LISTENER("l", "mail:143"), 3, "\"mail\" is no address");
    expect_mistake(GOOD_POOL LISTENER("l", "143"), 3, "has no port");
    expect_mistake(GOOD_POOL LISTENER("l", "*:65536"), 3, "is not a port");
    expect_mistake(GOOD_POOL LISTENER("l", "::1:143"), 3, "in brackets");
    expect_mistake(GOOD_POOL "listener l { tls = off auth_allow_cleartext = yes address = '*:1'\n"
                             "pool = mian }",
                   3, "there is no pool \"mian\"");
    expect_mistake(GOOD_POOL LISTENER("a", "*:143") LISTENER("b", "*:143"), 5,
                   "listener a at t:2 has this address");
    expect_mistake(GOOD_POOL LISTENER("a", "*:143") LISTENER("b", "10.0.0.9:143"), 5, "listener a");
    expect_mistake(GOOD_POOL LISTENER("a", "10.0.0.9:143") LISTENER("b", "0.0.0.0:143"), 5,
                   "listener a");
    expect_mistake(GOOD_POOL LISTENER("a", "[::1]:143") LISTENER("b", "[::]:143"), 5, "listener a");
    expect_mistake(GOOD_POOL LISTENER("a", "[::1]:143") LISTENER("b", "[0::1]:143"), 5,
                   "listener a");
    expect_good(GOOD_POOL LISTENER("a", "*:143") LISTENER("b", "*:144"));
    expect_good(GOOD_POOL LISTENER("a", "10.0.0.9:143") LISTENER("b", "10.0.0.8:143"));
    expect_good(GOOD_POOL LISTENER("a", "0.0.0.0:143") LISTENER("b", "[::]:143"));
    expect_good(GOOD_POOL LISTENER("a", "*:0") LISTENER("b", "*:0"));
}

static void test_backend_addresses(void **state)
{
#define BACKEND(address) GOOD_LISTENER "pool p { backend b {\naddress = '" address "' } }"
    static const char *const good[] = {
        BACKEND("10.0.0.1:10143"), BACKEND("[2001:db8::1]:10143"), BACKEND("mail2.internal:10143"),
        BACKEND("localhost:143"),  BACKEND("a_b.example.:143"),    BACKEND("3com.example:1"),
        BACKEND("127.0.0.1:143"),
    };
    static const char *const bad[] = {
        BACKEND("10.0.0.300:143"),
        BACKEND("-a.example:143"),
        BACKEND("a-.example:143"),
        BACKEND("a..b:143"),
        BACKEND(".:143"),
        BACKEND("a b:143"),
        BACKEND("m\xc3\xbc.example:143"),
        BACKEND("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example:1"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        expect_good(good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_mistake(bad[i], 3, "the host is neither an address nor a name");
    expect_mistake(GOOD_LISTENER "pool p {\nbackend b { } }", 3, "backend \"b\" has no address");
    expect_mistake(BACKEND("h"), 3, "has no port");
    expect_mistake(BACKEND("h:0"), 3, "port 0 cannot be connected to");
    expect_mistake(BACKEND("0.0.0.0:143"), 3, "is no one's");
    expect_mistake("listener l { address = '10.0.0.1:10143' tls = off auth_allow_cleartext = yes "
                   "}\n" GOOD_POOL,
                   2, "this is our own listener l");
    expect_mistake("listener l { address = '*:10143' tls = off auth_allow_cleartext = yes }\n"
                   "pool p { backend b { address = '[::1]:10143' } }",
                   2, "this is our own listener l");
    expect_good("listener l { address = '*:10143' tls = off auth_allow_cleartext = yes "
                "}\n" GOOD_POOL);
}

static void test_tls_of_backends(void **state)
{
#define TLS(settings) GOOD_LISTENER "pool p { backend b { address = h:1\n" settings " } }"
    (void)state;
    expect_mistake(TLS("tls_ca = x"), 3, "tls_ca has no effect");
    expect_mistake(TLS("tls_name = x"), 3, "tls_name has no effect");
    expect_mistake(TLS("tls_verify = no"), 3, "tls_verify has no effect");
    expect_mistake(TLS("tls_pin = {'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='}"), 3,
                   "tls_pin has no effect");
    expect_mistake(TLS("tls = implicit tls_pin = {'AAAA'}"), 3, "\"AAAA\" is no SHA-256");
    expect_mistake(TLS("tls = implicit tls_pin = {'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=='}"),
                   3, "no SHA-256");
    expect_mistake(TLS("source = {127.0.0.1, 'localhost'}"), 3, "\"localhost\" is no address");
    expect_mistake(TLS("proxy = v3"), 3, "off | v1 | v2");
    expect_mistake(TLS("tls_verify = false"), 3, "write yes or no");
    expect_mistake(TLS("tls = on"), 3, "off | starttls | implicit");
    expect_mistake(TLS("tls = starttls tls_name = 'a b'"), 3, "neither a name nor an address");
    expect_mistake(TLS("tls_certificate = c"), 3, "tls_certificate has no effect");
    expect_mistake(TLS("tls_key = k"), 3, "tls_key has no effect");
    expect_mistake(TLS("tls_min_version = 1.3"), 3, "tls_min_version has no effect");
    expect_mistake(TLS("tls_ciphers = x"), 3, "tls_ciphers has no effect");
    expect_mistake(TLS("tls_ciphersuites = x"), 3, "tls_ciphersuites has no effect");
    expect_mistake(TLS("tls = implicit tls_certificate = c"), 3, "tls_certificate needs its key");
    expect_mistake(TLS("tls = implicit tls_key = k"), 3, "tls_key needs its certificate");
    expect_mistake(TLS("tls = implicit tls_min_version = 1.3\ntls_ciphers = x"), 4,
                   "tls_ciphers has no effect while tls_min_version is 1.3");
    expect_mistake(TLS("tls = implicit tls_min_version = 1.1"), 3, "1.2 | 1.3");
    expect_good(TLS("tls = starttls tls_name = a.example tls_ca = x tls_verify = no"));
    expect_good(TLS("tls = implicit tls_name = '::1'"));
    expect_good(TLS("tls = implicit tls_certificate = c tls_key = k tls_min_version = 1.3 "
                    "tls_ciphersuites = x"));
}

static void test_tls_of_listeners(void **state)
{
#define OWN               "tls { certificate = c key = k }\n"
#define LISTENS(settings) GOOD_POOL OWN "listener l { address = '*:0'\n" settings " }\n"
    (void)state;
    expect_mistake(LISTENS("client_certificate = required"), 4, "write client_ca");
    expect_mistake(LISTENS("client_certificate = optional client_crl = x"), 4, "write client_ca");
    expect_mistake(LISTENS("client_ca = x"), 4, "client_ca has no effect");
    expect_mistake(LISTENS("client_crl = x"), 4, "client_crl has no effect");
    expect_mistake(LISTENS("tls = off auth_allow_cleartext = yes\n"
                           "client_certificate = required client_ca = x"),
                   5, "client_certificate has no effect while tls is off");
    expect_mistake(LISTENS("auth_allow_cleartext = yes\n"
                           "client_certificate = required client_ca = x"),
                   5, "does not hold for those who log in without TLS");
    expect_mistake(LISTENS("client_certificate = maybe"), 4, "off | optional | required");
    expect_mistake(LISTENS("server_names = {a.example, 'b c'}"), 4, "\"b c\" is no name");
    expect_mistake(LISTENS("tls = off auth_allow_cleartext = yes\nserver_names = {a.example}"), 5,
                   "server_names has no effect");
    expect_good(LISTENS("server_names = {a.example} client_certificate = required client_ca = x "
                        "client_crl = y"));
    expect_good(LISTENS("auth_allow_cleartext = yes client_certificate = optional client_ca = x"));
    expect_good(LISTENS("tls = implicit auth_allow_cleartext = yes\n"
                        "client_certificate = required client_ca = x"));
}

static void test_certificates(void **state)
{
    (void)state;
    expect_good(LISTENS("") "certificate a { file = f key = k }\n"
                            "certificate b { file = g key = k }");
    expect_mistake(LISTENS("") "certificate a { key = k }", 5, "certificate \"a\" has no file");
    expect_mistake(LISTENS("") "certificate a { file = f }", 5, "certificate \"a\" has no key");
    expect_mistake(LISTENS("") "certificate '*' { file = f key = k }", 5,
                   "\"*\" is no name for a certificate");
    expect_mistake(LISTENS("") "certificate a { key = k\nfile = c }", 6,
                   "c is the certificate of tls { } already");
    expect_mistake(LISTENS("") "certificate a { file = f key = k }\n"
                               "certificate b { file = f key = l }",
                   6, "f is the file of certificate a at t:5 already");
    expect_mistake(GOOD_LISTENER GOOD_POOL "certificate a { file = f key = k }", 3,
                   "no listener has TLS");
    expect_mistake(GOOD_POOL "tls { certificate = c key = k min_version = 1.3\nciphers = x }\n"
                             "listener l { address = '*:0' }",
                   3, "ciphers has no effect while min_version is 1.3");
}

static void test_all_mistakes_are_told_at_once_in_order(void **state)
{
    struct conf *conf = load("workers = many\n"
                             "pool p { backend b { address = 'h:0' weight = 1001 } }\n"
                             "login_tries = 0\n"
                             "listener l { address = x tls = offf }\n");
    struct told told;

    (void)state;
    check(conf, false, &told);
    assert_int_equal(told.n, 7);
    for (unsigned i = 1; i < told.n; i++)
        assert_true(told.mistakes[i - 1].line <= told.mistakes[i].line);
    /* What was no good is the default meanwhile. */
    assert_int_equal(conf->global.login_tries, 3);
    assert_int_equal(conf->pools[0].backends[0].weight, 1);
    assert_int_equal(conf->listeners[0].tls, LISTENER_TLS_STARTTLS);
    conf_free(&conf);
}

static void test_too_many_sections(void **state)
{
    char *text = NULL;
    struct conf *conf;
    struct told told;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    (void)state;
    for (unsigned i = 0; i <= CONF_LISTENERS_MAX; i++)
        fprintf(out,
                "listener l%u { address = '127.0.0.1:%u' tls = off auth_allow_cleartext = yes }\n",
                i, i + 1);
    for (unsigned i = 0; i <= CONF_POOLS_MAX; i++)
        fprintf(out, "pool p%u { backend b%u { address = h:1 } }\n", i, i);
    fputs("pool p {\n", out);
    for (unsigned i = 0; i < CONF_BACKENDS_MAX; i++)
        fprintf(out, "backend c%u { address = '127.0.0.1:1' }\n", i);
    fputs("}\n", out);
    fclose(out);
    conf = load(text);
    check(conf, false, &told);
    assert_int_equal(told.n, 3);
    assert_non_null(strstr(told.mistakes[0].text, "65 listeners; 64 is the most"));
    assert_non_null(strstr(told.mistakes[1].text, "258 pools; 256 is the most"));
    assert_non_null(strstr(told.mistakes[2].text, "4353 backends; 4096 is the most"));
    free(text);
    conf_free(&conf);
}

static void test_files_of_tls(void **state)
{
    const struct folder *folder = *state;
    struct conf *conf;
    struct told told;

    make_sub(folder);
    write_text(folder, "a", "");
    write_text(folder, "main",
               "tls { certificate = a key = a }\n"
               "certificate x { file = b key = sub }\n"
               "listener l { address = '*:0' client_certificate = optional\n"
               " client_ca = c client_crl = d }\n"
               "user = nobody\n"
               "state = new\n"
               "pool p { backend x { address = h:1 tls = starttls\n"
               " tls_certificate = e tls_key = f } }\n");
    conf = load_main(folder);
    check(conf, true, &told);
    assert_int_equal(told.n, 6);
    assert_non_null(strstr(told.mistakes[0].text, "cannot read certificate"));
    assert_non_null(strstr(told.mistakes[1].text, "is not a file"));
    assert_non_null(strstr(told.mistakes[2].text, "cannot read client_ca"));
    assert_non_null(strstr(told.mistakes[3].text, "cannot read client_crl"));
    assert_non_null(strstr(told.mistakes[4].text, "cannot read tls_certificate"));
    assert_non_null(strstr(told.mistakes[5].text, "cannot read tls_key"));
    conf_free(&conf);
}

static void test_files_that_the_configuration_names(void **state)
{
    const struct folder *folder = *state;
    struct conf *conf;
    struct told told;

    make_sub(folder);
    write_text(folder, "a", "");
    write_text(folder, "main",
               "user = no.such.user.here\n"
               "state = a/below\n"
               "tls { certificate = b\n key = sub }\n"
               "listener l { address = '*:0' }\n"
               "pool p { backend x { address = h:1 tls = starttls\n tls_ca = c } }\n");
    conf = load_main(folder);
    check(conf, false, &told);
    assert_int_equal(told.n, 0);
    check(conf, true, &told);
    assert_int_equal(told.n, geteuid() == 0 ? 5 : 4);
    assert_non_null(strstr(told.mistakes[told.n - 4].text, "cannot be used: Not a directory"));
    assert_non_null(strstr(told.mistakes[told.n - 3].text, "cannot read certificate"));
    assert_non_null(strstr(told.mistakes[told.n - 2].text, "is not a file"));
    assert_non_null(strstr(told.mistakes[told.n - 1].text, "cannot read tls_ca"));
    conf_free(&conf);
    write_text(folder, "main", GOOD_LISTENER GOOD_POOL "user = nobody state = a");
    conf = load_main(folder);
    check(conf, true, &told);
    assert_int_equal(told.n, 1);
    assert_non_null(strstr(told.mistakes[0].text, "/a is not a directory"));
    conf_free(&conf);
    write_text(folder, "main",
               "user = nobody state = new\n"
               "tls { certificate = a key = a }\n"
               "listener l { address = '*:0' }\n"
               "pool p { backend x { address = h:1 tls = starttls tls_ca = a } }\n");
    conf = load_main(folder);
    check(conf, true, &told);
    assert_int_equal(told.n, 0);
    conf_free(&conf);
    write_text(folder, "main", GOOD_LISTENER GOOD_POOL "state = new\nuser = root");
    conf = load_main(folder);
    check(conf, true, &told);
    assert_int_equal(told.n, geteuid() == 0 ? 1 : 0);
    if (told.n > 0)
        assert_non_null(strstr(told.mistakes[0].text, "is root; write another"));
    conf_free(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_mistake_of_meaning_has_its_line),
        cmocka_unit_test(test_listener_addresses),
        cmocka_unit_test(test_backend_addresses),
        cmocka_unit_test(test_tls_of_backends),
        cmocka_unit_test(test_tls_of_listeners),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_all_mistakes_are_told_at_once_in_order),
        cmocka_unit_test(test_too_many_sections),
        FOLDER_TEST(test_files_of_tls),
        FOLDER_TEST(test_files_that_the_configuration_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
