/* SPDX-License-Identifier: MIT */
/* Between the files swap_map*.c. All but the first two hold the lock. */
#ifndef UZSWAP_SWAP_SWAP_MAP_INTERNAL_H
#define UZSWAP_SWAP_SWAP_MAP_INTERNAL_H

#include "swap/swap_map.h"

#define SEAT_FREE 0

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

uint64_t seat_owner(const struct swap_map *map, uint32_t seat);
void seat_set_owner(struct swap_map *map, uint32_t seat, uint64_t owner);

bool seats_uses(const struct swap_map *map, uint32_t seat, uint64_t first);

/* How many seats use the object, counted by their bits. */
uint32_t seats_users(const struct swap_map *map, uint64_t first);

/* ---- swap_map_burial.c: families only */

/* Takes the shared lock. False, without it, if a piece of a recovery was done, and more is to be done: call again. */
bool seats_try_enter(struct swap_map *map);

/* Takes the seat's bits away, and with each a user of an object, and leaves it free; with the lock held. */
void seats_empty(struct swap_map *map, uint32_t seat);

/* A piece of the burial of a seat, if its owner is dead. False: nothing is left of it. Takes the lock. */
bool seats_bury_piece(struct swap_map *map, uint32_t seat);

#endif
