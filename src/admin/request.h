/* A request of the unix door: one line becomes a command with its arguments, checked as far as that
 * goes without asking control. What is wrong is said in words that help. */
#ifndef USHER_ADMIN_REQUEST_H
#define USHER_ADMIN_REQUEST_H

#include "base/err.h"
#include "base/slice.h"
#include "control/backends.h"
#include "control/operate.h"
#include "tables/tables.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct json_t;

enum { REQUEST_RATE_MAX = 100000 };

/* What is not given is empty, BACKEND_NONE, -1, 0 or false. */
struct request {
    enum command command;
    struct slice user;          /* as usher knows the name (directory/username.h): in `name` */
    char name[IPC_USER_MAX];    /* so a request is not copied once it has been checked */
    uint32_t backend, from, to; /* numbers; strangers too (control/backends.h) */
    int pool;
    bool has_client, has_session;
    struct in6_addr client;
    struct operate_key session;
    uint32_t rate;
    struct json_t *json; /* as it came */
};

/* What the line is: JSON, and of which command. The caller calls request_done() on success. */
int request_open(struct slice line, struct request *out_request, struct err *err) MUST_CHECK;

/* Its arguments: known to the command, complete, each of its kind. On -1 some are set. */
int request_check(struct request *r, const struct backends *backends, struct err *err) MUST_CHECK;

/* Harmless twice. */
void request_done(struct request *r);

#endif
