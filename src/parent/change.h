/* A change under way: what change.c, commit.c, handover.c and upgrade.c share. */
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
    bool is_held;          /* signals are kept back, for the program that we become */
    /* What was prepared. */
    struct ports ports;
    struct local door; /* fd -1: none */
    char *door_path;
    struct msg_prepared prepared;
    bool is_prepared;
    unsigned mistakes_n;
    char mistake[IPC_TEXT_MAX +
                 1]; /* the first, which is told with the refusal if it is the only one */
};

struct change *change_new(struct parent *p, enum change_kind what);

/* Clears *c. Sockets that were opened for it are closed. */
void change_free(struct change **c);

/* Tells the control that asked, if there is one and it lives. `text`: one line. */
void change_say(struct parent *p, const struct change_asker *asker, enum change_status status,
                uint32_t generation, const char *text);

/* It is over: gives up what candidates there still are, and begins what was asked for meanwhile. */
void change_end(struct parent *p, bool is_refused);

/* The configuration as it was prepared. */
int change_load(int fd, struct conf **out_conf, struct err *err) MUST_CHECK;

/* The candidates are ready, and this process is the program that they are: they take over. -1:
 * nothing has happened. */
int change_commit(struct parent *p, struct err *err) MUST_CHECK;

/* upgrade.c: becomes the program of the candidates, which then commits the change; with signals
 * held back. Returns only if that fails, and then nothing has happened. */
int upgrade_execute(struct parent *p, struct err *err) MUST_CHECK;

#endif
