/* The URL of an account. */
#include "cli/sync_url.h"

#include "base/addr.h"
#include "base/num.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

struct scheme {
    struct slice name;
    enum sync_tls tls;
};

static const struct scheme schemes[] = {
    {{"imaps", 5}, SYNC_TLS_IMPLICIT},
    {{"imap+starttls", 13}, SYNC_TLS_STARTTLS},
    {{"imap", 4}, SYNC_TLS_OFF},
};

uint16_t sync_url_usual_port(enum sync_tls tls)
{
    return tls == SYNC_TLS_IMPLICIT ? 993 : 143;
}

/* Where `c` is in `s` first or last, or s.n. */
static size_t first_of(struct slice s, char c)
{
    const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

static size_t last_of(struct slice s, char c)
{
    const char *at = s.n > 0 ? memrchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

/* --- the parts -------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Puts `s` into `out` with NUL at its end, percent-encoded bytes as what they stand for. */
static int decode(struct slice s, char *out, size_t room, const char *what, struct err *err)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        int c = (unsigned char)s.p[i];

        if (c == '%') {
            int high = i + 2 < s.n ? hex(s.p[i + 1]) : -1, low = i + 2 < s.n ? hex(s.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return err_set(
                    err, 0,
                    "the %s has a \"%%\" without two hexadecimal digits behind it: write "
                    "%%25 for a percent sign",
                    what);
            c = high * 16 + low;
            i += 2;
        }
        if (c == '\0')
            return err_set(err, 0, "the %s has a NUL in it", what);
        if (n == room - 1)
            return err_set(err, 0, "the %s is longer than %zu bytes", what, room - 1);
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return 0;
}

static bool is_utf8(struct slice s)
{
    while (s.n > 0) {
        size_t n = utf8_char(s);

        if (n == 0)
            return false;
        s = slice_sub(s, n, s.n);
    }
    return true;
}

int sync_url_check_user(struct slice user, struct err *err)
{
    if (user.n == 0)
        return err_set(err, 0, "the user is empty");
    if (user.n >= SYNC_URL_USER)
        return err_set(err, 0, "the user is longer than %d bytes", SYNC_URL_USER - 1);
    if (!is_utf8(user))
        return err_set(err, 0, "the user is not UTF-8");
    for (size_t i = 0; i < user.n; i++)
        if ((unsigned char)user.p[i] < ' ' || user.p[i] == 0x7f)
            return err_set(err, 0, "the user has a control character in it");
    return 0;
}

/* What stands before the last "@". */
static int read_user(struct slice s, struct sync_url *u, struct err *err)
{
    struct slice auth = SLICE(";AUTH=");
    size_t semicolon = last_of(s, ';');

    if (first_of(s, ':') < s.n)
        return err_set(
            err, 0,
            "a password may not stand in the URL, where everybody on this machine can "
            "read it: write --password-file1 FILE or --password-file2 FILE (if the colon "
            "belongs to the user's name, write %%3A)");
    if (semicolon < s.n && slice_istarts(slice_sub(s, semicolon, s.n), auth)) {
        if (!slice_eq(slice_sub(s, semicolon + auth.n, s.n), SLICE("*")))
            return err_set(err, 0,
                           "the way to log in is chosen by itself: write ;AUTH=* or nothing");
        s = slice_sub(s, 0, semicolon);
        if (s.n == 0)
            return 0;
    }
    if (decode(s, u->user, sizeof u->user, "user", err) < 0)
        return -1;
    return sync_url_check_user(slice_str(u->user), err);
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

int sync_url_check_host(struct slice host, struct err *err)
{
    struct addr addr;

    if (host.n == 0)
        return err_set(err, 0, "the host is missing");
    if (host.n >= SYNC_URL_HOST)
        return err_set(err, 0, "the host is longer than %d bytes", SYNC_URL_HOST - 1);
    if (addr_parse_ip(host, 0, &addr))
        return 0;
    for (size_t i = 0; i < host.n; i++) {
        if ((unsigned char)host.p[i] >= 0x80)
            return err_set(err, 0, "the host has other letters than ASCII: write it as xn--...");
        if (!is_name_byte(host.p[i]))
            return err_set(err, 0, "the host is neither a name nor an address");
    }
    return 0;
}

static int read_port(struct slice s, struct sync_url *u, struct err *err)
{
    uint64_t port;

    if (s.n == 0)
        return 0;
    if (s.p[0] != ':' || !num_parse(slice_sub(s, 1, s.n), UINT16_MAX, &port) || port == 0)
        return err_set(err, 0, "behind the host there may be a port, as in mail.example.org:143");
    u->port = (uint16_t)port;
    return 0;
}

static int read_bracketed(struct slice s, struct sync_url *u, struct err *err)
{
    size_t end = first_of(s, ']');
    struct slice address = slice_sub(s, 1, end);
    struct addr addr;

    if (end == s.n)
        return err_set(err, 0, "the bracket before the address is not closed");
    if (!addr_parse_ip(address, 0, &addr) || addr.sa.sa_family != AF_INET6)
        return err_set(err, 0, "what stands in brackets is no IPv6 address");
    memcpy(u->host, address.p, address.n);
    u->host[address.n] = '\0';
    return read_port(slice_sub(s, end + 1, s.n), u, err);
}

static int read_host(struct slice s, struct sync_url *u, struct err *err)
{
    size_t colon;

    if (s.n > 0 && s.p[0] == '[')
        return read_bracketed(s, u, err);
    colon = first_of(s, ':');
    if (colon != last_of(s, ':'))
        return err_set(err, 0, "an IPv6 address stands in brackets: [2001:db8::1]");
    if (sync_url_check_host(slice_sub(s, 0, colon), err) < 0)
        return -1;
    memcpy(u->host, s.p, colon);
    u->host[colon] = '\0';
    return read_port(slice_sub(s, colon, s.n), u, err);
}

/* --- all -------------------------------------------------------------------------------------- */

static int read_scheme(struct slice *s, struct sync_url *u, struct err *err)
{
    size_t colon = first_of(*s, ':');

    if (!slice_istarts(slice_sub(*s, colon, s->n), SLICE("://")))
        return err_set(err, 0, "write it as imaps://USER@HOST or imap+starttls://USER@HOST");
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (slice_ieq(slice_sub(*s, 0, colon), schemes[i].name)) {
            u->tls = schemes[i].tls;
            *s = slice_sub(*s, colon + 3, s->n);
            return 0;
        }
    }
    return err_set(err, 0, "write imaps://, imap+starttls:// or imap:// before the user");
}

/* What stands between the scheme and the first of "/?#", behind which there may be nothing. */
static int cut_path(struct slice *s, struct err *err)
{
    size_t end = 0;

    while (end < s->n && !memchr("/?#", s->p[end], 3))
        end++;
    if (end + 1 < s->n || (end < s->n && s->p[end] != '/'))
        return err_set(err, 0,
                       "nothing may stand behind the host: choose folders by --folder or "
                       "--subfolder1 (if it belongs to the user's name, write %%2F for \"/\", %%3F "
                       "for \"?\", %%23 for \"#\")");
    *s = slice_sub(*s, 0, end);
    return 0;
}

int sync_url_parse(struct slice text, struct sync_url *out_url, struct err *err)
{
    struct sync_url u = {.tls = SYNC_TLS_OFF};
    size_t at;

    if (read_scheme(&text, &u, err) < 0 || cut_path(&text, err) < 0)
        return -1;
    at = last_of(text, '@');
    if (at < text.n) {
        if (read_user(slice_sub(text, 0, at), &u, err) < 0)
            return -1;
        text = slice_sub(text, at + 1, text.n);
    }
    if (read_host(text, &u, err) < 0)
        return -1;
    *out_url = u;
    return 0;
}
