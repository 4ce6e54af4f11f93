/* The sockets of the network namespace that the thread is in, from the kernel's sock_diag(7). What
 * it refuses (in some containers, or where its modules may not be loaded) is left to /proc/net. */
#include "ports/look_parts.h"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>

/* The kernel never makes a message of a dump longer than this. */
enum { ANSWER = 32768 };

/* How often a dump is begun when the kernel says that it changed under its hands. The last is taken
 * as it is: a look is a picture of some milliseconds anyway. */
enum { TRIES = 4 };

/* For a kernel that only seems to know sock_diag. */
enum { ANSWER_SECONDS = 5 };

static const struct socket_kind kinds[] = {
    {AF_INET, PORT_TCP, "tcp"},   {AF_INET6, PORT_TCP, "tcp6"}, {AF_INET, PORT_UDP, "udp"},
    {AF_INET6, PORT_UDP, "udp6"}, {AF_UNIX, PORT_TCP, "unix"},
};

struct dump {
    struct look_draft *d;
    struct mnl_socket *netlink;
    uint32_t seq;
    const struct socket_kind *kind;
    uint32_t states;
    struct err *err;
};

enum ending { MORE, ENDED, TORN, REFUSED, FAILED };

/* --- asking ----------------------------------------------------------------------------------- */

/* The kernel goes through a busy machine's sockets, but tells only of ports from first to last. A
 * command is followed by its port; `yes` and `no` are how far to go on, and to go too far by 4 is
 * to refuse. */
static void put_range(struct nlmsghdr *request, uint16_t first, uint16_t last)
{
    const uint8_t step = 2 * sizeof(struct inet_diag_bc_op);
    const struct inet_diag_bc_op program[] = {
        {INET_DIAG_BC_S_GE, step, (uint16_t)(2 * step + 4)},
        {.no = first},
        {INET_DIAG_BC_S_LE, step, (uint16_t)(step + 4)},
        {.no = last},
    };

    mnl_attr_put(request, INET_DIAG_REQ_BYTECODE, sizeof program, program);
}

static void put_inet(struct nlmsghdr *request, const struct dump *dump)
{
    struct inet_diag_req_v2 *ask = mnl_nlmsg_put_extra_header(request, sizeof *ask);

    ask->sdiag_family = (uint8_t)dump->kind->family;
    ask->sdiag_protocol = dump->kind->protocol == PORT_TCP ? IPPROTO_TCP : IPPROTO_UDP;
    ask->idiag_states = dump->states;
    put_range(request, dump->d->first, dump->d->last);
}

static void put_unix(struct nlmsghdr *request, const struct dump *dump)
{
    struct unix_diag_req *ask = mnl_nlmsg_put_extra_header(request, sizeof *ask);

    ask->sdiag_family = AF_UNIX;
    ask->udiag_states = dump->states;
    ask->udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID;
}

static bool send_request(const struct dump *dump)
{
    _Alignas(8) char bytes[256];
    struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);

    request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = dump->seq;
    if (dump->kind->family == AF_UNIX)
        put_unix(request, dump);
    else
        put_inet(request, dump);
    return mnl_socket_sendto(dump->netlink, request, request->nlmsg_len) >= 0;
}

/* --- being told ------------------------------------------------------------------------------- */

static int on_inet_attr(const struct nlattr *attr, void *arg)
{
    struct seen_socket *seen = arg;

    if (mnl_attr_get_type(attr) == INET_DIAG_SKV6ONLY && mnl_attr_get_payload_len(attr) >= 1)
        seen->is_v6only = mnl_attr_get_u8(attr) != 0;
    return MNL_CB_OK;
}

static int on_inet(struct dump *dump, const struct nlmsghdr *message)
{
    const struct inet_diag_msg *told = mnl_nlmsg_get_payload(message);
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    struct seen_socket seen = {.protocol = dump->kind->protocol};

    if (mnl_nlmsg_get_payload_len(message) < sizeof *told)
        return 0;
    if (told->idiag_family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = told->id.idiag_sport};

        memcpy(&in.sin_addr, told->id.idiag_src, sizeof in.sin_addr);
        memcpy(&ss, &in, sizeof in);
    } else if (told->idiag_family == AF_INET6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = told->id.idiag_sport};

        memcpy(&in6.sin6_addr, told->id.idiag_src, sizeof in6.sin6_addr);
        memcpy(&ss, &in6, sizeof in6);
    }
    (void)mnl_attr_parse(message, sizeof *told, on_inet_attr, &seen);
    seen.addr = addr_from_sockaddr(&ss);
    seen.state = told->idiag_state;
    seen.interface = told->id.idiag_if;
    seen.queue = told->idiag_rqueue;
    seen.backlog = told->idiag_wqueue;
    seen.uid = told->idiag_uid;
    seen.inode = told->idiag_inode;
    return draft_seen(dump->d, &seen, dump->err);
}

static int on_unix_attr(const struct nlattr *attr, void *arg)
{
    struct seen_unix *seen = arg;
    const void *payload = mnl_attr_get_payload(attr);
    size_t n = mnl_attr_get_payload_len(attr);
    struct unix_diag_rqlen queue;

    switch (mnl_attr_get_type(attr)) {
    case UNIX_DIAG_NAME:
        /* A path comes with the NUL at its end; an abstract name begins with one. */
        seen->name = slice_of(payload, n);
        if (n > 1 && seen->name.p[0] != '\0' && seen->name.p[n - 1] == '\0')
            seen->name.n--;
        break;
    case UNIX_DIAG_RQLEN:
        if (n < sizeof queue)
            break;
        memcpy(&queue, payload, sizeof queue);
        seen->queue = queue.udiag_rqueue;
        seen->backlog = queue.udiag_wqueue;
        break;
    case UNIX_DIAG_UID:
        if (n >= sizeof seen->uid)
            memcpy(&seen->uid, payload, sizeof seen->uid);
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

static int on_unix(struct dump *dump, const struct nlmsghdr *message)
{
    const struct unix_diag_msg *told = mnl_nlmsg_get_payload(message);
    struct seen_unix seen = {.uid = UINT32_MAX};

    if (mnl_nlmsg_get_payload_len(message) < sizeof *told || told->udiag_type != SOCK_STREAM)
        return 0;
    seen.inode = told->udiag_ino;
    (void)mnl_attr_parse(message, sizeof *told, on_unix_attr, &seen);
    return draft_seen_unix(dump->d, &seen, dump->err);
}

/* An error has its number in front, and the end of a dump may have one too. */
static enum ending on_end(const struct nlmsghdr *message)
{
    int code = 0;

    if (mnl_nlmsg_get_payload_len(message) >= sizeof code)
        memcpy(&code, mnl_nlmsg_get_payload(message), sizeof code);
    if (code == 0)
        return ENDED;
    errno = code < 0 ? -code : EPROTO;
    return REFUSED;
}

static enum ending on_message(struct dump *dump, const struct nlmsghdr *message)
{
    if (message->nlmsg_seq != dump->seq)
        return MORE;
    if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)
        return on_end(message);
    if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return MORE;
    return (dump->kind->family == AF_UNIX ? on_unix : on_inet)(dump, message) == 0 ? MORE : FAILED;
}

/* Asks once and takes the whole answer. */
static enum ending dump_once(struct dump *dump)
{
    _Alignas(8) char bytes[ANSWER];
    bool is_torn = false;

    dump->seq++;
    if (!send_request(dump))
        return REFUSED;
    for (;;) {
        ssize_t got = mnl_socket_recvfrom(dump->netlink, bytes, sizeof bytes);
        int left = (int)got;

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EPROTO;
        if (got <= 0)
            return REFUSED;
        for (const struct nlmsghdr *message = (const void *)bytes; mnl_nlmsg_ok(message, left);
             message = mnl_nlmsg_next(message, &left)) {
            enum ending ending = on_message(dump, message);

            is_torn = is_torn || message->nlmsg_flags & NLM_F_DUMP_INTR;
            if (ending != MORE)
                return ending == ENDED && is_torn ? TORN : ending;
        }
    }
}

/* --- one kind after the other ----------------------------------------------------------------- */

static struct mnl_socket *open_netlink(void)
{
    const struct timeval most = {.tv_sec = ANSWER_SECONDS};
    struct mnl_socket *netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);

    if (netlink)
        (void)setsockopt(mnl_socket_get_fd(netlink), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    return netlink;
}

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static uint32_t states_of(const struct look_draft *d, const struct socket_kind *kind)
{
    uint32_t states;

    if (kind->family == AF_UNIX)
        return d->with_unix ? STATES_LISTEN : 0;
    if (d->last == 0)
        return 0;
    states = kind->protocol == PORT_TCP ? d->tcp_states : d->udp_states;
    return d->here == 0 ? states : states & (STATES_LISTEN | STATES_UDP_UNCONNECTED);
}

/* Forgets what was told of this namespace. */
static void take_back(struct look_draft *d, size_t sockets_n)
{
    d->look.sockets_n = sockets_n;
    if (d->here == 0)
        draft_forget_connections(d);
}

/* A kind that neither sock_diag nor /proc/net knows is one that the machine does not have; but
 * there is no machine without TCP. */
static int from_procnet(struct look_draft *d, const struct socket_kind *kind, uint32_t states,
                        int refusal, struct err *err)
{
    char words[64];
    int code;

    if (procnet_collect(d, kind, states, &code, err) < 0)
        return -1;
    if (code == 0 || (code == ENOENT && kind != &kinds[0]))
        return 0;
    return err_sys(err, code, "the kernel does not show its sockets: sock_diag: %s; /proc/net/%s",
                   strerror_r(refusal, words, sizeof words), kind->file);
}

/* All kinds, each from where it has not been refused yet. ENDED, or why it has to be done again:
 * TORN, or REFUSED with another code in `codes`. */
static enum ending collect_once(struct dump *dump, int codes[KINDS])
{
    bool is_torn = false;

    for (size_t i = 0; i < KINDS; i++) {
        enum ending ending = ENDED;

        dump->kind = &kinds[i];
        dump->states = states_of(dump->d, &kinds[i]);
        if (dump->states == 0)
            continue;
        if (codes[i] == 0)
            ending = dump_once(dump);
        else if (from_procnet(dump->d, &kinds[i], dump->states, codes[i], dump->err) < 0)
            ending = FAILED;
        if (ending == REFUSED)
            codes[i] = errno;
        if (ending == REFUSED || ending == FAILED)
            return ending;
        is_torn = is_torn || ending == TORN;
    }
    return is_torn ? TORN : ENDED;
}

int sockets_collect(struct look_draft *d, struct err *err)
{
    struct dump dump = {.d = d, .netlink = open_netlink(), .err = err};
    size_t sockets_n = d->look.sockets_n;
    int codes[KINDS] = {0}, refusal = errno;
    enum ending ending;
    unsigned tries = 0;

    for (size_t i = 0; !dump.netlink && i < KINDS; i++)
        codes[i] = refusal;
    while ((ending = collect_once(&dump, codes)) == REFUSED || (ending == TORN && ++tries < TRIES))
        take_back(d, sockets_n);
    if (dump.netlink)
        mnl_socket_close(dump.netlink);
    return ending == FAILED ? -1 : 0;
}
