/* SPDX-License-Identifier: MIT */
/* The file itself: private, unlinked, where it was asked for; what opening it says when it cannot be; how large it may grow. */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "tests/unit/swap_file_fixture.h"

static char empty[64], small[64], fixed[64];
static bool have_mounts;

/* ---- where it lies, and who sees it */

static int entries_of(const char *path)
{
    int n = 0;
    DIR *all = opendir(path);
    for (struct dirent *entry; (entry = readdir(all));) {
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    }
    closedir(all);
    return n;
}

TEST(file_is_unlinked_private_and_closed_on_exec)
{
    mode_t mask = umask(0777);
    struct swap_device *device = open_in(empty, SIZE);
    check_private(device);
    CHECK_EQUAL(entries_of(empty), 0);
    tear_down(device);
    umask(mask);
}

TEST(file_system_without_o_tmpfile_gets_a_name_for_a_moment)
{
    flags |= FILE_WITHOUT_TMPFILE;
    struct swap_device *device = open_in(empty, SIZE);
    check_private(device);
    CHECK_EQUAL(entries_of(empty), 0);
    write_filled(device, CLUSTER, 0, 1);
    check_on_device(device, CLUSTER, 0, 1);
    tear_down(device);
}

static void check_lies_in(struct swap_device *device, const char *where)
{
    char link[64], path[256] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", file_of(device)->fd);
    CHECK(readlink(link, path, sizeof path - 1) > 0);
    CHECK(strncmp(path, where, strlen(where)) == 0);
}

TEST(without_a_folder_it_lies_in_tmpdir_or_tmp)
{
    char *old = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
    setenv("TMPDIR", empty, 1);
    struct swap_device *device = open_in("", SIZE);
    check_lies_in(device, empty);
    tear_down(device);
    setenv("TMPDIR", "not/absolute", 1);
    device = open_in("", SIZE);
    check_lies_in(device, "/tmp/");
    tear_down(device);
    unsetenv("TMPDIR");
    device = open_in("", SIZE);
    check_lies_in(device, "/tmp/");
    tear_down(device);
    if (old) {
        setenv("TMPDIR", old, 1);
        free(old);
    }
}

TEST(open_and_close_leave_no_descriptor_and_no_memory)
{
    int before = descriptors();
    struct swap_device *device = set_up();
    CHECK(descriptors() > before);
    tear_down(device);
    CHECK_EQUAL(descriptors(), before);
    memory.fail_countdown = 1;
    CHECK_EQUAL(file_open(&device, folder, SIZE, &memory, &error, flags), -ENOMEM);
    memory.fail_countdown = 0;
    CHECK_EQUAL(descriptors(), before);
}

/* ---- errors of open */

static void check_refused(const char *location, int expected, const char *cause)
{
    struct swap_device *device = NULL;
    int before = descriptors();
    error.text[0] = 0;
    CHECK_EQUAL(file_open(&device, location, SIZE, &memory, &error, flags), expected);
    if (!strstr(error.text, cause) || !strstr(error.text, location)) {
        harness_fail(__FILE__, __LINE__, "message names no '%s' or '%s': %s", cause, location, error.text);
    }
    CHECK(strstr(error.text, "--swap file:/FOLDER") || expected == -EINVAL);
    CHECK_EQUAL(account_total(&account), 0);
    CHECK_EQUAL(descriptors(), before);
}

TEST(open_says_what_is_wrong_with_the_folder)
{
    check_refused("/nonexistent/folder", -ENOENT, "there is no such folder");
    check_refused("/etc/passwd", -ENOTDIR, "is not a folder");
    check_refused("/proc", -ENOENT, "takes no new files");
}

TEST(open_says_that_the_file_system_is_read_only)
{
    if (!have_mounts) {
        SKIP("needs the right to mount");
    }
    check_refused(fixed, -EROFS, "read-only");
}

TEST(open_says_that_there_is_no_permission)
{
    if (geteuid() != 0) {
        check_refused("/", -EACCES, "no permission");
        return;
    }
    pid_t child = fork();
    if (!child) {
        if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)) {
            _exit(2);
        }
        check_refused("/", -EACCES, "no permission");
        _exit(harness_failures != 0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

TEST(open_refuses_what_is_no_folder_path)
{
    check_refused("relative", -EINVAL, "must begin with '/'");
    check_refused("//host/folder", -EINVAL, "no host");
    check_refused("/tmp?size=4", -EINVAL, "'?'");
    check_refused("/tmp#x", -EINVAL, "'#'");
    struct swap_device *device = open_in("///tmp", SIZE);
    check_lies_in(device, "/tmp/");
    tear_down(device);
}

/* ---- limits */

TEST(full_file_system_answers_enospc)
{
    if (!have_mounts) {
        SKIP("needs the right to mount");
    }
    struct swap_device *device = open_in(small, SIZE);
    unsigned char *buffer = malloc(4 << 20);
    memset(buffer, 1, 4 << 20);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 512 << 10, 0), 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 4 << 20, 1 << 20), -ENOSPC);
    CHECK_EQUAL(transfer(device, SWAP_DISCARD, NULL, 6 << 20, 0), 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 512 << 10, 1 << 20), 0); /* there is room again */
    free(buffer);
    tear_down(device);
}

static void set_file_size_limit(rlim_t bytes)
{
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

TEST(device_is_no_larger_than_a_file_may_be)
{
    set_file_size_limit((1 << 20) + 100);
    struct swap_device *device = set_up();
    CHECK_EQUAL(device->size, 1 << 20);
    write_filled(device, CLUSTER, (1 << 20) - CLUSTER, 1);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, "", SLOT_BYTES, 1 << 20), -ENOSPC); /* and no SIGXFSZ */
    tear_down(device);
    set_file_size_limit(RLIM_INFINITY);
}

TEST(write_beyond_a_limit_that_was_lowered_later_fails)
{
    struct swap_device *device = set_up();
    sigset_t blocked, old;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGXFSZ);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    set_file_size_limit(1 << 20);
    static unsigned char buffer[CLUSTER];
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, 1 << 20), -EFBIG);
    /* across the limit: the first half goes in, which is no success */
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, (1 << 20) - CLUSTER / 2), -EFBIG);
    set_file_size_limit(RLIM_INFINITY);
    struct timespec now = {0};
    while (sigtimedwait(&blocked, NULL, &now) == SIGXFSZ) {
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    tear_down(device);
}

/* ---- the program */

static void make_folders(void)
{
    REQUIRE(mkdtemp(folder));
    snprintf(empty, sizeof empty, "%s/empty", folder);
    snprintf(small, sizeof small, "%s/small", folder);
    snprintf(fixed, sizeof fixed, "%s/fixed", folder);
    REQUIRE(!mkdir(empty, 0700) && !mkdir(small, 0700) && !mkdir(fixed, 0700));
    have_mounts = unshare(CLONE_NEWNS) == 0 && mount("", "/", "", MS_REC | MS_PRIVATE, NULL) == 0 &&
                  mount("tmpfs", small, "tmpfs", 0, "size=2M") == 0 &&
                  mount("tmpfs", fixed, "tmpfs", MS_RDONLY, "size=1M") == 0;
}

static void remove_folders(void)
{
    umount2(small, MNT_DETACH);
    umount2(fixed, MNT_DETACH);
    rmdir(empty);
    rmdir(small);
    rmdir(fixed);
    rmdir(folder);
}

int main(void)
{
    make_folders();
    bool ring = io_uring_works();
    RUN_BOTH(file_is_unlinked_private_and_closed_on_exec);
    RUN_BOTH(file_system_without_o_tmpfile_gets_a_name_for_a_moment);
    RUN_BOTH(open_and_close_leave_no_descriptor_and_no_memory);
    RUN_BOTH(full_file_system_answers_enospc);
    RUN_BOTH(device_is_no_larger_than_a_file_may_be);
    RUN_BOTH(write_beyond_a_limit_that_was_lowered_later_fails);
    flags = 0;
    RUN(without_a_folder_it_lies_in_tmpdir_or_tmp);
    RUN(open_says_what_is_wrong_with_the_folder);
    RUN(open_says_that_the_file_system_is_read_only);
    RUN(open_says_that_there_is_no_permission);
    RUN(open_refuses_what_is_no_folder_path);
    remove_folders();
    return harness_finish();
}
