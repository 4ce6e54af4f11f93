/* usher ports --how: the commands to find out by hand. All are in one table, with places to fill.
 */
#include "cli/ports.h"

#include "base/err.h"
#include "ports/custom.h"
#include "ports/iana.h"

#include <string.h>

enum {
    LINUX = 1,
    MACOS = 2,
    WINDOWS = 4,
    UNIX = LINUX | MACOS,
    ALL = UNIX | WINDOWS,
};

enum {
    ONE = 1,  /* for a single port */
    SPAN = 2, /* for a range */
    ANY = ONE | SPAN,
    TCP = 4,  /* when UDP is not asked for too */
    UDP = 8,  /* when it is */
    MAIL = 16 /* when IMAP may speak there */
};

struct how {
    unsigned systems, when;
    const char *why, *command;
};

/* Places: {port} {first} {last} {span} {filter} {hex} {host} {at} {protocol}, see put_place().
 *
 * The user's own lines: nothing here changes anything, and nothing logs in. */
static const struct how hows[] = {
    {LINUX, ANY | TCP,
     "who listens, with process and cgroup (service, container); as root to see all",
     "ss -lntp --cgroup '{filter}'"},
    {LINUX, ANY | UDP,
     "who listens, with process and cgroup (service, container); as root to see all",
     "ss -lntup --cgroup '{filter}'"},
    {LINUX, ANY, "the same by another way", "lsof -nP -iTCP:{span} -sTCP:LISTEN"},
    {LINUX, ANY | UDP, "and for UDP", "lsof -nP -iUDP:{span}"},
    {LINUX, ONE | TCP, "the processes alone", "fuser -v {port}/tcp"},
    {LINUX, ONE | UDP, "the processes alone", "fuser -v {port}/tcp {port}/udp"},
    {LINUX, ONE, "the kernel's table, where no tool is: port in hex, 0A is LISTEN",
     "grep ':{hex} [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6"},
    {LINUX, ONE | UDP, "and for UDP",
     "grep ':{hex} [0-9A-F]*:0000 07' /proc/net/udp /proc/net/udp6"},
    {LINUX, ANY, "the service that a process belongs to", "systemctl status PID"},
    {LINUX, ANY, "connections and their states", "ss -ant '{filter}'"},
    {LINUX, ANY, "other network namespaces (containers), into which none of these looks",
     "lsns -t net -o NS,PID,NPROCS,COMMAND"},
    {LINUX, ANY, "who listens in that of a process; as root",
     "nsenter -t PID -n ss -lntp '{filter}'"},
    {LINUX, ANY, "or in one that \"ip netns list\" names; as root",
     "ip netns exec NAME ss -lntp '{filter}'"},

    {MACOS, ANY, "who listens; without sudo only your own processes",
     "sudo lsof -nP -iTCP:{span} -sTCP:LISTEN"},
    {MACOS, ANY | UDP, "and for UDP", "sudo lsof -nP -iUDP:{span}"},
    {MACOS, ONE, "the same without sudo, with the process's number",
     "netstat -anv -p tcp | awk '$4 ~ /[.]{port}$/ && $6 == \"LISTEN\"'"},
    {MACOS, SPAN, "the same without sudo, with the process's number",
     "netstat -anv -p tcp | awk '{ n = split($4, a, \".\"); p = a[n] + 0 } "
     "p >= {first} && p <= {last} && $6 == \"LISTEN\"'"},
    {MACOS, ONE | UDP, "and for UDP", "netstat -anv -p udp | awk '$4 ~ /[.]{port}$/'"},
    {MACOS, ANY, "what that process is", "ps -o pid,user,command -p PID"},

    {WINDOWS, ONE, "who listens (PowerShell)",
     "Get-NetTCPConnection -State Listen -LocalPort {port} | Select-Object LocalAddress, "
     "LocalPort, "
     "OwningProcess, @{n='Name'; e={(Get-Process -Id $_.OwningProcess).Name}}"},
    {WINDOWS, SPAN, "who listens (PowerShell)",
     "Get-NetTCPConnection -State Listen | Where-Object { $_.LocalPort -ge {first} -and "
     "$_.LocalPort -le {last} } | Select-Object LocalAddress, LocalPort, OwningProcess, "
     "@{n='Name'; e={(Get-Process -Id $_.OwningProcess).Name}}"},
    {WINDOWS, ONE | UDP, "and for UDP",
     "Get-NetUDPEndpoint -LocalPort {port} | Select-Object LocalAddress, LocalPort, OwningProcess"},
    {WINDOWS, SPAN | UDP, "and for UDP",
     "Get-NetUDPEndpoint | Where-Object { $_.LocalPort -ge {first} -and $_.LocalPort -le {last} } "
     "| "
     "Select-Object LocalAddress, LocalPort, OwningProcess"},
    {WINDOWS, ONE, "the same anywhere; the last column is the process",
     "netstat -ano | findstr /C:\":{port} \""},
    {WINDOWS, ANY, "what that process is, and its services", "tasklist /SVC /FI \"PID eq PID\""},
    {WINDOWS, ANY, "ports that Windows keeps: they cannot be bound though nobody listens",
     "netsh interface ipv4 show excludedportrange protocol=tcp"},
    {WINDOWS, ANY, "what it takes for outgoing connections",
     "netsh interface ipv4 show dynamicport tcp"},
    {WINDOWS, ONE, "the machine's name for the port",
     "Select-String '\\s{port}/' $env:SystemRoot\\System32\\drivers\\etc\\services"},

    {ALL, ANY, "the container that has it published", "docker ps --filter publish={span}"},
    {LINUX, ONE, "the machine's name for the port", "getent services {port}/tcp"},
    {MACOS, ONE, "the machine's name for the port", "awk '$2 ~ /^{port}[/]/' /etc/services"},
    {UNIX, SPAN, "the machine's names for the ports",
     "awk '$2 + 0 >= {first} && $2 + 0 <= {last}' /etc/services"},
    {LINUX, ANY,
     "from which port on binding takes no rights; what Linux takes for outgoing connections",
     "sysctl net.ipv4.ip_unprivileged_port_start net.ipv4.ip_local_port_range "
     "net.ipv4.ip_local_reserved_ports"},
    {MACOS, ANY, "what it takes for outgoing connections",
     "sysctl net.inet.ip.portrange.first net.inet.ip.portrange.last"},
    {UNIX, SPAN, "which of them take connections", "nc -zv -w 1 {host} {first}-{last}"},
    {UNIX, ANY, "does it take connections, and what does it say first", "nc -v -w 3 {host} {port}"},
    {UNIX, ANY, "the same within TLS; Ctrl-C ends it",
     "openssl s_client -crlf -quiet -connect {at}"},
    {UNIX, ANY, "TLS after STARTTLS: version and certificate",
     "openssl s_client -starttls {protocol} -connect {at} </dev/null"},
    {UNIX, ANY | MAIL, "IMAP's capabilities, without a login", "curl -sv imap://{at}/ -X NOOP"},
    {UNIX, ANY, "does it speak HTTP", "curl -sI -m 5 http://{at}/"},
    {UNIX, ANY, "a server behind a proxy may wait for a PROXY header before it says anything",
     "printf 'PROXY UNKNOWN\\r\\n' | nc -w 3 {host} {port}"},
    {WINDOWS, ANY, "does it take connections", "Test-NetConnection {host} -Port {port}"},
    {WINDOWS, ANY, "what it says first; Ctrl-C ends it", "curl.exe -v telnet://{at}"},
};

enum { HOWS = sizeof hows / sizeof *hows };

/* --- filling in ---------------------------------------------------------------------------- */

struct places {
    const struct target *target;
    const char *host, *protocol;
    bool is_span;
};

static void put_port(FILE *out, const struct places *p)
{
    if (p->is_span)
        fputs("PORT", out);
    else
        fprintf(out, "%u", p->target->first);
}

static void put_span(FILE *out, const struct places *p)
{
    fprintf(out, "%u", p->target->first);
    if (p->is_span)
        fprintf(out, "-%u", p->target->last);
}

static void put_first(FILE *out, const struct places *p)
{
    fprintf(out, "%u", p->target->first);
}

static void put_last(FILE *out, const struct places *p)
{
    fprintf(out, "%u", p->target->last);
}

/* In ss(8)'s words. */
static void put_filter(FILE *out, const struct places *p)
{
    if (p->is_span)
        fprintf(out, "sport >= :%u and sport <= :%u", p->target->first, p->target->last);
    else
        fprintf(out, "sport = :%u", p->target->first);
}

static void put_hex(FILE *out, const struct places *p)
{
    fprintf(out, "%04X", p->target->first);
}

static void put_host(FILE *out, const struct places *p)
{
    fputs(p->host, out);
}

/* Host and port as URLs have them. */
static void put_at(FILE *out, const struct places *p)
{
    fprintf(out, strchr(p->host, ':') ? "[%s]:" : "%s:", p->host);
    put_port(out, p);
}

/* As openssl s_client -starttls calls it. */
static void put_protocol(FILE *out, const struct places *p)
{
    fputs(p->protocol, out);
}

static const struct {
    const char *name;
    void (*put)(FILE *out, const struct places *p);
} places[] = {
    {"{port}", put_port}, {"{span}", put_span},     {"{first}", put_first},
    {"{last}", put_last}, {"{filter}", put_filter}, {"{hex}", put_hex},
    {"{host}", put_host}, {"{at}", put_at},         {"{protocol}", put_protocol},
};

/* Puts the place that `s` begins with, if any; returns its length. */
static size_t put_place(FILE *out, const char *s, const struct places *p)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        size_t n = strlen(places[i].name);

        if (strncmp(s, places[i].name, n) == 0) {
            places[i].put(out, p);
            return n;
        }
    }
    return 0;
}

static void put_command(FILE *out, const char *command, const struct places *p)
{
    for (const char *s = command; *s;) {
        size_t n = *s == '{' ? put_place(out, s, p) : 0;

        if (n == 0)
            fputc(*s, out);
        s += n > 0 ? n : 1;
    }
}

/* --- what is asked ------------------------------------------------------------------------- */

/* The lines are meant to be pasted into a shell: nothing in a host may mean anything there. */
static const char *safe_host(const char *host)
{
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_%-";

    if (!*host)
        return "127.0.0.1";
    return *host == '-' || host[strspn(host, safe)] ? "HOST" : host;
}

static const char *protocol_in(const char *name)
{
    static const char *const words[][2] = {{"imap", "imap"},       {"pop3", "pop3"},
                                           {"lmtp", "lmtp"},       {"sieve", "sieve"},
                                           {"submission", "smtp"}, {"smtp", "smtp"}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strstr(name, words[i][0]))
            return words[i][1];
    }
    return NULL;
}

/* By the names that the port has; NULL: they tell of none. */
static const char *protocol_of(uint16_t port)
{
    const struct custom_port *rows;
    const char *protocol = NULL;
    size_t n = custom_find(port, &rows), first;

    for (size_t i = 0; i < n && !protocol; i++)
        protocol = protocol_in(rows[i].name);
    n = iana_find(port, &first);
    for (size_t i = 0; i < n && !protocol; i++)
        protocol = protocol_in(iana_entry(first + i).service);
    return protocol;
}

static bool fits(const struct how *h, unsigned system, const struct places *p, bool with_udp)
{
    if (!(h->systems & system) || !(h->when & (p->is_span ? SPAN : ONE)))
        return false;
    if (h->when & (with_udp ? TCP : UDP))
        return false;
    return !(h->when & MAIL) || strcmp(p->protocol, "imap") == 0;
}

void ports_how(FILE *out, const struct target *target, bool with_udp)
{
    static const struct {
        unsigned system;
        const char *name;
    } systems[] = {{LINUX, "Linux"}, {MACOS, "macOS"}, {WINDOWS, "Windows"}};
    struct places p = {.target = target,
                       .host = safe_host(target->host),
                       .is_span = target->first != target->last};
    const char *protocol = p.is_span ? NULL : protocol_of(target->first);

    p.protocol = protocol ? protocol : "imap";
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) {
        fprintf(out, "%s%s\n", i > 0 ? "\n" : "", systems[i].name);
        for (size_t j = 0; j < HOWS; j++) {
            if (!fits(&hows[j], systems[i].system, &p, with_udp))
                continue;
            fprintf(out, "    # %s\n    ", hows[j].why);
            put_command(out, hows[j].command, &p);
            fputc('\n', out);
        }
    }
}
