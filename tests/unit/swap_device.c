/* SPDX-License-Identifier: MIT */
/* URIs, waiting for an I/O, and the devices that other tests lean on: plain memory, and one that fails. */
#include "swap/device.h"

#include <pthread.h>
#include <time.h>

#include "tests/harness.h"
#include "tests/support/faulty_device.h"
#include "tests/support/ram_device.h"

enum { SIZE = 1 << 20, BYTES = 4096 };

static struct account account;
static struct memory memory = {.account = &account};
static struct swap_open_error error;
static unsigned char buffer[BYTES], found[BYTES];

static int transfer(struct swap_device *device, enum swap_operation operation, void *bytes, uint64_t position)
{
    struct swap_io io = {.operation = operation, .buffer = bytes, .bytes = BYTES, .position = position};
    return swap_device_wait(device, &io);
}

static bool is_all(const unsigned char *bytes, unsigned char value)
{
    for (size_t i = 0; i < BYTES; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

/* --- URIs --- */

TEST(uris_that_are_well_formed_pass)
{
    const char *good[] = {"none", "file:", "file:/", "file:/var/tmp", "file:///var/tmp"};
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        CHECK_EQUAL(swap_uri_check(good[i], &error), 0);
    }
}

static void check_refused(const char *uri, int expected, const char *words)
{
    struct swap_device *device = (struct swap_device *)buffer;
    error.text[0] = 0;
    CHECK_EQUAL(swap_uri_check(uri, &error), expected);
    if (!strstr(error.text, words) || !strstr(error.text, uri ? uri : "")) {
        harness_fail(__FILE__, __LINE__, "message for %s: %s", uri, error.text);
    }
    CHECK_EQUAL(swap_device_open(&device, uri, SIZE, &memory, &error), expected);
    CHECK(!device);
}

TEST(uris_that_are_none_are_refused_with_a_way_out)
{
    check_refused("", -EINVAL, "'none'");
    check_refused(NULL, -EINVAL, "'none'");
    check_refused("disk", -EINVAL, "'file:'");
    check_refused(":/tmp", -EINVAL, "'file:'");
    check_refused("9p:/tmp", -EINVAL, "'file:'");
    check_refused("/tmp", -EINVAL, "'file:/tmp'");
    check_refused("file:tmp", -EINVAL, "must begin with '/'");
    check_refused("file://host/tmp", -EINVAL, "no host");
    check_refused("file:/tmp?x=1", -EINVAL, "'?'");
}

TEST(unknown_scheme_is_refused_by_name)
{
    check_refused("rbd:pool/image", -EPROTONOSUPPORT, "'none'");
    check_refused("nbd+unix:///x", -EPROTONOSUPPORT, "'none'");
    check_refused("none:", -EPROTONOSUPPORT, "'none'");
    check_refused("files:/tmp", -EPROTONOSUPPORT, "'none'");
    check_refused("fil:/tmp", -EPROTONOSUPPORT, "'none'");
}

TEST(long_uris_are_cut_in_the_message)
{
    char uri[5000];
    memset(uri, 'x', sizeof uri);
    uri[sizeof uri - 1] = 0;
    CHECK_EQUAL(swap_uri_check(uri, &error), -EINVAL);
    CHECK(strlen(error.text) < sizeof error.text && strstr(error.text, "none"));
    memcpy(uri, "file:/", 6);
    struct swap_device *device;
    CHECK_EQUAL(swap_device_open(&device, uri, SIZE, &memory, &error), -ENAMETOOLONG);
    CHECK(strstr(error.text, "--swap file:/FOLDER"));
}

TEST(open_of_none_gives_no_device)
{
    struct swap_device *device = (struct swap_device *)buffer;
    CHECK_EQUAL(swap_device_open(&device, "none", SIZE, &memory, &error), 0);
    CHECK(!device);
}

TEST(open_of_file_gives_a_file)
{
    struct swap_device *device;
    REQUIRE(swap_device_open(&device, "file:/tmp", SIZE, &memory, &error) == 0);
    CHECK(device->ops == &swap_device_file);
    CHECK_EQUAL(device->size, SIZE);
    memset(buffer, 1, BYTES);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0), 0);
    CHECK_EQUAL(transfer(device, SWAP_READ, found, 0), 0);
    CHECK(is_all(found, 1));
    device->ops->close(device);
    CHECK_EQUAL(account_total(&account), 0);
}

/* --- Waiting --- */

static struct swap_device *shared;

static void *write_and_read(void *argument)
{
    unsigned char mine[BYTES], back[BYTES];
    uint64_t id = (uint64_t)(uintptr_t)argument;
    for (unsigned i = 0; i < 300; i++) {
        memset(mine, (int)(id * 50 + i), BYTES);
        CHECK_EQUAL(transfer(shared, SWAP_WRITE, mine, id * BYTES), 0);
        CHECK_EQUAL(transfer(shared, SWAP_READ, back, id * BYTES), 0);
        CHECK(memcmp(mine, back, BYTES) == 0);
    }
    return NULL;
}

static void run_threads(struct swap_device *device)
{
    pthread_t threads[4];
    shared = device;
    for (uintptr_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        REQUIRE(pthread_create(&threads[i], NULL, write_and_read, (void *)i) == 0);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    device->ops->close(device);
}

TEST(threads_wait_for_their_own_io)
{
    run_threads(ram_device_create(SIZE, RAM_DEVICE_SYNC));
    run_threads(ram_device_create(SIZE, RAM_DEVICE_ASYNC));
    run_threads(ram_device_create(SIZE, RAM_DEVICE_ASYNC_READ));
    run_threads(faulty_device_create(ram_device_create(SIZE, RAM_DEVICE_ASYNC_READ)));
}

/* --- The failing device --- */

static struct swap_device *set_up(enum ram_device_mode mode)
{
    memset(buffer, 5, BYTES);
    return faulty_device_create(ram_device_create(SIZE, mode));
}

TEST(nth_operation_fails_and_the_next_does_not)
{
    struct swap_device *device = set_up(RAM_DEVICE_ASYNC);
    faulty_fail_nth(device, SWAP_WRITE, 2, -EIO);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0), 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, BYTES), -EIO);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 2 * BYTES), 0);
    CHECK(is_all(ram_device_bytes(faulty_inner(device)) + BYTES, 0));
    CHECK(is_all(ram_device_bytes(faulty_inner(device)) + 2 * BYTES, 5));
    CHECK_EQUAL(faulty_count(device, SWAP_WRITE), 3);
    faulty_fail_nth(device, SWAP_READ, 1, -EIO);
    CHECK_EQUAL(transfer(device, SWAP_READ, found, 0), -EIO);
    CHECK(is_all(found, 0xee));
    CHECK_EQUAL(transfer(device, SWAP_READ, found, 0), 0);
    CHECK(is_all(found, 5));
    device->ops->close(device);
}

TEST(all_operations_fail_until_told)
{
    struct swap_device *device = set_up(RAM_DEVICE_SYNC);
    faulty_fail_all(device, SWAP_WRITE, -ENOSPC);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0), -ENOSPC);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0), -ENOSPC);
    faulty_fail_all(device, SWAP_WRITE, 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0), 0);
    faulty_set_capacity(device, 2 * BYTES);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, BYTES), 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 2 * BYTES), -ENOSPC);
    device->ops->close(device);
}

TEST(torn_write_leaves_half)
{
    struct swap_device *device = set_up(RAM_DEVICE_ASYNC);
    faulty_tear_nth_write(device, 1, -EIO);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0), -EIO);
    unsigned char *bytes = ram_device_bytes(faulty_inner(device));
    CHECK(bytes[BYTES / 2 - 1] == 5 && bytes[BYTES / 2] == 0);
    device->ops->close(device);
}

TEST(flipped_read_differs_by_one_bit)
{
    struct swap_device *device = set_up(RAM_DEVICE_ASYNC_READ);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0), 0);
    faulty_flip_nth_read(device, 1);
    for (int round = 0; round < 2; round++) {
        CHECK_EQUAL(transfer(device, SWAP_READ, found, 0), 0);
        int bits = 0;
        for (size_t i = 0; i < BYTES; i++) {
            bits += __builtin_popcount(found[i] ^ buffer[i]);
        }
        CHECK_EQUAL(bits, round == 0);
    }
    device->ops->close(device);
}

static uint32_t done_count; /* atomic */

static void count_done(struct swap_io *io)
{
    CHECK_EQUAL(io->result, 0);
    atomic_add_acq_rel(&done_count, 1);
}

TEST(held_writes_are_answered_when_let_go_and_reads_pass_them)
{
    struct swap_device *device = set_up(RAM_DEVICE_ASYNC);
    struct swap_io io[3];
    done_count = 0;
    faulty_hold(device, SWAP_WRITE, true);
    for (uint64_t i = 0; i < 3; i++) {
        io[i] = (struct swap_io){.operation = SWAP_WRITE,
                                 .buffer = buffer,
                                 .bytes = BYTES,
                                 .position = i * BYTES,
                                 .done = count_done};
        device->ops->submit(device, &io[i]);
    }
    CHECK_EQUAL(device->ops->reap(device, false), 0);
    CHECK_EQUAL(faulty_held(device), 3);
    CHECK_EQUAL(transfer(device, SWAP_READ, found, 0), 0);
    CHECK(is_all(found, 0));
    CHECK(faulty_let_go_one(device));
    CHECK_EQUAL(device->ops->reap(device, true), 1);
    CHECK_EQUAL(faulty_held(device), 2);
    faulty_let_go(device);
    CHECK_EQUAL(device->ops->reap(device, true), 2);
    CHECK_EQUAL(done_count, 3);
    CHECK(!faulty_let_go_one(device));
    CHECK_EQUAL(transfer(device, SWAP_READ, found, 2 * BYTES), 0);
    CHECK(is_all(found, 5));
    device->ops->close(device);
}

static void *let_go_later(void *argument)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    faulty_let_go(argument);
    return NULL;
}

TEST(who_waits_for_a_held_write_waits_until_it_is_let_go)
{
    struct swap_device *device = set_up(RAM_DEVICE_ASYNC);
    pthread_t thread;
    faulty_hold(device, SWAP_WRITE, true);
    REQUIRE(pthread_create(&thread, NULL, let_go_later, device) == 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0), 0);
    pthread_join(thread, NULL);
    device->ops->close(device);
}

int main(void)
{
    RUN(uris_that_are_well_formed_pass);
    RUN(uris_that_are_none_are_refused_with_a_way_out);
    RUN(unknown_scheme_is_refused_by_name);
    RUN(long_uris_are_cut_in_the_message);
    RUN(open_of_none_gives_no_device);
    RUN(open_of_file_gives_a_file);
    RUN(threads_wait_for_their_own_io);
    RUN(nth_operation_fails_and_the_next_does_not);
    RUN(all_operations_fail_until_told);
    RUN(torn_write_leaves_half);
    RUN(flipped_read_differs_by_one_bit);
    RUN(held_writes_are_answered_when_let_go_and_reads_pass_them);
    RUN(who_waits_for_a_held_write_waits_until_it_is_let_go);
    return harness_finish();
}
