/* SPDX-License-Identifier: MIT */
/*
 * The swap map: the reference count of every device slot.
 *
 * A device is an array of slots of SLOT_BYTES. An object (one written-back page, compressed or plain)
 * takes 1 .. SWAP_OBJECT_SLOTS_MAX slots in a row. The map holds one byte a slot:
 *
 *   0          free
 *   1 .. 253   first slot of an object, that many users
 *   254        first slot of an object with 254 users or more: never freed again
 *   255        a further slot of the object that begins before it
 *
 * Thread-safe behind one mutex (rank LOCK_RANK_SWAP_MAP). Nothing here does I/O.
 */
#ifndef UZSWAP_SWAP_SWAP_MAP_H
#define UZSWAP_SWAP_SWAP_MAP_H

#include "base/lock.h"
#include "base/sparse.h"
#include "swap/device.h"

/* One page with its record header. */
#define SWAP_OBJECT_SLOTS_MAX 9

struct swap_map {
    struct mutex lock;
    struct sparse counts; /* one byte a slot. Guard: lock */
    struct sparse sums;   /* checksum of the plain page whose first slot / 8 is the index. Guard: the
                             owner of the object; written before the object is published */
    uint64_t slots_total; /* immutable */
    uint64_t slots_used;  /* Guard: lock */
    uint64_t high_water;  /* no slot at or above it was ever used. Guard: lock */
    uint64_t next;        /* where the search for free slots goes on. Guard: lock */
    uint64_t no_run; /* no hole has this many slots, since nothing was freed; 0 = not known. Guard: lock */
};

/* 0 or -ENOMEM / -EINVAL. `bytes` is the device's size. */
int swap_map_init(struct swap_map *map, struct memory *memory, uint64_t bytes);
void swap_map_destroy(struct swap_map *map);

/*
 * Takes slots for `n` objects of `slots[i]` slots each, count 1, and writes each one's first slot to
 * `first[i]`. Objects are laid one behind the other in as few runs as the free space allows, searching
 * on from the last place; fresh ground until half of the old is free, then its holes. All or
 * nothing: 0, -ENOSPC (also when only the holes are too short), -ENOMEM, or -EINVAL (no such size).
 */
int swap_map_alloc(struct swap_map *map, const uint8_t *slots, size_t n, uint64_t *first);

/* One more user of the object at `first`. */
void swap_map_get(struct swap_map *map, uint64_t first);

/* One user less; at 0 the slots are free. */
void swap_map_put(struct swap_map *map, uint64_t first);

/* Slots in use, and one above the highest slot that was ever used. */
uint64_t swap_map_used(struct swap_map *map);
uint64_t swap_map_high_water(struct swap_map *map);

/* The next run of slots in use at or after *first. False if there is none. */
bool swap_map_next_used(struct swap_map *map, uint64_t *first, uint64_t *slots);

/* The checksum of a plain page (8 slots from `first`). Set: 0 or -ENOMEM. */
int swap_map_set_sum(struct swap_map *map, uint64_t first, uint64_t sum);
uint64_t swap_map_sum(struct swap_map *map, uint64_t first);

/* Re-derives slots_used and high_water and checks the shape of every object, with everything else standing
 * still. Prints each mismatch to standard error. */
bool swap_map_consistent(struct swap_map *map);

#endif
