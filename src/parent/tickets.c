/* The keys of TLS tickets. Three at a time, as ipc/message.h says: workers know a key before the
 * first of them uses it, and for one change longer than the last of them does. */
#include "base/log.h"
#include "net/tls.h"
#include "parent/internal.h"

#include <string.h>

/* The most that a client may be told (RFC 8446 section 4.6.1). */
enum { LIFETIME_MOST_S = 7 * 24 * 60 * 60 };

static void rotate(struct parent *p, const unsigned char fresh[TICKET_KEY])
{
    struct msg_tickets *t = &p->tickets;

    memmove(t->keys[1], t->keys[0], sizeof t->keys - sizeof t->keys[0]);
    memcpy(t->keys[0], fresh, TICKET_KEY);
    p->rotated_ms = loop_now_ms(p->loop);
}

static void on_rotate(struct deadline *d)
{
    struct parent *p = CONTAINER(d, struct parent, rotate);
    unsigned char fresh[TICKET_KEY];
    struct err err;

    deadline_set(p->loop, &p->rotate, p->conf->tls.ticket_rotate);
    if (tls_ticket_key(fresh, &err) < 0) {
        /* No handshake would succeed without random numbers either. */
        log_detail(LOG_FATAL, "%s", err.text);
        parent_stop(p, true);
        return;
    }
    rotate(p, fresh);
    wipe(fresh, sizeof fresh);
    processes_each(p, process_give_tickets, NULL);
}

void tickets_init(struct parent *p)
{
    deadline_init(&p->rotate, on_rotate);
}

void tickets_resume(struct parent *p)
{
    const uint64_t age_ms = loop_now_ms(p->loop) - p->rotated_ms;
    const uint64_t rotate_ms = p->conf->tls.ticket_rotate;
    const uint32_t twice_s = p->conf->tls.ticket_rotate / 1000 * 2;
    const uint32_t lifetime_s = twice_s < LIFETIME_MOST_S ? twice_s : LIFETIME_MOST_S;

    if (p->tickets.lifetime_s != lifetime_s) {
        p->tickets.lifetime_s = lifetime_s;
        processes_each(p, process_give_tickets, NULL);
    }
    deadline_set(p->loop, &p->rotate, rotate_ms > age_ms ? rotate_ms - age_ms : 0);
}

int tickets_begin(struct parent *p, struct err *err)
{
    for (size_t i = 0; i < TICKET_KEYS; i++) {
        if (tls_ticket_key(p->tickets.keys[i], err) < 0)
            return -1;
    }
    p->rotated_ms = loop_now_ms(p->loop);
    tickets_resume(p);
    return 0;
}

void tickets_end(struct parent *p)
{
    deadline_clear(&p->rotate);
    wipe(&p->tickets, sizeof p->tickets);
}
