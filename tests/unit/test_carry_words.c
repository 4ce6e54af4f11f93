/* What a refusal of a message means: words of servers as they are known to be. */
#include "sync/carry.h"

#include "cm.h"

struct row {
    const char *code, *text;
    enum carry_refusal refusal;
    enum sync_reason reason; /* with REFUSAL_MESSAGE */
    uint32_t pause_ms;       /* with REFUSAL_PAUSE and REFUSAL_LIMIT */
};

static const struct row rows[] = {
    {"TOOBIG", "[TOOBIG] Message is too large", REFUSAL_MESSAGE, REASON_TOO_BIG, 0},
    {"", "Message size exceeds fixed maximum message size", REFUSAL_MESSAGE, REASON_TOO_BIG, 0},
    {"", "Message contains NUL characters", REFUSAL_MESSAGE, REASON_HAS_NUL, 0},
    {"", "Message contains bare newlines", REFUSAL_MESSAGE, REASON_BAD_MESSAGE, 0},
    {"", "Can't save a zero byte message.", REFUSAL_MESSAGE, REASON_BAD_MESSAGE, 0},
    {"", "Message contains invalid header", REFUSAL_MESSAGE, REASON_BAD_MESSAGE, 0},
    {"OVERQUOTA", "[OVERQUOTA] Quota exceeded (mailbox for user is full)", REFUSAL_QUOTA, 0, 0},
    {"LIMIT", "[LIMIT] Quota exceeded", REFUSAL_QUOTA, 0, 0},
    {"", "Over quota", REFUSAL_QUOTA, 0, 0},
    {"TRYCREATE", "[TRYCREATE] Mailbox doesn't exist: a", REFUSAL_CREATE, 0, 0},
    {"trycreate", "[trycreate] no such mailbox", REFUSAL_CREATE, 0, 0},
    {"LIMIT", "[LIMIT] Too many user flags in mailbox", REFUSAL_KEYWORDS, 0, 0},
    {"", "Maximum number of keywords reached", REFUSAL_KEYWORDS, 0, 0},
    {"", "Invalid date-time in Append command", REFUSAL_DATE, 0, 0},
    {"UNAVAILABLE", "[UNAVAILABLE] Timeout while waiting for lock", REFUSAL_PAUSE, 0, 0},
    {"INUSE", "[INUSE] Mailbox is busy", REFUSAL_PAUSE, 0, 0},
    {"", "Request is throttled. Suggested Backoff Time: 92415 milliseconds", REFUSAL_PAUSE, 0,
     92415},
    {"", "Server busy, try again in 5 seconds", REFUSAL_PAUSE, 0, 5000},
    {"", "temporary failure, retry after 2 minutes", REFUSAL_PAUSE, 0, 120000},
    {"", "rate limit reached, back in 30s", REFUSAL_PAUSE, 0, 30000},
    {"THROTTLED", "[THROTTLED] wait 250ms", REFUSAL_PAUSE, 0, 250},
    {"LIMIT", "[LIMIT] No more than 100 messages", REFUSAL_LIMIT, 0, 0},
    {"", "Not this one", REFUSAL_UNKNOWN, 0, 0},
    {"", "", REFUSAL_UNKNOWN, 0, 0},
    {"SERVERBUG", "[SERVERBUG] Internal error occurred", REFUSAL_UNKNOWN, 0, 0},
};

static void each_refusal_is_taken_for_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum sync_reason reason = 0;
        uint32_t pause_ms = 0;
        enum carry_refusal refusal =
            carry_refusal(slice_str(rows[i].code), slice_str(rows[i].text), &reason, &pause_ms);

        if (refusal != rows[i].refusal || pause_ms != rows[i].pause_ms ||
            (refusal == REFUSAL_MESSAGE && reason != rows[i].reason))
            fail_msg("%s: refusal %d, reason %d, pause %u", rows[i].text, (int)refusal, (int)reason,
                     pause_ms);
    }
}

static void a_pause_that_nobody_can_mean_is_none(void **state)
{
    static const char *const texts[] = {"try again in 99999999999999999999 seconds",
                                        "throttled for 1000000 minutes", "temporarily out of 7"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        enum sync_reason reason;
        uint32_t pause_ms = 1;

        assert_int_equal(carry_refusal((struct slice){0}, slice_str(texts[i]), &reason, &pause_ms),
                         REFUSAL_PAUSE);
        assert_int_equal(pause_ms, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_refusal_is_taken_for_what_it_is),
        cmocka_unit_test(a_pause_that_nobody_can_mean_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
