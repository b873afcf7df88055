/* SPDX-License-Identifier: MIT */
/* swap_cache_consistent: every slot is on exactly one list, and is what that list says. */
#include <stdio.h>

#include "swap/swap_cache_slots.h"

/* What a walk over all chains and free lists has seen. */
struct walk {
    struct swap_cache *cache;
    uint8_t *seen; /* one byte a slot */
    bool ok;
};

#define MISMATCH(walk, ...) ((walk)->ok = false, (void)fprintf(stderr, "swap cache: " __VA_ARGS__))

/* Notes that slot `index` is on a list; false if it cannot be followed further. */
static bool see_slot(struct walk *walk, uint32_t index, const char *list)
{
    if (index > walk->cache->slots_total) {
        MISMATCH(walk, "slot %u on a %s is out of range\n", index, list);
        return false;
    }
    if (walk->seen[index]) {
        MISMATCH(walk, "slot %u is on a %s and on another list, or the list is a ring\n", index, list);
        return false;
    }
    walk->seen[index] = 1;
    return true;
}

static void check_used_slot(struct walk *walk, uint32_t bucket, uint32_t index)
{
    const struct slot *slot = &walk->cache->slots[index];
    struct swap_entry entry = {.type = slot->type, .offset = slot->offset};
    if (swap_cache_bucket(walk->cache, entry) != bucket) {
        MISMATCH(walk, "slot %u is in bucket %u and its entry belongs in %u\n", index, bucket,
                 swap_cache_bucket(walk->cache, entry));
    }
    if (slot->state != SLOT_WAITING && slot->state != SLOT_LOCKED) {
        MISMATCH(walk, "slot %u is in a chain in state %u\n", index, slot->state);
    }
    if ((slot->generation & 1) != (slot->state == SLOT_LOCKED)) {
        MISMATCH(walk, "slot %u in state %u has generation %u\n", index, slot->state, slot->generation);
    }
    if (slot->state == SLOT_WAITING && !slot->has_page) {
        MISMATCH(walk, "slot %u waits without a page\n", index);
    }
    if (slot->state == SLOT_LOCKED &&
        (slot->owner > SWAP_CACHE_WRITEBACK ||
         (slot->fault_came && slot->owner != SWAP_CACHE_EVICT && slot->owner != SWAP_CACHE_STORE))) {
        MISMATCH(walk, "slot %u: owner %u, fault came %d\n", index, slot->owner, slot->fault_came);
    }
    for (uint32_t i = slot->next; i && i <= walk->cache->slots_total; i = walk->cache->slots[i].next) {
        if (walk->seen[i]) {
            break; /* a ring, reported elsewhere */
        }
        if (walk->cache->slots[i].offset == slot->offset && walk->cache->slots[i].type == slot->type) {
            MISMATCH(walk, "slots %u and %u have the same entry\n", index, i);
        }
    }
}

static uint32_t check_chain(struct walk *walk, uint32_t bucket)
{
    uint32_t length = 0;
    for (uint32_t i = walk->cache->heads[bucket]; i && see_slot(walk, i, "chain");
         i = walk->cache->slots[i].next) {
        check_used_slot(walk, bucket, i);
        length++;
    }
    return length;
}

static void check_shard(struct walk *walk, unsigned number)
{
    struct shard *shard = &walk->cache->shards[number];
    unsigned shift = walk->cache->bucket_bits - SWAP_CACHE_SHARD_BITS;
    uint32_t used = 0;
    for (uint32_t bucket = number << shift; bucket < (number + 1) << shift; bucket++) {
        used += check_chain(walk, bucket);
    }
    if (used != shard->used) {
        MISMATCH(walk, "shard %u counts %u slots and its chains hold %u\n", number, shard->used, used);
    }
    for (uint32_t i = shard->free; i && see_slot(walk, i, "free list"); i = walk->cache->slots[i].next) {
        const struct slot *slot = &walk->cache->slots[i];
        if (slot->state != SLOT_FREE || (slot->generation & 1)) {
            MISMATCH(walk, "slot %u is in a free list in state %u\n", i, slot->state);
        }
    }
    for (uint32_t i = shard->fresh; i < shard->end && see_slot(walk, i, "fresh run"); i++) {
    }
}

bool swap_cache_consistent(struct swap_cache *cache)
{
    size_t bytes = (size_t)cache->slots_total + 1;
    struct walk walk = {.cache = cache, .ok = true};
    walk.seen = memory_map(cache->memory, bytes, ACCOUNT_TABLES);
    if (!walk.seen) {
        fprintf(stderr, "swap cache: no memory to check it\n");
        return false;
    }
    for (unsigned i = 0; i < SWAP_CACHE_SHARDS; i++) {
        check_shard(&walk, i);
    }
    for (uint32_t i = 1; i <= cache->slots_total; i++) {
        if (!walk.seen[i]) {
            MISMATCH(&walk, "slot %u is on no list\n", i);
        }
    }
    memory_unmap(cache->memory, walk.seen, bytes, ACCOUNT_TABLES);
    return walk.ok;
}
