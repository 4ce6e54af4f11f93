/* The map of sources. */
#include "control/sources.h"

#include "base/hash.h"
#include "base/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAPPED_BITS = 96 };

int sources_init(struct sources *s, const struct conf_global *conf, struct err *err)
{
    const struct conf_list *list = &conf->penalty_exempt;

    *s = (struct sources){.bits_v4 = conf->address_bits_v4, .bits_v6 = conf->address_bits_v6};
    map_init(&s->map);
    s->exempt = calloc(list->n + 1, sizeof *s->exempt);
    if (!s->exempt)
        return err_set(err, ENOMEM, "no memory for penalty_exempt");
    for (size_t i = 0; i < list->n; i++) {
        if (addr_net_parse(slice_str(list->items[i]), &s->exempt[s->exempt_n++], err) < 0)
            return err_prefix(err, "penalty_exempt");
    }
    return 0;
}

void sources_done(struct sources *s)
{
    INSIST(s->map.used == 0);
    map_done(&s->map);
    free(s->exempt);
    s->exempt = NULL;
    s->exempt_n = 0;
}

bool sources_have(const struct sources *s, const struct in6_addr *client)
{
    struct addr a = network_address(client);

    for (size_t i = 0; i < s->exempt_n; i++) {
        if (addr_in_net(&a, &s->exempt[i]))
            return false;
    }
    return addr_is_set(&a);
}

static uint64_t hash_of(const struct network *n)
{
    char key[sizeof n->prefix + 1];

    memcpy(key, &n->prefix, sizeof n->prefix);
    key[sizeof n->prefix] = (char)n->bits;
    return hash_key(slice_of(key, sizeof key));
}

static bool is_of(const struct map_node *node, const void *key)
{
    return network_eq(&CONTAINER(node, const struct source, node)->network, key);
}

static struct network narrow(const struct sources *s, const struct in6_addr *client)
{
    return network_of(client, network_is_ipv4(client) ? MAPPED_BITS + s->bits_v4 : s->bits_v6);
}

void sources_networks(const struct sources *s, const struct in6_addr *client,
                      struct network *out_network, struct network *out_wider)
{
    bool has_wider;

    *out_network = narrow(s, client);
    has_wider = !network_is_ipv4(client) && out_network->bits > SITE_BITS;
    *out_wider = has_wider ? network_of(client, SITE_BITS) : (struct network){0};
}

static struct source *find(const struct sources *s, const struct network *n, uint64_t hash)
{
    struct map_node *node = map_find(&s->map, hash, is_of, n);

    return node ? CONTAINER(node, struct source, node) : NULL;
}

struct source *sources_find(const struct sources *s, const struct in6_addr *client)
{
    struct network n = narrow(s, client);

    return find(s, &n, hash_of(&n));
}

static struct source *get(struct sources *s, const struct network *n)
{
    uint64_t hash = hash_of(n);
    struct source *source = find(s, n, hash);

    if (source)
        return source;
    source = calloc(1, sizeof *source);
    if (!source)
        return NULL;
    source->network = *n;
    if (map_insert(&s->map, &source->node, hash) < 0) {
        free(source);
        return NULL;
    }
    return source;
}

static void drop_if_empty(struct sources *s, struct source *source)
{
    if (source->sessions_n > 0)
        return;
    INSIST(source->opening_n == 0 && source->delayed_n == 0 && source->trying_n == 0);
    map_remove(&s->map, &source->node);
    free(source);
}

struct source *sources_enter(struct sources *s, const struct in6_addr *client)
{
    struct network n, site;
    struct source *source;

    sources_networks(s, client, &n, &site);
    source = get(s, &n);
    if (!source)
        return NULL;
    if (!source->wider && site.bits > 0) {
        source->wider = get(s, &site);
        if (!source->wider) {
            drop_if_empty(s, source);
            return NULL;
        }
    }
    for (struct source *at = source; at; at = at->wider)
        at->sessions_n++;
    return source;
}

void sources_leave(struct sources *s, struct source *source)
{
    for (struct source *at = source, *wider; at; at = wider) {
        wider = at->wider;
        INSIST(at->sessions_n > 0);
        at->sessions_n--;
        drop_if_empty(s, at);
    }
}
