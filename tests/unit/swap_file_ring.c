/* SPDX-License-Identifier: MIT */
/* The ring, refused by the kernel or closed by the program: then the file device does without. */
#include "tests/unit/swap_file_fixture.h"

TEST(io_uring_that_is_refused_is_done_without)
{
    pid_t child = fork();
    if (!child) {
        refuse(SYS_io_uring_setup);
        struct swap_device *device = set_up();
        CHECK(!file_of(device)->ring.ready);
        write_filled(device, CLUSTER, 0, 1);
        check_on_device(device, CLUSTER, 0, 1);
        tear_down(device);
        _exit(harness_failures != 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
}

TEST(submission_that_is_refused_is_done_without)
{
    pid_t child = fork();
    if (!child) {
        struct swap_device *device = set_up();
        write_filled(device, CLUSTER, 0, 1);
        refuse(SYS_io_uring_enter);
        for (uint64_t i = 0; i < 3 * FILE_IN_FLIGHT; i++) {
            write_filled(device, CLUSTER, i * CLUSTER, i);
            check_on_device(device, CLUSTER, i * CLUSTER, i);
        }
        CHECK_EQUAL(file_of(device)->ring.reserved, 0);
        CHECK_EQUAL(file_of(device)->ring.in_kernel, 0);
        tear_down(device);
        _exit(harness_failures != 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
}

TEST(submission_that_was_refused_once_is_not_made_up_for_later)
{
    struct swap_device *device = set_up();
    if (!file_of(device)->ring.ready) {
        tear_down(device);
        SKIP("this kernel refuses io_uring");
    }
    int ring = file_of(device)->ring.ring.ring_fd, kept = dup(ring), other = open("/dev/null", O_RDWR);
    write_filled(device, CLUSTER, 0, 1);
    dup2(other, ring);
    for (uint64_t i = 0; i < FILE_IN_FLIGHT / 2; i++) {
        write_filled(device, CLUSTER, 0, i);
    }
    dup2(kept, ring);
    close(kept);
    close(other);
    for (uint64_t i = 0; i < FILE_IN_FLIGHT; i++) {
        write_filled(device, CLUSTER, (1 + i) * CLUSTER, i);
    }
    check_on_device(device, CLUSTER, 0, FILE_IN_FLIGHT / 2 - 1);
    CHECK_EQUAL(device->ops->reap(device, true), 0);
    CHECK_EQUAL(file_of(device)->ring.reserved, 0);
    CHECK_EQUAL(file_of(device)->ring.in_kernel, 0);
    tear_down(device);
}

TEST(completions_are_found_though_the_program_has_closed_the_ring)
{
    pid_t child = fork();
    if (!child) {
        struct swap_device *device = set_up();
        static unsigned char buffer[CLUSTER];
        struct swap_io io = {.operation = SWAP_WRITE, .buffer = buffer, .bytes = CLUSTER, .done = count_done};
        done_count = 0;
        device->ops->submit(device, &io);
        close(file_of(device)->ring.ring.ring_fd);
        while (!atomic_read_acquire(&done_count)) {
            device->ops->reap(device, true);
        }
        write_filled(device, CLUSTER, CLUSTER, 1);
        check_on_device(device, CLUSTER, CLUSTER, 1);
        tear_down(device);
        _exit(harness_failures != 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
}

int main(void)
{
    REQUIRE(mkdtemp(folder));
    RUN(io_uring_that_is_refused_is_done_without);
    RUN(submission_that_is_refused_is_done_without);
    RUN(submission_that_was_refused_once_is_not_made_up_for_later);
    RUN(completions_are_found_though_the_program_has_closed_the_ring);
    rmdir(folder);
    return harness_finish();
}
