/* SPDX-License-Identifier: MIT */
/*
 * A cache at its limit, for the tests of the shrinker. Time is counted in stores: a device that keeps its writes back answers one
 * of them every so many stores.
 */
#ifndef UZSWAP_TESTS_UNIT_SHRINKER_FIXTURE_H
#define UZSWAP_TESTS_UNIT_SHRINKER_FIXTURE_H

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

static inline void begin(enum zswap_writeback mode, enum ram_device_mode device_mode)
{
    fixture_init(&f, LIMIT, mode, device_mode);
    next_key = 0;
    memset(version_of, 0, sizeof version_of);
}

/* The next key, one after the other and over again, so that what is replaced has long been written back. */
static inline int store_next(void)
{
    uint64_t key = next_key++ % KEYS;
    int error = store_version(&f, at(key), ++version_of[key]);
    if (error) {
        version_of[key] = 0;
    }
    return error;
}

static inline size_t pool_size(void)
{
    return stats_of(&f).pool_total_size;
}

static inline void fill_to_limit(void)
{
    while (pool_size() < LIMIT) {
        REQUIRE(store_next() == 0);
    }
}

/* The device does not answer: until there is no slack any more. */
static inline void store_until_refused(void)
{
    uint64_t n = 0;
    while (store_next() == 0) {
        REQUIRE(++n < KEYS);
    }
}

static inline void check_content(void)
{
    for (uint64_t key = 0; key < KEYS; key++) {
        CHECK(version_of[key] ? loads_version(&f, at(key), version_of[key]) : is_gone(&f, at(key)));
    }
}

static inline void end(void)
{
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK(zswap_consistent(f.zswap));
    check_content();
    fixture_destroy(&f);
}

#endif
