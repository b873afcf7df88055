/* SPDX-License-Identifier: MIT */
/* The cache: each verb, and each kind of page, by one thread. The limit and writeback: zswap_writeback.c. */
#include "base/sys.h"
#include "tests/unit/zswap_fixture.h"
#include "zswap/internal.h"

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES], other[PAGE_BYTES];

static void set_up(void)
{
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
}

/* ---- the verbs */

TEST(load_of_what_was_never_stored_says_not_here)
{
    set_up();
    CHECK_EQUAL(zswap_load(f.zswap, at(0), page), -ENOENT);
    CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(0), page), -ENOENT);
    CHECK_EQUAL(zswap_load(f.zswap, at(AREA_PAGES - 1), page), -ENOENT);
    CHECK_EQUAL(zswap_find(f.zswap, at(3)), ZSWAP_NOWHERE);
    CHECK(!zswap_invalidate(f.zswap, at(3)));
    fixture_destroy(&f);
}

TEST(load_returns_what_was_stored)
{
    set_up();
    uint64_t seed = 3;
    for (unsigned kind = 0; kind < PAGE_KINDS; kind++) {
        make_page(page, kind, &seed);
        CHECK_EQUAL(zswap_store(f.zswap, at(kind), page), 0);
        for (int i = 0; i < 2; i++) { /* the entry stays */
            memset(other, 0x5a, PAGE_BYTES);
            CHECK_EQUAL(zswap_load(f.zswap, at(kind), other), 0);
            CHECK(memcmp(page, other, PAGE_BYTES) == 0);
        }
        CHECK_EQUAL(zswap_find(f.zswap, at(kind)), ZSWAP_IN_POOL);
    }
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(entries_outside_the_area_are_refused)
{
    set_up();
    page_for(page, at(0), 0);
    const struct swap_entry bad[] = {
        {TYPE, AREA_PAGES}, {TYPE, UINT64_MAX}, {TYPE + 1, 0}, {ZSWAP_TYPES_MAX, 0}, {UINT32_MAX, 0}};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        CHECK_EQUAL(zswap_store(f.zswap, bad[i], page), -EINVAL);
        CHECK_EQUAL(zswap_load(f.zswap, bad[i], page), -EINVAL);
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, bad[i], page), -EINVAL);
        CHECK_EQUAL(zswap_find(f.zswap, bad[i]), ZSWAP_NOWHERE);
        CHECK(!zswap_invalidate(f.zswap, bad[i]));
        CHECK_EQUAL(zswap_invalidate_range(f.zswap, bad[i].type, bad[i].offset, 1), 0);
    }
    fixture_destroy(&f);
}

TEST(second_store_replaces_the_first)
{
    set_up();
    for (uint64_t version = 0; version < 5; version++) {
        CHECK_EQUAL(store_version(&f, at(9), version), 0);
        CHECK_LOADS(&f, at(9), version);
    }
    CHECK_EQUAL(stats_of(&f).duplicate_entry, 4);
    CHECK_EQUAL(stats_of(&f).stored_pages, 1);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(exclusive_load_gives_the_page_and_frees_it)
{
    set_up();
    store_range(&f, 1, 2);
    page_for(other, at(1), 0);
    CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(1), page), 0);
    CHECK(memcmp(page, other, PAGE_BYTES) == 0);
    CHECK_GONE(&f, at(1));
    CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(1), page), -ENOENT);
    CHECK_LOADS(&f, at(2), 0);
    CHECK_EQUAL(stats_of(&f).stored_pages, 1);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(load_at_once_does_not_wait_for_the_device)
{
    set_up();
    store_range(&f, 0, 1);
    CHECK_EQUAL(zswap_load_at_once(f.zswap, at(0), page), 0);
    write_back_all(&f);
    CHECK_EQUAL(zswap_load_at_once(f.zswap, at(0), page), -EAGAIN);
    CHECK_EQUAL(faulty_count(f.device, SWAP_READ), 0);
    CHECK_EQUAL(zswap_load_at_once(f.zswap, at(1), page), -ENOENT);
    CHECK_LOADS(&f, at(0), 0);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(invalidate_removes_one_entry)
{
    set_up();
    store_range(&f, 1, 3);
    CHECK(zswap_invalidate(f.zswap, at(2)));
    CHECK(!zswap_invalidate(f.zswap, at(2)));
    CHECK_GONE(&f, at(2));
    CHECK_LOADS(&f, at(1), 0);
    CHECK_LOADS(&f, at(3), 0);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(invalidate_range_removes_exactly_the_range)
{
    set_up();
    store_range(&f, 500, 100);
    CHECK_EQUAL(zswap_invalidate_range(f.zswap, TYPE, 510, 20), 20);
    CHECK_EQUAL(zswap_invalidate_range(f.zswap, TYPE, 510, 20), 0);
    for (uint64_t i = 500; i < 600; i++) {
        CHECK_EQUAL(zswap_find(f.zswap, at(i)), i >= 510 && i < 530 ? ZSWAP_NOWHERE : ZSWAP_IN_POOL);
    }
    CHECK_EQUAL(zswap_invalidate_range(f.zswap, TYPE, 590, UINT64_MAX), 10);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(invalidate_area_gives_all_memory_back)
{
    set_up();
    size_t before = account_total(&f.account);
    store_range(&f, 0, 2000);
    for (uint64_t i = 0; i < 500; i++) {
        same_page_of(page, i);
        CHECK_EQUAL(zswap_store(f.zswap, at(10000 + i), page), 0);
    }
    CHECK_EQUAL(zswap_invalidate_area(f.zswap, TYPE), 2500);
    zswap_trim(f.zswap);
    CHECK_EQUAL(stats_of(&f).stored_pages, 0);
    CHECK_EQUAL(stats_of(&f).pool_total_size, 0);
    CHECK_EQUAL(stats_of(&f).invalidates, 2500);
    /* What stays: the page of each bitmap, records of the pool, and fingerprints. */
    CHECK(account_total(&f.account) <= before + (f.options.deduplicate ? 64 : 32) * PAGE_BYTES);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(trim_gives_back_the_index_of_entries_that_left_one_by_one)
{
    set_up();
    const struct area *area = f.zswap->areas[TYPE];
    store_range(&f, 0, 2000);
    for (uint64_t i = 0; i < 1000; i++) {
        CHECK(zswap_invalidate(f.zswap, at(i)));
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(1000 + i), page), 0);
    }
    CHECK_EQUAL(sparse_next_committed(&area->words, 0), 0);
    size_t before = account_total(&f.account), won = zswap_trim(f.zswap);
    CHECK(won >= 8 * PAGE_BYTES); /* 4 pages of words, and as many of links */
    CHECK(account_total(&f.account) + won <= before);
    CHECK_EQUAL(sparse_next_committed(&area->words, 0), AREA_PAGES);
    CHECK_EQUAL(sparse_next_committed(&area->links, 0), AREA_PAGES);
    CHECK(zswap_consistent(f.zswap));
    store_range(&f, 0, 10);
    CHECK_LOADS(&f, at(9), 0);
    fixture_destroy(&f);
}

TEST(two_areas_do_not_meet)
{
    set_up();
    const struct swap_entry mine = {TYPE, 5}, theirs = {ZSWAP_TYPES_MAX - 1, 5};
    REQUIRE(zswap_area_create(f.zswap, theirs.type, 100) == 0);
    CHECK_EQUAL(zswap_area_create(f.zswap, theirs.type, 100), -EINVAL);
    CHECK_EQUAL(zswap_area_create(f.zswap, ZSWAP_TYPES_MAX, 100), -EINVAL);
    CHECK_EQUAL(zswap_area_create(f.zswap, 2, 0), -EINVAL);
    CHECK_EQUAL(store_version(&f, mine, 1), 0);
    CHECK_EQUAL(store_version(&f, theirs, 2), 0);
    CHECK_LOADS(&f, mine, 1);
    CHECK_LOADS(&f, theirs, 2);
    write_back_all(&f);
    CHECK_LOADS(&f, mine, 1);
    CHECK_LOADS(&f, theirs, 2);
    CHECK_EQUAL(zswap_invalidate_area(f.zswap, mine.type), 1);
    CHECK_GONE(&f, mine);
    CHECK_LOADS(&f, theirs, 2);
    CHECK(zswap_consistent(f.zswap));
    zswap_area_destroy(f.zswap, theirs.type);
    zswap_area_destroy(f.zswap, theirs.type); /* nothing there: nothing done */
    CHECK_EQUAL(zswap_load(f.zswap, theirs, page), -EINVAL);
    REQUIRE(zswap_area_create(f.zswap, theirs.type, 100) == 0);
    CHECK_GONE(&f, theirs);
    CHECK_EQUAL(zswap_invalidate_area(f.zswap, 7), 0);
    fixture_destroy(&f);
}

TEST(options_that_make_no_sense_are_refused)
{
    fixture_prepare(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    for (int i = 0; i < 6; i++) {
        struct zswap_options options = f.options;
        options.memory = i == 0 ? NULL : options.memory;
        options.pool = i == 1 ? NULL : options.pool;
        options.codec.ops = i == 2 ? NULL : options.codec.ops;
        options.max_pool_bytes = i == 3 ? 0 : options.max_pool_bytes;
        options.accept_threshold_percent = i == 4 ? 0 : i == 5 ? 101 : 90;
        CHECK_EQUAL(zswap_create(&f.zswap, &options), -EINVAL);
    }
    fixture_end(&f);
}

TEST(no_limit_is_a_limit_too)
{
#ifdef SYS_THREAD_SANITIZER
    SKIP("a sanitizer leaves too few addresses");
#endif
    fixture_prepare(&f, SIZE_MAX, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    store_range(&f, 0, 50);
    CHECK_EQUAL(stats_of(&f).pool_limit_hit, 0);
    fixture_destroy(&f);
}

/* ---- same-filled and incompressible pages */

TEST(same_filled_pages_of_every_encoding_come_back)
{
    /* 61 bits with sign, 32 bits twice, and what fits neither and is an object of 8 bytes. */
    const uint64_t values[] = {0,
                               1,
                               UINT64_MAX,
                               0x0fffffffffffffff,
                               1ull << 60,
                               1ull << 63,
                               0x4141414141414141,
                               0x123456789abcdef0,
                               0xdeadbeefdeadbeef};
    set_up();
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        same_page_of(page, values[i]);
        CHECK_EQUAL(zswap_store(f.zswap, at(i), page), 0);
    }
    CHECK_EQUAL(stats_of(&f).stored_pages, ARRAY_LENGTH(values));
    CHECK_EQUAL(stats_of(&f).same_filled_pages, ARRAY_LENGTH(values) - 3);
    CHECK_EQUAL(stats_of(&f).pool_payload, 3 * 8);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
            same_page_of(page, values[i]);
            CHECK_EQUAL(zswap_load(f.zswap, at(i), other), 0);
            CHECK(memcmp(page, other, PAGE_BYTES) == 0);
        }
        CHECK(zswap_consistent(f.zswap));
        write_back_all(&f); /* and the objects again from the device */
    }
    CHECK_EQUAL(stats_of(&f).device_pages, 3);
    CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(0), page), 0);
    CHECK_GONE(&f, at(0));
    CHECK(zswap_invalidate(f.zswap, at(1)));
    fixture_destroy(&f);
}

TEST(same_filled_and_other_pages_replace_each_other)
{
    set_up();
    for (int round = 0; round < 3; round++) {
        CHECK_EQUAL(store_version(&f, at(4), (uint64_t)round), 0);
        CHECK_LOADS(&f, at(4), (uint64_t)round);
        CHECK(zswap_consistent(f.zswap));
        same_page_of(page, (uint64_t)round);
        CHECK_EQUAL(zswap_store(f.zswap, at(4), page), 0);
        CHECK_EQUAL(zswap_load(f.zswap, at(4), other), 0);
        CHECK(memcmp(page, other, PAGE_BYTES) == 0);
        CHECK(zswap_consistent(f.zswap));
    }
    fixture_destroy(&f);
}

TEST(incompressible_pages_are_kept_raw)
{
    set_up();
    for (uint64_t i = 0; i < 10; i++) {
        incompressible_page_for(page, at(i), 0);
        CHECK_EQUAL(zswap_store(f.zswap, at(i), page), 0);
    }
    CHECK_EQUAL(stats_of(&f).stored_incompressible_pages, 10);
    CHECK_EQUAL(stats_of(&f).reject_compress_poor, 10);
    CHECK_EQUAL(stats_of(&f).pool_payload, 10 * PAGE_BYTES);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 10; i++) {
            incompressible_page_for(page, at(i), 0);
            CHECK_EQUAL(zswap_load(f.zswap, at(i), other), 0);
            CHECK(memcmp(page, other, PAGE_BYTES) == 0);
        }
        write_back_all(&f);
    }
    CHECK_EQUAL(stats_of(&f).device_pages, 10);
    CHECK_EQUAL(stats_of(&f).device_bytes, 10 * 9 * SLOT_BYTES);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

/* ---- codec */

TEST(codec_changes_at_run_time_and_old_pages_stay_readable)
{
    const char *const codecs[] = {"lz4", "zstd:1", "lz4hc:5", "deflate", "zstd:3"};
    set_up();
    for (uint64_t i = 0; i < ARRAY_LENGTH(codecs); i++) {
        struct codec codec;
        REQUIRE(codec_parse(codecs[i], &codec) == 0);
        zswap_set_codec(f.zswap, &codec);
        store_range(&f, i * 100, 10);
    }
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < ARRAY_LENGTH(codecs) * 10; i++) {
            CHECK_LOADS(&f, at(i / 10 * 100 + i % 10), 0);
        }
        write_back_all(&f);
    }
    CHECK(stats_of(&f).device_pages == ARRAY_LENGTH(codecs) * 10);
    fixture_destroy(&f);
}

/* ---- counters */

static unsigned asked_for;

static void count_asked(struct pool *pool, uint64_t handle, size_t bytes)
{
    (void)pool, (void)handle, (void)bytes;
    asked_for++;
}

/* Loads of `n` entries, `step` apart, from the first on: how many objects they ask for. */
static unsigned asked_by_loads(struct fixture *f, uint64_t n, uint64_t step)
{
    asked_for = 0;
    for (uint64_t i = 0; i < n; i++) {
        CHECK_LOADS(f, at(i * step), 0);
    }
    return asked_for;
}

TEST(loads_in_order_ask_for_the_next_object_too)
{
    struct fixture f;
    fixture_init(&f, 16 << 20, ZSWAP_WRITEBACK_OFF, RAM_DEVICE_SYNC);
    struct pool_ops ops = *f.zswap->pool->ops;
    ops.prepare_read = count_asked;
    f.zswap->pool->ops = &ops;
    store_range(&f, 0, 40);
    CHECK_EQUAL(asked_by_loads(&f, 20, 2), 20);
    CHECK_EQUAL(asked_by_loads(&f, 40, 1),
                40 + 38); /* the first follows none, the last is followed by none */
    zswap_invalidate(f.zswap, at(20));
    CHECK_EQUAL(asked_by_loads(&f, 20, 1), 20 + 18);
    fixture_destroy(&f);
}

TEST(counters_count)
{
    set_up();
    store_range(&f, 0, 3);
    CHECK_EQUAL(store_version(&f, at(0), 1), 0);
    CHECK_LOADS(&f, at(0), 1);
    CHECK_LOADS(&f, at(0), 1);
    zswap_invalidate(f.zswap, at(1));
    write_back_all(&f);
    CHECK_LOADS(&f, at(2), 0);
    struct zswap_stats stats = stats_of(&f);
    CHECK_EQUAL(stats.stores, 4);
    CHECK_EQUAL(stats.duplicate_entry, 1);
    CHECK_EQUAL(stats.loads, 3);
    CHECK_EQUAL(stats.device_loads, 1);
    CHECK_EQUAL(stats.invalidates, 1);
    CHECK_EQUAL(stats.stored_pages, 0);
    CHECK_EQUAL(stats.device_pages, 2);
    CHECK_EQUAL(stats.written_back_pages, 2);
    CHECK_EQUAL(stats.written_back_bytes, stats.device_bytes);
    CHECK_EQUAL(stats.pool_payload, 0);
    CHECK_EQUAL(stats.decompress_fail, 0);
    fixture_destroy(&f);
}

int main(void)
{
    RUN(load_of_what_was_never_stored_says_not_here);
    RUN(load_returns_what_was_stored);
    RUN(entries_outside_the_area_are_refused);
    RUN(second_store_replaces_the_first);
    RUN(exclusive_load_gives_the_page_and_frees_it);
    RUN(load_at_once_does_not_wait_for_the_device);
    RUN(invalidate_removes_one_entry);
    RUN(invalidate_range_removes_exactly_the_range);
    RUN(invalidate_area_gives_all_memory_back);
    RUN(trim_gives_back_the_index_of_entries_that_left_one_by_one);
    RUN(two_areas_do_not_meet);
    RUN(options_that_make_no_sense_are_refused);
    RUN(no_limit_is_a_limit_too);
    RUN(same_filled_pages_of_every_encoding_come_back);
    RUN(same_filled_and_other_pages_replace_each_other);
    RUN(incompressible_pages_are_kept_raw);
    RUN(codec_changes_at_run_time_and_old_pages_stay_readable);
    RUN(loads_in_order_ask_for_the_next_object_too);
    RUN(counters_count);
    return harness_finish();
}
