/* Rights of operators: names to numbers, and who has which. */
#include "admin/rights.h"

#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

static bool find_user(const char *name, id_t *out_id)
{
    const struct passwd *pw = getpwnam(name);

    if (pw)
        *out_id = pw->pw_uid;
    return pw != NULL;
}

static bool find_group(const char *name, id_t *out_id)
{
    const struct group *group = getgrnam(name);

    if (group)
        *out_id = group->gr_gid;
    return group != NULL;
}

static void add(struct rights *r, const char *who, bool may_steer)
{
    struct right_holder h = {.is_group = who[0] == '@', .may_steer = may_steer};

    h.name = who + h.is_group;
    if (h.is_group ? find_group(h.name, &h.id) : find_user(h.name, &h.id))
        r->all[r->n++] = h;
    else
        log_detail(LOG_DEBUG, "admin_%s: %s is not known here", may_steer ? "steer" : "see", who);
}

int rights_init(struct rights *r, const struct conf_global *conf, struct err *err)
{
    const struct conf_list *see = &conf->admin_see, *steer = &conf->admin_steer;
    id_t own;

    *r = (struct rights){.all = calloc(see->n + steer->n + 1, sizeof *r->all), .own = geteuid()};
    if (!r->all)
        return err_set(err, ENOMEM, "out of memory");
    /* Not started by root we are whoever it was. */
    r->own_name = find_user(conf->user, &own) && own == r->own ? conf->user : "";
    for (size_t i = 0; i < steer->n; i++)
        add(r, steer->items[i], true);
    for (size_t i = 0; i < see->n; i++)
        add(r, see->items[i], false);
    return 0;
}

void rights_done(struct rights *r)
{
    free(r->all);
    *r = (struct rights){0};
}

static bool is_in(const struct local_peer *peer, id_t group)
{
    for (size_t i = 0; i < peer->groups_n; i++) {
        if (peer->groups[i] == group)
            return true;
    }
    return false;
}

struct right rights_of(const struct rights *r, const struct local_peer *peer)
{
    struct right right = {.by = ""};

    for (size_t i = 0; i < r->n; i++) {
        const struct right_holder *h = &r->all[i];

        if (h->is_group ? !is_in(peer, h->id) : peer->uid != h->id)
            continue;
        right.may_see = true;
        right.may_steer |= h->may_steer;
        if (!h->is_group)
            right.by = h->name;
    }
    if (peer->uid == 0 || peer->uid == r->own) {
        right.may_see = right.may_steer = true;
        right.by = peer->uid == 0 ? "root" : r->own_name;
    }
    return right;
}
