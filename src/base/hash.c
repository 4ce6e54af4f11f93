/* Hashes by OpenSSL's SHA-256. */
#include "base/hash.h"

#include "base/err.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
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

/* What OpenSSL calls an EVP_MD_CTX, and the algorithm, which it would look for at each text. */
struct hash_stream {
    EVP_MD_CTX *ctx;
    EVP_MD *md;
};

struct hash_stream *hash_stream_new(void)
{
    struct hash_stream *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->ctx = EVP_MD_CTX_new();
    h->md = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    if (!h->ctx || !h->md)
        hash_stream_free(&h);
    return h;
}

void hash_stream_free(struct hash_stream **h)
{
    if (!*h)
        return;
    EVP_MD_CTX_free((*h)->ctx);
    EVP_MD_free((*h)->md);
    free(*h);
    *h = NULL;
}

void hash_stream_begin(struct hash_stream *h)
{
    INSIST(EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1);
}

void hash_stream_add(struct hash_stream *h, struct slice s)
{
    INSIST(EVP_DigestUpdate(h->ctx, s.p, s.n) == 1);
}

struct hash128 hash_stream_end(struct hash_stream *h)
{
    unsigned char md[SHA256_DIGEST_LENGTH];

    INSIST(EVP_DigestFinal_ex(h->ctx, md, NULL) == 1);
    return (struct hash128){big_endian(md), big_endian(md + 8)};
}

static unsigned char key[32];

static void draw_key(void)
{
    hash_random(key, sizeof key);
}

uint64_t hash_key(struct slice s)
{
    static pthread_once_t is_drawn = PTHREAD_ONCE_INIT;
    unsigned char md[SHA256_DIGEST_LENGTH];
    unsigned char in[sizeof key + SHA256_DIGEST_LENGTH];

    INSIST(pthread_once(&is_drawn, draw_key) == 0);
    memcpy(in, key, sizeof key);
    INSIST(SHA256((const unsigned char *)s.p, s.n, in + sizeof key) != NULL);
    INSIST(SHA256(in, sizeof in, md) != NULL);
    return big_endian(md);
}

void hash_random(void *out, size_t n)
{
    INSIST(getrandom(out, n, 0) == (ssize_t)n);
}
