/* libconfuse's part: the grammar. Everything else of conf/ does not know that it exists. */
#ifndef USHER_CONF_PARSE_H
#define USHER_CONF_PARSE_H

#include "base/err.h"
#include "conf/conf.h"
#include "conf/source.h"

/* Fills `conf` from the text of `src`: all sections, their members, and a note for each setting
 * that was given. libconfuse's lexer is global, so one thread may do this, once at a time. */
int parse_source(const struct source *src, struct conf *conf, struct err *err) MUST_CHECK;

#endif
