/* Lines of /proc/PID/cgroup, as they are found on machines. */
#include "cm.h"

#include "ports/cgroup.h"

#include <stdio.h>
#include <string.h>

#define ID64 "1f2e3d4c5b6a79880123456789abcdef0123456789abcdef0123456789abcdef"

static void check(const char *text, const char *unit, const char *container)
{
    struct cgroup found;

    cgroup_parse(slice_str(text), &found);
    assert_string_equal(found.unit, unit);
    assert_string_equal(found.container, container);
}

struct row {
    const char *text, *unit, *container;
};

static void check_all(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check(rows[i].text, rows[i].unit, rows[i].container);
}

#define CHECK(rows) check_all(rows, sizeof(rows) / sizeof((rows)[0]))

static void test_units_of_systemd(void **state)
{
    static const struct row rows[] = {
        {"0::/system.slice/dovecot.service\n", "dovecot.service", ""},
        {"0::/system.slice/system-usher.slice/usher@front.service\n", "usher@front.service", ""},
        {"0::/system.slice/cron.service/sub/group\n", "cron.service", ""},
        {"0::/init.scope\n", "init.scope", ""},
        {"0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", ""},
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service\n", "foo.service",
         ""},
        {"0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "init.scope", ""},
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/"
         "app-gnome\\x2dterminal.slice/vte-spawn-0c2f.scope\n",
         "vte-spawn-0c2f.scope", ""},
        /* systemctl takes the name with its escapes. */
        {"0::/system.slice/system-systemd\\x2dfsck.slice/systemd-fsck@dev-disk-by\\x2duuid.service",
         "systemd-fsck@dev-disk-by\\x2duuid.service", ""},
        {"0::/system.slice/_cgroup.service\n", "cgroup.service", ""},
        {"0::/system.slice/gone.service (deleted)\n", "gone.service", ""},
        {"0::/../../system.slice/outside.service\n", "outside.service", ""},
        {"0::/system.slice/a:b.service\n", "a:b.service", ""},
        {"0::/system.slice/.service\n", "", ""},
        {"0::/system.slice\n", "", ""},
        {"0::/\n", "", ""},
    };

    (void)state;
    CHECK(rows);
}

static void test_version_1_and_both(void **state)
{
    static const struct row rows[] = {
        {"12:pids:/system.slice/ssh.service\n11:memory:/system.slice/ssh.service\n"
         "1:name=systemd:/system.slice/ssh.service\n",
         "ssh.service", ""},
        {"12:pids:/system.slice/ssh.service\n1:name=systemd:/system.slice/ssh.service\n"
         "0::/system.slice/ssh.service\n",
         "ssh.service", ""},
        {"1:name=systemd:/system.slice/ssh.service\n0::/\n", "ssh.service", ""},
        {"1:name=systemd:/one.service\n0::/two.service\n", "two.service", ""},
        /* Only systemd's own hierarchy has units. */
        {"4:memory:/system.slice/other.service\n0::/\n", "", ""},
        {"4:cpu,cpuacct:/docker/" ID64 "\n1:name=systemd:/docker/" ID64 "\n0::/\n", "",
         "docker 1f2e3d4c5b6a"},
        {"9:name=systemd:/\n4:memory:/docker/" ID64 "\n0::/\n", "", "docker 1f2e3d4c5b6a"},
    };

    (void)state;
    CHECK(rows);
}

static void test_docker_podman_and_containerd(void **state)
{
    static const struct row rows[] = {
        {"0::/system.slice/docker-" ID64 ".scope\n", "", "docker 1f2e3d4c5b6a"},
        {"0::/docker/" ID64 "\n", "", "docker 1f2e3d4c5b6a"},
        {"0::/docker/" ID64 "/system.slice/nginx.service\n", "nginx.service",
         "docker 1f2e3d4c5b6a"},
        {"0::/system.slice/docker-" ID64 ".scope/init.scope\n", "init.scope",
         "docker 1f2e3d4c5b6a"},
        /* The daemon itself, and its proxies for ports. */
        {"0::/system.slice/docker.service\n", "docker.service", ""},
        {"0::/machine.slice/libpod-" ID64 ".scope/container\n", "", "podman 1f2e3d4c5b6a"},
        {"0::/machine.slice/libpod-conmon-" ID64 ".scope\n", "", "podman 1f2e3d4c5b6a"},
        {"0::/libpod_parent/libpod-" ID64 "\n", "", "podman 1f2e3d4c5b6a"},
        {"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID64 ".scope\n", "",
         "podman 1f2e3d4c5b6a"},
        /* A quadlet's container runs in its unit. */
        {"0::/system.slice/web.service/libpod-payload-" ID64 "\n", "web.service",
         "podman 1f2e3d4c5b6a"},
        {"0::/system.slice/nerdctl-" ID64 ".scope\n", "", "containerd 1f2e3d4c5b6a"},
        {"0::/system.slice/cri-containerd-" ID64 ".scope\n", "", "containerd 1f2e3d4c5b6a"},
        {"0::/machine.slice/crio-" ID64 ".scope\n", "", "cri-o 1f2e3d4c5b6a"},
        /* No identity, or none that we know. */
        {"0::/system.slice/docker-1f2e.scope\n", "docker-1f2e.scope", ""},
        {"0::/system.slice/other-" ID64 ".scope\n", "other-" ID64 ".scope", ""},
        {"0::/build/" ID64 "\n", "", ""},
        {"0::/docker/X" ID64 "\n", "", ""},
    };

    (void)state;
    CHECK(rows);
}

static void test_kubernetes(void **state)
{
    static const struct row rows[] = {
        {"0::/kubepods.slice/kubepods-burstable.slice/"
         "kubepods-burstable-pod0f1e2d3c_4b5a_6978_8796_a5b4c3d2e1f0.slice/"
         "cri-containerd-" ID64 ".scope\n",
         "", "kubernetes 1f2e3d4c5b6a"},
        {"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
         "kubelet-kubepods-besteffort-pod7.slice/crio-" ID64 ".scope\n",
         "", "kubernetes 1f2e3d4c5b6a"},
        {"11:memory:/kubepods/burstable/pod0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0/" ID64
         "\n1:name=systemd:/kubepods/burstable/pod0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0/" ID64 "\n",
         "", "kubernetes 1f2e3d4c5b6a"},
        {"0::/docker/" ID64 "/kubelet/kubepods/besteffort/podx/"
         "abcdef0123450123456789abcdef0123456789abcdef0123456789abcdef0123\n",
         "", "kubernetes abcdef012345"},
        {"0::/system.slice/containerd.service/kubepods-burstable-pod7.slice:cri-containerd:" ID64
         "\n",
         "containerd.service", "kubernetes 1f2e3d4c5b6a"},
    };

    (void)state;
    CHECK(rows);
}

static void test_lxc_and_machines(void **state)
{
    static const struct row rows[] = {
        {"0::/lxc.payload.web1/system.slice/nginx.service\n", "nginx.service", "lxc web1"},
        {"0::/lxc.payload.web1\n", "", "lxc web1"},
        {"0::/lxc.payload/web1/init.scope\n", "init.scope", "lxc web1"},
        {"0::/lxc/101/ns/system.slice/dovecot.service\n", "dovecot.service", "lxc 101"},
        {"1:name=systemd:/lxc/101/init.scope\n", "init.scope", "lxc 101"},
        /* What watches a container from outside. */
        {"0::/lxc.monitor.web1\n", "", ""},
        {"0::/lxc.payload.\n", "", ""},
        {"0::/machine.slice/machine-my\\x2dbox.scope/payload/system.slice/a.service\n", "a.service",
         "machine my-box"},
        {"0::/machine.slice/machine-qemu\\x2d3\\x2dmail.scope/libvirt/emulator\n", "",
         "machine qemu-3-mail"},
        {"0::/machine.slice/systemd-nspawn@my\\x2dbox.service/payload\n",
         "systemd-nspawn@my\\x2dbox.service", "machine my-box"},
        {"0::/machine.slice/machine-odd\\x2.scope\n", "", "machine odd\\x2"},
        {"0::/machine.slice/machine-nul\\x00\\xzz.scope\n", "", "machine nul\\x00\\xzz"},
        {"0::/machine.slice/machine-.scope\n", "machine-.scope", ""},
    };

    (void)state;
    CHECK(rows);
}

static void test_what_is_no_line(void **state)
{
    static const struct row rows[] = {
        {"", "", ""},
        {"\n\n", "", ""},
        {"0:\n", "", ""},
        {":", "", ""},
        {"::/x.service\n", "", ""},
        {"x::/x.service\n", "", ""},
        {"0::\n", "", ""},
        {"nonsense\n0::/system.slice/x.service\n0:", "x.service", ""},
    };

    (void)state;
    CHECK(rows);
}

static void test_path_with_nul_is_no_path(void **state)
{
    struct cgroup found;

    (void)state;
    cgroup_parse(SLICE("0::/lxc.payload.\0x/b.service\n1:name=systemd:/c.service\n"), &found);
    assert_string_equal(found.unit, "c.service");
    assert_string_equal(found.container, "");
}

static void test_names_that_are_too_long_are_no_names(void **state)
{
    char text[1200];
    struct cgroup found;
    int n;

    (void)state;
    n = snprintf(text, sizeof text, "0::/outer.service/%0*d.service\n", 400, 7);
    cgroup_parse(slice_of(text, (size_t)n), &found);
    assert_string_equal(found.unit, "outer.service");
    n = snprintf(text, sizeof text, "0::/lxc.payload.%0*d\n", 800, 7);
    cgroup_parse(slice_of(text, (size_t)n), &found);
    assert_int_equal(strlen(found.container), sizeof found.container - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_of_systemd),
        cmocka_unit_test(test_version_1_and_both),
        cmocka_unit_test(test_docker_podman_and_containerd),
        cmocka_unit_test(test_kubernetes),
        cmocka_unit_test(test_lxc_and_machines),
        cmocka_unit_test(test_what_is_no_line),
        cmocka_unit_test(test_path_with_nul_is_no_path),
        cmocka_unit_test(test_names_that_are_too_long_are_no_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
