/* SPDX-License-Identifier: MIT */
#include <sys/wait.h>

#include "base/sys.h"
#include "tests/unit/zsmalloc_fixture.h"

#define SIZE 1500
#define ROOM (64 << 20)

static struct fixture f; /* large */

/* ---- shapes */

TEST(every_size_fits_the_slots_of_its_class)
{
    set_up(&f, ROOM);
    for (size_t bytes = 1; bytes <= PAGE_BYTES; bytes++) {
        const struct zs_shape *shape = shape_of(&f, bytes);
        CHECK(bytes <= shape->slot_bytes);
        CHECK_EQUAL(shape->slot_bytes % ZS_UNIT_BYTES, 0);
    }
    tear_down(&f);
}

TEST(slots_and_their_owners_lie_side_by_side_in_the_chain)
{
    set_up(&f, ROOM);
    for (unsigned class = 0; class < f.z->class_count; class ++) {
        const struct zs_shape *shape = &f.z->shapes[class];
        CHECK(shape->owners_outside || shape->start >= shape->slots * ZS_OWNER_BYTES);
        CHECK(shape->start + shape->slots * shape->slot_bytes <= shape->pages * (int)PAGE_BYTES);
        CHECK(shape->pages >= ZS_CHAIN_PAGES_MIN && shape->pages <= ZS_CHAIN_PAGES);
        CHECK_EQUAL(zs_pages_for(shape, shape->slots), shape->pages);
        for (unsigned slot = 0; slot < shape->slots; slot++) {
            CHECK_EQUAL(zs_handle_slot(shape, zs_handle(shape, 5, slot)), slot);
            CHECK(zs_group_of(shape, slot) < ZS_GROUPS);
        }
        CHECK_EQUAL(zs_group_of(shape, 0), 0);
        CHECK_EQUAL(zs_group_of(shape, shape->slots - 1u), ZS_GROUPS - 1);
        CHECK_EQUAL(zs_group_of(shape, shape->slots), ZS_GROUPS);
    }
    tear_down(&f);
}

TEST(classes_fall_in_size_and_no_two_are_alike)
{
    set_up(&f, ROOM);
    CHECK_EQUAL(f.z->shapes[0].slot_bytes, PAGE_BYTES);
    for (unsigned class = 1; class < f.z->class_count; class ++) {
        const struct zs_shape *shape = &f.z->shapes[class];
        CHECK(shape->slot_bytes < shape[-1].slot_bytes);
        CHECK(shape->slots != shape[-1].slots || shape->pages != shape[-1].pages);
    }
    CHECK_EQUAL(f.z->class_of_units[0], f.z->class_count - 1);
    tear_down(&f);
}

TEST(full_chains_lose_little)
{
    set_up(&f, ROOM);
    double lost = 0;
    unsigned sizes = 0;
    for (size_t bytes = 256; bytes <= PAGE_BYTES - 64; bytes += ZS_UNIT_BYTES, sizes++) {
        const struct zs_shape *shape = shape_of(&f, bytes);
        double loss = 1 - (double)(shape->slots * bytes) / (double)(shape->pages * PAGE_BYTES);
        CHECK(loss < 0.06);
        lost += loss;
    }
    CHECK(lost / sizes < 0.015);
    CHECK_EQUAL(shape_of(&f, PAGE_BYTES)->slots, shape_of(&f, PAGE_BYTES)->pages);
    tear_down(&f);
}

/* ---- alloc and free */

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

/* ---- memory that goes back */

TEST(trim_gives_memory_back)
{
    set_up(&f, 256 << 20);
    put_range(&f, 0, 60, PAGE_BYTES); /* five neighbours */
    char *first = map(&f, f.objects[0].handle);
    drop_range(&f, 0, 60);
    CHECK_EQUAL(pages_held(&f), 60);
    CHECK_EQUAL(pool_zsmalloc.trim(f.pool), 60 * PAGE_BYTES);
    CHECK_EQUAL(pages_held(&f), 0);
    unsigned char resident[5 * ZS_CHAIN_PAGES];
    REQUIRE(sys_call3(SYS_mincore, (long)first, sizeof resident * PAGE_BYTES, (long)resident) == 0);
    for (size_t i = 0; i < sizeof resident; i++) {
        CHECK_EQUAL(resident[i] & 1, 0);
    }
    CHECK_EQUAL(pool_zsmalloc.trim(f.pool), 0);
    put_range(&f, 0, 60, PAGE_BYTES);
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(what_is_freed_beyond_the_reserve_goes_back_by_itself)
{
    set_up(&f, 256 << 20);
    put_range(&f, 0, 4000, 3000);
    for (uint64_t odd = 0; odd < 2; odd++) {
        for (uint64_t i = 1 - odd; i < 4000; i += 2) {
            drop(&f, i);
        }
    }
    CHECK(pages_held(&f) <= ZS_RESERVE_MAX * ZS_CHAIN_PAGES);
    tear_down(&f);
}

TEST(a_reserve_that_runs_over_keeps_a_quarter)
{
    enum { CHAINS = ZS_RESERVE_MAX + 1 };
    set_up(&f, ROOM);
    put_range(&f, 0, CHAINS * ZS_RAW_SLOTS, PAGE_BYTES);
    drop_range(&f, 0, CHAINS * ZS_RAW_SLOTS - 1);
    CHECK_EQUAL(pages_held(&f), CHAINS * ZS_RAW_SLOTS);
    drop(&f, CHAINS * ZS_RAW_SLOTS - 1);
    CHECK_EQUAL(pages_held(&f), ZS_RESERVE_MAX / 4 * ZS_RAW_SLOTS);
    tear_down(&f);
}

TEST(owners_of_raw_pages_take_no_room_for_other_chains)
{
    set_up(&f, ROOM);
    for (uint64_t i = 0; i < 64; i++) { /* a chain of raw pages, then one of others, and so on */
        put_range(&f, i * 40, ZS_RAW_SLOTS, PAGE_BYTES);
        put_range(&f, i * 40 + ZS_RAW_SLOTS, 26, 2000);
    }
    CHECK_EQUAL(sparse_next_committed(&f.z->raw_owners, 64), f.z->raw_owners.slots_total);
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(records_of_free_chains_go_back_with_them)
{
    enum { CHAINS = 340, PER_PAGE = PAGE_BYTES / sizeof(struct zs_chain) };
    set_up(&f, ROOM);
    uint32_t first = f.z->source.ranges[ZS_RAW].first;
    size_t before = account_bytes(&f.account, ACCOUNT_TABLES);
    put_range(&f, 0, CHAINS * ZS_RAW_SLOTS, PAGE_BYTES);
    drop_range(&f, 0, (CHAINS - 1) * ZS_RAW_SLOTS); /* the last chain stays */
    pool_zsmalloc.trim(f.pool);
    CHECK(!sparse_is_committed(&f.z->chains, first));
    CHECK(!sparse_is_committed(&f.z->raw_owners, 0));
    CHECK(sparse_is_committed(&f.z->chains, first + CHAINS - 1));
    CHECK(sparse_is_committed(&f.z->raw_owners, CHAINS - 1));
    CHECK(pool_zsmalloc.consistent(f.pool));
    put_range(&f, 0, 20, PAGE_BYTES); /* and they come back */
    CHECK(sparse_is_committed(&f.z->chains, first));
    CHECK(all_whole(&f));
    drop_range(&f, 0, 20);
    drop_range(&f, (CHAINS - 1) * ZS_RAW_SLOTS, ZS_RAW_SLOTS);
    pool_zsmalloc.trim(f.pool);
    /* What stays: a page of each bitmap, and the set of free chains. */
    CHECK(account_bytes(&f.account, ACCOUNT_TABLES) <= before + 5 * PAGE_BYTES);
    CHECK_EQUAL(sparse_next_committed(&f.z->chains, 0), f.z->chains.slots_total);
    CHECK_EQUAL(sparse_next_committed(&f.z->raw_owners, 0), f.z->raw_owners.slots_total);
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

/* ---- memory that is not there */

TEST(a_create_that_runs_out_of_memory_leaks_nothing)
{
    /* The structure, the range, three sparse arrays of three parts, the classes */
    CHECK(pool_fail_each_create(&pool_zsmalloc) >= 12);
}

/* Every request for memory that an alloc makes fails in turn, in a pool that begins with `used` objects, `freed` of them freed
 * and trimmed. */
static void fail_each_allocation(size_t bytes, uint64_t used, uint64_t freed)
{
    set_up(&f, ROOM);
    put_range(&f, 0, used, bytes);
    drop_range(&f, 0, freed);
    pool_zsmalloc.trim(f.pool);
    size_t before = pages_held(&f);
    int failures = 0;
    for (;; failures++) {
        REQUIRE(failures < POOL_FAILURES_MAX);
        f.memory.fail_countdown = failures + 1;
        int error = try_put(&f, used, bytes, 9);
        if (!error) {
            break;
        }
        CHECK_EQUAL(error, -ENOMEM);
        CHECK_EQUAL(pages_held(&f), before);
        CHECK(pool_zsmalloc.consistent(f.pool));
    }
    CHECK(failures >= 1);
    f.memory.fail_countdown = 0;
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(an_alloc_that_runs_out_of_memory_leaks_nothing)
{
    set_up(&f, ROOM);
    unsigned slots = shape_of(&f, SIZE)->slots;
    tear_down(&f);
    fail_each_allocation(SIZE, 0, 0);                 /* everything is new */
    fail_each_allocation(PAGE_BYTES, 0, 0);           /* and owners of their own */
    fail_each_allocation(SIZE, 2, 0);                 /* another page of a chain */
    fail_each_allocation(SIZE, 2 * slots, 0);         /* another chain */
    fail_each_allocation(SIZE, 2 * slots, slots);     /* a chain that was used before */
    fail_each_allocation(SIZE, 2 * slots, 2 * slots); /* one whose record has gone back */
    fail_each_allocation(PAGE_BYTES, 63 * 12, 0);     /* another page of owners */
}

TEST(an_alloc_that_fails_gives_the_reserve_up_and_tries_again)
{
    set_up(&f, ROOM);
    put_range(&f, 0, 12, PAGE_BYTES);
    put_range(&f, 12, 2, SIZE);
    drop_range(&f, 0, 12);
    f.memory.fail_countdown = 1;
    put(&f, 20, SIZE); /* needs another page */
    CHECK_EQUAL(f.memory.fail_countdown, 0);
    CHECK(pages_held(&f) < 12);
    tear_down(&f);
}

TEST(an_alloc_into_a_freed_slot_needs_no_memory)
{
    set_up(&f, ROOM);
    put_range(&f, 0, 8, SIZE);
    drop(&f, 3);
    f.memory.fail_countdown = 1;
    put(&f, 3, SIZE);
    CHECK_EQUAL(f.memory.fail_countdown, 1);
    f.memory.fail_countdown = 0;
    tear_down(&f);
}

TEST(where_a_chain_cannot_grow_another_with_a_free_slot_will_do)
{
    set_up(&f, ROOM);
    unsigned slots = shape_of(&f, SIZE)->slots;
    put_range(&f, 0, slots, SIZE);
    drop_range(&f, 0, slots - 2);
    put_range(&f, 100, slots, SIZE); /* fills the first chain, and begins the second */
    drop_range(&f, 100, slots - 3);  /* and empties the first again, more or less */
    uint64_t others = 200;
    while (f.z->classes[f.z->class_of_units[(SIZE - 1) / 16]].groups_filled != 1) {
        put(&f, others++, SIZE); /* the chain that is not wholly reached comes first */
    }
    f.memory.fail_countdown = 1;
    CHECK_EQUAL(try_put(&f, 99, SIZE, 9), 0);
    f.memory.fail_countdown = 0;
    CHECK(pool_zsmalloc.consistent(f.pool));
    tear_down(&f);
}

/* ---- debug builds, and the checker */

TEST(debug_builds_stop_on_a_dead_handle)
{
#ifndef LOCK_CHECKS
    SKIP("a debug check, and this is not a debug build");
#else
    set_up(&f, ROOM);
    put_range(&f, 0, 3, SIZE);
    uint64_t handle = f.objects[1].handle;
    drop(&f, 1);
    fflush(stdout);
    for (int in_a_slot = 0; in_a_slot < 2; in_a_slot++) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            REQUIRE(freopen("/dev/null", "w", stderr));
            pool_zsmalloc.map(f.pool, in_a_slot ? f.objects[0].handle + 1 : handle);
            _exit(0);
        }
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
    tear_down(&f);
#endif
}

/* True if the checker objects to the bytes at `at` being `wrong`; puts them back. */
static bool is_caught(void *at, uint64_t wrong, size_t bytes)
{
    uint64_t right = 0;
    memcpy(&right, at, bytes);
    memcpy(at, &wrong, bytes);
    bool caught = !pool_zsmalloc.consistent(f.pool);
    memcpy(at, &right, bytes);
    return caught && pool_zsmalloc.consistent(f.pool);
}

TEST(the_checker_catches_planted_faults)
{
    set_up(&f, ROOM);
    unsigned slots = shape_of(&f, SIZE)->slots;
    put_range(&f, 0, 4 * slots, SIZE);
    drop_range(&f, slots, slots);
    drop_range(&f, 0, 5);                /* a list of free slots */
    drop_range(&f, 2 * slots, 5);        /* another chain of that group */
    put_range(&f, 1000, 12, PAGE_BYTES); /* a full chain, of the class before */
    struct zs_chain *record = zs_chain(f.z, chain_of(&f, 2 * slots + 5));
    struct zs_chain *full = zs_chain(f.z, chain_of(&f, 1000));
    struct zs_class *class = &f.z->classes[record->class];
    struct zs_source *source = &f.z->source;
    uint32_t other = record->next, number = chain_of(&f, 2 * slots + 5);
    uint8_t *owners = zs_owners(f.z, shape_of(&f, SIZE), number);
    unsigned group = zs_group_of(shape_of(&f, SIZE), record->used);
    put_range(&f, 1100, 60, 3000);
    drop_range(&f, 1100, 60);
    pool_zsmalloc.trim(f.pool);
    put(&f, 1100, 2000);
    drop(&f, 1100); /* in reserve */
    REQUIRE(pool_zsmalloc.consistent(f.pool));
    REQUIRE(other != number && source->ranges[ZS_PACKED].free.count && source->reserve_count);

    uint32_t free = source->ranges[ZS_PACKED].first + page_set_lowest(&source->ranges[ZS_PACKED].free) - 1;

    fflush(stdout);
    int console = dup(2);
    REQUIRE(freopen("/dev/null", "w", stderr)); /* the mismatches are wanted here */
#define CAUGHT(field, wrong) CHECK(is_caught(&(field), (wrong), sizeof(field)))
    CAUGHT(record->used, record->used + 1u);
    CAUGHT(record->used, 0);
    CAUGHT(record->reached, slots + 1u);
    CAUGHT(record->reached, record->reached - 1u);
    CAUGHT(record->free, 0);
    CAUGHT(record->free, 6);          /* a live slot */
    CAUGHT(record->free, slots + 2u); /* no slot */
    CAUGHT(record->class, 0);         /* another class */
    CAUGHT(record->class, 255);       /* no class */
    CAUGHT(record->pages, record->pages - 1u);
    CAUGHT(record->pages, ZS_CHAIN_PAGES + 1);
    CAUGHT(record->next, 0);
    CAUGHT(record->next, number); /* a ring of its own */
    CAUGHT(record->next, 1u << 26);
    CAUGHT(record->prev, chain_of(&f, 1000));
    CAUGHT(full->next, number);                /* full, and linked */
    CAUGHT(owners[4], 0x80);                   /* a free slot called live */
    CAUGHT(owners[6 * ZS_OWNER_BYTES + 4], 0); /* a live one called free */
    CAUGHT(owners[0], 1);                      /* a list in a circle */
    CAUGHT(class->groups[group], 0);
    CAUGHT(class->groups[0], number);
    CAUGHT(class->groups_filled, 0);
    CAUGHT(class->groups_filled, class->groups_filled | 1);
    CAUGHT(class->pages, class->pages + 1);
    CAUGHT(class->used, class->used - 1);
    CAUGHT(class->isolated, number);
    CAUGHT(source->held, source->held + 1);
    CAUGHT(source->ranges[ZS_PACKED].high_water, source->ranges[ZS_PACKED].high_water - 1);
    CAUGHT(source->releasing, 1);
    CAUGHT(source->reserve_count, 0);
    CAUGHT(source->reserve[0], number); /* in reserve, and taken */
    CAUGHT(source->ranges[ZS_PACKED].free.count, source->ranges[ZS_PACKED].free.count + 1);
    CAUGHT(zs_chain(f.z, source->reserve[0])->used, 1);
    CAUGHT(zs_chain(f.z, free)->pages, 1);
#undef CAUGHT
    fflush(stderr);
    dup2(console, 2);
    close(console);
    tear_down(&f);
}

int main(void)
{
    RUN(every_size_fits_the_slots_of_its_class);
    RUN(slots_and_their_owners_lie_side_by_side_in_the_chain);
    RUN(classes_fall_in_size_and_no_two_are_alike);
    RUN(full_chains_lose_little);
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
    RUN(trim_gives_memory_back);
    RUN(what_is_freed_beyond_the_reserve_goes_back_by_itself);
    RUN(a_reserve_that_runs_over_keeps_a_quarter);
    RUN(owners_of_raw_pages_take_no_room_for_other_chains);
    RUN(records_of_free_chains_go_back_with_them);
    RUN(hints_bear_dead_handles);
    RUN(a_create_that_runs_out_of_memory_leaks_nothing);
    RUN(an_alloc_that_runs_out_of_memory_leaks_nothing);
    RUN(an_alloc_that_fails_gives_the_reserve_up_and_tries_again);
    RUN(an_alloc_into_a_freed_slot_needs_no_memory);
    RUN(where_a_chain_cannot_grow_another_with_a_free_slot_will_do);
    RUN(debug_builds_stop_on_a_dead_handle);
    RUN(the_checker_catches_planted_faults);
    return harness_finish();
}
