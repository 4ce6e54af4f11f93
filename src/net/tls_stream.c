/* The TLS half of a stream: OpenSSL's calls, and their results in the terms of stream.h. What is
 * watched for is stream.c's affair. */
#include "net/stream.h"
#include "net/tls_parts.h"

#include "base/addr.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* OpenSSL keeps a queue of errors for the thread and SSL_get_error() looks into it, so that what an
 * earlier call has left would be taken for this one's. */
static void before_call(void)
{
    ERR_clear_error();
    errno = 0;
}

/* SSL_read() goes on as long as records come that hold no data: a peer that sends key updates
 * faster than they are worked off would keep it, and with it this process, for as long as it likes.
 * So a call reads the socket a few times only; what is left in the kernel makes an event again. */
enum { READS_A_CALL = 4 };

static long on_bio(BIO *bio, int operation, const char *p, size_t n, int i, long l, int ret,
                   size_t *done)
{
    struct stream *s = (struct stream *)(void *)BIO_get_callback_arg(bio);

    (void)p, (void)n, (void)i, (void)l, (void)done;
    if (operation != BIO_CB_READ)
        return ret;
    if (s->tls_reads == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    s->tls_reads--;
    return ret;
}

static enum io failed(struct stream *s, unsigned long code, bool is_tls)
{
    /* OpenSSL 3 packs library, reason and whether it is errno's into 32 bits. */
    s->error = (uint32_t)code;
    s->error_is_tls = is_tls;
    return IO_FAILED;
}

/* The oldest error tells most, but for certificates: what has failed in one of them stands before
 * the word that it was verified, and means little without. */
static unsigned long take_cause(void)
{
    unsigned long last = ERR_peek_last_error(), first = tls_take_error();
    bool is_verification =
        ERR_GET_LIB(last) == ERR_LIB_SSL && ERR_GET_REASON(last) == SSL_R_CERTIFICATE_VERIFY_FAILED;

    return is_verification ? last : first;
}

/* What a call that returned no success means. `want_read` and `want_write` are the bits of
 * tls_needs for the two cases, 0 where that is the call's nature. */
static enum io verdict(struct stream *s, int ret, unsigned want_read, unsigned want_write)
{
    int saved_errno = errno;

    switch (SSL_get_error(s->tls, ret)) {
    case SSL_ERROR_WANT_READ:
        s->tls_needs |= (uint8_t)want_read;
        return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        s->tls_needs |= (uint8_t)want_write;
        return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return IO_EOF;
    case SSL_ERROR_SYSCALL:
        return failed(s, (unsigned long)(saved_errno ? saved_errno : ECONNRESET), false);
    default:
        return failed(s, take_cause(), true);
    }
}

enum io tls_stream_read(struct stream *s, void *p, size_t cap, size_t *out_n)
{
    size_t n;
    int ret;

    s->tls_needs &= (uint8_t)~TLS_NEEDS_WRITE_TO_READ;
    s->tls_reads = READS_A_CALL;
    before_call();
    ret = SSL_read_ex(s->tls, p, cap, &n);
    if (ret != 1)
        return verdict(s, ret, 0, TLS_NEEDS_WRITE_TO_READ);
    *out_n = n;
    return IO_OK;
}

enum io tls_stream_write(struct stream *s, struct slice data, size_t *out_n)
{
    size_t total = 0;

    s->tls_needs &= (uint8_t)~TLS_NEEDS_READ_TO_WRITE;
    /* Each call writes one record. */
    while (total < data.n) {
        size_t n;
        int ret;
        enum io io;

        s->tls_reads = READS_A_CALL;
        before_call();
        ret = SSL_write_ex(s->tls, data.p + total, data.n - total, &n);
        if (ret == 1) {
            total += n;
            continue;
        }
        io = verdict(s, ret, TLS_NEEDS_READ_TO_WRITE, 0);
        /* A peer's close_notify does not keep us from writing; whatever says EOF here is odd. */
        if (io == IO_EOF)
            return failed(s, EPIPE, false);
        if (io == IO_FAILED || total == 0)
            return io;
        break;
    }
    *out_n = total;
    return IO_OK;
}

enum io tls_stream_handshake(struct stream *s, bool reads)
{
    enum io io;
    int ret;

    s->tls_needs &= (uint8_t)~TLS_NEEDS_SHAKE;
    s->tls_reads = reads ? READS_A_CALL : 0;
    before_call();
    ret = SSL_do_handshake(s->tls);
    if (ret == 1)
        return IO_OK;
    io = verdict(s, ret, TLS_NEEDS_READ_TO_SHAKE, TLS_NEEDS_WRITE_TO_SHAKE);
    return io == IO_EOF ? failed(s, 0, false) : io;
}

bool tls_stream_holds_bytes(const struct stream *s)
{
    return SSL_has_pending(s->tls) == 1;
}

void tls_stream_finish(struct stream *s)
{
    before_call();
    if (!SSL_in_init(s->tls))
        (void)SSL_shutdown(s->tls);
    ERR_clear_error();
}

bool stream_tls_key(const struct stream *s, unsigned char out_digest[32])
{
    X509 *cert = s->tls ? SSL_get0_peer_certificate(s->tls) : NULL;
    unsigned n = 0;

    return cert &&
           ASN1_item_digest(ASN1_ITEM_rptr(X509_PUBKEY), EVP_sha256(), X509_get_X509_PUBKEY(cert),
                            out_digest, &n) == 1 &&
           n == 32;
}

bool stream_tls_subject(const struct stream *s, char *out, size_t cap)
{
    X509 *cert = s->tls ? SSL_get0_peer_certificate(s->tls) : NULL;

    INSIST(cap > 0);
    if (!cert)
        return false;
    tls_name_text(X509_get_subject_name(cert), out, cap);
    return true;
}

bool stream_tls_is_resumed(const struct stream *s)
{
    return s->tls && SSL_session_reused(s->tls) == 1;
}

void stream_tls_cleanse(struct stream *s, bool on)
{
    if (s->tls && on)
        SSL_set_options(s->tls, SSL_OP_CLEANSE_PLAINTEXT);
    else if (s->tls)
        SSL_clear_options(s->tls, SSL_OP_CLEANSE_PLAINTEXT);
}

const char *stream_tls_cipher(const struct stream *s)
{
    return s->tls ? SSL_get_cipher_name(s->tls) : "";
}

const char *tls_stream_version(const struct stream *s)
{
    return SSL_get_version(s->tls);
}

void tls_stream_free(struct stream *s)
{
    struct tls_context *ctx = tls_context_of(s->tls);

    SSL_free(s->tls);
    s->tls = NULL;
    tls_context_free(&ctx);
}

/* ---- errors ---- */

unsigned long tls_take_error(void)
{
    unsigned long code = ERR_get_error();

    ERR_clear_error();
    return code;
}

int tls_error(struct err *err, unsigned long code, const char *fmt, ...)
{
    const char *reason = ERR_SYSTEM_ERROR(code) ? NULL : ERR_reason_error_string(code);
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (reason)
        return err_set(err, 0, "%s: %s", text, reason);
    if (ERR_SYSTEM_ERROR(code))
        return err_sys(err, ERR_GET_REASON(code), "%s", text);
    return err_set(err, 0, "%s: error %lx of OpenSSL", text, code);
}

static int reason_of(const struct stream *s)
{
    return ERR_GET_LIB(s->error) == ERR_LIB_SSL ? ERR_GET_REASON(s->error) : 0;
}

static bool is_foreign(int reason)
{
    return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
           reason == SSL_R_HTTPS_PROXY_REQUEST;
}

bool stream_error_is_foreign(const struct stream *s)
{
    return s->error_is_tls && is_foreign(reason_of(s));
}

/* What OpenSSL's reason means to whoever reads the log. */
static const char *meaning_of(int reason)
{
    if (is_foreign(reason))
        return "what the peer speaks here does not look like TLS";
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return "peer and usher have no version of TLS in common";
    case SSL_R_NO_SHARED_CIPHER:
        return "peer and usher have no cipher suite in common";
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return "the peer asks for protocols other than IMAP (ALPN)";
    default:
        return NULL;
    }
}

void tls_stream_error(const struct stream *s, struct err *err)
{
    int reason = reason_of(s);
    const char *meaning = meaning_of(reason);

    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        (void)err_set(err, 0, "TLS: the peer's certificate does not pass: %s",
                      s->tls ? X509_verify_cert_error_string(SSL_get_verify_result(s->tls)) : "?");
    else if (meaning)
        (void)tls_error(err, s->error, "TLS: %s", meaning);
    else
        (void)tls_error(err, s->error, "TLS");
}

/* ---- beginning ---- */

/* NULL with the error set. */
static SSL *begin(struct stream *s, struct tls_context *tls, struct err *err)
{
    SSL *ssl;

    INSIST(s->is_open && !s->tls);
    before_call();
    ssl = SSL_new(tls->ssl);
    if (ssl && SSL_set_fd(ssl, stream_fd(s)) == 1)
        return ssl;
    SSL_free(ssl);
    (void)tls_error(err, tls_take_error(), "TLS");
    return NULL;
}

static void begun(struct stream *s, SSL *ssl, unsigned needs)
{
    BIO_set_callback_ex(SSL_get_rbio(ssl), on_bio);
    BIO_set_callback_arg(SSL_get_rbio(ssl), (char *)s);
    tls_context_ref(tls_context_of(ssl));
    s->tls = ssl;
    s->tls_needs = (uint8_t)needs;
    s->is_dry = false;
}

int stream_tls_accept(struct stream *s, struct tls_context *tls, struct err *err)
{
    SSL *ssl;

    INSIST(tls->is_server);
    ssl = begin(s, tls, err);
    if (!ssl)
        return -1;
    SSL_set_accept_state(ssl);
    begun(s, ssl, TLS_NEEDS_READ_TO_SHAKE);
    return 0;
}

/* An address is verified as such and not sent: SNI knows names only (RFC 6066 section 3). Nor does
 * it know the dot at the end of a rooted name. */
static int set_name(SSL *ssl, const char *name, struct err *err)
{
    struct slice host = slice_str(name);
    struct addr addr;
    char *copy;
    int ok;

    if (addr_parse_ip(host, 0, &addr)) {
        if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1)
            return 0;
        return tls_error(err, tls_take_error(), "TLS: address \"%s\"", name);
    }
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    copy = slice_dup(host);
    if (!copy)
        return err_sys(err, ENOMEM, "TLS");
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    ok = SSL_set1_host(ssl, copy) == 1 && SSL_set_tlsext_host_name(ssl, copy) == 1;
    free(copy);
    return ok ? 0 : tls_error(err, tls_take_error(), "TLS: name \"%s\"", name);
}

int stream_tls_connect(struct stream *s, struct tls_context *tls, const char *name, struct err *err)
{
    SSL *ssl;

    INSIST(!tls->is_server);
    ssl = begin(s, tls, err);
    if (!ssl)
        return -1;
    if (name && set_name(ssl, name, err) != 0) {
        SSL_free(ssl);
        return -1;
    }
    SSL_set_connect_state(ssl);
    begun(s, ssl, TLS_NEEDS_WRITE_TO_SHAKE);
    return 0;
}
