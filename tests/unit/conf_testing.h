/* What the tests of the configuration share: loading texts and files, collecting mistakes. */
#ifndef USHER_TESTS_CONF_TESTING_H
#define USHER_TESTS_CONF_TESTING_H

#include "conf/conf.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define GOOD_POOL "pool main { backend b1 { address = \"10.0.0.1:10143\" } }\n"
#define GOOD_LISTENER \
    "listener l { address = \"127.0.0.1:0\" tls = off auth_allow_cleartext = yes }\n"

static inline struct conf *load(const char *text)
{
    struct conf *conf = NULL;
    struct err err = {0};

    if (conf_load_text(text, "t", &conf, &err))
        fail_msg("does not load: %s", err.text);
    return conf;
}

static inline char *print(const struct conf *conf)
{
    char *text = NULL;
    struct err err;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    assert_non_null(out);
    assert_int_equal(conf_print(conf, out, &err), 0);
    fclose(out);
    return text;
}

struct told {
    unsigned n;
    struct {
        unsigned line;
        char file[64], text[600];
    } mistakes[16];
};

static inline void on_mistake(void *arg, const struct conf_where *where, const char *text)
{
    struct told *told = arg;

    assert_true(told->n < 16);
    told->mistakes[told->n].line = where->line;
    snprintf(told->mistakes[told->n].file, sizeof told->mistakes[0].file, "%s", where->file);
    snprintf(told->mistakes[told->n].text, sizeof told->mistakes[0].text, "%s", text);
    told->n++;
}

static inline void check(const struct conf *conf, bool with_files, struct told *told)
{
    unsigned count;

    memset(told, 0, sizeof *told);
    count = conf_check(conf, with_files, on_mistake, told);
    assert_int_equal(count, told->n);
}

struct folder {
    char path[64];
};

static inline int make_folder(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);

    strcpy(folder->path, "/tmp/test_conf.XXXXXX");
    *state = folder;
    return mkdtemp(folder->path) ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int remove_folder(void **state)
{
    struct folder *folder = *state;
    int rc = nftw(folder->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);

    free(folder);
    return rc;
}

static inline void write_file(const struct folder *folder, const char *name, const char *text,
                              size_t n)
{
    char path[128];
    FILE *out;

    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
}

static inline void write_text(const struct folder *folder, const char *name, const char *text)
{
    write_file(folder, name, text, strlen(text));
}

static inline struct conf *load_main(const struct folder *folder)
{
    struct conf *conf = NULL;
    struct err err = {0};
    char path[128];

    snprintf(path, sizeof path, "%s/main", folder->path);
    if (conf_load(path, &conf, &err))
        fail_msg("%s", err.text);
    return conf;
}

static inline void make_sub(const struct folder *folder)
{
    char path[128];

    snprintf(path, sizeof path, "%s/sub", folder->path);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* A test that has a folder of its own in *state. */
#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

#endif
