/* Which files a role may open and which ports it may bind once its sandbox is closed, and what is
 * left where the host denies a part. */
#include "sandboxed.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* What this kernel offers; 0: nothing. */
static int landlock(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* its version */);

    return version > 0 && sandbox_build.closes_files ? (int)version : 0;
}

static void open_a_file_of_processes(void)
{
    expect(open("/proc/self/status", O_RDONLY | O_CLOEXEC) >= 0);
}

static void bind_to(uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    expect(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0);
    expect(bind(fd, (struct sockaddr *)&any, sizeof any) == 0);
}

static void bind_to_any_port(void)
{
    bind_to(0);
}

static void bind_to_a_port_of_its_own(void)
{
    bind_to(47143);
}

static void test_files_outside_of_a_roles_own_are_denied(void **state)
{
    static const struct {
        enum role role;
        void (*act)(void);
    } rows[] = {
        {ROLE_LOOKUP, open_a_file_of_processes},
        {ROLE_CONTROL, open_a_file},
        {ROLE_CONTROL, make_a_file_elsewhere},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && landlock(); i++) {
        struct end end = act(rows[i].role, SANDBOX_ENFORCE, rows[i].act);

        assert_string_equal(end.said, "");
        assert_true(is_denied(&end));
    }
}

static void test_with_a_source_ports_of_the_kernels_choice_may_be_bound(void **state)
{
    struct row row = {.role = ROLE_WORKER, .has_source = true, .act = bind_to_any_port};
    struct end end = end_of(act_within, &row);

    (void)state;
    assert_true(is_well(&end));
    row.act = bind_to_a_port_of_its_own;
    end = end_of(act_within, &row);
    if (landlock() >= 4)
        assert_true(is_denied(&end));
}

static void test_a_source_is_of_no_use_to_other_roles(void **state)
{
    const struct row row = {.role = ROLE_LOOKUP, .has_source = true, .act = bind_to_any_port};
    struct end end = end_of(act_within, &row);

    (void)state;
    assert_violation(&end, ROLE_LOOKUP, "setsockopt");
}

/* --- maps of directories ---------------------------------------------------------------------- */

static char place[64]; /* of the map */
static char opened[128];

static void open_what_is_named(void)
{
    expect(open(opened, O_RDONLY | O_CLOEXEC) >= 0);
}

static void make_file(const char *where, const char *name)
{
    int fd;

    snprintf(opened, sizeof opened, "%s/%s", where, name);
    fd = open(opened, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void make_place(void)
{
    snprintf(place, sizeof place, "%s/maps", folder);
    assert_int_equal(mkdir(place, 0700), 0);
}

static void remove_place(void)
{
    char path[128];

    snprintf(path, sizeof path, "%s/new", place);
    unlink(path);
    snprintf(path, sizeof path, "%s/users.map", place);
    unlink(path);
    assert_int_equal(rmdir(place), 0);
}

static void test_what_comes_in_place_of_a_map_may_be_read(void **state)
{
    char map[128];
    const struct row row = {.role = ROLE_LOOKUP, .act = open_what_is_named, .map = map};
    struct end end;

    (void)state;
    make_place();
    snprintf(map, sizeof map, "%s/users.map", place);
    make_file(place, "new");
    end = end_of(act_within, &row);
    assert_string_equal(end.said, "");
    assert_true(is_well(&end));
    remove_place();
}

static void test_beside_the_folder_of_a_map_nothing_may_be_read(void **state)
{
    char map[128];
    const struct row row = {.role = ROLE_LOOKUP, .act = open_what_is_named, .map = map};
    struct end end;

    (void)state;
    make_place();
    snprintf(map, sizeof map, "%s/users.map", place);
    make_file(folder, "other");
    end = end_of(act_within, &row);
    assert_true(landlock() ? is_denied(&end) : is_well(&end));
    unlink(opened);
    remove_place();
}

static void test_a_map_may_be_a_link_to_another_folder(void **state)
{
    char map[128];
    const struct row row = {.role = ROLE_LOOKUP, .act = open_what_is_named, .map = map};
    struct end end;

    (void)state;
    make_place();
    make_file(place, "users.map");
    snprintf(map, sizeof map, "%s/link", folder);
    assert_int_equal(symlink(opened, map), 0);
    make_file(place, "new");
    end = end_of(act_within, &row);
    assert_string_equal(end.said, "");
    assert_true(is_well(&end));
    unlink(map);
    remove_place();
}

/* The rights of one in the root are those of itself alone: its folder is everything. */
static void test_a_map_in_the_root_opens_no_other_file(void **state)
{
    static const char *const maps[] = {"/usher-test.map", "/no-such-folder/users.map"};

    (void)state;
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        const struct row row = {
            .role = ROLE_LOOKUP, .act = open_a_file_of_processes, .map = maps[i]};
        struct end end = end_of(act_within, &row);

        assert_string_equal(end.said, "");
        assert_true(landlock() ? is_denied(&end) : is_well(&end));
    }
}

/* --- hosts that deny a part ------------------------------------------------------------------- */

/* As a container's host may do. */
static void deny(const int *calls, size_t n, int code)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    for (size_t i = 0; i < n; i++)
        (void)seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)code), calls[i], 0);
    (void)seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1,
                           SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP, 0));
    if (seccomp_load(filter) < 0)
        _exit(FAILED);
    seccomp_release(filter);
}

static void deny_seccomp(void)
{
    deny((int[]){SCMP_SYS(seccomp)}, 1, EPERM);
}

static void deny_landlock(void)
{
    deny((int[]){SCMP_SYS(landlock_create_ruleset)}, 1, ENOSYS);
}

static void deny_landlocks_last_step(void)
{
    deny((int[]){SCMP_SYS(landlock_restrict_self)}, 1, EPERM);
}

static void test_without_seccomp_files_are_closed_all_the_same(void **state)
{
    struct row row = {.role = ROLE_WORKER, .act = open_a_unix_socket, .before = deny_seccomp};
    struct end end = end_of(act_within, &row);

    (void)state;
    assert_true(is_log_line(end.said));
    assert_true(matches(end.said, "Z warning sandbox_partial role=worker part=seccomp detail=\".*"
                                  "Operation not permitted\"\n$"));
    assert_true(is_well(&end));
    row.act = open_a_file;
    end = end_of(act_within, &row);
    assert_true(landlock() ? is_denied(&end) : is_well(&end));
}

static void deny_landlocks_rules(void)
{
    deny((int[]){SCMP_SYS(landlock_add_rule)}, 1, EPERM);
}

static void deny_landlocks_rules_as_unknown(void)
{
    deny((int[]){SCMP_SYS(landlock_add_rule)}, 1, ENOSYS);
}

static void test_without_landlock_calls_are_closed_all_the_same(void **state)
{
    static void (*const ways[])(void) = {deny_landlock, deny_landlocks_rules,
                                         deny_landlocks_rules_as_unknown, deny_landlocks_last_step};
    static const enum role roles[] = {ROLE_WORKER, ROLE_LOOKUP, ROLE_CONTROL};

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways * 3 && landlock(); i++) {
        enum role role = roles[i % 3];
        struct row row = {.role = role,
                          .has_source = landlock() >= 4, /* a rule for each role */
                          .act = role == ROLE_WORKER ? bind_to_any_port : open_a_file_of_processes,
                          .before = ways[i / 3]};
        struct end end = end_of(act_within, &row);
        char pattern[128];

        if (role == ROLE_WORKER && !row.has_source)
            continue;
        snprintf(pattern, sizeof pattern,
                 "Z warning sandbox_partial role=%s part=landlock detail=\".+\"\n$",
                 role_name(role));
        assert_true(is_log_line(end.said));
        assert_true(matches(end.said, pattern));
        assert_true(is_well(&end));
        row.act = run_a_program;
        end = end_of(act_within, &row);
        assert_true(is_killed_by(&end, SIGSYS));
    }
}

static void lose_the_folder(void)
{
    folder[strlen(folder) - 1] = '/';
}

static void test_a_state_directory_that_cannot_be_opened_is_no_partial_sandbox(void **state)
{
    struct row row = {.role = ROLE_CONTROL, .act = open_a_file, .before = lose_the_folder};
    struct end end = end_of(act_within, &row);

    (void)state;
    if (!landlock())
        return;
    assert_true(matches(end.said, "^Landlock: cannot open .+: No such file or directory\n$"));
    assert_true(WIFEXITED(end.status) && WEXITSTATUS(end.status) == FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_outside_of_a_roles_own_are_denied),
        cmocka_unit_test(test_with_a_source_ports_of_the_kernels_choice_may_be_bound),
        cmocka_unit_test(test_a_source_is_of_no_use_to_other_roles),
        cmocka_unit_test(test_what_comes_in_place_of_a_map_may_be_read),
        cmocka_unit_test(test_beside_the_folder_of_a_map_nothing_may_be_read),
        cmocka_unit_test(test_a_map_may_be_a_link_to_another_folder),
        cmocka_unit_test(test_a_map_in_the_root_opens_no_other_file),
        cmocka_unit_test(test_without_seccomp_files_are_closed_all_the_same),
        cmocka_unit_test(test_without_landlock_calls_are_closed_all_the_same),
        cmocka_unit_test(test_a_state_directory_that_cannot_be_opened_is_no_partial_sandbox),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
