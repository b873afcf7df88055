/* SPDX-License-Identifier: MIT */
/*
 * The cache over a device that errs, tears, lies or fills up. Whatever happens: an error code or success, never a wrong byte,
 * and nothing leaked. No memory: zswap_memory.c. A device that does not answer: zswap_in_flight.c.
 */
#include "tests/unit/zswap_fixture.h"

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES], expected[PAGE_BYTES];

TEST(failed_read_is_an_error_and_passes)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        fixture_init(&f, ROOMY, (enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 4);
        fixture_write_back(&f);
        faulty_fail_nth(f.device, SWAP_READ, 1, -EIO);
        CHECK_EQUAL(zswap_load(f.zswap, at(1), page), -EIO);
        CHECK_LOADS(&f, at(1), 0); /* it was still there */
        faulty_fail_nth(f.device, SWAP_READ, 1, -EIO);
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(2), page), -EIO);
        CHECK_EQUAL(zswap_find(f.zswap, at(2)), ZSWAP_ON_DEVICE);
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(2), page), 0);
        CHECK_GONE(&f, at(2));
        CHECK_EQUAL(stats_of(&f).device_read_fail, 2);
        fixture_destroy(&f);
    }
}

TEST(failed_write_leaves_the_entries_in_the_pool)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        for (int async = RAM_DEVICE_SYNC; async <= RAM_DEVICE_ASYNC; async++) {
            fixture_init(&f, ROOMY, (enum zswap_writeback)mode, (enum ram_device_mode)async);
            store_range(&f, 0, 10);
            faulty_fail_all(f.device, SWAP_WRITE, -EIO);
            fixture_write_back(&f);
            CHECK(zswap_consistent(f.zswap));
            CHECK_EQUAL(stats_of(&f).stored_pages, 10);
            CHECK_EQUAL(stats_of(&f).device_bytes, 0);
            CHECK(stats_of(&f).device_write_fail > 0);
            for (uint64_t i = 0; i < 10; i++) {
                CHECK_LOADS(&f, at(i), 0);
            }
            faulty_fail_all(f.device, SWAP_WRITE, 0);
            write_back_all(&f);
            CHECK_EQUAL(stats_of(&f).device_pages, 10);
            for (uint64_t i = 0; i < 10; i++) {
                CHECK_LOADS(&f, at(i), 0);
            }
            fixture_destroy(&f);
        }
    }
}

TEST(torn_write_is_a_failed_write)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        fixture_init(&f, ROOMY, (enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 20);
        faulty_tear_nth_write(f.device, 1, -EIO);
        zswap_writeback(f.zswap, 1);
        CHECK_EQUAL(stats_of(&f).stored_pages, 20);
        CHECK(zswap_consistent(f.zswap));
        write_back_all(&f);
        for (uint64_t i = 0; i < 20; i++) {
            CHECK_EQUAL(zswap_find(f.zswap, at(i)), ZSWAP_ON_DEVICE);
            CHECK_LOADS(&f, at(i), 0);
        }
        fixture_destroy(&f);
    }
}

/* The device says that all is written, and half of it is not. */
TEST(torn_write_that_was_not_reported_is_damage)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        fixture_init(&f, ROOMY, (enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 20);
        faulty_tear_nth_write(f.device, 1, 0);
        fixture_write_back(&f);
        unsigned damaged = 0;
        for (uint64_t i = 0; i < 20; i++) {
            int error = zswap_load(f.zswap, at(i), page);
            page_for(expected, at(i), 0);
            CHECK(error == -EBADMSG || (!error && memcmp(page, expected, PAGE_BYTES) == 0));
            damaged += error == -EBADMSG;
        }
        CHECK(damaged >= 8 && damaged < 20);
        CHECK(zswap_consistent(f.zswap));
        fixture_destroy(&f);
    }
}

TEST(damaged_bytes_are_never_returned_as_a_page)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        fixture_init(&f, ROOMY, (enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 20);
        incompressible_page_for(page, at(20), 0);
        CHECK_EQUAL(zswap_store(f.zswap, at(20), page), 0);
        fixture_write_back(&f);
        faulty_flip_all_reads(f.device, true);
        for (uint64_t i = 0; i <= 20; i++) {
            CHECK_EQUAL(zswap_load(f.zswap, at(i), page), -EBADMSG);
            CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(i), page), -EBADMSG);
            CHECK_EQUAL(zswap_find(f.zswap, at(i)), ZSWAP_ON_DEVICE);
        }
        CHECK_EQUAL(stats_of(&f).decompress_fail, 42);
        faulty_flip_all_reads(f.device, false);
        CHECK_LOADS(&f, at(3), 0);
        /* Damaged or not, it can be replaced and removed. */
        ram_device_bytes(faulty_inner(f.device))[100] ^= 1;
        CHECK_EQUAL(zswap_load(f.zswap, at(0), page), -EBADMSG);
        CHECK_EQUAL(store_version(&f, at(0), 1), 0);
        CHECK_LOADS(&f, at(0), 1);
        CHECK(zswap_invalidate(f.zswap, at(1)));
        fixture_destroy(&f);
    }
}

/* Bytes that are whole, but another entry's, or this entry's from before. */
TEST(misplaced_bytes_are_damage)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        fixture_init(&f, ROOMY, (enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        unsigned char *bytes = ram_device_bytes(faulty_inner(f.device));
        for (uint64_t i = 0; i < 2; i++) {
            incompressible_page_for(page, at(i), 0);
            CHECK_EQUAL(zswap_store(f.zswap, at(i), page), 0);
        }
        fixture_write_back(&f);
        size_t size = (mode == ZSWAP_WRITEBACK_PAGE ? 8 : 9) * SLOT_BYTES;
        static unsigned char swap[9 * SLOT_BYTES];
        memcpy(swap, bytes, size);
        memmove(bytes, bytes + size, size);
        memcpy(bytes + size, swap, size);
        CHECK_EQUAL(zswap_load(f.zswap, at(0), page), -EBADMSG);
        CHECK_EQUAL(zswap_load(f.zswap, at(1), page), -EBADMSG);
        fixture_destroy(&f);
    }
}

TEST(full_device_keeps_entries_in_the_pool_and_in_order)
{
    fixture_prepare(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    f.device->size = 40 * SLOT_BYTES;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    store_range(&f, 0, 100);
    write_back_all(&f);
    struct zswap_stats stats = stats_of(&f);
    CHECK(stats.device_pages >= 5 && stats.device_pages <= 20);
    CHECK(stats.device_full > 0);
    CHECK_EQUAL(stats.stored_pages + stats.device_pages, 100);
    CHECK(!zswap_can_write_back(f.zswap) || stats.device_bytes < f.device->size);
    CHECK(zswap_consistent(f.zswap));
    for (uint64_t i = 0; i < 100; i++) {
        CHECK_LOADS(&f, at(i), 0);
    }
    uint64_t writes = faulty_count(f.device, SWAP_WRITE);
    CHECK_EQUAL(zswap_writeback(f.zswap, SIZE_MAX), 0);
    CHECK_EQUAL(faulty_count(f.device, SWAP_WRITE), writes);
    /* Room on the device is used again. */
    for (uint64_t i = 0; i < 100; i++) {
        if (zswap_find(f.zswap, at(i)) == ZSWAP_ON_DEVICE) {
            zswap_invalidate(f.zswap, at(i));
        }
    }
    CHECK(zswap_can_write_back(f.zswap));
    write_back_all(&f);
    CHECK(stats_of(&f).device_pages >= 5);
    fixture_destroy(&f);
}

TEST(limit_with_a_full_device_refuses_the_store)
{
    fixture_prepare(&f, SMALL, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    f.device->size = 40 * SLOT_BYTES;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    uint64_t i = 0;
    int error;
    while (!(error = store_version(&f, at(i), 0))) {
        REQUIRE(++i < 1000);
    }
    CHECK_EQUAL(error, -ENOSPC);
    CHECK_EQUAL(store_version(&f, at(0), 1), -ENOSPC);
    CHECK_GONE(&f, at(0)); /* a failing store removes the older entry, wherever it is */
    error = store_version(&f, at(i - 1), 1);
    if (error) {
        CHECK_EQUAL(error, -ENOSPC);
        CHECK_GONE(&f, at(i - 1));
    } else { /* the place of what was removed, in a pool that can be compacted */
        CHECK(f.options.pool->compact);
        CHECK_LOADS(&f, at(i - 1), 1);
    }
    for (uint64_t k = 1; k < i - 1; k++) {
        CHECK_LOADS(&f, at(k), 0);
    }
    fixture_destroy(&f);
}

TEST(disk_that_is_full_is_a_failed_write)
{
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    store_range(&f, 0, 40);
    faulty_set_capacity(f.device, 20 * SLOT_BYTES);
    fixture_write_back(&f);
    CHECK(zswap_consistent(f.zswap));
    for (uint64_t i = 0; i < 40; i++) {
        CHECK_LOADS(&f, at(i), 0);
    }
    CHECK(stats_of(&f).device_write_fail > 0);
    fixture_destroy(&f);
}

/* One attempt to write back all must end, also if all writes fail at once. */
TEST(writeback_to_a_broken_device_ends)
{
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    store_range(&f, 0, 300);
    faulty_fail_all(f.device, SWAP_WRITE, -EIO);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK(faulty_count(f.device, SWAP_WRITE) < 50);
    CHECK_EQUAL(stats_of(&f).stored_pages, 300);
    fixture_destroy(&f);
}

TEST(repeated_write_failures_back_off_and_recover)
{
    fixture_init(&f, SMALL, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    faulty_fail_all(f.device, SWAP_WRITE, -EIO);
    uint64_t i = 0;
    while (zswap_can_write_back(f.zswap)) {
        store_version(&f, at(i % AREA_PAGES), 0);
        REQUIRE(++i < 5000);
    }
    uint64_t writes = faulty_count(f.device, SWAP_WRITE);
    unsigned refused = 0;
    for (uint64_t k = 0; k < 1000; k++) {
        refused += store_version(&f, at(10000 + k), 0) == -ENOSPC;
    }
    CHECK(refused > 950); /* one that starts a try may still use the slack */
    uint64_t tries = faulty_count(f.device, SWAP_WRITE) - writes;
    CHECK(tries >= 2 && tries < 100);
    faulty_fail_all(f.device, SWAP_WRITE, 0);
    int error = -ENOSPC;
    for (uint64_t k = 0; k < 600 && error; k++) {
        error = store_version(&f, at(12000 + k), 0);
    }
    CHECK_EQUAL(error, 0);
    CHECK(zswap_can_write_back(f.zswap));
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

int main(void)
{
    RUN(failed_read_is_an_error_and_passes);
    RUN(failed_write_leaves_the_entries_in_the_pool);
    RUN(torn_write_is_a_failed_write);
    RUN(torn_write_that_was_not_reported_is_damage);
    RUN(damaged_bytes_are_never_returned_as_a_page);
    RUN(misplaced_bytes_are_damage);
    RUN(full_device_keeps_entries_in_the_pool_and_in_order);
    RUN(limit_with_a_full_device_refuses_the_store);
    RUN(disk_that_is_full_is_a_failed_write);
    RUN(writeback_to_a_broken_device_ends);
    RUN(repeated_write_failures_back_off_and_recover);
    return harness_finish();
}
