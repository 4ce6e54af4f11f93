/* Listening sockets under another configuration: which are kept, opened, closed. With real sockets,
 * on addresses of 127.0.0.0/8 that nobody else has. */
#include "conf_testing.h"
#include "net/listen.h"
#include "parent/ports.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { PORT = 10143, OTHER = 10144, TEXT = 1024 };

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* An address of this test program's own. */
static const char *own(void)
{
    static char text[32];
    const unsigned pid = (unsigned)getpid();

    snprintf(text, sizeof text, "127.%u.%u.%u", 16 + (pid >> 16) % 128, pid >> 8 & 255,
             1 + pid % 254);
    return text;
}

/* A configuration with these listeners; "@" stands for the address of ours. */
static struct conf *configured(const char *listeners)
{
    char text[TEXT] = GOOD_POOL;

    for (; *listeners; listeners++) {
        const size_t n = strlen(text);

        if (*listeners == '@')
            snprintf(text + n, sizeof text - n, "%s", own());
        else
            snprintf(text + n, sizeof text - n, "%c", *listeners);
    }
    assert_true(strlen(text) < sizeof text - 1);
    return load(text);
}

#define LISTENER(title, address) "listener " title " { address = \"" address "\" tls = off }\n"

struct world {
    unsigned before; /* open descriptors */
    struct ports ports;
    struct passed passed;
};

static void begin(struct world *w, const char *listeners, unsigned workers)
{
    struct conf *conf = configured(listeners);
    struct err err;

    if (ports_open(&w->ports, conf, &w->passed, workers, &err) < 0)
        fail_msg("%s", err.text);
    passed_close(&w->passed);
    conf_free(&conf);
}

static int setup(void **state)
{
    static struct world w;

    w = (struct world){.before = open_descriptors()};
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    ports_close(&w->ports);
    assert_int_equal(open_descriptors(), w->before);
    return 0;
}

static bool is_listening(int fd)
{
    int is = 0;
    socklen_t n = sizeof is;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is, &n) == 0 && is;
}

/* As it goes over the channel: addresses, indices and sockets, nothing else. */
static void send_over(struct ports *planned, struct ports *out)
{
    static const struct conf_listener unnamed = {.title = "", .address = ""};
    struct err err;

    for (size_t i = 0; i < planned->n; i++) {
        struct port *from = &planned->all[i];
        struct port *to =
            ports_add(out, &unnamed, from->listener, &from->addr, CONF_WORKERS_MAX, &err);

        assert_non_null(to);
        memcpy(to->fds, from->fds, from->fds_n * sizeof *to->fds);
        to->fds_n = from->fds_n;
        from->fds_n = 0;
    }
    ports_close(planned);
}

/* A whole reload. Returns how many sockets were opened for it. */
static unsigned reload(struct world *w, const char *listeners, unsigned workers)
{
    struct conf *conf = configured(listeners);
    struct ports planned, next = {0};
    unsigned opened = 0;
    struct err err;

    if (ports_plan(&w->ports, conf, workers, &planned, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < planned.n; i++) {
        opened += planned.all[i].fds_n;
        for (unsigned k = 0; k < planned.all[i].fds_n; k++)
            assert_false(is_listening(planned.all[i].fds[k]));
    }
    send_over(&planned, &next);
    for (size_t i = 0; i < next.n; i++)
        assert_int_equal(ports_name(&next.all[i], &conf->listeners[next.all[i].listener]), 0);
    assert_int_equal(ports_listen(&next, &err), 0);
    assert_int_equal(ports_take_over(&next, &w->ports, &err), 0);
    ports_close(&w->ports);
    w->ports = next;
    conf_free(&conf);
    return opened;
}

static void refused(struct world *w, const char *listeners, unsigned workers, const char *words)
{
    const unsigned before = open_descriptors();
    struct conf *conf = configured(listeners);
    struct ports planned;
    struct err err = {0};

    assert_int_equal(ports_plan(&w->ports, conf, workers, &planned, &err), -1);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_int_equal(open_descriptors(), before);
    conf_free(&conf);
}

static const struct port *port_of(const struct world *w, const char *title)
{
    for (size_t i = 0; i < w->ports.n; i++) {
        if (strcmp(w->ports.all[i].title, title) == 0)
            return &w->ports.all[i];
    }
    fail_msg("no port of %s", title);
    return NULL;
}

/* All of them, and as many as there are workers. */
static void assert_listens(const struct port *port, unsigned sockets)
{
    assert_int_equal(port->fds_n, sockets);
    for (unsigned i = 0; i < sockets; i++)
        assert_true(is_listening(port->fds[i]));
}

static struct addr at(const char *ip, uint16_t port)
{
    struct addr a;

    assert_true(addr_parse_ip(slice_str(ip), port, &a));
    return a;
}

/* A listening socket that shares its port with nobody, as a manager passes it. */
static int stranger(const char *ip, uint16_t port)
{
    const struct addr a = at(ip, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &a.sa, addr_len(&a)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void pass(struct world *w, const char *name, int fd, uint16_t port)
{
    struct passed_socket *more = realloc(w->passed.all, (w->passed.n + 1) * sizeof *w->passed.all);

    assert_non_null(more);
    w->passed.all = more;
    more[w->passed.n] = (struct passed_socket){.fd = fd, .addr = at(own(), port)};
    snprintf(more[w->passed.n].name, sizeof more[0].name, "%s", name);
    w->passed.n++;
}

/* --- kept --------------------------------------------------------------------------------------
 */

static void test_nothing_is_opened_for_what_stays(void **state)
{
    struct world *w = *state;
    int fds[2];

    begin(w, LISTENER("a", "@:10143") LISTENER("b", "@:10144"), 2);
    memcpy(fds, port_of(w, "b")->fds, sizeof fds);
    assert_int_equal(reload(w, LISTENER("a", "@:10143") LISTENER("b", "@:10144"), 2), 0);
    assert_int_equal(w->ports.n, 2);
    assert_listens(port_of(w, "a"), 2);
    assert_memory_equal(port_of(w, "b")->fds, fds, sizeof fds);
}

static void test_port_0_is_kept_by_its_words(void **state)
{
    struct world *w = *state;
    struct addr before;

    begin(w, LISTENER("a", "@:0") LISTENER("b", "@:0"), 2);
    before = port_of(w, "b")->addr;
    assert_int_not_equal(addr_port(&before), 0);
    /* In another order, and with one more. */
    assert_int_equal(reload(w, LISTENER("c", "@:0") LISTENER("b", "@:0") LISTENER("a", "@:0"), 2),
                     2);
    assert_true(addr_equals(&port_of(w, "b")->addr, &before));
    assert_int_equal(port_of(w, "b")->listener, 1);
    assert_false(addr_equals(&port_of(w, "c")->addr, &before));
    assert_listens(port_of(w, "b"), 2);
}

static void test_another_title_keeps_the_address(void **state)
{
    struct world *w = *state;
    int fd;

    begin(w, LISTENER("a", "@:10143"), 1);
    fd = port_of(w, "a")->fds[0];
    assert_int_equal(reload(w, LISTENER("z", "@:10143"), 1), 0);
    assert_int_equal(port_of(w, "z")->fds[0], fd);
}

static void test_listeners_may_change_their_addresses_with_each_other(void **state)
{
    struct world *w = *state;
    int fd;

    begin(w, LISTENER("a", "@:10143") LISTENER("b", "@:10144"), 1);
    fd = port_of(w, "a")->fds[0];
    assert_int_equal(reload(w, LISTENER("a", "@:10144") LISTENER("b", "@:10143"), 1), 0);
    assert_int_equal(port_of(w, "b")->fds[0], fd);
    assert_int_equal(addr_port(&port_of(w, "b")->addr), PORT);
}

/* --- more and fewer ----------------------------------------------------------------------------
 */

static void test_more_workers_get_sockets_behind_those_that_are_there(void **state)
{
    struct world *w = *state;
    int first;

    begin(w, LISTENER("a", "@:0"), 1);
    first = port_of(w, "a")->fds[0];
    assert_int_equal(reload(w, LISTENER("a", "@:0"), 3), 2);
    assert_listens(port_of(w, "a"), 3);
    assert_int_equal(port_of(w, "a")->fds[0], first);
}

static void test_fewer_workers_keep_all_sockets(void **state)
{
    struct world *w = *state;

    begin(w, LISTENER("a", "@:10143"), 3);
    assert_int_equal(reload(w, LISTENER("a", "@:10143"), 1), 0);
    assert_listens(port_of(w, "a"), 3);
    assert_int_equal(reload(w, LISTENER("a", "@:10143"), 4), 1);
    assert_listens(port_of(w, "a"), 4);
}

static void test_each_socket_has_a_worker_and_each_worker_a_socket(void **state)
{
    int fds[CONF_WORKERS_MAX];

    (void)state;
    for (unsigned sockets = 1; sockets <= 9; sockets++) {
        const struct port port = {.fds = fds, .fds_n = sockets};

        for (unsigned workers = 1; workers <= 9; workers++) {
            for (unsigned i = 0; i < sockets; i++) {
                unsigned who = 0;

                for (unsigned slot = 0; slot < workers; slot++)
                    who += port_is_for(&port, workers, slot, i);
                assert_true(who > 0);
                /* Shared only where there are too few. */
                assert_true(who == 1 || sockets < workers);
            }
            for (unsigned slot = 0; slot < workers; slot++) {
                unsigned has = 0;

                for (unsigned i = 0; i < sockets; i++)
                    has += port_is_for(&port, workers, slot, i);
                assert_true(has > 0);
            }
        }
    }
}

static void test_what_is_removed_is_closed(void **state)
{
    struct world *w = *state;
    int fd;

    begin(w, LISTENER("a", "@:10143") LISTENER("b", "@:10144"), 2);
    fd = port_of(w, "b")->fds[0];
    assert_int_equal(reload(w, LISTENER("a", "@:10143"), 2), 0);
    assert_int_equal(w->ports.n, 1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    /* And free for others. */
    close(stranger(own(), OTHER));
}

static void test_another_address_is_opened_before_the_old_one_is_closed(void **state)
{
    struct world *w = *state;

    begin(w, LISTENER("a", "@:10143"), 2);
    assert_int_equal(reload(w, LISTENER("a", "@:10144"), 2), 2);
    assert_int_equal(w->ports.n, 1);
    assert_int_equal(addr_port(&port_of(w, "a")->addr), OTHER);
    assert_listens(port_of(w, "a"), 2);
}

/* --- neighbours --------------------------------------------------------------------------------
 */

static void test_a_wildcard_beside_an_address_of_ours(void **state)
{
    struct world *w = *state;
    const unsigned port = 20000 + (unsigned)getpid() % 10000;
    char one[TEXT], both[TEXT];

    snprintf(one, sizeof one, LISTENER("a", "@:%u"), port);
    snprintf(both, sizeof both, LISTENER("a", "@:%u") LISTENER("all", "0.0.0.0:%u"), port, port);
    begin(w, one, 2);
    assert_int_equal(reload(w, both, 2), 2);
    assert_listens(port_of(w, "a"), 2);
    assert_listens(port_of(w, "all"), 2);
    /* And back, and the other way round. */
    assert_int_equal(reload(w, one, 2), 0);
    assert_int_equal(reload(w, both, 2), 2);
    snprintf(one, sizeof one, LISTENER("all", "0.0.0.0:%u"), port);
    assert_int_equal(reload(w, one, 2), 0);
    assert_int_equal(reload(w, both, 2), 2);
}

static void test_a_stranger_on_the_port_is_found(void **state)
{
    struct world *w = *state;
    int fd;

    begin(w, LISTENER("a", "@:10143"), 2);
    fd = stranger(own(), OTHER);
    refused(w, LISTENER("a", "@:10143") LISTENER("b", "@:10144"), 2, "listener b");
    assert_listens(port_of(w, "a"), 2);
    close(fd);
    assert_int_equal(reload(w, LISTENER("a", "@:10143") LISTENER("b", "@:10144"), 2), 2);
}

/* With SO_REUSEPORT and our user, whom the kernel would let us share with. */
static void test_one_that_would_share_is_found_too(void **state)
{
    struct world *w = *state;
    struct addr addr = at(own(), OTHER);
    struct err err;
    int fd;

    begin(w, LISTENER("a", "@:10143"), 2);
    assert_int_equal(listen_open(&addr, &fd, 1, &err), 0);
    refused(w, LISTENER("b", "@:10144"), 2, "listener b");
    close(fd);
}

static void test_what_was_opened_is_closed_when_the_next_cannot_be(void **state)
{
    struct world *w = *state;

    begin(w, LISTENER("a", "@:10143"), 1);
    refused(w, LISTENER("b", "@:10144") LISTENER("c", "192.0.2.1:10143"), 4, "listener c");
    close(stranger(own(), OTHER));
}

/* --- passed ------------------------------------------------------------------------------------
 */

static void test_a_passed_socket_stays_through_any_number_of_reloads(void **state)
{
    struct world *w = *state;
    int fd = stranger(own(), PORT);

    pass(w, "a", fd, PORT);
    begin(w, LISTENER("a", "@:10143"), 2);
    for (unsigned workers = 1; workers <= 4; workers++) {
        /* One more of the other's. */
        assert_int_equal(reload(w, LISTENER("a", "@:10143") LISTENER("b", "@:0"), workers), 1);
        assert_true(port_of(w, "a")->is_passed);
        assert_false(port_of(w, "b")->is_passed);
        assert_listens(port_of(w, "a"), 1);
        assert_int_equal(port_of(w, "a")->fds[0], fd);
    }
}

static void test_a_passed_socket_is_kept_under_another_title(void **state)
{
    struct world *w = *state;

    pass(w, "a", stranger(own(), PORT), PORT);
    begin(w, LISTENER("a", "@:10143"), 2);
    assert_int_equal(reload(w, LISTENER("z", "@:10143"), 2), 0);
    assert_true(port_of(w, "z")->is_passed);
    assert_listens(port_of(w, "z"), 1);
}

static void test_several_passed_sockets_of_one_address_stay_together(void **state)
{
    struct world *w = *state;
    struct addr addr = at(own(), PORT);
    struct err err;
    int fds[3];

    assert_int_equal(listen_open(&addr, fds, 3, &err), 0);
    for (unsigned i = 0; i < 3; i++)
        pass(w, "a", fds[i], PORT);
    begin(w, LISTENER("a", "@:10143"), 2);
    assert_int_equal(w->ports.n, 1);
    assert_int_equal(reload(w, LISTENER("a", "@:10143"), 5), 0);
    assert_listens(port_of(w, "a"), 3);
    assert_memory_equal(port_of(w, "a")->fds, fds, sizeof fds);
}

int main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(test_nothing_is_opened_for_what_stays),
        ROW(test_port_0_is_kept_by_its_words),
        ROW(test_another_title_keeps_the_address),
        ROW(test_listeners_may_change_their_addresses_with_each_other),
        ROW(test_more_workers_get_sockets_behind_those_that_are_there),
        ROW(test_fewer_workers_keep_all_sockets),
        ROW(test_each_socket_has_a_worker_and_each_worker_a_socket),
        ROW(test_what_is_removed_is_closed),
        ROW(test_another_address_is_opened_before_the_old_one_is_closed),
        ROW(test_a_wildcard_beside_an_address_of_ours),
        ROW(test_a_stranger_on_the_port_is_found),
        ROW(test_one_that_would_share_is_found_too),
        ROW(test_what_was_opened_is_closed_when_the_next_cannot_be),
        ROW(test_a_passed_socket_stays_through_any_number_of_reloads),
        ROW(test_a_passed_socket_is_kept_under_another_title),
        ROW(test_several_passed_sockets_of_one_address_stay_together),
    };
#undef ROW

    return cmocka_run_group_tests(tests, NULL, NULL);
}
