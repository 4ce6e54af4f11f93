/* The commit of a change: from here on it is so. */
#include "parent/change.h"

#include "base/log.h"
#include "parent/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The configuration as it was prepared, which is known to be good. */
int change_load(int fd, struct conf **out_conf, struct err *err)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size < 0 ? NULL : calloc(1, (size_t)size + 1);
    int done;

    if (!text || pread(fd, text, (size_t)size, 0) != size) {
        free(text);
        return err_set(err, ENOMEM, "cannot take over the configuration");
    }
    done = conf_load_text(text, "configuration", out_conf, err);
    wipe(text, (size_t)size);
    free(text);
    return done;
}

static int name_ports(struct ports *ports, const struct conf *conf, struct err *err)
{
    for (size_t i = 0; i < ports->n; i++) {
        if (ports->all[i].listener >= conf->listeners_n ||
            ports_name(&ports->all[i], &conf->listeners[ports->all[i].listener]) < 0)
            return err_set(err, 0, "a socket of a listener that there is not");
    }
    return 0;
}

/* It fails where somebody came to listen there since it was tried. For a reload that is reason
 * enough; an upgrade cannot go back, and has each worker try again and say so. */
static int listen_on_new(const struct change *c, struct err *err)
{
    return ports_listen(&c->ports, err) < 0 && c->what == CHANGE_RELOAD ? -1 : 0;
}

static void take_door(struct parent *p)
{
    struct change *c = p->change;

    if (c->prepared.door == DOOR_KEPT)
        return;
    door_close(p);
    p->door = c->door;
    p->door_path = c->door_path;
    c->door.fd = -1;
    c->door_path = NULL;
}

static void log_change(const struct parent *p, const char *before)
{
    const struct change *c = p->change;
    struct log_line l;

    log_begin(&l, c->what == CHANGE_UPGRADE ? LOG_UPGRADED : LOG_RELOADED);
    log_uint(&l, "generation", p->current->number);
    if (c->what == CHANGE_UPGRADE) {
        log_str(&l, "version", p->current->version);
        log_str(&l, "before", before);
    } else {
        log_uint(&l, "changes", c->prepared.changes_n);
        log_uint(&l, "files", c->prepared.files_n);
    }
    log_uint(&l, "workers", p->current->workers_n);
    log_end(&l);
}

int change_commit(struct parent *p, struct err *err)
{
    struct change *c = p->change;
    struct conf *conf;
    char before[VERSION_TEXT];

    if (change_load(p->next->rules_fd, &conf, err) < 0)
        return -1;
    if (name_ports(&c->ports, conf, err) < 0 || listen_on_new(c, err) < 0 ||
        ports_take_over(&c->ports, &p->ports, err) < 0) {
        conf_free(&conf);
        return -1;
    }
    memcpy(before, p->current->version, sizeof before);
    log_open(p->log_fd, (enum log_level)conf->global.log_level);
    ports_log(&c->ports, conf, &p->ports);
    take_door(p);
    /* Before the control that asked is told to end. */
    change_say(p, &c->asker, CHANGE_DONE, p->next->number, "");
    generation_switch(p, conf, &c->ports);
    close_fd(&p->current->program_fd);
    tickets_resume(p);
    watchdog_begin(p);
    renew_look(p);
    log_change(p, before);
    change_end(p, false);
    return 0;
}
