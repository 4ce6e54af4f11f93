/* The list of ID: read, written, and its limits. */
#include "pieces.h"

#include "imap/id.h"

/* Tells what was read: key=value pairs, or "no". The cursor must stand behind it, or not have
 * moved.
 */
static char *read_id(struct slice wire, struct slice rest)
{
    struct id_pair pairs[ID_PAIRS];
    struct lex l = lex_start(wire);
    char *to = malloc(wire.n + 1);
    struct buf told;
    size_t n;

    told_init(&told);
    assert_non_null(to);
    if (!id_parse(&l, to, pairs, &n)) {
        assert_ptr_equal(l.s.p, wire.p);
        free(to);
        assert_int_equal(buf_puts(&told, "no"), 0);
        return told_done(&told);
    }
    assert_int_equal(l.s.n, rest.n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(buf_put(&told, pairs[i].key), 0);
        assert_int_equal(buf_puts(&told, "="), 0);
        assert_int_equal(buf_put(&told, pairs[i].is_nil ? SLICE("NIL") : pairs[i].value), 0);
        assert_int_equal(buf_puts(&told, ";"), 0);
    }
    free(to);
    return told_done(&told);
}

static void assert_read(struct slice wire, struct slice rest, const char *expected)
{
    char *told = read_id(wire, rest);

    assert_string_equal(told, expected);
    free(told);
}

static void test_lists_are_read(void **state)
{
    static const struct {
        struct slice wire;
        const char *told;
    } rows[] = {
        {SLICE("NIL"), ""},
        {SLICE("nil"), ""},
        {SLICE("()"), ""},
        {SLICE("(\"name\" \"X\")"), "name=X;"},
        {SLICE("(\"name\" NIL)"), "name=NIL;"},
        {SLICE("(\"name\" nIl \"b\" \"NIL\")"), "name=NIL;b=NIL;"},
        {SLICE("(\"\" \"\")"), "=;"},
        {SLICE("(\"a\" \"x) (\\\"y\\\\\")"), "a=x) (\"y\\;"},
        {SLICE("({1}\r\na {2}\r\n)()"), "a=)(;"},
        {SLICE("({1+}\r\na {0+}\r\n \"b\" {1}\n\xe4)"), "a=;b=\xe4;"},
        {SLICE("(\"a\" \"1\" \"a\" \"2\")"), "a=1;a=2;"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_read(rows[i].wire, SLICE(""), rows[i].told);
    }
    assert_read(SLICE("NIL\r\n"), SLICE("\r\n"), "");
    assert_read(SLICE("(\"a\" NIL)\r\n"), SLICE("\r\n"), "a=NIL;");
}

static void test_what_is_no_list(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),
        SLICE("x"),
        SLICE("NILX"),
        SLICE("\"a\""),
        SLICE("("),
        SLICE("( )"),
        SLICE("(NIL)"),
        SLICE("(NIL NIL)"),
        SLICE("(a \"b\")"),
        SLICE("(\"a\" b)"),
        SLICE("(\"a\")"),
        SLICE("(\"a\" )"),
        SLICE("(\"a\"\"b\")"),
        SLICE("(\"a\"  \"b\")"),
        SLICE("( \"a\" \"b\")"),
        SLICE("(\"a\" \"b\" )"),
        SLICE("(\"a\" \"b\"\"c\" \"d\")"),
        SLICE("(\"a\" \"b\" \"c\")"),
        SLICE("(\"a\" (\"b\"))"),
        SLICE("(\"a\" \"b\""),
        SLICE("(\"a\" \"b)"),
        SLICE("(\"a\" {2}\r\nb)"),
        SLICE("(\"a\" {3}\r\nb\0c)"),
        SLICE("(\"a\" {1}\r\n\r)"),
        SLICE("({1}\r\n\n NIL)"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_read(rows[i], SLICE(""), "no");
}

static void test_keys_and_values_are_bounded(void **state)
{
    char wire[1200], told[1200];

    (void)state;
    for (int n = 29; n <= 31; n++) {
        snprintf(wire, sizeof(wire), "(\"%0*d\" NIL)", n, 7);
        snprintf(told, sizeof(told), "%0*d=NIL;", n, 7);
        assert_read(slice_str(wire), SLICE(""), n <= 30 ? told : "no");
    }
    for (int n = 1023; n <= 1025; n++) {
        snprintf(told, sizeof(told), "a=%0*d;", n, 7);
        snprintf(wire, sizeof(wire), "(\"a\" \"%0*d\")", n, 7);
        assert_read(slice_str(wire), SLICE(""), n <= 1024 ? told : "no");
        snprintf(wire, sizeof(wire), "(\"a\" {%d}\r\n%0*d)", n, n, 7);
        assert_read(slice_str(wire), SLICE(""), n <= 1024 ? told : "no");
    }
}

static void test_pairs_are_bounded(void **state)
{
    (void)state;
    for (int n = 29; n <= 31; n++) {
        struct buf wire, told;

        buf_init(&wire, 10000, false);
        buf_init(&told, 10000, false);
        for (int i = 0; i < n; i++) {
            assert_int_equal(buf_printf(&wire, "%s\"%d\" \"x\"", i == 0 ? "(" : " ", i), 0);
            assert_int_equal(buf_printf(&told, "%d=x;", i), 0);
        }
        assert_int_equal(buf_puts(&wire, ")"), 0);
        if (n <= 30) {
            char *expected = slice_dup(buf_slice(&told));

            assert_read(buf_slice(&wire), SLICE(""), expected);
            free(expected);
        } else {
            assert_read(buf_slice(&wire), SLICE(""), "no");
        }
        buf_release(&wire);
        buf_release(&told);
    }
}

/* Writes the list, saying "+" by itself where it has to wait: told as "<+>". */
static char *written(struct id id, size_t nonsync_max)
{
    struct slice due;
    struct buf out;
    size_t at = 0, waits = 0;

    told_init(&out);
    assert_int_equal(id_write(&out, id, nonsync_max, &at, &due), 0);
    for (; due.n > 0; waits++) {
        assert_int_equal(buf_puts(&out, "<+>"), 0);
        assert_int_equal(buf_put(&out, due), 0);
        assert_int_equal(id_write(&out, id, nonsync_max, &at, &due), 0);
    }
    assert_int_equal(id_waits(id, nonsync_max), waits > 0);
    return told_done(&out);
}

static void assert_written(struct id id, size_t nonsync_max, const char *expected)
{
    char *wire = written(id, nonsync_max);

    assert_string_equal(wire, expected);
    free(wire);
}

static const struct id_pair some[] = {
    {SLICE("name"), SLICE("X \"y\""), false},
    {SLICE("os"), {0}, true},
    {SLICE("\xc3\xa4"), SLICE("\xe4\t"), false},
    {SLICE("NIL"), SLICE(""), false},
};

static void test_lists_are_written(void **state)
{
    (void)state;
    assert_written((struct id){0}, 0, "NIL");
    assert_written((struct id){some, 2}, 0, "(\"name\" \"X \\\"y\\\"\" \"os\" NIL)");
    assert_written((struct id){some, 4}, SIZE_MAX,
                   "(\"name\" \"X \\\"y\\\"\" \"os\" NIL {2+}\r\n\xc3\xa4 {2+}\r\n\xe4\t \"NIL\" "
                   "\"\")");
    assert_written((struct id){some, 4}, 1,
                   "(\"name\" \"X \\\"y\\\"\" \"os\" NIL {2}\r\n<+>\xc3\xa4 {2}\r\n<+>\xe4\t "
                   "\"NIL\" \"\")");
}

static void test_what_is_written_is_read_again(void **state)
{
    char *wire = written((struct id){some, 4}, SIZE_MAX);

    (void)state;
    assert_read(slice_str(wire), SLICE(""), "name=X \"y\";os=NIL;\xc3\xa4=\xe4\t;NIL=;");
    free(wire);
}

static void test_list_says_when_it_does_not_fit(void **state)
{
    const struct id id = {some, 4};
    char *wire = written(id, SIZE_MAX);
    size_t whole = strlen(wire);

    (void)state;
    free(wire);
    for (size_t most = 0; most <= whole; most++) {
        struct slice due;
        struct buf out;
        size_t at = 0;

        buf_init(&out, most, false);
        assert_int_equal(id_write(&out, id, SIZE_MAX, &at, &due), most < whole ? -1 : 0);
        buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_are_read),
        cmocka_unit_test(test_what_is_no_list),
        cmocka_unit_test(test_keys_and_values_are_bounded),
        cmocka_unit_test(test_pairs_are_bounded),
        cmocka_unit_test(test_lists_are_written),
        cmocka_unit_test(test_what_is_written_is_read_again),
        cmocka_unit_test(test_list_says_when_it_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
