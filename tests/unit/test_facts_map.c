/* Maps: lines, names, the order in which they are asked, and mistakes; every text is read whole and
 * cut at every byte. */
#include "directory/map.h"

#include "base/num.h"
#include "base/regex.h"
#include "directory/map_parts.h"
#include "directory/username.h"
#include "pieces.h"

static const struct conf_global lower = {.username_domain = "", .username_case = USERNAME_LOWER};
static const struct conf_global kept = {.username_domain = ""};
static const char *const cut_domains[] = {"old.example"};
static const struct conf_global homely = {.username_domain = "example.org",
                                          .username_case = USERNAME_LOWER,
                                          .username_strip_domains = {cut_domains, 1}};

static struct facts_map *new_map(const struct conf_global *conf)
{
    const struct facts_map_params p = {.conf = conf, .salt = {1, 2}};
    struct facts_map *m = facts_map_new(&p);

    assert_non_null(m);
    return m;
}

static struct facts_map *read_map(const struct conf_global *conf, const char *text)
{
    struct facts_map *m = new_map(conf);
    struct err err;

    if (facts_map_step(m, slice_str(text), &err) < 0 || facts_map_finish(m, &err) < 0)
        fail_msg("line %zu: %s", facts_map_line(m), err.text);
    return m;
}

/* "-": unknown, "!": failed. */
static void expect(const struct facts_map *m, const char *user, const char *expected)
{
    struct slice facts = SLICE("-");
    const enum facts_map_result result = facts_map_find(m, slice_str(user), &facts);

    if (result == FACTS_MAP_FAILED)
        facts = SLICE("!");
    if (!slice_eq(facts, slice_str(expected)))
        fail_msg("%s has %.*s, not %s", user, SLICE_ARG(facts), expected);
}

static void test_name_then_domain_then_expressions_then_everybody(void **state)
{
    struct facts_map *m = read_map(&lower, "* pool=all\n"
                                           "~^a pool=first\n"
                                           "~n@ pool=second\n"
                                           "@example.org pool=domain\n"
                                           "ann@example.org pool=name\n");

    (void)state;
    expect(m, "ann@example.org", "pool=name");
    expect(m, "ben@example.org", "pool=domain");
    expect(m, "a@b@example.org", "pool=domain");
    expect(m, "ann@example.net", "pool=first");
    expect(m, "ben@example.net", "pool=second");
    expect(m, "bob@example.net", "pool=all");
    expect(m, "@example.org@x", "pool=all");
    assert_int_equal(facts_map_users(m), 1);
    assert_int_equal(facts_map_rules(m), 4);
    facts_map_free(&m);
    assert_null(m);
    m = read_map(&lower, "ann pool=a\n");
    expect(m, "ben", "-");
    facts_map_free(&m);
    m = read_map(&lower, "");
    expect(m, "ann", "-");
    facts_map_free(&m);
}

static void test_a_name_that_looks_like_a_rule_is_no_rule(void **state)
{
    struct facts_map *m = read_map(&lower, "@example.org pool=domain\n~^x pool=expression\n");

    (void)state;
    expect(m, "~^x", "-");
    expect(m, "example.org", "-");
    expect(m, "x@@example.org", "pool=domain");
    facts_map_free(&m);
    m = read_map(&lower, "* pool=all\n");
    expect(m, "", "pool=all");
    facts_map_free(&m);
}

static void test_names_are_normalized_as_those_that_are_looked_up(void **state)
{
    struct facts_map *m = read_map(&homely, "Ann pool=a\nBEN@Old.Example pool=b\n"
                                            "@EXAMPLE.net pool=c\n~^Test[0-9] pool=d\n");

    (void)state;
    expect(m, "ann@example.org", "pool=a");
    expect(m, "ann", "-");
    expect(m, "ben@example.org", "pool=b");
    expect(m, "x@example.net", "pool=c");
    expect(m, "test7@x", "pool=d");
    facts_map_free(&m);
    m = read_map(&kept, "Ann pool=a\nann pool=b\n@Example.net pool=c\n~^Test pool=d\n");
    expect(m, "Ann", "pool=a");
    expect(m, "ann", "pool=b");
    expect(m, "ANN", "-");
    expect(m, "x@eXAMPLE.nET", "pool=c");
    expect(m, "test", "-");
    facts_map_free(&m);
}

static void test_lines_may_be_written_in_many_ways(void **state)
{
    struct facts_map *m = read_map(&lower, "\xef\xbb\xbf# a comment\r\n"
                                           "\r\n   \t\n"
                                           "  # another\n"
                                           " ann \t pool=a \t \r\n"
                                           "ben\n"
                                           "\"carl the great\" pool=c\n"
                                           "\"~^d e$\"\tpool=d\n"
                                           "\"@x y\" pool=xy\n"
                                           "\"#f\" disabled=\"no # comment\"\n"
                                           "\"*\" pool=all");

    (void)state;
    expect(m, "ann", "pool=a");
    expect(m, "ben", "");
    expect(m, "carl the great", "pool=c");
    expect(m, "d e", "pool=d");
    expect(m, "d@x y", "pool=xy");
    expect(m, "#f", "disabled=\"no # comment\"");
    expect(m, "else", "pool=all");
    facts_map_free(&m);
}

static void test_expressions_see_the_whole_name(void **state)
{
    struct facts_map *m = read_map(&kept, "~^a$ pool=a\n~^..$ pool=bytes\n~\xc3\xa4 pool=text\n");

    (void)state;
    expect(m, "a", "pool=a");
    expect(m, "a\n", "-");
    expect(m, "\xc3\xa4", "pool=bytes");
    expect(m, "\xff\xfe", "pool=bytes");
    expect(m, "x\xc3\xa4x", "pool=text");
    expect(m, "x\xc3\xa4\xff", "-");
    facts_map_free(&m);
}

static void test_an_expression_that_runs_away_has_failed(void **state)
{
    struct facts_map *m =
        read_map(&kept, "~^b pool=b\n~^(a+)+$ pool=a\n~^c pool=c\nname pool=n\n* pool=all\n");
    char name[60];

    (void)state;
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    expect(m, name, "pool=a");
    name[sizeof name - 2] = 'x';
    expect(m, name, "!");
    expect(m, "aaaaaaax", "pool=all");
    expect(m, "aaaaaaaaaaaaaaaaaax", "!"); /* half a million steps: milliseconds */
    name[0] = 'b';
    expect(m, name, "pool=b");
    expect(m, "name", "pool=n");
    expect(m, "cx", "pool=c");
    facts_map_free(&m);
}

/* Each is far from its own bound. */
static void test_many_expressions_have_one_bound_together(void **state)
{
    struct facts_map *m = new_map(&kept);
    char line[64], name[301];
    struct err err;

    (void)state;
    memset(name, 'a', sizeof name);
    strcpy(name + sizeof name - 12, "0123456789.");
    for (int i = 0; i < FACTS_MAP_EXPRESSIONS; i++) {
        snprintf(line, sizeof line, "~^[a-z]*[a-z0-9]*%d$", i);
        assert_int_equal(facts_map_add(m, slice_str(line), &err), 0);
        if (i == 0)
            expect(m, name, "-");
    }
    expect(m, name, "!");
    /* The next name has all its steps again. */
    expect(m, "ann", "-");
    facts_map_free(&m);
}

/* Every repetition is one level deeper. */
static void test_an_expression_that_goes_deep_does_not_take_the_stack(void **state)
{
    char name[512];
    struct regex_space *space = regex_space_new();
    struct regex *r = NULL;
    struct err err;

    (void)state;
    memset(name, 'a', sizeof name);
    assert_int_equal(regex_new(SLICE("^(?:a|(b)|(c))*$"), false, &r, &err), 0);
    assert_int_equal(regex_match(r, space, slice_of(name, sizeof name)), REGEX_YES);
    regex_free(&r);
    assert_int_equal(regex_new(SLICE("^(a|(?1)b)*+(?1){60}"), false, &r, &err), 0);
    assert_int_not_equal(regex_match(r, space, slice_of(name, sizeof name)), REGEX_YES);
    regex_free(&r);
    assert_null(r);
    regex_free(&r);
    regex_space_free(&space);
    regex_space_free(&space);
}

/* ---- mistakes ---- */

/* One text for what comes of reading: "line: words", or what there is. */
static char *talk(const void *arg, struct pieces *p)
{
    struct facts_map *m = new_map(arg);
    struct buf told;
    struct err err;
    int done = 0;

    told_init(&told);
    while (done == 0 && !pieces_done(p)) {
        const struct slice s = pieces_next(p, SIZE_MAX);
        char *copy = malloc(s.n > 0 ? s.n : 1);

        memcpy(copy, s.p, s.n);
        done = facts_map_step(m, slice_of(copy, s.n), &err);
        free(copy);
    }
    if (done == 0)
        done = facts_map_finish(m, &err);
    if (done < 0)
        tell(&told, "%zu: %s", facts_map_line(m), err.text);
    else
        tell(&told, "%zu names, %zu rules", facts_map_users(m), facts_map_rules(m));
    facts_map_free(&m);
    return told_done(&told);
}

static void test_each_mistake_has_its_line_however_the_text_is_cut(void **state)
{
    static const struct {
        struct slice text;
        const char *told;
    } rows[] = {
        {SLICE("ann pool=a\r\n\n#\nben pool=b\n@x\n~y\n*\n"), "2 names, 3 rules"},
        {SLICE("\xef\xbb\xbf"
               "ann pool=a\r"),
         "1 names, 0 rules"},
        {SLICE("ann\n\xef\xbb\xbf"
               "ann\n"),
         "2 names, 0 rules"},
        {SLICE("\xef\xbb\xbf"), "0 names, 0 rules"},
        {SLICE("\n\nann poool=a\n"), "3: unknown word \"poool\"; did you mean pool?"},
        {SLICE("ann pool=a\n\nANN pool=b\n"),
         "3: ann stands on line 1 already (as names are normalized)"},
        {SLICE("@Example.org\n@example.ORG\n"), "2: @example.org stands on line 1 already"},
        {SLICE("~^a\n~^a\n"), "2: ~^a stands on line 1 already"},
        {SLICE("~^a\n~^A\n"), "0 names, 2 rules"},
        {SLICE("*\nann\n* pool=a\n"), "3: * stands on line 1 already"},
        {SLICE("ann\r\nb\x00n\n"), "2: a control character (0x00) in the line, as byte 2"},
        {SLICE("ann\rben\n"), "1: a control character (0x0d) in the line, as byte 4"},
        {SLICE("# \x1b[2J\n"), "1: a control character (0x1b) in the line, as byte 3"},
        {SLICE("\"ann pool=a\n"), "1: the key lacks its second '\"'"},
        {SLICE("\"ann\"pool=a\n"), "1: a blank is missing behind the key"},
        {SLICE("\"\" pool=a\n"), "1: no user has this name: it is empty, or longer than 512 bytes"},
        {SLICE("a\"b pool=a\n"), "1: a '\"' in a name; write an expression, as in ~^a\\x22b$"},
        {SLICE("@ pool=a\n"), "1: behind @ there is no domain; write one, as in @example.org"},
        {SLICE("@a@b pool=a\n"), "1: behind @ there is no domain; write one, as in @example.org"},
        {SLICE("~ pool=a\n"), "1: behind ~ there is no expression"},
        {SLICE("~a(b pool=a\n"),
         "1: the expression is wrong at byte 4: missing closing parenthesis"},
        {SLICE("~\xff pool=a\n"), "1: the expression is not UTF-8"},
        {SLICE("~(*UTF)a pool=a\n"),
         "1: the expression is wrong at byte 7: using UTF is disabled by the application"},
        {SLICE("ann pool=a\nben"), "2 names, 0 rules"},
        {SLICE("ann pool=a\nben b"), "2: word 1 has no value; write one as in pool=main"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_talk(talk, &lower, rows[i].text, rows[i].told);
}

static void test_a_line_has_a_longest_length_however_it_is_cut(void **state)
{
    char text[FACTS_MAP_LINE + 16] = "ann\n\xef\xbb\xbf#";
    size_t n;

    (void)state;
    memset(text + 8, '#', FACTS_MAP_LINE);
    for (size_t more = 0; more < 2; more++) {
        const char *told = more ? "2: a line of more than 2048 bytes" : "1 names, 0 rules";

        n = 4 + FACTS_MAP_LINE + more;
        memset(text + 4, '#', FACTS_MAP_LINE + 2);
        memcpy(text + n, "\r\nben", 5);
        assert_talk(talk, &lower, slice_of(text, n + 2), told);
        memcpy(text + n, "\n", 1);
        assert_talk(talk, &lower, slice_of(text, n + 1), told);
        assert_talk(talk, &lower, slice_of(text, n), told);
        /* The mark before the first line counts for nothing. */
        memcpy(text + 1, "\xef\xbb\xbf", 3);
        told = more ? "1: a line of more than 2048 bytes" : "0 names, 0 rules";
        assert_talk(talk, &lower, slice_of(text + 1, n - 1), told);
        memcpy(text, "ann\n", 4);
    }
}

static void test_expressions_are_limited_in_number(void **state)
{
    struct facts_map *m = new_map(&lower);
    struct err err;
    char line[48];

    (void)state;
    for (int i = 0; i < FACTS_MAP_EXPRESSIONS; i++) {
        snprintf(line, sizeof line, "~^%d$ pool=p%d", i, i);
        assert_int_equal(facts_map_add(m, slice_str(line), &err), 0);
    }
    assert_int_equal(facts_map_add(m, SLICE("~x"), &err), -1);
    assert_string_equal(err.text, "more than 1000 expressions");
    expect(m, "999", "pool=p999");
    facts_map_free(&m);
}

static void test_a_wrong_line_leaves_the_map_as_it_was(void **state)
{
    struct facts_map *m = new_map(&lower);
    struct err err;

    (void)state;
    assert_int_equal(facts_map_add(m, SLICE("ann pool=a"), &err), 0);
    assert_int_equal(facts_map_add(m, SLICE("ann pool=b"), &err), -1);
    assert_int_equal(facts_map_add(m, SLICE("~( pool=b"), &err), -1);
    assert_int_equal(facts_map_add(m, SLICE("ben\ncarl"), &err), -1);
    assert_int_equal(facts_map_add(m, SLICE("~^a pool=c"), &err), 0);
    assert_int_equal(facts_map_line(m), 5);
    expect(m, "ann", "pool=a");
    expect(m, "ax", "pool=c");
    assert_int_equal(facts_map_users(m), 1);
    assert_int_equal(facts_map_rules(m), 1);
    facts_map_free(&m);
}

struct lines {
    size_t n, last;
    char pools[64];
};

static void on_line(void *arg, size_t line, const struct facts *facts)
{
    struct lines *l = arg;

    l->n++;
    l->last = line;
    strncat(l->pools, facts->pool.p, facts->pool.n);
}

static void test_each_line_is_told_with_its_facts(void **state)
{
    struct lines lines = {0};
    const struct facts_map_params p = {.conf = &lower, .on_line = on_line, .arg = &lines};
    struct facts_map *m = facts_map_new(&p);
    struct err err;

    (void)state;
    assert_int_equal(facts_map_step(m, SLICE("ann pool=a\n# ben\n~c pool=c\n* pool="), &err), 0);
    assert_int_equal(lines.n, 2);
    assert_int_equal(facts_map_step(m, SLICE("d"), &err), 0);
    assert_int_equal(facts_map_finish(m, &err), 0);
    assert_int_equal(lines.n, 3);
    assert_int_equal(lines.last, 4);
    assert_string_equal(lines.pools, "acd");
    facts_map_free(&m);
}

/* ---- many ---- */

/* The vectors of SipHash's authors: key 00 01 .. 0f, messages "", 00, 00 01 ... */
static void test_the_hash_is_siphash(void **state)
{
    static const uint64_t expected[] = {0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
                                        0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce,
                                        0xab0200f58b01d137, 0x93f5f5799a932462};
    const uint64_t salt[] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    char message[15];

    (void)state;
    for (unsigned i = 0; i < sizeof message; i++)
        message[i] = (char)i;
    for (unsigned n = 1; n <= 8; n++)
        assert_int_equal(map_hash(salt, 0, slice_of(message + 1, n - 1)), expected[n - 1]);
    /* The example of the paper: 15 bytes. */
    assert_int_equal(map_hash(salt, 0, slice_of(message + 1, 14)), 0xa129ca6149be45e5);
}

static void test_many_names_are_found_again(void **state)
{
    enum { N = 100000 };
    struct facts_map *m = new_map(&lower);
    char line[64], user[32];
    struct err err;
    size_t steps = 1;

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        const int n = snprintf(line, sizeof line, "user%u@example.org pool=p%u\n", i, i);

        assert_int_equal(facts_map_step(m, slice_of(line, (size_t)n), &err), 0);
    }
    for (unsigned i = 0; i < N; i++) {
        snprintf(user, sizeof user, "user%u@example.org", i);
        snprintf(line, sizeof line, "pool=p%u", i);
        expect(m, user, line);
    }
    expect(m, "user100000@example.org", "-");
    /* Budget: 16 bytes a line and its share of the index beside its own text. */
    assert_true(facts_map_bytes(m) < (size_t)N * (34 + 16 + 4 + 4) + 400000);
    while (!facts_map_free_some(&m))
        steps++;
    assert_null(m);
    assert_in_range(steps, 10, 100);
}

/* Another way to say the same: all lines in a list, looked through from the front. */
struct model {
    struct {
        char sign; /* '@', '~', '*' or 0 */
        char key[40], facts[24];
    } lines[400];
    size_t n;
};

static const char *model_find(const struct model *m, const char *user)
{
    const char *at = strrchr(user, '@');

    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < m->n; i++) {
            const char sign = m->lines[i].sign, *key = m->lines[i].key;

            if (round == 0   ? !sign && strcmp(key, user) == 0
                : round == 1 ? sign == '@' && at && strcasecmp(key, at + 1) == 0
                : round == 2 ? sign == '~' && strstr(user, key) != NULL
                             : sign == '*')
                return m->lines[i].facts;
        }
    }
    return "-";
}

static uint64_t dice(uint64_t *seed, uint64_t sides)
{
    *seed += 0x9e3779b97f4a7c15U;
    return num_mix(*seed) % sides;
}

static void random_name(uint64_t *seed, char out[40])
{
    static const char *const domains[] = {"", "@a", "@b.c", "@d", "@a@b"};

    snprintf(out, 40, "%c%c%s", (char)('a' + dice(seed, 12)), (char)('a' + dice(seed, 12)),
             domains[dice(seed, 5)]);
}

/* A line that the model does not have yet, or false. */
static bool random_line(struct model *m, uint64_t *seed, char sign)
{
    char key[40];

    switch (sign) {
    case '@':
        snprintf(key, sizeof key, "%s", dice(seed, 2) ? "a" : "b.c");
        break;
    case '~':
        snprintf(key, sizeof key, "%c%s", (char)('a' + dice(seed, 12)), dice(seed, 2) ? "@" : "");
        break;
    case '*':
        key[0] = '\0';
        break;
    default:
        random_name(seed, key);
    }
    for (size_t i = 0; i < m->n; i++) {
        if (m->lines[i].sign == sign && strcmp(m->lines[i].key, key) == 0)
            return false;
    }
    m->lines[m->n].sign = sign;
    snprintf(m->lines[m->n].key, sizeof key, "%s", key);
    snprintf(m->lines[m->n].facts, sizeof m->lines->facts, "pool=p%zu", m->n);
    m->n++;
    return true;
}

static void test_random_maps_agree_with_a_simple_model(void **state)
{
    uint64_t seed = 10143;

    (void)state;
    for (int round = 0; round < 200; round++) {
        const size_t lines = 1 + dice(&seed, round % 2 ? 300 : 12);
        struct facts_map *m = new_map(&lower);
        static struct model model;
        struct err err;

        model.n = 0;
        for (size_t i = 0; i < lines; i++) {
            const uint64_t what = dice(&seed, 40);
            const char sign = what < 2 ? '@' : what < 4 ? '~' : what == 4 ? '*' : '\0';
            char line[120];

            if (!random_line(&model, &seed, sign))
                continue;
            snprintf(line, sizeof line, "%.1s%s %s", &sign, model.lines[model.n - 1].key,
                     model.lines[model.n - 1].facts);
            assert_int_equal(facts_map_add(m, slice_str(line), &err), 0);
        }
        for (int i = 0; i < 300; i++) {
            char user[40];

            random_name(&seed, user);
            expect(m, user, model_find(&model, user));
        }
        facts_map_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_then_domain_then_expressions_then_everybody),
        cmocka_unit_test(test_a_name_that_looks_like_a_rule_is_no_rule),
        cmocka_unit_test(test_names_are_normalized_as_those_that_are_looked_up),
        cmocka_unit_test(test_lines_may_be_written_in_many_ways),
        cmocka_unit_test(test_expressions_see_the_whole_name),
        cmocka_unit_test(test_an_expression_that_runs_away_has_failed),
        cmocka_unit_test(test_many_expressions_have_one_bound_together),
        cmocka_unit_test(test_an_expression_that_goes_deep_does_not_take_the_stack),
        cmocka_unit_test(test_each_mistake_has_its_line_however_the_text_is_cut),
        cmocka_unit_test(test_a_line_has_a_longest_length_however_it_is_cut),
        cmocka_unit_test(test_expressions_are_limited_in_number),
        cmocka_unit_test(test_a_wrong_line_leaves_the_map_as_it_was),
        cmocka_unit_test(test_each_line_is_told_with_its_facts),
        cmocka_unit_test(test_the_hash_is_siphash),
        cmocka_unit_test(test_many_names_are_found_again),
        cmocka_unit_test(test_random_maps_agree_with_a_simple_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
