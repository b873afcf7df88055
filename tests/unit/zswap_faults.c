/* SPDX-License-Identifier: MIT */
/*
 * The cache when things fail: each request for memory in turn, and a device that errs, tears, lies, fills up or
 * never answers. Whatever happens: an error code or success, never a wrong byte, and nothing leaked.
 */
#include <pthread.h>
#include <time.h>

#include "tests/unit/zswap_fixture.h"
#include "zswap/internal.h"

#define ROOMY ((size_t)64 << 20)
#define SMALL ((size_t)512 << 10)

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES], expected[PAGE_BYTES];

static void set_up(enum zswap_writeback mode, enum ram_device_mode device_mode)
{
    fixture_init(&f, ROOMY, mode, device_mode);
}

static void write_and_wait(void)
{
    zswap_writeback(f.zswap, SIZE_MAX);
    zswap_writeback_reap(f.zswap, true);
}

/* ---- memory */

/* What may be there after failures: this version, or (if `may_be_gone`) nothing. */
static void check_version(struct swap_entry entry, uint64_t version, bool may_be_gone)
{
    int error = zswap_load(f.zswap, entry, page);
    page_for(expected, entry, version);
    CHECK(error == 0 || (may_be_gone && error == -ENOENT));
    CHECK(error || memcmp(page, expected, PAGE_BYTES) == 0);
}

static void check_error(int error)
{
    CHECK(error == 0 || error == -ENOMEM);
}

/* A life of a cache, with the n-th request for memory failing. True if it came to that. */
static bool live_with_failure(int64_t n, enum zswap_writeback mode)
{
    fixture_prepare(&f, SMALL, mode, RAM_DEVICE_ASYNC);
    f.memory.fail_countdown = n;
    int error = zswap_create(&f.zswap, &f.options);
    check_error(error);
    if (!error) {
        error = zswap_area_create(f.zswap, TYPE, AREA_PAGES);
        check_error(error);
        int stored[12] = {0};
        struct codec zstd;
        REQUIRE(codec_parse("zstd:1", &zstd) == 0);
        for (uint64_t i = 0; !error && i < ARRAY_LENGTH(stored); i++) {
            if (i == 8) {
                zswap_set_codec(f.zswap, &zstd);
            }
            stored[i] = store_version(&f, at(i * 300), i);
            check_error(stored[i]);
            if (i == 5) {
                zswap_writeback(f.zswap, SIZE_MAX);
                zswap_writeback_reap(f.zswap, true);
            }
        }
        for (uint64_t i = 0; !error && i < ARRAY_LENGTH(stored); i++) {
            int loaded = zswap_load(f.zswap, at(i * 300), page);
            page_for(expected, at(i * 300), i);
            CHECK(loaded == (stored[i] ? -ENOENT : 0) || (loaded == -ENOMEM && !stored[i]));
            CHECK(loaded || memcmp(page, expected, PAGE_BYTES) == 0);
        }
        for (uint64_t i = 0; !error && i < ARRAY_LENGTH(stored); i++) {
            stored[i] =
                store_version(&f, at(i * 300), i + 100); /* again: a failure must not leave the older page */
            check_error(stored[i]);
        }
        if (!error) {
            zswap_writeback(f.zswap, SIZE_MAX);
            zswap_writeback_reap(f.zswap, true);
        }
        bool fired = f.memory.fail_countdown <= 0;
        f.memory.fail_countdown = 0;
        for (uint64_t i = 0; !error && i < ARRAY_LENGTH(stored); i++) {
            check_version(at(i * 300), i + 100, stored[i] != 0);
            CHECK(!stored[i] || zswap_find(f.zswap, at(i * 300)) == ZSWAP_NOWHERE);
        }
        CHECK(zswap_consistent(f.zswap));
        if (!error) {
            zswap_invalidate_area(f.zswap, TYPE);
            zswap_trim(f.zswap);
            CHECK_EQUAL(stats_of(&f).pool_total_size, 0); /* no object without an entry */
            CHECK_EQUAL(stats_of(&f).device_bytes, 0);
        }
        zswap_destroy(f.zswap);
        fixture_end(&f);
        return fired;
    }
    f.memory.fail_countdown = 0;
    fixture_end(&f);
    return true;
}

static void fail_each_request(enum zswap_writeback mode)
{
    int64_t n = 1;
    while (live_with_failure(n, mode)) {
        REQUIRE(++n < 500);
    }
    printf("# %lld requests for memory\n", (long long)n - 1);
    CHECK(n > 30);
}

TEST(each_request_for_memory_may_fail_compressed)
{
    fail_each_request(ZSWAP_WRITEBACK_COMPRESSED);
}

TEST(each_request_for_memory_may_fail_pages)
{
    fail_each_request(ZSWAP_WRITEBACK_PAGE);
}

TEST(each_request_for_memory_may_fail_off)
{
    fail_each_request(ZSWAP_WRITEBACK_OFF);
}

/* ---- a device that errs */

TEST(failed_read_is_an_error_and_passes)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        set_up((enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 4);
        write_and_wait();
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
            set_up((enum zswap_writeback)mode, (enum ram_device_mode)async);
            store_range(&f, 0, 10);
            faulty_fail_all(f.device, SWAP_WRITE, -EIO);
            write_and_wait();
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
        set_up((enum zswap_writeback)mode, RAM_DEVICE_SYNC);
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
        set_up((enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 20);
        faulty_tear_nth_write(f.device, 1, 0);
        write_and_wait();
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
        set_up((enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 20);
        incompressible_page_for(page, at(20), 0);
        CHECK_EQUAL(zswap_store(f.zswap, at(20), page), 0);
        write_and_wait();
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
        set_up((enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        unsigned char *bytes = ram_device_bytes(faulty_inner(f.device));
        for (uint64_t i = 0; i < 2; i++) {
            incompressible_page_for(page, at(i), 0);
            CHECK_EQUAL(zswap_store(f.zswap, at(i), page), 0);
        }
        write_and_wait();
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
    set_up(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    store_range(&f, 0, 40);
    faulty_set_capacity(f.device, 20 * SLOT_BYTES);
    write_and_wait();
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
    set_up(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
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

/* ---- a device that does not answer */

TEST(verbs_do_not_wait_for_a_write_in_flight)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        set_up((enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 8);
        faulty_hold(f.device, SWAP_WRITE, true);
        zswap_writeback(f.zswap, SIZE_MAX);
        CHECK(faulty_held(f.device) > 0);
        /* All eight are being written. None of this waits, or it would wait for ever. */
        CHECK_LOADS(&f, at(0), 0);
        CHECK_EQUAL(store_version(&f, at(1), 1), 0);
        CHECK_LOADS(&f, at(1), 1);
        CHECK(zswap_invalidate(f.zswap, at(2)));
        CHECK_GONE(&f, at(2));
        page_for(expected, at(3), 0);
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(3), page), 0);
        CHECK(memcmp(page, expected, PAGE_BYTES) == 0);
        CHECK_GONE(&f, at(3));
        CHECK(zswap_invalidate(f.zswap, at(4)));
        CHECK_EQUAL(store_version(&f, at(4), 1), 0); /* came and went and came */
        CHECK_EQUAL(zswap_invalidate_range(f.zswap, TYPE, 5, 1), 1);
        memset(page, 0, PAGE_BYTES);
        CHECK_EQUAL(zswap_store(f.zswap, at(6), page), 0);
        faulty_let_go(f.device);
        zswap_writeback_reap(f.zswap, true);
        CHECK(zswap_consistent(f.zswap));
        CHECK_EQUAL(zswap_find(f.zswap, at(0)), ZSWAP_ON_DEVICE);
        CHECK_LOADS(&f, at(0), 0);
        CHECK_LOADS(&f, at(1), 1); /* and not the page that was written meanwhile */
        CHECK_GONE(&f, at(2));
        CHECK_GONE(&f, at(3));
        CHECK_LOADS(&f, at(4), 1);
        CHECK_GONE(&f, at(5));
        CHECK_EQUAL(zswap_load(f.zswap, at(6), page), 0);
        CHECK_EQUAL(page[0] | page[PAGE_BYTES - 1], 0);
        CHECK_LOADS(&f, at(7), 0);
        CHECK_EQUAL(stats_of(&f).written_back_pages, 2);
        fixture_destroy(&f);
    }
}

/* A newer version is written too, while the older one's write is still out; they end in either order. */
TEST(newer_write_may_end_before_the_older)
{
    set_up(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    CHECK_EQUAL(store_version(&f, at(0), 1), 0);
    faulty_hold(f.device, SWAP_WRITE, true);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK_EQUAL(faulty_held(f.device), 1);
    /* A fault takes the slot over from the writeback, and ends; then it is free for a second writeback. */
    struct swap_cache_token token;
    uint64_t name;
    CHECK_EQUAL(swap_cache_take(f.swap_cache, at(0), &token, &name), SWAP_CACHE_NEW);
    swap_cache_release(f.swap_cache, token);
    CHECK_EQUAL(store_version(&f, at(0), 2), 0);
    faulty_hold(f.device, SWAP_WRITE, false);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK_EQUAL(zswap_find(f.zswap, at(0)), ZSWAP_ON_DEVICE);
    CHECK_LOADS(&f, at(0), 2);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_LOADS(&f, at(0), 2);
    CHECK(zswap_consistent(f.zswap));
    CHECK_EQUAL(stats_of(&f).device_pages, 1);
    fixture_destroy(&f);
}

/* A store has published its entry and comes to link it only when the entry's writeback is under way already (the offset
 * was linked from an older store). */
TEST(entry_linked_late_is_unlinked_when_it_has_left)
{
    set_up(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    store_range(&f, 0, 2);
    faulty_hold(f.device, SWAP_WRITE, true);
    zswap_writeback(f.zswap, SIZE_MAX);
    area_lru_add(f.zswap->areas[TYPE], 1);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(zswap_find(f.zswap, at(1)), ZSWAP_ON_DEVICE);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(stores_go_on_while_all_buffers_are_out)
{
    fixture_init(&f, SMALL, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    faulty_hold(f.device, SWAP_WRITE, true);
    uint64_t i = 0;
    int error;
    while (!(error = store_version(&f, at(i), 0))) {
        REQUIRE(++i < 2000);
    }
    CHECK_EQUAL(error, -ENOSPC); /* over the limit by the slack, at once */
    CHECK(stats_of(&f).pool_total_size <= SMALL + (256 << 10) + PAGE_BYTES);
    for (uint64_t k = 0; k < i; k++) {
        CHECK_LOADS(&f, at(k), 0);
    }
    CHECK(zswap_invalidate_area(f.zswap, TYPE) == i);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(stats_of(&f).device_bytes, 0);
    CHECK_EQUAL(stats_of(&f).pool_payload, 0);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(destroying_an_area_waits_for_no_write_of_another)
{
    set_up(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    store_range(&f, 0, 4);
    faulty_hold(f.device, SWAP_WRITE, true);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK(faulty_held(f.device) > 0);
    REQUIRE(zswap_area_create(f.zswap, 2, 100) == 0);
    CHECK_EQUAL(store_version(&f, (struct swap_entry){2, 7}, 0), 0);
    zswap_area_destroy(f.zswap, 2);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(zswap_find(f.zswap, at(3)), ZSWAP_ON_DEVICE);
    fixture_destroy(&f);
}

static void *load_zero(void *result)
{
    _Alignas(8) unsigned char mine[PAGE_BYTES], wanted[PAGE_BYTES];
    page_for(wanted, at(0), 0);
    *(int *)result = zswap_load(f.zswap, at(0), mine);
    CHECK(memcmp(mine, wanted, PAGE_BYTES) == 0);
    return NULL;
}

static void wait_until_held(size_t n)
{
    for (int ms = 0; ms < 5000 && faulty_held(f.device) != n; ms++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    CHECK_EQUAL(faulty_held(f.device), n);
}

/* A read waits for the device; meanwhile its entry is replaced or removed, and its slots may not be used again. */
TEST(verbs_do_not_wait_for_a_read_in_flight)
{
    for (int remove = 0; remove < 2; remove++) {
        int result = 1;
        pthread_t loader;
        set_up(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
        store_range(&f, 0, 2);
        write_and_wait();
        faulty_hold(f.device, SWAP_READ, true);
        REQUIRE(pthread_create(&loader, NULL, load_zero, &result) == 0);
        wait_until_held(1);
        if (remove) {
            CHECK(zswap_invalidate(f.zswap, at(0)));
            CHECK_GONE(&f, at(0));
        } else {
            CHECK_EQUAL(store_version(&f, at(0), 1), 0);
            CHECK_LOADS(&f, at(0), 1);
        }
        CHECK_EQUAL(zswap_find(f.zswap, at(1)), ZSWAP_ON_DEVICE);
        store_range(&f, 100, 60);
        write_and_wait(); /* would overwrite the slots, were they free */
        faulty_let_go(f.device);
        pthread_join(loader, NULL);
        CHECK_EQUAL(result, 0); /* the page as it was when the load began */
        CHECK(zswap_consistent(f.zswap));
        fixture_destroy(&f);
    }
}

static void *load_own(void *number)
{
    _Alignas(8) unsigned char mine[PAGE_BYTES], wanted[PAGE_BYTES];
    struct swap_entry entry = at((uintptr_t)number);
    page_for(wanted, entry, 0);
    int error = zswap_load(f.zswap, entry, mine);
    CHECK(error == -ENOENT || (!error && memcmp(mine, wanted, PAGE_BYTES) == 0));
    return NULL;
}

/*
 * More loads than there are contexts wait for the device, each for a page of its own or all for one (`step` 0), of whom
 * `waiting` can: verbs that need no device go on. Then the entries are removed: each that is held leaves an orphan, and the
 * table has room for as many as there are contexts.
 */
static void load_from_a_silent_device(uintptr_t step, size_t waiting)
{
    enum { LOADERS = CONTEXTS_MAX + 40 };
    static pthread_t loaders[LOADERS];
    uintptr_t started = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    set_up(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    store_range(&f, 0, LOADERS);
    write_back_all(&f);
    faulty_hold(f.device, SWAP_READ, true);
    while (started < LOADERS &&
           !pthread_create(&loaders[started], &attributes, load_own, (void *)(started * step))) {
        started++;
    }
    wait_until_held(min_size(started, waiting));
    CHECK_EQUAL(store_version(&f, at(LOADERS), 1), 0);
    CHECK_LOADS(&f, at(LOADERS), 1);
    CHECK(zswap_invalidate(f.zswap, at(LOADERS)));
    unsigned char page[PAGE_BYTES];
    CHECK(step || zswap_load_at_once(f.zswap, at(0), page) == -EAGAIN);
    CHECK_EQUAL(zswap_invalidate_area(f.zswap, TYPE), LOADERS);
    CHECK(lifecycle_orphans(&f.zswap->lifecycle) <= CONTEXTS_MAX);
    faulty_let_go(f.device);
    while (started) {
        pthread_join(loaders[--started], NULL);
    }
    fixture_destroy(&f);
}

TEST(more_loads_than_contexts)
{
    load_from_a_silent_device(1, CONTEXTS_WAITING_MAX);
}

TEST(more_loads_of_one_page_than_its_word_counts)
{
    load_from_a_silent_device(0, ENTRY_HOLDERS_MAX);
}

/* ---- two threads and a slow submit */

static struct swap_device slow;
static struct swap_device_ops slow_ops;
static uint32_t gate; /* 1: a write is inside submit; 2: it may go on; atomic */

static void submit_behind_gate(struct swap_device *device, struct swap_io *io)
{
    (void)device;
    if (io->operation == SWAP_WRITE && atomic_read_acquire(&gate) == 0) {
        atomic_set_release(&gate, 1);
        while (atomic_read_acquire(&gate) != 2) {
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
    }
    f.device->ops->submit(f.device, io);
}

static size_t reap_behind_gate(struct swap_device *device, bool wait)
{
    (void)device;
    return f.device->ops->reap(f.device, wait);
}

static void *write_back_once(void *unused)
{
    (void)unused;
    zswap_writeback(f.zswap, 1);
    return NULL;
}

/* A device without a queue writes inside submit. Who is at the limit meanwhile, and has slack, does not wait for that. */
TEST(store_at_the_limit_does_not_wait_for_anothers_submit)
{
    pthread_t writer;
    fixture_prepare(&f, SMALL, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    slow = *f.device;
    slow_ops = (struct swap_device_ops){.submit = submit_behind_gate, .reap = reap_behind_gate};
    slow.ops = &slow_ops;
    f.options.device = &slow;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    gate = 2;
    uint64_t i = 0;
    while (stats_of(&f).pool_total_size < SMALL) {
        CHECK_EQUAL(store_version(&f, at(i), 0), 0);
        REQUIRE(++i < 1000);
    }
    gate = 0;
    REQUIRE(pthread_create(&writer, NULL, write_back_once, NULL) == 0);
    while (atomic_read_acquire(&gate) != 1) {
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    for (uint64_t k = 0; k < 5; k++) {
        CHECK_EQUAL(store_version(&f, at(5000 + k), 0), 0);
    }
    atomic_set_release(&gate, 2);
    pthread_join(writer, NULL);
    fixture_destroy(&f);
}

int main(void)
{
    RUN(each_request_for_memory_may_fail_compressed);
    RUN(each_request_for_memory_may_fail_pages);
    RUN(each_request_for_memory_may_fail_off);
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
    RUN(verbs_do_not_wait_for_a_write_in_flight);
    RUN(newer_write_may_end_before_the_older);
    RUN(entry_linked_late_is_unlinked_when_it_has_left);
    RUN(stores_go_on_while_all_buffers_are_out);
    RUN(destroying_an_area_waits_for_no_write_of_another);
    RUN(verbs_do_not_wait_for_a_read_in_flight);
    RUN(more_loads_than_contexts);
    RUN(more_loads_of_one_page_than_its_word_counts);
    RUN(store_at_the_limit_does_not_wait_for_anothers_submit);
    return harness_finish();
}
