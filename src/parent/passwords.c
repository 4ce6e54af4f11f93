/* Mistakes in the files of check_password. */
#include "parent/passwords.h"

#include "worker/check_password.h"

#include <stdio.h>

unsigned passwords_check(const struct conf *conf, const struct files *files,
                         certificates_report *report, void *arg)
{
    unsigned mistakes = 0;

    for (size_t i = 0; i < conf->pools_n; i++) {
        const struct conf_pool *pool = &conf->pools[i];
        const char *name = check_password_file(pool);
        struct certificates_finding finding = {.is_mistake = true, .file = ""};
        struct slice password;
        struct err err;
        char text[1024];

        if (!name[0] || check_password_of(files_find(files, name), &password, &err) == 0)
            continue;
        snprintf(text, sizeof text, "pool %s: check_password: %s %s", pool->title, name, err.text);
        finding.where = conf_where_of(conf, &pool->check_password, &pool->where);
        finding.text = text;
        report(arg, &finding);
        mistakes++;
    }
    return mistakes;
}
