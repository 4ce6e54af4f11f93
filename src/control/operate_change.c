/* Changes of usher itself, which are the parent's to make: who waits for what comes of one. */
#include "control/operate.h"

#include "control/operate_parts.h"

#include <errno.h>

int operate_change(struct operate *o, struct changer *c, enum change_kind what, struct err *err)
{
    if (!o->change)
        return err_set(err, ENOSYS, "there is nobody who could change this usher");
    c->id = ++o->changes_n;
    list_append(&o->changers, &c->node);
    o->change(o->arg, c->id, what);
    return 0;
}

static struct changer *find(const struct operate *o, uint32_t id)
{
    list_for_each (it, &o->changers) {
        struct changer *c = CONTAINER(it, struct changer, node);

        if (c->id == id)
            return c;
    }
    return NULL;
}

void operate_changed(struct operate *o, uint32_t id, const struct msg_changed *m,
                     struct slice words)
{
    struct changer *c = find(o, id);

    if (!c)
        return;
    if (m->status == CHANGE_TOLD) {
        c->on_line(c, words);
        return;
    }
    list_remove(&c->node);
    c->on_over(c, m->status == CHANGE_DONE ? CHANGE_DONE : CHANGE_REFUSED, m->generation, words);
}
