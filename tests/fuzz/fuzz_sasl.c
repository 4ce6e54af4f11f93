/* The mechanisms of sasl/, all of them in both roles: a server takes any messages and keeps its
 * contract, and what a client says to it, whatever it is challenged with, is the client's identity.
 *
 * The first byte picks the mechanism and the role; strings follow, each behind its length. As
 * server they are the client's messages; as client user, authzid, password, then challenges. */
#include "cut.h"

#include "sasl/sasl.h"

#include <stdlib.h>

enum { MAX_INPUT = 1024, MAX_STEPS = 16, MAX_CHALLENGE = 64 };

struct input {
    struct slice left;
};

/* A string in memory that ends with it, since mechanisms may lie in wait for the byte behind. The
 * caller frees it. */
static struct slice next_string(struct input *in)
{
    size_t n = in->left.n > 0 ? (uint8_t)in->left.p[0] : 0;
    struct slice s = slice_sub(in->left, 1, 1 + n);
    char *copy = malloc(s.n);

    INSIST(copy);
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    in->left = slice_sub(in->left, 1 + n, in->left.n);
    return slice_of(copy, s.n);
}

static void give_back(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}

static const struct sasl_mech *pick(unsigned number)
{
    size_t n = 0;

    while (sasl_at(n))
        n++;
    return sasl_at(number % n);
}

static bool same_identity(const struct sasl_identity *a, const struct sasl_identity *b)
{
    return slice_eq(a->user, b->user) && slice_eq(a->authzid, b->authzid) &&
           slice_eq(a->password, b->password);
}

static bool has_nul(const struct sasl_identity *me)
{
    return slice_has(me->user, '\0') || slice_has(me->authzid, '\0') ||
           slice_has(me->password, '\0');
}

/* Client and server of one mechanism talk to each other. The client's end: whether it said all. */
static enum sasl_result talk(const struct sasl_mech *mech, const struct sasl_identity *me,
                             struct input *challenges, struct sasl_identity *claim,
                             struct slice messages[MAX_STEPS])
{
    enum sasl_result client = SASL_MORE, server = SASL_MORE;

    *claim = (struct sasl_identity){0};
    for (unsigned step = 0; step < MAX_STEPS && client == SASL_MORE && server == SASL_MORE;
         step++) {
        struct slice challenge = next_string(challenges);
        struct buf out, ours;

        buf_init(&out, MAX_INPUT, true);
        buf_init(&ours, MAX_CHALLENGE, false);
        client = mech->client_step(me, step, challenge, &out);
        give_back(challenge);
        if (client != SASL_BAD) {
            char *copy = slice_dup(buf_slice(&out));

            INSIST(copy);
            messages[step] = slice_of(copy, buf_len(&out));
            server = mech->server_step(step, messages[step], &ours, claim);
            INSIST((client == SASL_DONE) == (server == SASL_DONE) || server == SASL_BAD);
        }
        buf_release(&out);
        buf_release(&ours);
    }
    INSIST(client != SASL_MORE || server != SASL_MORE);
    return server == SASL_BAD ? SASL_BAD : client;
}

static void as_client(const struct sasl_mech *mech, const struct sasl_identity *me,
                      struct input *challenges)
{
    struct slice messages[MAX_STEPS] = {{0}};
    struct sasl_identity claim;

    switch (talk(mech, me, challenges, &claim, messages)) {
    case SASL_DONE:
        INSIST(me->user.n > 0 && !has_nul(me) && same_identity(&claim, me));
        break;
    case SASL_BAD: /* for a reason that is known */
        INSIST(me->user.n == 0 || me->authzid.n > 0 || has_nul(me));
        break;
    case SASL_MORE:
        INSIST(false);
    }
    for (size_t i = 0; i < MAX_STEPS; i++)
        give_back(messages[i]);
}

/* A buffer that is too small is an answer too. */
static void as_client_without_room(const struct sasl_mech *mech, const struct sasl_identity *me)
{
    for (size_t most = 0; most < 40; most += 3) {
        struct buf out;

        buf_init(&out, most, true);
        for (unsigned step = 0; step < 3; step++) {
            (void)mech->client_step(me, step, SLICE(""), &out);
            INSIST(buf_len(&out) <= most);
        }
        buf_release(&out);
    }
}

static bool lies_in_messages(struct slice s, const struct slice messages[MAX_STEPS])
{
    bool lies = s.n == 0;

    for (size_t i = 0; i < MAX_STEPS && !lies; i++)
        lies = messages[i].n > 0 && lies_in(s, messages[i]);
    return lies;
}

static void as_server(const struct sasl_mech *mech, struct input *in)
{
    struct slice messages[MAX_STEPS] = {{0}};
    enum sasl_result result = SASL_MORE;
    struct sasl_identity claim = {0};

    for (unsigned step = 0; step < MAX_STEPS && result == SASL_MORE; step++) {
        struct buf challenge;

        buf_init(&challenge, MAX_CHALLENGE, false);
        messages[step] = next_string(in);
        result = mech->server_step(step, messages[step], &challenge, &claim);
        INSIST(result != SASL_BAD || buf_len(&challenge) == 0);
        buf_release(&challenge);
    }
    INSIST(result != SASL_MORE);
    INSIST(lies_in_messages(claim.user, messages) && lies_in_messages(claim.authzid, messages) &&
           lies_in_messages(claim.password, messages));
    if (result == SASL_DONE) {
        INSIST(claim.user.n > 0 && !has_nul(&claim));
        as_client(mech, &claim, in);
    }
    for (size_t i = 0; i < MAX_STEPS; i++)
        give_back(messages[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {slice_of(data, size)};
    const struct sasl_mech *mech;

    if (size < 1 || size > MAX_INPUT)
        return 0;
    mech = pick(data[0] >> 1);
    in.left = slice_sub(in.left, 1, in.left.n);
    if (data[0] & 1) {
        as_server(mech, &in);
    } else {
        struct sasl_identity me;

        me.user = next_string(&in);
        me.authzid = next_string(&in);
        me.password = next_string(&in);
        as_client_without_room(mech, &me);
        as_client(mech, &me, &in);
        give_back(me.user);
        give_back(me.authzid);
        give_back(me.password);
    }
    return 0;
}
