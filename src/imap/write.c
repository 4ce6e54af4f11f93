/* Strings in IMAP's forms; see imap/write.h. */
#include "imap/write.h"

#include "imap/lex.h"

enum write_form write_form(struct slice s)
{
    enum write_form form = s.n == 0 || slice_ieq(s, SLICE("NIL")) ? WRITE_QUOTED : WRITE_ATOM;

    if (slice_has(s, '\0'))
        return WRITE_NEVER;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < ' ' || s.p[i] >= 0x7f)
            return WRITE_LITERAL;
        if (!lex_is_atom_char(s.p[i]))
            form = WRITE_QUOTED;
    }
    return form;
}

int write_quoted(struct buf *out, struct slice s)
{
    size_t from = 0;

    if (buf_puts(out, "\"") < 0)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '"' && s.p[i] != '\\')
            continue;
        if (buf_put(out, slice_sub(s, from, i)) < 0 || buf_puts(out, "\\") < 0)
            return -1;
        from = i;
    }
    return buf_put(out, slice_sub(s, from, s.n)) < 0 || buf_puts(out, "\"") < 0 ? -1 : 0;
}

int write_literal_header(struct buf *out, size_t n, bool is_sync)
{
    return buf_printf(out, "{%zu%s}\r\n", n, is_sync ? "" : "+");
}

bool write_waits(struct slice s, size_t nonsync_max)
{
    return s.n > nonsync_max && write_form(s) == WRITE_LITERAL;
}

int write_string(struct buf *out, struct slice s, size_t nonsync_max, struct slice *out_due)
{
    enum write_form form = write_form(s);
    bool waits = write_waits(s, nonsync_max);

    INSIST(form != WRITE_NEVER);
    *out_due = waits ? s : (struct slice){0};
    if (form != WRITE_LITERAL)
        return write_quoted(out, s);
    if (write_literal_header(out, s.n, waits) < 0)
        return -1;
    return waits ? 0 : buf_put(out, s);
}
