/* SipHash-2-4 (Aumasson, Bernstein 2012): whoever does not know the salt cannot make collisions. */
#include "directory/map_parts.h"

#include <endian.h>
#include <string.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void round_of(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static void take_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    round_of(s);
    round_of(s);
    s->v0 ^= word;
}

uint64_t map_hash(const uint64_t salt[2], unsigned char first, struct slice s)
{
    struct sip sip = {salt[0] ^ 0x736f6d6570736575U, salt[1] ^ 0x646f72616e646f6dU,
                      salt[0] ^ 0x6c7967656e657261U, salt[1] ^ 0x7465646279746573U};
    uint64_t word = first;
    size_t filled = 1; /* bytes of `word` */

    for (size_t at = 0; at < s.n;) {
        uint64_t bytes = 0;
        const size_t n = s.n - at < 8 - filled ? s.n - at : 8 - filled;

        memcpy(&bytes, s.p + at, n);
        word |= le64toh(bytes) << 8 * filled;
        at += n;
        filled += n;
        if (filled == 8) {
            take_word(&sip, word);
            word = 0;
            filled = 0;
        }
    }
    take_word(&sip, word | (uint64_t)(s.n + 1) << 56);
    sip.v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        round_of(&sip);
    return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}
