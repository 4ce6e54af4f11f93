/* Making at the target what it lacks; see sync/plan.h.
 *
 * Step by step, each for all jobs, with many of them in flight. When a link breaks nobody knows
 * over which of them it did: the first that is not done goes alone then, and behind it twice as
 * many each time. So whatever breaks a link comes to be alone, and is refused when it breaks it
 * once more. */
#include "sync/plan.h"

#include "sync/folder.h"
#include "sync/journal.h"
#include "sync/report.h"
#include "sync/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 256 };

/* --- the steps -------------------------------------------------------------------------------- */

static void be_refused(struct sync_folder *f, const void *arg)
{
    const struct data_status *status = arg;

    f->state = FOLDER_REFUSED;
    f->from_messages = status->messages;
}

static void refuse(struct lane *lane, struct job *job, const char *words)
{
    job->is_refused = true;
    sync_issue(lane->sync, REASON_CREATE_REFUSED, job->folder, 0, 0, (struct slice){0}, "%s",
               words);
    sync_change(lane->sync, job->folder, be_refused, &job->from_status);
}

static bool is_to_be_made(const struct sync_params *params, const struct job *job)
{
    (void)params;
    return !job->has_to && !job->is_refused;
}

static void take_made(struct lane *lane, struct job *job, const struct mailbox_new *box)
{
    if (box->refusal) {
        refuse(lane, job, box->refusal);
        return;
    }
    if (!box->is_made)
        return;
    job->has_to = true;
    sync_log(lane->sync, "made the folder %s", job->to);
    if (job->use[0] && !box->has_use)
        sync_issue(lane->sync, REASON_SPECIAL_USE, job->folder, 0, 0, (struct slice){0}, "%s",
                   job->use);
}

static int make(struct lane *lane, struct job **jobs, size_t n, struct err *err)
{
    struct mailbox_new boxes[AT_ONCE];
    int done;

    for (size_t i = 0; i < n; i++) {
        boxes[i] = (struct mailbox_new){.name = slice_str(jobs[i]->to),
                                        .use = jobs[i]->lacks_use ? "" : jobs[i]->use};
    }
    done = mailboxes_create(lane->to, boxes, n, err);
    for (size_t i = 0; i < n; i++) {
        take_made(lane, jobs[i], &boxes[i]);
        free(boxes[i].refusal);
    }
    return done;
}

static bool is_to_be_subscribed(const struct sync_params *params, const struct job *job)
{
    return params->with_subscriptions && job->has_to && job->wants_subscription;
}

struct subscribing {
    struct lane *lane;
    struct job **jobs;
};

static int on_subscribed(void *arg, size_t i, const struct link_answer *answer, struct err *err)
{
    const struct subscribing *s = arg;
    struct job *job = s->jobs[i];

    (void)err;
    job->wants_subscription = false;
    if (answer->kind != RESPONSE_OK)
        sync_issue(s->lane->sync, REASON_SUBSCRIBE_REFUSED, job->folder, 0, 0, (struct slice){0},
                   "%.*s", SLICE_ARG(answer->text));
    return 0;
}

static int subscribe(struct lane *lane, struct job **jobs, size_t n, struct err *err)
{
    struct subscribing s = {.lane = lane, .jobs = jobs};
    struct slice names[AT_ONCE];

    for (size_t i = 0; i < n; i++)
        names[i] = slice_str(jobs[i]->to);
    return mailboxes_subscribe(lane->to, names, n, on_subscribed, &s, err);
}

static void set_twins(struct job **jobs, size_t n, struct mailbox_twins *twins)
{
    for (size_t i = 0; i < n; i++)
        twins[i] = (struct mailbox_twins){jobs[i]->folder, slice_str(jobs[i]->from),
                                          slice_str(jobs[i]->to)};
}

static bool wants_acl(const struct sync_params *params, const struct job *job)
{
    return params->with_acl && job->has_to && !job->is_unchanged;
}

static int carry_acl(struct lane *lane, struct job **jobs, size_t n, struct err *err)
{
    struct mailbox_twins twins[AT_ONCE];

    set_twins(jobs, n, twins);
    return mailboxes_carry_acl(lane->sync, lane->from, lane->to, twins, n, err);
}

static bool wants_metadata(const struct sync_params *params, const struct job *job)
{
    return params->with_metadata && job->has_to && !job->is_unchanged;
}

static int carry_metadata(struct lane *lane, struct job **jobs, size_t n, struct err *err)
{
    struct mailbox_twins twins[AT_ONCE];

    set_twins(jobs, n, twins);
    return mailboxes_carry_metadata(lane->sync, lane->from, lane->to, twins, n, err);
}

/* Whether a job is to be done, and how it is done for many of them. What has been answered when the
 * link breaks is not to be done any more, or is done again to the same end. */
static const struct step {
    bool (*is_due)(const struct sync_params *params, const struct job *job);
    int (*run)(struct lane *lane, struct job **jobs, size_t n, struct err *err);
    enum sync_reason reason; /* told when it breaks the link */
} steps[] = {
    {is_to_be_made, make, REASON_CREATE_REFUSED},
    {is_to_be_subscribed, subscribe, REASON_SUBSCRIBE_REFUSED},
    {wants_acl, carry_acl, REASON_ACL},
    {wants_metadata, carry_metadata, REASON_METADATA},
};

enum { STEPS = sizeof steps / sizeof *steps };

/* --- one after the other ---------------------------------------------------------------------- */

/* The link has broken over this one again: some servers end the connection rather than refuse a
 * name. */
static void give_up(struct lane *lane, const struct step *step, struct job *job,
                    const struct err *err)
{
    char words[sizeof err->text + 40];

    snprintf(words, sizeof words, "the connection broke twice over it: %s", err->text);
    if (step->reason == REASON_CREATE_REFUSED)
        refuse(lane, job, words);
    else
        sync_issue(lane->sync, step->reason, job->folder, 0, 0, (struct slice){0}, "%s", words);
}

/* `jobs` were in flight when the link broke. */
static void heed_break(struct lane *lane, struct plan *plan, struct job **jobs, size_t n,
                       const struct err *err)
{
    const struct sync_params *params = sync_params(lane->sync);
    const struct step *step = &steps[plan->made / plan->n];
    const size_t end = (plan->made / plan->n + 1) * plan->n;
    const bool is_alone = n == 1 && step->is_due(params, jobs[0]);

    plan->at_once = 1;
    if (is_alone && plan->has_broken) {
        give_up(lane, step, jobs[0], err);
        plan->made = end - plan->n + (size_t)(jobs[0] - plan->jobs) + 1;
    }
    plan->has_broken = is_alone && !plan->has_broken;
    while (plan->made < end && !step->is_due(params, &plan->jobs[plan->made % plan->n]))
        plan->made++;
}

/* The next jobs of a step. */
static int build_some(struct lane *lane, struct plan *plan, struct err *err)
{
    const struct step *step = &steps[plan->made / plan->n];
    struct job *due[AT_ONCE];
    size_t n = 0, at = plan->made % plan->n;

    for (; at < plan->n && n < plan->at_once; at++) {
        if (step->is_due(sync_params(lane->sync), &plan->jobs[at]))
            due[n++] = &plan->jobs[at];
    }
    if (n > 0 && step->run(lane, due, n, err) < 0) {
        heed_break(lane, plan, due, n, err);
        return -1;
    }
    plan->made += at - plan->made % plan->n;
    plan->at_once = 2 * plan->at_once < AT_ONCE ? 2 * plan->at_once : AT_ONCE;
    plan->has_broken = false;
    return 0;
}

/* What the journal knows to be as it was is not asked for what hangs on it. */
static int find_unchanged(struct lane *lane, struct plan *plan, struct err *err)
{
    struct journal_folder row;

    for (size_t i = 0; i < plan->n; i++) {
        struct job *job = &plan->jobs[i];

        if (folder_is_unchanged(lane->sync, job, &row, &job->is_unchanged, err) < 0)
            return -1;
    }
    return 0;
}

/* Goes on where it was when a link broke. */
static int build_all(struct lane *lane, struct plan *plan, struct err *err)
{
    if (plan->at_once == 0 && find_unchanged(lane, plan, err) < 0)
        return -1;
    if (plan->at_once == 0)
        plan->at_once = AT_ONCE;
    while (plan->made < STEPS * plan->n) {
        if (sync_is_stopping(lane->sync) || build_some(lane, plan, err) < 0)
            return -1;
    }
    return 0;
}

/* --- all -------------------------------------------------------------------------------------- */

static int quota(struct lane *lane, const struct plan *plan, struct err *err)
{
    uint64_t bytes = 0, messages = 0;

    for (size_t i = 0; i < plan->n; i++) {
        bytes += plan->jobs[i].from_status.size;
        messages += plan->jobs[i].from_status.messages;
    }
    return mailboxes_carry_quota(lane->sync, lane->from, lane->to, bytes, messages, err);
}

/* The most messages first, so that no lane is left alone with a large folder at the end. */
static int by_messages(const void *a, const void *b)
{
    uint32_t x = ((const struct job *)a)->from_status.messages;
    uint32_t y = ((const struct job *)b)->from_status.messages;

    if (x != y)
        return x > y ? -1 : 1;
    return strcmp(((const struct job *)a)->from, ((const struct job *)b)->from);
}

/* What has no folder at the target is not worked on. */
static void drop_refused(struct plan *plan)
{
    size_t kept = 0;

    for (size_t i = 0; i < plan->n; i++) {
        if (plan->jobs[i].has_to) {
            plan->jobs[kept++] = plan->jobs[i];
        } else {
            free(plan->jobs[i].from);
            free(plan->jobs[i].to);
        }
    }
    plan->n = kept;
}

static void tell_lacking(struct lane *lane, const struct plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        if (!plan->jobs[i].has_to)
            sync_log(lane->sync, "would make the folder %s", plan->jobs[i].to);
    }
}

int plan_build(struct lane *lane, struct plan *plan, struct err *err)
{
    const struct sync_params *params = sync_params(lane->sync);

    if (params->is_dry) {
        tell_lacking(lane, plan);
    } else if (params->what == SYNC_ALL || params->what == SYNC_FOLDERS) {
        if (build_all(lane, plan, err) < 0 || (params->with_quota && quota(lane, plan, err) < 0))
            return -1;
        drop_refused(plan);
    }
    if (plan->n > 1)
        qsort(plan->jobs, plan->n, sizeof *plan->jobs, by_messages);
    return 0;
}
