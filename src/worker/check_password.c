/* The password with which probes log in, from its file. */
#include "worker/check_password.h"

#include "conf/conf.h"

#include <string.h>

const char *check_password_file(const struct conf_pool *pool)
{
    return pool->check == CHECK_LOGIN ? pool->check_password : "";
}

int check_password_names(const struct conf *conf,
                         int (*each)(void *arg, const char *name, struct err *err), void *arg,
                         struct err *err)
{
    for (size_t i = 0; i < conf->pools_n; i++) {
        const char *name = check_password_file(&conf->pools[i]);

        if (name[0] && each(arg, name, err) < 0)
            return err_prefix(err, "pool %s", conf->pools[i].title);
    }
    return 0;
}

int check_password_of(struct slice text, struct slice *out_password, struct err *err)
{
    const char *end = text.n > 0 ? memchr(text.p, '\n', text.n) : NULL;
    struct slice line = end ? slice_sub(text, 0, (size_t)(end - text.p)) : text;

    if (end && line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (text.n == 0)
        return err_set(err, 0, "is empty; write the password into its first line");
    if (line.n == 0)
        return err_set(err, 0, "has an empty first line; write the password there");
    if (line.n > CHECK_PASSWORD_MAX)
        return err_set(err, 0, "has a first line of %zu bytes; a password has %d at most", line.n,
                       CHECK_PASSWORD_MAX);
    if (slice_has(line, '\0'))
        return err_set(err, 0, "holds NUL in its first line, which no password can");
    *out_password = line;
    return 0;
}
