/* The configuration: a file becomes one immutable snapshot of typed values.
 *
 * Its settings are the rows of tables/settings.def; each section below has one member a row, under
 * the row's name. Loading has two steps, as people need them: conf_load() stops at the first
 * mistake of form (syntax, unknown word, unfinished section), with file:line, since nothing behind
 * it can be trusted; conf_check() then reports all mistakes of meaning at once, each with file,
 * line and what to write instead.
 *
 * The parent reads the file; children get the text that conf_print() makes of the snapshot,
 * includes resolved, and load that. So nothing but the parent opens files, and every process sees
 * the same snapshot, but for the rules of directories, which lookup alone is given.
 */
#ifndef USHER_CONF_CONF_H
#define USHER_CONF_CONF_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum conf_listener_tls { LISTENER_TLS_OFF, LISTENER_TLS_STARTTLS, LISTENER_TLS_IMPLICIT };
enum conf_backend_tls { BACKEND_TLS_OFF, BACKEND_TLS_STARTTLS, BACKEND_TLS_IMPLICIT };
enum conf_backend_proxy { BACKEND_PROXY_OFF, BACKEND_PROXY_V1, BACKEND_PROXY_V2 };
enum conf_storage { STORAGE_OWN, STORAGE_SHARED };
enum conf_place { PLACE_HASH, PLACE_TRY };
enum conf_check { CHECK_OFF, CHECK_TCP, CHECK_GREETING, CHECK_LOGIN };
enum conf_on_down { ON_DOWN_KEEP, ON_DOWN_KICK };
enum conf_username_case { USERNAME_KEEP, USERNAME_LOWER };
enum conf_driver { DRIVER_STATIC, DRIVER_FILE, DRIVER_SOCKETMAP };
enum conf_tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };
enum conf_client_certificate {
    CLIENT_CERTIFICATE_OFF,
    CLIENT_CERTIFICATE_OPTIONAL,
    CLIENT_CERTIFICATE_REQUIRED
};
enum conf_sandbox { SANDBOX_ENFORCE, SANDBOX_LOG, SANDBOX_OFF };

/* Names are of letters, digits and . _ - and begin with a letter or digit. */
enum {
    CONF_NAME_MAX = 63,
    CONF_LISTENERS_MAX = 64,
    CONF_CERTIFICATES_MAX = 1024,
    CONF_DIRECTORIES_MAX = 64,
    CONF_POOLS_MAX = 256,
    CONF_TRIED_MAX = 32, /* backends of a pool with place = try */
    CONF_BACKENDS_MAX = 4096,
    CONF_WORKERS_MAX = 64
};

#define CONF_POOL_REMOVED "removed"

struct conf_list {
    const char *const *items;
    size_t n;
};

/* Where a section was written. Line 0: nowhere, it is the default. */
struct conf_where {
    const char *file;
    unsigned line;
};

#define CONF_TYPE_STR      const char *
#define CONF_TYPE_PATH     const char *
#define CONF_TYPE_LIST     struct conf_list
#define CONF_TYPE_BOOL     bool
#define CONF_TYPE_INT      uint32_t
#define CONF_TYPE_DURATION uint32_t
#define CONF_TYPE_SIZE     uint64_t
#define CONF_TYPE_CHOICE   uint8_t

struct conf_global {
#define SETTING_GLOBAL(name, KIND, def, values, manual) CONF_TYPE_##KIND name;
#include "tables/settings.def"
};

struct conf_tls {
#define SETTING_TLS(name, KIND, def, values, manual) CONF_TYPE_##KIND name;
#include "tables/settings.def"
};

struct conf_certificate {
    const char *title;
    struct conf_where where;
#define SETTING_CERTIFICATE(name, KIND, def, values, manual) CONF_TYPE_##KIND name;
#include "tables/settings.def"
};

struct conf_listener {
    const char *title;
    struct conf_where where;
#define SETTING_LISTENER(name, KIND, def, values, manual) CONF_TYPE_##KIND name;
#include "tables/settings.def"
};

struct conf_directory {
    const char *title;
    struct conf_where where;
#define SETTING_DIRECTORY(name, KIND, def, values, manual) CONF_TYPE_##KIND name;
#include "tables/settings.def"
};

struct conf_backend {
    const char *title; /* unique over all pools, since logs and operators name a backend alone */
    struct conf_where where;
#define SETTING_BACKEND(name, KIND, def, values, manual) CONF_TYPE_##KIND name;
#include "tables/settings.def"
};

struct conf_pool {
    const char *title;
    struct conf_where where;
    struct conf_backend *backends;
    size_t backends_n;
#define SETTING_POOL(name, KIND, def, values, manual) CONF_TYPE_##KIND name;
#include "tables/settings.def"
};

/* Everything that it points to is its own. In the order of the file; never changed after loading.
 */
struct conf {
    struct conf_global global;
    struct conf_tls tls;
    struct conf_certificate *certificates; /* beside that of `tls` */
    size_t certificates_n;
    struct conf_listener *listeners;
    size_t listeners_n;
    struct conf_directory *directories; /* asked in this order */
    size_t directories_n;
    /* Behind the last there is always one more, pools[pools_n]: CONF_POOL_REMOVED, without backends
     * and with all settings at their defaults. It stands for every pool that is not in this
     * snapshot but in an earlier one, whose sessions still live. It is not of the file: never
     * counted, printed, checked, or found by its name, which a pool of the file may have as well.
     */
    struct conf_pool *pools;
    size_t pools_n;
    struct conf_origin *origins; /* where each setting was written, for conf_check() */
};

/* Reads `path` and what it includes. The error is "file:line: what is wrong and what to write".
 *
 * A value that is no value of its kind, or out of range, is a mistake of meaning: the member holds
 * the default meanwhile, and what was written is kept for conf_check(). So is a setting that stands
 * twice in one section (the last one counts meanwhile). Sections of one kind with the same name are
 * a mistake of form. A relative path becomes an absolute one, from the directory of the file that
 * says it.
 *
 * Loading is not reentrant, as libconfuse's lexer is global: one thread, one file after the other.
 */
int conf_load(const char *path, struct conf **out_conf, struct err *err) MUST_CHECK;

/* The same from memory; `name` stands for the file in messages. Relative paths are kept as they
 * are, and include is refused: whoever loads a text opens no files. */
int conf_load_text(const char *text, const char *name, struct conf **out_conf,
                   struct err *err) MUST_CHECK;

void conf_free(struct conf **conf);

/* Told of one mistake; `text` says what is wrong and what to write instead. Line 0: the mistake is
 * that something is missing from the whole. */
typedef void conf_report(void *arg, const struct conf_where *where, const char *text);

/* Finds all mistakes of meaning, tells them in the order of the files, and returns how many. Values
 * that are out of range or no value of their kind, names that do not exist or exist twice,
 * addresses that are none, listeners that collide, TLS without a certificate, a pool without
 * backends, all weights zero ... `with_files`: also whether the files and the user that it names
 * exist and can be read (only if we are root: the user). */
unsigned conf_check(const struct conf *conf, bool with_files, conf_report *report,
                    void *arg) MUST_CHECK;

/* Where a member (&listener->client_ca) was written; `section` when it was not. */
const struct conf_where *conf_where_of(const struct conf *conf, const void *member,
                                       const struct conf_where *section);

/* Writes the whole snapshot as text that conf_load_text() turns into an equal one. */
int conf_print(const struct conf *conf, FILE *out, struct err *err) MUST_CHECK;

/* The same without the rules of directories, which may have passwords in them: for processes that
 * do not ask directories themselves. It loads, but conf_check() would miss the rules. */
int conf_print_without_rules(const struct conf *conf, FILE *out, struct err *err) MUST_CHECK;

/* The version of the library that parses, as in "3.3". */
const char *conf_library(void);

/* How many workers: the number, or the cores that this process may run on. */
unsigned conf_workers(const struct conf *conf);

/* The index of the pool that serves a listener. */
size_t conf_listener_pool(const struct conf *conf, const struct conf_listener *listener);

/* The path of the unix socket for operators (setting admin_socket), or NULL: there shall be none.
 * Cut when it does not fit, which conf_check() says. */
enum { CONF_SOCKET_PATH = 108 }; /* of sockaddr_un, with NUL */
const char *conf_admin_socket(const struct conf *conf, char out[CONF_SOCKET_PATH]);

#endif
