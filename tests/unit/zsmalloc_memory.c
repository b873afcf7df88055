/* SPDX-License-Identifier: MIT */
/* zsmalloc's memory: what goes back to the kernel, and what becomes of an alloc when there is none. */
#include "base/sys.h"
#include "tests/unit/zsmalloc_fixture.h"

#define SIZE 1500
#define ROOM (64 << 20)

static struct fixture f; /* large */

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

int main(void)
{
    RUN(trim_gives_memory_back);
    RUN(what_is_freed_beyond_the_reserve_goes_back_by_itself);
    RUN(a_reserve_that_runs_over_keeps_a_quarter);
    RUN(owners_of_raw_pages_take_no_room_for_other_chains);
    RUN(records_of_free_chains_go_back_with_them);
    RUN(a_create_that_runs_out_of_memory_leaks_nothing);
    RUN(an_alloc_that_runs_out_of_memory_leaks_nothing);
    RUN(an_alloc_that_fails_gives_the_reserve_up_and_tries_again);
    RUN(an_alloc_into_a_freed_slot_needs_no_memory);
    RUN(where_a_chain_cannot_grow_another_with_a_free_slot_will_do);
    return harness_finish();
}
