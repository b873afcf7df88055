/* SPDX-License-Identifier: MIT */
/*
 * The shrinker's rules: how much it writes back, when it begins and ends, what it tries first, and that nobody waits. Time is
 * counted in stores: a device that keeps its writes back answers one of them every so many stores.
 */
#include <pthread.h>
#include <sched.h>

#include "tests/support/restless.h"
#include "tests/unit/zswap_fixture.h"

#define LIMIT ((size_t)4 << 20)
#define LOW (LIMIT / 100 * 90)
#define FULL (LIMIT + ((size_t)256 << 10))
#define ONE_BUFFER ((size_t)128 << 10)
#define STEP_MIN ((size_t)64 << 10)
#define STEP_MAX ((size_t)512 << 10)
#define TICK 32
#define KEYS 5000 /* more than pool and slack hold, less than pool and device do */

static struct fixture f;
static uint64_t next_key, version_of[KEYS];

static void begin(enum zswap_writeback mode, enum ram_device_mode device_mode)
{
    fixture_init(&f, LIMIT, mode, device_mode);
    next_key = 0;
    memset(version_of, 0, sizeof version_of);
}

/* The next key, one after the other and over again, so that what is replaced has long been written back. */
static int store_next(void)
{
    uint64_t key = next_key++ % KEYS;
    int error = store_version(&f, at(key), ++version_of[key]);
    if (error) {
        version_of[key] = 0;
    }
    return error;
}

static size_t pool_size(void)
{
    return stats_of(&f).pool_total_size;
}

static void fill_to_limit(void)
{
    while (pool_size() < LIMIT) {
        REQUIRE(store_next() == 0);
    }
}

/* The device does not answer: until there is no slack any more. */
static void store_until_refused(void)
{
    uint64_t n = 0;
    while (store_next() == 0) {
        REQUIRE(++n < KEYS);
    }
}

static void check_content(void)
{
    for (uint64_t key = 0; key < KEYS; key++) {
        CHECK(version_of[key] ? loads_version(&f, at(key), version_of[key]) : is_gone(&f, at(key)));
    }
}

static void end(void)
{
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK(zswap_consistent(f.zswap));
    check_content();
    fixture_destroy(&f);
}

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

/* ---- what first */

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

/* ---- nobody waits */

TEST(silent_device_refuses_beyond_the_slack_and_recovers)
{
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    faulty_hold(f.device, SWAP_WRITE, true);
    fill_to_limit();
    store_until_refused();
    CHECK(pool_size() >= FULL && pool_size() < FULL + 4 * PAGE_BYTES);
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(store_next(), -ENOSPC);
    }
    faulty_let_go(f.device);
    CHECK_EQUAL(store_next(), 0);
    end();
}

/* A device on which submitting a write blocks, as on a full ring. */
static const struct swap_device_ops *inner_ops;
static uint32_t gate_closed, at_gate; /* atomic */

static void submit_at_gate(struct swap_device *device, struct swap_io *io)
{
    if (io->operation == SWAP_WRITE) {
        atomic_set_relaxed(&at_gate, 1);
        while (atomic_read_acquire(&gate_closed)) {
            sched_yield();
        }
    }
    inner_ops->submit(device, io);
}

static void *store_one(void *unused)
{
    CHECK_EQUAL(store_version(&f, at(KEYS), 1), 0);
    return unused;
}

TEST(others_go_on_while_one_is_stuck_in_a_write)
{
    pthread_t thread;
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    fill_to_limit();
    inner_ops = f.device->ops;
    struct swap_device_ops gated = *inner_ops;
    gated.submit = submit_at_gate;
    f.device->ops = &gated;
    atomic_set_relaxed(&at_gate, 0);
    atomic_set_relaxed(&gate_closed, 1);
    REQUIRE(pthread_create(&thread, NULL, store_one, NULL) == 0);
    while (!atomic_read_relaxed(&at_gate)) {
        sched_yield();
    }
    for (int i = 0; i < TICK; i++) { /* who waited would wait for ever */
        CHECK_EQUAL(store_next(), 0);
    }
    atomic_set_release(&gate_closed, 0);
    pthread_join(thread, NULL);
    zswap_writeback_reap(f.zswap, true);
    f.device->ops = inner_ops;
    end();
}

TEST(failing_device_refuses_at_the_limit_and_recovers)
{
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    faulty_fail_all(f.device, SWAP_WRITE, -EIO);
    fill_to_limit();
    uint64_t refused = 0;
    for (int i = 0; i < 500; i++) {
        refused += store_next() == -ENOSPC;
    }
    CHECK(refused > 100);
    CHECK(pool_size() < FULL + 4 * PAGE_BYTES);
    CHECK_EQUAL(stats_of(&f).written_back_pages, 0);
    CHECK(zswap_consistent(f.zswap));
    faulty_fail_all(f.device, SWAP_WRITE, 0);
    for (int i = 0; i < 100; i++) { /* one in so many tries reaches the device */
        store_next();
    }
    CHECK_EQUAL(store_next(), 0);
    CHECK(stats_of(&f).written_back_pages > 0);
    end();
}

TEST(full_device_refuses_at_the_limit)
{
    begin(ZSWAP_WRITEBACK_PAGE, RAM_DEVICE_ASYNC);
    uint64_t refused = 0;
    for (uint64_t i = 0; i < AREA_PAGES && refused < 100; i++) { /* 4096 pages fit on the device */
        refused += store_version(&f, at(i), 0) == -ENOSPC;
    }
    CHECK_EQUAL(refused, 100);
    CHECK(pool_size() < FULL);
    CHECK(stats_of(&f).device_full > 0);
    CHECK(stats_of(&f).device_pages > 4000);
    fixture_destroy(&f);
}

/* ---- threads */

#define THREADS 4
#define PER_THREAD (HARNESS_SANITIZED ? 1500 : 4000)

static uint64_t highest; /* of the pool; atomic */

static void *store_many(void *number)
{
    uint64_t first = (uintptr_t)number * 1000, refused = 0;
    for (uint64_t i = 0; i < PER_THREAD; i++) {
        int error = store_version(&f, at(first + i % 1000), i / 1000 + 1);
        CHECK(!error || error == -ENOSPC);
        refused += error != 0;
        atomic_raise_relaxed((int64_t *)&highest, (int64_t)pool_size());
    }
    return (void *)(uintptr_t)refused;
}

static void check_threads(const struct pool_ops *pool)
{
    pthread_t threads[THREADS];
    fixture_prepare(&f, LIMIT, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    f.options.pool = pool;
    f.options.device = f.device = restless_device_create(f.device);
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    restless_set(16);
    highest = 0;
    for (uintptr_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, store_many, (void *)i) == 0);
    }
    uint64_t refused = 0;
    for (int i = 0; i < THREADS; i++) {
        void *n;
        pthread_join(threads[i], &n);
        refused += (uintptr_t)n;
    }
    restless_set(0);
    zswap_writeback_reap(f.zswap, true);
    struct zswap_stats stats = stats_of(&f);
    printf("# %llu rounds, %llu batches, at most %llu KiB, %llu refused\n",
           (unsigned long long)stats.shrink_rounds, (unsigned long long)stats.writeback_batches,
           (unsigned long long)highest >> 10, (unsigned long long)refused);
    CHECK(highest < FULL + THREADS * 4 * PAGE_BYTES);
    CHECK(stats.shrink_rounds > 0);
    /* From high mark to low mark each: no more rounds than what was written has room for. */
    CHECK(stats.shrink_rounds <= stats.writeback_batches);
    CHECK(zswap_consistent(f.zswap));
    CHECK_EQUAL(restless_misuses(), 0);
    zswap_destroy(f.zswap);
    fixture_end(&f);
}

TEST(threads_that_store)
{
    check_threads(&restless_pool);
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
    RUN(reserve_goes_first);
    RUN(compaction_goes_before_writeback);
    RUN(compaction_waits_until_the_written_objects_are_gone);
    RUN(compaction_in_vain_is_not_tried_at_every_store);
    RUN(shrink_takes_the_cheapest_source_and_says_what_it_won);
    RUN(shrink_counts_what_is_in_flight);
    RUN(silent_device_refuses_beyond_the_slack_and_recovers);
    RUN(others_go_on_while_one_is_stuck_in_a_write);
    RUN(failing_device_refuses_at_the_limit_and_recovers);
    RUN(full_device_refuses_at_the_limit);
    RUN(threads_that_store);
    return harness_finish();
}
