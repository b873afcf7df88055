/* SPDX-License-Identifier: MIT */
/*
 * The order in which entries are written back: a naive list beside the cache under random verbs, and what failures do to the
 * order. Of zsmalloc, which names no peers; one area; a device that is done at once.
 */
#include "tests/unit/zswap_fixture.h"

#define LIMIT ((size_t)1 << 20)
#define KEYS 1500
#define ROUNDS (HARNESS_SANITIZED ? 4000 : 30000)

static struct fixture f;

static void begin(size_t limit, enum ram_device_mode device_mode)
{
    fixture_prepare(&f, limit, ZSWAP_WRITEBACK_COMPRESSED, device_mode);
    f.options.pool = &pool_zsmalloc;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
}

/* ---- the naive list: keys in the pool, the oldest first */

static struct {
    uint64_t keys[KEYS];
    size_t count;
    bool loaded[KEYS], out[KEYS];
    uint64_t written, passed_over;
} list;

static void list_remove(uint64_t key)
{
    for (size_t i = 0; i < list.count; i++) {
        if (list.keys[i] == key) {
            memmove(&list.keys[i], &list.keys[i + 1], (--list.count - i) * sizeof list.keys[0]);
            return;
        }
    }
}

static void list_add(uint64_t key)
{
    list_remove(key);
    list.keys[list.count++] = key;
}

static void list_forget(uint64_t key)
{
    list_remove(key);
    list.loaded[key] = list.out[key] = false;
}

/* The oldest goes, or gets its second chance. */
static void list_write_one(void)
{
    while (list.count) {
        uint64_t key = list.keys[0];
        if (!list.loaded[key]) {
            list_remove(key);
            list.out[key] = true;
            list.written++;
            return;
        }
        list.loaded[key] = false;
        list.passed_over++;
        list_add(key);
    }
}

/* As many left the pool as the cache says; they must be the same. */
static void follow(void)
{
    while (list.written < stats_of(&f).written_back_pages) {
        REQUIRE(list.count > 0);
        list_write_one();
    }
}

static void check_places(void)
{
    for (uint64_t key = 0; key < KEYS; key++) {
        enum zswap_place place = zswap_find(f.zswap, at(key));
        if ((place == ZSWAP_ON_DEVICE) != list.out[key]) {
            CHECK_EQUAL(place == ZSWAP_ON_DEVICE, list.out[key]);
            printf("# key %llu\n", (unsigned long long)key);
        }
    }
}

/* ---- random verbs */

/* Objects of all sizes; some raw. */
static int store_sized(uint64_t key, uint64_t *seed)
{
    _Alignas(8) unsigned char page[PAGE_BYTES] = {0};
    size_t words = harness_random(seed) % 16 == 0 ? PAGE_BYTES / 8 : 1 + harness_random(seed) % 400;
    for (size_t i = 0; i < words; i++) {
        ((uint64_t *)page)[i] = harness_random(seed) | 1;
    }
    return zswap_store(f.zswap, at(key), page);
}

static void do_something(uint64_t *seed)
{
    _Alignas(8) unsigned char page[PAGE_BYTES];
    uint64_t key = harness_random(seed) % KEYS;
    unsigned what = harness_random(seed) % 32;
    if (what < 16) {
        /* Before the entry is in the list: room is made first, and the older entry may be among the victims. */
        int error = store_sized(key, seed);
        follow();
        list_forget(key);
        if (!error) {
            list_add(key);
        }
    } else if (what < 24) {
        if (zswap_load(f.zswap, at(key), page) == 0 && !list.out[key]) {
            list.loaded[key] = true;
        }
    } else if (what < 28) {
        zswap_invalidate(f.zswap, at(key));
        list_forget(key);
    } else if (what < 30) {
        zswap_load_exclusive(f.zswap, at(key), page);
        list_forget(key);
    } else if (what == 30) {
        zswap_trim(f.zswap);
    } else if (key % 8 == 0) {
        zswap_shrink(f.zswap, 1 + key * 100, key % 16 == 0);
        follow();
    }
}

TEST(victims_are_those_of_a_naive_list)
{
    uint64_t seed = 99;
    memset(&list, 0, sizeof list);
    begin(LIMIT, RAM_DEVICE_SYNC);
    for (int round = 0; round < ROUNDS; round++) {
        do_something(&seed);
        if (round % 100 == 0) {
            check_places();
        }
        if (round % 1000 == 0) {
            CHECK(zswap_consistent(f.zswap));
        }
    }
    struct zswap_stats stats = stats_of(&f);
    CHECK_EQUAL(stats.second_chances, list.passed_over);
    CHECK_EQUAL(stats.writeback_peers, 0);
    printf("# %llu written back, %llu second chances, %llu objects moved, %llu rounds\n",
           (unsigned long long)stats.written_back_pages, (unsigned long long)stats.second_chances,
           (unsigned long long)stats.objects_moved, (unsigned long long)stats.shrink_rounds);
    CHECK(stats.written_back_pages > 100 && stats.second_chances > 10 && stats.objects_moved > 100);
    fixture_destroy(&f);
}

/* ---- failures leave the order as it was */

/* Offsets 0 .. n - 1 are out, and the others are not. */
static void check_oldest_are_out(uint64_t n, uint64_t of)
{
    for (uint64_t i = 0; i < of; i++) {
        CHECK_EQUAL(zswap_find(f.zswap, at(i)), i < n ? ZSWAP_ON_DEVICE : ZSWAP_IN_POOL);
    }
}

static struct swap_cache_token taken[1024];
static uint32_t taken_count;

/* Takes every slot of the swap cache but `n`, so that no more victims than that are taken at a time. */
static void leave_slots(uint32_t n)
{
    taken_count = 0;
    while (taken_count < ARRAY_LENGTH(taken) &&
           swap_cache_acquire(f.swap_cache, at(1000 + taken_count), SWAP_CACHE_WRITEBACK,
                              &taken[taken_count]) == SWAP_CACHE_NEW) {
        taken_count++;
    }
    while (n--) {
        swap_cache_release(f.swap_cache, taken[--taken_count]);
    }
}

static void give_slots_back(void)
{
    while (taken_count) {
        swap_cache_release(f.swap_cache, taken[--taken_count]);
    }
}

static void check_order_after(void (*fail)(void), enum ram_device_mode device_mode)
{
    begin((size_t)64 << 20, device_mode);
    store_range(&f, 0, 300);
    fail();
    CHECK_EQUAL(stats_of(&f).device_pages, 0);
    CHECK(zswap_consistent(f.zswap));
    leave_slots(10); /* fewer than the buffer had that failed */
    for (int i = 0; i < 40 && !stats_of(&f).device_pages;
         i++) { /* after many failures not every try reaches the device */
        zswap_writeback(f.zswap, 1);
        zswap_writeback_reap(f.zswap, true);
    }
    give_slots_back();
    CHECK_EQUAL(stats_of(&f).device_pages, 10);
    check_oldest_are_out(10, 300);
    fixture_destroy(&f);
}

static void fail_one_write(void)
{
    faulty_fail_nth(f.device, SWAP_WRITE, 1, -EIO);
    CHECK(zswap_writeback(f.zswap, 1) > 0);
    zswap_writeback_reap(f.zswap, true);
}

static void fail_many_writes(void)
{
    faulty_fail_all(f.device, SWAP_WRITE, -EIO);
    for (int i = 0; i < 20; i++) {
        zswap_writeback(f.zswap, 1);
        zswap_writeback_reap(f.zswap, true);
    }
    faulty_fail_all(f.device, SWAP_WRITE, 0);
}

TEST(failed_write_leaves_the_oldest_the_oldest)
{
    check_order_after(fail_one_write, RAM_DEVICE_SYNC);
    check_order_after(fail_one_write, RAM_DEVICE_ASYNC);
    check_order_after(fail_many_writes, RAM_DEVICE_SYNC);
    check_order_after(fail_many_writes, RAM_DEVICE_ASYNC);
}

/* The device has room for some of a buffer only: the others are given back. */
TEST(nearly_full_device_leaves_the_order)
{
    fixture_prepare(&f, (size_t)64 << 20, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    f.options.pool = &pool_zsmalloc;
    f.device->size = 48 << 10;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    store_range(&f, 0, 300);
    uint64_t payload = stats_of(&f).pool_payload, started = 0, step;
    while ((step = zswap_writeback(f.zswap, SIZE_MAX)) != 0) {
        started += step;
    }
    CHECK_EQUAL(payload - stats_of(&f).pool_payload, started); /* what was given back is not counted */
    CHECK(stats_of(&f).device_full > 0);
    uint64_t out = stats_of(&f).device_pages;
    CHECK(out > 5);
    check_oldest_are_out(out, 300);
    for (uint64_t i = 0; i < out; i++) { /* then those that are the oldest now */
        CHECK(zswap_invalidate(f.zswap, at(i)));
    }
    write_back_all(&f);
    uint64_t next = stats_of(&f).device_pages;
    CHECK(next > 5);
    for (uint64_t i = out; i < 300; i++) {
        CHECK_EQUAL(zswap_find(f.zswap, at(i)), i < out + next ? ZSWAP_ON_DEVICE : ZSWAP_IN_POOL);
    }
    fixture_destroy(&f);
}

/* No slot of the swap cache is free: the victim stays the oldest. */
TEST(full_swap_cache_leaves_the_order)
{
    begin((size_t)64 << 20, RAM_DEVICE_SYNC);
    store_range(&f, 0, 300);
    leave_slots(0);
    zswap_writeback(f.zswap, 1);
    CHECK_EQUAL(stats_of(&f).device_pages, 0);
    give_slots_back();
    zswap_writeback(f.zswap, 1);
    uint64_t out = stats_of(&f).device_pages;
    CHECK(out > 10 && out < 200);
    check_oldest_are_out(out, 300);
    fixture_destroy(&f);
}

int main(void)
{
    RUN(victims_are_those_of_a_naive_list);
    RUN(failed_write_leaves_the_oldest_the_oldest);
    RUN(nearly_full_device_leaves_the_order);
    RUN(full_swap_cache_leaves_the_order);
    return harness_finish();
}
