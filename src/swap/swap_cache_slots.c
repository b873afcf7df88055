/* SPDX-License-Identifier: MIT */
#include "swap/swap_cache_slots.h"

#include <errno.h>

/* Few slots are used at a time: a fourth by pages that wait, at most. */
#define SLOTS_PER_BUCKET 4

#define SLOTS_PER_PAGE (PAGE_BYTES / sizeof(struct slot))

static size_t slots_bytes(const struct swap_cache *cache)
{
    return ((size_t)cache->slots_total + 1) * sizeof(struct slot);
}

static size_t heads_bytes(const struct swap_cache *cache)
{
    return sizeof(uint32_t) << cache->bucket_bits;
}

/* Deals all slots out to the shards, whole pages of neighbours to one shard. */
static void deal_out(struct swap_cache *cache)
{
    size_t all = (size_t)cache->slots_total + 1;
    size_t share = round_up((all + SWAP_CACHE_SHARDS - 1) / SWAP_CACHE_SHARDS, SLOTS_PER_PAGE);
    for (size_t i = 0; i < SWAP_CACHE_SHARDS; i++) {
        cache->shards[i].fresh = (uint32_t)max_size(min_size(i * share, all), 1);
        cache->shards[i].end = (uint32_t)max_size(min_size((i + 1) * share, all), 1);
    }
}

int swap_cache_create(struct swap_cache **result, struct memory *memory, size_t slots)
{
    if (!slots || slots > SWAP_CACHE_SLOTS_MAX) {
        return -EINVAL;
    }
    struct swap_cache *cache = memory_map(memory, sizeof *cache, ACCOUNT_TABLES);
    if (!cache) {
        return -ENOMEM;
    }
    cache->memory = memory;
    cache->slots_total = (uint32_t)slots;
    cache->bucket_bits = SWAP_CACHE_SHARD_BITS;
    while ((size_t)SLOTS_PER_BUCKET << cache->bucket_bits < slots) {
        cache->bucket_bits++;
    }
    cache->slots = memory_reserve(memory, slots_bytes(cache));
    cache->heads = memory_map(memory, heads_bytes(cache), ACCOUNT_TABLES);
    if (!cache->slots || !cache->heads) {
        swap_cache_destroy(cache);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < SWAP_CACHE_SHARDS; i++) {
        mutex_init(&cache->shards[i].lock, LOCK_RANK_SWAP_CACHE);
    }
    deal_out(cache);
    *result = cache;
    return 0;
}

void swap_cache_destroy(struct swap_cache *cache)
{
    if (!cache) {
        return;
    }
    memory_unmap(cache->memory, cache->heads, heads_bytes(cache), ACCOUNT_TABLES);
    memory_unreserve(cache->memory, cache->slots, slots_bytes(cache));
    account_uncharge(cache->memory->account, ACCOUNT_TABLES, cache->charged * PAGE_BYTES);
    memory_unmap(cache->memory, cache, sizeof *cache, ACCOUNT_TABLES);
}

/* --- Finding slots --- */

/* Multiply and shift, twice, so that neighbouring offsets spread over all shards. */
uint32_t swap_cache_bucket(const struct swap_cache *cache, struct swap_entry entry)
{
    uint64_t hash = entry.offset ^ (uint64_t)entry.type << 40;
    hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
    return (uint32_t)(hash >> (64 - cache->bucket_bits));
}

static uint32_t shard_of_bucket(const struct swap_cache *cache, uint32_t bucket)
{
    return bucket >> (cache->bucket_bits - SWAP_CACHE_SHARD_BITS);
}

static void look_up(struct swap_cache *cache, struct swap_entry entry, struct place *place)
{
    mutex_assert_held(&place->shard->lock);
    place->index = cache->heads[place->bucket];
    while (place->index) {
        place->slot = &cache->slots[place->index];
        if (place->slot->offset == entry.offset && place->slot->type == entry.type) {
            return;
        }
        place->index = place->slot->next;
    }
    place->slot = NULL;
}

struct place swap_cache_look_up(struct swap_cache *cache, struct swap_entry entry)
{
    struct place place = {.bucket = swap_cache_bucket(cache, entry)};
    place.shard_number = shard_of_bucket(cache, place.bucket);
    place.shard = &cache->shards[place.shard_number];
    mutex_lock(&place.shard->lock);
    look_up(cache, entry, &place);
    return place;
}

/* --- Free slots --- */

/* A slot of `shard` that was never used, 0 if it has none, or there is no memory. */
static uint32_t take_fresh(struct swap_cache *cache, struct shard *shard)
{
    mutex_assert_held(&shard->lock);
    if (shard->fresh == shard->end) {
        return 0;
    }
    if (shard->fresh % SLOTS_PER_PAGE == 0 || shard->fresh == 1) {
        if (!memory_commit(cache->memory, PAGE_BYTES, ACCOUNT_TABLES)) {
            return 0;
        }
        atomic_add_relaxed(&cache->charged, 1); /* a count */
    }
    return shard->fresh++;
}

/* A free slot of `shard`, 0 if it has none. */
static uint32_t pop_free(struct swap_cache *cache, struct shard *shard)
{
    mutex_assert_held(&shard->lock);
    uint32_t index = shard->free;
    if (!index) {
        return take_fresh(cache, shard);
    }
    shard->free = cache->slots[index].next;
    return index;
}

static void push_free(struct swap_cache *cache, struct shard *shard, uint32_t index)
{
    mutex_assert_held(&shard->lock);
    cache->slots[index].next = shard->free;
    shard->free = index;
}

/* A free slot of any other shard, 0 if none has one. No shard is locked. */
static uint32_t steal_free(struct swap_cache *cache, uint32_t thief)
{
    for (uint32_t i = 1; i < SWAP_CACHE_SHARDS; i++) {
        struct shard *shard = &cache->shards[(thief + i) % SWAP_CACHE_SHARDS];
        SCOPED_LOCK(&shard->lock);
        uint32_t index = pop_free(cache, shard);
        if (index) {
            return index;
        }
    }
    return 0;
}

/* A free slot for place->shard, its own or another's. In the second case the shard was unlocked meanwhile,
 * and place->slot may now be a slot that another thread made for `entry`. 0 if no shard has one. */
static uint32_t find_free(struct swap_cache *cache, struct swap_entry entry, struct place *place)
{
    uint32_t index = pop_free(cache, place->shard);
    if (!index) {
        mutex_unlock(&place->shard->lock);
        index = steal_free(cache, place->shard_number);
        mutex_lock(&place->shard->lock);
        look_up(cache, entry, place);
    }
    return index ? index : pop_free(cache, place->shard);
}

bool swap_cache_add_slot(struct swap_cache *cache, struct swap_entry entry, struct place *place)
{
    uint32_t index = find_free(cache, entry, place);
    if (!index) {
        return false;
    }
    if (place->slot) {
        push_free(cache, place->shard, index);
        return false;
    }
    struct slot *slot = &cache->slots[index];
    slot->offset = entry.offset;
    slot->type = entry.type;
    slot->has_page = false;
    slot->next = cache->heads[place->bucket];
    cache->heads[place->bucket] = index;
    atomic_add_relaxed(&place->shard->used, 1); /* a count, nothing is reached through it */
    place->slot = slot;
    place->index = index;
    return true;
}

void swap_cache_remove_slot(struct swap_cache *cache, struct shard *shard, struct slot *slot)
{
    mutex_assert_held(&shard->lock);
    uint32_t index = (uint32_t)(slot - cache->slots);
    struct swap_entry entry = {.type = slot->type, .offset = slot->offset};
    uint32_t *link = &cache->heads[swap_cache_bucket(cache, entry)];
    while (*link != index) {
        link = &cache->slots[*link].next;
    }
    *link = slot->next;
    atomic_sub_relaxed(&shard->used, 1); /* a count */
    push_free(cache, shard, index);
}
