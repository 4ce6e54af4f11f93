/* Names in modified UTF-7: both ways, and what is neither. */
#include "pieces.h"

#include "imap/utf7.h"

typedef bool convert(struct slice s, struct buf *out);

/* What comes of it, behind what the buffer has already; "no" if it is refused. */
static char *converted(convert *f, struct slice s)
{
    struct buf out;

    told_init(&out);
    assert_int_equal(buf_puts(&out, ">"), 0);
    if (!f(s, &out)) {
        assert_true(slice_eq(buf_slice(&out), SLICE(">")));
        buf_release(&out);
        assert_int_equal(buf_puts(&out, "no"), 0);
    }
    return told_done(&out);
}

static void assert_converted(convert *f, struct slice s, const char *expected)
{
    char *told = converted(f, s);

    if (strcmp(told, expected) != 0)
        print_error("of: %.*s\n", SLICE_ARG(s));
    assert_string_equal(told, expected);
    free(told);
}

static void test_names_go_both_ways(void **state)
{
    static const struct {
        const char *wire, *name;
    } rows[] = {
        {"", ""},
        {"INBOX", "INBOX"},
        {"a &- b", "a & b"},
        {"&-", "&"},
        {"&-&-&-", "&&&"},
        {"&--", "&-"},
        {" ~{}\"\\(*%/.+,", " ~{}\"\\(*%/.+,"},
        {"&AOQ-", "\xc3\xa4"},
        {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
        {"&AOQA9gD8-", "\xc3\xa4\xc3\xb6\xc3\xbc"},
        {"&AOQ-&-&AOQ-", "\xc3\xa4&\xc3\xa4"},
        {"&AOQ-a&AOQ-", "\xc3\xa4"
                        "a\xc3\xa4"},
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/"
                                            "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"&Jjo-!", "\xe2\x98\xba!"},
        {"&2D3eAA-", "\xf0\x9f\x98\x80"},
        {"&2ADcAA-", "\xf0\x90\x80\x80"},
        {"&2,,f,w-", "\xf4\x8f\xbf\xbf"},
        {"&AAk-", "\t"},
        {"&AAEAHwB,-", "\x01\x1f\x7f"},
        {"&,,8-", "\xef\xbf\xbf"},
        {"&AIA-", "\xc2\x80"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char wire[80], name[80];

        snprintf(wire, sizeof(wire), ">%s", rows[i].wire);
        snprintf(name, sizeof(name), ">%s", rows[i].name);
        assert_converted(utf7_decode, slice_str(rows[i].wire), name);
        assert_converted(utf7_encode, slice_str(rows[i].name), wire);
    }
}

static void test_utf8_on_the_wire_is_taken_as_it_is(void **state)
{
    (void)state;
    assert_converted(utf7_decode, SLICE("\xc3\xa4"), ">\xc3\xa4");
    assert_converted(utf7_decode, SLICE("a/\xf0\x9f\x98\x80-b"), ">a/\xf0\x9f\x98\x80-b");
}

static void test_what_is_no_name_on_the_wire(void **state)
{
    static const struct slice rows[] = {
        SLICE("&"),           /* never ended */
        SLICE("a&AOQ"),       /* the same */
        SLICE("a&b"),         /* the same */
        SLICE("&A-"),         /* half a character */
        SLICE("&AO-"),        /* the same */
        SLICE("&AOQA-"),      /* one and a half */
        SLICE("&AOR-"),       /* bits left over */
        SLICE("&AOQA9h-"),    /* the same */
        SLICE("&AOQA9gD8A-"), /* a digit too many */
        SLICE("&AGE-"),       /* "a" stands for itself */
        SLICE("&AOQAYQ-"),    /* the same behind another */
        SLICE("&ACY-"),       /* "&" is "&-" */
        SLICE("&ACA-"),       /* a blank */
        SLICE("&AH4-"),       /* "~" */
        SLICE("&AOQ-&AOQ-"),  /* a shift for nothing */
        SLICE("&U,BTFw-&ZeVnLIqe-"),
        SLICE("&2D0-"),    /* a high surrogate alone */
        SLICE("&3gA-"),    /* a low one */
        SLICE("&2D0A5A-"), /* a high one, and no low one behind it */
        SLICE("&2D3YPQ-"), /* two high ones */
        SLICE("&3gDYPQ-"), /* the wrong way round */
        SLICE("&AO/-"),    /* the slash is "," here */
        SLICE("&AOQ=-"),   /* no padding */
        SLICE("&AO Q-"),   /* no digit */
        SLICE("&AA\0-"),   /* the same */
        SLICE("&A\0A-"),   /* the same */
        SLICE("&AAA-"),    /* NUL */
        SLICE("&AA0-"),    /* CR */
        SLICE("&AAo-"),    /* LF */
        SLICE("a\0b"),
        SLICE("a\r"),
        SLICE("a\nb"),
        SLICE("a\tb"), /* would be &AAk- if written */
        SLICE("\x7f"),
        SLICE("\xe4"), /* Latin-1 */
        SLICE("\xc3\xa4\xe4"),
        SLICE("\xed\xa0\xbd"),  /* a surrogate */
        SLICE("\xc0\x80"),      /* overlong */
        SLICE("\xc3\xa4&AOQ-"), /* both */
        SLICE("&-\xc3\xa4"),    /* the same */
        SLICE("\xc3\xa4\r"),
        SLICE("\xc3\xa4\0"),
        SLICE("\xc3\xa4\t"),
        SLICE("&\xc3\xa4-"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_converted(utf7_decode, rows[i], "no");
}

static void test_what_cannot_be_a_name(void **state)
{
    static const struct slice rows[] = {
        SLICE("a\0b"),  SLICE("a\r"),      SLICE("\n"),           SLICE("\xe4"),
        SLICE("a\xc3"), SLICE("\xc0\x80"), SLICE("\xed\xa0\x80"), SLICE("\xf4\x90\x80\x80"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_converted(utf7_encode, rows[i], "no");
}

static size_t utf8_of(uint32_t c, char *to)
{
    static const struct {
        uint32_t end;
        unsigned char lead;
    } sizes[] = {{0x80, 0}, {0x800, 0xc0}, {0x10000, 0xe0}, {0x110000, 0xf0}};
    size_t n = 0;

    while (c >= sizes[n].end)
        n++;
    for (size_t i = n; i > 0; i--) {
        to[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    to[0] = (char)(sizes[n].lead | c);
    return n + 1;
}

/* By the book, one character alone: what a reader of RFC 2152 would write. */
static size_t wire_of(uint32_t c, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    uint64_t bits = c < 0x10000 ? (uint64_t)c << 2
                                : (uint64_t)((0xd800U + ((c - 0x10000) >> 10)) << 16 |
                                             (0xdc00U + ((c - 0x10000) & 0x3ff)))
                                      << 4;
    size_t n = c < 0x10000 ? 3 : 6;

    if (c >= ' ' && c <= '~') {
        to[0] = (char)c;
        to[1] = '-';
        return c == '&' ? 2 : 1;
    }
    to[0] = '&';
    for (size_t i = 0; i < n; i++)
        to[1 + i] = digits[bits >> (6 * (n - 1 - i)) & 63];
    to[n + 1] = '-';
    return n + 2;
}

static void test_every_character_goes_both_ways(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 100, false);
    for (uint32_t c = 1; c < 0x110000; c += c < 0x20000 ? 1 : 77) {
        char name[4], wire[8];
        struct slice utf8 = slice_of(name, utf8_of(c, name)), utf7;
        const bool is_fit = c != '\r' && c != '\n' && (c < 0xd800 || c > 0xdfff);

        utf7 = slice_of(wire, wire_of(c, wire));
        assert_int_equal(utf7_encode(utf8, &out), is_fit);
        assert_true(!is_fit || slice_eq(buf_slice(&out), utf7));
        buf_take(&out, buf_len(&out));
        assert_int_equal(utf7_decode(utf7, &out), is_fit);
        assert_true(!is_fit || slice_eq(buf_slice(&out), utf8));
        buf_take(&out, buf_len(&out));
    }
    buf_release(&out);
}

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*seed >> 33);
}

static void test_names_of_any_characters_go_both_ways(void **state)
{
    static const uint32_t below[] = {0x7f, 0x7f, 0x100, 0xd800, 0x110000};
    struct buf wire, again;
    uint64_t seed = 1;

    (void)state;
    buf_init(&wire, 1000, false);
    buf_init(&again, 1000, false);
    for (int i = 0; i < 20000; i++) {
        char name[80];
        size_t n = 0;

        for (uint32_t left = next_random(&seed) % 20; left > 0; left--) {
            uint32_t c = 1 + next_random(&seed) % (below[next_random(&seed) % 5] - 1);

            if (c != '\r' && c != '\n' && (c < 0xd800 || c > 0xdfff))
                n += utf8_of(c, name + n);
        }
        assert_true(utf7_encode(slice_of(name, n), &wire));
        assert_true(utf7_decode(buf_slice(&wire), &again));
        assert_true(slice_eq(buf_slice(&again), slice_of(name, n)));
        buf_take(&wire, buf_len(&wire));
        buf_take(&again, buf_len(&again));
    }
    buf_release(&wire);
    buf_release(&again);
}

static void test_a_name_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    static const struct slice name = SLICE("\xc3\xa4&\xf0\x9f\x98\x80"),
                              wire = SLICE("&AOQ-&-&2D3eAA-");

    (void)state;
    for (size_t most = 2; most <= wire.n + 2; most++) {
        struct buf out;

        buf_init(&out, most, false);
        assert_int_equal(buf_puts(&out, "->"), 0);
        assert_int_equal(utf7_encode(name, &out), most == wire.n + 2);
        assert_int_equal(buf_len(&out), most == wire.n + 2 ? most : 2);
        buf_release(&out);
        assert_int_equal(buf_puts(&out, "->"), 0);
        assert_int_equal(utf7_decode(wire, &out), most >= name.n + 2);
        assert_int_equal(buf_len(&out), most >= name.n + 2 ? name.n + 2 : 2);
        buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_go_both_ways),
        cmocka_unit_test(test_utf8_on_the_wire_is_taken_as_it_is),
        cmocka_unit_test(test_what_is_no_name_on_the_wire),
        cmocka_unit_test(test_what_cannot_be_a_name),
        cmocka_unit_test(test_every_character_goes_both_ways),
        cmocka_unit_test(test_names_of_any_characters_go_both_ways),
        cmocka_unit_test(test_a_name_that_does_not_fit_leaves_the_buffer_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
