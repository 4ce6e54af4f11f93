/* The files of TLS and of probes' passwords: read and checked at the start and by who prepares a
 * reload, and looked at when one of their dates comes near. */
#include "base/log.h"
#include "parent/certificates.h"
#include "parent/internal.h"
#include "parent/passwords.h"

#include <stdio.h>
#include <time.h>

/* At least once a day: an operator who overlooks a warning sees the next. */
enum { LOOK_MS = 24 * 60 * 60 * 1000 };

static void log_doubt(const struct certificates_finding *finding)
{
    struct log_line l;

    log_begin(&l, LOG_CERTIFICATE_DOUBTFUL);
    log_str(&l, "file", finding->file);
    log_str(&l, "detail", finding->text);
    log_end(&l);
}

/* Doubts go to the log, the first mistake into an error. */
static void on_finding(void *arg, const struct certificates_finding *finding)
{
    struct err *err = arg;

    if (!finding->is_mistake)
        log_doubt(finding);
    else if (!err->text[0])
        err_set(err, 0, "%s", finding->text);
}

static void on_date(void *arg, const struct certificates_finding *finding)
{
    (void)arg;
    log_doubt(finding);
}

int renew_read(const struct conf *conf, struct files *out_files, struct err *err)
{
    struct err first = {0};
    struct files files;
    unsigned mistakes;

    if (files_read(conf, &files, err) < 0)
        return -1;
    mistakes = certificates_check(conf, &files, time(NULL), on_finding, &first) +
               passwords_check(conf, &files, on_finding, &first);
    if (mistakes > 0) {
        files_free(&files);
        return mistakes == 1
                   ? err_set(err, 0, "%s", first.text)
                   : err_set(err, 0, "%s (and %u more: see usher check)", first.text, mistakes - 1);
    }
    *out_files = files;
    return 0;
}

static void ignore_finding(void *arg, const struct certificates_finding *finding)
{
    (void)arg;
    (void)finding;
}

/* Until tomorrow, or until the next date of a certificate. */
void renew_look(struct parent *p)
{
    const int64_t now = time(NULL);
    const int64_t next = certificates_look(p->conf, &p->current->files, now, ignore_finding, NULL);
    const bool is_today = next - now < LOOK_MS / 1000;

    deadline_set(p->loop, &p->look, is_today ? (uint64_t)(next - now) * 1000 : LOOK_MS);
}

static void on_look(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, look);

    (void)certificates_look(p->conf, &p->current->files, time(NULL), on_date, NULL);
    renew_look(p);
}

void renew_init(struct parent *p)
{
    deadline_init(&p->look, on_look);
}

void renew_use(struct parent *p, struct files *files)
{
    struct log_line l;

    files_free(&p->current->files);
    p->current->files = *files;
    *files = (struct files){0};
    generation_each(p->current, process_renew, NULL);
    renew_look(p);
    log_begin(&l, LOG_CERTIFICATES_RENEWED);
    log_uint(&l, "files", p->current->files.n);
    log_end(&l);
}
