/* SPDX-License-Identifier: MIT */
/* zsmalloc, by one thread: what alloc and free do, one behaviour after the other. */
#include "tests/unit/zsmalloc_fixture.h"

#define SIZE 1500
#define ROOM (64 << 20)

static struct fixture f; /* large */

TEST(an_empty_pool_holds_no_memory)
{
    set_up(&f, ROOM);
    CHECK_EQUAL(pages_held(&f), 0);
    CHECK_EQUAL(pool_zsmalloc.trim(f.pool), 0);
    CHECK_EQUAL(compact(&f, SIZE_MAX), 0);
    tear_down(&f);
}

TEST(a_chain_holds_memory_only_as_far_as_it_is_reached)
{
    set_up(&f, ROOM);
    const struct zs_shape *shape = shape_of(&f, SIZE);
    for (uint64_t i = 0; i < shape->slots; i++) {
        put(&f, i, SIZE);
        CHECK_EQUAL(pages_held(&f), zs_pages_for(shape, (unsigned)i + 1));
    }
    CHECK_EQUAL(pages_held(&f), shape->pages);
    put(&f, shape->slots, SIZE);
    CHECK(chain_of(&f, shape->slots) != chain_of(&f, 0));
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(objects_are_contiguous_across_pages_and_do_not_overlap)
{
    set_up(&f, ROOM);
    for (uint64_t i = 0; i < 1000; i++) {
        put(&f, i, 1 + i * 4);
    }
    CHECK(all_whole(&f));
    CHECK(pool_zsmalloc.consistent(f.pool));
    tear_down(&f);
}

TEST(addresses_are_aligned_to_units)
{
    set_up(&f, ROOM);
    for (uint64_t i = 0; i < 300; i++) {
        CHECK_EQUAL((uintptr_t)map(&f, put(&f, i, 1 + i * 13)) % ZS_UNIT_BYTES, 0);
    }
    tear_down(&f);
}

TEST(sizes_of_one_class_share_a_chain)
{
    set_up(&f, ROOM);
    put(&f, 0, 33);
    put(&f, 1, 48);
    put(&f, 2, 49);
    CHECK_EQUAL(chain_of(&f, 0), chain_of(&f, 1));
    CHECK(chain_of(&f, 0) != chain_of(&f, 2));
    tear_down(&f);
}

TEST(raw_pages_take_a_page_each)
{
    set_up(&f, ROOM);
    for (uint64_t i = 0; i < 30; i++) {
        put(&f, i, PAGE_BYTES);
        CHECK_EQUAL(pages_held(&f), i + 1);
        CHECK_EQUAL((uintptr_t)map(&f, f.objects[i].handle) % PAGE_BYTES, 0);
    }
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(a_freed_slot_is_used_before_one_that_was_never_reached)
{
    set_up(&f, ROOM);
    put_range(&f, 0, 5, SIZE);
    uint64_t freed = f.objects[2].handle;
    drop(&f, 2);
    CHECK_EQUAL(put(&f, 9, SIZE), freed);
    CHECK(all_whole(&f));
    tear_down(&f);
}

static void hint(uint64_t handle, size_t bytes)
{
    pool_zsmalloc.prepare_read(f.pool, handle, bytes);
    pool_zsmalloc.prepare_free(f.pool, handle, bytes, true);
}

TEST(hints_change_nothing)
{
    static const size_t sizes[] = {1, 16, 700, SIZE, 4000, PAGE_BYTES};
    set_up(&f, ROOM);
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        put(&f, i, sizes[i]);
        put(&f, 100 + i, sizes[i]);
        uint64_t gone = f.objects[100 + i].handle;
        drop(&f, 100 + i);
        hint(gone, sizes[i]);
        hint(f.objects[i].handle, sizes[i]);
        /* A handle that names something else by now. */
        hint(f.objects[i].handle, sizes[ARRAY_LENGTH(sizes) - 1 - i]);
    }
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(hints_bear_dead_handles)
{
    set_up(&f, ROOM);
    put_range(&f, 0, 30, SIZE);
    put(&f, 30, PAGE_BYTES);
    uint64_t dead = f.objects[3].handle, gone = f.objects[30].handle;
    for (int i = 0; i < 3; i++) {
        hint(dead, SIZE);
        hint(gone, PAGE_BYTES);
        CHECK(all_whole(&f));
        CHECK(pool_zsmalloc.consistent(f.pool));
        if (i == 0) {
            drop_range(&f, 0, 31);
        } else if (i == 1) {
            pool_zsmalloc.trim(f.pool);
        }
    }
    tear_down(&f);
}

TEST(alloc_prefers_the_fullest_chain)
{
    set_up(&f, ROOM);
    unsigned slots = shape_of(&f, SIZE)->slots;
    put_range(&f, 0, 3 * slots, SIZE);
    drop_range(&f, 0, slots - 2);         /* 2 left */
    drop_range(&f, slots, 2);             /* 2 missing */
    drop_range(&f, 2 * slots, slots / 2); /* half */
    uint32_t sparse = chain_of(&f, slots - 1), full = chain_of(&f, slots + 2),
             half = chain_of(&f, 3 * slots - 1);
    put_range(&f, 0, 2, SIZE);
    CHECK(chain_of(&f, 0) == full && chain_of(&f, 1) == full);
    put_range(&f, 2, slots / 2, SIZE);
    CHECK(chain_of(&f, 2) == half && chain_of(&f, slots / 2 + 1) == half);
    put(&f, slots / 2 + 2, SIZE);
    CHECK_EQUAL(chain_of(&f, slots / 2 + 2), sparse);
    CHECK_EQUAL(pages_held(&f), 3 * shape_of(&f, SIZE)->pages);
    tear_down(&f);
}

TEST(an_empty_chain_stays_in_reserve_and_serves_any_class)
{
    set_up(&f, ROOM);
    put_range(&f, 0, 30, SIZE);
    uint32_t chain = chain_of(&f, 0);
    size_t held = pages_held(&f);
    drop_range(&f, 0, 30);
    CHECK_EQUAL(pages_held(&f), held);
    put(&f, 0, 2000);
    CHECK_EQUAL(chain_of(&f, 0), chain);
    CHECK_EQUAL(pages_held(&f), shape_of(&f, 2000)->pages);
    tear_down(&f);
}

TEST(a_chain_from_reserve_keeps_no_more_than_its_new_class_uses)
{
    set_up(&f, ROOM);
    size_t longest = 0, shortest = 0;
    for (size_t bytes = ZS_SMALL_BYTES + 16; bytes <= PAGE_BYTES;
         bytes += 16) { /* small ones have chains of their own */
        longest = !longest || shape_of(&f, bytes)->pages > shape_of(&f, longest)->pages ? bytes : longest;
        shortest = !shortest || shape_of(&f, bytes)->pages < shape_of(&f, shortest)->pages ? bytes : shortest;
    }
    unsigned slots = shape_of(&f, longest)->slots;
    put_range(&f, 0, slots, longest);
    drop_range(&f, 0, slots);
    CHECK_EQUAL(pages_held(&f), shape_of(&f, longest)->pages);
    put(&f, 0, shortest);
    CHECK_EQUAL(pages_held(&f), shape_of(&f, shortest)->pages);
    tear_down(&f);
}

TEST(sizes_that_are_none_are_refused)
{
    set_up(&f, ROOM);
    pool_check_sizes_refused(f.pool);
    CHECK_EQUAL(pages_held(&f), 0);
    tear_down(&f);
}

TEST(create_refuses_sizes_it_cannot_number)
{
    pool_check_create_refuses(&pool_zsmalloc, 0);
    pool_check_create_refuses(&pool_zsmalloc, SIZE_MAX);
    pool_check_create_refuses(&pool_zsmalloc, (size_t)5 << 40);
}

TEST(handles_are_never_zero_and_fit_their_bits)
{
    set_up(&f, ROOM);
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t handle = put(&f, i, (size_t)(1 + i * 20));
        CHECK(handle != 0);
        CHECK_EQUAL(handle >> POOL_HANDLE_BITS, 0);
    }
    for (unsigned class = 0; class < f.z->class_count; class ++) {
        const struct zs_shape *shape = &f.z->shapes[class];
        CHECK_EQUAL(zs_handle(shape, ZS_CHAINS_MAX, shape->slots - 1u) >> POOL_HANDLE_BITS, 0);
    }
    tear_down(&f);
}

TEST(owners_of_all_their_bits_are_kept)
{
    set_up(&f, ROOM);
    uint64_t handle, owner = 0x1234567890 | 1ull << (POOL_OWNER_BITS - 1);
    REQUIRE(pool_zsmalloc.alloc(f.pool, SIZE, owner, &handle) == 0);
    const uint8_t *owners = zs_owners(f.z, shape_of(&f, SIZE), zs_handle_chain(handle));
    CHECK_EQUAL(zs_owner_get(owners, 0), (owner | ZS_LIVE));
    tear_down(&f);
}

TEST(nothing_has_peers)
{
    set_up(&f, ROOM);
    uint64_t owner = 0;
    put_range(&f, 0, 10, SIZE);
    CHECK_EQUAL(pool_zsmalloc.peers(f.pool, f.objects[3].handle, &owner, 1), 0);
    tear_down(&f);
}

TEST(at_max_bytes_alloc_says_no_memory_until_something_is_freed)
{
    set_up(&f, 30 * PAGE_BYTES);
    put_range(&f, 0, 30, PAGE_BYTES);
    CHECK_EQUAL(try_put(&f, 30, PAGE_BYTES, 1), -ENOMEM);
    CHECK_EQUAL(try_put(&f, 30, 1, 1), -ENOMEM);
    CHECK_EQUAL(pages_held(&f), 30);
    CHECK(pool_zsmalloc.consistent(f.pool));
    drop(&f, 7);
    CHECK_EQUAL(try_put(&f, 30, PAGE_BYTES, 1), 0);
    CHECK_EQUAL(try_put(&f, 31, 1, 1), -ENOMEM);
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(what_the_reserve_holds_is_not_missed_at_the_limit)
{
    set_up(&f, 24 * PAGE_BYTES);
    put_range(&f, 0, 12, PAGE_BYTES);
    put_range(&f, 12, 11, PAGE_BYTES);
    put(&f, 23, SIZE);
    drop_range(&f, 0, 12);
    CHECK_EQUAL(pages_held(&f), 24);
    put_range(&f, 24, 9, SIZE); /* a chain that must grow */
    CHECK(all_whole(&f));
    CHECK(pages_held(&f) < 24);
    tear_down(&f);
}

TEST(each_class_may_have_a_short_chain_in_a_small_pool)
{
    set_up(&f, 1000 * PAGE_BYTES);
    for (unsigned class = 0; class < f.z->class_count; class ++) {
        put(&f, class, f.z->shapes[class].slot_bytes);
    }
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(a_pool_of_any_one_size_can_be_filled_to_its_limit)
{
    for (size_t bytes = 16; bytes <= PAGE_BYTES; bytes = round_up(bytes * 3 / 2, 16)) {
        set_up(&f, 300 * PAGE_BYTES);
        uint64_t handle;
        while (pool_zsmalloc.alloc(f.pool, bytes, 1, &handle) == 0) {
        }
        CHECK(pages_held(&f) >= 298);
        tear_down(&f);
    }
}

TEST(destroy_frees_objects_that_are_still_there)
{
    set_up(&f, ROOM);
    for (uint64_t i = 0; i < 500; i++) {
        put(&f, i, (size_t)(1 + i * 8));
    }
    tear_down(&f);
}

int main(void)
{
    RUN(an_empty_pool_holds_no_memory);
    RUN(a_chain_holds_memory_only_as_far_as_it_is_reached);
    RUN(objects_are_contiguous_across_pages_and_do_not_overlap);
    RUN(addresses_are_aligned_to_units);
    RUN(sizes_of_one_class_share_a_chain);
    RUN(raw_pages_take_a_page_each);
    RUN(a_freed_slot_is_used_before_one_that_was_never_reached);
    RUN(hints_change_nothing);
    RUN(alloc_prefers_the_fullest_chain);
    RUN(an_empty_chain_stays_in_reserve_and_serves_any_class);
    RUN(a_chain_from_reserve_keeps_no_more_than_its_new_class_uses);
    RUN(sizes_that_are_none_are_refused);
    RUN(create_refuses_sizes_it_cannot_number);
    RUN(handles_are_never_zero_and_fit_their_bits);
    RUN(owners_of_all_their_bits_are_kept);
    RUN(nothing_has_peers);
    RUN(at_max_bytes_alloc_says_no_memory_until_something_is_freed);
    RUN(what_the_reserve_holds_is_not_missed_at_the_limit);
    RUN(each_class_may_have_a_short_chain_in_a_small_pool);
    RUN(a_pool_of_any_one_size_can_be_filled_to_its_limit);
    RUN(destroy_frees_objects_that_are_still_there);
    RUN(hints_bear_dead_handles);
    return harness_finish();
}
