/* SPDX-License-Identifier: MIT */
/* Compaction of a zsmalloc, also where objects are freed, put and moved by others meanwhile. */
#include "tests/unit/zsmalloc_fixture.h"

#define SIZE 1500
#define ROOM (64 << 20)

static struct fixture f; /* large */

/* `chains` full chains of SIZE, of which every object but each `keep`th is dropped. */
static uint64_t set_up_sparse(unsigned chains, unsigned keep)
{
    set_up(&f, ROOM);
    uint64_t count = (uint64_t)chains * shape_of(&f, SIZE)->slots;
    put_range(&f, 0, count, SIZE);
    for (uint64_t i = 0; i < count; i++) {
        if (i % keep) {
            drop(&f, i);
        }
    }
    return count;
}

/* Pages that so many objects of SIZE take side by side. */
static size_t pages_needed(uint64_t objects)
{
    const struct zs_shape *shape = shape_of(&f, SIZE);
    return objects / shape->slots * shape->pages + zs_pages_for(shape, (unsigned)(objects % shape->slots));
}

TEST(compaction_leaves_no_page_that_could_be_spared)
{
    uint64_t count = set_up_sparse(20, 5);
    size_t before = pages_held(&f);
    size_t won = compact(&f, SIZE_MAX);
    CHECK_EQUAL(pages_held(&f), pages_needed((count + 4) / 5));
    CHECK_EQUAL(won, (before - pages_held(&f)) * PAGE_BYTES);
    CHECK(all_whole(&f));
    CHECK(pool_zsmalloc.consistent(f.pool));
    CHECK_EQUAL(compact(&f, SIZE_MAX), 0);
    tear_down(&f);
}

TEST(compaction_goes_only_as_far_as_it_is_asked_to)
{
    set_up_sparse(20, 5);
    size_t before = pages_held(&f), pages = shape_of(&f, SIZE)->pages;
    CHECK_EQUAL(compact(&f, 1), pages * PAGE_BYTES);
    CHECK_EQUAL(pages_held(&f), before - pages);
    CHECK_EQUAL(compact(&f, pages * PAGE_BYTES + 1), 2 * pages * PAGE_BYTES);
    CHECK_EQUAL(compact(&f, 0), 0);
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(compaction_copies_no_more_than_it_gives_back)
{
    uint64_t count = set_up_sparse(20, 3);
    size_t won = compact(&f, SIZE_MAX);
    CHECK(f.moved * SIZE <= won);
    CHECK(f.moved < count / 3);
    tear_down(&f);
}

TEST(a_lone_chain_is_drawn_together_and_its_end_given_back)
{
    set_up_sparse(1, 4);
    uint64_t live = (shape_of(&f, SIZE)->slots + 3u) / 4;
    CHECK(compact(&f, SIZE_MAX) > 0);
    CHECK_EQUAL(pages_held(&f), pages_needed(live));
    CHECK(all_whole(&f));
    CHECK(pool_zsmalloc.consistent(f.pool));
    put_range(&f, 1000, 60, SIZE); /* and it can grow again */
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(raw_pages_are_moved_too)
{
    set_up(&f, ROOM);
    put_range(&f, 0, 120, PAGE_BYTES);
    for (uint64_t i = 0; i < 120; i++) {
        if (i % 3) {
            drop(&f, i);
        }
    }
    compact(&f, SIZE_MAX);
    CHECK_EQUAL(pages_held(&f), 40);
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(compaction_gives_the_reserve_back_first)
{
    set_up_sparse(4, 3);
    size_t before = pages_held(&f);
    put_range(&f, 1000, 12, PAGE_BYTES);
    drop_range(&f, 1000, 12);
    CHECK_EQUAL(compact(&f, 12 * PAGE_BYTES), 12 * PAGE_BYTES);
    CHECK_EQUAL(f.moved, 0);
    CHECK_EQUAL(pages_held(&f), before);
    tear_down(&f);
}

TEST(a_dense_pool_is_left_alone)
{
    set_up(&f, ROOM);
    put_range(&f, 0, 1000, SIZE);
    CHECK_EQUAL(compact(&f, SIZE_MAX), 0);
    CHECK_EQUAL(f.moved + f.refused, 0);
    tear_down(&f);
}

TEST(an_object_that_its_owner_does_not_name_stays_where_it_is)
{
    set_up_sparse(2, 6);
    for (uint64_t i = 0; i < OWNERS_MAX; i++) {
        f.objects[i].unfilled = true;
    }
    uint64_t handle = f.objects[0].handle;
    compact(&f, SIZE_MAX);
    CHECK_EQUAL(f.moved, 0);
    CHECK(f.refused > 0);
    CHECK_EQUAL(f.objects[0].handle, handle);
    CHECK(all_whole(&f));
    CHECK(pool_zsmalloc.consistent(f.pool));
    tear_down(&f);
}

TEST(what_keeps_one_chain_does_not_keep_the_others)
{
    set_up_sparse(10, 6);
    f.objects[0].unfilled = true;
    for (int i = 0; i < 20; i++) {
        compact(&f, SIZE_MAX);
    }
    size_t pages = 0; /* the stuck one may stand alone at the end of its chain */
    pages = pages_held(&f);
    CHECK(pages <= pages_needed((10 * shape_of(&f, SIZE)->slots + 5) / 6) + shape_of(&f, SIZE)->pages);
    CHECK(all_whole(&f));
    f.objects[0].unfilled = false;
    compact(&f, SIZE_MAX);
    CHECK_EQUAL(pages_held(&f), pages_needed((10 * shape_of(&f, SIZE)->slots + 5) / 6));
    tear_down(&f);
}

TEST(nothing_is_moved_below_an_object_that_keeps_the_end_of_a_lone_chain)
{
    set_up_sparse(1, 4);
    f.objects[(shape_of(&f, SIZE)->slots - 1u) / 4 * 4].unfilled = true;
    CHECK_EQUAL(compact(&f, SIZE_MAX), 0);
    CHECK_EQUAL(f.refused, 1);
    CHECK_EQUAL(f.moved, 0);
    tear_down(&f);
}

TEST(a_chain_that_could_not_be_emptied_comes_last)
{
    set_up(&f, ROOM);
    unsigned slots = shape_of(&f, SIZE)->slots;
    put_range(&f, 0, 6 * slots, SIZE);
    for (unsigned i = 0; i < 6; i++) {
        drop_range(&f, i * slots, slots - 3);
    }
    const struct zs_class *class = &f.z->classes[f.z->class_of_units[(SIZE - 1) / 16]];
    uint32_t first = class->groups[__builtin_ctz(class->groups_filled)];
    for (uint64_t i = 0; i < OWNERS_MAX; i++) {
        f.objects[i].unfilled = f.objects[i].handle && chain_of(&f, i) == first;
    }
    CHECK_EQUAL(compact(&f, 1), 0);
    CHECK(compact(&f, 1) > 0);
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(no_object_is_ever_moved_towards_the_end_of_its_chain)
{
    set_up(&f, ROOM);
    put_range(&f, 0, 25, SIZE);
    drop_range(&f, 10, 14);
    f.objects[24].restless = true; /* leaves the lowest free slot free */
    CHECK_EQUAL(compact(&f, SIZE_MAX), 0);
    CHECK_EQUAL(f.refused, 1);
    CHECK_EQUAL(f.moved, 0);
    CHECK(pool_zsmalloc.consistent(f.pool));
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(an_object_that_changes_while_it_is_moved_leaves_no_copy)
{
    uint64_t count = set_up_sparse(2, 6);
    size_t live = (count + 5) / 6;
    for (uint64_t i = 0; i < OWNERS_MAX; i++) {
        f.objects[i].restless = true;
    }
    compact(&f, SIZE_MAX);
    CHECK(f.refused > 0);
    CHECK_EQUAL(f.z->classes[f.z->class_of_units[(SIZE - 1) / 16]].used, live);
    CHECK(all_whole(&f));
    CHECK(pool_zsmalloc.consistent(f.pool));
    tear_down(&f);
}

static void drop_it(struct fixture *fixture, uint64_t owner)
{
    if (fixture->objects[owner].handle) {
        drop(fixture, owner);
    }
}

TEST(objects_may_be_freed_under_compaction)
{
    set_up_sparse(6, 3);
    f.in_hold = drop_it;
    compact(&f, SIZE_MAX);
    f.in_hold = NULL;
    CHECK(pool_zsmalloc.consistent(f.pool));
    CHECK(all_whole(&f));
    tear_down(&f);
}

static void drop_all(struct fixture *fixture, uint64_t owner)
{
    for (uint64_t i = 0; i < OWNERS_MAX; i++) {
        if (i != owner) {
            drop_it(fixture, i);
        }
    }
}

TEST(all_else_may_be_freed_under_compaction)
{
    for (int in_commit = 0; in_commit < 2; in_commit++) {
        set_up_sparse(6, 3);
        *(in_commit ? &f.in_commit : &f.in_hold) = drop_all;
        compact(&f, SIZE_MAX);
        f.in_hold = f.in_commit = NULL;
        CHECK(pool_zsmalloc.consistent(f.pool));
        CHECK(all_whole(&f));
        compact(&f, SIZE_MAX);
        CHECK(pages_held(&f) <= 2);
        tear_down(&f);
    }
}

static void put_another(struct fixture *fixture, uint64_t owner)
{
    if (!fixture->objects[owner + 2000].handle) {
        put(fixture, owner + 2000, SIZE);
    }
}

TEST(objects_may_be_put_under_compaction_and_never_into_the_chain_that_is_emptied)
{
    set_up_sparse(6, 3);
    f.in_hold = f.in_commit = put_another;
    compact(&f, SIZE_MAX);
    f.in_hold = f.in_commit = NULL;
    CHECK(pool_zsmalloc.consistent(f.pool));
    CHECK(all_whole(&f));
    tear_down(&f);
}

static void compact_again(struct fixture *fixture, uint64_t owner)
{
    (void)owner;
    f.in_hold = NULL;
    size_t moved = fixture->moved;
    CHECK_EQUAL(compact(fixture, SIZE_MAX), 0);
    CHECK_EQUAL(fixture->moved, moved);
}

TEST(a_second_compaction_leaves_the_class_alone)
{
    set_up_sparse(6, 3);
    f.in_hold = compact_again;
    CHECK(compact(&f, SIZE_MAX) > 0);
    CHECK(all_whole(&f));
    tear_down(&f);
}

TEST(compaction_that_runs_out_of_memory_leaves_all_whole)
{
    for (int64_t failing = 1; failing < 6; failing++) {
        set_up_sparse(5, 4);
        put(&f, 1, SIZE);
        f.memory.fail_countdown = failing;
        compact(&f, SIZE_MAX);
        f.memory.fail_countdown = 0;
        CHECK(pool_zsmalloc.consistent(f.pool));
        CHECK(all_whole(&f));
        tear_down(&f);
    }
}

int main(void)
{
    RUN(compaction_leaves_no_page_that_could_be_spared);
    RUN(compaction_goes_only_as_far_as_it_is_asked_to);
    RUN(compaction_copies_no_more_than_it_gives_back);
    RUN(a_lone_chain_is_drawn_together_and_its_end_given_back);
    RUN(raw_pages_are_moved_too);
    RUN(compaction_gives_the_reserve_back_first);
    RUN(a_dense_pool_is_left_alone);
    RUN(an_object_that_its_owner_does_not_name_stays_where_it_is);
    RUN(what_keeps_one_chain_does_not_keep_the_others);
    RUN(nothing_is_moved_below_an_object_that_keeps_the_end_of_a_lone_chain);
    RUN(a_chain_that_could_not_be_emptied_comes_last);
    RUN(no_object_is_ever_moved_towards_the_end_of_its_chain);
    RUN(an_object_that_changes_while_it_is_moved_leaves_no_copy);
    RUN(objects_may_be_freed_under_compaction);
    RUN(all_else_may_be_freed_under_compaction);
    RUN(objects_may_be_put_under_compaction_and_never_into_the_chain_that_is_emptied);
    RUN(a_second_compaction_leaves_the_class_alone);
    RUN(compaction_that_runs_out_of_memory_leaves_all_whole);
    return harness_finish();
}
