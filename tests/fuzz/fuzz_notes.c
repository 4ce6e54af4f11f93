/* Notes of a control for the next one: whatever they say, it takes them; and what it would write
 * then, the next but one takes and writes the same. */
#include "base/log.h"
#include "control/moves.h"
#include "control/notes.h"
#include "control/operate.h"
#include "control/succession.h"

#include "cut.h"

#include <fcntl.h>
#include <stdlib.h>

enum { NOW_MS = 100 * 1000 * 1000, TEXT_MAX = 4096 };

static const char conf_text[] =
    "listener own { address = \"*:1\" }\n"
    "listener shared { address = \"*:2\" pool = shared }\n"
    "pool own { backend o1 { address = \"192.0.2.1:10143\" }\n"
    "  backend o2 { address = \"192.0.2.2:10143\" } }\n"
    "pool shared { storage = shared slow_start = 10s\n"
    "  backend s1 { address = \"192.0.2.11:10143\" }\n"
    "  backend s2 { address = \"192.0.2.12:10143\" } }\n"
    "pool still { check = off backend t1 { address = \"192.0.2.21:10143\" } }\n";

/* Nobody is admitted here, so that nobody is told anything. */
static const struct admission_effects effects;

struct control {
    struct backends backends;
    struct admission *admission;
    struct operate *operate;
};

static const struct conf *conf_once(void)
{
    static struct conf *conf;
    struct err err;

    if (!conf) {
        log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LEVEL_ERROR);
        INSIST(conf_load_text(conf_text, "fuzz", &conf, &err) == 0);
    }
    return conf;
}

static struct succession begin(struct control *c)
{
    const struct conf *conf = conf_once();
    const struct admission_params params = {
        .conf = conf, .backends = &c->backends, .epoch = 2, .effects = &effects, .now_ms = NOW_MS};
    struct operate_params operating = {.conf = conf, .backends = &c->backends};
    struct err err;

    INSIST(backends_init(&c->backends, conf, &err) == 0);
    /* So that inputs can say it, whatever settings there are. */
    for (size_t i = 0; i < c->backends.n; i++)
        c->backends.all[i].meaning = i + 1;
    INSIST(admission_new(&params, &c->admission, &err) == 0);
    operating.admission = c->admission;
    INSIST(operate_new(&operating, &c->operate, &err) == 0);
    return (struct succession){.conf = conf,
                               .backends = &c->backends,
                               .admission = c->admission,
                               .moves = operate_machine(c->operate)};
}

static void end(struct control *c)
{
    operate_free(&c->operate);
    /* Who was kept for a move or a kick is known no longer. */
    INSIST(admission_registry(c->admission)->users.used == 0);
    admission_free(&c->admission);
    backends_done(&c->backends);
}

/* What a control that has taken `text` would write. */
static void pass_on(struct slice text, struct buf *out, struct succession_sum *taken)
{
    struct control c;
    const struct succession s = begin(&c);
    struct succession_sum written;

    succession_take(&s, text, NOW_MS, taken);
    buf_init(out, NOTES_MAX, false);
    succession_write(&s, NOW_MS, out, &written);
    INSIST(written.lost == 0);
    INSIST(written.moves == taken->moves && written.waiting == taken->waiting);
    end(&c);
}

static void check_form(struct slice text)
{
    static struct notes_reader r;
    enum notes_result result;

    if (!notes_read(&r, text))
        return;
    while ((result = notes_next(&r)) != NOTES_OVER) {
        INSIST(r.pairs_n <= NOTES_PAIRS && (result == NOTES_READ || r.pairs_n == 0));
        for (size_t i = 0; i < r.pairs_n; i++)
            INSIST(lies_in(r.pairs[i].key, text) &&
                   lies_in(r.pairs[i].value, slice_of(r.line, sizeof r.line)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct succession_sum taken;
    struct buf first, second;
    char *copy;

    if (size > TEXT_MAX)
        return 0;
    copy = malloc(size ? size : 1);
    INSIST(copy);
    if (size)
        memcpy(copy, data, size);
    check_form(slice_of(copy, size));
    pass_on(slice_of(copy, size), &first, &taken);
    free(copy);
    pass_on(buf_slice(&first), &second, &taken);
    INSIST(taken.lost == 0);
    INSIST(slice_eq(buf_slice(&first), buf_slice(&second)));
    buf_release(&first);
    buf_release(&second);
    return 0;
}
