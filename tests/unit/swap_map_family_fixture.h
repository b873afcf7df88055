/* SPDX-License-Identifier: MIT */
/* A family that shares a swap map, played by this one process: it has a view of the map for each. */
#ifndef UZSWAP_TESTS_UNIT_SWAP_MAP_FAMILY_FIXTURE_H
#define UZSWAP_TESTS_UNIT_SWAP_MAP_FAMILY_FIXTURE_H

#include <stdbool.h>

#include "swap/swap_map_internal.h"
#include "tests/support/shared.h"

enum { PLAYERS = 300, SLOTS = 3000 };

static struct account account;
static struct memory memory = {.account = &account};
static struct member_table *table;

struct player {
    struct membership self;
    struct swap_map map;
    bool alive;
};
static struct player players[PLAYERS];
static size_t player_count;

static inline void bury_nothing(void *context, uint32_t index)
{
    (void)context;
    (void)index;
}

/* A living member. Its thread is nobody's: it dies when it is told to. */
static inline struct player *new_player(void)
{
    REQUIRE(player_count < PLAYERS);
    struct player *p = &players[player_count++];
    uint32_t i = 1; /* 0 is this process */
    while (member_place_is_alive(table, i)) {
        i++;
    }
    table->members[i].generation++;
    table->members[i].threads[0] = 1;
    p->self = (struct membership){.table = table, .index = i, .generation = table->members[i].generation};
    p->alive = true;
    return p;
}

static inline void die(struct player *p)
{
    table->members[p->self.index].threads[0] = 0;
    p->alive = false;
}

static inline struct swap_map *set_up(uint64_t slots)
{
    struct membership me;
    table = shared_memory(sizeof *table);
    REQUIRE(member_claim(&me, table, (uint32_t)getpid(), bury_nothing, NULL) == 0);
    player_count = 0;
    struct player *p = new_player();
    REQUIRE(swap_map_init(&p->map, &memory, slots * SLOT_BYTES, &p->self) == 0);
    return &p->map;
}

static inline int fork_player(const struct swap_map *parent, struct swap_map **child)
{
    struct player *p = new_player();
    p->map = *parent;
    p->map.self = &p->self;
    memset(p->map.memory.charged, 0, sizeof p->map.memory.charged); /* one account for all here */
    *child = &p->map;
    int error = swap_map_fork_child(&p->map, &account);
    if (error) {
        die(p);
    }
    return error;
}

static inline struct swap_map *fork_well(const struct swap_map *parent)
{
    struct swap_map *child;
    REQUIRE(fork_player(parent, &child) == 0);
    return child;
}

static inline struct player *player_of(struct swap_map *map)
{
    return container_of(map, struct player, map);
}

static inline void kill_player(struct swap_map *map)
{
    die(player_of(map));
}

/* The memory is the family's: it goes with the last process, by hand here. */
static inline void tear_down(void)
{
    swap_map_destroy(&players[0].map);
    member_thread_leave();
    munmap(table, sizeof *table);
    memset(&account, 0, sizeof account);
}

static inline int64_t alloc_one(struct swap_map *map, uint8_t slots)
{
    uint64_t first;
    int error = swap_map_alloc(map, &slots, 1, &first);
    return error ? error : (int64_t)first;
}

/* As if a thread of it had died inside the lock. */
static inline void die_at_the_lock(struct swap_map *map)
{
    const struct membership *self = map->self;
    kill_player(map);
    map->family->lock.holder = (uint64_t)self->generation << 32 | (uint64_t)(self->index + 1) << 5;
}

#endif
