/* Opening a folder, searching it, and asking in pieces; see sync/look.h. */
#include "sync/look.h"

#include "base/num.h"
#include "sync/look_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- commands --------------------------------------------------------------------------------- */

void look_commands_init(struct look_commands *c)
{
    buf_init(&c->text, (size_t)LOOK_COMMANDS * LOOK_COMMAND, false);
    c->n = 0;
}

void look_commands_free(struct look_commands *c)
{
    buf_release(&c->text);
    c->n = 0;
}

void look_commands_clear(struct look_commands *c)
{
    buf_take(&c->text, buf_len(&c->text));
    c->n = 0;
}

void look_commands_end(struct look_commands *c)
{
    INSIST(c->n < LOOK_COMMANDS);
    c->ends[c->n++] = buf_len(&c->text);
}

struct slice look_command(const struct look_commands *c, size_t i)
{
    return slice_sub(buf_slice(&c->text), i > 0 ? c->ends[i - 1] : 0, c->ends[i]);
}

struct link_answer look_answer(enum response_kind kind, const char *text)
{
    return (struct link_answer){.kind = kind, .text = slice_str(text)};
}

/* Commands of one link on their way. */
struct asking {
    struct look_asking *a;
    bool has_failed[LOOK_COMMANDS];
};

static int asking_data(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    const struct asking *asking = arg;

    return asking->a->on_data(asking->a->arg, p, event, err);
}

static int asking_answer(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    struct asking *asking = arg;

    (void)err;
    asking->has_failed[i] = answer->kind != RESPONSE_OK;
    return 0;
}

static int ask_together(struct asking *asking, size_t n, struct err *err)
{
    struct slice commands[LOOK_LINKS][LOOK_COMMANDS];
    struct link_batch batches[LOOK_LINKS];

    for (size_t i = 0; i < n; i++) {
        const struct look_commands *c = asking[i].a->commands;

        for (size_t k = 0; k < c->n; k++)
            commands[i][k] = look_command(c, k);
        batches[i] = (struct link_batch){asking[i].a->link, commands[i],   c->n,
                                         asking_data,       asking_answer, &asking[i]};
    }
    return link_calls_all(batches, n, err);
}

/* The answers of commands that are sent together are gone when the next comes: so what has failed
 * is asked alone. */
static int ask_alone(struct asking *asking, struct err *err)
{
    struct look_asking *a = asking->a;

    for (size_t i = 0; i < a->commands->n && a->answer.kind == RESPONSE_OK; i++) {
        if (asking->has_failed[i] && link_call(a->link, look_command(a->commands, i), a->on_data,
                                               a->arg, &a->answer, err) < 0)
            return -1;
    }
    look_commands_clear(a->commands);
    return 0;
}

int look_ask(struct look_asking *all, size_t n, struct err *err)
{
    struct asking asking[LOOK_LINKS];
    size_t used = 0;

    INSIST(n <= LOOK_LINKS);
    for (size_t i = 0; i < n; i++) {
        all[i].answer = look_answer(RESPONSE_OK, "");
        if (all[i].commands->n > 0)
            asking[used++] = (struct asking){.a = &all[i]};
    }
    if (used == 1 && asking[0].a->commands->n == 1)
        asking[0].has_failed[0] = true; /* not yet asked, that is */
    else if (used > 0 && ask_together(asking, used, err) < 0)
        return -1;
    for (size_t i = 0; i < used; i++) {
        if (ask_alone(&asking[i], err) < 0)
            return -1;
    }
    return 0;
}

int look_put_set(struct look_commands *c, const uint32_t *uids, size_t n, size_t most,
                 size_t *out_taken, struct err *err)
{
    struct set_writer w = set_writer(&c->text);
    size_t i = 0;

    while (i < n && i < most && set_length(&w) + SET_NUMBER < LOOK_COMMAND - 100) {
        if (set_put(&w, uids[i++]) < 0)
            return err_sys(err, ENOMEM, "cannot ask for messages");
    }
    if (set_end(&w) < 0)
        return err_sys(err, ENOMEM, "cannot ask for messages");
    *out_taken = i;
    return 0;
}

size_t look_index(const uint32_t *uids, size_t n, uint32_t uid)
{
    size_t from = 0, to = n;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (uids[middle] == uid)
            return middle;
        if (uids[middle] < uid)
            from = middle + 1;
        else
            to = middle;
    }
    return n;
}

/* --- what comes ------------------------------------------------------------------------------- */

char *look_room(struct look_room *room, size_t n)
{
    char *p;

    if (room->p && n <= room->n)
        return room->p;
    p = realloc(room->p, n + 256);
    if (!p)
        return NULL;
    *room = (struct look_room){p, n + 256};
    return p;
}

bool look_is_data(struct pipeline *p, enum pipeline_event event, struct slice word)
{
    const struct response *r;

    if (event != PIPELINE_DATA || pipeline_is_rest(p))
        return false;
    r = pipeline_response(p);
    return r->kind == RESPONSE_DATA && slice_ieq(r->word, word);
}

int look_fetched(struct pipeline *p, enum pipeline_event event, struct look_room *room,
                 struct data_fetch *out, struct err *err)
{
    struct slice text;
    char *to;

    if (!look_is_data(p, event, SLICE("FETCH")))
        return 0;
    text = pipeline_response(p)->text;
    to = look_room(room, text.n);
    if (!to)
        return err_sys(err, ENOMEM, "cannot read what the server tells of a message");
    return data_fetch(text, false, to, out) && out->told & FETCH_UID;
}

/* --- pieces ----------------------------------------------------------------------------------- */

/* What asks in pieces works on ranges of UIDs, that lie side by side: whatever comes or goes
 * meanwhile, a UID stays where it is, each is asked for once, and none can slip from one piece into
 * the next, as it could by numbers, which an EXPUNGE shifts. Where the UIDs that the folder has
 * given out so far are not many more than its messages, they are cut into equal parts. But they may
 * be strewn over all 32 bits; where to cut is asked of the server then: which UIDs the messages
 * number 5000, 10000 ... have. That costs a round trip, and decides, as the other does, nothing but
 * how even the pieces are: a cut that has shifted by then is as good as another, and with none all
 * is one piece.
 */
enum { PIECES = 512 };

struct cuts {
    uint32_t first, last; /* cuts lie in between */
    uint32_t uids[PIECES];
    size_t n;
    struct look_room room;
};

static int on_cut(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct cuts *c = arg;
    struct data_fetch f;
    int is_fetched = look_fetched(p, event, &c->room, &f, err);

    if (is_fetched < 0)
        return -1;
    if (is_fetched && f.uid >= c->first && f.uid < c->last && c->n < PIECES)
        c->uids[c->n++] = f.uid;
    return 0;
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Sorts, and leaves each once. */
static void sort_uids(uint32_t *uids, size_t *n)
{
    size_t kept = 0;

    if (*n == 0)
        return;
    qsort(uids, *n, sizeof(*uids), compare_uids);
    for (size_t i = 1; i < *n; i++) {
        if (uids[i] != uids[kept])
            uids[++kept] = uids[i];
    }
    *n = kept + 1;
}

/* Of UIDs that are dense: each piece has room for LOOK_PIECE messages if they lie evenly, and for
 * hardly more than twice as many if they do not. False: they are not dense. */
static bool count_cuts(struct look_extent extent, struct cuts *cuts)
{
    uint32_t end = extent.uidnext, pieces = extent.exists / LOOK_PIECE, step;

    if (end <= cuts->first || (end - cuts->first) / 2 > extent.exists)
        return false;
    step = (end - cuts->first) / (pieces < PIECES ? pieces : PIECES) + 1;
    for (uint32_t at = cuts->first; end - at > step && cuts->last - at >= step;) {
        at += step;
        cuts->uids[cuts->n++] = at - 1;
    }
    return true;
}

/* "FETCH 5000,10000 (UID)" */
static int ask_cuts(struct link *l, uint32_t exists, struct cuts *cuts, struct err *err)
{
    uint32_t piece = exists / PIECES > LOOK_PIECE ? exists / PIECES + 1 : LOOK_PIECE;
    struct link_answer answer;
    struct buf command;
    int result;

    buf_init(&command, LOOK_COMMAND, false);
    result = buf_printf(&command, "FETCH %" PRIu32, piece);
    for (uint32_t at = piece; at < exists - piece && result == 0;) {
        at += piece;
        result = buf_printf(&command, ",%" PRIu32, at);
    }
    if (result < 0 || buf_puts(&command, " (UID)") < 0)
        result = err_sys(err, ENOMEM, "cannot ask for messages");
    else
        result = link_call(l, buf_slice(&command), on_cut, cuts, &answer, err);
    buf_release(&command);
    sort_uids(cuts->uids, &cuts->n);
    return result;
}

static int find_cuts(struct link *l, struct look_extent extent, struct cuts *cuts, struct err *err)
{
    if (extent.exists / 2 < LOOK_PIECE || cuts->last - cuts->first < LOOK_PIECE ||
        count_cuts(extent, cuts))
        return 0;
    return ask_cuts(l, extent.exists, cuts, err);
}

int look_pieces(struct link *l, uint32_t first, uint32_t last, struct look_extent extent,
                struct set_range **out, size_t *out_n, struct err *err)
{
    struct cuts *cuts = calloc(1, sizeof(*cuts));
    struct set_range *pieces = calloc(PIECES + 1, sizeof(*pieces));
    int result = -1;
    size_t n = 0;

    if (!cuts || !pieces) {
        err_sys(err, ENOMEM, "cannot ask for messages");
    } else {
        cuts->first = first;
        cuts->last = last;
        result = find_cuts(l, extent, cuts, err);
        for (; n < cuts->n; n++) {
            pieces[n] = (struct set_range){first, cuts->uids[n]};
            first = cuts->uids[n] + 1;
        }
        pieces[n++] = (struct set_range){first, last};
        free(cuts->room.p);
    }
    free(cuts);
    if (result < 0) {
        free(pieces);
        return -1;
    }
    *out = pieces;
    *out_n = n;
    return 0;
}

void look_range_text(struct set_range range, char out[LOOK_NUMBERS])
{
    if (range.last == UINT32_MAX)
        snprintf(out, LOOK_NUMBERS, "%" PRIu32 ":*", range.first);
    else
        snprintf(out, LOOK_NUMBERS, "%" PRIu32 ":%" PRIu32, range.first, range.last);
}

/* --- opening a folder ------------------------------------------------------------------------- */

static void put_word(struct look_selected *s, struct slice word, size_t *n, size_t most)
{
    if (*n + 1 + word.n > most)
        return;
    if (*n > 0)
        s->permanent[(*n)++] = ' ';
    memcpy(s->permanent + *n, word.p, word.n);
    *n += word.n;
}

/* Words that there is no room for are left out; "\*" means more than any of them and stays. */
static void read_permanent(struct look_selected *s, struct slice arguments)
{
    struct lex l = lex_start(arguments);
    struct slice words, word;
    size_t n = 0, most = sizeof(s->permanent) - 1;
    bool has_star;

    if (!data_words(&l, &words))
        return;
    has_star = data_has_word(words, SLICE("\\*"));
    while (data_word(&words, &word)) {
        if (!slice_eq(word, SLICE("\\*")))
            put_word(s, word, &n, has_star ? most - 3 : most);
    }
    if (has_star)
        put_word(s, SLICE("\\*"), &n, most);
    s->permanent[n] = '\0';
    s->permanent_told = true;
}

static uint32_t read_u32(struct slice s)
{
    uint64_t n;

    return num_parse(s, UINT32_MAX, &n) ? (uint32_t)n : 0;
}

static void read_code(struct look_selected *s, struct slice code, struct slice arguments)
{
    uint64_t n;

    if (slice_ieq(code, SLICE("UIDVALIDITY")))
        s->uidvalidity = read_u32(arguments);
    else if (slice_ieq(code, SLICE("UIDNEXT")))
        s->uidnext = read_u32(arguments);
    else if (slice_ieq(code, SLICE("HIGHESTMODSEQ")))
        s->modseq = num_parse(arguments, INT64_MAX, &n) ? n : 0;
    else if (slice_ieq(code, SLICE("NOMODSEQ")))
        s->modseq = 0;
    else if (slice_ieq(code, SLICE("PERMANENTFLAGS")))
        read_permanent(s, arguments);
    else if (slice_ieq(code, SLICE("READ-ONLY")))
        s->is_read_only = true;
    else if (slice_ieq(code, SLICE("CLOSED"))) /* what was before is of the folder before */
        *s = (struct look_selected){.is_read_only = false};
}

static int on_selecting(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct look_selected *s = arg;
    struct slice code, arguments;

    (void)err;
    if (look_is_data(p, event, SLICE("EXISTS"))) {
        s->exists = pipeline_number(p);
        s->exists_told = true;
    } else if (event == PIPELINE_DATA && pipeline_response(p)->kind == RESPONSE_OK &&
               data_code(pipeline_response(p)->text, &code, &arguments)) {
        read_code(s, code, arguments);
    }
    return 0;
}

int look_select(struct link *l, struct slice name, bool is_read_only, struct look_selected *out,
                struct link_answer *out_answer, struct err *err)
{
    struct look_selected selected = {0};
    struct buf command;
    int result;

    memset(out, 0, sizeof(*out));
    buf_init(&command, LOOK_COMMAND, false);
    if (buf_puts(&command, is_read_only ? "EXAMINE " : "SELECT ") < 0 ||
        link_put_name(l, name, &command) < 0 ||
        (link_offers(l, "CONDSTORE") && buf_puts(&command, " (CONDSTORE)") < 0)) {
        buf_release(&command);
        *out_answer = look_answer(RESPONSE_BAD, "this name cannot be written");
        return 0;
    }
    result = link_call(l, buf_slice(&command), on_selecting, &selected, out_answer, err);
    buf_release(&command);
    if (result < 0 || out_answer->kind != RESPONSE_OK)
        return result;
    if (!selected.exists_told) {
        /* RFC 9051 section 6.3.2 has it told. Nothing must not be taken for none. */
        *out_answer = look_answer(RESPONSE_BAD, "it is not told how many messages there are");
        return 0;
    }
    *out = selected;
    out->is_read_only |= is_read_only || slice_ieq(out_answer->code, SLICE("READ-ONLY"));
    return 0;
}

/* --- searching -------------------------------------------------------------------------------- */

struct found {
    uint32_t *uids;
    size_t n, cap;
    struct look_room room;
};

static int find_more(struct found *f, struct set_range range, struct err *err)
{
    uint64_t more = (uint64_t)range.last - range.first + 1;

    if (more > LOOK_MOST - f->n)
        return err_set(err, 0, "the server finds more than %d messages", LOOK_MOST);
    if (f->n + more > f->cap) {
        size_t cap = f->cap + f->cap / 2 + (size_t)more + 1024;
        uint32_t *uids = reallocarray(f->uids, cap, sizeof(*uids));

        if (!uids)
            return err_sys(err, ENOMEM, "cannot keep what was found");
        f->uids = uids;
        f->cap = cap;
    }
    for (uint64_t i = 0; i < more; i++)
        f->uids[f->n++] = range.first + (uint32_t)i;
    return 0;
}

static int on_esearch(struct found *f, struct slice text, struct err *err)
{
    char *to = look_room(&f->room, text.n);
    struct data_esearch e;
    struct set_range range;

    if (!to)
        return err_sys(err, ENOMEM, "cannot read what was found");
    if (!data_esearch(text, to, &e) || !e.is_uid)
        return 0;
    while (set_next(&e.all, 0, &range)) {
        if (find_more(f, range, err) < 0)
            return -1;
    }
    return 0;
}

static int on_found(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct found *f = arg;
    struct slice text;
    uint32_t uid;

    if (look_is_data(p, event, SLICE("ESEARCH")))
        return on_esearch(f, pipeline_response(p)->text, err);
    if (!look_is_data(p, event, SLICE("SEARCH")))
        return 0;
    text = pipeline_response(p)->text;
    while (data_search_next(&text, &uid)) {
        if (find_more(f, (struct set_range){uid, uid}, err) < 0)
            return -1;
    }
    return 0;
}

/* "CHARSET UTF-8 " must come before all criteria; returns how long it is. */
static size_t charset_length(struct slice criteria)
{
    static const struct slice word = SLICE("CHARSET ");
    const char *end;

    if (!slice_istarts(criteria, word))
        return 0;
    end = memchr(criteria.p + word.n, ' ', criteria.n - word.n);
    return end ? (size_t)(end - criteria.p) + 1 : 0;
}

static int put_search(struct look_commands *c, bool has_esearch, struct slice criteria,
                      const char *range)
{
    size_t charset = charset_length(criteria);

    if (buf_puts(&c->text, has_esearch ? "UID SEARCH RETURN (ALL) " : "UID SEARCH ") < 0 ||
        buf_put(&c->text, slice_sub(criteria, 0, charset)) < 0 ||
        (range && buf_printf(&c->text, "UID %s ", range) < 0) ||
        buf_put(&c->text, slice_sub(criteria, charset, criteria.n)) < 0)
        return -1;
    look_commands_end(c);
    return 0;
}

static int search(struct link *l, struct slice criteria, const struct set_range *pieces, size_t n,
                  struct found *found, struct link_answer *out_answer, struct err *err)
{
    bool has_esearch = link_offers(l, "ESEARCH") || link_offers(l, "IMAP4rev2");
    struct look_commands commands;
    struct look_asking asking = {l, &commands, on_found, found, look_answer(RESPONSE_OK, "")};
    char range[LOOK_NUMBERS];
    int result = 0;

    look_commands_init(&commands);
    for (size_t i = 0; i < n && result == 0 && asking.answer.kind == RESPONSE_OK; i++) {
        look_range_text(pieces[i], range);
        if (put_search(&commands, has_esearch, criteria, n > 1 ? range : NULL) < 0)
            result = err_sys(err, ENOMEM, "cannot search");
        else if (commands.n == LOOK_COMMANDS || i + 1 == n)
            result = look_ask(&asking, 1, err);
    }
    look_commands_free(&commands);
    *out_answer = asking.answer;
    return result;
}

/* What is not one line would be a command of somebody's; "{7}" at its end announces bytes that
 * never come. */
static bool is_one_line(struct slice criteria)
{
    return !slice_has(criteria, '\r') && !slice_has(criteria, '\n') && criteria.n > 0 &&
           criteria.p[criteria.n - 1] != '}' && criteria.n < LOOK_COMMAND - 100;
}

int look_search(struct link *l, const char *criteria, struct look_extent extent,
                uint32_t **out_uids, size_t *out_n, struct link_answer *out_answer, struct err *err)
{
    struct found found = {0};
    struct set_range *pieces = NULL;
    size_t n;
    int result;

    *out_uids = NULL;
    *out_n = 0;
    if (!is_one_line(slice_str(criteria))) {
        *out_answer = look_answer(RESPONSE_BAD, "search criteria must be one line");
        return 0;
    }
    result = look_pieces(l, 1, UINT32_MAX, extent, &pieces, &n, err);
    if (result == 0)
        result = search(l, slice_str(criteria), pieces, n, &found, out_answer, err);
    free(pieces);
    free(found.room.p);
    if (result < 0 || out_answer->kind != RESPONSE_OK) {
        free(found.uids);
        return result;
    }
    sort_uids(found.uids, &found.n);
    *out_uids = found.uids;
    *out_n = found.n;
    return 0;
}
