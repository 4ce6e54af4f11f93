/* A link, the sync that it belongs to, and servers to talk to. What the lanes share is two
 * functions here: linked in place of sync/state.c. */
#ifndef USHER_TESTS_UNIT_LINK_WORLD_H
#define USHER_TESTS_UNIT_LINK_WORLD_H

#include "probe_peers.h"

#include "net/loop.h"
#include "net/tls.h"
#include "sync/link.h"
#include "sync/state.h"

struct sync {
    struct sync_params params;
    int is_stopping; /* atomic */
    unsigned looks;  /* how often it was asked, at which it says yes from `stops_at` on; 0: never */
    unsigned stops_at;
};

const struct sync_params *sync_params(const struct sync *s)
{
    return &s->params;
}

bool sync_is_stopping(const struct sync *s)
{
    struct sync *counted = (struct sync *)s;
    unsigned looks = __atomic_add_fetch(&counted->looks, 1, __ATOMIC_RELAXED);

    return __atomic_load_n(&s->is_stopping, __ATOMIC_RELAXED) ||
           (s->stops_at > 0 && looks >= s->stops_at);
}

struct world {
    struct loop *loop;
    struct sync sync;
    struct sync_side side;
    struct link *link;
    struct err err;
};

enum { SHORT_MS = 200, LONG_MS = 60000 };

static inline void world_begin(struct world *w, const struct peer *p, uint32_t timeout_ms)
{
    *w = (struct world){.sync.params = {.lanes = 2, .memory = 32 << 20, .timeout_ms = timeout_ms}};
    w->side = (struct sync_side){.name = "from",
                                 .host = "mail.example.org",
                                 .addresses = {p->addr},
                                 .addresses_n = 1,
                                 .user = SLICE("ann"),
                                 .password = SLICE("secret")};
    w->loop = loop_new(&w->err);
    assert_non_null(w->loop);
    w->link = link_new(w->loop, &w->sync, &w->side);
    assert_non_null(w->link);
}

static inline void world_end(struct world *w)
{
    link_free(&w->link);
    assert_null(w->link);
    loop_free(&w->loop);
}

static inline void assert_open(struct world *w)
{
    if (link_open(w->link, &w->err) < 0)
        fail_msg("%s", w->err.text);
    assert_true(link_is_open(w->link));
    assert_int_equal(link_trouble(w->link), LINK_FINE);
    assert_string_equal(link_error(w->link), "");
}

static inline void assert_trouble(const struct world *w, enum link_trouble trouble,
                                  const char *words)
{
    if (!strstr(link_error(w->link), words) || link_trouble(w->link) != trouble)
        fail_msg("trouble %d: %s; expected %d: %s", (int)link_trouble(w->link), link_error(w->link),
                 (int)trouble, words);
    assert_false(link_is_open(w->link));
}

/* The answer to a command; the link is fine. */
static inline struct link_answer called(struct world *w, const char *command)
{
    struct link_answer answer = {.kind = RESPONSE_DATA};

    if (link_call(w->link, slice_str(command), NULL, NULL, &answer, &w->err) < 0)
        fail_msg("%s: %s", command, w->err.text);
    return answer;
}

static inline void assert_answer(struct world *w, const char *command, enum response_kind kind,
                                 const char *text)
{
    struct link_answer answer = called(w, command);

    assert_int_equal(answer.kind, kind);
    assert_int_equal(answer.text.n, strlen(text));
    assert_memory_equal(answer.text.p, text, answer.text.n);
}

/* The same when it must fail. */
static inline void assert_call_fails(struct world *w, const char *command)
{
    struct link_answer answer;

    assert_int_equal(link_call(w->link, slice_str(command), NULL, NULL, &answer, &w->err), -1);
    assert_string_equal(w->err.text, link_error(w->link));
}

/* What opening comes to. */
static inline void assert_opens_to(const struct peer *script, enum sync_tls tls,
                                   enum link_trouble trouble, const char *words)
{
    struct peer p = *script;
    struct world w;

    peer_start(&p);
    world_begin(&w, &p, LONG_MS);
    w.side.tls = tls;
    assert_int_equal(link_open(w.link, &w.err), -1);
    assert_trouble(&w, trouble, words);
    assert_string_equal(w.err.text, link_error(w.link));
    link_close(w.link);
    assert_int_equal(link_trouble(w.link), LINK_FINE);
    assert_string_equal(link_error(w.link), "");
    world_end(&w);
    peer_stop(&p);
}

#define HI "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] Hi\r\n"
#define IN(caps)                                                             \
    {                                                                        \
        "AUTHENTICATE", "% OK [CAPABILITY IMAP4rev1 " caps "] In\r\n", false \
    }
#define ID_ANSWER                                   \
    {                                               \
        " ID (", "* ID NIL\r\n% OK Nice\r\n", false \
    }
#define BYE_BYE                                      \
    {                                                \
        "LOGOUT", "* BYE Bye\r\n% OK Out\r\n", false \
    }
#define ELSE(answer)        \
    {                       \
        NULL, answer, false \
    }
#define COMMON(caps) ID_ANSWER, IN(caps), BYE_BYE

#endif
