/* SPDX-License-Identifier: MIT */
/* Nobody waits for room: whether the device is silent, stuck, failing or full; and many threads that store at the limit. */
#include <pthread.h>
#include <sched.h>

#include "tests/support/restless.h"
#include "tests/unit/shrinker_fixture.h"

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
    RUN(silent_device_refuses_beyond_the_slack_and_recovers);
    RUN(others_go_on_while_one_is_stuck_in_a_write);
    RUN(failing_device_refuses_at_the_limit_and_recovers);
    RUN(full_device_refuses_at_the_limit);
    RUN(threads_that_store);
    return harness_finish();
}
