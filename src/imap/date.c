/* Dates of INTERNALDATE; see imap/date.h. The calendar is counted in days of years that begin in
 * March, in which the leap day is the last. */
#include "imap/date.h"

#include "imap/lex.h"

#include <stdio.h>

enum { DAY_S = 86400, ZONE_MOST = 14 * 60, ERA_DAYS = 146097, DAYS_TO_1970 = 719468 };

/* The years 0 to 9999. */
static const int64_t first_s = -62167219200, last_s = 253402300799;

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* `least` to `most` digits; as many as there are. */
static bool number(struct lex *l, size_t least, size_t most, int *out_n)
{
    size_t n = 0;
    int v = 0;

    while (n < l->s.n && n < most && l->s.p[n] >= '0' && l->s.p[n] <= '9')
        v = v * 10 + (l->s.p[n++] - '0');
    if (n < least)
        return false;
    l->s = slice_sub(l->s, n, l->s.n);
    *out_n = v;
    return true;
}

/* 1 to 12. */
static bool month_name(struct lex *l, int *out_month)
{
    struct slice word = slice_sub(l->s, 0, 3);

    for (int i = 0; i < 12; i++) {
        if (!slice_ieq(word, slice_of(months[i], 3)))
            continue;
        l->s = slice_sub(l->s, 3, l->s.n);
        *out_month = i + 1;
        return true;
    }
    return false;
}

static int days_in(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && is_leap);
}

/* Days since 1970. */
static int64_t days_of(int year, int month, int day)
{
    const int from_march = (month + 9) % 12;
    const int64_t y = (int64_t)year + 400 - (month < 3); /* an era more, so that none is below 0 */
    const int64_t era = y / 400, of_era = y % 400;

    return (era - 1) * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 +
           (153 * from_march + 2) / 5 + day - 1 - DAYS_TO_1970;
}

/* dd-Mon-yyyy, as days since 1970. */
static bool date_part(struct lex *l, int64_t *out_days)
{
    int year, month, day;

    if (!number(l, 1, lex_sp(l) ? 1 : 2, &day) || !lex_byte(l, '-') || !month_name(l, &month) ||
        !lex_byte(l, '-') || !number(l, 4, 4, &year))
        return false;
    *out_days = days_of(year, month, day);
    return day >= 1 && day <= days_in(year, month);
}

/* hh:mm:ss, as seconds. */
static bool time_part(struct lex *l, int *out_s)
{
    int hour, minute, second;

    if (!number(l, 2, 2, &hour) || !lex_byte(l, ':') || !number(l, 2, 2, &minute) ||
        !lex_byte(l, ':') || !number(l, 2, 2, &second))
        return false;
    *out_s = (hour * 60 + minute) * 60 + second;
    return hour < 24 && minute < 60 && second <= 60;
}

/* +hhmm, as minutes. */
static bool zone_part(struct lex *l, int *out_min)
{
    const bool is_west = lex_byte(l, '-');
    int hours, minutes;

    if ((!is_west && !lex_byte(l, '+')) || !number(l, 2, 2, &hours) || !number(l, 2, 2, &minutes))
        return false;
    *out_min = (hours * 60 + minutes) * (is_west ? -1 : 1);
    return minutes < 60 && hours * 60 + minutes <= ZONE_MOST;
}

bool date_parse(struct slice s, struct imap_date *out_date)
{
    struct lex l = lex_start(s);
    int64_t days, local_s;
    int second, zone;

    if (!date_part(&l, &days) || !lex_sp(&l) || !time_part(&l, &second) || !lex_sp(&l) ||
        !zone_part(&l, &zone) || l.s.n > 0)
        return false;
    local_s = days * DAY_S + second;
    if (local_s > last_s) /* the last of all seconds, were it 60 */
        return false;
    *out_date = (struct imap_date){.time_s = local_s - zone * 60, .zone_min = (int16_t)zone};
    return true;
}

bool date_write(struct imap_date date, char out[DATE_TEXT])
{
    const int zone = date.zone_min, east = zone < 0 ? -zone : zone;
    int64_t local_s, days, era, of_era, year_of_era, day_of_year, from_march;
    int second, year, month, day;

    if (east > ZONE_MOST || date.time_s < first_s - DAY_S || date.time_s > last_s + DAY_S)
        return false;
    local_s = date.time_s + zone * 60;
    if (local_s < first_s || local_s > last_s)
        return false;
    days = (local_s - first_s) / DAY_S;
    second = (int)((local_s - first_s) % DAY_S);
    days += ERA_DAYS - 60; /* from the first of March of the year -400 on */
    era = days / ERA_DAYS;
    of_era = days % ERA_DAYS;
    year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    from_march = (5 * day_of_year + 2) / 153;
    day = (int)(day_of_year - (153 * from_march + 2) / 5 + 1);
    month = (int)((from_march + 2) % 12 + 1);
    year = (int)(year_of_era + (era - 1) * 400 + (month < 3));
    return snprintf(out, DATE_TEXT, "%2d-%s-%04d %02d:%02d:%02d %c%02d%02d", day, months[month - 1],
                    year, second / 3600, second / 60 % 60, second % 60, zone < 0 ? '-' : '+',
                    east / 60, east % 60) == DATE_TEXT - 1;
}
