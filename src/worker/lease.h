/* One login and the leases that control gives it: whom it is for, what a backend is told and shown,
 * and whose NO stands when none of them took it. Private to worker/.
 *
 * A lease names the user as directories, log and control have it. That name, or another that the
 * lease brings, replaces what the client typed: the authorization identity where the client gave
 * one, and its authentication identity stays as typed; else the authentication identity.
 *
 * Where the password was verified by lookup, whoever has given it is the user of the lease: the
 * backend is told that name alone, or the master user of the answer with that name as authorization
 * identity.
 */
#ifndef USHER_WORKER_LEASE_H
#define USHER_WORKER_LEASE_H

#include "base/addr.h"
#include "base/slice.h"
#include "ipc/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct imapc;
struct imapc_answer;
struct imapc_params;
struct session;

/* What the backend is shown in place of what the client gave; memory of base/secret.h. */
struct shown {
    size_t n;          /* bytes */
    struct slice user; /* empty: as the lease says */
    struct slice password;
    bool is_replaced; /* `password` counts */
    bool is_master;   /* `user` logs in for the user of the lease */
    char bytes[];
};

/* Part of the session's phase; zeroed: no lease has come for this login. */
struct leased {
    char *told;            /* the name that the backend is told */
    struct shown *shown;   /* NULL: nothing is replaced */
    struct imapc *refused; /* ADMIT: the last trial, whose NO may come to stand */
    struct addr addresses[IPC_ADDRESSES_MAX];
    uint16_t addresses_n;
    uint16_t flags;    /* enum lease_flag */
    uint32_t question; /* VERIFY: the one that is open */
    bool is_verified;  /* for this login, whichever leases follow */
    bool is_guessed; /* a trial of this login was refused: who hangs up now has learnt something */
};

/* A login begins or has ended: nothing of its leases is left. Harmless twice. */
void lease_forget(struct session *s);

/* Fills in user, authzid and password. The slices live as long as the login and its lease. */
void lease_credentials(const struct session *s, struct imapc_params *params);

/* Whether a NO of the backend says nothing about the client's password, which is known to be right
 * and was not shown to it. */
bool lease_is_replaced(const struct session *s);

/* Whether a backend's NO is one to the password: not if its code (RFC 5530) says that it cannot
 * tell, or that something else is in the way. */
bool lease_is_verdict(const struct imapc_answer *no);

/* A backend's NO stands: in the log and to the client, who may try again. `imapc` has said it. */
void lease_tell_no(struct session *s, const struct imapc *imapc);

/* A trial was refused: keeps what the backend said until control says what next. */
void lease_keep_no(struct session *s);

#endif
