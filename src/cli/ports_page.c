/* The pieces of the page of `usher ports`: lines, fields, tables; and what probes have heard. */
#include "cli/ports_page.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_MOST = 1 << 20, DAY_S = 86400 };

struct page page_of(const struct ports_facts *f, FILE *out)
{
    return (struct page){
        .f = f, .out = out, .width = term_width(out), .is_coloured = term_is_coloured(out)};
}

/* A text of ours with others' words in it, made safe. */
__attribute__((format(printf, 2, 0))) static int format(struct buf *out, const char *fmt,
                                                        va_list args)
{
    char *raw;
    int n = vasprintf(&raw, fmt, args);
    int done;

    if (n < 0)
        return -1;
    done = term_escape(out, slice_of(raw, (size_t)n));
    free(raw);
    return done;
}

static void write_styled(const struct page *page, enum term_style style, struct slice s)
{
    fprintf(page->out, "%s%.*s%s", page->is_coloured ? term_sgr(style) : "", SLICE_ARG(s),
            page->is_coloured ? term_sgr_end(style) : "");
}

__attribute__((format(printf, 3, 0))) static void
write_text(struct page *page, enum term_style style, const char *fmt, va_list args)
{
    struct buf text;

    buf_init(&text, TEXT_MOST, false);
    if (format(&text, fmt, args) != 0)
        page->is_failed = true;
    else
        write_styled(page, style, buf_slice(&text));
    buf_release(&text);
}

void page_style(struct page *page, enum term_style style, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    write_text(page, style, fmt, args);
    va_end(args);
}

/* As much of `s` as a line takes, broken at a blank. A word that is longer than a line stays whole:
 * addresses of the web are there to be copied. */
static struct slice line_of(struct slice s, size_t width)
{
    struct slice line = width > 0 ? term_text_cut(s, width) : s;
    size_t n = line.n;

    if (n == s.n)
        return line;
    while (n > 0 && s.p[n] != ' ')
        n--;
    while (n == 0 && line.n < s.n && s.p[line.n] != ' ')
        line.n++;
    return slice_sub(s, 0, n > 0 ? n : line.n);
}

/* Lines of at most `room` columns, 0 for one line; `left` blanks before each but the first. */
static void write_lines(const struct page *page, enum term_style style, struct slice rest,
                        size_t room, int left)
{
    for (;;) {
        struct slice line = line_of(rest, room);

        write_styled(page, style, line);
        fputs("\n", page->out);
        rest = slice_sub(rest, line.n, rest.n);
        while (rest.n > 0 && rest.p[0] == ' ')
            rest = slice_sub(rest, 1, rest.n);
        if (rest.n == 0)
            break;
        fprintf(page->out, "%*s", left, "");
    }
}

__attribute__((format(printf, 4, 0))) static void
write_paragraph(struct page *page, enum term_style style, int left, const char *fmt, va_list args)
{
    enum { TEXT_LEAST = 20 };
    const size_t indent = (size_t)left;
    struct buf text;

    buf_init(&text, TEXT_MOST, false);
    if (format(&text, fmt, args) != 0)
        page->is_failed = true;
    write_lines(page, style, buf_slice(&text),
                page->width > indent + TEXT_LEAST ? page->width - indent : 0, left);
    buf_release(&text);
}

void page_note(struct page *page, const char *fmt, ...)
{
    va_list args;

    fputs("\n", page->out);
    va_start(args, fmt);
    write_paragraph(page, TERM_WARN, 0, fmt, args);
    va_end(args);
}

void page_field(struct page *page, const char *label, enum term_style style, const char *fmt, ...)
{
    va_list args;

    fprintf(page->out, "%*s", PAGE_INDENT, "");
    write_styled(page, TERM_DIM, slice_str(label));
    fprintf(page->out, "%*s", PAGE_LABEL - (int)strlen(label), "");
    va_start(args, fmt);
    write_paragraph(page, style, PAGE_INDENT + PAGE_LABEL, fmt, args);
    va_end(args);
}

void page_table(struct page *page, struct table *t)
{
    if (t->rows_n > 0 && t->indent > 0)
        fputs("\n", page->out);
    if (table_print(t, page->out, page->width, page->is_coloured) != 0 && !ferror(page->out))
        page->is_failed = true;
    table_done(t);
}

/* --- probes ----------------------------------------------------------------------------------- */

static const char *date_of(int64_t at, char out[16])
{
    time_t t = (time_t)at;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, 16, "%Y-%m-%d", &tm) == 0)
        return "?";
    return out;
}

static const char *header_of(unsigned proxy)
{
    switch (proxy) {
    case PROBE_PROXY_V1:
        return ", behind a PROXY header (v1)";
    case PROBE_PROXY_V2:
        return ", behind a PROXY header (v2)";
    case PROBE_PROXY_V1 | PROBE_PROXY_V2:
        return ", behind a PROXY header (v1 or v2)";
    default:
        return "";
    }
}

static void show_certificate(struct page *page, const struct probe_report *r)
{
    const struct tls_facts *c = &r->certificate;
    const int64_t now = time(NULL), left = (c->not_after - now) / DAY_S;
    char from[16], until[16], names[1024] = "";
    size_t shown = 0;
    const char *since = date_of(c->not_before, from), *last = date_of(c->not_after, until);

    for (; shown < c->names_n && strlen(names) + 2 + TLS_NAME_TEXT < sizeof names; shown++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", shown > 0 ? ", " : "",
                 c->names[shown]);
    page_field(page, "certificate", TERM_PLAIN, "%s (%s), for %s%s", r->subject, c->key_kind,
               names[0] ? names : "no name", shown < c->names_n ? " ..." : "");
    page_field(page, "", TERM_PLAIN, "issued by %s", r->issuer);
    if (now > c->not_after)
        page_field(page, "", TERM_BAD, "expired on %s", last);
    else if (now < c->not_before)
        page_field(page, "", TERM_BAD, "not valid before %s", since);
    else
        page_field(page, "", left < 14 ? TERM_WARN : TERM_PLAIN,
                   "valid from %s to %s, %lld days left", since, last, (long long)left);
    if (r->untrusted[0])
        page_field(page, "", TERM_WARN, "clients here would refuse it: %s", r->untrusted);
}

static void show_tls(struct page *page, const struct probe_report *r)
{
    if (r->tls_version[0])
        page_field(page, "TLS", TERM_GOOD, "%s%s%s, %s", r->tls_version,
                   r->tls_cipher[0] ? " " : "", r->tls_cipher,
                   r->is_implicit_tls ? "from the first byte" : "by STARTTLS");
    else if (r->offers_starttls)
        page_field(page, "TLS", TERM_WARN, "offered (STARTTLS), but it did not come about");
    else if (r->is_implicit_tls)
        page_field(page, "TLS", TERM_WARN, "from the first byte, but it did not come about");
    else if (r->caps_clear[0] || r->speaks == SPEAKS_HTTP) /* others were not asked */
        page_field(page, "TLS", TERM_WARN, "none");
    if (r->has_certificate)
        show_certificate(page, r);
}

static void show_probe(struct page *page, const struct ports_probe *p)
{
    const struct probe_report *r = p->report;
    char text[ADDR_TEXT];

    fputs("\n", page->out);
    page_style(page, TERM_BOLD, "%s", addr_format(&p->addr, text));
    if (!r->is_connected)
        page_style(page, TERM_BAD, " does not answer");
    else if (r->speaks == SPEAKS_NOTHING)
        page_style(page, TERM_WARN, " says nothing to anything that we ask");
    else if (r->speaks == SPEAKS_UNKNOWN)
        page_style(page, TERM_WARN, " says something that we do not know%s", header_of(r->proxy));
    else
        page_style(page, TERM_GOOD, " speaks %s%s", speaks_name(r->speaks), header_of(r->proxy));
    fputs("\n", page->out);
    if (r->trouble[0])
        page_field(page, "trouble", TERM_BAD, "%s", r->trouble);
    if (r->greeting[0])
        page_field(page, "greeting", TERM_PLAIN, "%s", r->greeting);
    if (r->server[0])
        page_field(page, "server", TERM_PLAIN, "%s", r->server);
    if (r->caps_clear[0])
        page_field(page, "in clear", TERM_PLAIN, "%s", r->caps_clear);
    if (r->caps_tls[0])
        page_field(page, "within TLS", TERM_PLAIN, "%s", r->caps_tls);
    if (r->is_connected)
        show_tls(page, r);
}

void page_probes(struct page *page, const struct target *target)
{
    for (size_t i = 0; i < page->f->probes_n; i++)
        if (page->f->probes[i].target == target)
            show_probe(page, &page->f->probes[i]);
}
