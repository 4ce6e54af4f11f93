/* usher ports: what is this port, and who listens? Reads the words, finds out, has it shown. */
#include "cli/ports.h"

#include "base/num.h"
#include "cli/cli.h"
#include "cli/ports_facts.h"
#include "conf/conf.h"
#include "net/tls.h"
#include "ports/bind.h"
#include "ports/custom.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TARGETS_MAX = 1024,
    HOST_ADDRESSES = 4,
    FREE_MAX = 10000,
    /* Where servers may be that want no trouble: no rights are needed, and Linux takes no port for
     * what goes out. */
    FREE_FIRST = 10000,
    FREE_LAST = 32767,
    CA_FILE_MAX = 16 << 20,
    TIMEOUT_S = 20 /* for all that is asked of one address */
};

/* Exit statuses, beside CLI_USAGE. */
enum { PORTS_FOUND = 0, PORTS_NONE = 1, PORTS_FAILED = 3 };

static const uint16_t mail_ports[] = {24, 25, 110, 143, 465, 587, 993, 995, 4190, 10143, 10993};

/* Where the first thing to try is TLS; any other port is tried so too, later. */
static const uint16_t tls_ports[] = {443,   465,   636,   853,   993,   995,   3465,
                                     3993,  3995,  5061,  7993,  7995,  9993,  9995,
                                     10243, 10465, 10993, 10995, 31465, 31993, 31995};

struct options {
    const char *file;   /* -c; NULL: the usual one, if it is there */
    uint32_t timeout_s; /* 0: not said */
    unsigned free_n;
    bool is_free, with_udp, with_probe, is_json, is_how;
};

static int wrong(const char *text, const char *word)
{
    fprintf(stderr, "usher ports: %s%s%s\n", text, word ? " " : "", word ? word : "");
    return cli_usage("ports");
}

static int failed(const struct err *err)
{
    fprintf(stderr, "usher ports: %s\n", err->text);
    return PORTS_FAILED;
}

static bool read_number(const char *word, uint64_t max, uint64_t *out_value)
{
    return num_parse(slice_str(word), max, out_value) && *out_value > 0;
}

/* Of letters in one word optind has not gone beyond the word yet; optopt is 0 for long options. */
static int wrong_option(int c, char **argv)
{
    char letter[] = {'-', (char)optopt, '\0'};

    return wrong(c == ':' ? "a value is missing behind" : "unknown option",
                 optopt > 0 && optopt < 128 && c == '?' ? letter : argv[optind - 1]);
}

/* CLI_OK, or CLI_USAGE when it was told. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"udp", no_argument, NULL, 'u'},          {"probe", no_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},         {"how", no_argument, NULL, 'h'},
        {"free", required_argument, NULL, 'f'},   {"timeout", required_argument, NULL, 't'},
        {"config", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0},
    };
    uint64_t value;
    int c;

    optind = 0; /* glibc: begin anew */
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":c:", longs, NULL)) != -1) {
        switch (c) {
        case 'u':
            o->with_udp = true;
            break;
        case 'p':
            o->with_probe = true;
            break;
        case 'j':
            o->is_json = true;
            break;
        case 'h':
            o->is_how = true;
            break;
        case 'c':
            o->file = optarg;
            break;
        case 'f':
            if (!read_number(optarg, FREE_MAX, &value))
                return wrong("--free takes a number from 1 to 10000, not", optarg);
            o->is_free = true;
            o->free_n = (unsigned)value;
            break;
        case 't':
            if (!read_number(optarg, 600, &value))
                return wrong("--timeout takes seconds from 1 to 600, not", optarg);
            o->timeout_s = (uint32_t)value;
            break;
        default:
            return wrong_option(c, argv);
        }
    }
    return CLI_OK;
}

/* --- what is asked for ------------------------------------------------------------------------ */

struct targets {
    struct target all[TARGETS_MAX];
    struct host {
        struct addr all[HOST_ADDRESSES];
        size_t n; /* 0 unless a host was named */
    } hosts[TARGETS_MAX];
    size_t n;
};

/* A port of the overview, once. */
static void add_port(struct targets *t, uint16_t port)
{
    size_t i = 0;

    while (i < t->n && t->all[i].first < port)
        i++;
    if (port == 0 || t->n == TARGETS_MAX || (i < t->n && t->all[i].first == port))
        return;
    memmove(&t->all[i + 1], &t->all[i], (t->n - i) * sizeof t->all[0]);
    t->all[i] = (struct target){.first = port, .last = port};
    t->n++;
}

static void add_address(struct targets *t, const char *address)
{
    struct slice host;
    uint16_t port;

    if (addr_split(slice_str(address), &host, &port, NULL) == 0)
        add_port(t, port);
}

/* The ports of mail, and those of the configuration. */
static int overview(const struct options *o, struct targets *t, struct err *err)
{
    struct conf *conf;

    for (size_t i = 0; i < sizeof mail_ports / sizeof *mail_ports; i++)
        add_port(t, mail_ports[i]);
    if (!o->file && access(CLI_DEFAULT_FILE, R_OK) != 0)
        return 0;
    if (conf_load(o->file ? o->file : CLI_DEFAULT_FILE, &conf, err) != 0)
        return -1;
    for (size_t i = 0; i < conf->listeners_n; i++)
        add_address(t, conf->listeners[i].address);
    for (size_t i = 0; i < conf->pools_n; i++)
        for (size_t k = 0; k < conf->pools[i].backends_n; k++)
            add_address(t, conf->pools[i].backends[k].address);
    conf_free(&conf);
    return 0;
}

/* The addresses of a host that was named, in the order that resolver and machine prefer. */
static int resolve(struct targets *t, size_t i, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct target *target = &t->all[i];
    struct addrinfo *found;
    int code;

    if (!target->host[0] || addr_is_set(&target->addr))
        return 0;
    code = getaddrinfo(target->host, NULL, &hints, &found);
    if (code != 0)
        return err_set(err, 0, "%s: %s", target->host,
                       code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
    t->hosts[i].n = 0;
    for (struct addrinfo *one = found; one && t->hosts[i].n < HOST_ADDRESSES; one = one->ai_next) {
        struct addr *addr = &t->hosts[i].all[t->hosts[i].n++];
        struct sockaddr_storage ss;

        memset(&ss, 0, sizeof ss);
        memcpy(&ss, one->ai_addr, one->ai_addrlen);
        *addr = addr_from_sockaddr(&ss);
        addr_set_port(addr, target->first);
    }
    freeaddrinfo(found);
    target->addr = t->hosts[i].all[0];
    return 0;
}

/* Of a host of ours (localhost) the address where somebody listens is meant, if there is one. */
static void prefer_taken(const struct ports_facts *f, struct targets *t)
{
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->hosts[i].n; k++)
            if (ports_judge(f, t->all[i].first, &t->hosts[i].all[k], PORT_TCP).state ==
                PORT_TAKEN) {
                t->all[i].addr = t->hosts[i].all[k];
                break;
            }
}

static int read_targets(char **words, size_t n, const struct services *services, struct targets *t,
                        struct err *err)
{
    if (n > TARGETS_MAX)
        return err_set(err, 0, "%zu words; %d are the most", n, TARGETS_MAX);
    for (size_t i = 0; i < n; i++, t->n++) {
        if (target_parse(slice_str(words[i]), services, &t->all[i], err) != 0)
            return -1;
    }
    return 0;
}

/* --- finding out ------------------------------------------------------------------------------ */

static void ports_of(const struct ports_facts *f, uint64_t out_set[65536 / 64])
{
    memset(out_set, 0, 65536 / 8);
    for (size_t i = 0; i < f->targets_n; i++)
        for (unsigned port = f->targets[i].first; port <= f->targets[i].last; port++)
            out_set[port / 64] |= 1ULL << port % 64;
}

/* IMAP's unix sockets belong to questions about IMAP. */
static bool asks_for_imap(const struct ports_facts *f)
{
    if (f->is_overview)
        return true;
    for (size_t i = 0; i < f->targets_n; i++)
        if (f->targets[i].first == f->targets[i].last && !f->targets[i].host[0] &&
            (f->targets[i].first == 143 || f->targets[i].first == 993 ||
             f->targets[i].first == 10143 || f->targets[i].first == 10993))
            return true;
    return false;
}

/* JSON tells connections of every port; a table shows none. */
static int look(struct ports_facts *f, bool is_json, struct err *err)
{
    uint64_t ports[65536 / 64];
    struct look_params params = {.ports = ports,
                                 .with_udp = f->with_udp,
                                 .with_unix = asks_for_imap(f),
                                 .with_connections = is_json,
                                 .with_other_namespaces = true};

    ports_of(f, ports);
    for (size_t i = 0; i < f->targets_n; i++)
        if (ports_is_detailed(f, &f->targets[i]))
            params.with_connections = true;
    return look_take(&params, &f->look, err);
}

/* Whom to believe when a certificate is looked at; empty when the machine has no CAs. */
static char *read_cas(size_t *out_n)
{
    const char *path = tls_system_ca_file();
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    struct stat st;
    char *all = NULL;
    size_t n = 0;
    ssize_t got = 1;

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= CA_FILE_MAX)
        all = malloc((size_t)st.st_size);
    while (all && n < (size_t)st.st_size && got > 0) {
        got = read(fd, all + n, (size_t)st.st_size - n);
        n += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    *out_n = n;
    return all;
}

static bool is_tls_port(uint16_t port)
{
    for (size_t i = 0; i < sizeof tls_ports / sizeof *tls_ports; i++)
        if (tls_ports[i] == port)
            return true;
    return false;
}

static bool has_ipv6_loopback(void)
{
    const struct addr loopback = {
        .in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};

    return bind_try(&loopback, PORT_TCP) != EADDRNOTAVAIL;
}

/* An address that stands for all is asked on the loopback; `takes_ipv4`: on that of IPv4 where
 * net.ipv6.conf.all.disable_ipv6 leaves sockets of IPv6 without an address. */
static struct addr to_ask(const struct addr *addr, bool takes_ipv4)
{
    struct addr a = *addr;

    if (takes_ipv4 && !has_ipv6_loopback()) {
        a = (struct addr){.in.sin_family = AF_INET};
        addr_set_port(&a, addr_port(addr));
    }
    if (a.sa.sa_family == AF_INET && a.in.sin_addr.s_addr == htonl(INADDR_ANY))
        a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (a.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a.in6.sin6_addr))
        a.in6.sin6_addr = in6addr_loopback;
    return a;
}

/* The host if it was written as a name. */
static const char *name_of_host(const struct target *t)
{
    struct addr ignored;

    return t->host[0] && !addr_parse_ip(slice_str(t->host), 0, &ignored) ? t->host : NULL;
}

static void plan_probe(struct ports_facts *f, const struct target *t, const struct addr *addr,
                       bool takes_ipv4)
{
    const struct addr asked = to_ask(addr, takes_ipv4);

    for (size_t i = 0; i < f->probes_n; i++)
        if (addr_equals(&f->probes[i].addr, &asked) && f->probes[i].target == t)
            return;
    if (f->probes_n == PORTS_PROBES_MAX) {
        f->probes_left_out++;
        return;
    }
    f->probes[f->probes_n++] =
        (struct ports_probe){.target = t, .addr = asked, .name = name_of_host(t)};
}

/* A named address is asked itself; for a port alone those that listen here, once each. */
static void plan_target(struct ports_facts *f, const struct target *t)
{
    const struct look_socket *s;

    if (addr_is_set(&t->addr)) {
        plan_probe(f, t, &t->addr, false);
        return;
    }
    for (unsigned port = t->first; port <= t->last; port++) {
        size_t n = ports_sockets(f, (uint16_t)port, &s);

        for (size_t i = 0; i < n; i++)
            /* Those that share an address lie side by side. */
            if ((i == 0 || !addr_equals(&s[i].addr, &s[i - 1].addr)) && s[i].protocol == PORT_TCP &&
                f->look->namespaces[s[i].namespace_i].is_ours)
                plan_probe(f, t, &s[i].addr, s[i].takes_ipv4);
    }
}

static void tell_progress(const struct ports_probe *p)
{
    char text[ADDR_TEXT];

    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Kasking %s ...", addr_format(&p->addr, text));
}

/* A host that was named is asked at one address after the other until one can be connected to. */
static int probe_one(struct ports_probe *p, const struct host *host, const struct options *o,
                     struct slice ca, struct err *err)
{
    struct probe_params params = {.name = p->name,
                                  .tls_first = is_tls_port(addr_port(&p->addr)),
                                  .connect_ms = 3000,
                                  .silence_ms = 2000,
                                  .total_ms = 1000 * (o->timeout_s > 0 ? o->timeout_s : TIMEOUT_S),
                                  .ca_pem = ca};
    const struct addr first = p->addr;
    size_t next = 0;

    p->report = calloc(1, sizeof *p->report);
    if (!p->report)
        return err_set(err, ENOMEM, "out of memory");
    for (;;) {
        tell_progress(p);
        params.addr = p->addr;
        if (probe_run(&params, p->report, err) != 0)
            return -1;
        if (p->report->is_connected)
            return 0;
        while (next < host->n && addr_equals(&host->all[next], &first))
            next++;
        if (next >= host->n)
            return 0;
        p->addr = host->all[next++];
    }
}

static int probe_all(struct ports_facts *f, const struct targets *t, const struct options *o,
                     struct err *err)
{
    size_t ca_n;
    char *ca = read_cas(&ca_n);
    int done = 0;

    for (size_t i = 0; i < f->targets_n; i++)
        plan_target(f, &f->targets[i]);
    for (size_t i = 0; i < f->probes_n && done == 0; i++)
        done = probe_one(&f->probes[i], &t->hosts[f->probes[i].target - f->targets], o,
                         slice_of(ca, ca_n), err);
    if (f->probes_n > 0 && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    free(ca);
    return done;
}

/* --- answering -------------------------------------------------------------------------------- */

/* PORTS_FOUND: somebody has one of its ports, or has answered. PORTS_FAILED: it is another
 * machine's address that was not asked. */
static int status_of(const struct ports_facts *f, const struct target *t)
{
    bool is_here = true;

    for (unsigned port = t->first; port <= t->last; port++) {
        for (unsigned p = PORT_TCP; p <= (f->with_udp ? PORT_UDP : PORT_TCP); p++) {
            enum port_state state =
                ports_judge(f, (uint16_t)port, &t->addr, (enum port_protocol)p).state;

            if (state == PORT_TAKEN || state == PORT_BLOCKED)
                return PORTS_FOUND;
            is_here &= state != PORT_NOT_HERE;
        }
    }
    for (size_t i = 0; i < f->probes_n; i++)
        if (f->probes[i].target == t && f->probes[i].report->is_connected)
            return PORTS_FOUND;
    return is_here || f->with_probe ? PORTS_NONE : PORTS_FAILED;
}

static int answer(struct ports_facts *f, struct targets *t, const struct options *o)
{
    int code = PORTS_NONE;
    struct err err;

    if (look(f, o->is_json, &err) != 0)
        return failed(&err);
    prefer_taken(f, t);
    if (f->with_probe && probe_all(f, t, o, &err) != 0)
        return failed(&err);
    if ((o->is_json ? ports_show_json(f, &err) : ports_show_text(f, &err)) != 0)
        return failed(&err);
    for (size_t i = 0; i < f->targets_n; i++) {
        int status = status_of(f, &f->targets[i]);

        if (status == PORTS_FOUND)
            return PORTS_FOUND;
        if (status == PORTS_FAILED)
            code = PORTS_FAILED;
    }
    return code;
}

/* Where nobody has said which range: a port that is nobody's by registry or custom, and that the
 * kernel does not take for itself. */
static bool is_quiet(void *arg, uint16_t port)
{
    const struct machine *m = arg;
    const struct custom_port *rows;
    size_t first, n = iana_find(port, &first);

    for (size_t i = first; i < first + n; i++) {
        struct iana_entry e = iana_entry(i);

        if (iana_is_assigned(&e))
            return false;
    }
    return custom_find(port, &rows) == 0 && !machine_is_ephemeral(m, port) &&
           !machine_is_reserved(m, port);
}

static int find_free(struct ports_facts *f, const struct options *o)
{
    const struct target *t = f->targets;
    const bool is_given = f->targets_n > 0;
    const enum port_protocol protocol = f->with_udp ? PORT_UDP : PORT_TCP;
    uint16_t *ports = calloc(o->free_n, sizeof *ports);
    struct err err = {.text = "out of memory"};
    size_t n;
    int code = PORTS_FOUND;

    if (!ports)
        return failed(&err);
    n = bind_find_free(is_given ? t->first : FREE_FIRST, is_given ? t->last : FREE_LAST,
                       is_given && addr_is_set(&t->addr) ? &t->addr : NULL, protocol,
                       is_given ? NULL : is_quiet, &f->machine, ports, o->free_n);
    if (o->is_json) {
        if (ports_show_free_json(ports, n, &err) != 0)
            code = failed(&err);
    } else {
        for (size_t i = 0; i < n; i++)
            printf("%u\n", ports[i]);
    }
    free(ports);
    if (code == PORTS_FOUND && n < o->free_n) {
        fprintf(stderr, "usher ports: only %zu of %u ports are free from %d to %d\n", n, o->free_n,
                is_given ? t->first : FREE_FIRST, is_given ? t->last : FREE_LAST);
        code = PORTS_NONE;
    }
    return code;
}

static int how(const struct targets *t, const struct options *o)
{
    if (t->n == 0)
        return wrong("--how takes a port", NULL);
    for (size_t i = 0; i < t->n; i++) {
        if (i > 0)
            fputs("\n", stdout);
        ports_how(stdout, &t->all[i], o->with_udp);
    }
    return CLI_OK;
}

/* Options that do not go together. */
static int check_options(const struct options *o, const struct targets *t)
{
    if (o->is_how && (o->is_json || o->with_probe || o->is_free))
        return wrong("--how goes with no other option but --udp", NULL);
    if (o->is_free && o->with_probe)
        return wrong("--free and --probe do not go together", NULL);
    if (o->is_free && t->n > 1)
        return wrong("--free takes one range", NULL);
    if (o->file && (t->n > 0 || o->is_free || o->is_how))
        return wrong("-c is for the overview: write no port and no such option beside it", NULL);
    if (o->timeout_s > 0 && !o->with_probe)
        return wrong("--timeout is for --probe", NULL);
    return CLI_OK;
}

static int run(int argc, char **argv, const struct options *o, struct targets *t,
               struct ports_facts *f)
{
    const size_t words_n = (size_t)(argc - optind);
    struct err err;
    int code;

    /* Names are not worth failing for. */
    if (services_read("/etc/services", &f->services, &err) != 0) {
        fprintf(stderr, "usher ports: warning: %s\n", err.text);
        if (services_parse(SLICE(""), &f->services, &err) != 0)
            return failed(&err);
    }
    if (read_targets(argv + optind, words_n, f->services, t, &err) != 0)
        return wrong(err.text, NULL);
    code = check_options(o, t);
    if (code != CLI_OK || o->is_how)
        return code != CLI_OK ? code : how(t, o);
    for (size_t i = 0; i < t->n; i++)
        if (resolve(t, i, &err) != 0)
            return failed(&err);
    machine_read("/proc", &f->machine);
    f->is_overview = t->n == 0 && !o->is_free;
    if (f->is_overview && overview(o, t, &err) != 0)
        return failed(&err);
    f->targets_n = t->n;
    return o->is_free ? find_free(f, o) : answer(f, t, o);
}

int cli_ports(int argc, char **argv)
{
    struct options o = {0};
    struct targets *targets = calloc(1, sizeof *targets);
    struct ports_facts *f = calloc(1, sizeof *f);
    struct err err = {.text = "out of memory"};
    int code = targets && f ? read_options(argc, argv, &o) : failed(&err);

    if (code == CLI_OK) {
        f->targets = targets->all;
        f->with_udp = o.with_udp;
        f->with_probe = o.with_probe;
        code = run(argc, argv, &o, targets, f);
        for (size_t i = 0; i < f->probes_n; i++)
            free(f->probes[i].report);
        look_free(&f->look);
        services_free(&f->services);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        err_sys(&err, errno, "cannot write");
        code = failed(&err);
    }
    free(f);
    free(targets);
    return code;
}
