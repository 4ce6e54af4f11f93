/* usher sync: addresses, TLS contexts, and where the journal lies. */
#include "cli/sync_place.h"

#include "base/hash.h"
#include "cli/sync_password.h"
#include "net/tls.h"
#include "sync/report.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const names[2] = {"FROM", "TO"};

static struct sync_side *side_of(struct sync_options *o, size_t i)
{
    return i == 0 ? &o->params.from : &o->params.to;
}

/* --- addresses -------------------------------------------------------------------------------- */

static void keep_addresses(struct sync_side *side, const struct addrinfo *list)
{
    for (; list && side->addresses_n < SYNC_ADDRESSES; list = list->ai_next) {
        struct sockaddr_storage ss = {0};
        struct addr addr;

        if (list->ai_addrlen > sizeof ss)
            continue;
        memcpy(&ss, list->ai_addr, list->ai_addrlen);
        addr = addr_from_sockaddr(&ss);
        if (!addr_is_set(&addr))
            continue;
        addr_set_port(&addr, side->port);
        side->addresses[side->addresses_n++] = addr;
    }
}

static int resolve(struct sync_side *side, struct err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    int failure;

    side->addresses_n = addr_parse_ip(slice_str(side->host), side->port, &side->addresses[0]);
    if (side->addresses_n > 0)
        return 0;
    failure = getaddrinfo(side->host, NULL, &hints, &list);
    if (failure == EAI_SYSTEM)
        return err_sys(err, errno, "%s", side->host);
    if (failure != 0)
        return err_set(err, 0, "%s: %s", side->host, gai_strerror(failure));
    keep_addresses(side, list);
    freeaddrinfo(list);
    return side->addresses_n > 0 ? 0 : err_set(err, 0, "%s has no address", side->host);
}

static bool is_loopback(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return ntohl(a->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

/* All addresses count, as any of them may be the one that answers. */
static int check_clear(const struct sync_side *side, bool may_be_clear, size_t i, struct err *err)
{
    bool is_here = true;

    for (size_t a = 0; a < side->addresses_n; a++)
        is_here &= is_loopback(&side->addresses[a]);
    if (side->tls != SYNC_TLS_OFF || may_be_clear || is_here)
        return 0;
    return err_set(
        err, 0,
        "the password would go to %s in clear: write imaps:// or imap+starttls:// (--ssl%zu "
        "or --tls%zu), or --cleartext%zu if it may",
        side->host, i + 1, i + 1, i + 1);
}

/* --- TLS -------------------------------------------------------------------------------------- */

enum { CA_MOST = 16 * 1024 * 1024 };

static int read_open(int fd, char **out, size_t *out_n, struct err *err)
{
    struct stat st;
    size_t n = 0;
    char *text;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > CA_MOST)
        return err_set(err, 0, "no regular file, or too large");
    text = malloc((size_t)st.st_size + 1);
    if (!text)
        return err_set(err, ENOMEM, "out of memory");
    while (n < (size_t)st.st_size) {
        ssize_t got = read(fd, text + n, (size_t)st.st_size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(text);
            return err_sys(err, errno, "reading");
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *out = text;
    *out_n = n;
    return 0;
}

/* The CAs as PEM, on the heap; nothing when no option names a file. */
static int read_ca(const char *path, char **out, size_t *out_n, struct err *err)
{
    int fd, done;

    if (!path)
        return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "--ca %s", path);
    done = read_open(fd, out, out_n, err);
    close(fd);
    return done < 0 ? err_prefix(err, "--ca %s", path) : 0;
}

static int make_tls(struct sync_options *o, struct err *err)
{
    char *pem = NULL;
    size_t pem_n = 0;
    int done = read_ca(o->ca, &pem, &pem_n, err);

    if (done == 0 && o->ca && pem_n == 0)
        done = err_set(err, 0, "--ca %s: the file is empty", o->ca);
    for (size_t i = 0; i < 2 && done == 0; i++) {
        struct sync_side *side = side_of(o, i);
        const struct tls_client_params params = {.ca_pem = slice_of(pem, pem_n),
                                                 .verifies = side->verifies};

        if (side->tls == SYNC_TLS_OFF)
            continue;
        done = tls_client_new(&params, &side->tls_context, err);
        if (done < 0 && o->ca)
            done = err_prefix(err, "--ca %s", o->ca);
    }
    free(pem);
    return done;
}

/* --- all -------------------------------------------------------------------------------------- */

int sync_places_open(struct sync_options *o, struct err *err)
{
    for (size_t i = 0; i < 2; i++)
        if (resolve(side_of(o, i), err) < 0) {
            (void)err_prefix(err, "%s", names[i]);
            return i == 0 ? SYNC_EXIT_CONNECTION_FAILURE_HOST1 : SYNC_EXIT_CONNECTION_FAILURE_HOST2;
        }
    for (size_t i = 0; i < 2; i++)
        if (check_clear(side_of(o, i), o->accounts[i].may_be_clear, i, err) < 0) {
            (void)err_prefix(err, "%s", names[i]);
            return SYNC_EXIT_USAGE;
        }
    if (make_tls(o, err) < 0)
        return SYNC_EXIT_USAGE;
    return sync_passwords_read(o, err) < 0 ? SYNC_EXIT_NOINPUT : SYNC_EXIT_OK;
}

void sync_places_close(struct sync_options *o)
{
    for (size_t i = 0; i < 2; i++) {
        tls_context_free(&side_of(o, i)->tls_context);
        side_of(o, i)->password = slice_of(NULL, 0);
        password_free(&o->accounts[i].password);
    }
}

/* --- the journal ------------------------------------------------------------------------------ */

enum {
    READABLE = 64,
    EXACT = SYNC_URL_USER + SYNC_URL_HOST + 16,
    JOURNAL_NAME = 2 * READABLE + 64
};

/* A server's two usual ports are the same server. */
static unsigned port_that_counts(const struct sync_side *side)
{
    return side->port == sync_url_usual_port(SYNC_TLS_OFF) ||
                   side->port == sync_url_usual_port(SYNC_TLS_IMPLICIT)
               ? 0
               : side->port;
}

/* "ann@mail.example.org:1143", with the host in lower case. */
static void put_account(const struct sync_account *a, const struct sync_side *side, char out[EXACT])
{
    size_t at = (size_t)snprintf(out, EXACT, "%s@", a->user), from = at;
    unsigned port = port_that_counts(side);

    at += (size_t)snprintf(out + at, EXACT - at, "%s", a->host);
    for (; from < at; from++)
        out[from] = (char)tolower((unsigned char)out[from]);
    if (port > 0)
        snprintf(out + at, EXACT - at, ":%u", port);
}

/* Of an account what may stand in a file's name. */
static void put_readable(const char *account, char out[READABLE])
{
    size_t n = 0;

    for (; n < READABLE - 1 && account[n]; n++)
        out[n] = isalnum((unsigned char)account[n]) || (n > 0 && strchr("@.-+", account[n]))
                     ? account[n]
                     : '_';
    out[n] = '\0';
}

static void name_journal(const struct sync_options *o, char out[JOURNAL_NAME])
{
    char exact[2][EXACT] = {{0}}, from[READABLE], to[READABLE];

    put_account(&o->accounts[0], &o->params.from, exact[0]);
    put_account(&o->accounts[1], &o->params.to, exact[1]);
    put_readable(exact[0], from);
    put_readable(exact[1], to);
    snprintf(out, JOURNAL_NAME, "%s--%s-%016" PRIx64 ".journal", from, to,
             hash_stable(slice_of(exact, sizeof exact)).high);
}

/* The folder of states, as the XDG Base Directory Specification has it: relative paths are not
 * taken. */
static int find_states(char *out, size_t room, struct err *err)
{
    const char *states = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    const struct passwd *account;
    int n;

    if (states && states[0] == '/') {
        n = snprintf(out, room, "%s", states);
    } else {
        if (!home || home[0] != '/') {
            account = getpwuid(getuid());
            home = account ? account->pw_dir : NULL;
        }
        if (!home || home[0] != '/')
            return err_set(err, 0,
                           "there is no home to keep the journal in: write --journal FILE, or "
                           "--no-journal");
        n = snprintf(out, room, "%s/.local/state", home);
    }
    return n > 0 && (size_t)n < room ? 0
                                     : err_set(err, ENAMETOOLONG, "the journal's path is too long");
}

int sync_place_journal(const struct sync_options *o, char *out, size_t room, struct err *err)
{
    char name[JOURNAL_NAME];
    size_t at;

    if (find_states(out, room, err) < 0)
        return -1;
    name_journal(o, name);
    at = strlen(out);
    if ((size_t)snprintf(out + at, room - at, "/usher/sync/%s", name) >= room - at)
        return err_set(err, ENAMETOOLONG, "the journal's path is too long");
    return 0;
}
