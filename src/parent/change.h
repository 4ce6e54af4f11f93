/* A change under way: what change.c, handover.c and upgrade.c share. */
#ifndef USHER_PARENT_CHANGE_H
#define USHER_PARENT_CHANGE_H

#include "ipc/message.h"
#include "net/local.h"
#include "net/loop.h"
#include "parent/ports.h"

#include <stdbool.h>
#include <stdint.h>

struct parent;

/* The control that an operator has asked, and its number of the question; instance 0: a signal has
 * asked. */
struct change_asker {
    uint32_t instance, id;
};

struct change {
    struct parent *parent;
    enum change_kind what;
    struct change_asker asker;
    struct deadline limit;
    struct deadline again; /* when to try the commit of an upgrade again */
    /* What was prepared. */
    struct ports ports;
    struct local door; /* fd -1: none */
    char *door_path;
    struct msg_prepared prepared;
    bool is_prepared;
};

struct change *change_new(struct parent *p, enum change_kind what);

/* Clears *c. Sockets that were opened for it are closed. */
void change_free(struct change **c);

/* The configuration as it was prepared. */
int change_load(int fd, struct conf **out_conf, struct err *err) MUST_CHECK;

/* The candidates are ready, and this process is the program that they are: they take over. -1:
 * nothing has happened. */
int change_commit(struct parent *p, struct err *err) MUST_CHECK;

/* upgrade.c: becomes the program of the candidates, which then commits the change. Returns only if
 * that fails, and then nothing has happened. */
int upgrade_execute(struct parent *p, struct err *err) MUST_CHECK;

#endif
