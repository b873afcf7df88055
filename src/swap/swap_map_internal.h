/* SPDX-License-Identifier: MIT */
/* Between swap_map.c, swap_map_seats.c and swap_map_check.c. All but the first two hold the lock. */
#ifndef UZSWAP_SWAP_SWAP_MAP_INTERNAL_H
#define UZSWAP_SWAP_SWAP_MAP_INTERNAL_H

#include "swap/swap_map.h"

#define COUNT_FREE 0
#define COUNT_SATURATED 254
#define COUNT_FURTHER 255

/* Takes the lock or locks. Who finds that the last holder died puts the map in order first. */
void swap_map_enter(struct swap_map *map);
void swap_map_leave(struct swap_map *map);

void swap_map_assert_entered(const struct swap_map *map);

/* The count of `slot`, which is below high_water or inside a run that was committed. */
static inline uint8_t *count_at(struct swap_map *map, uint64_t slot)
{
    return (uint8_t *)map->counts.slots + slot;
}

/* Is `first` the first slot of an object? */
bool map_is_object(struct swap_map *map, uint64_t first);
uint64_t map_object_slots(struct swap_map *map, uint64_t first);

/* One user less: at 0 the slots are free. In a family the user's bit is cleared already. */
void map_drop_user(struct swap_map *map, uint64_t first);

/* ---- swap_map_seats.c: families only */

int seats_init(struct swap_map *map, struct memory *memory);
void seats_destroy(struct swap_map *map);

/* Commits this process's bits of [first, first + slots). */
bool seats_commit(struct swap_map *map, uint64_t first, uint64_t slots);

/* Makes `first`, whose bit is committed, this process's object of one slot, before its further slots are marked. */
void seats_begin_object(struct swap_map *map, uint64_t first);

/* Takes this process's bit away. False if it was not set. */
bool seats_clear(struct swap_map *map, uint64_t first);

bool seats_uses(const struct swap_map *map, uint32_t seat, uint64_t first);

/* How many seats use the object, counted by their bits. */
uint32_t seats_users(const struct swap_map *map, uint64_t first);

/* A holder of the lock died at it: counts are derived anew from the bits of the living. */
void seats_recover(struct swap_map *map);

/* swap_map_bury_dead, with the lock held. */
unsigned seats_bury_dead(struct swap_map *map);

#endif
