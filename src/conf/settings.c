/* The tables of settings, made of tables/settings.def. */
#include "conf/settings.h"

#include "conf/conf.h"

#define REQUIRED NULL

#define ROW(type, setting, KIND, default_text, range)                 \
    {                                                                 \
        .name = #setting, .def = default_text, .values = range,       \
        .offset = offsetof(struct type, setting), .kind = KIND_##KIND \
    }

static const struct setting global_settings[] = {
#define SETTING_GLOBAL(name, KIND, def, values, manual) ROW(conf_global, name, KIND, def, values),
#include "tables/settings.def"
};

static const struct setting listener_settings[] = {
#define SETTING_LISTENER(name, KIND, def, values, manual) \
    ROW(conf_listener, name, KIND, def, values),
#include "tables/settings.def"
};

static const struct setting tls_settings[] = {
#define SETTING_TLS(name, KIND, def, values, manual) ROW(conf_tls, name, KIND, def, values),
#include "tables/settings.def"
};

static const struct setting certificate_settings[] = {
#define SETTING_CERTIFICATE(name, KIND, def, values, manual) \
    ROW(conf_certificate, name, KIND, def, values),
#include "tables/settings.def"
};

static const struct setting directory_settings[] = {
#define SETTING_DIRECTORY(name, KIND, def, values, manual) \
    ROW(conf_directory, name, KIND, def, values),
#include "tables/settings.def"
};

static const struct setting pool_settings[] = {
#define SETTING_POOL(name, KIND, def, values, manual) ROW(conf_pool, name, KIND, def, values),
#include "tables/settings.def"
};

static const struct setting backend_settings[] = {
#define SETTING_BACKEND(name, KIND, def, values, manual) ROW(conf_backend, name, KIND, def, values),
#include "tables/settings.def"
};

#define SECTION(title, rows)                                             \
    {                                                                    \
        .name = title, .settings = rows, .n = sizeof rows / sizeof *rows \
    }

const struct section conf_sections[SECTIONS] = {
    [SECTION_GLOBAL] = SECTION("", global_settings),
    [SECTION_LISTENER] = SECTION("listener", listener_settings),
    [SECTION_TLS] = SECTION("tls", tls_settings),
    [SECTION_CERTIFICATE] = SECTION("certificate", certificate_settings),
    [SECTION_DIRECTORY] = SECTION("directory", directory_settings),
    [SECTION_POOL] = SECTION("pool", pool_settings),
    [SECTION_BACKEND] = SECTION("backend", backend_settings),
};
