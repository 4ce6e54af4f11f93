/* What usher's processes say to each other, version 1.
 *
 * Over an upgrade processes of two releases speak with each other: each says in its HELLO the
 * newest and the oldest version that it understands, and both speak the newest that both do. So
 * what a version says on the wire (numbers of types, bodies, enums) never changes; tests/unit has
 * its bytes recorded.
 *
 * Processes are joined by SOCK_SEQPACKET socket pairs. A packet holds one or more whole messages; a
 * message is a head, a body of fixed size and, for some, a tail of bytes (a name, a text) that
 * fills the rest, all padded to 8 bytes. Both ends are on one machine and of known versions, so
 * numbers are in its byte order and bodies are plain structs without holes. The first message on
 * every channel, from each end, is MSG_HELLO.
 *
 * A receiver trusts the length and nothing else: indices, ids and counts are checked where they are
 * used, since a worker may have been taken over. What a worker says can only ever concern its own
 * sessions.
 *
 *     worker                        control
 *     NAME ...  ------------------>                    what this worker's indices mean
 *     OPEN      ------------------>                    a connection was accepted
 *               <------------------  GO | REFUSE
 *     ADMIT     ------------------>                    somebody wants to log in as `user`
 *               <------------------  LEASE | REFUSE    use this backend | nobody serves this login
 *                                                      (with LEASE_VERIFY: VERIFY to lookup first)
 * now RESULT    ------------------>                    how the attempt went; after RESULT_FAILED,
 *                                                      and RESULT_REFUSED of a trial:
 *               <------------------  LEASE | REFUSE    the next backend | that was it
 *     END       ------------------>                    in any state; the session is gone
 *
 * When control is replaced the worker tells the new one of each session (REPLAY) and then REPLAYED;
 * questions that the old one left open are asked again behind it. Leases carry the epoch of the
 * control that gave them.
 */
#ifndef USHER_IPC_MESSAGE_H
#define USHER_IPC_MESSAGE_H

#include "base/addr.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IPC_VERSION = 1, IPC_OLDEST = 1, IPC_MAGIC = 0x72687375 /* "ushr" */ };

/* A user name in SASL and LOGIN is bounded to this many bytes before it comes here. A tail has at
 * most IPC_TEXT_MAX: facts (directory/facts.h) with a directory's name fit. */
enum { IPC_USER_MAX = 512, IPC_TEXT_MAX = 1152, IPC_ADDRESSES_MAX = 8 };

enum { IPC_MESSAGE_MAX = 4096, IPC_PACKET_MAX = 16384 };

enum role { ROLE_PARENT, ROLE_CONTROL, ROLE_WORKER, ROLE_LOOKUP, ROLE_PREPARE, ROLE_COUNT };

/* "parent", "control" ... */
const char *role_name(enum role role);

/* Those marked * carry a descriptor. */
enum msg_type {
    MSG_NONE = 0,
    MSG_HELLO = 1,
    /* parent to child; until START what it is to check itself with */
    MSG_CONF = 2,     /* *the configuration, printed; sealed memory */
    MSG_COUNTERS = 3, /* *shared memory of metrics/counters.h */
    MSG_SHARED = 4,   /* *shared memory of control/shared.h; to control only */
    MSG_TICKETS =
        5,         /* the keys of TLS tickets; to workers, at the start and whenever they change */
    MSG_FILE = 6,  /* *a file that the configuration names (a certificate, a key, CAs); tail: its
                      path */
    MSG_DOOR = 7,  /* *the listening unix socket of admin/door.h; to control, and from who
                      prepares a change; tail: its path */
    MSG_START = 8, /* all is given: open and check everything, then READY */
    MSG_LISTENER = 9, /* *a listening socket of this worker's slot */
    MSG_PEER = 10,    /* *a channel to another process */
    MSG_NOTES = 11, /* *what the control before this one knew; and from control, for the next one */
    MSG_BEGIN = 12, /* go to work */
    MSG_RENEW = 13, /* to workers: the files given since are whole and good; use them from now on */
    MSG_RETIRE = 14,  /* to workers: accept nothing more; end when the last session has */
    MSG_STOP = 15,    /* end what you do, then exit 0 */
    MSG_CHANGED = 16, /* to control: how it goes with what CHANGE asked for */
    /* child to parent */
    MSG_READY = 32,  /* everything is open and checked */
    MSG_REJOIN = 33, /* my channel with this role has broken, though both of us live: a new one,
                        please */
    MSG_ALIVE = 34,  /* my loop turns; again and again, as often as the setting `watchdog` asks */
    MSG_STUCK = 35,  /* control: this worker does not replay, and so nobody can log in: end it */
    MSG_CHANGE = 36, /* control: an operator wants a reload or an upgrade */
    MSG_BEGUN = 37,  /* at work */
    /* the parent and who prepares a change (parent/prepare.h): CONF, COUNTERS and STATE to it, then
     * from it COUNTERS, CONF, RULES, FILEs, PORTs with SOCKETs, TOLDs, and PREPARED last */
    MSG_STATE = 48,  /* *what the parent would hand over to the next program (parent/handover.h) */
    MSG_RULES = 49,  /* *the configuration with the rules of directories */
    MSG_PORT = 50,   /* an address of a listener */
    MSG_SOCKET = 51, /* *a listening socket, beside those that are open, for the PORT before it */
    MSG_TOLD = 52,   /* a line for the operator: what changes; or what is wrong */
    MSG_PREPARED = 53,
    /* worker to control */
    MSG_NAME = 64, /* what an index in the messages below stands for; all, before any of them */
    MSG_OPEN = 65,
    MSG_ADMIT = 66,
    MSG_RESULT = 67,
    MSG_END = 68,
    MSG_REPLAY = 69,
    MSG_REPLAYED = 70,
    MSG_PROBED = 71, /* how a probe went */
    /* control to worker */
    MSG_GO = 80,
    MSG_LEASE = 81,
    MSG_DONE = 82,
    MSG_REFUSE = 83,
    MSG_KICK = 84,  /* end this session, where its stream allows a BYE, or after kick_grace */
    MSG_PROBE = 85, /* try this backend, without a client */
    /* control to lookup, and back */
    MSG_RESOLVE = 96,
    MSG_RESOLVED = 97,
    MSG_ASK_FACTS = 98,
    MSG_FACTS = 99,
    MSG_FLUSH_FACTS = 100,
    MSG_FLUSHED = 101,
    /* worker to lookup, and back */
    MSG_VERIFY = 112,
    MSG_VERIFIED = 113,
    MSG_TYPE_COUNT = 114
};

struct msg_head {
    uint16_t len; /* head, body, tail and padding; a multiple of 8 */
    uint8_t type;
    uint8_t padding; /* bytes of padding at the end, 0 to 7 */
    uint32_t
        id; /* worker and control: the session, unique in the worker's life; lookup: the question */
};

struct msg_hello {
    uint32_t magic;
    uint16_t version, oldest; /* that the sender understands */
    uint8_t role;             /* of the sender */
    uint8_t slot;
    uint16_t reserved;
    uint32_t instance; /* of the sender's process: never used twice while the parent lives */
    uint32_t epoch;    /* of control; 0 from others */
    uint32_t reserved2;
};

/* What to say first, but for slot, instance and epoch. */
static inline struct msg_hello msg_hello_of(enum role role)
{
    return (struct msg_hello){
        .magic = IPC_MAGIC, .version = IPC_VERSION, .oldest = IPC_OLDEST, .role = (uint8_t)role};
}

struct msg_listener {
    uint32_t listener; /* index into the configuration */
    uint32_t reserved;
};

enum peer_flag {
    PEER_RETIRED = 1 /* a worker that accepts nothing more: no probes for it */
};

/* Tail: the version of the program that it runs. */
struct msg_peer {
    uint8_t role;
    uint8_t slot;
    uint16_t flags; /* enum peer_flag */
    uint32_t instance;
    uint32_t
        generation; /* counts the changes of configuration or program that the parent has made */
    uint32_t pid;
    uint64_t started_s; /* when, in seconds since 1970 */
};

struct msg_rejoin {
    uint16_t role; /* control, of workers and lookup; lookup, of workers */
    uint16_t reserved[3];
};

struct msg_start {
    uint32_t instance;
    uint32_t slot;
};

struct msg_begin {
    uint32_t epoch; /* of control */
    uint32_t peers; /* control: so many workers live and will replay before anybody is admitted */
};

struct msg_retire {
    uint32_t limit_ms; /* sessions that still live then are ended; 0: no limit */
    uint32_t reserved;
};

enum change_kind { CHANGE_RELOAD, CHANGE_UPGRADE };

/* The id is control's own; one change at a time. */
struct msg_change {
    uint32_t what; /* enum change_kind */
    uint32_t reserved;
};

enum change_status {
    CHANGE_TOLD,   /* tail: a line about what changes; more follow */
    CHANGE_DONE,   /* it will be so; control is being replaced if `generation` is new to it */
    CHANGE_REFUSED /* nothing was changed; tail: why, in a line; mistakes were told before it */
};

/* The id as in CHANGE. Tail: words. */
struct msg_changed {
    uint32_t status; /* enum change_status */
    uint32_t generation;
};

struct msg_port {
    struct addr addr;
    uint32_t listener; /* index into the new configuration */
};

/* Tail: the line. */
struct msg_told {
    uint32_t is_mistake; /* the change cannot be */
    uint32_t reserved;
};

/* The unix socket for operators: as it was; a new one came with DOOR; there shall be none. */
enum prepared_door { DOOR_KEPT, DOOR_NEW, DOOR_NONE };

/* Tail: the version of the program. */
struct msg_prepared {
    uint32_t is_good;   /* else the TOLDs say why not */
    uint32_t workers_n; /* of the new configuration */
    uint32_t changes_n; /* how much of the configuration differs; 0: nothing */
    uint32_t files_n;   /* of files, which the parent sees */
    uint32_t door;      /* enum prepared_door */
    uint32_t reserved;
};

enum name_kind { NAME_LISTENER, NAME_POOL, NAME_BACKEND };

/* A listener, pool or backend as the worker's configuration has it, which need not be control's:
 * control's words to a worker use the worker's indices. Those of one kind, and of one pool, come in
 * the order of their indices. Tail: its title. */
struct msg_name {
    uint64_t meaning; /* of a backend: conf_meaning(); else 0 */
    uint32_t index;   /* of a backend: in its pool */
    uint16_t kind;    /* enum name_kind */
    uint16_t pool;    /* of a backend, and of a listener: the index of its pool */
};

struct msg_open {
    struct addr client;
    uint32_t listener;
};

/* Which memory of control/shared.h: where users were; failed logins; from where users log in. */
enum shared_id { SHARED_AFFINITY, SHARED_PENALTIES, SHARED_KNOWN, SHARED_COUNT };

struct msg_shared {
    uint32_t which; /* enum shared_id */
    uint32_t reserved;
};

/* Keys under which tickets are sealed: [0] the next, [1] the one in use, [2] the one before. All
 * are taken, so that workers may change keys one after the other; two changes end a ticket's life.
 */
enum { TICKET_KEYS = 3, TICKET_KEY = 80 /* name 16, AES 32, HMAC 32 */ };

struct msg_tickets {
    uint32_t lifetime_s; /* what clients are told */
    uint32_t reserved;
    unsigned char keys[TICKET_KEYS][TICKET_KEY];
};

enum mech { MECH_LOGIN, MECH_PLAIN, MECH_SASL_LOGIN, MECH_COUNT };

struct msg_stuck {
    uint32_t instance;
    uint32_t reserved;
};

/* Tail: the user. `client`: whom limits and penalties are about, which a trusted proxy's ID may
 * have told since OPEN. */
struct msg_admit {
    struct addr client;
    uint32_t mech;
};

/* Names a lease; zero: none. */
struct lease_id {
    uint32_t epoch;
    uint32_t number;
};

enum lease_flag {
    /* Nobody knows yet whether this backend knows the user: after RESULT_REFUSED control says what
     * next, and REFUSE_CREDENTIALS means that the backend's NO stands. */
    LEASE_IS_TRIAL = 1,
    /* The password is lookup's to verify, which may say what the backend is to be shown instead:
     * VERIFY before dialling. */
    LEASE_VERIFY = 2
};

/* Tail: the user's name as directories, log and control have it (`name_n` bytes), and behind it the
 * name that the backend is told instead of it, if there is one. */
struct msg_lease {
    struct lease_id lease;
    uint16_t pool, backend; /* indices into the worker's configuration */
    uint16_t attempt;       /* 1 for the first backend of this login */
    uint16_t addresses_n;   /* at least 1 */
    uint16_t flags;         /* enum lease_flag */
    uint16_t name_n;
    uint32_t reserved;
    struct addr addresses[IPC_ADDRESSES_MAX];
};

enum result {
    RESULT_OK,      /* the backend said OK: the session is the user's now */
    RESULT_REFUSED, /* the backend said NO: the lease is over, the client may try again */
    RESULT_FAILED,  /* no verdict: next lease, please */
    /* Of a trial too; neither is answered: */
    RESULT_DENIED,   /* lookup says that the password is wrong: as RESULT_REFUSED, but this tells
                        nothing of the backend, which was not reached */
    RESULT_WITHDRAWN /* it could not be verified, or the backend says that it cannot say now (not of
                        a trial: RESULT_FAILED), and the client was told so: the lease is over,
                        nobody is charged or blamed */
};

/* Whose fault RESULT_FAILED is, for the health of the backend. */
enum fault { FAULT_BACKEND, FAULT_OURS };

struct msg_result {
    struct lease_id lease;
    uint32_t result;
    uint32_t fault; /* enum fault */
};

enum refuse {
    REFUSE_UNAVAILABLE,  /* no backend can be had now, or too many logins are under way */
    REFUSE_INUSE,        /* the user is on hold */
    REFUSE_MAX_SESSIONS, /* of OPEN: max_sessions */
    REFUSE_MAX_ADDRESS,  /* of OPEN, or of ADMIT from elsewhere: max_sessions_per_address */
    REFUSE_MAX_USER,     /* max_sessions_per_user, or that of user and address */
    REFUSE_PENALTY,      /* too many logins have failed */
    REFUSE_DISABLED,     /* the directory says that the user may not log in */
    REFUSE_CREDENTIALS,  /* of the RESULT_REFUSED of a trial: that was the last backend */
    REFUSE_OUTDATED /* the backend is not as this worker's configuration has it: the client shall
                       come again, to a newer worker */
};

/* Tail: words for the log; the last `told_n` bytes of it are for the client instead of ours. */
struct msg_refuse {
    uint32_t code;
    uint32_t told_n;
};

enum kick { KICK_OPERATOR, KICK_MOVED, KICK_DOWN /* the backend is down */ };

struct msg_kick {
    uint32_t why; /* enum kick */
    uint32_t reserved;
};

struct msg_end {
    uint64_t in, out;
    uint32_t duration_ms;
    uint16_t reason;
    uint16_t is_sent; /* the login under way had been sent to the backend */
};

enum replay_stage {
    REPLAY_OPEN,   /* no login is under way, or one whose ADMIT follows */
    REPLAY_LEASED, /* an attempt runs under `lease`; its RESULT will follow */
    REPLAY_RELAY   /* the user is logged in */
};

/* Tail: the user, unless REPLAY_OPEN. */
struct msg_replay {
    struct lease_id lease;
    struct addr client;
    uint32_t listener;
    uint16_t pool, backend;
    uint16_t stage;
    uint16_t attempt;
    uint32_t flags; /* enum lease_flag */
};

/* The id is control's own. How the backend is probed says the configuration of its pool. */
struct msg_probe {
    uint16_t pool, backend;
    uint32_t addresses_n; /* at least 1 */
    struct addr addresses[IPC_ADDRESSES_MAX];
};

/* Tail: what went wrong, words for the log: "stage: detail". Empty when all is well. */
struct msg_probed {
    uint32_t is_ok;
    uint32_t fault; /* enum fault; FAULT_OURS says nothing of the backend */
    uint32_t duration_ms;
    uint32_t reserved;
};

/* Tail: a host name. */
struct msg_resolve {
    uint16_t port;
    uint16_t reserved[3];
};

/* Tail: words for the log when addresses_n is 0. */
struct msg_resolved {
    uint32_t ttl_s;
    uint32_t addresses_n;
    struct addr addresses[IPC_ADDRESSES_MAX];
};

/* Tail: the user's name, as directories know it. */
struct msg_ask_facts {
    uint32_t is_fresh; /* for an operator: as the directories have it now, nothing that is kept */
    uint32_t reserved;
};

enum facts_status {
    FACTS_FOUND,
    FACTS_UNKNOWN,    /* no directory knows the user */
    FACTS_UNAVAILABLE /* they cannot be had now */
};

/* Tail: the facts, as directory/facts.h writes them without secrets; UNAVAILABLE: words for the
 * log. Before them `directory_n` bytes: the directory's name. */
struct msg_facts {
    uint16_t status;
    uint16_t directory_n;
    uint32_t age_ms; /* of what was kept from before; 0: fresh */
};

/* FLUSH_FACTS has no body: answers of directories that are kept shall be forgotten. Tail: the
 * user's name, as directories know it; empty: all. */
struct msg_flushed {
    uint32_t n; /* how many answers there were */
    uint32_t reserved;
};

/* crypt(3) makes no hash of a longer password, so that one is wrong without a question. */
enum { VERIFY_PASSWORD_MAX = 511 };

/* How much longer than directory_timeout VERIFIED may take, for the hash. */
enum { VERIFY_BEYOND_MS = 1000 };

/* Tail: the name (`name_n` bytes) as in LEASE, then the password that the client gave. The id is
 * the session's; `question`, which the answer repeats, tells one login of it from the next. */
struct msg_verify {
    uint16_t name_n;
    uint16_t reserved;
    uint32_t question;
};

enum verified {
    VERIFIED_OK,
    VERIFIED_REFUSED,    /* the password is wrong */
    VERIFIED_UNAVAILABLE /* it cannot be said now */
};

/* Tail: `user_n` bytes, the name that the backend is to be told (empty: as LEASE says),
 * `password_n` the password for it (with is_replaced), `told_n` what the facts, by which the
 * password was verified, would have LEASE say behind the user's name; and words for the log when it
 * is no VERIFIED_OK. With `is_master` the user of the tail logs in for the user of LEASE:
 * authentication and authorization identity of SASL PLAIN. If LEASE says another name than the
 * `told_n` bytes, the facts have changed between: whose password it is has not that mailbox. */
struct msg_verified {
    uint16_t verified; /* enum verified */
    uint16_t user_n, password_n;
    uint8_t is_replaced, is_master;
    uint32_t question;
    uint16_t told_n;
    uint16_t reserved;
};

/* A message as received: body and tail lie in the channel's buffer, for the time of the callback
 * only. */
struct msg {
    enum msg_type type;
    uint32_t id;
    const void *body;  /* as the struct of its type; aligned to 8 */
    struct slice tail; /* without padding; empty for types without one */
    int fd;            /* -1: none; else the receiver's to close */
};

/* Whether a number is that of a type; the others, below, are not in use. */
bool msg_is_type(unsigned number);

/* Bytes of the body of a type; whether a tail may follow; whether it must come with a descriptor.
 */
size_t msg_body_size(enum msg_type type);
bool msg_has_tail(enum msg_type type);
bool msg_has_fd(enum msg_type type);
const char *msg_type_name(enum msg_type type);

/* Takes the message at the start of `packet` apart (fd is set to -1) and says how long it is; 0
 * when it is malformed: a length that does not fit, an unknown type, a body that is too short, a
 * tail where none may be or above IPC_TEXT_MAX. */
size_t msg_parse(struct slice packet, struct msg *out_msg);

#endif
