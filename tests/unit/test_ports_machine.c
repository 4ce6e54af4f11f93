/* What ports mean on a machine: classes, settings of a kernel that is made up, and names of an
 * /etc/services that is. */
#include "ports/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cm.h"

/* ---- Helpers ---- */

/* A directory of the test's own, with sys/net/ipv4 in it. */
struct folder {
    char path[64];
};

static const char *const settings[] = {"ip_unprivileged_port_start", "ip_local_port_range",
                                       "ip_local_reserved_ports"};

/* In the program's own memory, until the next call. */
static const char *inside(const struct folder *folder, const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    return path;
}

static const char *setting_path(const struct folder *folder, const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/sys/net/ipv4/%s", folder->path, name);
    return path;
}

static void put_file(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    close(fd);
}

static void put_setting(const struct folder *folder, const char *name, const char *text)
{
    put_file(setting_path(folder, name), text, strlen(text));
}

static int set_up(void **state)
{
    static const char *const folders[] = {"sys", "sys/net", "sys/net/ipv4"};
    static struct folder folder;

    snprintf(folder.path, sizeof folder.path, "/tmp/usher-ports-XXXXXX");
    assert_non_null(mkdtemp(folder.path));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(mkdir(inside(&folder, folders[i]), 0700), 0);
    *state = &folder;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const folders[] = {"sys/net/ipv4", "sys/net", "sys"};
    struct folder *folder = *state;

    for (size_t i = 0; i < 3; i++)
        unlink(setting_path(folder, settings[i]));
    unlink(inside(folder, "services"));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(rmdir(inside(folder, folders[i])), 0);
    assert_int_equal(rmdir(folder->path), 0);
    return 0;
}

static size_t count(const uint64_t set[65536 / 64])
{
    size_t n = 0;

    for (size_t i = 0; i < 65536 / 64; i++)
        n += (size_t)__builtin_popcountll(set[i]);
    return n;
}

static void check_defaults(const struct machine *m)
{
    assert_int_equal(m->unprivileged_from, 1024);
    assert_int_equal(m->ephemeral_first, 32768);
    assert_int_equal(m->ephemeral_last, 60999);
    assert_int_equal(count(m->reserved), 0);
}

/* What is read where only this setting is there. */
static struct machine read_one(const struct folder *folder, const char *name, const char *text)
{
    struct machine m;

    put_setting(folder, name, text);
    memset(&m, 0xa5, sizeof m);
    machine_read(folder->path, &m);
    assert_int_equal(unlink(setting_path(folder, name)), 0);
    return m;
}

static struct services *parse(struct slice text)
{
    struct services *services = NULL;

    assert_int_equal(services_parse(text, &services, NULL), 0);
    assert_non_null(services);
    return services;
}

/* 0: the name is not there. */
static uint16_t port_of(const struct services *services, const char *name)
{
    uint16_t port = 0;
    bool is_there = services_find_name(services, slice_str(name), &port);

    assert_int_equal(is_there, port != 0);
    return port;
}

/* ---- Classes ---- */

static void test_every_port_has_the_class_whose_range_it_is_in(void **state)
{
    (void)state;
    for (unsigned port = 0; port <= 65535; port++) {
        enum port_class class = port_class((uint16_t)port);
        uint16_t first, last;

        port_class_range(class, &first, &last);
        assert_true(first <= port && port <= last);
    }
    assert_int_equal(port_class(0), PORT_SYSTEM);
    assert_int_equal(port_class(1023), PORT_SYSTEM);
    assert_int_equal(port_class(1024), PORT_REGISTERED);
    assert_int_equal(port_class(49151), PORT_REGISTERED);
    assert_int_equal(port_class(49152), PORT_DYNAMIC);
    assert_int_equal(port_class(65535), PORT_DYNAMIC);
    assert_string_equal(port_class_name(PORT_SYSTEM), "system");
    assert_string_equal(port_class_name(PORT_REGISTERED), "registered");
    assert_string_equal(port_class_name(PORT_DYNAMIC), "dynamic");
}

/* ---- The kernel's settings ---- */

static void test_settings_are_read_as_the_kernel_writes_them(void **state)
{
    const struct folder *folder = *state;
    struct machine m;

    put_setting(folder, "ip_unprivileged_port_start", "80\n");
    put_setting(folder, "ip_local_port_range", "20000\t50000\n");
    put_setting(folder, "ip_local_reserved_ports", "143,993,30000-30002\n");
    machine_read(folder->path, &m);
    assert_int_equal(m.unprivileged_from, 80);
    assert_int_equal(m.ephemeral_first, 20000);
    assert_int_equal(m.ephemeral_last, 50000);
    assert_int_equal(count(m.reserved), 5);
    assert_true(machine_is_reserved(&m, 143) && machine_is_reserved(&m, 30002));
    assert_false(machine_is_reserved(&m, 144) || machine_is_reserved(&m, 30003));
    assert_true(machine_is_ephemeral(&m, 20000) && machine_is_ephemeral(&m, 50000));
    assert_false(machine_is_ephemeral(&m, 19999) || machine_is_ephemeral(&m, 50001));
    assert_true(machine_is_ephemeral(&m, 29999));
    assert_false(machine_is_ephemeral(&m, 30001)); /* reserved */
}

static void test_settings_that_are_not_there_have_the_kernels_defaults(void **state)
{
    const struct folder *folder = *state;
    char long_path[8192];
    struct machine m;

    machine_read(folder->path, &m);
    check_defaults(&m);
    machine_read("/nonexistent", &m);
    check_defaults(&m);
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    machine_read(long_path, &m);
    check_defaults(&m);
    assert_int_equal(mkdir(setting_path(folder, settings[0]), 0700), 0);
    machine_read(folder->path, &m);
    assert_int_equal(rmdir(setting_path(folder, settings[0])), 0);
    check_defaults(&m);
}

static void test_malformed_settings_have_the_kernels_defaults(void **state)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"ip_unprivileged_port_start", ""},
        {"ip_unprivileged_port_start", "\n"},
        {"ip_unprivileged_port_start", "65536\n"},
        {"ip_unprivileged_port_start", "-1\n"},
        {"ip_unprivileged_port_start", "80 90\n"},
        {"ip_unprivileged_port_start", "80\n\n"},
        {"ip_unprivileged_port_start", "eighty\n"},
        {"ip_unprivileged_port_start", "18446744073709551696\n"},
        {"ip_local_port_range", ""},
        {"ip_local_port_range", "20000\n"},
        {"ip_local_port_range", "20000 \n"},
        {"ip_local_port_range", "20000\t\n"},
        {"ip_local_port_range", "50000\t20000\n"},
        {"ip_local_port_range", "0\t20000\n"},
        {"ip_local_port_range", "20000\t65536\n"},
        {"ip_local_port_range", "20000\t30000\t40000\n"},
        {"ip_local_reserved_ports", ",\n"},
        {"ip_local_reserved_ports", "1,2,\n"},
        {"ip_local_reserved_ports", "1,,2\n"},
        {"ip_local_reserved_ports", "1-\n"},
        {"ip_local_reserved_ports", "2-1\n"},
        {"ip_local_reserved_ports", "1-2-3\n"},
        {"ip_local_reserved_ports", "65536\n"},
        {"ip_local_reserved_ports", "1 2\n"},
        {"ip_local_reserved_ports", "1\n2\n"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct machine m = read_one(*state, rows[i].name, rows[i].text);

        check_defaults(&m);
    }
}

static void test_settings_may_have_their_extremes(void **state)
{
    struct machine m = read_one(*state, "ip_unprivileged_port_start", "0\n");

    assert_int_equal(m.unprivileged_from, 0);
    m = read_one(*state, "ip_unprivileged_port_start", "65535\n");
    assert_int_equal(m.unprivileged_from, 65535);
    m = read_one(*state, "ip_local_port_range", "1\t65535");
    assert_true(machine_is_ephemeral(&m, 1) && machine_is_ephemeral(&m, 65535));
    assert_false(machine_is_ephemeral(&m, 0));
    m = read_one(*state, "ip_local_reserved_ports", "\n");
    assert_int_equal(count(m.reserved), 0);
    m = read_one(*state, "ip_local_reserved_ports", "0-65535\n");
    assert_int_equal(count(m.reserved), 65536);
    assert_false(machine_is_ephemeral(&m, 40000));
}

static void test_a_long_set_of_reserved_ports_is_read_whole(void **state)
{
    /* Every other port: the longest text that the kernel ever writes. */
    size_t cap = 32768 * sizeof "65535,", n = 0;
    char *text = malloc(cap);
    struct machine m;

    assert_non_null(text);
    for (unsigned port = 1; port <= 65535; port += 2)
        n += (size_t)snprintf(text + n, cap - n, "%u%s", port, port < 65535 ? "," : "\n");
    m = read_one(*state, "ip_local_reserved_ports", text);
    free(text);
    assert_int_equal(count(m.reserved), 32768);
    assert_true(machine_is_reserved(&m, 65535) && machine_is_reserved(&m, 1));
    assert_false(machine_is_reserved(&m, 65534));
}

static void test_a_text_that_is_no_set_leaves_the_set_alone(void **state)
{
    uint64_t set[65536 / 64] = {5};

    (void)state;
    assert_false(machine_parse_set(SLICE("1,x"), set));
    assert_int_equal(set[0], 5);
    assert_true(machine_parse_set(SLICE("64"), set));
    assert_int_equal(set[0], 0);
    assert_int_equal(set[1], 1);
    assert_true(machine_parse_set(SLICE(""), set));
    assert_int_equal(count(set), 0);
}

static void test_this_machines_own_settings_are_read(void **state)
{
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    unsigned first, last;
    struct machine m;

    (void)state;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%u %u", &first, &last), 2);
    fclose(file);
    machine_read("/proc", &m);
    assert_int_equal(m.ephemeral_first, first);
    assert_int_equal(m.ephemeral_last, last);
}

/* Runs in a process of its own, that gives the capability up if it has it. */
static int tell_capability(bool drop)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    struct machine m;

    if (syscall(SYS_capget, &header, data))
        return 2;
    if (drop) {
        data[0].effective &= ~(1U << CAP_NET_BIND_SERVICE);
        if (syscall(SYS_capset, &header, data))
            return 2;
    }
    machine_read("/proc", &m);
    return m.may_bind_all == ((data[0].effective & 1U << CAP_NET_BIND_SERVICE) != 0) ? 0 : 1;
}

static void test_the_capability_to_bind_is_told(void **state)
{
    (void)state;
    for (int drop = 0; drop < 2; drop++) {
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0)
            _exit(tell_capability(drop));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

/* ---- /etc/services ---- */

static void test_services_are_found_by_port_name_and_alias(void **state)
{
    struct services *s = parse(SLICE("# Network services\n"
                                     "smtp\t\t25/tcp\t\tmail\n"
                                     "\n"
                                     "imap2 143/tcp imap # Interim Mail Access P 2 and 4\n"
                                     "  ntp 123/udp\n"
                                     "diameter 3868/sctp\n"
                                     "kamanda 10081/dccp#comment\n"));

    (void)state;
    assert_string_equal(services_find(s, 25, PORT_TCP), "smtp");
    assert_string_equal(services_find(s, 143, PORT_TCP), "imap2");
    assert_string_equal(services_find(s, 123, PORT_UDP), "ntp");
    assert_string_equal(services_find(s, 3868, PORT_SCTP), "diameter");
    assert_string_equal(services_find(s, 10081, PORT_DCCP), "kamanda");
    assert_null(services_find(s, 143, PORT_UDP));
    assert_null(services_find(s, 26, PORT_TCP));
    assert_null(services_find(s, 65535, PORT_DCCP));
    assert_int_equal(port_of(s, "smtp"), 25);
    assert_int_equal(port_of(s, "mail"), 25);
    assert_int_equal(port_of(s, "imap"), 143);
    assert_int_equal(port_of(s, "IMAP"), 0); /* case counts */
    assert_int_equal(port_of(s, "Interim"), 0);
    assert_int_equal(port_of(s, "ima"), 0);
    assert_int_equal(port_of(s, ""), 0);
    assert_int_equal(services_count(s), 7);
    services_free(&s);
    assert_null(s);
    services_free(&s);
}

static void test_lines_may_end_with_crlf_or_not_at_all(void **state)
{
    struct services *s = parse(SLICE("one 1/tcp\r\ntwo 2/tcp deux\r\nthree 3/tcp"));

    (void)state;
    assert_string_equal(services_find(s, 1, PORT_TCP), "one");
    assert_int_equal(port_of(s, "deux"), 2);
    assert_int_equal(port_of(s, "three"), 3);
    services_free(&s);
}

static void test_lines_that_are_none_are_passed_over(void **state)
{
    static const char text[] = "lonely\n"
                               "imap 143\n"
                               "imap tcp/143\n"
                               "imap 143/\n"
                               "imap /tcp\n"
                               "imap 65536/tcp\n"
                               "imap 0/tcp\n"
                               "imap -1/tcp\n"
                               "imap 0x8f/tcp\n"
                               "imap 143/TCP\n"
                               "imap 143/tcpx\n"
                               "imap 143/ddp\n"
                               "imap 143 /tcp\n"
                               "143/tcp imap\n"
                               "#imap 143/tcp\n"
                               "imap #143/tcp\n"
                               "im\033[2Jap 143/tcp\n"
                               "im\xc3\xa4p 143/tcp\n"
                               "im\0ap 143/tcp\n"
                               "\0\xff\xfe\n"
                               "good 7/tcp bad\033[2J fine b\0d\n";
    struct services *s = parse(slice_of(text, sizeof text - 1));

    (void)state;
    assert_int_equal(services_count(s), 2);
    assert_string_equal(services_find(s, 7, PORT_TCP), "good");
    assert_int_equal(port_of(s, "fine"), 7);
    services_free(&s);
}

static void test_of_duplicates_the_first_counts(void **state)
{
    struct services *s = parse(SLICE("z-first 143/tcp other\n"
                                     "a-second 143/tcp\n"
                                     "same 500/udp\n"
                                     "same 400/tcp\n"
                                     "third 300/tcp same\n"
                                     "other 200/tcp\n"));

    (void)state;
    assert_string_equal(services_find(s, 143, PORT_TCP), "z-first");
    assert_int_equal(port_of(s, "a-second"), 143);
    assert_int_equal(port_of(s, "same"), 500);
    assert_int_equal(port_of(s, "other"), 143);
    services_free(&s);
}

static void test_all_names_are_told(void **state)
{
    static const char *const names[] = {"one", "uno", "un", "two"};
    struct services *s = parse(SLICE("one 1/tcp uno un\ntwo 2/udp\n"));

    (void)state;
    assert_int_equal(services_count(s), 4);
    for (size_t i = 0; i < 4; i++) {
        size_t times = 0;

        for (size_t j = 0; j < services_count(s); j++)
            times += strcmp(services_name(s, j), names[i]) == 0;
        assert_int_equal(times, 1);
    }
    services_free(&s);
}

static void test_a_thousand_lines_are_found_again(void **state)
{
    char text[65536];
    struct services *s;
    size_t n = 0;

    (void)state;
    /* Not in the order of the ports. */
    for (unsigned i = 0; i < 1000; i++) {
        unsigned port = i * 577 % 1000 + 1;

        n += (size_t)snprintf(text + n, sizeof text - n, "name%u %u/%s alias%u\n", port, port,
                              i % 2 ? "tcp" : "udp", port);
    }
    s = parse(slice_of(text, n));
    for (unsigned i = 0; i < 1000; i++) {
        unsigned port = i * 577 % 1000 + 1;
        char name[16];

        snprintf(name, sizeof name, "name%u", port);
        assert_string_equal(services_find(s, (uint16_t)port, i % 2 ? PORT_TCP : PORT_UDP), name);
        assert_null(services_find(s, (uint16_t)port, i % 2 ? PORT_UDP : PORT_TCP));
        assert_int_equal(port_of(s, name), port);
    }
    services_free(&s);
}

static void test_a_name_is_shown_only_where_iana_has_another(void **state)
{
    struct services *s = parse(SLICE("smtp 25/tcp\n"
                                     "IMAP 143/tcp\n"
                                     "imap 143/udp\n" /* reserved */
                                     "our-imaps 993/tcp imaps\n"
                                     "our-own 64999/tcp\n"));

    (void)state;
    assert_null(services_differs(s, 25, PORT_TCP));
    assert_null(services_differs(s, 143, PORT_TCP));
    assert_string_equal(services_differs(s, 143, PORT_UDP), "imap");
    assert_string_equal(services_differs(s, 993, PORT_TCP), "our-imaps");
    assert_string_equal(services_differs(s, 64999, PORT_TCP), "our-own");
    assert_null(services_differs(s, 64998, PORT_TCP));
    services_free(&s);
}

static void test_a_file_is_read_and_one_that_is_not_there_is_empty(void **state)
{
    static const char text[] = "one 1/tcp\n";
    const struct folder *folder = *state;
    struct services *s = NULL;

    assert_int_equal(services_read(inside(folder, "services"), &s, NULL), 0);
    assert_int_equal(services_count(s), 0);
    assert_null(services_find(s, 1, PORT_TCP));
    services_free(&s);
    put_file(inside(folder, "services"), "", 0);
    assert_int_equal(services_read(inside(folder, "services"), &s, NULL), 0);
    assert_int_equal(services_count(s), 0);
    services_free(&s);
    put_file(inside(folder, "services"), text, sizeof text - 1);
    assert_int_equal(services_read(inside(folder, "services/below"), &s, NULL), 0);
    assert_int_equal(services_count(s), 0);
    services_free(&s);
    assert_int_equal(services_read(inside(folder, "services"), &s, NULL), 0);
    assert_string_equal(services_find(s, 1, PORT_TCP), "one");
    services_free(&s);
}

static void check_refused(const char *path, const char *words)
{
    struct services *s = NULL;
    struct err err = {.code = 0};

    assert_int_equal(services_read(path, &s, &err), -1);
    assert_null(s);
    assert_non_null(strstr(err.text, words));
    assert_non_null(strstr(err.text, path));
}

static void test_what_is_no_file_of_its_kind_is_refused(void **state)
{
    const struct folder *folder = *state;
    const char *path = inside(folder, "services");

    check_refused(folder->path, "no regular file");
    assert_int_equal(mkfifo(path, 0600), 0);
    check_refused(path, "no regular file"); /* and does not wait for a writer */
    assert_int_equal(unlink(path), 0);
    put_file(path, "", 0);
    assert_int_equal(truncate(path, 4 * 1024 * 1024 + 1), 0);
    check_refused(path, "more than 4 MiB");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("services", path), 0);
    check_refused(path, "cannot open");
}

static void test_a_file_of_four_mebibytes_is_read(void **state)
{
    const size_t n = 4 * 1024 * 1024;
    const char *path = inside(*state, "services");
    struct services *s = NULL;
    char *text = malloc(n);

    assert_non_null(text);
    memset(text, '#', n);
    memcpy(text, "first 1/tcp\n", 12);
    memcpy(text + n - 12, "\nlast 2/tcp\n", 12);
    put_file(path, text, n);
    free(text);
    assert_int_equal(services_read(path, &s, NULL), 0);
    assert_int_equal(port_of(s, "first"), 1);
    assert_int_equal(port_of(s, "last"), 2);
    services_free(&s);
}

/* With a folder of its own. */
#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_every_port_has_the_class_whose_range_it_is_in),
        EACH(test_settings_are_read_as_the_kernel_writes_them),
        EACH(test_settings_that_are_not_there_have_the_kernels_defaults),
        EACH(test_malformed_settings_have_the_kernels_defaults),
        EACH(test_settings_may_have_their_extremes),
        EACH(test_a_long_set_of_reserved_ports_is_read_whole),
        EACH(test_a_text_that_is_no_set_leaves_the_set_alone),
        EACH(test_this_machines_own_settings_are_read),
        EACH(test_the_capability_to_bind_is_told),
        EACH(test_services_are_found_by_port_name_and_alias),
        EACH(test_lines_may_end_with_crlf_or_not_at_all),
        EACH(test_lines_that_are_none_are_passed_over),
        EACH(test_of_duplicates_the_first_counts),
        EACH(test_all_names_are_told),
        EACH(test_a_thousand_lines_are_found_again),
        EACH(test_a_name_is_shown_only_where_iana_has_another),
        EACH(test_a_file_is_read_and_one_that_is_not_there_is_empty),
        EACH(test_what_is_no_file_of_its_kind_is_refused),
        EACH(test_a_file_of_four_mebibytes_is_read),
    };

    return cmocka_run_group_tests_name("ports_machine", tests, NULL, NULL);
}
