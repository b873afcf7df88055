/* SPDX-License-Identifier: MIT */
/* A swap map of which a process has died inside the lock is put in order by the others; that, and a burial, in pieces. */
#include "tests/unit/swap_map_family_fixture.h"

TEST(what_a_dead_holder_left_is_put_in_order)
{
    struct swap_map *parent = set_up(SLOTS);
    for (int i = 0; i < 40; i++) {
        CHECK_EQUAL(alloc_one(parent, 9), 9 * i);
    }
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(alloc_one(child, 9), 360);
    swap_map_put(parent, 9); /* the child's alone */
    swap_map_put(child, 18); /* the parent's alone */
    /* Amid an alloc, a free, and the copying of bits. */
    uint8_t *counts = count_at(parent, 0);
    counts[9] = 0;
    counts[12] = 0;
    counts[27] = 200;
    memset(counts + 369, COUNT_FURTHER, 5);
    counts[380] = 1;
    child->state->high_water = 385;
    child->state->slots_used = 3;
    *(uint64_t *)sparse_get(&child->holds, child->seat * child->seat_words) |= 0x777;
    die_at_the_lock(child);
    CHECK_EQUAL(swap_map_used(parent), 39 * 9);
    CHECK_EQUAL(swap_map_used_here(parent), 39 * 9);
    CHECK(swap_map_consistent(parent));
    CHECK_EQUAL(alloc_one(parent, 9), 385);
    tear_down();
}

/* ---- in pieces */

enum { LARGE_SLOTS = 200000, LARGE_OBJECTS = 20000 }; /* six pages of bits */

static struct swap_map *set_up_large(void)
{
    struct swap_map *parent = set_up(LARGE_SLOTS);
    for (int i = 0; i < LARGE_OBJECTS; i++) {
        CHECK_EQUAL(alloc_one(parent, 9), 9 * i);
    }
    return parent;
}

TEST(between_the_pieces_of_a_burial_others_use_the_map)
{
    struct swap_map *parent = set_up_large(), *grandchild;
    struct swap_map *child = fork_well(parent), *sibling = fork_well(parent);
    for (int i = 0; i < LARGE_OBJECTS; i++) {
        swap_map_put(parent, (uint64_t)i * 9);
        swap_map_put(sibling, (uint64_t)i * 9);
    }
    kill_player(child);
    CHECK(seats_bury_piece(parent, child->seat));
    uint64_t left = swap_map_used(sibling);
    CHECK(left > 0 && left < LARGE_OBJECTS * 9);
    CHECK_EQUAL(alloc_one(sibling, 9), LARGE_OBJECTS * 9);
    CHECK(swap_map_consistent(sibling));
    CHECK_EQUAL(fork_player(child, &grandchild), -ESRCH); /* a part of it is gone */
    CHECK(seats_bury_piece(sibling, child->seat));        /* who began is stopped */
    CHECK_EQUAL(swap_map_bury_dead(sibling), 1);
    CHECK(!seats_bury_piece(parent, child->seat));
    CHECK_EQUAL(swap_map_used(parent), 9);
    CHECK(swap_map_consistent(parent));
    tear_down();
}

/* A try to enter as the first of two players, who is stopped behind it or dies in it. */
static bool enter_for_a_piece(struct swap_map *map)
{
    mutex_lock(&map->lock);
    bool entered = seats_try_enter(map);
    if (entered) {
        shared_lock_give(&map->family->lock);
    }
    mutex_unlock(&map->lock);
    return entered;
}

TEST(a_recovery_is_gone_on_with_by_others)
{
    struct swap_map *parent = set_up_large();
    struct swap_map *child = fork_well(parent), *sibling = fork_well(parent);
    swap_map_put(parent, 0);
    swap_map_put(sibling, 0); /* the child's alone */
    die_at_the_lock(child);
    CHECK(!enter_for_a_piece(parent));
    CHECK(!enter_for_a_piece(parent));
    CHECK_EQUAL(swap_map_used(sibling), (LARGE_OBJECTS - 1) * 9);
    CHECK(swap_map_consistent(parent));
    CHECK(enter_for_a_piece(parent));
    tear_down();
}

TEST(a_recovery_amid_which_its_maker_dies_begins_anew)
{
    struct swap_map *parent = set_up_large();
    struct swap_map *child = fork_well(parent), *sibling = fork_well(parent);
    swap_map_put(parent, 0);
    die_at_the_lock(child);
    for (int i = 0; i < 9; i++) {
        CHECK(!enter_for_a_piece(sibling)); /* into the counts */
    }
    CHECK(sibling->state->slots_used > 0);
    die_at_the_lock(sibling);
    CHECK_EQUAL(swap_map_used(parent), (LARGE_OBJECTS - 1) * 9);
    CHECK(swap_map_consistent(parent));
    tear_down();
}

int main(void)
{
    RUN(what_a_dead_holder_left_is_put_in_order);
    RUN(between_the_pieces_of_a_burial_others_use_the_map);
    RUN(a_recovery_is_gone_on_with_by_others);
    RUN(a_recovery_amid_which_its_maker_dies_begins_anew);
    return harness_finish();
}
