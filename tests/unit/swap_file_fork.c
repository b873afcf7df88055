/* SPDX-License-Identifier: MIT */
/* A file device across a fork, with io_uring and without: parent and child share the file, and no ring. */
#include "tests/unit/swap_file_fixture.h"

static void write_pattern(struct swap_device *device, uint64_t seed)
{
    write_filled(device, CLUSTER, 0, seed);
    write_filled(device, SLOT_BYTES, 3 << 20, seed + 1); /* behind a hole */
    write_filled(device, 1 << 20, 8 << 20, seed + 2);
}

static void check_pattern(struct swap_device *device, uint64_t seed)
{
    static unsigned char buffer[SLOT_BYTES], zeros[SLOT_BYTES];
    check_on_device(device, CLUSTER, 0, seed);
    check_on_device(device, SLOT_BYTES, 3 << 20, seed + 1);
    check_on_device(device, 1 << 20, 8 << 20, seed + 2);
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, SLOT_BYTES, 2 << 20), 0);
    CHECK(memcmp(buffer, zeros, SLOT_BYTES) == 0);
}

/* Parent and child write to one file; each with a ring of its own. */
static void check_fork(const unsigned *refused, size_t count)
{
    struct swap_device *device = set_up();
    write_pattern(device, 10);
    pid_t child = fork();
    if (!child) {
        for (size_t i = 0; i < count; i++) {
            refuse(refused[i]);
        }
        int before = descriptors();
        CHECK_EQUAL(device->ops->fork_child(device), 0);
        if (!count) {
            CHECK_EQUAL(descriptors(), before);
            CHECK_EQUAL(file_of(device)->ring.ready, !(flags & FILE_WITHOUT_RING));
        }
        check_private(device);
        check_pattern(device, 10);
        write_filled(device, CLUSTER, 30 << 20, 6);
        check_on_device(device, CLUSTER, 30 << 20, 6);
        device->ops->close(device);
        CHECK_EQUAL(account_total(&account), 0);
        _exit(harness_failures != 0);
    }
    write_filled(device, CLUSTER, 20 << 20, 5);
    CHECK_EQUAL(wait_for(child), 0);
    check_pattern(device, 10);
    check_on_device(device, CLUSTER, 20 << 20, 5);
    check_on_device(device, CLUSTER, 30 << 20, 6);
    tear_down(device);
}

TEST(a_forked_child_shares_the_file)
{
    check_fork(NULL, 0);
}

TEST(a_forked_child_may_be_refused_a_ring)
{
    check_fork((unsigned[]){SYS_io_uring_setup}, 1);
}

TEST(a_forked_child_does_not_use_a_file_that_is_not_ours)
{
    struct swap_device *device = set_up();
    write_pattern(device, 10);
    pid_t child = fork();
    if (!child) {
        int other = open("/dev/zero", O_RDWR);
        dup2(other, file_of(device)->fd);
        CHECK_EQUAL(device->ops->fork_child(device), -EBADF);
        static unsigned char buffer[CLUSTER];
        CHECK_EQUAL(transfer(device, SWAP_READ, buffer, CLUSTER, 0), -EBADF);
        CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, 0), -EBADF);
        device->ops->close(device);
        _exit(harness_failures != 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    tear_down(device);
}

int main(void)
{
    REQUIRE(mkdtemp(folder));
    bool ring = io_uring_works();
    RUN_BOTH(a_forked_child_shares_the_file);
    RUN_BOTH(a_forked_child_may_be_refused_a_ring);
    RUN_BOTH(a_forked_child_does_not_use_a_file_that_is_not_ours);
    rmdir(folder);
    return harness_finish();
}
