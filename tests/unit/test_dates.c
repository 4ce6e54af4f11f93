/* Dates of INTERNALDATE: both ways, over the calendar, and what is no date. */
#include "cm.h"

#include "imap/date.h"

#include <stdio.h>
#include <time.h>

static void test_dates_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t time_s;
        int zone_min;
    } rows[] = {
        {"17-Jul-1996 02:44:25 -0700", 837596665, -420},
        {" 7-Feb-1994 21:52:25 -0800", 760686745, -480},
        {"7-Feb-1994 21:52:25 -0800", 760686745, -480},
        {"07-Feb-1994 21:52:25 -0800", 760686745, -480},
        {"01-Jan-1970 00:00:00 +0000", 0, 0},
        {"01-Jan-1970 00:00:00 -0000", 0, 0},
        {"01-JAN-1970 01:30:00 +0130", 0, 90},
        {"31-dec-1969 23:59:59 +0000", -1, 0},
        {"31-Dec-1969 12:00:00 -1200", 0, -720},
        {"29-Feb-2000 12:00:00 +0000", 951825600, 0},
        {"29-Feb-2024 00:00:00 +1400", 1709114400, 840},
        {"28-Feb-2100 23:59:59 +0000", 4107542399, 0},
        {"01-Mar-2100 00:00:00 +0000", 4107542400, 0},
        {"30-Jun-2015 23:59:60 +0000", 1435708800, 0}, /* a leap second */
        {"19-Jan-2038 03:14:08 +0000", 2147483648, 0},
        {"01-Jan-0000 00:00:00 +0000", -62167219200, 0},
        {"01-Jan-0000 00:00:00 +1400", -62167219200 - 50400, 840},
        {"31-Dec-9999 23:59:59 -1400", 253402300799 + 50400, -840},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct imap_date date;

        assert_true(date_parse(slice_str(rows[i].text), &date));
        assert_true(date.time_s == rows[i].time_s);
        assert_int_equal(date.zone_min, rows[i].zone_min);
    }
}

static void test_what_is_no_date(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),
        SLICE("17-Jul-1996"),
        SLICE("17-Jul-1996 02:44:25"),
        SLICE("17-Jul-1996 02:44:25 "),
        SLICE("17-Jul-1996 02:44:25 0700"),
        SLICE("17-Jul-1996 02:44:25 +070"),
        SLICE("17-Jul-1996 02:44:25 +07000"),
        SLICE("17-Jul-1996 02:44:25 +0700 "),
        SLICE("17-Jul-1996 02:44:25 GMT"),
        SLICE("17-Jul-1996 02:44:25+0700"),
        SLICE("17-Jul-1996 2:44:25 +0700"),
        SLICE("17-Jul-1996 02:44 +0700"),
        SLICE("17-Jul-1996 02:44:5 +0700"),
        SLICE("17-Jul-1996  02:44:25 +0700"),
        SLICE("17-Jul-1996 24:00:00 +0700"),
        SLICE("17-Jul-1996 02:60:00 +0700"),
        SLICE("17-Jul-1996 02:44:61 +0700"),
        SLICE("17-Jul-1996 02:44:25 +1401"),
        SLICE("17-Jul-1996 02:44:25 -1500"),
        SLICE("17-Jul-1996 02:44:25 +0160"),
        SLICE("17-Jul-96 02:44:25 +0700"),
        SLICE("17-Jul-19960 02:44:25 +0700"),
        SLICE("17-Jux-1996 02:44:25 +0700"),
        SLICE("17-July-1996 02:44:25 +0700"),
        SLICE("17-07-1996 02:44:25 +0700"),
        SLICE("17 Jul 1996 02:44:25 +0700"),
        SLICE("00-Jul-1996 02:44:25 +0700"),
        SLICE("0-Jul-1996 02:44:25 +0700"),
        SLICE("32-Jul-1996 02:44:25 +0700"),
        SLICE("31-Jun-1996 02:44:25 +0700"),
        SLICE("30-Feb-1996 02:44:25 +0700"),
        SLICE("29-Feb-1995 02:44:25 +0700"),
        SLICE("29-Feb-1900 02:44:25 +0700"),
        SLICE("29-Feb-2100 02:44:25 +0700"),
        SLICE("-1-Jul-1996 02:44:25 +0700"),
        SLICE(" 17-Jul-1996 02:44:25 +0700"),
        SLICE("  7-Jul-1996 02:44:25 +0700"),
        SLICE("017-Jul-1996 02:44:25 +0700"),
        SLICE("17-Jul--996 02:44:25 +0700"),
        SLICE("Wed, 17 Jul 1996 02:44:25 +0700"),
        SLICE("17-Jul-1996 02:44:25 +0700\r\n"),
        SLICE("\0007-Jul-1996 02:44:25 +0700"),
        SLICE("31-Dec-9999 23:59:60 +0000"), /* a second of the year 10000 */
    };
    struct imap_date date = {.time_s = 7};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool is_taken = date_parse(rows[i], &date);

        if (is_taken)
            print_error("taken: %.*s\n", SLICE_ARG(rows[i]));
        assert_false(is_taken);
        assert_true(date.time_s == 7);
    }
}

static void assert_written(int64_t time_s, int zone_min, const char *expected)
{
    const struct imap_date date = {.time_s = time_s, .zone_min = (int16_t)zone_min};
    char text[DATE_TEXT];

    assert_int_equal(date_write(date, text), expected != NULL);
    if (expected)
        assert_string_equal(text, expected);
}

static void test_dates_are_written(void **state)
{
    (void)state;
    assert_written(837596665, -420, "17-Jul-1996 02:44:25 -0700");
    assert_written(760686745, -480, " 7-Feb-1994 21:52:25 -0800");
    assert_written(0, 0, " 1-Jan-1970 00:00:00 +0000");
    assert_written(0, -1, "31-Dec-1969 23:59:00 -0001");
    assert_written(-1, 0, "31-Dec-1969 23:59:59 +0000");
    assert_written(951825600, 345, "29-Feb-2000 17:45:00 +0545");
    assert_written(-62167219200, 0, " 1-Jan-0000 00:00:00 +0000");
    assert_written(-62167219200, 840, " 1-Jan-0000 14:00:00 +1400");
    assert_written(-62167219200 - 50400, 840, " 1-Jan-0000 00:00:00 +1400");
    assert_written(253402300799, 0, "31-Dec-9999 23:59:59 +0000");
    assert_written(253402300799 + 50400, -840, "31-Dec-9999 23:59:59 -1400");
}

static void test_dates_that_have_no_text(void **state)
{
    (void)state;
    assert_written(-62167219201, 0, NULL);
    assert_written(-62167219200, -1, NULL);
    assert_written(253402300800, 0, NULL);
    assert_written(253402300799, 1, NULL);
    assert_written(INT64_MIN, 840, NULL);
    assert_written(INT64_MAX, 840, NULL);
    assert_written(0, 841, NULL);
    assert_written(0, -841, NULL);
    assert_written(0, INT16_MIN, NULL);
}

/* Beside libc's calendar. */
static void test_every_day_goes_both_ways(void **state)
{
    const int64_t day_s = 86400, from = -62135596800, to = 7289568000; /* the years 1 to 2200 */

    (void)state;
    for (int64_t day = from; day <= to; day += day_s) {
        struct imap_date date = {.time_s = day + (day / day_s * 7919 % day_s + day_s) % day_s,
                                 .zone_min = (int16_t)(day / day_s % 841)},
                         again;
        char text[DATE_TEXT], expected[64];
        time_t local = date.time_s + date.zone_min * 60;
        struct tm tm;

        assert_non_null(gmtime_r(&local, &tm));
        assert_true(date_write(date, text));
        strftime(expected, sizeof(expected), "%e-%b-", &tm);
        assert_memory_equal(text, expected, 7);
        snprintf(expected, sizeof(expected), "%04d %02d:%02d:%02d", tm.tm_year + 1900, tm.tm_hour,
                 tm.tm_min, tm.tm_sec);
        assert_memory_equal(text + 7, expected, 13);
        assert_true(date_parse(slice_str(text), &again));
        assert_true(again.time_s == date.time_s);
        assert_int_equal(again.zone_min, date.zone_min);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates_are_read),
        cmocka_unit_test(test_what_is_no_date),
        cmocka_unit_test(test_dates_are_written),
        cmocka_unit_test(test_dates_that_have_no_text),
        cmocka_unit_test(test_every_day_goes_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
