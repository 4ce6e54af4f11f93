/* Admissions a second with a million known users, and what a user costs in memory who has a
 * placement (own storage), or affinity (shared storage).
 *
 *     bench_admission [known users] [admissions]
 *
 * One admission is OPEN, ADMIT, RESULT and END of one session, through the rules and tables alone:
 * no sockets, no state file. Times are of the processor. It is measured three times: with own and
 * with shared storage one login after the other; and with own storage in a crowd of CROWD logins at
 * one time, of which backends take BACKENDS * MAX_CONNECTING, so that nearly all pass through a
 * queue.
 */
#include "control/admission.h"
#include "control/load.h"
#include "control/route.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LIVE = 10000, BACKENDS = 16, OWN = 0, SHARED = 1, CROWD = 4096, MAX_CONNECTING = 50 };
enum { NOW_MS = 1000000 };

static unsigned long answers[4], counts[METRIC_COUNT];

/* Leases that were given, in their order; the verdicts on the first of them are there. */
static struct {
    struct {
        uint32_t id;
        struct lease_id lease;
    } ring[CROWD];
    unsigned long given, answered;
} leases;

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
    (void)w;
    (void)tail;
    leases.ring[leases.given % CROWD].id = id;
    leases.ring[leases.given++ % CROWD].lease = lease->lease;
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
    counts[metric]++;
}

static void on_queued(void *arg, uint32_t backend, size_t waiting, const char *limit)
{
    (void)arg;
    (void)backend;
    (void)waiting;
    (void)limit;
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
                                                 .queued = on_queued,
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
                                  "backend %s%d { address = \"10.0.%d.%d:10143\" "
                                  "max_connecting = %d }\n",
                                  pools[p], b, p, b + 1, MAX_CONNECTING);
        n += (size_t)snprintf(text + n, sizeof text - n, "}\n");
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "max_sessions = %d\n", 2 * LIVE + CROWD);
    return conf_load_text(text, "bench", &conf, err) < 0 ? NULL : conf;
}

/* Of the processor, so that others on the machine do not count. */
static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
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

/* Each user has an address, every eighth of IPv6, and a /48 of its own then: a crowd from one would
 * be made to wait as strangers. */
static struct addr address(unsigned long i)
{
    struct addr a = {0};
    char text[40];

    if (i % 8)
        snprintf(text, sizeof text, "10.%lu.%lu.%lu", i >> 16 & 0xff, i >> 8 & 0xff, i & 0xff);
    else
        snprintf(text, sizeof text, "2001:%lx:%lx::1", i >> 16 & 0xffff, i & 0xffff);
    addr_parse_ip(slice_str(text), 4711, &a);
    return a;
}

static void insist(const char *wrong)
{
    if (!wrong)
        return;
    fprintf(stderr, "%s\n", wrong);
    exit(1);
}

static void ask(struct admission *a, struct admission_worker *w, uint32_t id, uint32_t listener,
                unsigned long number)
{
    struct slice name = user(number);
    struct msg_open open = {.client = address(number)};
    struct msg_admit admit = {.client = open.client};

    insist(admission_open(a, w, id, (uint16_t)listener, &open));
    insist(admission_admit(a, w, id, &admit, name, NOW_MS));
}

/* The backend of the lease that has waited longest has taken the password. */
static void answer(struct admission *a, struct admission_worker *w)
{
    unsigned long i = leases.answered++ % CROWD;
    struct msg_result ok = {.lease = leases.ring[i].lease, .result = RESULT_OK};

    insist(admission_result(a, w, leases.ring[i].id, &ok, NOW_MS));
}

static void end(struct admission *a, struct admission_worker *w, uint32_t id)
{
    admission_end(a, w, id, &(struct msg_end){0}, NOW_MS);
}

/* With `crowd` logins at one time; each session lives while LIVE others come. */
static void measure(struct admission *a, struct admission_worker *w, uint32_t listener,
                    unsigned long users, uint32_t admissions, uint32_t crowd)
{
    unsigned long queued = counts[METRIC_LOGINS_QUEUED], done = answers[2];
    double start = now_s(), took;
    uint32_t asked = 0, ended = 0;

    leases.given = leases.answered = 0;
    while (answers[2] - done < admissions) {
        for (; asked < admissions && asked - (uint32_t)(answers[2] - done) < crowd; asked++)
            ask(a, w, asked, listener, scatter(asked, users));
        insist(leases.answered < leases.given ? NULL : "nobody has a lease");
        answer(a, w);
        for (; ended + LIVE + crowd < asked; ended++)
            end(a, w, ended);
    }
    for (; ended < asked; ended++)
        end(a, w, ended);
    took = now_s() - start;
    printf("%-7s %9.0f admissions/s, %u at one time, %.1f %% of which waited in a queue\n",
           listener == OWN ? "own" : "shared", admissions / took, crowd,
           100.0 * (double)(counts[METRIC_LOGINS_QUEUED] - queued) / admissions);
}

static size_t heap(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static void know(struct load *load, unsigned long users)
{
    struct err err;
    size_t before = heap();
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
    printf("memory  %9.1f bytes a user with a placement, of which %zu are the name of the last\n",
           (double)(heap() - before) / (double)users, user(users - 1).n);
}

/* Nothing of them is in control's own memory. Of a table that is nearly full some have gone. */
static void remember(const struct route *route, int fd, unsigned long users)
{
    unsigned long kept = 0;
    size_t before = heap();
    struct route_view view;
    struct stat st;

    for (unsigned long i = 0; i < users; i++)
        route_note(route, SHARED, user(i), (uint32_t)(BACKENDS + i % BACKENDS), NOW_MS);
    for (unsigned long i = 0; i < users; i++) {
        route_explain(route, SHARED, user(i), BACKEND_NONE, NOW_MS, &view);
        kept += view.affinity != BACKEND_NONE;
    }
    if (fstat(fd, &st) < 0)
        return;
    printf("memory  %9.1f bytes a user with affinity, %.1f of them on the heap; %lu of %lu are in "
           "the table of %d slots of %d bytes\n",
           (double)(st.st_blocks * 512 + (blkcnt_t)(heap() - before)) / (double)kept,
           (double)(heap() - before) / (double)kept, kept, users, (int)SHARED_SLOTS,
           (int)SHARED_SLOT);
}

static int map_memories(struct shared **shared, int *fds, struct err *err)
{
    for (unsigned i = 0; i < SHARED_COUNT; i++) {
        const char *lost;

        fds[i] = shared_create(err);
        if (fds[i] < 0 || shared_map(fds[i], &shared[i], &lost, err) < 0)
            return -1;
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
    int fds[SHARED_COUNT];
    struct admission *a = NULL;
    struct err err;
    struct conf *conf = make_conf(&err);
    struct admission_params params = {
        .conf = conf, .backends = &backends, .epoch = 1, .effects = &effects, .now_ms = NOW_MS};

    if (!conf || map_memories(shared, fds, &err) < 0 || backends_init(&backends, conf, &err) < 0 ||
        admission_new(&params, &a, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct load load = {admission_registry(a), &backends};

    printf("%lu known users, %u admissions, %d live sessions\n", users, admissions, LIVE);
    printf("session %9zu bytes, user %zu and the name, login %zu while it lasts\n",
           sizeof(struct session), sizeof(struct user), sizeof(struct login));
    know(&load, users);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        admission_share(a, (enum shared_id)i, shared[i]);
    remember(admission_route(a), fds[SHARED_AFFINITY], users);
    admission_start(a, 0, NOW_MS);
    admission_attach(a, &worker);
    measure(a, &worker, OWN, users, admissions, 1);
    measure(a, &worker, SHARED, users, admissions, 1);
    measure(a, &worker, OWN, users, admissions, CROWD);
    admission_detach(a, &worker, NOW_MS);
    admission_free(&a);
    backends_done(&backends);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        shared_unmap(&shared[i]);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        close(fds[i]);
    conf_free(&conf);
    return 0;
}
