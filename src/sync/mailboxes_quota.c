/* How much an account may hold (RFC 9208, and RFC 2087 before it); see sync/mailboxes.h. */
#include "sync/mailboxes.h"

#include "sync/mailboxes_parts.h"
#include "sync/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RESOURCES = 16 };

/* A quota root with its limits. */
struct quota {
    char *root; /* NULL: none was told */
    struct resource {
        char name[32];
        uint64_t limit;
    } all[RESOURCES];
    size_t n;
};

static const char *const compared[] = {"STORAGE", "MESSAGE"};

static const struct resource *find(const struct quota *q, const char *name)
{
    for (size_t i = 0; i < q->n; i++) {
        if (slice_ieq(slice_str(q->all[i].name), slice_str(name)))
            return &q->all[i];
    }
    return NULL;
}

/* "(STORAGE 10 512 MESSAGE 1 100)": each with what is used of it and the limit. */
static void read_resources(struct lex *l, struct quota *q)
{
    struct slice words, name, used, limit;
    uint64_t n;

    while (lex_sp(l)) {
    }
    if (!data_words(l, &words))
        return;
    while (q->n < RESOURCES && data_word(&words, &name) && data_word(&words, &used) &&
           data_word(&words, &limit)) {
        struct resource *r = &q->all[q->n];
        struct lex of_limit = lex_start(limit);

        if (name.n >= sizeof r->name || !data_number(&of_limit, &n))
            continue;
        memcpy(r->name, name.p, name.n);
        r->name[name.n] = '\0';
        r->limit = n;
        q->n++;
    }
}

/* QUOTA: root resources. Of several roots it is the first that limits what is compared. */
static int on_quota(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    struct quota *out = arg, q = {0};
    struct slice text, root;
    char *room;
    struct lex l;
    bool is_nil;

    if (find(out, compared[0]) || find(out, compared[1]) ||
        !mailboxes_is_data(p, event, "QUOTA", &text, &room))
        return 0;
    l = lex_start(text);
    if (data_nstring(&l, room, &root, &is_nil)) {
        q.root = slice_dup(root);
        read_resources(&l, &q);
    }
    free(room);
    if (!q.root)
        return 0;
    if (q.n == 0 && out->root) {
        free(q.root);
        return 0;
    }
    free(out->root);
    *out = q;
    (void)err;
    return 0;
}

static const struct slice get = SLICE("GETQUOTAROOT INBOX");

/* Of both sides at once, as far as they have them. */
static int get_both(struct link *from, struct link *to, struct quota *of_from, struct quota *of_to,
                    struct err *err)
{
    const struct link_batch all[] = {
        {.link = from, .commands = &get, .n = 1, .on_data = on_quota, .arg = of_from},
        {.link = to, .commands = &get, .n = 1, .on_data = on_quota, .arg = of_to},
    };
    struct link_batch asked[2];
    size_t n = 0;

    for (size_t i = 0; i < 2; i++) {
        if (link_offers(all[i].link, "QUOTA"))
            asked[n++] = all[i];
    }
    return n > 0 ? link_calls_all(asked, n, err) : 0;
}

/* --- comparing -------------------------------------------------------------------------------- */

static void note(struct sync *s, enum sync_reason reason, const char *words)
{
    sync_issue(s, reason, UINT32_MAX, 0, 0, (struct slice){0}, "%s", words);
}

/* Says what the limits are where they are not the same; else nothing. */
static void tell_difference(const struct quota *from, const struct quota *to, char *words,
                            size_t size)
{
    size_t n = 0;

    words[0] = '\0';
    for (size_t i = 0; i < sizeof compared / sizeof *compared; i++) {
        const struct resource *a = find(from, compared[i]), *b = find(to, compared[i]);
        char limits[2][24] = {"none", "none"};

        if (a)
            snprintf(limits[0], sizeof limits[0], "%" PRIu64, a->limit);
        if (b)
            snprintf(limits[1], sizeof limits[1], "%" PRIu64, b->limit);
        if (strcmp(limits[0], limits[1]) == 0)
            continue;
        snprintf(words + n, size - n, "%s%s is %s at the source, %s at the target",
                 n > 0 ? "; " : "", compared[i], limits[0], limits[1]);
        n = strlen(words);
    }
}

/* SETQUOTA takes all limits of a root away that it does not name: those of the target that the
 * source does not have are named again. */
static void put_limits(struct commands *c, const struct quota *from, const struct quota *to)
{
    const char *before = "";
    char limit[64];

    commands_put(c, "SETQUOTA ");
    commands_put_string(c, slice_str(to->root));
    commands_put(c, " (");
    for (size_t i = 0; i < sizeof compared / sizeof *compared; i++) {
        const struct resource *r = find(from, compared[i]);

        if (!r)
            continue;
        snprintf(limit, sizeof limit, "%s%s %" PRIu64, before, compared[i], r->limit);
        commands_put(c, limit);
        before = " ";
    }
    for (size_t i = 0; i < to->n; i++) {
        const struct resource *r = &to->all[i];
        const bool is_compared = slice_ieq(slice_str(r->name), slice_str(compared[0])) ||
                                 slice_ieq(slice_str(r->name), slice_str(compared[1]));

        if (is_compared && find(from, r->name))
            continue;
        snprintf(limit, sizeof limit, "%s%s %" PRIu64, before, r->name, r->limit);
        commands_put(c, limit);
        before = " ";
    }
    commands_put(c, ")");
}

struct setting {
    struct sync *s;
    const char *difference;
    struct quota *now;
};

static int on_set(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    const struct setting *setting = arg;

    (void)err;
    if (i > 0)
        return 0; /* GETQUOTAROOT */
    if (answer->kind == RESPONSE_OK)
        sync_log(setting->s, "quota: %s; it was set", setting->difference);
    else
        sync_issue(setting->s, REASON_QUOTA, UINT32_MAX, 0, 0, (struct slice){0}, "%s; %.*s",
                   setting->difference, SLICE_ARG(answer->text));
    return 0;
}

static int on_data(void *arg, struct pipeline *p, enum pipeline_event event, struct err *err)
{
    const struct setting *setting = arg;

    return on_quota(setting->now, p, event, err);
}

/* The target's limits become those of the source; *to is as it is then. */
static int set(struct sync *s, struct link *l, const struct quota *from, struct quota *to,
               const char *difference, struct err *err)
{
    struct quota now = {0};
    struct setting setting = {.s = s, .difference = difference, .now = &now};
    struct commands c;
    int done;

    commands_init(&c);
    put_limits(&c, from, to);
    if (commands_end(&c)) {
        commands_put_slice(&c, get);
        (void)commands_end(&c);
        done = commands_call(&c, l, on_data, on_set, &setting, err);
        free(to->root);
        *to = now;
    } else {
        note(s, REASON_QUOTA, difference);
        done = 0;
    }
    commands_done(&c);
    return done;
}

/* What is at the target already is most likely what has been carried before, so that it is the
 * limit that counts and not what is left of it. */
static void check_room(struct sync *s, const struct quota *to, uint64_t bytes, uint64_t messages)
{
    const struct resource *storage = find(to, "STORAGE"), *message = find(to, "MESSAGE");
    char words[160];

    if (storage && storage->limit < bytes / 1024) {
        snprintf(words, sizeof words, "the source holds %" PRIu64 " KiB, the target takes %" PRIu64,
                 bytes / 1024, storage->limit);
        note(s, REASON_QUOTA_SMALL, words);
    }
    if (message && message->limit < messages) {
        snprintf(words, sizeof words,
                 "the source holds %" PRIu64 " messages, the target takes %" PRIu64, messages,
                 message->limit);
        note(s, REASON_QUOTA_SMALL, words);
    }
}

static int carry(struct sync *s, struct link *l, const struct quota *from, struct quota *to,
                 struct err *err)
{
    const bool has_limits = find(from, compared[0]) || find(from, compared[1]);
    char difference[200];

    tell_difference(from, to, difference, sizeof difference);
    if (!difference[0])
        return 0;
    if (has_limits && to->root && !sync_params(s)->is_dry)
        return set(s, l, from, to, difference, err);
    note(s, REASON_QUOTA, difference);
    return 0;
}

int mailboxes_carry_quota(struct sync *s, struct link *from, struct link *to, uint64_t bytes,
                          uint64_t messages, struct err *err)
{
    struct quota of_from = {0}, of_to = {0};
    int done = get_both(from, to, &of_from, &of_to, err);

    if (done == 0 && link_offers(from, "QUOTA") && link_offers(to, "QUOTA"))
        done = carry(s, to, &of_from, &of_to, err);
    if (done == 0)
        check_room(s, &of_to, bytes, messages);
    free(of_from.root);
    free(of_to.root);
    return done;
}
