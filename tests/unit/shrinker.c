/* SPDX-License-Identifier: MIT */
/* The shrinker: how much it writes back, when it begins and ends, and that this holds under loads of any shape. */
#include "tests/unit/shrinker_fixture.h"

/* ---- how much */

TEST(at_the_limit_one_buffer_is_started_and_no_second_before_the_tick)
{
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    faulty_hold(f.device, SWAP_WRITE, true);
    fill_to_limit();
    CHECK_EQUAL(stats_of(&f).writeback_batches, 0);
    for (int i = 0; i < TICK; i++) {
        CHECK_EQUAL(store_next(), 0);
        CHECK_EQUAL(stats_of(&f).writeback_batches, 1);
    }
    store_until_refused();
    CHECK(stats_of(&f).writeback_batches > 1);
    end();
}

TEST(step_doubles_at_each_tick_while_the_pool_does_not_shrink)
{
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    fill_to_limit();
    faulty_hold(f.device, SWAP_WRITE, true);
    size_t step = STEP_MIN;
    CHECK_EQUAL(stats_of(&f).shrink_step_bytes, STEP_MIN);
    CHECK_EQUAL(store_next(), 0);
    while (step < STEP_MAX) {
        for (int i = 0; i < TICK; i++) {
            CHECK_EQUAL(stats_of(&f).shrink_step_bytes, step);
            CHECK((faulty_held(f.device) - 1) * ONE_BUFFER / 4 * 3 <
                  step);  /* but for the last buffer, in whole */
            store_next(); /* zbud soon has no slack any more */
        }
        step *= 2;
    }
    for (int i = 0; i < 3 * TICK; i++) { /* no further */
        CHECK(stats_of(&f).shrink_step_bytes <= STEP_MAX);
        store_next();
    }
    end();
}

TEST(step_falls_by_half_at_the_low_mark_and_no_further_than_its_least)
{
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    faulty_hold(f.device, SWAP_WRITE, true);
    for (int i = 0; i < 6 * TICK || stats_of(&f).shrink_step_bytes < STEP_MAX; i++) {
        store_next();
        REQUIRE(i < KEYS);
    }
    faulty_let_go(f.device);
    size_t step = STEP_MAX;
    for (uint64_t round = 1; round <= 6; round++) {
        for (int i = 0; stats_of(&f).shrink_rounds < round; i++) {
            REQUIRE(i < KEYS);
            step = stats_of(&f).shrink_step_bytes;
            CHECK_EQUAL(store_next(), 0);
        }
        CHECK_EQUAL(stats_of(&f).shrink_step_bytes, max_size(step / 2, STEP_MIN));
    }
    CHECK(step < STEP_MAX / 2);
    end();
}

TEST(bytes_in_flight_count_as_gone)
{
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    faulty_hold(f.device, SWAP_WRITE, true);
    fill_to_limit();
    store_until_refused();
    struct zswap_stats stats = stats_of(&f);
    CHECK(stats.pool_total_size >= FULL);
    /* No more than what the pool is above its low mark, and one buffer. */
    CHECK(stats.writeback_batches * ONE_BUFFER / 2 < FULL - LOW + ONE_BUFFER);
    faulty_let_go(f.device);
    size_t lowest = SIZE_MAX;
    for (int i = 0; i < 1000; i++) {
        CHECK_EQUAL(store_next(), 0);
        lowest = min_size(lowest, pool_size());
    }
    printf("# %zu KiB below the low mark\n", lowest < LOW ? (LOW - lowest) >> 10 : 0);
    CHECK(lowest + 2 * ONE_BUFFER >= LOW);
    end();
}

TEST(when_stores_stop_nothing_more_is_written)
{
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    fill_to_limit();
    CHECK_EQUAL(store_next(), 0);
    uint64_t batches = stats_of(&f).writeback_batches;
    CHECK(batches > 0);
    for (int i = 0; i < 100; i++) {
        zswap_writeback_reap(f.zswap, false);
        CHECK(version_of[0] && loads_version(&f, at(next_key - 1), 1));
    }
    CHECK_EQUAL(stats_of(&f).writeback_batches, batches);
    end();
}

/* ---- loads of any shape: the pool stays between its marks */

struct phase {
    unsigned stores;      /* of the phase */
    unsigned per_write;   /* one write is answered every so many stores; 0 = none is */
    unsigned percent_raw; /* of pages that do not shrink */
};

struct course {
    size_t lowest, highest;
    uint64_t refused;
};

static int store_some(unsigned percent_raw)
{
    _Alignas(8) unsigned char page[PAGE_BYTES];
    if (next_key * 37 % 100 >= percent_raw) {
        return store_next();
    }
    uint64_t key = next_key++ % KEYS;
    incompressible_page_for(page, at(key), 1);
    int error = zswap_store(f.zswap, at(key), page);
    version_of[key] = 0;
    CHECK_EQUAL(zswap_invalidate(f.zswap, at(key)),
                !error); /* so that it costs room, and the check of content stays simple */
    return error;
}

static struct course run_phases(const struct phase *phases, size_t n)
{
    struct course c = {.lowest = SIZE_MAX};
    for (size_t p = 0; p < n; p++) {
        for (unsigned i = 0; i < phases[p].stores; i++) {
            if (phases[p].per_write && i % phases[p].per_write == 0) {
                faulty_let_go_one(f.device);
            }
            c.refused += store_some(phases[p].percent_raw) != 0;
            size_t total = pool_size();
            c.highest = max_size(c.highest, total);
            c.lowest = stats_of(&f).pool_limit_hit ? min_size(c.lowest, total) : c.lowest;
        }
    }
    return c;
}

static void check_course(const char *name, const struct phase *phases, size_t n, bool may_refuse)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        begin((enum zswap_writeback)mode, RAM_DEVICE_ASYNC);
        f.device->max_in_flight = 1024;
        faulty_hold(f.device, SWAP_WRITE, true);
        struct course c = run_phases(phases, n);
        struct zswap_stats stats = stats_of(&f);
        printf("# %s: %zu to %zu KiB, %llu rounds, %llu batches, %llu refused, step %llu KiB\n", name,
               c.lowest >> 10, c.highest >> 10, (unsigned long long)stats.shrink_rounds,
               (unsigned long long)stats.writeback_batches, (unsigned long long)c.refused,
               (unsigned long long)stats.shrink_step_bytes >> 10);
        CHECK(c.highest < FULL + 4 * PAGE_BYTES);
        CHECK(c.lowest + 2 * ONE_BUFFER >= LOW);
        CHECK(may_refuse || !c.refused);
        CHECK(stats.shrink_rounds > 0);
        end();
    }
}

#define CHECK_COURSE(name, may_refuse, ...)                                                                  \
    check_course(name, (const struct phase[]){__VA_ARGS__},                                                  \
                 sizeof((const struct phase[]){__VA_ARGS__}) / sizeof(struct phase), may_refuse)

TEST(steady_stores)
{
    CHECK_COURSE("steady", false, {6000, 10, 0});
}

TEST(burst)
{
    CHECK_COURSE("burst", true, {1900, 10, 0}, {600, 60, 0}, {2000, 10, 0});
}

TEST(trickle_beside_a_quick_device)
{
    CHECK_COURSE("trickle", false, {6000, 1, 0});
}

TEST(sudden_stop_of_the_device)
{
    CHECK_COURSE("stop", true, {2500, 10, 0}, {500, 0, 0}, {2000, 5, 0});
}

TEST(oscillating_load)
{
    CHECK_COURSE("oscillating", true, {2200, 10, 0}, {100, 0, 0}, {100, 2, 0}, {100, 0, 0}, {100, 2, 0},
                 {100, 0, 0}, {100, 2, 0}, {100, 0, 0}, {100, 2, 0}, {500, 10, 0});
}

int main(void)
{
    RUN(at_the_limit_one_buffer_is_started_and_no_second_before_the_tick);
    RUN(step_doubles_at_each_tick_while_the_pool_does_not_shrink);
    RUN(step_falls_by_half_at_the_low_mark_and_no_further_than_its_least);
    RUN(bytes_in_flight_count_as_gone);
    RUN(when_stores_stop_nothing_more_is_written);
    RUN(steady_stores);
    RUN(burst);
    RUN(trickle_beside_a_quick_device);
    RUN(sudden_stop_of_the_device);
    RUN(oscillating_load);
    return harness_finish();
}
