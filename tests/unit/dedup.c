/* SPDX-License-Identifier: MIT */
/* Deduplication: equal pages share one object, and nobody can tell but by what it saves. */
#include <unistd.h>

#include "tests/unit/zswap_fixture.h"
#include "zswap/dedup.h"
#include "zswap/same_filled.h"

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES], loaded[PAGE_BYTES];

static void set_up_with(size_t limit, enum zswap_writeback mode, const struct pool_ops *pool)
{
    fixture_prepare(&f, limit, mode, RAM_DEVICE_ASYNC);
    f.options.deduplicate = true;
    f.options.pool = pool;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
}

static void set_up(void)
{
    set_up_with(ROOMY, ZSWAP_WRITEBACK_COMPRESSED, test_pool());
}

/* Equal pages for equal contents; every fourth does not shrink. */
static void make_content(void *to, uint64_t content)
{
    (content % 4 == 3 ? incompressible_page_for : page_for)(to, at(0), content);
}

static int store(uint64_t offset, uint64_t content)
{
    make_content(page, content);
    return zswap_store(f.zswap, at(offset), page);
}

static void store_alike(uint64_t first, uint64_t n, uint64_t content)
{
    for (uint64_t i = first; i < first + n; i++) {
        CHECK_EQUAL(store(i, content), 0);
    }
}

#define CHECK_HOLDS(offset, content) CHECK(holds(offset, content))
static bool holds(uint64_t offset, uint64_t content)
{
    make_content(page, content);
    return !zswap_load(f.zswap, at(offset), loaded) && !memcmp(page, loaded, PAGE_BYTES);
}

static void check_sharing(uint64_t pages, uint64_t objects)
{
    struct zswap_stats stats = stats_of(&f);
    CHECK_EQUAL(stats.deduplicated_pages, pages);
    CHECK_EQUAL(stats.shared_objects, objects);
    CHECK(zswap_consistent(f.zswap));
}

TEST(first_copy_is_an_object_of_its_own)
{
    set_up();
    store_alike(0, 1, 0);
    check_sharing(0, 0);
    CHECK_HOLDS(0, 0);
    fixture_destroy(&f);
}

TEST(second_copy_shares_with_the_first)
{
    set_up();
    store_alike(0, 1, 0);
    struct zswap_stats one = stats_of(&f);
    store_alike(1, 1, 0);
    check_sharing(2, 1);
    CHECK_EQUAL(stats_of(&f).pool_payload, one.pool_payload);
    CHECK_EQUAL(stats_of(&f).stored_pages, 2);
    CHECK_HOLDS(0, 0);
    CHECK_HOLDS(1, 0);
    fixture_destroy(&f);
}

TEST(many_copies_share_one_object)
{
    set_up();
    store_alike(0, 1000, 0);
    store_alike(1000, 1000, 3); /* does not shrink */
    check_sharing(2000, 2);
    struct zswap_stats stats = stats_of(&f);
    CHECK_EQUAL(stats.stored_incompressible_pages, 1);
    CHECK(stats.pool_payload < 2 * PAGE_BYTES);
    /* Net of 4 bytes a reference and 16 a shared object. */
    CHECK_EQUAL(stats.deduplicated_bytes, 999 * stats.pool_payload - 2000 * 4 - 2 * 16);
    for (uint64_t i = 0; i < 2000; i += 99) {
        CHECK_HOLDS(i, i < 1000 ? 0 : 3);
    }
    fixture_destroy(&f);
}

TEST(same_filled_pages_share_nothing)
{
    set_up();
    for (uint64_t i = 0; i < 20; i++) {
        const uint64_t values[] = {0, 0x123456789abcdef0}; /* the second takes an object of 8 bytes */
        same_filled_expand(page, values[i % 2]);
        CHECK_EQUAL(zswap_store(f.zswap, at(i), page), 0);
    }
    check_sharing(0, 0);
    fixture_destroy(&f);
}

TEST(storing_the_same_page_again_makes_nothing_shared)
{
    set_up();
    for (int i = 0; i < 5; i++) {
        store_alike(0, 1, 0);
    }
    check_sharing(0, 0);
    fixture_destroy(&f);
}

TEST(a_reference_stored_over_by_its_own_page)
{
    set_up();
    store_alike(0, 2, 0);
    for (int i = 0; i < 5; i++) {
        store_alike(0, 2, 0);
    }
    check_sharing(2, 1);
    fixture_destroy(&f);
}

TEST(the_last_to_go_frees_the_object)
{
    set_up();
    store_alike(0, 3, 0);
    CHECK(zswap_invalidate(f.zswap, at(1)));
    check_sharing(2, 1);
    store_alike(0, 1, 1);
    check_sharing(1, 1);
    CHECK_HOLDS(2, 0);
    CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(2), loaded), 0);
    make_content(page, 0);
    CHECK(!memcmp(page, loaded, PAGE_BYTES));
    check_sharing(0, 0);
    CHECK_EQUAL(stats_of(&f).deduplicated_bytes, 0);
    CHECK_HOLDS(0, 1);
    fixture_destroy(&f);
}

TEST(who_comes_after_the_last_has_gone_begins_anew)
{
    set_up();
    store_alike(0, 2, 0);
    zswap_invalidate_area(f.zswap, TYPE);
    check_sharing(0, 0);
    store_alike(5, 1, 0);
    check_sharing(0, 0);
    store_alike(6, 1, 0);
    check_sharing(2, 1);
    fixture_destroy(&f);
}

TEST(entries_of_two_areas_share)
{
    set_up();
    REQUIRE(zswap_area_create(f.zswap, 2, 10) == 0);
    store_alike(0, 1, 0);
    make_content(page, 0);
    CHECK_EQUAL(zswap_store(f.zswap, (struct swap_entry){2, 3}, page), 0);
    check_sharing(2, 1);
    zswap_area_destroy(f.zswap, TYPE);
    CHECK_EQUAL(zswap_load(f.zswap, (struct swap_entry){2, 3}, loaded), 0);
    CHECK(!memcmp(page, loaded, PAGE_BYTES));
    check_sharing(1, 1);
    /* Whoever was noted in the area that is gone is not looked for. */
    zswap_area_destroy(f.zswap, 2);
    REQUIRE(zswap_area_create(f.zswap, TYPE, 10) == 0);
    store_alike(0, 2, 0);
    check_sharing(2, 1);
    fixture_destroy(&f);
}

TEST(a_hash_that_lies_is_found_out)
{
    set_up();
    make_content(page, 0);
    uint64_t hash = dedup_hash(page), word;
    store_alike(0, 1, 1); /* another page, noted under that hash */
    dedup_note(f.zswap, at(0), hash);
    make_content(page, 0);
    CHECK(!dedup_store(f.zswap, at(1), page, hash, &word));
    CHECK_EQUAL(stats_of(&f).dedup_collisions, 1);
    store_alike(1, 2, 2); /* a shared one */
    fingerprints_note(&f.zswap->dedup->fingerprints, hash,
                      entry_pack((struct swap_entry){ZSWAP_TYPES_MAX, 1}));
    make_content(page, 0);
    CHECK(!dedup_store(f.zswap, at(3), page, hash, &word));
    CHECK_EQUAL(stats_of(&f).dedup_collisions, 2);
    /* a shared one that never was, an entry that is empty, one beyond its area, one of no area */
    const struct swap_entry nobody[] = {
        {ZSWAP_TYPES_MAX, 2}, {ZSWAP_TYPES_MAX, 1 << 20}, {TYPE, 9}, {TYPE, UINT32_MAX}, {TYPE + 1, 0}};
    for (size_t i = 0; i < ARRAY_LENGTH(nobody); i++) {
        dedup_note(f.zswap, nobody[i], hash);
        CHECK(!dedup_store(f.zswap, at(3), page, hash, &word));
    }
    check_sharing(2, 1);
    fixture_destroy(&f);
}

TEST(a_page_on_the_device_is_not_shared_with)
{
    set_up();
    store_alike(0, 1, 0);
    write_back_all(&f);
    store_alike(1, 1, 0);
    check_sharing(0, 0);
    CHECK_HOLDS(0, 0);
    fixture_destroy(&f);
}

/* ---- writeback */

static void check_writeback(enum zswap_writeback mode)
{
    set_up_with(ROOMY, mode, test_pool());
    for (uint64_t i = 0; i < 200; i++) {
        CHECK_EQUAL(store(i, i % 5), 0);
    }
    check_sharing(200, 5);
    write_back_all(&f);
    check_sharing(0, 0);
    CHECK_EQUAL(stats_of(&f).device_pages, 200);
    CHECK_EQUAL(stats_of(&f).pool_payload, 0);
    for (uint64_t i = 0; i < 200; i++) {
        CHECK_HOLDS(i, i % 5);
    }
    fixture_destroy(&f);
}

TEST(each_gets_its_own_copy_on_the_device)
{
    check_writeback(ZSWAP_WRITEBACK_COMPRESSED);
}

TEST(each_gets_its_own_page_on_the_device)
{
    check_writeback(ZSWAP_WRITEBACK_PAGE);
}

TEST(references_leave_after_others_of_their_age)
{
    set_up();
    for (uint64_t i = 0; i < 40; i++) {
        CHECK_EQUAL(store(i, i % 2 ? 0 : 100 + 4 * i), 0);
    }
    check_sharing(20, 1);
    CHECK(zswap_writeback(f.zswap, 1) > 0);
    zswap_writeback_reap(f.zswap, true);
    struct zswap_stats stats = stats_of(&f);
    CHECK(stats.device_pages >= 20);
    for (uint64_t i = 0; i < 40; i += 2) {
        CHECK_EQUAL(zswap_find(f.zswap, at(i)), ZSWAP_ON_DEVICE);
    }
    fixture_destroy(&f);
}

TEST(a_write_that_fails_leaves_references_where_they_are)
{
    set_up();
    store_alike(0, 10, 0);
    faulty_fail_nth(f.device, SWAP_WRITE, 1, -EIO);
    CHECK(zswap_writeback(f.zswap, 1) > 0);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(stats_of(&f).device_write_fail, 1);
    check_sharing(10, 1);
    CHECK_HOLDS(9, 0);
    fixture_destroy(&f);
}

TEST(what_is_being_written_back_is_not_shared_with)
{
    set_up();
    store_alike(0, 1, 0);
    faulty_hold(f.device, SWAP_WRITE, true);
    CHECK(zswap_writeback(f.zswap, 1) > 0);
    store_alike(1, 1, 0);
    CHECK_EQUAL(stats_of(&f).deduplicated_pages, 0);
    store_alike(2, 1, 0);
    CHECK_EQUAL(stats_of(&f).deduplicated_pages, 2);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    check_sharing(2, 1);
    CHECK_EQUAL(stats_of(&f).device_pages, 1);
    fixture_destroy(&f);
}

TEST(references_removed_while_they_are_written)
{
    set_up();
    store_alike(0, 10, 0);
    faulty_hold(f.device, SWAP_WRITE, true);
    CHECK(zswap_writeback(f.zswap, SIZE_MAX) > 0);
    zswap_invalidate_range(f.zswap, TYPE, 0, 5);
    store_alike(5, 3, 1);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    check_sharing(3, 1);
    CHECK_EQUAL(stats_of(&f).device_pages, 2);
    CHECK_HOLDS(9, 0);
    CHECK_HOLDS(7, 1);
    fixture_destroy(&f);
}

TEST(at_the_limit_a_copy_finds_room)
{
    uint64_t n = 0;
    set_up_with(512 << 10, ZSWAP_WRITEBACK_OFF, test_pool());
    while (!store(n, 4 * n)) {
        n++;
    }
    CHECK_EQUAL(store(n, 4 * n), -ENOSPC);
    store_alike(n, 1000, 4 * (n - 1));
    check_sharing(1001, 1);
    fixture_destroy(&f);
}

/* ---- compaction */

TEST(shared_objects_move)
{
    set_up_with(ROOMY, ZSWAP_WRITEBACK_COMPRESSED, &pool_zsmalloc);
    for (uint64_t i = 0; i < 4000; i++) {
        CHECK_EQUAL(store(i, i / 2), 0);
    }
    check_sharing(4000, 2000);
    for (uint64_t i = 0; i < 4000; i++) {
        CHECK(i % 16 < 2 || zswap_invalidate(f.zswap, at(i)));
    }
    struct zswap_stats before = stats_of(&f);
    while (zswap_trim(f.zswap)) {
    }
    struct zswap_stats after = stats_of(&f);
    CHECK(after.pool_total_size < before.pool_total_size / 2);
    CHECK_EQUAL(after.pool_payload, before.pool_payload);
    check_sharing(500, 250);
    for (uint64_t i = 0; i < 4000; i += 16) {
        CHECK_HOLDS(i, i / 2);
        CHECK_HOLDS(i + 1, i / 2);
    }
    fixture_destroy(&f);
}

/* ---- when there is too little of something */

TEST(without_memory_a_store_is_an_ordinary_one)
{
    bool shared = false;
    for (int n = 1; !shared; n++) {
        REQUIRE(n < 50);
        set_up();
        store_alike(0, 1, 0);
        f.memory.fail_countdown = n;
        int error = store(1, 0);
        shared = f.memory.fail_countdown > 0;
        f.memory.fail_countdown = 0;
        CHECK(!error || error == -ENOMEM); /* the pool's, of the object that is not shared */
        CHECK_HOLDS(0, 0);
        CHECK(error ? is_gone(&f, at(1)) : holds(1, 0));
        CHECK(zswap_consistent(f.zswap));
        store_alike(2, 10, 0);
        CHECK(stats_of(&f).deduplicated_pages >= 10);
        CHECK(zswap_consistent(f.zswap));
        fixture_destroy(&f);
    }
}

TEST(without_memory_no_cache_is_made)
{
    int error = -ENOMEM;
    fixture_prepare(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    f.options.deduplicate = true;
    for (int n = 1; error == -ENOMEM && n < 100; n++) {
        f.memory.fail_countdown = n;
        error = zswap_create(&f.zswap, &f.options);
        f.memory.fail_countdown = 0;
    }
    CHECK_EQUAL(error, 0);
    zswap_destroy(f.zswap);
    fixture_end(&f);
}

TEST(without_numbers_a_store_is_an_ordinary_one)
{
    set_up();
    struct shared_tables *t = &f.zswap->dedup->tables;
    t->shared.most = 1;
    t->references.most = 3;
    store_alike(0, 4, 0);
    check_sharing(3, 1);
    store_alike(10, 2, 1);
    check_sharing(3, 1);
    zswap_invalidate_range(f.zswap, TYPE, 0, 3);
    CHECK_HOLDS(3, 0);
    check_sharing(0, 0);
    store_alike(20, 2, 2);
    check_sharing(2, 1);
    t->references.most = 1; /* one is left over for the first of two */
    store_alike(30, 2, 4);
    check_sharing(2, 1);
    CHECK_HOLDS(31, 4);
    fixture_destroy(&f);
}

TEST(one_reference_for_two)
{
    set_up();
    f.zswap->dedup->tables.references.most = 1;
    store_alike(0, 2, 0);
    CHECK_HOLDS(0, 0);
    CHECK_HOLDS(1, 0);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(a_shared_object_that_as_many_read_as_can_is_not_waited_for)
{
    set_up();
    store_alike(0, 2, 0);
    struct shared *shared = shared_at(&f.zswap->dedup->tables, 1);
    uint64_t held[ENTRY_HOLDERS_MAX];
    for (size_t i = 0; i < ENTRY_HOLDERS_MAX; i++) {
        held[i] = lifecycle_try_hold(&shared->word, false);
        REQUIRE(entry_is_object(held[i]));
    }
    CHECK_EQUAL(zswap_load_at_once(f.zswap, at(0), loaded), -EAGAIN);
    store_alike(2, 1, 0); /* for itself */
    CHECK_HOLDS(2, 0);
    for (size_t i = 0; i < ENTRY_HOLDERS_MAX; i++) {
        lifecycle_unhold(&f.zswap->lifecycle, &shared->word, held[i]);
    }
    CHECK_EQUAL(zswap_load_at_once(f.zswap, at(0), loaded), 0);
    check_sharing(2, 1);
    fixture_destroy(&f);
}

/* ---- the checker */

static bool consistent_quietly(void)
{
    int saved = dup(2);
    REQUIRE(freopen("/dev/null", "w", stderr) != NULL);
    bool good = zswap_consistent(f.zswap);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    return good;
}

TEST(the_checker_sees_what_is_wrong)
{
    set_up();
    store_alike(0, 3, 0);
    store_alike(3, 3, 1);
    zswap_invalidate(f.zswap, at(2));
    struct shared_tables *t = &f.zswap->dedup->tables;
    struct shared *first = shared_at(t, 1);
    uint32_t *reference = (uint32_t *)t->references.slots.slots + 1;
    CHECK(consistent_quietly());
    first->count++;
    CHECK(!consistent_quietly());
    first->count--;
    (*reference)++; /* refers to the other */
    CHECK(!consistent_quietly());
    (*reference)--;
    first->word += ENTRY_HOLDERS_ONE;
    CHECK(!consistent_quietly());
    first->word -= ENTRY_HOLDERS_ONE;
    t->references.live++;
    CHECK(!consistent_quietly());
    t->references.live--;
    t->shared.live++;
    CHECK(!consistent_quietly());
    t->shared.live--;
    counter_add(f.zswap, COUNTER_NOT_STORED, 1);
    CHECK(!consistent_quietly());
    counter_add(f.zswap, COUNTER_NOT_STORED, -1);
    counter_add(f.zswap, COUNTER_DEDUPLICATED, 1);
    CHECK(!consistent_quietly());
    counter_add(f.zswap, COUNTER_DEDUPLICATED, -1);
    CHECK(consistent_quietly());
    fixture_destroy(&f);
}

int main(void)
{
    RUN(first_copy_is_an_object_of_its_own);
    RUN(second_copy_shares_with_the_first);
    RUN(many_copies_share_one_object);
    RUN(same_filled_pages_share_nothing);
    RUN(storing_the_same_page_again_makes_nothing_shared);
    RUN(a_reference_stored_over_by_its_own_page);
    RUN(the_last_to_go_frees_the_object);
    RUN(who_comes_after_the_last_has_gone_begins_anew);
    RUN(entries_of_two_areas_share);
    RUN(a_hash_that_lies_is_found_out);
    RUN(a_page_on_the_device_is_not_shared_with);
    RUN(each_gets_its_own_copy_on_the_device);
    RUN(each_gets_its_own_page_on_the_device);
    RUN(references_leave_after_others_of_their_age);
    RUN(a_write_that_fails_leaves_references_where_they_are);
    RUN(what_is_being_written_back_is_not_shared_with);
    RUN(references_removed_while_they_are_written);
    RUN(at_the_limit_a_copy_finds_room);
    RUN(shared_objects_move);
    RUN(without_memory_a_store_is_an_ordinary_one);
    RUN(without_memory_no_cache_is_made);
    RUN(without_numbers_a_store_is_an_ordinary_one);
    RUN(one_reference_for_two);
    RUN(a_shared_object_that_as_many_read_as_can_is_not_waited_for);
    RUN(the_checker_sees_what_is_wrong);
    return harness_finish();
}
