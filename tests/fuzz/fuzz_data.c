/* What servers tell, read in each of the ways that there are: what comes out lies in the text or in
 * the room for strings, and is read the same from whatever is written of it. The first byte of an
 * input says which way. */
#include "cut.h"

#include "imap/data.h"
#include "imap/response.h"
#include "imap/set.h"
#include "imap/write.h"

#include <stdlib.h>

enum { MAX_INPUT = 4096 };

static struct slice text, room;

static void check_place(struct slice s)
{
    INSIST(lies_in(s, text) || lies_in(s, room));
}

static void put(struct buf *to, struct slice s)
{
    INSIST(buf_put(to, s) == 0);
}

static void put_string(struct buf *to, struct slice s)
{
    INSIST(buf_printf(to, "{%zu}\r\n", s.n) == 0);
    put(to, s);
}

/* --- FETCH ------------------------------------------------------------------------------------ */

static void check_same(const struct data_fetch *a, const struct data_fetch *b)
{
    INSIST(a->told == b->told && a->is_open == b->is_open && a->is_nil == b->is_nil);
    INSIST(a->uid == b->uid && a->size == b->size && a->modseq == b->modseq);
    INSIST(a->date.time_s == b->date.time_s && a->date.zone_min == b->date.zone_min);
    INSIST(slice_eq(a->flags, b->flags) && slice_eq(a->section, b->section));
    INSIST(slice_eq(a->body, b->body));
}

static void write_fetch(const struct data_fetch *f, struct buf *out)
{
    char date[DATE_TEXT];

    put(out, SLICE("("));
    if (f->told & FETCH_UID)
        INSIST(buf_printf(out, "UID %u ", f->uid) == 0);
    if (f->told & FETCH_FLAGS) {
        put(out, SLICE("FLAGS ("));
        put(out, f->flags);
        put(out, SLICE(") "));
    }
    if (f->told & FETCH_INTERNALDATE) {
        INSIST(date_write(f->date, date));
        INSIST(buf_printf(out, "INTERNALDATE \"%s\" ", date) == 0);
    }
    if (f->told & FETCH_SIZE)
        INSIST(buf_printf(out, "RFC822.SIZE %llu ", (unsigned long long)f->size) == 0);
    if (f->told & FETCH_MODSEQ)
        INSIST(buf_printf(out, "MODSEQ (%llu) ", (unsigned long long)f->modseq) == 0);
    if (f->told & FETCH_BODY) {
        put(out, SLICE("BODY["));
        put(out, f->section);
        put(out, SLICE("] "));
        if (f->is_open)
            put(out, SLICE("{5}\r\n"));
        else if (f->is_nil)
            put(out, SLICE("NIL"));
        else
            put_string(out, f->body);
    }
    if (!f->is_open)
        put(out, SLICE(")"));
}

static void check_fetch(const struct data_fetch *f)
{
    static char to[4 * MAX_INPUT];
    struct data_fetch again;
    struct slice flags = f->flags, word;
    struct buf out;

    check_place(f->flags);
    check_place(f->section);
    check_place(f->body);
    INSIST(!(f->told & FETCH_UID) || f->uid > 0);
    INSIST(!f->is_open || (f->told & FETCH_BODY && f->body.n == 0));
    while (data_word(&flags, &word)) {
        check_place(word);
        INSIST(word.n > 0 && data_has_word(f->flags, word));
    }
    INSIST(flags.n == 0);
    buf_init(&out, sizeof(to), false);
    write_fetch(f, &out);
    INSIST(data_fetch(buf_slice(&out), f->is_open, to, &again));
    check_same(f, &again);
    buf_release(&out);
}

static void fetch(char *to)
{
    struct data_fetch whole, other;
    const bool is_whole = data_fetch(text, false, to, &whole);

    if (is_whole) {
        INSIST(!whole.is_open);
        check_fetch(&whole);
        INSIST(data_fetch(text, true, to, &other));
        check_same(&whole, &other);
        text = slice_sub(text, 1, text.n);
        INSIST(data_fetch_rest(text, to, &other));
        check_same(&whole, &other);
    } else if (data_fetch(text, true, to, &other)) {
        check_fetch(&other);
        INSIST(other.is_open || text.p[0] != '(');
        /* A body is seen to be one, unless its section has literals. */
        if (other.is_open && !slice_has(other.section, '\n'))
            INSIST(data_is_body(text));
    } else if (data_fetch_rest(text, to, &other)) {
        INSIST(false); /* is a part like any */
    }
}

/* --- mailboxes -------------------------------------------------------------------------------- */

static void list(char *to)
{
    static char again_to[4 * MAX_INPUT];
    struct data_list list, again;
    struct buf out;

    if (!data_list(text, to, &list))
        return;
    check_place(list.attributes);
    check_place(list.name);
    buf_init(&out, sizeof(again_to), false);
    put(&out, SLICE("("));
    put(&out, list.attributes);
    put(&out, SLICE(") "));
    if (list.separator)
        put_string(&out, slice_of(&list.separator, 1));
    else
        put(&out, SLICE("NIL"));
    put(&out, SLICE(" "));
    put_string(&out, list.name);
    INSIST(data_list(buf_slice(&out), again_to, &again));
    INSIST(list.separator == again.separator);
    INSIST(slice_eq(list.attributes, again.attributes) && slice_eq(list.name, again.name));
    buf_release(&out);
}

static void status(char *to)
{
    static char again_to[4 * MAX_INPUT];
    struct data_status s, again;
    struct buf out;

    if (!data_status(text, to, &s))
        return;
    check_place(s.name);
    buf_init(&out, sizeof(again_to), false);
    put_string(&out, s.name);
    put(&out, SLICE(" ("));
    if (s.told & STATUS_MESSAGES)
        INSIST(buf_printf(&out, "MESSAGES %u ", s.messages) == 0);
    if (s.told & STATUS_UIDNEXT)
        INSIST(buf_printf(&out, "UIDNEXT %u ", s.uidnext) == 0);
    if (s.told & STATUS_UIDVALIDITY)
        INSIST(buf_printf(&out, "UIDVALIDITY %u ", s.uidvalidity) == 0);
    if (s.told & STATUS_UNSEEN)
        INSIST(buf_printf(&out, "UNSEEN %u ", s.unseen) == 0);
    if (s.told & STATUS_HIGHESTMODSEQ)
        INSIST(buf_printf(&out, "HIGHESTMODSEQ %llu ", (unsigned long long)s.highestmodseq) == 0);
    if (s.told & STATUS_SIZE)
        INSIST(buf_printf(&out, "SIZE %llu ", (unsigned long long)s.size) == 0);
    put(&out, SLICE(")"));
    INSIST(data_status(buf_slice(&out), again_to, &again));
    INSIST(s.told == again.told && s.messages == again.messages && s.uidnext == again.uidnext);
    INSIST(s.uidvalidity == again.uidvalidity && s.unseen == again.unseen);
    INSIST(s.highestmodseq == again.highestmodseq && s.size == again.size);
    INSIST(slice_eq(s.name, again.name));
    buf_release(&out);
}

static void namespaces(char *to)
{
    struct data_namespaces spaces;
    struct slice prefix;
    char separator;

    if (!data_namespaces(text, &spaces)) {
        INSIST(!data_namespace(text, to, &prefix, &separator));
        return;
    }
    struct slice parts[] = {spaces.personal, spaces.others, spaces.shared};

    for (size_t i = 0; i < 3; i++) {
        check_place(parts[i]);
        while (data_namespace_next(&parts[i], to, &prefix, &separator)) {
            check_place(prefix);
            check_place(parts[i]);
        }
    }
}

/* --- searches, codes, pieces ------------------------------------------------------------------ */

static void searches(char *to)
{
    struct data_esearch e;
    struct slice left = text, set;
    bool is_earlier;
    uint32_t n, uidvalidity;

    if (data_esearch(text, to, &e)) {
        check_place(e.tag);
        check_place(e.all);
    }
    while (data_search_next(&left, &n)) {
        INSIST(n > 0);
        check_place(left);
    }
    check_place(left);
    if (data_vanished(text, &is_earlier, &set)) {
        check_place(set);
        INSIST(set.n > 0);
    }
    if (data_appenduid(text, &uidvalidity, &set)) {
        check_place(set);
        INSIST(uidvalidity > 0 && set_count(set) > 0);
    }
}

static void code(char *to)
{
    struct slice code, arguments, plain_code, plain_arguments;
    bool is_plain = response_code(text, &plain_code, &plain_arguments);

    (void)to;
    INSIST(data_code(text, &code, &arguments) == is_plain);
    if (!is_plain)
        return;
    check_place(arguments);
    INSIST(slice_eq(code, plain_code) && arguments.n >= plain_arguments.n);
    if (!slice_has(plain_arguments, '"') && !slice_has(plain_arguments, '[') &&
        !slice_has(plain_arguments, '('))
        INSIST(slice_eq(arguments, plain_arguments));
}

static void pieces(char *to)
{
    struct lex l = lex_start(text), again;
    struct slice value;
    bool is_nil;
    struct buf out;

    if (data_nstring(&l, to, &value, &is_nil)) {
        check_place(value);
        INSIST(!is_nil || value.n == 0);
    } else {
        INSIST(l.s.n == text.n);
    }
    check_place(l.s);
    l = lex_start(text);
    if (!data_skip(&l)) {
        INSIST(l.s.n == text.n);
        return;
    }
    /* A value ends where it ends, whatever is behind it. */
    INSIST(l.s.n < text.n && lies_in(l.s, text));
    buf_init(&out, MAX_INPUT + 3, false);
    put(&out, slice_sub(text, 0, text.n - l.s.n));
    put(&out, SLICE(" x)"));
    again = lex_start(buf_slice(&out));
    INSIST(data_skip(&again) && slice_eq(again.s, SLICE(" x)")));
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const ways[])(char *to) = {fetch,    list, status, namespaces,
                                             searches, code, pieces};
    struct fuzz_input in;
    char *to;

    if (size > MAX_INPUT || !fuzz_input_read(&in, data, size))
        return 0;
    text = in.bytes;
    to = malloc(text.n > 0 ? text.n : 1);
    if (!to)
        return 0;
    room = slice_of(to, text.n);
    (void)data_is_body(text);
    ways[in.flags % (sizeof(ways) / sizeof(ways[0]))](to);
    free(to);
    return 0;
}
