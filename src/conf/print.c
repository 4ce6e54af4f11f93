/* Printing a snapshot as a file that loads to the same: every setting, defaults too, so that
 * another binary's defaults cannot change what it means. */
#include "conf/conf.h"
#include "conf/settings.h"
#include "conf/value.h"

#include <errno.h>

static void print_settings(enum section_id id, const void *object, int indent, FILE *out)
{
    for (size_t i = 0; i < conf_sections[id].n; i++) {
        const struct setting *s = &conf_sections[id].settings[i];

        fprintf(out, "%*s%s = ", indent, "", s->name);
        value_print(s, object, out);
        putc('\n', out);
    }
}

static void print_begin(enum section_id id, const char *title, int indent, FILE *out)
{
    fprintf(out, "%*s%s ", indent, "", conf_sections[id].name);
    if (title) {
        value_print_text(title, out);
        putc(' ', out);
    }
    fputs("{\n", out);
}

static void print_pool(const struct conf_pool *pool, FILE *out)
{
    print_begin(SECTION_POOL, pool->title, 0, out);
    print_settings(SECTION_POOL, pool, 4, out);
    for (size_t i = 0; i < pool->backends_n; i++) {
        print_begin(SECTION_BACKEND, pool->backends[i].title, 4, out);
        print_settings(SECTION_BACKEND, &pool->backends[i], 8, out);
        fputs("    }\n", out);
    }
    fputs("}\n", out);
}

static void print_directory(const struct conf_directory *directory, bool with_rules, FILE *out)
{
    struct conf_directory shown = *directory;

    if (!with_rules)
        shown.rules = (struct conf_list){NULL, 0};
    print_begin(SECTION_DIRECTORY, shown.title, 0, out);
    print_settings(SECTION_DIRECTORY, &shown, 4, out);
    fputs("}\n", out);
}

static int print_all(const struct conf *conf, bool with_rules, FILE *out, struct err *err)
{
    errno = 0;
    print_settings(SECTION_GLOBAL, &conf->global, 0, out);
    for (size_t i = 0; i < conf->listeners_n; i++) {
        print_begin(SECTION_LISTENER, conf->listeners[i].title, 0, out);
        print_settings(SECTION_LISTENER, &conf->listeners[i], 4, out);
        fputs("}\n", out);
    }
    print_begin(SECTION_TLS, NULL, 0, out);
    print_settings(SECTION_TLS, &conf->tls, 4, out);
    fputs("}\n", out);
    for (size_t i = 0; i < conf->certificates_n; i++) {
        print_begin(SECTION_CERTIFICATE, conf->certificates[i].title, 0, out);
        print_settings(SECTION_CERTIFICATE, &conf->certificates[i], 4, out);
        fputs("}\n", out);
    }
    for (size_t i = 0; i < conf->directories_n; i++)
        print_directory(&conf->directories[i], with_rules, out);
    for (size_t i = 0; i < conf->pools_n; i++)
        print_pool(&conf->pools[i], out);
    if (fflush(out) || ferror(out))
        return err_sys(err, errno ? errno : EIO, "cannot print the configuration");
    return 0;
}

int conf_print(const struct conf *conf, FILE *out, struct err *err)
{
    return print_all(conf, true, out, err);
}

int conf_print_without_rules(const struct conf *conf, FILE *out, struct err *err)
{
    return print_all(conf, false, out, err);
}
