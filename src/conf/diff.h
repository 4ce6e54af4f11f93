/* What differs between two snapshots of the configuration, for people; and what a backend means to
 * a worker, as a number, so that processes with different snapshots can tell whether they mean the
 * same. Opens no files.
 */
#ifndef USHER_CONF_DIFF_H
#define USHER_CONF_DIFF_H

#include "conf/conf.h"

#include <stddef.h>
#include <stdint.h>

/* Told of one difference, without a line end, in less than CONF_DIFF_TEXT bytes with NUL:
 * `backend mail3 (pool main): added`, `pool main: queue_timeout 10s -> 20s`,
 * `log_level info -> debug`, `listener imaps: removed`, `directory people: rules changed`. Values
 * stand as one would write them, cut where they are long, and only as "changed" where nothing is
 * left to see then; never one that may be a secret (rules of directories; every other secret is in
 * a file of its own). `text` is valid for the call. */
enum { CONF_DIFF_TEXT = 640 };
typedef void conf_told(void *arg, const char *text);

/* Tells all differences and returns how many. In the order in which a snapshot is printed: what
 * stands in no section, then kind after kind of sections (listener, tls, certificate, directory,
 * pool with its backends); of each kind those of the new snapshot in their order, settings in that
 * of settings.def, then those that were removed. Of a section that was added or removed no settings
 * are told.
 *
 * Sections are the same when they have the same name (and backends: in the same pool). Their order
 * counts only for directories, which are asked in it ("order of directories changed"), and for who
 * is the first listener, which `usher route` goes by, and the first pool, which listeners that name
 * none go by ("first pool main -> other"). How a value was written (60s, 1m), where it was, and
 * that a default was left out, make no difference.
 *
 * Both snapshots have the rules of directories, or neither (conf_print_without_rules()). */
size_t conf_diff(const struct conf *before, const struct conf *after, conf_told *told, void *arg);

/* What may not change while usher runs (user, worker_user, state): a line for each that does, with
 * what to do instead; returns how many. conf_diff() tells of them too. */
size_t conf_diff_refused(const struct conf *before, const struct conf *after, conf_told *told,
                         void *arg);

/* A number that is the same in two snapshots exactly when a worker serves logins on the backend in
 * the same way in both (but for chance, 2^-64). In it are the titles of pool and backend, and the
 * settings by which a worker dials the backend, secures the connection, introduces itself and logs
 * in there, as far as they are in use; the same on every machine. So a changed weight or limit, a
 * setting of probes, a time or anything outside of pools changes no number, nor does a setting that
 * a later release adds, as long as it is not used. Files count by their paths, not by what is in
 * them. The table in meaning.c says which settings count. Allocates nothing. */
uint64_t conf_meaning(const struct conf *conf, size_t pool, size_t backend);

#endif
