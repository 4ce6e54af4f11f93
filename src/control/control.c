/* The control process' wiring: channels to workers and lookup, deadlines, the state file, the door.
 * Every rule is in admission.c and below, every word for the log in tell.c. */
#include "control/control_parts.h"

#include "base/log.h"
#include "control/load.h"
#include "control/succession.h"
#include "control/tell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* How long until placements that could not be written are tried again. */
enum { REPLAY_MS = 10 * 1000, FLUSH_RETRY_MS = 2000 };

/* How long operators may take to read what they are answered when we end: logins wait meanwhile. */
enum { FINISH_MS = 500 };

/* --- deadlines ----------------------------------------------------------------------------- */

static void arm(struct control *c, struct deadline *d, uint64_t due_ms)
{
    uint64_t now = control_now_ms(c);

    if (due_ms == 0)
        deadline_clear(d);
    else
        deadline_set(c->child->loop, d, due_ms > now ? due_ms - now : 0);
}

static void arm_if_changed(struct control *c, struct deadline *d, uint64_t *as_set, uint64_t due_ms)
{
    if (due_ms == *as_set)
        return;
    *as_set = due_ms;
    arm(c, d, due_ms);
}

/* After whatever may have changed what admission and moves wait for. */
static void arm_waiting(struct control *c)
{
    arm_if_changed(c, &c->admission_due, &c->admission_due_ms, admission_due_ms(c->admission));
    arm_if_changed(c, &c->operate_due, &c->operate_due_ms, operate_due_ms(c->operate));
}

void control_arm_probes(struct control *c)
{
    arm(c, &c->probes_due, probes_due_ms(&c->probes));
}

static void on_probes_due(struct deadline *d)
{
    struct control *c = CONTAINER(d, struct control, probes_due);

    probes_step(&c->probes, control_now_ms(c));
    control_arm_probes(c);
    arm_waiting(c);
}

static void on_admission_due(struct deadline *d)
{
    struct control *c = CONTAINER(d, struct control, admission_due);

    c->admission_due_ms = 0;
    admission_tick(c->admission, control_now_ms(c));
    arm_waiting(c);
}

static void on_operate_due(struct deadline *d)
{
    struct control *c = CONTAINER(d, struct control, operate_due);

    c->operate_due_ms = 0;
    operate_tick(c->operate, control_now_ms(c));
    arm_waiting(c);
}

/* The door has done something. */
static void on_operated(void *arg)
{
    arm_waiting(arg);
}

static void on_resolve_due(struct deadline *d)
{
    struct control *c = CONTAINER(d, struct control, resolve_due);

    resolve_step(&c->resolve, control_now_ms(c));
    arm(c, &c->resolve_due, resolve_due_ms(&c->resolve));
}

/* --- the state file ------------------------------------------------------------------------ */

/* A failure is told once until writing works again. Says whether all is written. */
static bool flush(struct control *c)
{
    struct err err;

    if (state_flush(c->state, &err) == 0) {
        c->is_failing = c->is_losing = false;
        return true;
    }
    if (!c->is_failing)
        tell_state_failed(c->state, &err);
    c->is_failing = true;
    return false;
}

static void on_flush_due(struct deadline *d)
{
    struct control *c = CONTAINER(d, struct control, flush_due);

    if (!flush(c))
        deadline_set(c->child->loop, d, FLUSH_RETRY_MS);
}

static const char *take_probed(struct control *c, const struct peer *p, const struct msg *m)
{
    const struct msg_probed *probed = m->body;
    uint32_t backend = probes_answer(&c->probes, m->id, p->who.instance);

    /* Too late, or another worker's. */
    if (backend == BACKEND_NONE)
        return "PROBED: no such probe";
    if (!probed->is_ok && probed->fault != FAULT_BACKEND)
        probes_void(&c->probes, backend, control_now_ms(c));
    else
        admission_probed(c->admission, backend, probed->is_ok, m->tail, control_now_ms(c));
    control_arm_probes(c);
    return NULL;
}

/* --- peers --------------------------------------------------------------------------------- */

static void drop_peer(struct peer *p)
{
    struct control *c = p->control;

    if (p->fd >= 0)
        close(p->fd); /* never opened */
    channel_close(&p->channel);
    if (c->prober == &p->node)
        c->prober = p->node.prev;
    list_remove(&p->node);
    if (p == c->lookup)
        c->lookup = NULL;
    if (p->fd < 0 && p->who.role == ROLE_WORKER) {
        admission_detach(c->admission, &p->worker, control_now_ms(c));
        arm_waiting(c);
    }
    names_done(&p->names);
    free(p);
}

/* --- words of workers, in control's own numbers --------------------------------------------- */

static const char *take_open(struct peer *p, const struct msg *m)
{
    const struct msg_open *open = m->body;
    uint16_t door;

    if (!names_door(&p->names, open->listener, &door))
        return "OPEN: no such listener";
    return admission_open(p->control->admission, &p->worker, m->id, door, open);
}

static const char *take_replay(struct peer *p, const struct msg *m, uint64_t now)
{
    const struct msg_replay *replay = m->body;
    struct whereabouts at;
    const char *wrong = names_whereabouts(&p->names, replay, &at);

    if (wrong)
        return wrong;
    return admission_replay(p->control->admission, &p->worker, m->id, &at, replay, m->tail, now);
}

static const char *take_worker_message(struct peer *p, const struct msg *m)
{
    struct control *c = p->control;
    struct admission *a = c->admission;
    struct admission_worker *w = &p->worker;
    uint64_t now = control_now_ms(c);

    if (m->type == MSG_NAME)
        return names_take(&p->names, m->body, m->tail);
    if (m->type == MSG_OPEN)
        return take_open(p, m);
    if (m->type == MSG_ADMIT)
        return admission_admit(a, w, m->id, m->body, m->tail, now);
    if (m->type == MSG_RESULT)
        return admission_result(a, w, m->id, m->body, now);
    if (m->type == MSG_REPLAY)
        return take_replay(p, m, now);
    if (m->type == MSG_REPLAYED)
        return admission_replayed(a, w, now);
    if (m->type == MSG_PROBED)
        return take_probed(c, p, m);
    if (m->type != MSG_END)
        return "not a message to control";
    admission_end(a, w, m->id, m->body, now);
    return NULL;
}

static void on_worker_message(struct channel *ch, const struct msg *m)
{
    struct peer *p = CONTAINER(ch, struct peer, channel);
    const char *wrong = take_worker_message(p, m);

    if (wrong)
        log_detail(LOG_DEBUG, "worker in slot %u, session %u: %s", p->who.slot, m->id, wrong);
    if (m->fd >= 0)
        close(m->fd);
    arm_waiting(p->control);
}

static void take_facts(struct control *c, const struct msg *m)
{
    const struct msg_facts *facts = m->body;
    struct facts_answer answer = {.status = (enum facts_status)facts->status,
                                  .age_ms = facts->age_ms};

    if (facts->directory_n > m->tail.n || facts->status > FACTS_UNAVAILABLE)
        return;
    answer.directory = slice_sub(m->tail, 0, facts->directory_n);
    answer.text = slice_sub(m->tail, facts->directory_n, m->tail.n);
    admission_answered(c->admission, m->id, &answer, control_now_ms(c));
}

static void on_lookup_message(struct channel *ch, const struct msg *m)
{
    struct control *c = CONTAINER(ch, struct peer, channel)->control;

    if (m->fd >= 0)
        close(m->fd);
    if (m->type == MSG_FACTS) {
        take_facts(c, m);
        arm_waiting(c);
        return;
    }
    /* Nobody waits to hear how much there was. */
    if (m->type == MSG_FLUSHED)
        return;
    if (m->type != MSG_RESOLVED) {
        log_detail(LOG_DEBUG, "lookup: %s is not a message to control", msg_type_name(m->type));
        return;
    }
    resolve_answer(&c->resolve, m->id, m->body, m->tail, control_now_ms(c));
    arm(c, &c->resolve_due, resolve_due_ms(&c->resolve));
    arm_waiting(c);
}

static void on_peer_closed(struct channel *ch, const char *why)
{
    struct peer *p = CONTAINER(ch, struct peer, channel);

    log_detail(LOG_DEBUG, "%s in slot %u: %s", role_name((enum role)p->who.role), p->who.slot, why);
    drop_peer(p);
}

static const struct channel_events worker_events = {.on_message = on_worker_message,
                                                    .on_closed = on_peer_closed};
static const struct channel_events lookup_events = {.on_message = on_lookup_message,
                                                    .on_closed = on_peer_closed};

static void open_peer(struct peer *p)
{
    struct control *c = p->control;
    bool is_worker = p->who.role == ROLE_WORKER;

    names_init(&p->names, &c->backends);
    p->worker.names = &p->names;
    p->worker.instance = p->who.instance;
    if (is_worker)
        admission_attach(c->admission, &p->worker);
    /* Who comes again and again gains no time by it. */
    if (is_worker && p->worker.is_awaited && !deadline_is_set(&c->replay_due))
        deadline_set(c->child->loop, &c->replay_due, REPLAY_MS);
    channel_open(&p->channel, &c->child->channels, p->fd, &c->child->self,
                 is_worker ? &worker_events : &lookup_events);
    p->fd = -1;
    if (is_worker)
        return;
    if (c->lookup)
        drop_peer(c->lookup);
    c->lookup = p;
    resolve_repeat(&c->resolve, control_now_ms(c));
    facts_wait_repeat(admission_facts(c->admission));
    arm(c, &c->resolve_due, resolve_due_ms(&c->resolve));
}

/* A process has one channel: the older one's end may not have been noticed yet. It lives, so that
 * nobody is admitted before it has replayed, by whichever channel. */
static void drop_older(struct control *c, const struct peer *p)
{
    list_for_each_safe (it, &c->peers) {
        struct peer *older = CONTAINER(it, struct peer, node);

        if (older->who.role != p->who.role || older->who.instance != p->who.instance)
            continue;
        if (older->fd < 0 && p->who.role == ROLE_WORKER)
            admission_rejoined(c->admission, &older->worker);
        drop_peer(older);
    }
}

static struct worker_facts facts_of(const struct msg_peer *who, struct slice version)
{
    struct worker_facts f = {.generation = who->generation,
                             .pid = who->pid,
                             .slot = who->slot,
                             .started_s = who->started_s,
                             .is_retired = who->flags & PEER_RETIRED};
    size_t n = version.n < sizeof f.version ? version.n : sizeof f.version - 1;

    if (n > 0)
        memcpy(f.version, version.p, n);
    return f;
}

static void take_peer(struct control *c, const struct msg *m)
{
    struct peer *p = calloc(1, sizeof *p);

    if (!p) {
        /* The peer finds its channel closed, and asks the parent for another. */
        close(m->fd);
        return;
    }
    memcpy(&p->who, m->body, sizeof p->who);
    p->worker.facts = facts_of(&p->who, m->tail);
    p->control = c;
    p->fd = m->fd;
    if (p->who.role != ROLE_WORKER && p->who.role != ROLE_LOOKUP) {
        close(p->fd);
        free(p);
        return;
    }
    drop_older(c, p);
    list_append(&c->peers, &p->node);
    if (c->has_started)
        open_peer(p);
}

/* A worker that hangs would keep everybody out, since it may know where a user is. */
static void on_replay_due(struct deadline *d)
{
    struct control *c = CONTAINER(d, struct control, replay_due);

    list_for_each (it, &c->peers) {
        const struct peer *p = CONTAINER(it, struct peer, node);
        const struct msg_stuck m = {.instance = p->who.instance};

        if (p->who.role == ROLE_WORKER && p->worker.is_awaited && !p->worker.is_replayed)
            channel_send(&c->child->parent, MSG_STUCK, 0, &m, slice_of(NULL, 0), -1);
    }
}

/* Throws away what cannot be used. Not before we have been told to begin: a candidate that comes to
 * nothing has changed nothing. */
static void begin_shared(struct control *c, enum shared_id which)
{
    if (!c->lost[which])
        return;
    tell_lost(which, c->lost[which]);
    shared_clear(c->shared[which]);
    c->lost[which] = NULL;
}

static void take_shared(struct control *c, const struct msg *m)
{
    uint32_t which = ((const struct msg_shared *)m->body)->which;
    struct shared *shared = NULL;
    const char *lost = NULL;
    struct err err;

    /* A newer parent may have more of them. */
    if (which >= SHARED_COUNT) {
        close(m->fd);
        return;
    }
    if (shared_map(m->fd, &shared, &lost, &err) < 0)
        tell_lost((enum shared_id)which, err.text);
    close(m->fd);
    if (!shared)
        return;
    shared_unmap(&c->shared[which]);
    c->lost[which] = lost;
    c->shared[which] = shared;
    if (!c->admission)
        return;
    begin_shared(c, (enum shared_id)which);
    admission_share(c->admission, (enum shared_id)which, shared);
}

/* --- the process --------------------------------------------------------------------------- */

static void on_init(struct child *child)
{
    struct control *c = child->state;

    c->child = child;
    c->door_fd = c->notes_fd = c->left_fd = -1;
    list_init(&c->peers);
    deadline_init(&c->admission_due, on_admission_due);
    deadline_init(&c->operate_due, on_operate_due);
    deadline_init(&c->resolve_due, on_resolve_due);
    deadline_init(&c->probes_due, on_probes_due);
    c->prober = &c->peers;
    deadline_init(&c->flush_due, on_flush_due);
    deadline_init(&c->replay_due, on_replay_due);
}

static void on_message(struct child *child, const struct msg *m)
{
    struct control *c = child->state;

    if (m->type == MSG_PEER)
        take_peer(c, m);
    else if (m->type == MSG_SHARED)
        take_shared(c, m);
    else if (m->type == MSG_DOOR && !c->has_started && c->door_fd < 0)
        c->door_fd = m->fd;
    else if (m->type == MSG_NOTES && !c->has_started && c->left_fd < 0)
        c->left_fd = m->fd;
    else if (m->type == MSG_CHANGED && c->operate)
        operate_changed(c->operate, m->id, m->body, m->tail);
    else if (m->fd >= 0)
        close(m->fd);
}

/* What the workers are given too. */
static uint32_t descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > UINT32_MAX)
        return 0;
    return (uint32_t)limit.rlim_cur;
}

/* 0: not known. */
static uint32_t ephemeral_ports(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    unsigned long low = 0, high = 0;
    char line[64] = "", *end;

    if (!f)
        return 0;
    if (fgets(line, sizeof line, f)) {
        low = strtoul(line, &end, 10);
        high = strtoul(end, NULL, 10);
    }
    fclose(f);
    return low > 0 && low <= high && high <= UINT16_MAX ? (uint32_t)(high + 1 - low) : 0;
}

/* An operator's; the parent answers with MSG_CHANGED. */
static void send_change(void *arg, uint32_t id, enum change_kind what)
{
    struct control *c = arg;
    const struct msg_change m = {.what = what};

    channel_send(&c->child->parent, MSG_CHANGE, id, &m, SLICE(""), -1);
}

/* What the state file says is read only now: a control before this one may have written to it until
 * it ended. */
static int load(struct control *c, struct err *err)
{
    const struct conf *conf = c->child->conf;
    struct admission_params params = {.conf = conf,
                                      .backends = &c->backends,
                                      .epoch = c->child->self.epoch,
                                      .effects = &control_admission_effects,
                                      .arg = c,
                                      .descriptors = c->descriptors,
                                      .ports = c->ephemeral_ports,
                                      .now_ms = control_now_ms(c)};
    struct load rows;

    c->probes =
        (struct probes){.backends = &c->backends, .effects = &control_probes_effects, .arg = c};
    c->resolve =
        (struct resolve){.backends = &c->backends, .effects = &control_resolve_effects, .arg = c};
    if (admission_new(&params, &c->admission, err) < 0)
        return -1;
    for (unsigned i = 0; i < SHARED_COUNT; i++) {
        begin_shared(c, (enum shared_id)i);
        admission_share(c->admission, (enum shared_id)i, c->shared[i]);
    }
    rows = (struct load){admission_registry(c->admission), &c->backends};
    if (state_load(c->state, &load_rows, &rows, err) < 0)
        return -1;
    return operate_new(
        &(struct operate_params){conf, &c->backends, c->admission, c->state, send_change, c},
        &c->operate, err);
}

/* Where there is neither a socket nor a part that listens there is no door. */
static int open_door(struct control *c, struct err *err)
{
    const struct control_door *part = c->child->role->part;
    int fd = c->door_fd;

    c->door_fd = -1;
    if (fd < 0)
        return 0;
    if (!part) {
        close(fd);
        return 0;
    }
    return part->open(c->child, fd, &c->door, err);
}

static void begin_door(struct control *c)
{
    const struct control_door *part = c->child->role->part;

    if (c->door)
        part->begin(c->door, c->operate, on_operated, c);
}

/* Who has asked for the change with which we are replaced is to read what came of it. */
static void finish_door(struct control *c)
{
    const struct control_door *part = c->child->role->part;

    if (c->door)
        part->finish(c->door, FINISH_MS);
}

static void close_door(struct control *c)
{
    const struct control_door *part = c->child->role->part;

    if (c->door)
        part->close(&c->door);
    if (c->door_fd >= 0)
        close(c->door_fd); /* never opened */
    c->door_fd = -1;
}

static int on_start(struct child *child, struct err *err)
{
    struct control *c = child->state;

    c->descriptors = descriptors();
    c->ephemeral_ports = ephemeral_ports();
    if (backends_init(&c->backends, child->conf, err) < 0 ||
        state_open(child->conf->global.state, &c->state, err) < 0 ||
        (c->notes_fd = succession_create(err)) < 0)
        return -1;
    return open_door(c, err);
}

/* --- notes of a control for the next one --------------------------------------------------- */

static struct succession succession_of(struct control *c)
{
    return (struct succession){.conf = c->child->conf,
                               .backends = &c->backends,
                               .admission = c->admission,
                               .moves = operate_machine(c->operate),
                               .state = c->state};
}

/* The parent gives them to the next control if it has wanted us to end for that. */
static void leave_notes(struct control *c)
{
    const struct succession s = succession_of(c);

    if (succession_leave(&s, c->notes_fd, control_now_ms(c)) == 0)
        channel_send(&c->child->parent, MSG_NOTES, 0, NULL, SLICE(""), c->notes_fd);
    else
        close(c->notes_fd);
    c->notes_fd = -1;
}

static void take_notes(struct control *c)
{
    const struct succession s = succession_of(c);

    if (c->left_fd < 0)
        return;
    succession_follow(&s, c->left_fd, control_now_ms(c));
    c->left_fd = -1;
    if (state_waiting(c->state) > 0)
        deadline_set(c->child->loop, &c->flush_due, FLUSH_MS);
}

static int on_begin(struct child *child, struct err *err)
{
    struct control *c = child->state;

    if (load(c, err) < 0)
        return -1;
    take_notes(c);
    begin_door(c);
    c->has_started = true;
    admission_start(c->admission, child->peers, control_now_ms(c));
    resolve_start(&c->resolve, control_now_ms(c));
    list_for_each_safe (it, &c->peers)
        open_peer(CONTAINER(it, struct peer, node));
    arm(c, &c->resolve_due, resolve_due_ms(&c->resolve));
    control_arm_probes(c);
    arm_waiting(c);
    return 0;
}

static void on_stop(struct child *child)
{
    struct control *c = child->state;

    /* Workers that still run are told of our end by their channels, and of our successor by the
     * parent. */
    flush(c);
    if (c->has_started)
        leave_notes(c);
    finish_door(c);
    child_stopped(child);
}

static void on_done(struct child *child)
{
    struct control *c = child->state;

    close_door(c);
    if (c->notes_fd >= 0)
        close(c->notes_fd);
    if (c->left_fd >= 0)
        close(c->left_fd);
    list_for_each_safe (it, &c->peers)
        drop_peer(CONTAINER(it, struct peer, node));
    deadline_clear(&c->admission_due);
    deadline_clear(&c->operate_due);
    deadline_clear(&c->resolve_due);
    deadline_clear(&c->probes_due);
    deadline_clear(&c->flush_due);
    deadline_clear(&c->replay_due);
    operate_free(&c->operate);
    admission_free(&c->admission);
    state_close(&c->state);
    for (unsigned i = 0; i < SHARED_COUNT; i++)
        shared_unmap(&c->shared[i]);
    backends_done(&c->backends);
}

const struct child_role control_role = {
    .role = ROLE_CONTROL,
    .state_size = sizeof(struct control),
    .on_init = on_init,
    .on_message = on_message,
    .on_start = on_start,
    .on_begin = on_begin,
    .on_stop = on_stop,
    .on_done = on_done,
};
