/* SPDX-License-Identifier: MIT */
/* cli/ is no library: the file under test is taken in whole. */
#include "cli/permission.c"

#include "harness.h"

static int a_descriptor(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}
static int no_permission(void)
{
    return -EPERM;
}
static int no_access(void)
{
    return -EACCES;
}
static int not_there(void)
{
    return -ENOENT;
}
static int no_such_call(void)
{
    return -ENOSYS;
}

static char text[2048];

static int check_ways(int (*by_device)(void), int (*by_call)(void))
{
    const struct permission_ops ops = {by_device, by_call};
    text[0] = 0;
    return permission_check(&ops, text, sizeof text);
}

TEST(either_way_is_enough)
{
    CHECK_EQUAL(check_ways(a_descriptor, no_permission), 0);
    CHECK_EQUAL(check_ways(not_there, a_descriptor), 0);
    CHECK_EQUAL(check_ways(a_descriptor, a_descriptor), 0);
    CHECK_EQUAL(strlen(text), 0);
}

TEST(a_refusal_names_every_way_in)
{
    static const char *const ways[] = {"/dev/userfaultfd", "--device",
                                       "Kubernetes",       "CAP_SYS_PTRACE",
                                       "--cap-add",        "vm.unprivileged_userfaultfd=1",
                                       "--force",          "may not be opened"};
    CHECK_EQUAL(check_ways(no_access, no_permission), -EPERM);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (!strstr(text, ways[i])) {
            harness_fail(__FILE__, __LINE__, "does not name %s", ways[i]);
        }
    }
}

TEST(a_missing_device_is_told_from_a_closed_one)
{
    CHECK_EQUAL(check_ways(not_there, no_permission), -EPERM);
    CHECK(strstr(text, "/dev/userfaultfd is not there"));
}

TEST(a_kernel_without_it_is_told)
{
    CHECK_EQUAL(check_ways(not_there, no_such_call), -ENOSYS);
    CHECK(strstr(text, "CONFIG_USERFAULTFD"));
    CHECK_EQUAL(check_ways(no_access, no_such_call), -EACCES);
}

TEST(a_short_buffer_is_not_overrun)
{
    const struct permission_ops ops = {no_access, no_permission};
    char small[16];
    volatile size_t room = sizeof small; /* or the compiler warns of what is tested here */
    CHECK_EQUAL(permission_check(&ops, small, room), -EPERM);
    CHECK_EQUAL(strlen(small), sizeof small - 1);
}

TEST(no_descriptor_is_left_open)
{
    int before = a_descriptor();
    close(before);
    check_ways(a_descriptor, a_descriptor);
    permission_check(&permission_kernel, text, sizeof text);
    int after = a_descriptor();
    close(after);
    CHECK_EQUAL(after, before);
}

int main(void)
{
    RUN(either_way_is_enough);
    RUN(a_refusal_names_every_way_in);
    RUN(a_missing_device_is_told_from_a_closed_one);
    RUN(a_kernel_without_it_is_told);
    RUN(a_short_buffer_is_not_overrun);
    RUN(no_descriptor_is_left_open);
    return harness_finish();
}
