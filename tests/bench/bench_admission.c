/* Admissions a second with a million known users, and what a known user costs in memory.
 *
 *     bench_admission [known users] [admissions]
 *
 * One admission is OPEN, ADMIT, RESULT and END of one session, through the rules and tables alone:
 * no sockets, no state file. Half of the time goes to pools with own, half with shared storage.
 */
#include "control/admission.h"
#include "control/load.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LIVE = 10000, BACKENDS = 16, OWN = 0, SHARED = 1 };

static unsigned long answers[4];

static void on_go(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    (void)w;
    (void)id;
    answers[0]++;
}

static void on_lease(void *arg, struct admission_worker *w, uint32_t id,
                     const struct msg_lease *lease, struct slice tail)
{
    (void)arg;
    (void)tail;
    (void)w;
    (void)id;
    answers[1]++;
}

static void on_done(void *arg, struct admission_worker *w, uint32_t id)
{
    (void)arg;
    (void)w;
    (void)id;
    answers[2]++;
}

static void on_refuse(void *arg, struct admission_worker *w, uint32_t id, enum refuse code,
                      const char *why, struct slice told)
{
    (void)arg;
    (void)told;
    (void)w;
    (void)code;
    fprintf(stderr, "session %u refused: %s\n", id, why);
    exit(1);
}

static void on_placed(void *arg, struct slice user, const char *pool, const char *backend)
{
    (void)arg;
    (void)user;
    (void)pool;
    (void)backend;
    answers[3]++;
}

static void on_held(void *arg, struct slice user, size_t waiting)
{
    (void)arg;
    (void)user;
    (void)waiting;
}

static void on_auth_failed(void *arg, const struct auth_failed *failed)
{
    (void)arg;
    (void)failed;
}

static void on_count(void *arg, enum metric metric)
{
    (void)arg;
    (void)metric;
}

static void on_recovered(void *arg, size_t sessions, size_t users)
{
    (void)arg;
    (void)sessions;
    (void)users;
}

static const struct admission_effects effects = {.go = on_go,
                                                 .lease = on_lease,
                                                 .done = on_done,
                                                 .refuse = on_refuse,
                                                 .placed = on_placed,
                                                 .held = on_held,
                                                 .auth_failed = on_auth_failed,
                                                 .count = on_count,
                                                 .recovered = on_recovered};

static struct conf *make_conf(struct err *err)
{
    static const char *const pools[] = {"own", "shared"};
    static char text[16384];
    struct conf *conf;
    size_t n = 0;

    for (int p = 0; p < 2; p++) {
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "listener %s { address = \"*:%d\" pool = %s }\n"
                              "pool %s { storage = %s\n",
                              pools[p], p + 1, pools[p], pools[p], pools[p]);
        for (int b = 0; b < BACKENDS; b++)
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  "backend %s%d { address = \"10.0.%d.%d:10143\" }\n", pools[p], b,
                                  p, b + 1);
        n += (size_t)snprintf(text + n, sizeof text - n, "}\n");
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "max_sessions = %d\n", 2 * LIVE);
    return conf_load_text(text, "bench", &conf, err) < 0 ? NULL : conf;
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct slice user(unsigned long i)
{
    static char name[48];

    return slice_of(name, (size_t)snprintf(name, sizeof name, "user%lu@example.org", i));
}

/* The i-th user of a sequence that visits all of them in no order. */
static unsigned long scatter(unsigned long i, unsigned long users)
{
    return i * 2654435761UL % users;
}

/* Each user has an address, and every eighth comes by IPv6. */
static struct addr address(unsigned long i)
{
    struct addr a = {0};
    char text[40];

    snprintf(text, sizeof text, i % 8 ? "10.%lu.%lu.%lu" : "2001:db8:%lx:%lx::%lx", i >> 16 & 0xff,
             i >> 8 & 0xff, i & 0xff);
    addr_parse_ip(slice_str(text), 4711, &a);
    return a;
}

static void log_in(struct admission *a, struct admission_worker *w, uint32_t id, uint32_t listener,
                   unsigned long number)
{
    struct slice name = user(number);
    struct msg_open open = {.listener = listener, .client = address(number)};
    struct msg_admit admit = {.client = open.client};
    struct msg_result ok = {.result = RESULT_OK};
    const char *wrong = admission_open(a, w, id, &open);

    if (!wrong)
        wrong = admission_admit(a, w, id, &admit, name, 1000000);
    ok.lease = last.lease;
    if (!wrong)
        wrong = admission_result(a, w, id, &ok, 1000000);
    if (wrong) {
        fprintf(stderr, "%s\n", wrong);
        exit(1);
    }
}

/* Each session lives while LIVE others come. */
static void measure(struct admission *a, struct admission_worker *w, uint32_t listener,
                    unsigned long users, uint32_t admissions)
{
    double start = now_s(), took;

    for (uint32_t i = 0; i < admissions; i++) {
        if (i >= LIVE)
            admission_end(a, w, i - LIVE, &(struct msg_end){0}, 1000000);
        log_in(a, w, i, listener, scatter(i, users));
    }
    for (uint32_t i = admissions < LIVE ? 0 : admissions - LIVE; i < admissions; i++)
        admission_end(a, w, i, &(struct msg_end){0}, 1000000);
    took = now_s() - start;
    printf("%-7s %9.0f admissions/s\n", listener == OWN ? "own" : "shared", admissions / took);
}

static void know(struct load *load, unsigned long users)
{
    struct err err;
    struct mallinfo2 before = mallinfo2();
    double start = now_s();

    for (unsigned long i = 0; i < users; i++) {
        char backend[16];

        snprintf(backend, sizeof backend, "own%lu", i % BACKENDS);
        if (load_rows.placement(load, SLICE("own"), user(i), slice_str(backend), &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
    }
    printf("loaded  %9.0f users/s\n", (double)users / (now_s() - start));
    printf("memory  %9.1f bytes a known user, of which %zu are the name of the last\n",
           (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before.uordblks - before.hblkhd) /
               (double)users,
           user(users - 1).n);
}

static int map_memories(struct shared **shared, struct err *err)
{
    for (unsigned i = 0; i < SHARED_COUNT; i++) {
        const char *lost;
        int fd = shared_create(err);

        if (fd < 0 || shared_map(fd, &shared[i], &lost, err) < 0)
            return -1;
        close(fd);
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long users = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    uint32_t admissions = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000000;
    struct admission_worker worker;
    struct backends backends;
    struct shared *shared[SHARED_COUNT];
    struct admission *a = NULL;
    struct err err;
    struct conf *conf = make_conf(&err);
    struct admission_params params = {
        .conf = conf, .backends = &backends, .epoch = 1, .effects = &effects, .now_ms = 1};

    if (!conf || map_memories(shared, &err) < 0 || backends_init(&backends, conf, &err) < 0 ||
        admission_new(&params, &a, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct load load = {admission_registry(a), &backends};

    printf("%lu known users, %u admissions, %d live sessions\n", users, admissions, LIVE);
    printf("session %9zu bytes, user %zu and the name\n", sizeof(struct session),
           sizeof(struct user));
    know(&load, users);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        admission_share(a, (enum shared_id)i, shared[i]);
    admission_start(a, 0, 1);
    admission_attach(a, &worker);
    measure(a, &worker, OWN, users, admissions);
    measure(a, &worker, SHARED, users, admissions);
    admission_detach(a, &worker, 1);
    admission_free(&a);
    backends_done(&backends);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        shared_unmap(&shared[i]);
    conf_free(&conf);
    return 0;
}
