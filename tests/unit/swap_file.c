/* SPDX-License-Identifier: MIT */
/* What the file device reads, writes and discards, each test with io_uring and without: one after the other, many in flight, and
 * by many threads. Where the file lies: swap_file_open.c; what a fork shares: swap_file_fork.c; rings that fail: swap_file_ring.c. */
#include <pthread.h>

#include "tests/unit/swap_file_fixture.h"

TEST(what_was_written_is_read_back)
{
    struct swap_device *device = set_up();
    write_filled(device, SLOT_BYTES, 5 * SLOT_BYTES, 1);
    write_filled(device, CLUSTER, 1 << 20, 2);
    check_on_device(device, SLOT_BYTES, 5 * SLOT_BYTES, 1);
    check_on_device(device, CLUSTER, 1 << 20, 2);
    write_filled(device, SLOT_BYTES, 5 * SLOT_BYTES, 3);
    check_on_device(device, SLOT_BYTES, 5 * SLOT_BYTES, 3);
    tear_down(device);
}

TEST(what_was_never_written_reads_as_zeros)
{
    struct swap_device *device = set_up();
    static unsigned char buffer[2 * SLOT_BYTES], zeros[2 * SLOT_BYTES];
    write_filled(device, SLOT_BYTES, 100 * SLOT_BYTES, 1);
    uint64_t positions[] = {0, 50 * SLOT_BYTES, 101 * SLOT_BYTES, SIZE - sizeof buffer};
    for (size_t i = 0; i < ARRAY_LENGTH(positions); i++) {
        memset(buffer, 7, sizeof buffer);
        CHECK_EQUAL(transfer(device, SWAP_READ, buffer, sizeof buffer, positions[i]), 0);
        CHECK(memcmp(buffer, zeros, sizeof buffer) == 0);
    }
    /* half there */
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, sizeof buffer, 100 * SLOT_BYTES), 0);
    check_filled(buffer, SLOT_BYTES, 1);
    CHECK(memcmp(buffer + SLOT_BYTES, zeros, SLOT_BYTES) == 0);
    tear_down(device);
}

static int read_without_waiting(struct swap_device *device, unsigned char *buffer, uint64_t position)
{
    struct swap_io io = {
        .operation = SWAP_READ, .buffer = buffer, .bytes = CLUSTER, .position = position, .no_wait = true};
    return swap_device_wait(device, &io);
}

TEST(read_that_must_not_wait_answers_eagain_where_it_would)
{
    struct swap_device *device = set_up();
    static unsigned char buffer[CLUSTER];
    CHECK(device->reads_at_once);
    write_filled(device, CLUSTER, 0, 1);
    int result = read_without_waiting(device, buffer, 0);
    CHECK(result == 0 || result == -EAGAIN); /* some file systems never know */
    if (result == 0) {
        check_filled(buffer, CLUSTER, 1);
    }
    CHECK_EQUAL(read_without_waiting(device, buffer, 4 << 20), -EAGAIN); /* and not zeros */
    CHECK_EQUAL(transfer(device, SWAP_FLUSH, NULL, 0, 0), 0);
    posix_fadvise(file_of(device)->fd, 0, 0, POSIX_FADV_DONTNEED);
    result = read_without_waiting(device, buffer, 0);
    CHECK(result == 0 || result == -EAGAIN);
    if (result == 0) {
        check_filled(buffer, CLUSTER, 1);
    }
    check_on_device(device, CLUSTER, 0, 1);
    tear_down(device);
}

TEST(io_that_is_out_of_range_or_crooked_is_refused)
{
    struct swap_device *device = set_up();
    static unsigned char buffer[CLUSTER];
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, SIZE - CLUSTER), 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, SIZE - CLUSTER + SLOT_BYTES), -ENOSPC);
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, CLUSTER, SIZE), -EIO);
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, CLUSTER, UINT64_MAX - SLOT_BYTES + 1), -EIO);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, 1), -EINVAL);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER - 1, 0), -EINVAL);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0, 0), -EINVAL);
    tear_down(device);
}

TEST(write_from_memory_that_is_not_there_fails)
{
    struct swap_device *device = set_up();
    void *hole = mmap(NULL, CLUSTER, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(hole != MAP_FAILED);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, hole, CLUSTER, 0), -EFAULT);
    munmap(hole, CLUSTER);
    tear_down(device);
}

TEST(discarded_bytes_take_no_space)
{
    struct swap_device *device = set_up();
    struct stat before, after;
    write_filled(device, 1 << 20, 0, 1);
    CHECK_EQUAL(transfer(device, SWAP_FLUSH, NULL, 0, 0), 0);
    CHECK_EQUAL(fstat(file_of(device)->fd, &before), 0);
    CHECK_EQUAL(transfer(device, SWAP_DISCARD, NULL, 1 << 19, 0), 0);
    CHECK_EQUAL(fstat(file_of(device)->fd, &after), 0);
    CHECK(after.st_blocks <= before.st_blocks - (1 << 19) / 512);
    CHECK_EQUAL(after.st_size, before.st_size);
    static unsigned char buffer[CLUSTER], zeros[CLUSTER];
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, CLUSTER, 0), 0);
    CHECK(memcmp(buffer, zeros, CLUSTER) == 0);
    tear_down(device);
}

TEST(reap_with_nothing_in_flight_returns_at_once)
{
    struct swap_device *device = set_up();
    CHECK_EQUAL(device->ops->reap(device, false), 0);
    CHECK_EQUAL(device->ops->reap(device, true), 0);
    tear_down(device);
}

/* ---- many in flight */

TEST(more_writes_than_fit_in_flight_are_all_done)
{
    enum { WRITES = 200, BYTES = 32 << 10 };
    struct swap_device *device = set_up();
    static struct swap_io ios[WRITES];
    unsigned char *buffers = malloc((size_t)WRITES * BYTES);
    done_count = 0;
    for (uint64_t i = 0; i < WRITES; i++) {
        fill(buffers + i * BYTES, BYTES, i);
        ios[i] = (struct swap_io){.operation = SWAP_WRITE,
                                  .buffer = buffers + i * BYTES,
                                  .bytes = BYTES,
                                  .position = i * BYTES,
                                  .done = count_done};
        device->ops->submit(device, &ios[i]);
    }
    while (atomic_read_acquire(&done_count) < WRITES) {
        device->ops->reap(device, true);
    }
    CHECK_EQUAL(device->ops->reap(device, true), 0);
    for (uint64_t i = 0; i < WRITES; i++) {
        check_on_device(device, BYTES, i * BYTES, i);
    }
    free(buffers);
    tear_down(device);
}

static struct swap_device *chain_device;
static uint32_t chain_length; /* atomic */

/* Submits the next of a chain: takes the device's locks, so none may be held here. */
static void submit_next(struct swap_io *io)
{
    CHECK_EQUAL(io->result, 0);
    io->position += io->bytes;
    if (atomic_add_acq_rel(&chain_length, 1) < 50) {
        chain_device->ops->submit(chain_device, io);
    }
}

TEST(done_may_submit_to_the_same_device)
{
    struct swap_device *device = set_up();
    static unsigned char buffer[CLUSTER];
    struct swap_io io = {.operation = SWAP_WRITE, .buffer = buffer, .bytes = CLUSTER, .done = submit_next};
    chain_device = device;
    chain_length = 0;
    device->ops->submit(device, &io);
    while (atomic_read_acquire(&chain_length) < 50) {
        device->ops->reap(device, true);
    }
    tear_down(device);
}

enum { PARENTS = FILE_IN_FLIGHT, CHILDREN = 3 };
static struct swap_io family[PARENTS * (1 + CHILDREN)];

/* Each of the first generation submits three: more than there is room for. */
static void submit_children(struct swap_io *io)
{
    size_t number = (size_t)(io - family);
    for (size_t i = 0; number < PARENTS && i < CHILDREN; i++) {
        struct swap_io *child = &family[PARENTS + number * CHILDREN + i];
        *child = *io;
        child->done = count_done;
        child->position = (uint64_t)(child - family) * CLUSTER;
        chain_device->ops->submit(chain_device, child);
    }
    count_done(io);
}

TEST(done_may_submit_when_all_places_are_taken)
{
    static unsigned char buffer[CLUSTER];
    chain_device = set_up();
    done_count = 0;
    for (size_t i = 0; i < PARENTS; i++) {
        family[i] = (struct swap_io){.operation = SWAP_WRITE,
                                     .buffer = buffer,
                                     .bytes = CLUSTER,
                                     .position = i * CLUSTER,
                                     .done = submit_children};
        chain_device->ops->submit(chain_device, &family[i]);
    }
    while (atomic_read_acquire(&done_count) < ARRAY_LENGTH(family)) {
        chain_device->ops->reap(chain_device, true);
    }
    CHECK_EQUAL(chain_device->ops->reap(chain_device, true), 0);
    tear_down(chain_device);
}

static void *write_and_read_own_part(void *argument)
{
    struct swap_device *device = chain_device;
    uint64_t id = (uint64_t)(uintptr_t)argument, seed = id;
    uint64_t part = id * (8 << 20);
    for (uint64_t i = 0; i < 60; i++) {
        uint64_t position = part + harness_random(&seed) % 1000 * SLOT_BYTES;
        size_t bytes = (1 + harness_random(&seed) % 100) * SLOT_BYTES;
        write_filled(device, bytes, position, id * 1000 + i);
        check_on_device(device, bytes, position, id * 1000 + i);
        if (i % 8 == 0) {
            CHECK_EQUAL(transfer(device, SWAP_DISCARD, NULL, bytes, position), 0);
        }
    }
    return NULL;
}

TEST(threads_that_wait_for_their_own_writes_all_wake)
{
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    chain_device = set_up();
    for (uintptr_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, write_and_read_own_part, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    tear_down(chain_device);
}

enum { PUMP_WRITES = 1500 };

static void *reap_until_all_done(void *argument)
{
    (void)argument;
    while (atomic_read_acquire(&done_count) < PUMP_WRITES) {
        chain_device->ops->reap(chain_device, true);
    }
    return NULL;
}

TEST(several_reapers_and_a_submitter_lose_no_completion)
{
    enum { REAPERS = 3 };
    pthread_t threads[REAPERS];
    static struct swap_io ios[PUMP_WRITES];
    static unsigned char buffer[SLOT_BYTES];
    chain_device = set_up();
    done_count = 0;
    for (int i = 0; i < REAPERS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, reap_until_all_done, NULL) == 0);
    }
    for (uint64_t i = 0; i < PUMP_WRITES; i++) {
        ios[i] = (struct swap_io){.operation = SWAP_WRITE,
                                  .buffer = buffer,
                                  .bytes = SLOT_BYTES,
                                  .position = i * SLOT_BYTES,
                                  .done = count_done};
        chain_device->ops->submit(chain_device, &ios[i]);
    }
    for (int i = 0; i < REAPERS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(done_count, PUMP_WRITES);
    tear_down(chain_device);
}

int main(void)
{
    REQUIRE(mkdtemp(folder));
    bool ring = io_uring_works();
    RUN_BOTH(what_was_written_is_read_back);
    RUN_BOTH(what_was_never_written_reads_as_zeros);
    RUN_BOTH(read_that_must_not_wait_answers_eagain_where_it_would);
    RUN_BOTH(io_that_is_out_of_range_or_crooked_is_refused);
    RUN_BOTH(write_from_memory_that_is_not_there_fails);
    RUN_BOTH(discarded_bytes_take_no_space);
    RUN_BOTH(reap_with_nothing_in_flight_returns_at_once);
    RUN_BOTH(more_writes_than_fit_in_flight_are_all_done);
    RUN_BOTH(done_may_submit_to_the_same_device);
    RUN_BOTH(done_may_submit_when_all_places_are_taken);
    RUN_BOTH(threads_that_wait_for_their_own_writes_all_wake);
    RUN_BOTH(several_reapers_and_a_submitter_lose_no_completion);
    rmdir(folder);
    return harness_finish();
}
