/* Mistakes in the settings of the unix door, and where it is. */
#include "conf_testing.h"

#define REST GOOD_LISTENER GOOD_POOL

static void assert_told(const char *text, bool with_files, const char *want)
{
    struct conf *conf = load(text);
    struct told told;

    check(conf, with_files, &told);
    if (!want)
        assert_int_equal(told.n, 0);
    else if (told.n != 1 || strcmp(told.mistakes[0].text, want) != 0)
        fail_msg("%s: %u mistakes, %s", text, told.n, told.n ? told.mistakes[0].text : "");
    conf_free(&conf);
}

static void test_where_the_socket_is(void **state)
{
    static const struct {
        const char *text, *path;
    } rows[] = {
        {"state = \"/var/lib/usher\"\n" REST, "/var/lib/usher/ctl"},
        {"admin_socket = \"/run/usher/ctl\"\n" REST, "/run/usher/ctl"},
        {"admin_socket = off\n" REST, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct conf *conf = load(rows[i].text);
        char path[CONF_SOCKET_PATH];
        const char *found = conf_admin_socket(conf, path);

        if (rows[i].path)
            assert_string_equal(found, rows[i].path);
        else
            assert_null(found);
        conf_free(&conf);
        assert_told(rows[i].text, false, NULL);
    }
}

static void test_a_path_must_be_whole(void **state)
{
    (void)state;
    assert_told("admin_socket = ctl\n" REST, false,
                "admin_socket = \"ctl\": write the whole path of a file, as in /run/usher/ctl, or "
                "off");
    assert_told("admin_socket = \"/run/usher/\"\n" REST, false,
                "admin_socket = \"/run/usher/\": write the whole path of a file, as in "
                "/run/usher/ctl, or off");
}

/* 107 bytes are a path for a socket, 108 are none. */
static void test_a_path_has_107_bytes_at_most(void **state)
{
    char name[120], text[400];

    (void)state;
    for (size_t n = 107; n <= 108; n++) {
        memset(name, 'x', n);
        name[0] = '/';
        name[n] = '\0';
        snprintf(text, sizeof text, "admin_socket = \"%s\"\n" REST, name);
        assert_told(text, false,
                    n > 107 ? "admin_socket is too long; the path of a socket has 107 bytes at most"
                            : NULL);
        name[n - 4] = '\0'; /* "/ctl" comes behind it */
        snprintf(text, sizeof text, "state = \"%s\"\n" REST, name);
        assert_told(text, false,
                    n > 107 ? "state is too long a path for the socket of usher ctl in it, which "
                              "has 107 bytes at most; write admin_socket = \"/run/usher/ctl\", or "
                              "off"
                            : NULL);
        snprintf(text, sizeof text, "admin_socket = off state = \"%s\"\n" REST, name);
        assert_told(text, false, NULL);
    }
}

static void test_people_must_exist(void **state)
{
    (void)state;
    assert_told("state = \"/tmp\" user = nobody admin_see = {\"daemon\", \"@mail\"}\n" REST, true,
                NULL);
    assert_told("state = \"/tmp\" user = nobody admin_see = {\"no-such-one\"}\n" REST, true,
                "admin_see: there is no user \"no-such-one\"; make one or write another, a group "
                "as @group");
    assert_told("state = \"/tmp\" user = nobody admin_steer = {\"@no-such-group\"}\n" REST, true,
                "admin_steer: there is no group \"no-such-group\"; make one or write another");
    assert_told("admin_steer = {\"@\"}\n" REST, false,
                "admin_steer: a name is empty; write that of a user, or @ and that of a group");
    /* Another machine's people are not looked for. */
    assert_told("admin_steer = {\"no-such-one\"}\n" REST, false, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_the_socket_is),
        cmocka_unit_test(test_a_path_must_be_whole),
        cmocka_unit_test(test_a_path_has_107_bytes_at_most),
        cmocka_unit_test(test_people_must_exist),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
