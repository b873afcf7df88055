/* SPDX-License-Identifier: MIT */
/* Where the shrinker takes room from: the reserve, then compaction, then writeback; and what it says it has won. */
#include "tests/unit/shrinker_fixture.h"

static void begin_zsmalloc(enum zswap_writeback mode)
{
    fixture_prepare(&f, LIMIT, mode, RAM_DEVICE_ASYNC);
    f.options.pool = &pool_zsmalloc;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    next_key = 0;
    memset(version_of, 0, sizeof version_of);
}

static void invalidate(uint64_t key)
{
    CHECK(zswap_invalidate(f.zswap, at(key)));
    version_of[key] = 0;
}

TEST(reserve_goes_first)
{
    begin_zsmalloc(ZSWAP_WRITEBACK_COMPRESSED);
    fill_to_limit();
    for (uint64_t key = 0; key < next_key / 4; key++) { /* neighbours: their chains come out empty */
        invalidate(key);
    }
    zswap_set_max_pool_bytes(f.zswap, pool_size());
    CHECK_EQUAL(store_next(), 0);
    struct zswap_stats stats = stats_of(&f);
    CHECK(stats.pool_limit_hit > 0);
    CHECK_EQUAL(stats.compactions, 0);
    CHECK_EQUAL(stats.writeback_batches, 0);
    end();
}

TEST(compaction_goes_before_writeback)
{
    begin_zsmalloc(ZSWAP_WRITEBACK_COMPRESSED);
    fill_to_limit();
    for (uint64_t key = 0; key < next_key; key += 2) {
        invalidate(key);
    }
    zswap_set_max_pool_bytes(f.zswap, pool_size());
    CHECK_EQUAL(store_next(), 0);
    zswap_set_max_pool_bytes(f.zswap, pool_size()); /* the reserve is gone */
    CHECK_EQUAL(store_next(), 0);
    struct zswap_stats stats = stats_of(&f);
    CHECK(stats.pages_compacted > 0 && stats.objects_moved > 0);
    CHECK_EQUAL(stats.compactions_vain, 0);
    CHECK_EQUAL(stats.writeback_batches, 0);
    end();
}

TEST(compaction_waits_until_the_written_objects_are_gone)
{
    begin_zsmalloc(ZSWAP_WRITEBACK_COMPRESSED);
    faulty_hold(f.device, SWAP_WRITE, true);
    fill_to_limit();
    uint64_t compactions = stats_of(&f).compactions;
    for (int i = 0; i < TICK; i++) {
        CHECK_EQUAL(store_next(), 0);
    }
    CHECK_EQUAL(stats_of(&f).compactions, compactions); /* nothing is gone yet */
    faulty_let_go(f.device);
    for (int i = 0; i < 2 * TICK; i++) {
        CHECK_EQUAL(store_next(), 0);
    }
    CHECK(stats_of(&f).pages_compacted > 0);
    CHECK_EQUAL(stats_of(&f).compactions_vain, 0);
    end();
}

static struct pool_ops stuck_pool;
static unsigned stuck_calls;

static size_t compact_nothing(struct pool *pool, size_t bytes, const struct pool_mover *mover, void *context)
{
    (void)pool, (void)bytes, (void)mover, (void)context;
    stuck_calls++;
    return 0;
}

static int create_stuck(struct pool **pool, struct memory *memory, size_t max_bytes)
{
    int error = pool_zsmalloc.create(pool, memory, max_bytes);
    if (!error) {
        (*pool)->ops = &stuck_pool;
    }
    return error;
}

TEST(compaction_in_vain_is_not_tried_at_every_store)
{
    stuck_pool = pool_zsmalloc;
    stuck_pool.create = create_stuck;
    stuck_pool.compact = compact_nothing;
    fixture_prepare(&f, LIMIT, ZSWAP_WRITEBACK_OFF, RAM_DEVICE_ASYNC);
    f.options.pool = &stuck_pool;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    next_key = 0;
    fill_to_limit();
    for (uint64_t key = 0; key < next_key; key += 3) {
        invalidate(key);
    }
    zswap_trim(f.zswap);
    zswap_set_max_pool_bytes(f.zswap, pool_size());
    stuck_calls = 0;
    for (int i = 0; i < 10 * TICK; i++) {
        store_next(); /* into holes that fit, or refused */
        zswap_set_max_pool_bytes(f.zswap, pool_size());
    }
    CHECK(stuck_calls >= 1 && stuck_calls <= 12);
    CHECK_EQUAL(stats_of(&f).compactions_vain, stuck_calls + 1);
    end();
}

TEST(shrink_takes_the_cheapest_source_and_says_what_it_won)
{
    begin_zsmalloc(ZSWAP_WRITEBACK_COMPRESSED);
    fill_to_limit();
    for (uint64_t key = 0; key < next_key; key += 2) {
        invalidate(key);
    }
    size_t before = pool_size(), won = zswap_shrink(f.zswap, 256 << 10, false);
    CHECK(won >= 256 << 10);
    CHECK_EQUAL(before - pool_size(), won);
    CHECK_EQUAL(stats_of(&f).writeback_batches, 0);
    while (stats_of(&f).writeback_batches == 0) {
        CHECK(zswap_shrink(f.zswap, 256 << 10, true) >= 256 << 10);
        CHECK(!zswap_writeback_in_flight(f.zswap));
    }
    before = pool_size();
    CHECK(zswap_shrink(f.zswap, 256 << 10, true) >= 256 << 10);
    CHECK(before - pool_size() >= 240 << 10); /* written and compacted */
    while (zswap_shrink(f.zswap, SIZE_MAX, true)) {
    }
    CHECK_EQUAL(pool_size(), 0);
    CHECK_EQUAL(zswap_shrink(f.zswap, SIZE_MAX, true), 0);
    end();
}

TEST(shrink_counts_what_is_in_flight)
{
    begin_zsmalloc(ZSWAP_WRITEBACK_COMPRESSED);
    store_range(&f, 0, 500);
    faulty_hold(f.device, SWAP_WRITE, true);
    size_t won = zswap_shrink(f.zswap, 64 << 10, false);
    CHECK(won >= 64 << 10);
    CHECK_EQUAL(zswap_shrink(f.zswap, 64 << 10, false), won);
    CHECK_EQUAL(stats_of(&f).writeback_batches, 1);
    fixture_destroy(&f);
}

int main(void)
{
    RUN(reserve_goes_first);
    RUN(compaction_goes_before_writeback);
    RUN(compaction_waits_until_the_written_objects_are_gone);
    RUN(compaction_in_vain_is_not_tried_at_every_store);
    RUN(shrink_takes_the_cheapest_source_and_says_what_it_won);
    RUN(shrink_counts_what_is_in_flight);
    return harness_finish();
}
