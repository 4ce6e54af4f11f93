/* Mistakes of meaning in settings that are lists: each item by itself. */
#include "base/addr.h"
#include "base/base64.h"
#include "conf/check.h"
#include "conf/value.h"

void check_nameservers(struct check *c)
{
    const struct conf_list *list = &c->conf->global.nameservers;

    for (size_t i = 0; i < list->n; i++) {
        const struct slice text = slice_str(list->items[i]);
        struct slice host;
        struct addr addr;
        uint16_t port;
        char shown[VALUE_SHOWN];

        if (addr_parse_ip(text, 53, &addr))
            continue;
        if (addr_split(text, &host, &port, NULL) || port == 0 || !addr_parse_ip(host, port, &addr))
            mistake(c, where_of(c, list, NULL),
                    "nameservers: \"%s\" is no address; write ip or ip:port, as in 192.0.2.53 or "
                    "[2001:db8::53]:53",
                    value_show(list->items[i], shown));
    }
}

void check_networks(struct check *c, const struct conf_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++) {
        struct addr_net net;
        struct err err;

        if (addr_net_parse(slice_str(list->items[i]), &net, &err) < 0)
            mistake(c, where_of(c, list, NULL), "%s: %s", name, err.text);
    }
}

/* 32 bytes in base64. */
static bool is_pin(struct slice text)
{
    char digest[48];

    return text.n == BASE64_LEN(32) && base64_decode(text, digest) == 32;
}

void check_backend_lists(struct check *c, const struct conf_backend *b)
{
    char shown[VALUE_SHOWN];
    struct addr addr;

    for (size_t i = 0; i < b->tls_pin.n; i++) {
        if (!is_pin(slice_str(b->tls_pin.items[i])))
            mistake(c, where_of(c, &b->tls_pin, &b->where),
                    "tls_pin: \"%s\" is no SHA-256 in base64, which has 44 characters; `openssl "
                    "x509 -pubkey "
                    "-noout -in CERT | openssl pkey -pubin -outform der | openssl dgst -sha256 "
                    "-binary | base64` "
                    "tells it",
                    value_show(b->tls_pin.items[i], shown));
    }
    for (size_t i = 0; i < b->source.n; i++) {
        if (!addr_parse_ip(slice_str(b->source.items[i]), 0, &addr))
            mistake(c, where_of(c, &b->source, &b->where),
                    "source: \"%s\" is no address; write one of this machine's, without a port",
                    value_show(b->source.items[i], shown));
    }
}
