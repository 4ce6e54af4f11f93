/* Credentials from a client through to a backend: whatever bytes they have, by whatever way they
 * come in and go out, the backend gets the same. The client's and the backend's side are models of
 * their own, which share no grammar with what is tested. */
#include "pieces.h"

#include "base/base64.h"
#include "imapc/imapc.h"
#include "worker/login.h"

/* ---- The client: how it says who it is. False: this way cannot carry the bytes ---- */

static void say(struct buf *out, const char *s)
{
    assert_int_equal(buf_puts(out, s), 0);
}

static void say_bytes(struct buf *out, struct slice s)
{
    assert_int_equal(buf_put(out, s), 0);
}

static void say_base64(struct buf *out, struct slice s)
{
    char *room = buf_room(out, BASE64_LEN(s.n) + 1);

    assert_non_null(room);
    base64_encode(s, room);
    buf_added(out, BASE64_LEN(s.n));
}

static bool is_word(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("(){%*\"\\", s.p[i]))
            return false;
    }
    return s.n > 0;
}

static bool is_line(struct slice s)
{
    return !slice_has(s, '\0') && !slice_has(s, '\r') && !slice_has(s, '\n');
}

static void say_quoted(struct buf *out, struct slice s)
{
    say(out, "\"");
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            say(out, "\\");
        say_bytes(out, slice_sub(s, i, i + 1));
    }
    say(out, "\"");
}

static bool by_words(struct buf *out, struct slice user, struct slice password)
{
    say(out, "a LOGIN ");
    say_bytes(out, user);
    say(out, " ");
    say_bytes(out, password);
    say(out, "\r\n");
    return is_word(user) && is_word(password);
}

static bool by_quotes(struct buf *out, struct slice user, struct slice password)
{
    say(out, "a LOGIN ");
    say_quoted(out, user);
    say(out, " ");
    say_quoted(out, password);
    say(out, "\r\n");
    return is_line(user) && is_line(password);
}

static void say_literals(struct buf *out, const char *plus, struct slice user,
                         struct slice password)
{
    assert_int_equal(buf_printf(out, "a LOGIN {%zu%s}\r\n", user.n, plus), 0);
    say_bytes(out, user);
    assert_int_equal(buf_printf(out, " {%zu%s}\r\n", password.n, plus), 0);
    say_bytes(out, password);
    say(out, "\r\n");
}

static bool by_literals(struct buf *out, struct slice user, struct slice password)
{
    say_literals(out, "", user, password);
    return true;
}

static bool by_literals_plus(struct buf *out, struct slice user, struct slice password)
{
    say_literals(out, "+", user, password);
    return true;
}

static void say_plain(struct buf *out, struct slice user, struct slice password)
{
    struct buf message;

    buf_init(&message, 4096, false);
    say_bytes(&message, SLICE("\0"));
    say_bytes(&message, user);
    say_bytes(&message, SLICE("\0"));
    say_bytes(&message, password);
    say_base64(out, buf_slice(&message));
    say(out, "\r\n");
    buf_release(&message);
}

static bool by_plain_initial(struct buf *out, struct slice user, struct slice password)
{
    say(out, "a AUTHENTICATE PLAIN ");
    say_plain(out, user, password);
    return true;
}

static bool by_plain(struct buf *out, struct slice user, struct slice password)
{
    say(out, "a AUTHENTICATE PLAIN\r\n");
    say_plain(out, user, password);
    return true;
}

static void say_sasl_login(struct buf *out, struct slice user, struct slice password)
{
    say_base64(out, user);
    say(out, "\r\n");
    say_base64(out, password);
    say(out, "\r\n");
}

static bool by_sasl_login_initial(struct buf *out, struct slice user, struct slice password)
{
    say(out, "a AUTHENTICATE LOGIN ");
    say_sasl_login(out, user, password);
    return true;
}

static bool by_sasl_login(struct buf *out, struct slice user, struct slice password)
{
    say(out, "a AUTHENTICATE LOGIN\r\n");
    say_sasl_login(out, user, password);
    return true;
}

typedef bool way_in_fn(struct buf *out, struct slice user, struct slice password);

static way_in_fn *const ways_in[] = {
    by_words,         by_quotes, by_literals,           by_literals_plus,
    by_plain_initial, by_plain,  by_sasl_login_initial, by_sasl_login,
};

enum { WAYS_IN = sizeof(ways_in) / sizeof(ways_in[0]) };

/* ---- The backend: what it offers, and reading what it is sent ---- */

static const char *const offers[] = {
    "SASL-IR AUTH=PLAIN", "AUTH=PLAIN", "LOGIN-REFERRALS",
    "LITERAL+",           "LITERAL-",   "AUTH=LOGIN SASL-IR LOGINDISABLED",
};

enum { OFFERS = sizeof(offers) / sizeof(offers[0]) };

struct backend {
    struct imapc *c;
    struct buf got;            /* what it was sent and has not read yet */
    struct buf user, password; /* as it understood them */
};

static void backend_says(struct backend *b, const char *s)
{
    say(imapc_in(b->c), s);
    imapc_step(b->c);
    say_bytes(&b->got, buf_slice(imapc_out(b->c)));
    buf_take(imapc_out(b->c), buf_len(imapc_out(b->c)));
}

/* The bytes up to `end`, which is read over. */
static void read_until(struct backend *b, struct buf *to, const char *end)
{
    struct slice got = buf_slice(&b->got);
    const char *at = memmem(got.p, got.n, end, strlen(end));

    assert_non_null(at);
    say_bytes(to, slice_of(got.p, (size_t)(at - got.p)));
    buf_take(&b->got, (size_t)(at - got.p) + strlen(end));
}

static bool reads_word(struct backend *b, const char *word)
{
    if (!slice_istarts(buf_slice(&b->got), slice_str(word)))
        return false;
    buf_take(&b->got, strlen(word));
    return true;
}

static void read_byte(struct backend *b, struct buf *to)
{
    assert_int_not_equal(buf_len(&b->got), 0);
    say_bytes(to, slice_sub(buf_slice(&b->got), 0, 1));
    buf_take(&b->got, 1);
}

static void read_string(struct backend *b, struct buf *to)
{
    struct buf count;
    size_t n;

    if (reads_word(b, "\"")) {
        while (!reads_word(b, "\"")) {
            reads_word(b, "\\");
            read_byte(b, to);
        }
        return;
    }
    assert_true(reads_word(b, "{"));
    buf_init(&count, 20, false);
    read_until(b, &count, "}\r\n");
    say_bytes(&count, SLICE("\0"));
    n = (size_t)atoi(buf_slice(&count).p);
    if (!strchr(buf_slice(&count).p, '+')) {
        assert_int_equal(buf_len(&b->got), 0); /* it does wait */
        backend_says(b, "+ go on\r\n");
    }
    buf_release(&count);
    for (size_t i = 0; i < n; i++)
        read_byte(b, to);
}

static void read_base64(struct backend *b, struct buf *to)
{
    struct buf line;
    char *room;
    long n;

    buf_init(&line, 8192, false);
    read_until(b, &line, "\r\n");
    room = buf_room(to, buf_len(&line) + 1);
    assert_non_null(room);
    n = base64_decode(buf_slice(&line), room);
    assert_in_range(n, 0, buf_len(&line));
    buf_added(to, (size_t)n);
    buf_release(&line);
}

static void read_plain(struct backend *b)
{
    struct buf message;
    struct slice s;
    const char *nul;

    if (reads_word(b, "\r\n"))
        backend_says(b, "+ \r\n");
    else
        assert_true(reads_word(b, " "));
    buf_init(&message, 8192, false);
    read_base64(b, &message);
    s = buf_slice(&message);
    INSIST(s.n > 0 && s.p != NULL);
    assert_int_equal(s.p[0], '\0');
    nul = memchr(s.p + 1, '\0', s.n - 1);
    assert_non_null(nul);
    say_bytes(&b->user, slice_sub(s, 1, (size_t)(nul - s.p)));
    say_bytes(&b->password, slice_sub(s, (size_t)(nul - s.p) + 1, s.n));
    buf_release(&message);
}

static void read_login(struct backend *b)
{
    if (reads_word(b, "U1 AUTHENTICATE PLAIN")) {
        read_plain(b);
    } else if (reads_word(b, "U1 AUTHENTICATE LOGIN\r\n")) {
        backend_says(b, "+ VXNlcm5hbWU6\r\n");
        read_base64(b, &b->user);
        backend_says(b, "+ UGFzc3dvcmQ6\r\n");
        read_base64(b, &b->password);
    } else {
        assert_true(reads_word(b, "U1 LOGIN "));
        read_string(b, &b->user);
        assert_true(reads_word(b, " "));
        read_string(b, &b->password);
        assert_true(reads_word(b, "\r\n"));
    }
    assert_int_equal(buf_len(&b->got), 0);
}

/* ---- Both together ---- */

static void assert_slice(struct slice got, struct slice expected)
{
    assert_int_equal(got.n, expected.n);
    if (expected.n)
        assert_memory_equal(got.p, expected.p, expected.n);
}

static void assert_goes_out(const struct login_request *r, const char *offered, struct slice user,
                            struct slice password)
{
    const struct imapc_params params = {.user = r->user,
                                        .authzid = r->authzid,
                                        .password = r->password,
                                        .max_line = 1000,
                                        .max_untagged = 1000};
    struct backend b = {.c = imapc_new(&params)};
    char greeting[100];

    assert_non_null(b.c);
    buf_init(&b.got, 8192, false);
    buf_init(&b.user, 8192, false);
    buf_init(&b.password, 8192, false);
    snprintf(greeting, sizeof(greeting), "* OK [CAPABILITY IMAP4rev1 %s] Hi\r\n", offered);
    backend_says(&b, greeting);
    read_login(&b);
    assert_slice(buf_slice(&b.user), user);
    assert_slice(buf_slice(&b.password), password);
    backend_says(&b, "U1 OK [CAPABILITY IMAP4rev1] In\r\n");
    assert_int_equal(imapc_step(b.c), IMAPC_DONE);
    assert_true(imapc_answer(b.c)->is_ok);
    imapc_free(&b.c);
    buf_release(&b.got);
    buf_release(&b.user);
    buf_release(&b.password);
}

static const struct login_params params = {.allows_cleartext = true,
                                           .max_line = 4096,
                                           .max_bytes = 99999,
                                           .max_literal = 4096,
                                           .max_tries = 3,
                                           .max_bad = 3};

/* Sends the credentials through every way in and every way out. Says how many ways in there were.
 */
static size_t assert_goes_through(struct slice user, struct slice password)
{
    size_t ways = 0;

    for (size_t i = 0; i < WAYS_IN; i++) {
        struct login *l = login_new(&params, false);

        assert_non_null(l);
        if (ways_in[i](login_in(l), user, password)) {
            assert_int_equal(login_step(l), LOGIN_ADMIT);
            assert_slice(login_request(l)->user, user);
            assert_slice(login_request(l)->password, password);
            for (size_t k = 0; k < OFFERS; k++)
                assert_goes_out(login_request(l), offers[k], user, password);
            ways++;
        }
        login_free(&l);
    }
    return ways;
}

static void test_every_byte_goes_through_every_way(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        const char alone[] = {(char)c};
        const char within[] = {'a', (char)c, 'b'};
        size_t ways = is_word(slice_of(alone, 1)) ? WAYS_IN : WAYS_IN - 1;

        if (c == '\r' || c == '\n')
            continue;
        assert_int_equal(assert_goes_through(slice_of(alone, 1), SLICE("x")), ways);
        assert_int_equal(assert_goes_through(SLICE("u"), slice_of(alone, 1)), ways);
        assert_int_equal(assert_goes_through(slice_of(within, 3), slice_of(within, 3)), ways);
    }
}

static void test_all_bytes_at_once_and_long_ones_go_through(void **state)
{
    char all[256], twice[512];
    size_t n = 0;

    (void)state;
    for (int c = 255; c > 0; c--) {
        if (c != '\r' && c != '\n')
            all[n++] = (char)c;
    }
    for (size_t i = 0; i < sizeof(twice); i++)
        twice[i] = all[i % n];
    assert_int_equal(assert_goes_through(slice_of(all, n), slice_of(all, n)), WAYS_IN - 1);
    assert_int_equal(
        assert_goes_through(slice_of(twice, sizeof(twice)), slice_of(twice, sizeof(twice))),
        WAYS_IN - 1);
    assert_int_equal(assert_goes_through(SLICE("nil"), SLICE("NIL")), WAYS_IN);
    assert_int_equal(assert_goes_through(SLICE("ann"), SLICE("")), WAYS_IN - 1);
    assert_int_equal(assert_goes_through(SLICE("a{3}"), SLICE("{3+}")), WAYS_IN - 1);
}

static void assert_is_refused(struct slice user, struct slice password)
{
    for (size_t i = 0; i < WAYS_IN; i++) {
        struct login *l = login_new(&params, false);

        assert_non_null(l);
        /* LF outside of a literal is another line, not an odd one. */
        if (ways_in[i](login_in(l), user, password) ||
            (!slice_has(user, '\n') && !slice_has(password, '\n')))
            assert_int_equal(login_step(l), LOGIN_MORE); /* answered, and ready for the next */
        login_free(&l);
    }
}

static void test_nul_cr_and_lf_are_refused_by_every_way(void **state)
{
    static const struct slice odd[] = {SLICE("\0"),   SLICE("\r"),   SLICE("\n"),
                                       SLICE("a\0b"), SLICE("a\rb"), SLICE("a\nb"),
                                       SLICE("a\0"),  SLICE("a\r"),  SLICE("a\n")};

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        assert_is_refused(odd[i], SLICE("x"));
        assert_is_refused(SLICE("u"), odd[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_goes_through_every_way),
        cmocka_unit_test(test_all_bytes_at_once_and_long_ones_go_through),
        cmocka_unit_test(test_nul_cr_and_lf_are_refused_by_every_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
