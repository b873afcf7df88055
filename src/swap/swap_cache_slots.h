/* SPDX-License-Identifier: MIT */
/*
 * How the swap cache keeps its slots. swap_cache.h has their states, swap_cache.c the arrows between them.
 *
 *   shard 0..63   |mutex|free list|used|
 *                    |
 *   heads         |bucket|bucket|...      a shard owns a run of neighbouring buckets
 *                    |
 *   slots         [entry, page, state, next] -> [...] -> 0
 *
 * Slots are charged by the page as they come into use: a small process needs few of those that its budget allows.
 *
 * An entry's hash picks its bucket, and with it its shard. Every slot is at all times in one chain of a
 * shard, in the free list of a shard, or in the hands of a thread that carries it from one shard to another:
 *
 *  - A shard whose free list is empty takes a free slot from another shard. It lets go of its own mutex
 *    for that (locks of one rank never nest) and looks its entry up again afterwards. So FAIL means that
 *    no shard had a free slot when it was asked, and all `slots` slots are of use however the
 *    entries hash. One free list for all would do too, but then faults of different pages would share a lock.
 *  - A slot is freed into the shard it was used in, so slots follow the load.
 *
 * Tokens. `slot` holds the shard in its upper bits, so that no lock is needed to find the lock. A hold's
 * generation is odd and unique to it: taking a hold and ending it each add one. While a hold lasts, its
 * slot stays in its shard. When it is over, the slot may belong to another shard, whose lock the bearer of
 * the old token does not have: `generation` alone is read then, which is why it is atomic. It never
 * matches again (until it has gone once round, two thousand million holds later).
 */
#ifndef UZSWAP_SWAP_SWAP_CACHE_SLOTS_H
#define UZSWAP_SWAP_SWAP_CACHE_SLOTS_H

#include "base/atomic.h"
#include "swap/swap_cache.h"

#define SWAP_CACHE_SHARD_BITS 6
#define SWAP_CACHE_SHARDS (1u << SWAP_CACHE_SHARD_BITS)
#define SWAP_CACHE_INDEX_BITS (32 - SWAP_CACHE_SHARD_BITS)
#define SWAP_CACHE_SLOTS_MAX ((1u << SWAP_CACHE_INDEX_BITS) - 1)

enum slot_state {
    SLOT_FREE,
    SLOT_WAITING,
    SLOT_LOCKED,
};

/* Guard of all fields: the mutex of the shard the slot is in. */
struct slot {
    uint64_t offset;     /* of the swap entry */
    uint64_t page;       /* valid if has_page */
    uint32_t type;       /* of the swap entry */
    uint32_t next;       /* in chain or free list; 0 ends it */
    uint32_t generation; /* odd while LOCKED; atomic, see above */
    uint8_t state;       /* enum slot_state */
    uint8_t owner;       /* enum swap_cache_owner, if LOCKED */
    bool has_page;       /* always true if WAITING */
    bool fault_came;     /* while LOCKED(EVICT or STORE) */
};
_Static_assert(sizeof(struct slot) == 32, "two slots a cache line");

struct shard {
    struct mutex lock; /* guards this shard's buckets, its slots and: */
    uint32_t free;     /* first free slot that was used before; 0 = none */
    uint32_t fresh;    /* free, and never used: the slots from this ... */
    uint32_t end;      /* ... up to this one, which are not charged yet */
    uint32_t used;     /* slots in its chains; atomic, so that count() needs no lock */
} __attribute__((aligned(64)));

struct swap_cache {
    struct memory *memory; /* all but `charged` and `shards` is immutable */
    struct slot *slots;    /* slots[0] is nobody's: 0 ends every list */
    uint32_t *heads;
    uint32_t slots_total;
    uint64_t charged;     /* pages of slots; atomic */
    unsigned bucket_bits; /* at least SWAP_CACHE_SHARD_BITS */
    struct shard shards[SWAP_CACHE_SHARDS];
};

/* An entry's bucket, its shard, and its slot if there is one. Valid while the shard is locked. */
struct place {
    uint32_t bucket;
    uint32_t shard_number;
    struct shard *shard;
    struct slot *slot; /* NULL = none */
    uint32_t index;
};

/* The number of the bucket that `entry` belongs in. */
uint32_t swap_cache_bucket(const struct swap_cache *cache, struct swap_entry entry);

/* Locks the shard of `entry` and looks for its slot. Ends with mutex_unlock(&place.shard->lock). */
struct place swap_cache_look_up(struct swap_cache *cache, struct swap_entry entry);

/* Gives `entry` a fresh slot in state FREE, and puts it in place->slot: true. False if there is none to be
 * had (place->slot is NULL), or another thread made one (place->slot is that) while the shard was unlocked
 * to fetch a free slot from another. */
bool swap_cache_add_slot(struct swap_cache *cache, struct swap_entry entry, struct place *place);

/* Takes a slot out of its chain into the free list of `shard`, its own. The caller has set its state. */
void swap_cache_remove_slot(struct swap_cache *cache, struct shard *shard, struct slot *slot);

#endif
