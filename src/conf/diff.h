/* What differs between two snapshots of the configuration, for people; and what a worker's part of
 * one means, so that processes with different snapshots can tell whether they mean the same. Pure.
 */
#ifndef USHER_CONF_DIFF_H
#define USHER_CONF_DIFF_H

#include "conf/conf.h"

#include <stddef.h>
#include <stdint.h>

/* Told of one difference, without a line end: `backend mail3 (pool main): added`,
 * `pool main: queue_timeout 10s -> 20s`, `listener imaps: removed`,
 * `directory people: rules changed`. Values as one would write them; never one that may be a secret
 * (rules of directories). `text` is valid for the call. */
typedef void conf_told(void *arg, const char *text);

/* Tells all differences, in the order of the sections and of settings.def, those of the new snapshot
 * first, then what was removed; returns how many. Sections are compared by their names, so their
 * order counts only for directories (asked in the order written) and the first listener's and pool's
 * place, which `route` and defaults go by: "order of directories changed". */
size_t conf_diff(const struct conf *before, const struct conf *after, conf_told *told, void *arg);

/* What may not change while usher runs (state, user, worker_user): a line for each that does, with
 * what to do instead; returns how many. */
size_t conf_diff_refused(const struct conf *before, const struct conf *after, conf_told *told,
                         void *arg);

/* A number that is the same in two snapshots exactly when a worker serves logins on the backend in
 * the same way in both (but for chance, 2^-64): the titles, and all settings of the backend, its
 * pool and the global ones of TLS towards backends that are not at their defaults. So a setting that
 * a later release adds changes no number as long as it is not used. */
uint64_t conf_meaning(const struct conf *conf, size_t pool, size_t backend);

#endif
