/* The words that name ports. Most of it is for those who wrote another one than they meant. */
#include "ports/target.h"

#include "base/num.h"
#include "conf/nearest.h"
#include "ports/custom.h"
#include "ports/iana.h"
#include "ports/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a message shows of a word. */
enum { SHOWN = 80 };

/* A name that is looked for, and where. */
struct wanted {
    struct slice name;
    const struct services *services;
};

/* ---- Pieces of a word ---- */

/* Where `c` is first, or the word's length. */
static size_t find(struct slice s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

/* The same of the last. */
static size_t find_last(struct slice s, char c)
{
    size_t i = s.n;

    while (i > 0 && s.p[i - 1] != c)
        i--;
    return i > 0 ? i - 1 : s.n;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* All of it is digits or `also`; not when it is empty. */
static bool is_digits_and(struct slice s, char also)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_digit(s.p[i]) && s.p[i] != also)
            return false;
    return s.n > 0;
}

static bool is_digits(struct slice s)
{
    return is_digits_and(s, '0');
}

/* For a message: cut, and with "?" for whatever is not printable ASCII. */
static const char *show(struct slice s, char out[SHOWN])
{
    size_t n = s.n < SHOWN ? s.n : SHOWN - 4;

    for (size_t i = 0; i < n; i++)
        out[i] = (char)(s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?');
    snprintf(out + n, SHOWN - n, "%s", n < s.n ? "..." : "");
    return out;
}

/* ---- Numbers ---- */

static int parse_number(struct slice s, uint16_t *out_port, struct err *err)
{
    struct slice value = s;
    char shown[SHOWN];
    uint64_t port;

    while (value.n > 1 && value.p[0] == '0')
        value = slice_sub(value, 1, value.n);
    if (!num_parse(value, 65535, &port))
        return err_set(err, 0, "%s is too high: ports go to 65535", show(s, shown));
    if (port == 0)
        return err_set(err, 0,
                       "0 is no port: a program that asks the kernel for port 0 gets any that is "
                       "free; ports begin with 1");
    if (value.n < s.n)
        return err_set(err, 0, "\"%s\" has zeros before it; write %u", show(s, shown),
                       (unsigned)port);
    *out_port = (uint16_t)port;
    return 0;
}

/* Digits and hyphens. */
static int parse_range(struct slice s, uint16_t *out_first, uint16_t *out_last, struct err *err)
{
    size_t hyphen = find(s, '-');
    struct slice a = slice_sub(s, 0, hyphen), b = slice_sub(s, hyphen + 1, s.n);
    uint16_t first, last;
    char shown[SHOWN];

    if (a.n == 0 && is_digits(b))
        return err_set(err, 0, "%s is negative; ports go from 1 to 65535", show(s, shown));
    if (!is_digits(a) || !is_digits(b))
        return err_set(err, 0, "\"%s\" is no range; write FIRST-LAST, as in 10000-10100",
                       show(s, shown));
    if (parse_number(a, &first, err) || parse_number(b, &last, err))
        return -1;
    if (first > last)
        return err_set(err, 0, "the range %u-%u is the wrong way round; write %u-%u", first, last,
                       last, first);
    *out_first = first;
    *out_last = last;
    return 0;
}

/* ---- Names ---- */

/* 0: IANA has none of this name. */
static uint16_t find_in_registry(struct slice name)
{
    const size_t n = iana_count();
    uint16_t other = 0;

    for (size_t i = iana_next_named(name, 0); i < n; i = iana_next_named(name, i + 1)) {
        struct iana_entry entry = iana_entry(i);

        if (entry.port != 0 && entry.protocols & 1U << PORT_TCP)
            return entry.port;
        if (other == 0)
            other = entry.port;
    }
    return other;
}

static uint16_t find_in_custom(struct slice name)
{
    const struct custom_port *rows;
    size_t n = custom_ports(&rows);

    for (size_t i = 0; i < n; i++)
        if (slice_ieq(name, slice_str(rows[i].name)))
            return rows[i].port;
    return 0;
}

static bool find_name(const struct wanted *w, uint16_t *out_port)
{
    uint16_t port = find_in_registry(w->name);

    if (port == 0)
        port = find_in_custom(w->name);
    if (port == 0 && w->services && !services_find_name(w->services, w->name, &port))
        port = 0;
    if (port != 0)
        *out_port = port;
    return port != 0;
}

/* The known name that was probably meant, or NULL. Of those that are equally near it is mail's,
 * else that of the lowest port. */
static const char *suggest(const struct wanted *w)
{
    const struct custom_port *custom;
    size_t custom_n = custom_ports(&custom), services_n, n = 0;
    const char **names, *best = NULL;
    char word[64];

    if (w->name.n >= sizeof word)
        return NULL;
    services_n = w->services ? services_count(w->services) : 0;
    names = calloc(custom_n + iana_count() + services_n, sizeof *names);
    if (!names)
        return NULL;
    for (size_t i = 0; i < custom_n; i++)
        names[n++] = custom[i].name;
    for (size_t i = 0; i < iana_count(); i++) {
        struct iana_entry entry = iana_entry(i);

        if (iana_is_assigned(&entry))
            names[n++] = entry.service;
    }
    for (size_t i = 0; i < services_n; i++)
        names[n++] = services_name(w->services, i);
    for (size_t i = 0; i < w->name.n; i++) {
        char c = w->name.p[i];

        word[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    word[w->name.n] = '\0';
    best = nearest(word, names, n);
    free(names);
    return best;
}

/* Nobody has this name: what else may be meant by a word without a colon. */
static int refuse_name(const struct wanted *w, struct err *err)
{
    char shown[SHOWN];
    const char *word = show(w->name, shown), *near;
    struct addr addr;

    if (w->name.n > 2 && slice_istarts(w->name, SLICE("0x")) && w->name.p[2] != '-')
        return err_set(err, 0, "\"%s\" is no port; write it in decimal digits", word);
    if (w->name.p[0] == '+' || w->name.p[0] == '#')
        return err_set(err, 0, "\"%s\" is no port; write its digits alone", word);
    if (slice_has(w->name, ','))
        return err_set(err, 0, "\"%s\" has commas; write a word for each port, blanks between",
                       word);
    if (slice_has(w->name, '/'))
        return err_set(err, 0, "\"%s\" has a slash; write the port or service alone", word);
    if (addr_parse_ip(w->name, 0, &addr))
        return err_set(err, 0,
                       "\"%s\" is an address without a port; write ADDRESS:PORT, as in %s:143",
                       word, word);
    near = err ? suggest(w) : NULL;
    if (near)
        return err_set(err, 0, "no service is called \"%s\"; did you mean \"%s\"?", word, near);
    if (slice_has(w->name, '.'))
        return err_set(err, 0, "\"%s\" has no port; write HOST:PORT, as in %s:143", word, word);
    return err_set(
        err, 0, "no service is called \"%s\"; write PORT, FIRST-LAST, SERVICE or HOST:PORT", word);
}

/* ---- Hosts ---- */

/* Labels of letters, digits, hyphens and underlines, as resolvers take them; a dot at the end is
 * the root's. */
static bool is_host_name(struct slice s)
{
    size_t label = 0;

    for (size_t i = 0; i < s.n; i++) {
        bool is_dot = s.p[i] == '.';

        if (is_dot ? label == 0
                   : !is_letter(s.p[i]) && !is_digit(s.p[i]) && s.p[i] != '_' &&
                         (s.p[i] != '-' || label == 0))
            return false;
        label = is_dot ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return s.n > 0;
}

/* As Linux lets them be called, but for what has a meaning of its own here. */
static bool is_interface(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("[]/@%", s.p[i]))
            return false;
    return s.n > 0 && s.n <= 15;
}

/* What stands between brackets: an IPv6 address, perhaps with "%" and an interface. */
static int parse_ipv6(struct slice s, struct target *t, struct err *err)
{
    size_t percent = find(s, '%');
    struct slice scope = slice_sub(s, percent + 1, s.n);
    uint64_t number = 0;
    char shown[SHOWN];
    struct addr addr;

    if (!addr_parse_ip(slice_sub(s, 0, percent), 0, &addr) || addr.sa.sa_family != AF_INET6)
        return err_set(err, 0, "\"%s\" is no IPv6 address; brackets are for those alone",
                       show(s, shown));
    if (percent == s.n) {
        t->addr = addr_unmapped(&addr);
    } else if (!is_interface(scope)) {
        return err_set(err, 0, "\"%s\": behind the %% belongs the name or number of an interface",
                       show(s, shown));
    } else if (num_parse(scope, UINT32_MAX, &number)) {
        /* Elsewhere it means nothing to the kernel, and sockets do not have it. */
        if (IN6_IS_ADDR_LINKLOCAL(&addr.in6.sin6_addr))
            addr.in6.sin6_scope_id = (uint32_t)number;
        t->addr = addr_unmapped(&addr);
    }
    return 0;
}

static int parse_host(struct slice s, struct target *t, struct err *err)
{
    char shown[SHOWN];

    if (slice_eq(s, SLICE("*")))
        return 0;
    if (s.n >= TARGET_HOST)
        return err_set(err, 0, "the host \"%s\" has %zu characters; no name has more than %d",
                       show(s, shown), s.n, TARGET_HOST - 1);
    if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']') {
        s = slice_sub(s, 1, s.n - 1);
        if (parse_ipv6(s, t, err))
            return -1;
    } else if (addr_parse_ip(s, 0, &t->addr)) {
        /* IPv4: what has colons did not come here. */
    } else if (is_digits(s)) {
        return err_set(err, 0, "\"%s\" is no host; a range of ports has a hyphen, as in 143-993",
                       show(s, shown));
    } else if (is_digits_and(s, '.')) {
        return err_set(err, 0, "\"%s\" is no IPv4 address; write four numbers from 0 to 255",
                       show(s, shown));
    } else if (!is_host_name(s)) {
        return err_set(err, 0, "\"%s\" is no name of a host", show(s, shown));
    }
    memcpy(t->host, s.p, s.n);
    t->host[s.n] = '\0';
    return 0;
}

/* ---- Words ---- */

/* "[::1]:143" */
static int split_brackets(struct slice word, struct slice *out_host, struct slice *out_port,
                          struct err *err)
{
    size_t close = find(word, ']');
    char shown[SHOWN];

    if (close == word.n)
        return err_set(err, 0, "\"%s\" has no closing bracket", show(word, shown));
    if (close + 1 == word.n)
        return err_set(err, 0, "\"%s\" has no port; write %s:143", show(word, shown), shown);
    if (word.p[close + 1] != ':')
        return err_set(err, 0, "\"%s\": behind the bracket belong a colon and the port",
                       show(word, shown));
    *out_host = slice_sub(word, 0, close + 1);
    *out_port = slice_sub(word, close + 2, word.n);
    return 0;
}

/* The colons are not one before a port. */
static int refuse_colons(struct slice word, struct slice host, struct slice port, struct err *err)
{
    char shown[SHOWN], shown_host[SHOWN];
    struct addr addr;

    show(word, shown);
    if (memmem(word.p, word.n, "://", 3))
        return err_set(err, 0, "\"%s\" is a URL; write HOST:PORT", shown);
    if (addr_parse_ip(word, 0, &addr))
        return err_set(err, 0, "\"%s\" may be an address alone or one with a port; write [%s]:PORT",
                       shown, shown);
    if (addr_parse_ip(host, 0, &addr))
        return err_set(err, 0, "write the IPv6 address in brackets: [%s]:%s",
                       show(host, shown_host), show(port, shown));
    return err_set(err, 0, "\"%s\" has more than one colon; write HOST:PORT, IPv6 as [::1]:143",
                   shown);
}

/* A word with colons, cut at the one before the port. */
static int split(struct slice word, struct slice *out_host, struct slice *out_port, struct err *err)
{
    size_t colon = find_last(word, ':');
    struct slice host = slice_sub(word, 0, colon), port = slice_sub(word, colon + 1, word.n);
    char shown[SHOWN];

    if (word.p[0] == '[') {
        if (split_brackets(word, &host, &port, err))
            return -1;
    } else if (slice_has(host, ':') || slice_istarts(port, SLICE("//"))) {
        return refuse_colons(word, host, port, err);
    }
    if (port.n == 0)
        return err_set(err, 0, "\"%s\" has no port; write a port or service behind the colon",
                       show(word, shown));
    if (host.n == 0)
        return err_set(err, 0, "\"%s\" has no host; for all addresses write *:%s",
                       show(word, shown), shown + 1);
    *out_host = host;
    *out_port = port;
    return 0;
}

/* A port that stands behind a host. */
static int parse_port(const struct wanted *w, struct target *t, struct err *err)
{
    char shown[SHOWN];

    if (is_digits(w->name)) {
        if (parse_number(w->name, &t->first, err))
            return -1;
    } else if (find_name(w, &t->first)) {
        t->is_service = true;
    } else if (is_digits_and(w->name, '-')) {
        return err_set(err, 0, "\"%s\": behind a host belongs one port, no range",
                       show(w->name, shown));
    } else {
        return refuse_name(w, err);
    }
    t->last = t->first;
    return 0;
}

static int parse_with_host(struct wanted *w, struct target *t, struct err *err)
{
    struct slice host = {0};

    if (split(w->name, &host, &w->name, err) || parse_host(host, t, err) || parse_port(w, t, err))
        return -1;
    if (addr_is_set(&t->addr))
        addr_set_port(&t->addr, t->first);
    return 0;
}

static int parse_alone(const struct wanted *w, struct target *t, struct err *err)
{
    if (is_digits(w->name) || !is_digits_and(w->name, '-'))
        return parse_port(w, t, err);
    return parse_range(w->name, &t->first, &t->last, err);
}

/* What no word may have. */
static int check_bytes(struct slice word, struct err *err)
{
    char shown[SHOWN];

    if (word.n == 0)
        return err_set(err, 0, "an empty word names no port");
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == ' ' || word.p[i] == '\t')
            return err_set(err, 0, "\"%s\" has a blank in it; write one port or range in a word",
                           show(word, shown));
        if (word.p[i] & 0x80)
            return err_set(err, 0,
                           "\"%s\" is not ASCII; a range has a plain hyphen, as in 143-993, and a "
                           "name of other letters its xn-- form",
                           show(word, shown));
        if (word.p[i] < ' ' || word.p[i] > '~')
            return err_set(err, 0, "\"%s\" has a control character in it", show(word, shown));
    }
    return 0;
}

int target_parse(struct slice word, const struct services *services, struct target *out_target,
                 struct err *err)
{
    struct wanted w = {.name = word, .services = services};
    struct target t;

    memset(&t, 0, sizeof t);
    if (check_bytes(word, err))
        return -1;
    if (slice_has(word, ':') ? parse_with_host(&w, &t, err) : parse_alone(&w, &t, err))
        return -1;
    *out_target = t;
    return 0;
}
