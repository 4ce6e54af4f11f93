/* Hashes by OpenSSL's SHA-256. */
#include "base/hash.h"

#include "base/err.h"

#include <openssl/sha.h>
#include <stdbool.h>
#include <sys/random.h>

static uint64_t big_endian(const unsigned char *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

struct hash128 hash_stable(struct slice s)
{
    unsigned char md[SHA256_DIGEST_LENGTH];

    INSIST(SHA256((const unsigned char *)s.p, s.n, md) != NULL);
    return (struct hash128){big_endian(md), big_endian(md + 8)};
}

uint64_t hash_key(struct slice s)
{
    static unsigned char key[32];
    static bool has_key;
    unsigned char md[SHA256_DIGEST_LENGTH];
    unsigned char in[sizeof key + SHA256_DIGEST_LENGTH];

    if (!has_key) {
        hash_random(key, sizeof key);
        has_key = true;
    }
    memcpy(in, key, sizeof key);
    INSIST(SHA256((const unsigned char *)s.p, s.n, in + sizeof key) != NULL);
    INSIST(SHA256(in, sizeof in, md) != NULL);
    return big_endian(md);
}

void hash_random(void *out, size_t n)
{
    INSIST(getrandom(out, n, 0) == (ssize_t)n);
}
