/* The URL of an account: what is understood can be written again and means the same then; what is
 * refused says why in plain ASCII, and never repeats what stands before the last "@". */
#include "cli/sync_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse(struct slice text, struct sync_url *u, struct err *err)
{
    char *copy = malloc(text.n ? text.n : 1);
    int result;

    INSIST(copy);
    if (text.n)
        memcpy(copy, text.p, text.n);
    err->text[0] = '\0';
    result = sync_url_parse(slice_of(copy, text.n), u, err);
    free(copy);
    return result;
}

/* With every byte of the user percent-encoded. */
static void write_again(const struct sync_url *u, char *out, size_t room)
{
    static const char *const schemes[] = {"imap", "imap+starttls", "imaps"};
    const bool is_v6 = strchr(u->host, ':') != NULL;
    size_t at = (size_t)snprintf(out, room, "%s://", schemes[u->tls]);

    for (const char *c = u->user; *c; c++)
        at += (size_t)snprintf(out + at, room - at, "%%%02x", (unsigned char)*c);
    at += (size_t)snprintf(out + at, room - at, "%s%s%s%s", u->user[0] ? "@" : "", is_v6 ? "[" : "",
                           u->host, is_v6 ? "]" : "");
    if (u->port)
        snprintf(out + at, room - at, ":%u", u->port);
}

static void check_again(const struct sync_url *u)
{
    char text[4 * (SYNC_URL_USER + SYNC_URL_HOST)];
    struct sync_url again;
    struct err err;

    write_again(u, text, sizeof text);
    memset(&again, 0, sizeof again);
    INSIST(parse(slice_str(text), &again, &err) == 0);
    INSIST(again.tls == u->tls && again.port == u->port && strcmp(again.host, u->host) == 0 &&
           strcmp(again.user, u->user) == 0);
}

static void check_error(struct slice text, const struct err *err)
{
    const char *at = text.n ? memrchr(text.p, '@', text.n) : NULL;
    char before[64];

    INSIST(err->text[0] && strlen(err->text) < sizeof err->text - 1);
    for (const char *p = err->text; *p; p++)
        INSIST(*p >= ' ' && *p <= '~');
    /* The last bytes before the "@", enough of them that our own words do not have them too. */
    if (!at || (size_t)(at - text.p) < 40 || memchr(at - 40, '\0', 40))
        return;
    memcpy(before, at - 40, 40);
    before[40] = '\0';
    INSIST(!strstr(err->text, before));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct slice text = slice_of(data, size);
    struct sync_url u;
    struct err err;

    memset(&u, 0, sizeof u);
    if (parse(text, &u, &err) < 0) {
        check_error(text, &err);
        return 0;
    }
    INSIST(u.host[0] && strlen(u.host) < sizeof u.host && strlen(u.user) < sizeof u.user);
    INSIST(sync_url_check_host(slice_str(u.host), &err) == 0);
    INSIST(!u.user[0] || sync_url_check_user(slice_str(u.user), &err) == 0);
    check_again(&u);
    return 0;
}
