/* Messages between processes: their sizes, and taking them apart. */
#include "ipc/message.h"

#include "base/err.h"

struct shape {
    const char *name;
    uint16_t body;
    bool has_tail;
    bool has_fd;
};

static const struct shape shapes[MSG_TYPE_COUNT] = {
    [MSG_HELLO] = {"HELLO", sizeof(struct msg_hello), false, false},
    [MSG_CONF] = {"CONF", 0, false, true},
    [MSG_COUNTERS] = {"COUNTERS", 0, false, true},
    [MSG_SHARED] = {"SHARED", sizeof(struct msg_shared), false, true},
    [MSG_TICKETS] = {"TICKETS", sizeof(struct msg_tickets), false, false},
    [MSG_FILE] = {"FILE", 0, true, true},
    [MSG_LISTENER] = {"LISTENER", sizeof(struct msg_listener), false, true},
    [MSG_PEER] = {"PEER", sizeof(struct msg_peer), true, true},
    [MSG_NOTES] = {"NOTES", 0, false, true},
    [MSG_BEGIN] = {"BEGIN", sizeof(struct msg_begin), false, false},
    [MSG_DOOR] = {"DOOR", 0, true, true},
    [MSG_START] = {"START", sizeof(struct msg_start), false, false},
    [MSG_RENEW] = {"RENEW", 0, false, false},
    [MSG_RETIRE] = {"RETIRE", sizeof(struct msg_retire), false, false},
    [MSG_STOP] = {"STOP", 0, false, false},
    [MSG_CHANGED] = {"CHANGED", sizeof(struct msg_changed), true, false},
    [MSG_READY] = {"READY", 0, false, false},
    [MSG_REJOIN] = {"REJOIN", sizeof(struct msg_rejoin), false, false},
    [MSG_ALIVE] = {"ALIVE", 0, false, false},
    [MSG_STUCK] = {"STUCK", sizeof(struct msg_stuck), false, false},
    [MSG_CHANGE] = {"CHANGE", sizeof(struct msg_change), false, false},
    [MSG_BEGUN] = {"BEGUN", 0, false, false},
    [MSG_STATE] = {"STATE", 0, false, true},
    [MSG_RULES] = {"RULES", 0, false, true},
    [MSG_PORT] = {"PORT", sizeof(struct msg_port), false, false},
    [MSG_SOCKET] = {"SOCKET", 0, false, true},
    [MSG_TOLD] = {"TOLD", sizeof(struct msg_told), true, false},
    [MSG_PREPARED] = {"PREPARED", sizeof(struct msg_prepared), true, false},
    [MSG_NAME] = {"NAME", sizeof(struct msg_name), true, false},
    [MSG_OPEN] = {"OPEN", sizeof(struct msg_open), false, false},
    [MSG_ADMIT] = {"ADMIT", sizeof(struct msg_admit), true, false},
    [MSG_RESULT] = {"RESULT", sizeof(struct msg_result), false, false},
    [MSG_END] = {"END", sizeof(struct msg_end), false, false},
    [MSG_REPLAY] = {"REPLAY", sizeof(struct msg_replay), true, false},
    [MSG_REPLAYED] = {"REPLAYED", 0, false, false},
    [MSG_PROBED] = {"PROBED", sizeof(struct msg_probed), true, false},
    [MSG_GO] = {"GO", 0, false, false},
    [MSG_LEASE] = {"LEASE", sizeof(struct msg_lease), true, false},
    [MSG_DONE] = {"DONE", 0, false, false},
    [MSG_REFUSE] = {"REFUSE", sizeof(struct msg_refuse), true, false},
    [MSG_KICK] = {"KICK", sizeof(struct msg_kick), false, false},
    [MSG_PROBE] = {"PROBE", sizeof(struct msg_probe), false, false},
    [MSG_RESOLVE] = {"RESOLVE", sizeof(struct msg_resolve), true, false},
    [MSG_RESOLVED] = {"RESOLVED", sizeof(struct msg_resolved), true, false},
    [MSG_ASK_FACTS] = {"ASK_FACTS", sizeof(struct msg_ask_facts), true, false},
    [MSG_FACTS] = {"FACTS", sizeof(struct msg_facts), true, false},
    [MSG_FLUSH_FACTS] = {"FLUSH_FACTS", 0, true, false},
    [MSG_FLUSHED] = {"FLUSHED", sizeof(struct msg_flushed), false, false},
    [MSG_VERIFY] = {"VERIFY", sizeof(struct msg_verify), true, false},
    [MSG_VERIFIED] = {"VERIFIED", sizeof(struct msg_verified), true, false},
};

/* What is sent must be the same on both ends, whichever compiler built them: no holes. */
_Static_assert(sizeof(struct msg_head) == 8, "head");
_Static_assert(sizeof(struct msg_hello) == 24, "hello");
_Static_assert(sizeof(struct msg_peer) == 24, "peer");
_Static_assert(sizeof(struct msg_begin) == 8, "begin");
_Static_assert(sizeof(struct msg_retire) == 8, "retire");
_Static_assert(sizeof(struct msg_change) == 8, "change");
_Static_assert(sizeof(struct msg_changed) == 8, "changed");
_Static_assert(sizeof(struct msg_port) == 32, "port");
_Static_assert(sizeof(struct msg_told) == 8, "told");
_Static_assert(sizeof(struct msg_prepared) == 24, "prepared");
_Static_assert(sizeof(struct msg_name) == 16, "name");
_Static_assert(sizeof(struct msg_open) == 32, "open");
_Static_assert(sizeof(struct msg_admit) == 32, "admit");
_Static_assert(sizeof(struct msg_tickets) == 8 + TICKET_KEYS * TICKET_KEY, "tickets");
_Static_assert(sizeof(struct msg_lease) == 24 + 28 * IPC_ADDRESSES_MAX, "lease");
_Static_assert(sizeof(struct msg_result) == 16, "result");
_Static_assert(sizeof(struct msg_end) == 24, "end");
_Static_assert(sizeof(struct msg_replay) == 52, "replay");
_Static_assert(sizeof(struct msg_probe) == 8 + 28 * IPC_ADDRESSES_MAX, "probe");
_Static_assert(sizeof(struct msg_probed) == 16, "probed");
_Static_assert(sizeof(struct msg_facts) == 8, "facts");
_Static_assert(sizeof(struct msg_flushed) == 8, "flushed");
_Static_assert(sizeof(struct msg_verify) == 8, "verify");
_Static_assert(sizeof(struct msg_verified) == 16, "verified");
_Static_assert(sizeof(struct msg_rejoin) == 8, "rejoin");
_Static_assert(sizeof(struct msg_resolved) == 8 + 28 * IPC_ADDRESSES_MAX, "resolved");
_Static_assert(IPC_USER_MAX + VERIFY_PASSWORD_MAX <= IPC_TEXT_MAX, "a question to lookup");
_Static_assert(sizeof(struct msg_head) + sizeof(struct msg_lease) + IPC_TEXT_MAX + 8 <=
                   IPC_MESSAGE_MAX,
               "max");

const char *role_name(enum role role)
{
    static const char *const names[ROLE_COUNT] = {"parent", "control", "worker", "lookup",
                                                  "prepare"};

    INSIST(role < ROLE_COUNT);
    return names[role];
}

bool msg_is_type(unsigned number)
{
    return number < MSG_TYPE_COUNT && shapes[number].name;
}

static const struct shape *shape_of(enum msg_type type)
{
    INSIST(msg_is_type(type));
    return &shapes[type];
}

size_t msg_body_size(enum msg_type type)
{
    return shape_of(type)->body;
}

bool msg_has_tail(enum msg_type type)
{
    return shape_of(type)->has_tail;
}

bool msg_has_fd(enum msg_type type)
{
    return shape_of(type)->has_fd;
}

const char *msg_type_name(enum msg_type type)
{
    return shape_of(type)->name;
}

size_t msg_parse(struct slice packet, struct msg *out_msg)
{
    const struct shape *shape;
    struct msg_head head;
    size_t used, tail;

    if (packet.n < sizeof head)
        return 0;
    memcpy(&head, packet.p, sizeof head);
    if (!msg_is_type(head.type))
        return 0;
    if (head.len % 8 != 0 || head.len > packet.n || head.len > IPC_MESSAGE_MAX || head.padding > 7)
        return 0;
    shape = &shapes[head.type];
    used = sizeof head + shape->body + head.padding;
    if (head.len < used)
        return 0;
    tail = head.len - used;
    if (tail > (shape->has_tail ? IPC_TEXT_MAX : 0))
        return 0;
    *out_msg = (struct msg){
        .type = (enum msg_type)head.type,
        .id = head.id,
        .body = packet.p + sizeof head,
        .tail = slice_of(packet.p + sizeof head + shape->body, tail),
        .fd = -1,
    };
    return head.len;
}
