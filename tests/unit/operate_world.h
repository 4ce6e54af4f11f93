/* The world of admission_world.h with an operator in it, and a state file. */
#ifndef USHER_TESTS_OPERATE_WORLD_H
#define USHER_TESTS_OPERATE_WORLD_H

#include "admission_world.h"

#include "base/log.h"
#include "control/operate.h"

#include <fcntl.h>
#include <sqlite3.h>

static struct operate *operate;
static struct state *state_file;
static char state_dir[64], state_name[96];

static inline int strand_by_operate(struct user *u, uint32_t to)
{
    return operate_strand(operate, u, to, now_ms, &err);
}

static inline uint32_t backend(const char *title)
{
    return backends_number(&backends, slice_str(title));
}

static inline void begin_operating(void)
{
    const struct operate_params params = {
        .conf = conf, .backends = &backends, .admission = admission};
    struct operate_params with_state = params;

    if (state_open(state_dir, &state_file, &err) < 0 ||
        state_load(state_file, &load_rows, &loading, &err) < 0)
        fail_msg("%s", err.text);
    with_state.state = state_file;
    assert_int_equal(operate_new(&with_state, &operate, &err), 0);
    strand = strand_by_operate;
}

static inline void end_operating(void)
{
    operate_free(&operate);
    state_close(&state_file);
}

static inline int setup_operating(void **unused)
{
    strcpy(state_dir, "/tmp/usher-operate-XXXXXX");
    if (setup(unused) < 0 || !mkdtemp(state_dir))
        return -1;
    snprintf(state_name, sizeof state_name, "%s/%s", state_dir, STATE_FILE);
    log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LEVEL_INFO);
    begin_operating();
    return 0;
}

static inline int teardown_operating(void **unused)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};

    end_operating();
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[128];

        snprintf(name, sizeof name, "%s%s", state_name, suffixes[i]);
        unlink(name);
    }
    rmdir(state_dir);
    return teardown(unused);
}

/* Control dies and the next one has begun; workers 0 and 1 have not replayed yet. */
static inline void reboot(void)
{
    end_operating();
    end_control();
    new_control();
    begin_operating();
    admission_start(admission, 2, now_ms);
    attach(0);
    attach(1);
    hush();
}

static inline void all_have_replayed(void)
{
    must(admission_replayed(admission, &workers[0], now_ms));
    must(admission_replayed(admission, &workers[1], now_ms));
    hush();
}

/* Another program has the state file, so that nothing can be written. */
static inline sqlite3 *lock_state(void)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(state_name, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static inline void pass(uint64_t ms)
{
    const uint64_t until = now_ms + ms;
    uint64_t due;

    while ((due = operate_due_ms(operate)) != 0 && due <= until) {
        now_ms = due > now_ms ? due : now_ms;
        operate_tick(operate, now_ms);
    }
    now_ms = until;
    admission_tick(admission, now_ms);
}

static inline void works(int result)
{
    if (result < 0)
        fail_msg("%s", err.text);
}

/* It has failed, with these words in its error. */
static inline void fails(int result, const char *words)
{
    assert_int_equal(result, -1);
    if (!strstr(err.text, words))
        fail_msg("no \"%s\" in \"%s\"", words, err.text);
}

static inline int move(const char *user, const char *to)
{
    return operate_move(operate, slice_str(user), backend(to), now_ms, &err);
}

static inline struct operate_status status(void)
{
    struct operate_status s;

    operate_status(operate, &s);
    return s;
}

static inline struct operate_route route_of(uint16_t pool, const char *user)
{
    struct operate_route r;

    works(operate_route(operate, pool, slice_str(user), BACKEND_NONE, now_ms, &r, &err));
    free(r.hash);
    r.hash = NULL;
    return r;
}

/* A backend of pool shared that is none of these; the second may be NULL. */
static inline const char *other(const char *a, const char *b)
{
    static const char *const titles[] = {"s1", "s2", "s3"};

    for (size_t i = 0; i < 3; i++) {
        if (strcmp(titles[i], a) != 0 && (!b || strcmp(titles[i], b) != 0))
            return titles[i];
    }
    fail();
    return NULL;
}

#define OPERATING(name) cmocka_unit_test_setup_teardown(name, setup_operating, teardown_operating)

/* --- many users --- */

static const char *const crowd[] = {"u1", "u2", "u3", "u4", "u5"};
enum { CROWD = 5 };

/* All of them on one backend, with sessions 1 to 5 of worker 0. */
static inline void gather_on(const char *title)
{
    for (uint32_t i = 0; i < CROWD; i++) {
        placement("own", crowd[i], title);
        assert_string_equal(log_in(0, i + 1, OWN, crowd[i]), title);
    }
}

static inline size_t times_told(const char *words)
{
    size_t n = 0;

    for (const char *at = told; (at = strstr(at, words)) != NULL; at++)
        n++;
    return n;
}

#endif
