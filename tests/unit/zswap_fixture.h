/* SPDX-License-Identifier: MIT */
/* A cache with a device that can be told to fail, for the tests of zswap/. */
#ifndef UZSWAP_TESTS_ZSWAP_FIXTURE_H
#define UZSWAP_TESTS_ZSWAP_FIXTURE_H

#include "tests/harness.h"
#include "tests/support/faulty_device.h"
#include "tests/support/pages.h"
#include "tests/support/ram_device.h"
#include "tests/support/test_pool.h"
#include "zswap/zswap.h"

#define TYPE 1
#define AREA_PAGES 20000

/* Of pools: all that the tests store fits; most of it does not. */
#define ROOMY ((size_t)64 << 20)
#define SMALL ((size_t)512 << 10)

struct fixture {
    struct account account;
    struct memory memory;
    struct account swap_account; /* the swap cache grows as it is used */
    struct memory swap_memory;
    struct swap_device *device; /* faulty, over RAM; NULL = none */
    struct swap_cache *swap_cache;
    struct zswap_options options;
    struct zswap *zswap;
    size_t before; /* charged before the cache was made */
};

/* Everything but the cache itself; the options may be changed before it is made. */
static inline void fixture_prepare(struct fixture *f, size_t max_pool_bytes, enum zswap_writeback writeback,
                                   enum ram_device_mode device_mode)
{
    *f = (struct fixture){0};
    f->memory.account = &f->account;
    f->swap_memory.account = &f->swap_account;
    f->device = faulty_device_create(ram_device_create(16 << 20, device_mode));
    REQUIRE(swap_cache_create(&f->swap_cache, &f->swap_memory, 1024) == 0);
    f->options = (struct zswap_options){.memory = &f->memory,
                                        .pool = test_pool(),
                                        .max_pool_bytes = max_pool_bytes,
                                        .accept_threshold_percent = 90,
                                        .writeback = writeback,
                                        .device = f->device,
                                        .swap_cache = f->swap_cache,
                                        .deduplicate = getenv("UZSWAP_TEST_DEDUPLICATE") != NULL};
    REQUIRE(codec_parse("lz4", &f->options.codec) == 0);
    f->before = account_total(&f->account);
}

static inline void fixture_init(struct fixture *f, size_t max_pool_bytes, enum zswap_writeback writeback,
                                enum ram_device_mode device_mode)
{
    fixture_prepare(f, max_pool_bytes, writeback, device_mode);
    REQUIRE(zswap_create(&f->zswap, &f->options) == 0);
    REQUIRE(zswap_area_create(f->zswap, TYPE, AREA_PAGES) == 0);
}

/* The swap cache and the device alone. */
static inline void fixture_end(struct fixture *f)
{
    CHECK_EQUAL(account_total(&f->account), f->before);
    CHECK_EQUAL(swap_cache_count(f->swap_cache), 0);
    CHECK(swap_cache_consistent(f->swap_cache));
    swap_cache_destroy(f->swap_cache);
    CHECK_EQUAL(account_total(&f->account), 0);
    CHECK_EQUAL(account_total(&f->swap_account), 0);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        CHECK_EQUAL(f->account.bytes[kind], 0);
    }
    f->device->ops->close(f->device);
}

static inline void fixture_destroy(struct fixture *f)
{
    faulty_let_go(f->device);
    zswap_writeback_reap(f->zswap, true);
    CHECK(zswap_consistent(f->zswap));
    zswap_destroy(f->zswap);
    fixture_end(f);
}

static inline struct swap_entry at(uint64_t offset)
{
    return (struct swap_entry){.type = TYPE, .offset = offset};
}

/* What the tests put under `entry` as its `version`: text that shrinks to about half, no two alike. */
static inline void page_for(void *page, struct swap_entry entry, uint64_t version)
{
    uint64_t seed = (entry.offset * 1000003 + version) * 64 + entry.type + 1;
    make_page(page, PAGE_TEXT, &seed);
    memcpy(page, (const uint64_t[]){entry.type, entry.offset, version, ~version}, 32);
}

static inline void incompressible_page_for(void *page, struct swap_entry entry, uint64_t version)
{
    uint64_t seed = (entry.offset * 1000003 + version) * 64 + entry.type + 1;
    fill_random(page, &seed);
}

/* A page that repeats one word. */
static inline void same_page_of(void *page, uint64_t value)
{
    for (size_t i = 0; i < PAGE_BYTES / 8; i++) {
        ((uint64_t *)page)[i] = value;
    }
}

static inline int store_version(struct fixture *f, struct swap_entry entry, uint64_t version)
{
    _Alignas(8) unsigned char page[PAGE_BYTES];
    page_for(page, entry, version);
    return zswap_store(f->zswap, entry, page);
}

/* Offsets first .. first + n - 1, as their version 0. */
static inline void store_range(struct fixture *f, uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n; i++) {
        CHECK_EQUAL(store_version(f, at(i), 0), 0);
    }
}

#define CHECK_LOADS(f, entry, version) CHECK(loads_version(f, entry, version))
#define CHECK_GONE(f, entry) CHECK(is_gone(f, entry))

static inline bool loads_version(struct fixture *f, struct swap_entry entry, uint64_t version)
{
    _Alignas(8) unsigned char expected[PAGE_BYTES], page[PAGE_BYTES];
    page_for(expected, entry, version);
    int error = zswap_load(f->zswap, entry, page);
    if (error) {
        printf("# load of offset %llu says %d\n", (unsigned long long)entry.offset, error);
    }
    return !error && memcmp(page, expected, PAGE_BYTES) == 0;
}

static inline bool is_gone(struct fixture *f, struct swap_entry entry)
{
    _Alignas(8) unsigned char page[PAGE_BYTES];
    return zswap_load(f->zswap, entry, page) == -ENOENT && zswap_find(f->zswap, entry) == ZSWAP_NOWHERE;
}

static inline struct zswap_stats stats_of(struct fixture *f)
{
    struct zswap_stats stats;
    zswap_get_stats(f->zswap, &stats);
    return stats;
}

/* Writes back all that can be, to the end. */
static inline void write_back_all(struct fixture *f)
{
    while (zswap_writeback(f->zswap, SIZE_MAX)) {
        zswap_writeback_reap(f->zswap, true);
    }
}

/* All that the pool has goes to the device. */
static inline void fixture_write_back(struct fixture *f)
{
    zswap_writeback(f->zswap, SIZE_MAX);
    zswap_writeback_reap(f->zswap, true);
}

#endif
