/* The names of directory/username.h. */
#include "directory/username.h"

#include <string.h>

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Where the last '@' stands; name.n when there is none. */
static size_t find_domain(struct slice name)
{
    for (size_t i = name.n; i > 0; i--) {
        if (name.p[i - 1] == '@')
            return i - 1;
    }
    return name.n;
}

static bool is_stripped(const struct conf_list *domains, struct slice domain)
{
    for (size_t i = 0; i < domains->n; i++) {
        if (strcmp(domains->items[i], "*") == 0 || slice_ieq(domain, slice_str(domains->items[i])))
            return true;
    }
    return false;
}

bool username_normalize(const struct conf_global *conf, struct slice name, char out[IPC_USER_MAX],
                        struct slice *out_name)
{
    const struct slice added = slice_str(conf->username_domain);
    size_t at = find_domain(name), n;

    /* One after the other, for what is left may end with such a domain too. */
    while (at < name.n &&
           is_stripped(&conf->username_strip_domains, slice_sub(name, at + 1, name.n))) {
        name.n = at;
        at = find_domain(name);
    }
    n = name.n;
    if (n == 0 || n > IPC_USER_MAX)
        return false;
    memcpy(out, name.p, n);
    if (at == name.n && added.n > 0) {
        if (n + 1 + added.n > IPC_USER_MAX)
            return false;
        out[n++] = '@';
        memcpy(out + n, added.p, added.n);
        n += added.n;
    }
    for (size_t i = 0; i < n && conf->username_case == USERNAME_LOWER; i++)
        out[i] = small(out[i]);
    *out_name = slice_of(out, n);
    return true;
}
