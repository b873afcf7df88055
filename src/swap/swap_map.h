/* SPDX-License-Identifier: MIT */
/*
 * The swap map: the reference count of every device slot.
 *
 * A device is an array of slots of SLOT_BYTES. An object (one written-back page, compressed or plain)
 * takes 1 .. SWAP_OBJECT_SLOTS_MAX slots in a row. The map holds one byte a slot:
 *
 *   0          free
 *   1 .. 253   first slot of an object, that many users
 *   254        first slot of an object with 254 users or more
 *   255        a further slot of the object that begins before it
 *
 * A map is private to a process, where each object has one user; or shared by a family: a process and all that are
 * forked from it, which then share the device. Each process of a family has a seat, with a bitmap of its holdings:
 * one bit for the first slot of each object it uses. swap_map_burial.c says what happens as they die.
 *
 * Thread-safe behind one mutex (rank LOCK_RANK_SWAP_MAP), and in a family a lock between processes inside it.
 * Nothing here does I/O.
 */
#ifndef UZSWAP_SWAP_SWAP_MAP_H
#define UZSWAP_SWAP_SWAP_MAP_H

#include "base/lock.h"
#include "base/member.h"
#include "base/shared_lock.h"
#include "base/sparse.h"
#include "swap/device.h"

/* One page with its record header. */
#define SWAP_OBJECT_SLOTS_MAX 9

#define SWAP_SEATS_MAX MEMBERS_MAX

/* Guard of all: the lock or locks. */
struct swap_map_state {
    uint64_t slots_used;
    uint64_t high_water; /* no slot at or above it was ever used */
    uint64_t next;       /* where the search for free slots goes on */
    uint64_t no_run;     /* no hole has this many slots, since nothing was freed; 0 = not known */
};

/* How far a recovery has come (swap_map_burial.c). */
struct swap_recovery {
    uint64_t seat, slot; /* all before are done */
    bool under_way;
};

/* In memory that the family shares. */
struct swap_family {
    struct shared_lock lock;
    struct swap_map_state state;
    struct swap_recovery recovery;   /* Guard: lock */
    uint64_t owners[SWAP_SEATS_MAX]; /* whose seat it is: its member_name; 0 = free.
                                        Written under the lock; atomic, as it is looked at without */
};

/* One process's view. */
struct swap_map {
    struct mutex lock;            /* of this process's threads */
    struct swap_map_state *state; /* the family's, or &own_state */
    struct sparse counts;         /* one byte a slot. Guard: lock */
    struct sparse sums;           /* checksum of the plain page whose first slot / 8 is the index. Guard: the
                                     owner of the object; written before the object is published */
    uint64_t slots_total;         /* immutable */
    struct swap_map_state own_state;

    /* Of a family: immutable but for fork. NULL, and unused, in a private map. */
    struct swap_family *family;
    const struct membership *self; /* the calling process, as a member; its table is the shared lock's */
    struct memory memory;          /* for what is shared */
    struct sparse holds;           /* the bitmaps, one a seat, as words; zero in a free seat. Guard: lock */
    uint64_t seat_words;           /* of 64 slots each, whole pages */
    uint32_t seats;
    uint32_t seat;  /* this process's */
    uint64_t owner; /* what family->owners has for it */
};

/*
 * 0 or -ENOMEM / -EINVAL. `bytes` is the device's size. With `self`, which outlives the map, its member founds a family
 * of its own, and all threads that use the map are that member's. A family has SWAP_SEATS_MAX seats, or fewer
 * where address space is limited.
 */
int swap_map_init(struct swap_map *map, struct memory *memory, uint64_t bytes, const struct membership *self);
void swap_map_destroy(struct swap_map *map);

/*
 * Takes slots for `n` objects of `slots[i]` slots each, one user, and writes each one's first slot to
 * `first[i]`. Objects are laid one behind the other in as few runs as the free space allows, searching
 * on from the last place; fresh ground until half of the old is free, then its holes. All or
 * nothing: 0, -ENOSPC (also when only the holes are too short), -ENOMEM, or -EINVAL (no such size).
 */
int swap_map_alloc(struct swap_map *map, const uint8_t *slots, size_t n, uint64_t *first);

/* This process uses the object at `first` no more; after its last user the slots are free. */
void swap_map_put(struct swap_map *map, uint64_t first);

/* Slots in use (in a family: by any process), and one above the highest slot that was ever used. */
uint64_t swap_map_used(struct swap_map *map);
uint64_t swap_map_high_water(struct swap_map *map);

/* Slots of the objects that this process uses. For checks: looks at every slot. */
uint64_t swap_map_used_here(struct swap_map *map);

/* The checksum of a plain page (8 slots from `first`). Set: 0 or -ENOMEM. */
int swap_map_set_sum(struct swap_map *map, uint64_t first, uint64_t sum);
uint64_t swap_map_sum(struct swap_map *map, uint64_t first);

/*
 * In a forked child that is a member of its own by now: takes a seat, and becomes a user of each object that the parent
 * uses. `map` is the copy of the parent's view; the parent stands still. 0; -EAGAIN if there is no seat; -ESRCH if
 * the parent has died meanwhile and what it used is given up; -ENOMEM; -EINVAL: the map is private. After an error
 * the map cannot be used. `account` is the child's, in which what the parent was charged for the family stands, too.
 */
int swap_map_fork_child(struct swap_map *map, struct account *account);

/* Gives up what dead processes of the family used, others going on beside it. Cheap if there are none. How many there
 * were. */
unsigned swap_map_bury_dead(struct swap_map *map);

/* Re-derives slots_used and high_water, and in a family all counts, and checks the shape of every object, with
 * everything else in this process standing still. Prints each mismatch to standard error. */
bool swap_map_consistent(struct swap_map *map);

#endif
