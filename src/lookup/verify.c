/* Hashing threads; see lookup/verify.h. The loop's thread puts jobs into a line, the others take
 * them from there and put them into another, and wake the loop. */
#include "lookup/verify.h"

#include "base/list.h"
#include "base/secret.h"
#include "ipc/message.h"

#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* libcrypt's own needs are below a tenth; sanitizers take more. */
enum { STACK = 1024 * 1024 };

/* Of secret memory, `n` bytes. */
struct job {
    struct list node; /* in waiting, at a thread, or in ended */
    size_t n;
    uint64_t until_ms;
    uint64_t round; /* in which it is its party's turn */
    uint32_t party;
    enum verify_verdict verdict;
    verify_done *done;
    void *arg;
    const char *password, *hash; /* NUL-terminated, in `bytes` */
    char bytes[];
};

struct thread {
    pthread_t id;
    struct verify *verify;
    struct crypt_data *data; /* secret memory */
};

struct verify {
    struct loop *loop;
    struct watch ended_watch; /* an eventfd */
    struct thread threads[VERIFY_THREADS_MAX];
    unsigned threads_n;
    /* All below is under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t has_changed; /* more waits, a thread has begun, or all are to end */
    struct list waiting, ended; /* waiting: by rounds */
    uint64_t round;             /* of the last that was begun */
    unsigned waiting_n, begun_n;
    bool is_ending;
};

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- in the threads --------------------------------------------------------------------------- */

/* Only "$...": what has no such beginning is traditional DES or its kin, or no hash at all. */
static enum verify_verdict judge(const struct job *job, struct crypt_data *data)
{
    struct slice hash = slice_str(job->hash), made;
    const char *text;

    if (hash.n == 0 || hash.p[0] != '$')
        return VERIFY_NO_HASH;
    errno = 0;
    text = crypt_rn(job->password, job->hash, data, (int)sizeof *data);
    if (!text)
        return errno == EINVAL ? VERIFY_NO_HASH : VERIFY_FAILED;
    made = slice_str(text);
    /* A mere setting, from which a hash could be made. */
    if (made.n > hash.n && slice_eq_secret(slice_sub(made, 0, hash.n), hash))
        return VERIFY_NO_HASH;
    return slice_eq_secret(made, hash) ? VERIFY_RIGHT : VERIFY_WRONG;
}

static void work(struct job *job, struct crypt_data *data)
{
    if (now_ms() > job->until_ms) {
        job->verdict = VERIFY_FAILED;
        return;
    }
    job->verdict = judge(job, data);
    wipe(data, sizeof *data);
}

/* Under the lock. NULL: all are to end. */
static struct job *next_job(struct verify *v)
{
    struct job *job;

    while (!v->is_ending && list_empty(&v->waiting))
        pthread_cond_wait(&v->has_changed, &v->lock);
    if (v->is_ending)
        return NULL;
    job = CONTAINER(v->waiting.next, struct job, node);
    list_remove(&job->node);
    v->waiting_n--;
    v->round = job->round;
    return job;
}

static void *run(void *arg)
{
    const struct thread *t = arg;
    struct verify *v = t->verify;
    struct job *job;

    pthread_mutex_lock(&v->lock);
    v->begun_n++;
    pthread_cond_broadcast(&v->has_changed);
    while ((job = next_job(v))) {
        pthread_mutex_unlock(&v->lock);
        work(job, t->data);
        pthread_mutex_lock(&v->lock);
        list_append(&v->ended, &job->node);
        (void)eventfd_write(v->ended_watch.io.fd, 1);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

/* --- in the loop ------------------------------------------------------------------------------ */

static struct job *next_ended(struct verify *v)
{
    struct job *job = NULL;

    pthread_mutex_lock(&v->lock);
    if (!list_empty(&v->ended)) {
        job = CONTAINER(v->ended.next, struct job, node);
        list_remove(&job->node);
    }
    pthread_mutex_unlock(&v->lock);
    return job;
}

static void on_ended(struct watch *watch, unsigned events)
{
    struct verify *v = CONTAINER(watch, struct verify, ended_watch);
    struct job *job;
    eventfd_t ignored;

    (void)events;
    (void)eventfd_read(watch->io.fd, &ignored);
    while ((job = next_ended(v))) {
        verify_done *done = job->done;
        void *arg = job->arg;
        enum verify_verdict verdict = job->verdict;

        secret_free(job, job->n);
        done(arg, verdict);
    }
}

static struct job *new_job(struct slice password, struct slice hash)
{
    size_t n = sizeof(struct job) + password.n + 1 + hash.n + 1;
    struct job *job = secret_alloc(n);

    if (!job)
        return NULL;
    memset(job, 0, n);
    job->n = n;
    job->password = job->bytes;
    job->hash = job->bytes + password.n + 1;
    if (password.n)
        memcpy(job->bytes, password.p, password.n);
    if (hash.n)
        memcpy(job->bytes + password.n + 1, hash.p, hash.n);
    return job;
}

/* Under the lock: behind all of its round, which is the one after that of its party's last. */
static void wait_in_line(struct verify *v, struct job *job)
{
    struct list *before = &v->waiting;

    job->round = v->round;
    list_for_each (it, &v->waiting) {
        const struct job *other = CONTAINER(it, struct job, node);

        if (other->party == job->party)
            job->round = other->round + 1;
    }
    while (before->prev != &v->waiting &&
           CONTAINER(before->prev, struct job, node)->round > job->round)
        before = before->prev;
    list_append(before, &job->node);
    v->waiting_n++;
}

bool verify_password(struct verify *v, uint32_t party, struct slice password, struct slice hash,
                     uint32_t within_ms, verify_done *done, void *arg)
{
    struct job *job = v->threads_n > 0 ? new_job(password, hash) : NULL;
    bool is_full;

    if (!job)
        return false;
    job->until_ms = now_ms() + within_ms;
    job->party = party;
    job->done = done;
    job->arg = arg;
    pthread_mutex_lock(&v->lock);
    is_full = v->waiting_n >= VERIFY_WAITING_MAX;
    if (!is_full) {
        wait_in_line(v, job);
        pthread_cond_signal(&v->has_changed);
    }
    pthread_mutex_unlock(&v->lock);
    if (is_full)
        secret_free(job, job->n);
    return !is_full;
}

/* --- beginning and end ------------------------------------------------------------------------ */

struct verify *verify_new(struct loop *loop, struct err *err)
{
    struct verify *v = calloc(1, sizeof *v);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (!v || fd < 0) {
        (void)err_sys(err, v ? errno : ENOMEM, "verifying passwords");
        if (fd >= 0)
            close(fd);
        free(v);
        return NULL;
    }
    v->loop = loop;
    list_init(&v->waiting);
    list_init(&v->ended);
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->has_changed, NULL);
    watch_init(&v->ended_watch, fd, on_ended);
    watch_set(loop, &v->ended_watch, LOOP_READ);
    return v;
}

static int begin_thread(struct verify *v, const pthread_attr_t *attr, struct err *err)
{
    struct thread *t = &v->threads[v->threads_n];
    int code;

    t->verify = v;
    t->data = secret_alloc(sizeof *t->data);
    if (!t->data)
        return err_sys(err, ENOMEM, "verifying passwords");
    memset(t->data, 0, sizeof *t->data);
    code = pthread_create(&t->id, attr, run, t);
    if (code != 0) {
        secret_free(t->data, sizeof *t->data);
        return err_sys(err, code, "cannot begin a thread that verifies passwords");
    }
    v->threads_n++;
    return 0;
}

int verify_begin(struct verify *v, struct err *err)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    pthread_attr_t attr;
    int done = 0;

    INSIST(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, STACK) == 0);
    do {
        done = begin_thread(v, &attr, err);
    } while (done == 0 && v->threads_n < VERIFY_THREADS_MAX && v->threads_n < processors);
    pthread_attr_destroy(&attr);
    pthread_mutex_lock(&v->lock);
    while (v->begun_n < v->threads_n)
        pthread_cond_wait(&v->has_changed, &v->lock);
    pthread_mutex_unlock(&v->lock);
    return done;
}

static void drop_jobs(struct list *jobs)
{
    list_for_each_safe (it, jobs) {
        struct job *job = CONTAINER(it, struct job, node);

        list_remove(it);
        secret_free(job, job->n);
    }
}

/* Says whether all have ended. */
static bool end_threads(struct verify *v)
{
    struct timespec until;

    pthread_mutex_lock(&v->lock);
    v->is_ending = true;
    pthread_cond_broadcast(&v->has_changed);
    pthread_mutex_unlock(&v->lock);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += VERIFY_END_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    for (; v->threads_n > 0; v->threads_n--) {
        struct thread *t = &v->threads[v->threads_n - 1];

        if (pthread_clockjoin_np(t->id, NULL, CLOCK_MONOTONIC, &until) != 0)
            return false;
        secret_free(t->data, sizeof *t->data);
    }
    return true;
}

bool verify_free(struct verify **verify)
{
    struct verify *v = *verify;

    if (!v)
        return true;
    *verify = NULL;
    watch_set(v->loop, &v->ended_watch, 0);
    if (!end_threads(v))
        return false;
    drop_jobs(&v->waiting);
    drop_jobs(&v->ended);
    close(v->ended_watch.io.fd);
    pthread_cond_destroy(&v->has_changed);
    pthread_mutex_destroy(&v->lock);
    free(v);
    return true;
}
