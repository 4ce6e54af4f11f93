/* Control's questions about users: directories are asked, and their news go to the log. The
 * process' part of directory/directories.h. */
#ifndef USHER_LOOKUP_FACTS_H
#define USHER_LOOKUP_FACTS_H

#include "base/err.h"
#include "base/list.h"
#include "conf/conf.h"
#include "ipc/channel.h"
#include "metrics/counters.h"
#include "net/loop.h"

struct directories;

struct lookup_facts {
    struct directories *directories;
    struct counters *counters;
    struct list questions;
};

/* -1: a directory of the configuration can never be used. One that is only not there yet is no
 * reason. */
int lookup_facts_start(struct lookup_facts *f, const struct conf *conf, struct loop *loop,
                       struct counters *counters, struct err *err) MUST_CHECK;

/* Open questions are forgotten. Harmless twice, and before the start on what is all zero. */
void lookup_facts_stop(struct lookup_facts *f);

/* ASK_FACTS of `asker`, who is told FACTS, with no secret in it, at once or later. */
void lookup_facts_ask(struct lookup_facts *f, struct channel *asker, const struct msg *m);

/* FLUSH_FACTS of `asker`, who is told FLUSHED. */
void lookup_facts_flush(struct lookup_facts *f, struct channel *asker, const struct msg *m);

/* The channel closes: its questions are answered to nobody. Harmless before the start. */
void lookup_facts_forget(struct lookup_facts *f, const struct channel *asker);

#endif
