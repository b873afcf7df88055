/* SPDX-License-Identifier: MIT */
#include "base/machine.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "harness.h"

#define MIB ((size_t)1 << 20)

static char root[64]; /* of the made-up /proc and /sys of the running test */

static void new_root(void)
{
    strcpy(root, "/tmp/uzswap-machine-XXXXXX");
    REQUIRE(mkdtemp(root));
}

static void remove_root(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    CHECK(system(command) == 0);
}

static void put_file(const char *path, const char *text)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = name + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(name, 0700);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    REQUIRE(file);
    fputs(text, file);
    fclose(file);
}

static size_t whole_machine(void)
{
    struct sysinfo info;
    sysinfo(&info);
    return (size_t)info.totalram * info.mem_unit;
}

TEST(without_cgroups_it_is_the_machines_memory)
{
    new_root();
    CHECK_EQUAL(machine_memory(root), whole_machine());
    remove_root();
}

TEST(version_2_limit_counts)
{
    new_root();
    put_file("/proc/self/cgroup", "0::/job/step\n");
    put_file("/sys/fs/cgroup/job/step/memory.max", "104857600\n");
    CHECK_EQUAL(machine_memory(root), 100 * MIB);
    remove_root();
}

TEST(the_smallest_limit_above_counts)
{
    new_root();
    put_file("/proc/self/cgroup", "0::/job/step\n");
    put_file("/sys/fs/cgroup/job/step/memory.max", "max\n");
    put_file("/sys/fs/cgroup/job/memory.max", "52428800\n");
    put_file("/sys/fs/cgroup/memory.max", "62914560\n");
    CHECK_EQUAL(machine_memory(root), 50 * MIB);
    remove_root();
}

/* A container without a cgroup namespace: the path is the host's, the mounted root is the container's own. */
TEST(container_sees_its_limit_at_the_root)
{
    new_root();
    put_file("/proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/0123\n0::/\n");
    put_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "73400320\n");
    CHECK_EQUAL(machine_memory(root), 70 * MIB);
    remove_root();
}

TEST(version_1_without_limit_is_the_machines_memory)
{
    new_root();
    put_file("/proc/self/cgroup", "4:memory:/a\n");
    put_file("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK_EQUAL(machine_memory(root), whole_machine());
    remove_root();
}

TEST(other_controllers_do_not_count)
{
    new_root();
    put_file("/proc/self/cgroup", "4:memory_hog,cpu:/a\n");
    put_file("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n");
    CHECK_EQUAL(machine_memory(root), whole_machine());
    remove_root();
}

TEST(nonsense_does_not_count)
{
    new_root();
    put_file("/proc/self/cgroup", "\n:\n::\n0::\nmemory\n4:memory\n0::/x");
    put_file("/sys/fs/cgroup/x/memory.max", "lots\n");
    CHECK_EQUAL(machine_memory(root), whole_machine());
    remove_root();
}

int main(void)
{
    RUN(without_cgroups_it_is_the_machines_memory);
    RUN(version_2_limit_counts);
    RUN(the_smallest_limit_above_counts);
    RUN(container_sees_its_limit_at_the_root);
    RUN(version_1_without_limit_is_the_machines_memory);
    RUN(other_controllers_do_not_count);
    RUN(nonsense_does_not_count);
    return harness_finish();
}
