/* SPDX-License-Identifier: MIT */
/* The swap map of a family: forks, and what the dead leave. A death inside its lock: swap_map_recovery.c. */
#include "tests/unit/swap_map_family_fixture.h"

TEST(a_child_uses_what_its_parent_uses)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 3), 0);
    CHECK_EQUAL(alloc_one(parent, 9), 3);
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(swap_map_used(parent), 12);
    CHECK_EQUAL(swap_map_used_here(child), 12);
    swap_map_put(parent, 3);
    CHECK_EQUAL(swap_map_used(parent), 12);
    CHECK_EQUAL(swap_map_used_here(parent), 3);
    CHECK_EQUAL(alloc_one(child, 1), 12); /* not where the child still reads */
    swap_map_put(child, 3);
    CHECK_EQUAL(swap_map_used(parent), 4);
    swap_map_put(child, 3); /* once is all */
    swap_map_put(parent, 12);
    CHECK_EQUAL(swap_map_used(parent), 4);
    CHECK(swap_map_consistent(parent) && swap_map_consistent(child));
    tear_down();
}

TEST(a_sum_is_the_family_s)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 8), 0);
    CHECK_EQUAL(swap_map_set_sum(parent, 0, 77), 0);
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(swap_map_sum(child, 0), 77);
    CHECK_EQUAL(alloc_one(child, 8), 8);
    CHECK_EQUAL(swap_map_set_sum(child, 8, 78), 0);
    CHECK_EQUAL(swap_map_sum(parent, 8), 78);
    tear_down();
}

TEST(the_dead_are_buried_when_the_map_is_full)
{
    struct swap_map *parent = set_up(20);
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(alloc_one(child, 9), 9);
    CHECK_EQUAL(alloc_one(parent, 9), -ENOSPC);
    kill_player(child);
    CHECK_EQUAL(alloc_one(parent, 9), 9);
    CHECK_EQUAL(swap_map_used(parent), 18);
    CHECK(swap_map_consistent(parent));
    tear_down();
}

TEST(a_burial_takes_the_dead_s_uses_and_memory)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    size_t before = account_total(&account);
    CHECK_EQUAL(swap_map_bury_dead(parent), 0);
    struct swap_map *child = fork_well(parent);
    CHECK(account_total(&account) > before);
    CHECK_EQUAL(alloc_one(child, 5), 9);
    kill_player(child);
    CHECK_EQUAL(swap_map_used(parent), 14);
    CHECK_EQUAL(swap_map_bury_dead(parent), 1);
    CHECK_EQUAL(swap_map_bury_dead(parent), 0);
    CHECK_EQUAL(swap_map_used(parent), 9);
    CHECK(swap_map_consistent(parent));
    swap_map_put(parent, 0);
    CHECK_EQUAL(swap_map_used(parent), 0);
    /* The dead one's page, charged to an account that died with it, is not given back to another's. */
    CHECK_EQUAL(account_total(&account), before + PAGE_BYTES);
    tear_down();
}

/* A page of the shared memory is there until it is given back, whoever has it mapped. */
static bool has_memory(const struct swap_map *map, uint32_t seat)
{
    unsigned char here = 0;
    CHECK_EQUAL(mincore(map->holds.slots + seat * map->seat_words * sizeof(uint64_t), PAGE_BYTES, &here), 0);
    return here & 1;
}

TEST(the_dead_s_bits_go_back_to_the_kernel)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    struct swap_map *child = fork_well(parent);
    CHECK(has_memory(parent, child->seat));
    kill_player(child);
    CHECK_EQUAL(swap_map_bury_dead(parent), 1);
    CHECK(!has_memory(parent, child->seat));
    CHECK(has_memory(parent, parent->seat));
    tear_down();
}

TEST(a_map_outlives_its_founder)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(alloc_one(parent, 2), 9);
    kill_player(parent);
    CHECK_EQUAL(swap_map_bury_dead(child), 1);
    CHECK_EQUAL(swap_map_used(child), 9);
    struct swap_map *grandchild = fork_well(child);
    kill_player(child);
    CHECK_EQUAL(swap_map_bury_dead(grandchild), 1);
    swap_map_put(grandchild, 0);
    CHECK_EQUAL(swap_map_used(grandchild), 0);
    CHECK(swap_map_consistent(grandchild));
    tear_down();
}

/* A parent that dies right after the fork has still forked, unless it was buried before its child came. */
TEST(a_fork_by_the_dead_counts_until_they_are_buried)
{
    struct swap_map *parent = set_up(SLOTS), *child;
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    struct swap_map *sibling = fork_well(parent);
    kill_player(parent);
    child = fork_well(parent);
    CHECK_EQUAL(swap_map_used_here(child), 9);
    CHECK_EQUAL(swap_map_bury_dead(sibling), 1);
    CHECK_EQUAL(fork_player(parent, &child), -ESRCH);
    CHECK(swap_map_consistent(sibling));
    tear_down();
}

TEST(without_a_seat_there_is_no_fork)
{
    struct swap_map *parent = set_up(SLOTS), *child;
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    parent->seats = 3;
    struct swap_map *first = fork_well(parent);
    fork_well(parent);
    CHECK_EQUAL(fork_player(parent, &child), -EAGAIN);
    kill_player(first);
    CHECK_EQUAL(fork_player(parent, &child), 0);
    CHECK(swap_map_consistent(parent));
    tear_down();
}

TEST(a_fork_without_memory_changes_nothing)
{
    struct swap_map *parent = set_up(1 << 20), *child;
    for (int i = 0; i < 100000; i += 9) {
        CHECK_EQUAL(alloc_one(parent, 9), i);
    }
    uint64_t used = swap_map_used(parent);
    for (int64_t nth = 1; nth <= 3; nth++) {
        parent->memory.fail_countdown = nth;
        CHECK_EQUAL(fork_player(parent, &child), -ENOMEM);
        parent->memory.fail_countdown = 0;
        CHECK_EQUAL(swap_map_used(parent), used);
        CHECK(swap_map_consistent(parent));
    }
    CHECK_EQUAL(fork_player(parent, &child), 0);
    tear_down();
}

TEST(a_fork_leaves_the_parent_s_charges_alone)
{
    struct swap_map *parent = set_up(SLOTS);
    struct account of_child;
    struct player *p = new_player();
    size_t before = account_total(&account);
    p->map = *parent;
    p->map.self = &p->self;
    account_copy(&of_child, &account);
    CHECK_EQUAL(swap_map_fork_child(&p->map, &of_child), 0);
    CHECK_EQUAL(account_total(&account), before);
    CHECK(account_total(&of_child) < before);
    tear_down();
}

TEST(a_private_map_is_not_forked)
{
    struct swap_map map;
    REQUIRE(swap_map_init(&map, &memory, SLOTS * SLOT_BYTES, NULL) == 0);
    CHECK_EQUAL(swap_map_fork_child(&map, &account), -EINVAL);
    swap_map_destroy(&map);
    CHECK_EQUAL(account_total(&account), 0);
}

/* A count of 254 says no more than that it is many: then the bits are counted. */
TEST(an_object_of_very_many_users_is_freed_after_the_last)
{
    enum { USERS = 290 };
    struct swap_map *maps[USERS] = {set_up(SLOTS)};
    CHECK_EQUAL(alloc_one(maps[0], 4), 0);
    for (int i = 1; i < USERS; i++) {
        maps[i] = fork_well(maps[i / 2]);
    }
    CHECK_EQUAL(*count_at(maps[0], 0), COUNT_SATURATED);
    CHECK(swap_map_consistent(maps[0]));
    for (int i = 0; i < USERS; i++) {
        CHECK_EQUAL(swap_map_used(maps[0]), 4);
        if (i % 3 == 0) {
            kill_player(maps[i]);
            swap_map_bury_dead(maps[USERS - 2]);
        } else {
            swap_map_put(maps[i], 0);
        }
        CHECK(swap_map_consistent(maps[USERS - 1]));
    }
    CHECK_EQUAL(swap_map_used(maps[USERS - 1]), 0);
    tear_down();
}

/* The checker prints what it finds: that is expected here. */
TEST(consistent_finds_planted_faults)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 3), 0);
    CHECK_EQUAL(alloc_one(parent, 9), 3);
    struct swap_map *child = fork_well(parent);
    CHECK(swap_map_consistent(parent));
    uint8_t *counts = count_at(parent, 0);
    counts[3]++;
    CHECK(!swap_map_consistent(parent));
    counts[3]--;
    uint64_t *bits = sparse_get(&child->holds, child->seat * child->seat_words);
    *bits |= 1 << 4; /* amid an object */
    CHECK(!swap_map_consistent(parent));
    *bits &= ~(uint64_t)1; /* a user less than counted */
    CHECK(!swap_map_consistent(parent));
    *bits = 1 | 1 << 3;
    CHECK(swap_map_consistent(parent));
    uint64_t owner = child->family->owners[child->seat];
    child->family->owners[child->seat] = 0;
    CHECK(!swap_map_consistent(parent));
    child->family->owners[child->seat] = owner + 1;
    CHECK(!swap_map_consistent(child));
    child->family->owners[child->seat] = owner;
    CHECK(swap_map_consistent(child));
    tear_down();
}

int main(void)
{
    RUN(a_child_uses_what_its_parent_uses);
    RUN(a_sum_is_the_family_s);
    RUN(the_dead_are_buried_when_the_map_is_full);
    RUN(a_burial_takes_the_dead_s_uses_and_memory);
    RUN(the_dead_s_bits_go_back_to_the_kernel);
    RUN(a_map_outlives_its_founder);
    RUN(a_fork_by_the_dead_counts_until_they_are_buried);
    RUN(without_a_seat_there_is_no_fork);
    RUN(a_fork_without_memory_changes_nothing);
    RUN(a_fork_leaves_the_parent_s_charges_alone);
    RUN(a_private_map_is_not_forked);
    RUN(an_object_of_very_many_users_is_freed_after_the_last);
    RUN(consistent_finds_planted_faults);
    return harness_finish();
}
