/* When the keys of TLS tickets change, whatever else changes meanwhile. */
#include "conf_testing.h"
#include "parent/internal.h"

#define ROTATE(after) "tls { ticket_rotate = " after " }\n" GOOD_POOL GOOD_LISTENER

enum { HOUR_MS = 60 * 60 * 1000, LATE_MS = 60 * 1000 };

static void begin(struct parent *p, const char *text)
{
    struct err err;

    parent_init(p);
    p->loop = loop_new(&err);
    assert_non_null(p->loop);
    channels_init(&p->channels, p->loop);
    p->conf = load(text);
    assert_int_equal(tickets_begin(p, &err), 0);
}

static void end(struct parent *p)
{
    parent_free(p);
    loop_free(&p->loop);
}

/* Another configuration takes over, `ago_ms` after the last change of keys. */
static void reload(struct parent *p, const char *text, uint64_t ago_ms)
{
    conf_free(&p->conf);
    p->conf = load(text);
    p->rotated_ms = loop_now_ms(p->loop) - ago_ms;
    tickets_resume(p);
}

static void assert_due_in(const struct parent *p, uint64_t ms)
{
    const uint64_t now_ms = loop_now_ms(p->loop);

    assert_true(deadline_is_set(&p->rotate));
    assert_in_range(p->rotate.at_ms, now_ms + ms > LATE_MS ? now_ms + ms - LATE_MS : 0,
                    now_ms + ms + LATE_MS);
}

static void test_a_reload_does_not_put_the_change_of_keys_off(void **state)
{
    struct parent p;

    (void)state;
    begin(&p, ROTATE("8h"));
    assert_due_in(&p, 8 * HOUR_MS);
    reload(&p, ROTATE("8h"), 7 * HOUR_MS);
    assert_due_in(&p, HOUR_MS);
    reload(&p, ROTATE("2h"), 7 * HOUR_MS);
    assert_due_in(&p, 0);
    reload(&p, ROTATE("24h"), 7 * HOUR_MS);
    assert_due_in(&p, 17 * HOUR_MS);
    end(&p);
}

static void test_clients_are_told_how_long_two_changes_take(void **state)
{
    struct parent p;

    (void)state;
    begin(&p, ROTATE("8h"));
    assert_int_equal(p.tickets.lifetime_s, 16 * HOUR_MS / 1000);
    reload(&p, ROTATE("2h"), 0);
    assert_int_equal(p.tickets.lifetime_s, 4 * HOUR_MS / 1000);
    reload(&p, ROTATE("7d"), 0);
    assert_int_equal(p.tickets.lifetime_s, 7 * 24 * HOUR_MS / 1000);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reload_does_not_put_the_change_of_keys_off),
        cmocka_unit_test(test_clients_are_told_how_long_two_changes_take),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
