/* Whose greeting it is, what servers answer, and how their words are shown: the pure parts of a
 * probe. */
#include "pieces.h"

#include "ports/probe_parts.h"

/* ---- greetings ---- */

static void assert_recognized(const char *line, enum speaks speaks)
{
    enum speaks got = speaks_recognize(slice_str(line), true);

    if (got != speaks)
        fail_msg("\"%s\" is taken for %s, not %s", line, speaks_name(got), speaks_name(speaks));
}

static void test_greetings_of_real_servers(void **state)
{
    static const struct {
        const char *line;
        enum speaks speaks;
    } rows[] = {
        /* Dovecot, Cyrus, Courier, Exchange, Gmail, Zimbra, Stalwart, UW, hMailServer, Mirapoint */
        {"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS "
         "LOGINDISABLED] Dovecot (Debian) ready.\r\n",
         SPEAKS_IMAP},
        {"* OK [CAPABILITY IMAP4rev1 LITERAL+ ID ENABLE STARTTLS] mail.example.org Cyrus IMAP "
         "3.6.1-Debian-3.6.1-4 server ready\r\n",
         SPEAKS_IMAP},
        {"* OK [CAPABILITY IMAP4rev1 UIDPLUS] Courier-IMAP ready. Copyright 1998-2022 Double "
         "Precision, Inc.  See COPYING for distribution information.\r\n",
         SPEAKS_IMAP},
        {"* OK The Microsoft Exchange IMAP4 service is ready. [TABOADIAUAA=]\r\n", SPEAKS_IMAP},
        {"* OK Gimap ready for requests from 192.0.2.1 a1mb2\r\n", SPEAKS_IMAP},
        {"* OK mail.example.org Zimbra IMAP4rev1 server ready\r\n", SPEAKS_IMAP},
        {"* OK [CAPABILITY IMAP4rev2 IMAP4rev1] Stalwart IMAP4rev2 at your service.\r\n",
         SPEAKS_IMAP},
        {"* PREAUTH mail.example.org IMAP4rev1\r\n", SPEAKS_IMAP},
        {"* BYE Temporary problem\r\n", SPEAKS_IMAP},
        {"* ok IMAP4\n", SPEAKS_IMAP},
        {"* OK\r\n", SPEAKS_IMAP},
        {"* OK IMAPrev1\r\n", SPEAKS_IMAP},
        {"* OK mail.example.org Mirapoint IMAP4PROXY 1.0 server ready\r\n", SPEAKS_IMAP},
        /* Mirapoint's administration */
        {"* OK mail.example.org admind 3.8.3 server ready\r\n", SPEAKS_ADMIND},
        {"* OK admind.example.org IMAP4rev1 ready\r\n", SPEAKS_IMAP},
        {"* OK [CAPABILITY IMAP4rev1] admind ready\r\n", SPEAKS_IMAP},
        /* POP3 */
        {"+OK Dovecot (Debian) ready.\r\n", SPEAKS_POP3},
        {"+OK\r\n", SPEAKS_POP3},
        {"+OK Gpop ready for requests from 192.0.2.1 a1mb2\r\n", SPEAKS_POP3},
        {"+OK The Microsoft Exchange POP3 service is ready. [TABOADIAUAA=]\r\n", SPEAKS_POP3},
        {"+OK mail.example.org Cyrus POP3 3.6.1 server ready <1.2@x>\r\n", SPEAKS_POP3},
        {"-ERR [SYS/TEMP] Too many connections\r\n", SPEAKS_POP3},
        /* Postfix, postscreen, Exim, Sendmail, OpenSMTPD, Exchange, Gmail, Stalwart, qmail */
        {"220 mail.example.org ESMTP Postfix (Debian/GNU)\r\n", SPEAKS_SMTP},
        {"220-mail.example.org ESMTP Postfix\r\n220 mail.example.org ESMTP Postfix\r\n",
         SPEAKS_SMTP},
        {"220 mail.example.org ESMTP Exim 4.96 Sat, 01 Jan 2022 00:00:00 +0000\r\n", SPEAKS_SMTP},
        {"220 mail.example.org ESMTP Sendmail 8.17.1.9/8.17.1.9/Debian-2; Sat, 1 Jan 2022 "
         "00:00:00 GMT\r\n",
         SPEAKS_SMTP},
        {"220 mail.example.org ESMTP OpenSMTPD\r\n", SPEAKS_SMTP},
        {"220 EX1.corp.example.org Microsoft ESMTP MAIL Service ready at Sat, 1 Jan 2022 00:00:00 "
         "+0100\r\n",
         SPEAKS_SMTP},
        {"220 mx.google.com ESMTP a640c23a62f3a-a9 - gsmtp\r\n", SPEAKS_SMTP},
        {"220 'mail.example.org' Stalwart ESMTP at your service\r\n", SPEAKS_SMTP},
        {"220 example.org ESMTP\r\n", SPEAKS_SMTP},
        {"220 ftp.example.org ESMTP Postfix\r\n", SPEAKS_SMTP},
        {"220 ftp ESMTP\r\n", SPEAKS_SMTP},
        {"220 mail.example.org Dovecot ready.\r\n", SPEAKS_SMTP}, /* or LMTP: EHLO tells */
        {"220 smtp ready\r\n", SPEAKS_SMTP},
        {"220\r\n", SPEAKS_SMTP},
        {"554 mail.example.org ESMTP not accepting messages\r\n", SPEAKS_SMTP},
        {"421 Too many concurrent SMTP connections\r\n", SPEAKS_SMTP},
        {"521 mail.example.org does not accept mail\r\n", SPEAKS_SMTP},
        /* LMTP */
        {"220 mail.example.org LMTP Server ready\r\n", SPEAKS_LMTP},
        {"220 mail.example.org Cyrus LMTP 3.6.1 server ready\r\n", SPEAKS_LMTP},
        {"220 'mail.example.org' Stalwart LMTP at your service\r\n", SPEAKS_LMTP},
        /* ManageSieve */
        {"\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SIEVE\" \"fileinto\"\r\n", SPEAKS_SIEVE},
        {"\"IMPLEMENTATION\" \"Cyrus timsieved v3.6.1\"\r\n", SPEAKS_SIEVE},
        {"\"SASL\" \"PLAIN\"\r\n", SPEAKS_SIEVE},
        {"\"STARTTLS\"\r\n", SPEAKS_SIEVE},
        {"BYE \"Too many\"\r\n", SPEAKS_SIEVE},
        {"BYE (TRYLATER) \"x\"\r\n", SPEAKS_SIEVE},
        /* others */
        {"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", SPEAKS_SSH},
        {"220 (vsFTPd 3.0.3)\r\n", SPEAKS_FTP},
        {"220 ProFTPD Server (Debian) [::ffff:192.0.2.1]\r\n", SPEAKS_FTP},
        {"220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\r\n", SPEAKS_FTP},
        {"220-FileZilla Server 1.6.7\r\n", SPEAKS_FTP},
        {"220 Microsoft FTP Service\r\n", SPEAKS_FTP},
        {"220 FTP server ready\r\n", SPEAKS_FTP},
        {"220 smtp.example.org FTP server (Version 6.4) ready.\r\n", SPEAKS_FTP},
        {"120 Service ready in 3 minutes\r\n", SPEAKS_FTP},
        {"530 Too many users\r\n", SPEAKS_FTP},
        {"200 news.example.org InterNetNews NNRP server INN 2.7.1 ready (posting ok)\r\n",
         SPEAKS_NNTP},
        {"200 news.example.org InterNetNews server INN 2.7.1 ready (transit mode)\r\n",
         SPEAKS_NNTP},
        {"201 x Leafnode NNTP Daemon, version 1.12\r\n", SPEAKS_NNTP},
        {"200 hello, you can post\r\n", SPEAKS_NNTP},
        {"200 poppassd v1.8.5 hello, who are you?\r\n", SPEAKS_UNKNOWN},
        {"HTTP/1.1 400 Bad Request\r\n", SPEAKS_HTTP},
        {"\x15\x03\x01\x02\x02\x28", SPEAKS_TLS},
        {"RFB 003.008\n", SPEAKS_UNKNOWN},
        {"J", SPEAKS_UNKNOWN},
        {"2200 x\r\n", SPEAKS_UNKNOWN},
        {"22\r\n", SPEAKS_UNKNOWN},
        {"* OKAY\r\n", SPEAKS_UNKNOWN},
        {"+OKAY\r\n", SPEAKS_UNKNOWN},
        {"\r\n", SPEAKS_UNKNOWN},
        {"299 what\r\n", SPEAKS_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_recognized(rows[i].line, rows[i].speaks);
}

static void test_a_greeting_is_judged_when_its_line_is_whole(void **state)
{
    static const char line[] = "* OK ready\r\n";
    char full[PROBE_TEXT];

    (void)state;
    for (size_t n = 0; n < sizeof line - 2; n++)
        assert_int_equal(speaks_recognize(slice_of(line, n), false), SPEAKS_NOTHING);
    assert_int_equal(speaks_recognize(slice_of(line, sizeof line - 1), false), SPEAKS_IMAP);
    assert_int_equal(speaks_recognize(slice_of(line, 6), true), SPEAKS_IMAP);
    assert_int_equal(speaks_recognize(slice_of(NULL, 0), true), SPEAKS_NOTHING);
    memset(full, 'x', sizeof full);
    assert_int_equal(speaks_recognize(slice_of(full, sizeof full - 1), false), SPEAKS_NOTHING);
    assert_int_equal(speaks_recognize(slice_of(full, sizeof full), false), SPEAKS_UNKNOWN);
}

static void test_all_have_names(void **state)
{
    (void)state;
    for (enum speaks s = 0; s < SPEAKS_COUNT; s++) {
        assert_string_not_equal(speaks_name(s), "");
        assert_string_not_equal(speaks_key(s), "");
    }
    assert_string_equal(speaks_key(SPEAKS_IMAP), "imap");
}

/* ---- answers to what was said first ---- */

static int looks_like_tls(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int early = tls_recognize(slice_of(p, i));

        if (early != 0)
            return early;
    }
    return tls_recognize(slice_of(p, n));
}

static void test_tls_is_known_by_its_first_bytes(void **state)
{
    (void)state;
    assert_int_equal(looks_like_tls("\x16\x03\x03\0\x7a\x02", 6), 1);
    assert_int_equal(looks_like_tls("\x15\x03\x01\0\x02\x02\x46", 7), 1);
    assert_int_equal(looks_like_tls("\x16\x03\x01\x02\0\x01\0", 7), -1); /* an echo */
    assert_int_equal(looks_like_tls("\x15\x03\x01\0\x09\x02", 6), -1);
    assert_int_equal(looks_like_tls("\x16\x02", 2), -1);
    assert_int_equal(looks_like_tls("\x16\x03\x05", 3), -1);
    assert_int_equal(looks_like_tls("HTTP/1.1", 8), -1);
    assert_int_equal(looks_like_tls("\x16\x03", 2), 0);
}

static void test_complaints_and_welcomes(void **state)
{
    static const char *const complaints[] = {
        "* BAD x",          "500 what",           "502-what",  "-ERR x", "NO \"x\"",
        "HTTP/1.1 400 Bad", "PROXY TCP4 1 2 3 4", "x proxy y", "ERROR"};
    static const char *const neither[] = {"421 x", "554 x", "521 x", "* BYE x", "foo", "", "299 x"};
    static const char *const welcomes[] = {
        "* OK x",    "* OK IMAP4 Proxy ready", "* PREAUTH", "220 x", "+OK",
        "SSH-2.0-x", "\"SIEVE\" \"x\""};

    (void)state;
    for (size_t i = 0; i < sizeof complaints / sizeof complaints[0]; i++) {
        assert_true(is_complaint(slice_str(complaints[i])));
        assert_false(is_welcome(slice_str(complaints[i])));
    }
    for (size_t i = 0; i < sizeof neither / sizeof neither[0]; i++) {
        assert_false(is_complaint(slice_str(neither[i])));
        assert_false(is_welcome(slice_str(neither[i])));
    }
    for (size_t i = 0; i < sizeof welcomes / sizeof welcomes[0]; i++) {
        assert_false(is_complaint(slice_str(welcomes[i])));
        assert_true(is_welcome(slice_str(welcomes[i])));
    }
    assert_false(is_welcome(SLICE("\"x\"")));
}

/* ---- text ---- */

static void test_text_is_fit_to_be_shown(void **state)
{
    char out[64] = "";

    (void)state;
    text_set(out, sizeof out, slice_of("a\0\x1b[1m\r\n\xe4\xc3\xa4\xe2\x80\xae\x7f", 15));
    assert_string_equal(out, "a\\x00\\x1b[1m\\x0d\\x0a\\xe4\xc3\xa4\\u202e\\x7f");
    text_set(out, sizeof out, SLICE(""));
    assert_string_equal(out, "");
}

static void test_text_is_cut_between_characters(void **state)
{
    char out[16];

    (void)state;
    for (size_t cap = 1; cap <= sizeof out; cap++) {
        memset(out, '#', sizeof out);
        text_set(out, cap, SLICE("ab\xc3\xa4\x01z"));
        assert_true(strlen(out) < cap);
        assert_memory_equal(out, "ab\xc3\xa4\\x01z", strlen(out));
        assert_true(strlen(out) != 3);                     /* not within the character */
        assert_true(strlen(out) <= 4 || strlen(out) >= 8); /* nor within what stands for one */
    }
}

static void test_lists_hold_whole_words(void **state)
{
    char out[12] = "";

    (void)state;
    text_add_words(out, sizeof out, SLICE("  IDLE \t ID "));
    assert_string_equal(out, "IDLE ID");
    text_add_words(out, sizeof out, SLICE("ABC LITERAL"));
    assert_string_equal(out, "IDLE ID ABC");
    out[0] = '\0';
    text_add_item(out, sizeof out, SLICE("SASL"), SLICE(" A  B"));
    assert_string_equal(out, "SASL=A,B");
    text_add_item(out, sizeof out, SLICE("X"), SLICE("yz"));
    assert_string_equal(out, "SASL=A,B");
    text_add_item(out, sizeof out, SLICE("X"), SLICE(""));
    assert_string_equal(out, "SASL=A,B X");
    text_set(out, sizeof out, SLICE("X"));
    text_add_item(out, sizeof out, SLICE(" "), SLICE("y"));
    assert_string_equal(out, "X");
    text_add_item(out, sizeof out, SLICE("a b "), SLICE(""));
    assert_string_equal(out, "X ab");
}

/* ---- replies ---- */

/* All lines of an answer; `told` as "result code ok starttls text|caps|server". */
static void assert_reply(enum reply_kind kind, const char *lines, const char *told)
{
    enum reply_result result = REPLY_MORE;
    static const char *const results[] = {"more", "whole", "bad"};
    struct reply r;
    char got[PROBE_CAPS + 2 * PROBE_TEXT + 64];

    reply_start(&r, kind);
    while (*lines && result == REPLY_MORE) {
        size_t n = strcspn(lines, "\n");

        n += lines[n] == '\n';
        result = reply_line(&r, slice_of(lines, n));
        lines += n;
    }
    assert_string_equal(lines, "");
    snprintf(got, sizeof got, "%s %u %s%s%s|%s|%s", results[result], r.code, r.is_ok ? "ok " : "",
             r.has_starttls ? "starttls " : "", r.text, r.caps, r.server);
    assert_string_equal(got, told);
}

static void test_replies_of_smtp(void **state)
{
    (void)state;
    assert_reply(REPLY_SMTP, "220 x ESMTP\r\n", "whole 220 ok 220 x ESMTP||");
    assert_reply(REPLY_SMTP, "250\n", "whole 250 ok 250||");
    assert_reply(REPLY_SMTP,
                 "250-x\r\n250-SIZE 100\r\n250-starttls\r\n250-AUTH=PLAIN\r\n250-AUTH PLAIN "
                 "LOGIN\r\n250-\r\n250 8BITMIME\r\n",
                 "whole 250 ok starttls 250-x|SIZE=100 starttls AUTH=PLAIN,LOGIN 8BITMIME|");
    assert_reply(REPLY_SMTP, "250-x\r\n", "more 250 ok 250-x||");
    assert_reply(REPLY_SMTP, "500 no\r\n", "whole 500 500 no||");
    assert_reply(REPLY_SMTP, "250-x\r\n251 y\r\n", "bad 250 ok 250-x||");
    assert_reply(REPLY_SMTP, "25 x\r\n", "bad 0 25 x||");
    assert_reply(REPLY_SMTP, "2500 x\r\n", "bad 0 2500 x||");
    assert_reply(REPLY_SMTP, "\r\n", "bad 0 ||");
}

static void test_replies_of_pop3(void **state)
{
    (void)state;
    assert_reply(REPLY_POP3, "+OK\r\n", "whole 0 ok +OK||");
    assert_reply(REPLY_POP3, "-ERR no\r\n", "whole 0 -ERR no||");
    assert_reply(REPLY_POP3, "+OKAY\r\n", "bad 0 +OKAY||");
    assert_reply(REPLY_POP3_LIST, "-ERR no\r\n", "whole 0 -ERR no||");
    assert_reply(REPLY_POP3_LIST,
                 "+OK go\r\nTOP\r\n\r\n..x\r\nSASL PLAIN  LOGIN\r\nSTLS\r\nIMPLEMENTATION A "
                 "B\r\n.\r\n",
                 "whole 0 ok starttls +OK go|TOP .x SASL=PLAIN,LOGIN STLS|A B");
    assert_reply(REPLY_POP3_LIST, "+OK\r\nTOP\r\n", "more 0 ok +OK|TOP|");
}

static void test_replies_of_managesieve(void **state)
{
    (void)state;
    assert_reply(REPLY_SIEVE,
                 "\"IMPLEMENTATION\" \"A \\\"B\\\\\"\r\n\"SIEVE\" \"x y\"\r\n\"STARTTLS\"\r\n"
                 "\"SASL\" {3}\r\n\"\" \"x\"\r\nfoo\r\n\"open\r\nOK (TAG \"x\") \"done\"\r\n",
                 "whole 0 ok starttls OK (TAG \"x\") \"done\"|SIEVE=x,y STARTTLS SASL|A \"B\\");
    assert_reply(REPLY_SIEVE, "NO \"x\"\r\n", "whole 0 NO \"x\"||");
    assert_reply(REPLY_SIEVE, "bye\r\n", "whole 0 bye||");
    assert_reply(REPLY_SIEVE, "OKAY\r\n", "more 0 OKAY||");
}

static void test_replies_of_http(void **state)
{
    (void)state;
    assert_reply(REPLY_HTTP, "HTTP/1.1 200 OK\r\nX: y\r\nserver: a/1 (b)\r\n\r\n",
                 "whole 200 ok HTTP/1.1 200 OK||a/1 (b)");
    assert_reply(REPLY_HTTP, "HTTP/1.0\r\n\r\n", "whole 0 ok HTTP/1.0||");
    assert_reply(REPLY_HTTP, "ICY 200 OK\r\n", "bad 200 ICY 200 OK||");
}

static void test_an_answer_without_end_is_none(void **state)
{
    struct reply r;
    unsigned n = 0;

    (void)state;
    reply_start(&r, REPLY_SMTP);
    while (reply_line(&r, SLICE("250-SIZE 1\r\n")) == REPLY_MORE)
        n++;
    assert_int_equal(n, REPLY_LINES);
    assert_true(strlen(r.caps) < PROBE_CAPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greetings_of_real_servers),
        cmocka_unit_test(test_a_greeting_is_judged_when_its_line_is_whole),
        cmocka_unit_test(test_all_have_names),
        cmocka_unit_test(test_tls_is_known_by_its_first_bytes),
        cmocka_unit_test(test_complaints_and_welcomes),
        cmocka_unit_test(test_text_is_fit_to_be_shown),
        cmocka_unit_test(test_text_is_cut_between_characters),
        cmocka_unit_test(test_lists_hold_whole_words),
        cmocka_unit_test(test_replies_of_smtp),
        cmocka_unit_test(test_replies_of_pop3),
        cmocka_unit_test(test_replies_of_managesieve),
        cmocka_unit_test(test_replies_of_http),
        cmocka_unit_test(test_an_answer_without_end_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
