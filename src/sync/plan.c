/* What is to be done; see sync/plan.h. */
#include "sync/plan.h"

#include "base/hash.h"
#include "base/map.h"
#include "sync/folder.h"
#include "sync/names.h"
#include "sync/report.h"
#include "sync/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 8192 };

struct planning {
    struct lane *lane;
    struct sync *sync;
    const struct sync_params *params;
    struct mailboxes from, to;
    struct naming *names;
    struct job *jobs;
    struct taken *taken; /* one a job */
    struct map by_name;  /* of these */
    size_t n;
    struct buf name;
};

/* --- jobs ------------------------------------------------------------------------------------- */

static void jobs_free(struct job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(jobs[i].from);
        free(jobs[i].to);
    }
    free(jobs);
}

void plan_done(struct plan *plan)
{
    jobs_free(plan->jobs, plan->n);
    *plan = (struct plan){0};
}

static void be_refused(struct sync_folder *f, const void *arg)
{
    const struct data_status *status = arg;

    f->state = FOLDER_REFUSED;
    f->from_messages = status->messages;
}

/* A folder that is not carried is in the report all the same. */
static int refuse(struct planning *p, const struct mailbox *box, struct slice to,
                  enum sync_reason reason, const char *words, struct err *err)
{
    uint32_t folder;

    if (sync_add_folder(p->sync, slice_str(box->name), to, &folder, err) < 0)
        return -1;
    sync_change(p->sync, folder, be_refused, &box->status);
    sync_issue(p->sync, reason, folder, 0, 0, (struct slice){0}, "%s", words);
    return 0;
}

/* A name of the target that is taken, in planning.taken. */
struct taken {
    struct map_node node;
    const struct job *job;
};

struct wanted {
    struct slice to;
    char separator;
};

static bool is_taken(const struct map_node *node, const void *key)
{
    const struct taken *taken = (const struct taken *)(const void *)node;
    const struct wanted *wanted = key;

    return names_are_same(slice_str(taken->job->to), wanted->to, wanted->separator);
}

/* The same for names that names_are_same() says to be the same. */
static uint64_t name_hash(struct slice to, char separator)
{
    char folded[NAME_MOST];

    INSIST(to.n <= sizeof folded);
    memcpy(folded, to.p, to.n);
    if (slice_istarts(to, SLICE("INBOX")) && (to.n == 5 || to.p[5] == separator))
        memcpy(folded, "INBOX", 5);
    return hash_key(slice_of(folded, to.n));
}

static const struct job *job_with(const struct planning *p, struct slice to)
{
    const struct wanted wanted = {.to = to, .separator = p->to.separator};
    const struct map_node *node =
        map_find(&p->by_name, name_hash(to, p->to.separator), is_taken, &wanted);

    return node ? ((const struct taken *)(const void *)node)->job : NULL;
}

static int take_name(struct planning *p, const struct job *job, struct err *err)
{
    struct taken *taken = &p->taken[p->n];

    taken->job = job;
    if (map_insert(&p->by_name, &taken->node, name_hash(slice_str(job->to), p->to.separator)) < 0)
        return err_set(err, ENOMEM, "no memory for the list of folders");
    return 0;
}

static bool target_has_use(const struct planning *p, const char *use)
{
    for (size_t i = 0; i < p->to.n; i++) {
        if (slice_ieq(slice_str(p->to.all[i].use), slice_str(use)))
            return true;
    }
    return false;
}

static int add_job(struct planning *p, const struct mailbox *box, struct slice to, struct err *err)
{
    const struct mailbox *target = mailboxes_find(&p->to, to);
    const struct job *other = job_with(p, to);
    struct job *job = &p->jobs[p->n];
    char words[NAME_MOST];

    if (other) {
        snprintf(words, sizeof words,
                 "\"%s\" goes to \"%.*s\" already; --f1f2 gives it another name", other->from,
                 SLICE_ARG(to));
        return refuse(p, box, to, REASON_NAME_COLLIDES, words, err);
    }
    *job = (struct job){.from = slice_dup(slice_str(box->name)),
                        .to = slice_dup(to),
                        .from_status = box->status,
                        .has_to = target && !(target->is & MAILBOX_NOSELECT),
                        .wants_subscription = box->is & MAILBOX_SUBSCRIBED &&
                                              !(target && target->is & MAILBOX_SUBSCRIBED),
                        .lacks_use = box->use[0] && target_has_use(p, box->use)};
    memcpy(job->use, box->use, sizeof job->use);
    if (target)
        job->to_status = target->status;
    if (!job->from || !job->to ||
        sync_add_folder(p->sync, slice_str(job->from), to, &job->folder, err) < 0) {
        free(job->from);
        free(job->to);
        return err_set(err, ENOMEM, "no memory for the list of folders");
    }
    if (take_name(p, job, err) < 0) {
        free(job->from);
        free(job->to);
        return -1;
    }
    p->n++;
    sync_known(p->sync, 1, box->status.messages, box->status.size);
    return 0;
}

/* --- names ------------------------------------------------------------------------------------ */

static int map_one(struct planning *p, const struct mailbox *box, struct err *err)
{
    struct err why = {0};

    if (box->is & MAILBOX_NOSELECT)
        return 0; /* nothing lies in it; it comes into being at the target with what is below it */
    buf_take(&p->name, buf_len(&p->name));
    if (box->is & MAILBOX_UNFIT) {
        return refuse(p, box, (struct slice){0}, REASON_NAME_UNFIT,
                      "its name is neither modified UTF-7 nor UTF-8", err);
    }
    switch (naming_map(p->names, slice_str(box->name), slice_str(box->use), &p->name, &why)) {
    case NAMES_GO:
        return add_job(p, box, buf_slice(&p->name), err);
    case NAMES_LEFT:
        return 0;
    case NAMES_UNFIT:
        return refuse(p, box, (struct slice){0}, REASON_NAME_UNFIT, why.text, err);
    case NAMES_FAILED:
        break;
    }
    *err = why;
    return -1;
}

static int map_all(struct planning *p, struct err *err)
{
    const char *option, *word;

    p->jobs = calloc(p->from.n + 1, sizeof *p->jobs);
    p->taken = calloc(p->from.n + 1, sizeof *p->taken);
    if (!p->jobs || !p->taken)
        return err_set(err, ENOMEM, "no memory for the list of folders");
    for (size_t i = 0; i < p->from.n; i++) {
        if (map_one(p, &p->from.all[i], err) < 0)
            return -1;
    }
    for (size_t i = 0; naming_unused(p->names, i, &option, &word); i++) {
        if (strcmp(option, "--subfolder1") == 0) {
            (void)err_set(err, 0, "the source has no folder \"%s\" (--subfolder1)", word);
            sync_give_up(p->sync, SYNC_EXIT_SUBFOLDER1_NO_EXISTS, err);
            return -1;
        }
        sync_issue(p->sync, REASON_FOLDER_UNKNOWN, UINT32_MAX, 0, 0, (struct slice){0}, "%s \"%s\"",
                   option, word);
    }
    return 0;
}

static int make_names(struct planning *p, struct err *err)
{
    const struct sync_choice *choice = &p->params->choice;
    struct names_space from = {slice_str(p->from.prefix), p->from.separator};
    struct names_space to = {slice_str(p->to.prefix), p->to.separator};

    if (naming_new(choice, from, to, &p->names, err) < 0)
        return -1;
    for (size_t i = 0; choice->automap && i < p->to.n; i++) {
        const struct mailbox *box = &p->to.all[i];

        if (!(box->is & MAILBOX_NOSELECT) &&
            naming_add_use(p->names, slice_str(box->use), slice_str(box->name), err) < 0)
            return -1;
    }
    for (size_t i = 0; choice->automap && i < p->from.n; i++) {
        const struct mailbox *box = &p->from.all[i];

        if (!(box->is & (MAILBOX_NOSELECT | MAILBOX_UNFIT)) &&
            naming_add_source_use(p->names, slice_str(box->use), slice_str(box->name), err) < 0)
            return -1;
    }
    return 0;
}

/* --- all -------------------------------------------------------------------------------------- */

/* Of one side; of the other at the same time. */
struct listed {
    struct mailboxes *out;
    struct err refusal; /* of the server; "" none */
};

static int list_one(struct lane *lane, bool is_from, void *arg, struct err *err)
{
    struct listed *listed = &((struct listed *)arg)[is_from ? 0 : 1];
    const char *who = is_from ? "source" : "target";
    struct link_answer answer;

    if (mailboxes_list(is_from ? lane->from : lane->to, listed->out, &answer, err) < 0)
        return err_prefix(err, "the list of folders of the %s", who);
    if (answer.kind != RESPONSE_OK)
        (void)err_set(&listed->refusal, 0, "the %s does not list its folders: %.*s", who,
                      SLICE_ARG(answer.text));
    return 0;
}

static int list_both(struct planning *p, struct err *err)
{
    struct listed listed[2] = {{.out = &p->from}, {.out = &p->to}};

    if (lane_both(p->lane, list_one, listed, err) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        if (listed[i].refusal.text[0]) {
            *err = listed[i].refusal;
            sync_give_up(p->sync, SYNC_EXIT_CATCH_ALL, err);
            return -1;
        }
    }
    return 0;
}

static int make(struct planning *p, struct err *err)
{
    return list_both(p, err) < 0 || make_names(p, err) < 0 ? -1 : map_all(p, err);
}

int plan_make(struct lane *lane, struct plan *plan, struct err *err)
{
    struct planning p = {.lane = lane, .sync = lane->sync, .params = sync_params(lane->sync)};
    int result;

    buf_init(&p.name, NAME_MOST, false);
    map_init(&p.by_name);
    result = make(&p, err);
    if (result == 0)
        *plan = (struct plan){.jobs = p.jobs, .n = p.n};
    else
        jobs_free(p.jobs, p.n);
    map_done(&p.by_name);
    free(p.taken);
    naming_free(&p.names);
    mailboxes_free(&p.from);
    mailboxes_free(&p.to);
    buf_release(&p.name);
    return result;
}
