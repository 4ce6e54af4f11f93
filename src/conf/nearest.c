/* "Did you mean": edit distance with swaps of neighbours (optimal string alignment). */
#include "conf/nearest.h"

#include <string.h>

/* Longer words are nobody's typing mistake. */
enum { WORD_MAX = 48 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, size_t a_n, const char *b, size_t b_n)
{
    /* Rows of the table for the last two letters of `a` and the present one. */
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= b_n; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_n; i++) {
        size_t *free_row = before;

        now[0] = i;
        for (size_t j = 1; j <= b_n; j++) {
            size_t change = last[j - 1] + (a[i - 1] != b[j - 1]);

            now[j] = least(change, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        before = last;
        last = now;
        now = free_row;
    }
    return last[b_n];
}

const char *nearest(const char *word, const char *const *words, size_t n)
{
    const size_t word_n = strlen(word);
    const char *best = NULL;
    size_t best_distance = (word_n < 3 ? 3 : word_n) / 3 + 1;

    if (word_n == 0 || word_n > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(words[i]);
        size_t d;

        /* The distance is no less than what one is longer than the other. */
        if (length > WORD_MAX || length >= word_n + best_distance ||
            word_n >= length + best_distance)
            continue;
        d = distance(word, word_n, words[i], length);
        if (d < best_distance && d < length) {
            best_distance = d;
            best = words[i];
        }
    }
    return best;
}
