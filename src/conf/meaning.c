/* What a backend means to a worker, as a number: conf_meaning(). */
#include "conf/diff.h"

#include "base/hash.h"
#include "base/slice.h"
#include "conf/settings.h"
#include "conf/value.h"

#include <endian.h>

/* Which settings count. Each of a pool and of a backend has a line here, and who adds one decides,
 * since without a line this does not compile.
 *
 * UNSEEN: a worker that serves a login does not look at it; it is control's, or of probes. Else the
 * value with which it is as if the setting were not there: its default in the release that it came
 * with. This stays when the default changes, so that two releases have the same number only where
 * they do the same.
 *
 * What stands outside of pools does not count: it is about clients, limits, times, or usher itself.
 * If such a setting is ever to bear on how backends are logged in to, it belongs into this table.
 */
#define UNSEEN NULL

#define POOL_storage             UNSEEN
#define POOL_place               UNSEEN
#define POOL_try_rate            UNSEEN
#define POOL_tags                UNSEEN
#define POOL_unavailable_text    UNSEEN
#define POOL_check               UNSEEN
#define POOL_check_interval      UNSEEN
#define POOL_check_fast_interval UNSEEN
#define POOL_check_timeout       UNSEEN
#define POOL_check_rise          UNSEEN
#define POOL_check_fall          UNSEEN
#define POOL_check_user          UNSEEN
#define POOL_check_password      UNSEEN
#define POOL_passive_fall        UNSEEN
#define POOL_on_down             UNSEEN
#define POOL_slow_start          UNSEEN
#define POOL_return_rate         UNSEEN
#define POOL_queue_timeout       UNSEEN

#define BACKEND_address          "" /* control gives it resolved, but tls_name goes by it too */
#define BACKEND_weight           UNSEEN
#define BACKEND_backup           UNSEEN
#define BACKEND_max_sessions     UNSEEN
#define BACKEND_max_connecting   UNSEEN
#define BACKEND_login_rate       UNSEEN
#define BACKEND_tls              "off"
#define BACKEND_tls_verify       "yes"
#define BACKEND_tls_ca           ""
#define BACKEND_tls_name         ""
#define BACKEND_tls_pin          ""
#define BACKEND_tls_certificate  ""
#define BACKEND_tls_key          ""
#define BACKEND_tls_min_version  "1.2"
#define BACKEND_tls_ciphers      ""
#define BACKEND_tls_ciphersuites ""
#define BACKEND_proxy            "off"
#define BACKEND_forward_id       "no"
#define BACKEND_source           ""

/* In the order of conf_sections. */
static const char *const pool_unused[] = {
#define SETTING_POOL(name, KIND, def, values, manual) POOL_##name,
#include "tables/settings.def"
};

static const char *const backend_unused[] = {
#define SETTING_BACKEND(name, KIND, def, values, manual) BACKEND_##name,
#include "tables/settings.def"
};

/* Piece after piece, each hashed by itself, so that none runs into the next. */
static void fold(uint64_t *meaning, struct slice piece)
{
    const uint64_t both[] = {htobe64(*meaning), htobe64(hash_stable(piece).high)};

    *meaning = hash_stable(slice_of(both, sizeof both)).high;
}

static void fold_number(uint64_t *meaning, uint64_t number)
{
    const uint64_t bytes = htobe64(number);

    fold(meaning, slice_of(&bytes, sizeof bytes));
}

static void fold_list(uint64_t *meaning, const struct conf_list *list)
{
    fold_number(meaning, list->n);
    for (size_t i = 0; i < list->n; i++)
        fold(meaning, slice_str(list->items[i]));
}

/* A choice counts by its word: releases may number them otherwise. */
static void fold_value(uint64_t *meaning, const struct setting *s, const void *object)
{
    const void *member = setting_value(s, object);

    switch ((enum setting_kind)s->kind) {
    case KIND_STR:
    case KIND_PATH:
        fold(meaning, slice_str(*(const char *const *)member));
        break;
    case KIND_LIST:
        fold_list(meaning, member);
        break;
    case KIND_BOOL:
        fold_number(meaning, *(const bool *)member);
        break;
    case KIND_INT:
    case KIND_DURATION:
        fold_number(meaning, *(const uint32_t *)member);
        break;
    case KIND_SIZE:
        fold_number(meaning, *(const uint64_t *)member);
        break;
    case KIND_CHOICE:
        fold(meaning, value_word(s, object));
        break;
    }
}

static void fold_settings(uint64_t *meaning, enum section_id id, const char *const *unused,
                          const void *object)
{
    for (size_t i = 0; i < conf_sections[id].n; i++) {
        struct setting s = conf_sections[id].settings[i];

        s.def = unused[i];
        if (!s.def || value_is_default(&s, object))
            continue;
        fold(meaning, slice_str(s.name));
        fold_value(meaning, &s, object);
    }
}

uint64_t conf_meaning(const struct conf *conf, size_t pool, size_t backend)
{
    const struct conf_pool *p = &conf->pools[pool];
    const struct conf_backend *b = &p->backends[backend];
    uint64_t meaning = 0;

    fold(&meaning, slice_str(p->title));
    fold(&meaning, slice_str(b->title));
    fold_settings(&meaning, SECTION_POOL, pool_unused, p);
    fold_settings(&meaning, SECTION_BACKEND, backend_unused, b);
    return meaning;
}
