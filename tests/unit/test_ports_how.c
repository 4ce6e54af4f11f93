/* The commands that usher ports --how prints: the right ones for what is asked, and safe to paste.
 */
#include "cli/ports.h"

#include "cm.h"

#include <stdlib.h>
#include <string.h>

static char *said;
static size_t said_n;

static struct target port(uint16_t first, uint16_t last, const char *host)
{
    struct target t = {.first = first, .last = last};

    memcpy(t.host, host, strlen(host) + 1);
    return t;
}

static void ask(struct target t, bool with_udp)
{
    FILE *out;

    free(said);
    said = NULL;
    out = open_memstream(&said, &said_n);
    assert_non_null(out);
    ports_how(out, &t, with_udp);
    fclose(out);
}

/* Whether a line of commands is exactly that. */
static void assert_line(const char *command)
{
    char line[1024];

    snprintf(line, sizeof line, "\n    %s\n", command);
    if (!strstr(said, line))
        fail_msg("there is no line \"%s\" in\n%s", command, said);
}

static void assert_none(const char *part)
{
    if (strstr(said, part))
        fail_msg("\"%s\" is in\n%s", part, said);
}

static void test_a_port_is_looked_for_on_three_systems(void **state)
{
    static const char *const lines[] = {
        "ss -lntp --cgroup 'sport = :10143'",
        "lsof -nP -iTCP:10143 -sTCP:LISTEN",
        "fuser -v 10143/tcp",
        "grep ':279F [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6",
        "ss -ant 'sport = :10143'",
        "nsenter -t PID -n ss -lntp 'sport = :10143'",
        "docker ps --filter publish=10143",
        "getent services 10143/tcp",
        "nc -v -w 3 127.0.0.1 10143",
        "openssl s_client -crlf -quiet -connect 127.0.0.1:10143",
        "openssl s_client -starttls imap -connect 127.0.0.1:10143 </dev/null",
        "curl -sv imap://127.0.0.1:10143/ -X NOOP",
        "printf 'PROXY UNKNOWN\\r\\n' | nc -w 3 127.0.0.1 10143",
        "sudo lsof -nP -iTCP:10143 -sTCP:LISTEN",
        "netstat -anv -p tcp | awk '$4 ~ /[.]10143$/ && $6 == \"LISTEN\"'",
        "netstat -ano | findstr /C:\":10143 \"",
        "Test-NetConnection 127.0.0.1 -Port 10143",
    };

    (void)state;
    ask(port(10143, 10143, ""), false);
    assert_int_equal(strncmp(said, "Linux\n", 6), 0);
    assert_true(strstr(said, "\n\nmacOS\n") < strstr(said, "\n\nWindows\n"));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_line(lines[i]);
    assert_none("UDP");
    assert_none("udp");
}

static void test_udp_is_looked_for_when_asked(void **state)
{
    (void)state;
    ask(port(53, 53, ""), true);
    assert_line("ss -lntup --cgroup 'sport = :53'");
    assert_line("lsof -nP -iUDP:53");
    assert_line("fuser -v 53/tcp 53/udp");
    assert_line("grep ':0035 [0-9A-F]*:0000 07' /proc/net/udp /proc/net/udp6");
    assert_line("netstat -anv -p udp | awk '$4 ~ /[.]53$/'");
    assert_line("Get-NetUDPEndpoint -LocalPort 53 | Select-Object LocalAddress, LocalPort, "
                "OwningProcess");
    assert_none("fuser -v 53/tcp\n");
}

static void test_a_range_is_looked_for_as_one(void **state)
{
    (void)state;
    ask(port(10000, 10100, ""), true);
    assert_line("ss -lntup --cgroup 'sport >= :10000 and sport <= :10100'");
    assert_line("lsof -nP -iTCP:10000-10100 -sTCP:LISTEN");
    assert_line("lsof -nP -iUDP:10000-10100");
    assert_line("docker ps --filter publish=10000-10100");
    assert_line("awk '$2 + 0 >= 10000 && $2 + 0 <= 10100' /etc/services");
    assert_line(
        "netstat -anv -p tcp | awk '{ n = split($4, a, \".\"); p = a[n] + 0 } p >= 10000 && "
        "p <= 10100 && $6 == \"LISTEN\"'");
    assert_line("nc -zv -w 1 127.0.0.1 10000-10100");
    assert_line("nc -v -w 3 127.0.0.1 PORT");
    assert_line("openssl s_client -crlf -quiet -connect 127.0.0.1:PORT");
    assert_none("fuser");
    assert_none("findstr");
}

static void test_starttls_is_that_of_the_ports_protocol(void **state)
{
    static const struct {
        uint16_t port;
        const char *protocol;
    } rows[] = {{143, "imap"},   {110, "pop3"},   {25, "smtp"},    {587, "smtp"},
                {10587, "smtp"}, {24, "lmtp"},    {2000, "sieve"}, {7110, "pop3"},
                {10110, "pop3"}, {31143, "imap"}, {65000, "imap"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[100];

        ask(port(rows[i].port, rows[i].port, ""), false);
        snprintf(line, sizeof line,
                 "openssl s_client -starttls %s -connect 127.0.0.1:%u </dev/null", rows[i].protocol,
                 rows[i].port);
        assert_line(line);
        if (strcmp(rows[i].protocol, "imap") != 0)
            assert_none("curl -sv imap:");
    }
}

static void test_the_host_that_is_named_is_asked(void **state)
{
    (void)state;
    ask(port(993, 993, "mail.example.org"), false);
    assert_line("nc -v -w 3 mail.example.org 993");
    assert_line("openssl s_client -crlf -quiet -connect mail.example.org:993");
    ask(port(993, 993, "fe80::1%eth0"), false);
    assert_line("nc -v -w 3 fe80::1%eth0 993");
    assert_line("openssl s_client -crlf -quiet -connect [fe80::1%eth0]:993");
}

static void test_a_host_that_a_shell_would_act_on_is_left_out(void **state)
{
    static const char *const hosts[] = {"a;reboot", "$(reboot)", "a b",     "`x`",  "a'b",
                                        "a\"b",     "-e",        "a|b",     "a\nb", "a&b",
                                        "*",        "a>b",       "\xc3\xa9"};

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        ask(port(143, 143, hosts[i]), false);
        assert_line("nc -v -w 3 HOST 143");
        assert_line("openssl s_client -crlf -quiet -connect HOST:143");
    }
}

/* Every command stands below a line that says what for; quotes are closed, no place is left. */
static void test_all_lines_are_whole(void **state)
{
    static const char *const names[] = {"{port}", "{first}", "{last}", "{span}",    "{filter}",
                                        "{hex}",  "{host}",  "{at}",   "{protocol}"};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool was_why = false;

        ask(port(100, i & 1 ? 200 : 100, ""), i & 2);
        for (size_t j = 0; j < sizeof names / sizeof *names; j++)
            assert_none(names[j]);
        for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n")) {
            unsigned single = 0, twice = 0;

            if (line[0] != ' ')
                continue;
            assert_true(strlen(line) < 250);
            if (strncmp(line, "    # ", 6) == 0) {
                assert_false(was_why);
                was_why = true;
                continue;
            }
            for (const char *p = line; *p; p++) {
                single += *p == '\'';
                twice += *p == '"';
            }
            assert_true(was_why && single % 2 == 0 && twice % 2 == 0);
            was_why = false;
        }
    }
}

static int forget(void **state)
{
    (void)state;
    free(said);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_port_is_looked_for_on_three_systems),
        cmocka_unit_test(test_udp_is_looked_for_when_asked),
        cmocka_unit_test(test_a_range_is_looked_for_as_one),
        cmocka_unit_test(test_starttls_is_that_of_the_ports_protocol),
        cmocka_unit_test(test_the_host_that_is_named_is_asked),
        cmocka_unit_test(test_a_host_that_a_shell_would_act_on_is_left_out),
        cmocka_unit_test(test_all_lines_are_whole),
    };

    return cmocka_run_group_tests(tests, NULL, forget);
}
