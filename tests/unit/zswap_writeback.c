/* SPDX-License-Identifier: MIT */
/* The cache at its limit, and writeback, by one thread: who goes, when, and what becomes of an entry on the device. */
#include "tests/unit/zswap_fixture.h"

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES], other[PAGE_BYTES];

static void set_up(void)
{
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
}

/* Offsets 0 .. n - 1 on the device. */
static uint64_t on_device(uint64_t n)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; i++) {
        count += zswap_find(f.zswap, at(i)) == ZSWAP_ON_DEVICE;
    }
    return count;
}

/* ---- the limit */

static void check_limit_evicts_the_oldest(enum zswap_writeback mode)
{
    const uint64_t n = 600;
    fixture_init(&f, SMALL, mode, RAM_DEVICE_SYNC);
    store_range(&f, 0, n);
    struct zswap_stats stats = stats_of(&f);
    CHECK(stats.pool_limit_hit > 0);
    CHECK(stats.pool_total_size <= SMALL + PAGE_BYTES);
    CHECK_EQUAL(stats.reject_reclaim_fail, 0);
    CHECK_EQUAL(stats.device_pages, on_device(n));
    CHECK_EQUAL(stats.stored_pages + stats.device_pages, n);
    CHECK_EQUAL(stats.written_back_pages, stats.device_pages);
    CHECK(stats.device_pages > 100);
    /* The oldest are out and the newest in; only a zbud buddy may have gone before its time. */
    uint64_t out = stats.device_pages;
    CHECK(on_device(out * 3 / 4) == out * 3 / 4);
    for (uint64_t i = n - 50; i < n; i++) {
        CHECK_EQUAL(zswap_find(f.zswap, at(i)), ZSWAP_IN_POOL);
    }
    for (uint64_t i = 0; i < n; i++) {
        CHECK_LOADS(&f, at(i), 0);
    }
    CHECK_EQUAL(stats_of(&f).device_loads, out);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(at_the_limit_the_oldest_are_written_back_compressed)
{
    check_limit_evicts_the_oldest(ZSWAP_WRITEBACK_COMPRESSED);
}

TEST(at_the_limit_the_oldest_are_written_back_as_pages)
{
    check_limit_evicts_the_oldest(ZSWAP_WRITEBACK_PAGE);
}

TEST(once_at_the_limit_writeback_goes_on_to_the_threshold)
{
    fixture_init(&f, SMALL, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    uint64_t i = 0, hits = 0;
    while (!stats_of(&f).pool_limit_hit) {
        CHECK_EQUAL(store_version(&f, at(i++), 0), 0);
        REQUIRE(i < 1000);
    }
    hits = stats_of(&f).pool_limit_hit;
    /* Below the threshold now, or going there; then stores are quiet until the limit is reached again. */
    while (stats_of(&f).pool_total_size > SMALL / 100 * 90) {
        CHECK_EQUAL(store_version(&f, at(i++), 0), 0);
        REQUIRE(i < 2000);
    }
    CHECK_EQUAL(store_version(&f, at(i++), 0), 0);
    uint64_t out = stats_of(&f).written_back_pages;
    while (stats_of(&f).pool_total_size + 2 * PAGE_BYTES < SMALL && stats_of(&f).pool_limit_hit == hits) {
        CHECK_EQUAL(store_version(&f, at(i++), 0), 0);
        REQUIRE(i < 3000);
    }
    CHECK_EQUAL(stats_of(&f).written_back_pages, out);
    fixture_destroy(&f);
}

TEST(loaded_entries_get_a_second_chance)
{
    set_up();
    store_range(&f, 0, 400);
    for (uint64_t i = 0; i < 10; i++) {
        CHECK_LOADS(&f, at(i), 0);
    }
    CHECK(zswap_writeback(f.zswap, 1) > 0); /* one buffer full */
    zswap_writeback_reap(f.zswap, true);
    CHECK(on_device(400) >= 20);
    CHECK_EQUAL(on_device(10), 0);
    write_back_all(&f); /* only once: in the end they go too */
    CHECK_EQUAL(on_device(400), 400);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(raised_limit_is_used)
{
    fixture_init(&f, SMALL, ZSWAP_WRITEBACK_OFF, RAM_DEVICE_SYNC);
    uint64_t i = 0;
    while (!store_version(&f, at(i), 0)) {
        REQUIRE(++i < 1000);
    }
    CHECK_EQUAL(zswap_max_pool_bytes(f.zswap), SMALL);
    zswap_set_max_pool_bytes(f.zswap, 2 * SMALL);
    CHECK_EQUAL(store_version(&f, at(i), 0), 0);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(with_writeback_off_the_limit_refuses)
{
    fixture_init(&f, SMALL, ZSWAP_WRITEBACK_OFF, RAM_DEVICE_SYNC);
    uint64_t i = 0;
    while (!store_version(&f, at(i), 0)) {
        REQUIRE(++i < 1000);
    }
    CHECK_EQUAL(store_version(&f, at(i), 0), -ENOSPC);
    CHECK_EQUAL(stats_of(&f).reject_reclaim_fail, 2);
    CHECK_GONE(&f, at(i));
    CHECK(!zswap_can_write_back(f.zswap));
    CHECK_EQUAL(zswap_writeback(f.zswap, SIZE_MAX), 0);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(faulty_count(f.device, SWAP_WRITE), 0);
    for (uint64_t k = 0; k < i; k++) {
        CHECK_LOADS(&f, at(k), 0);
    }
    /* A page that needs no object is still taken. */
    same_page_of(page, 5);
    CHECK_EQUAL(zswap_store(f.zswap, at(i), page), 0);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(refused_store_removes_the_older_entry)
{
    fixture_init(&f, SMALL, ZSWAP_WRITEBACK_OFF, RAM_DEVICE_SYNC);
    same_page_of(page, 5);
    CHECK_EQUAL(zswap_store(f.zswap, at(5000), page), 0);
    uint64_t i = 0;
    while (!store_version(&f, at(i), 0)) {
        REQUIRE(++i < 1000);
    }
    CHECK_EQUAL(store_version(&f, at(5000), 1), -ENOSPC);
    CHECK_GONE(&f, at(5000));
    CHECK_EQUAL(store_version(&f, at(0), 1), -ENOSPC);
    CHECK_GONE(&f, at(0));
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

/* ---- writeback */

TEST(entry_on_the_device_can_be_replaced_loaded_and_removed)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        fixture_init(&f, ROOMY, (enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 10);
        write_back_all(&f);
        CHECK_EQUAL(on_device(10), 10);
        CHECK_EQUAL(stats_of(&f).pool_payload, 0);
        CHECK_EQUAL(store_version(&f, at(1), 7), 0);
        CHECK_LOADS(&f, at(1), 7);
        CHECK(zswap_invalidate(f.zswap, at(2)));
        CHECK_GONE(&f, at(2));
        page_for(other, at(3), 0);
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(3), page), 0);
        CHECK(memcmp(page, other, PAGE_BYTES) == 0);
        CHECK_GONE(&f, at(3));
        CHECK_EQUAL(stats_of(&f).device_pages, 7);
        CHECK(zswap_consistent(f.zswap));
        CHECK_EQUAL(zswap_invalidate_area(f.zswap, TYPE), 8);
        CHECK_EQUAL(stats_of(&f).device_bytes, 0);
        fixture_destroy(&f);
    }
}

TEST(writeback_in_flight_ends_at_reap)
{
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    store_range(&f, 0, 10);
    CHECK(zswap_writeback(f.zswap, 1) > 0);
    CHECK_EQUAL(on_device(10), 0);
    for (uint64_t i = 0; i < 10; i++) {
        CHECK_LOADS(&f, at(i), 0);
    }
    zswap_writeback_reap(f.zswap, false);
    CHECK_EQUAL(on_device(10), 10); /* all shared one buffer */
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(writeback_leaves_a_busy_page_alone)
{
    set_up();
    store_range(&f, 0, 3);
    struct swap_cache_token token;
    CHECK_EQUAL(swap_cache_acquire(f.swap_cache, at(1), SWAP_CACHE_EVICT, &token), SWAP_CACHE_NEW);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK_EQUAL(zswap_find(f.zswap, at(0)), ZSWAP_ON_DEVICE);
    CHECK_EQUAL(zswap_find(f.zswap, at(1)), ZSWAP_IN_POOL);
    CHECK_EQUAL(zswap_find(f.zswap, at(2)), ZSWAP_ON_DEVICE);
    CHECK(zswap_consistent(f.zswap));
    swap_cache_release(f.swap_cache, token);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK_EQUAL(zswap_find(f.zswap, at(1)), ZSWAP_ON_DEVICE);
    fixture_destroy(&f);
}

TEST(writeback_without_swap_cache_slots_stops)
{
    set_up();
    store_range(&f, 0, 3);
    static struct swap_cache_token tokens[4096];
    size_t n = 0;
    while (n < 4096 && swap_cache_acquire(f.swap_cache, (struct swap_entry){9, n}, SWAP_CACHE_EVICT,
                                          &tokens[n]) == SWAP_CACHE_NEW) {
        n++;
    }
    REQUIRE(n < 4096);
    CHECK_EQUAL(zswap_writeback(f.zswap, SIZE_MAX), 0);
    CHECK_EQUAL(on_device(3), 0);
    CHECK(zswap_consistent(f.zswap));
    while (n) {
        swap_cache_release(f.swap_cache, tokens[--n]);
    }
    CHECK(zswap_writeback(f.zswap, SIZE_MAX) > 0);
    fixture_destroy(&f);
}

TEST(neighbours_share_a_write)
{
    set_up();
    store_range(&f, 0, 40);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK_EQUAL(on_device(40), 40);
    CHECK(faulty_count(f.device, SWAP_WRITE) <= 2);
    fixture_destroy(&f);
}

TEST(areas_take_turns_in_writeback)
{
    set_up();
    REQUIRE(zswap_area_create(f.zswap, 2, 100) == 0);
    store_range(&f, 0, 400);
    for (uint64_t i = 0; i < 20; i++) {
        CHECK_EQUAL(store_version(&f, (struct swap_entry){2, i}, 0), 0);
    }
    zswap_writeback(f.zswap, 1); /* one buffer full */
    zswap_writeback_reap(f.zswap, true);
    CHECK(zswap_find(f.zswap, at(0)) == ZSWAP_ON_DEVICE);
    CHECK(zswap_find(f.zswap, (struct swap_entry){2, 0}) == ZSWAP_ON_DEVICE);
    CHECK_EQUAL(zswap_find(f.zswap, at(399)), ZSWAP_IN_POOL);
    fixture_destroy(&f);
}

int main(void)
{
    RUN(at_the_limit_the_oldest_are_written_back_compressed);
    RUN(at_the_limit_the_oldest_are_written_back_as_pages);
    RUN(once_at_the_limit_writeback_goes_on_to_the_threshold);
    RUN(loaded_entries_get_a_second_chance);
    RUN(raised_limit_is_used);
    RUN(with_writeback_off_the_limit_refuses);
    RUN(refused_store_removes_the_older_entry);
    RUN(entry_on_the_device_can_be_replaced_loaded_and_removed);
    RUN(writeback_in_flight_ends_at_reap);
    RUN(writeback_leaves_a_busy_page_alone);
    RUN(writeback_without_swap_cache_slots_stops);
    RUN(neighbours_share_a_write);
    RUN(areas_take_turns_in_writeback);
    return harness_finish();
}
