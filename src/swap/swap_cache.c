/* SPDX-License-Identifier: MIT */
/* The arrows of the diagram in swap_cache.h, each of them one small function. */
#include "swap/swap_cache_slots.h"

#define ONLY(owner) (1u << (owner))
#define ANY_OWNER (~0u)

/* The slot that `token` holds, its shard locked; NULL, and nothing locked, if that hold is over or its owner
 * is none of `owners`. */
static struct slot *lock_hold(struct swap_cache *cache, struct swap_cache_token token, struct shard **shard,
                              unsigned owners)
{
    *shard = &cache->shards[token.slot >> SWAP_CACHE_INDEX_BITS];
    struct slot *slot = &cache->slots[token.slot & SWAP_CACHE_SLOTS_MAX];
    mutex_lock(&(*shard)->lock);
    /* Relaxed: if the hold is over, whoever ended it had this lock before us, so that we see at least
     * its count; if not, the slot is in this shard and the mutex orders all. */
    if (atomic_read_relaxed(&slot->generation) == token.generation && (owners & ONLY(slot->owner))) {
        return slot;
    }
    mutex_unlock(&(*shard)->lock);
    return NULL;
}

/* Gives place->slot a new owner; earlier tokens of it are void. */
static struct swap_cache_token begin_hold(const struct place *place, enum swap_cache_owner owner)
{
    struct slot *slot = place->slot;
    uint32_t generation = slot->generation + (slot->state == SLOT_LOCKED ? 2 : 1);
    slot->state = SLOT_LOCKED;
    slot->owner = (uint8_t)owner;
    slot->fault_came = false;
    atomic_set_relaxed(&slot->generation, generation); /* see lock_hold */
    return (struct swap_cache_token){.slot = place->shard_number << SWAP_CACHE_INDEX_BITS | place->index,
                                     .generation = generation};
}

static void end_hold(struct slot *slot)
{
    atomic_set_relaxed(&slot->generation, slot->generation + 1); /* see lock_hold */
}

/* LOCKED -> WAITING */
static void let_wait(struct slot *slot)
{
    end_hold(slot);
    slot->state = SLOT_WAITING;
}

/* LOCKED(EVICT or STORE) -> LOCKED(FAULT): the same hold, a new duty. */
static void become_fault(struct slot *slot)
{
    slot->owner = SWAP_CACHE_FAULT;
    slot->fault_came = false;
}

/* (no slot) -> LOCKED(owner). NEW; or FAIL if no slot is to be had; or EXIST if another has just made one,
 * which is place->slot. */
static enum swap_cache_answer make_slot(struct swap_cache *cache, struct swap_entry entry,
                                        struct place *place, enum swap_cache_owner owner,
                                        struct swap_cache_token *token)
{
    if (!swap_cache_add_slot(cache, entry, place)) {
        return place->slot ? SWAP_CACHE_EXIST : SWAP_CACHE_FAIL;
    }
    *token = begin_hold(place, owner);
    return SWAP_CACHE_NEW;
}

/* LOCKED or WAITING -> (no slot) */
static void drop_slot(struct swap_cache *cache, struct shard *shard, struct slot *slot)
{
    if (slot->state == SLOT_LOCKED) {
        end_hold(slot);
    }
    slot->state = SLOT_FREE;
    swap_cache_remove_slot(cache, shard, slot);
}

enum swap_cache_answer swap_cache_acquire(struct swap_cache *cache, struct swap_entry entry,
                                          enum swap_cache_owner owner, struct swap_cache_token *token)
{
    struct place place = swap_cache_look_up(cache, entry);
    enum swap_cache_answer answer = SWAP_CACHE_EXIST;
    if (!place.slot) {
        answer = make_slot(cache, entry, &place, owner, token);
    }
    mutex_unlock(&place.shard->lock);
    return answer;
}

/* A fault meets a slot. */
static enum swap_cache_answer take_slot(struct place *place, struct swap_cache_token *token, uint64_t *page)
{
    struct slot *slot = place->slot;
    if (slot->state == SLOT_WAITING) {
        *token = begin_hold(place, SWAP_CACHE_FAULT);
        *page = slot->page;
        return SWAP_CACHE_PAGE;
    }
    switch ((enum swap_cache_owner)slot->owner) {
    case SWAP_CACHE_WRITEBACK:
        *token = begin_hold(place, SWAP_CACHE_FAULT);
        return SWAP_CACHE_NEW;
    case SWAP_CACHE_EVICT:
    case SWAP_CACHE_STORE:
        slot->fault_came = true;
        return SWAP_CACHE_BUSY;
    case SWAP_CACHE_FAULT:
        break;
    }
    return SWAP_CACHE_BUSY;
}

enum swap_cache_answer swap_cache_take(struct swap_cache *cache, struct swap_entry entry,
                                       struct swap_cache_token *token, uint64_t *page)
{
    struct place place = swap_cache_look_up(cache, entry);
    enum swap_cache_answer answer = SWAP_CACHE_EXIST;
    if (!place.slot) {
        answer = make_slot(cache, entry, &place, SWAP_CACHE_FAULT, token);
    }
    if (answer == SWAP_CACHE_EXIST) {
        answer = take_slot(&place, token, page);
    }
    mutex_unlock(&place.shard->lock);
    return answer;
}

bool swap_cache_publish(struct swap_cache *cache, struct swap_cache_token token, uint64_t page)
{
    struct shard *shard;
    struct slot *slot = lock_hold(cache, token, &shard, ONLY(SWAP_CACHE_EVICT));
    if (!slot) {
        return true;
    }
    /* The fault's server may have to put the page back: the slot carries it in both cases. */
    slot->page = page;
    slot->has_page = true;
    bool waits = !slot->fault_came;
    if (waits) {
        let_wait(slot);
    } else {
        become_fault(slot);
    }
    mutex_unlock(&shard->lock);
    return waits;
}

bool swap_cache_begin_store(struct swap_cache *cache, struct swap_entry entry, uint64_t page,
                            struct swap_cache_token *token)
{
    struct place place = swap_cache_look_up(cache, entry);
    bool begun = place.slot && place.slot->state == SLOT_WAITING && place.slot->page == page;
    if (begun) {
        *token = begin_hold(&place, SWAP_CACHE_STORE);
    }
    mutex_unlock(&place.shard->lock);
    return begun;
}

bool swap_cache_is_wanted(struct swap_cache *cache, struct swap_cache_token token)
{
    struct shard *shard;
    struct slot *slot = lock_hold(cache, token, &shard, ONLY(SWAP_CACHE_EVICT) | ONLY(SWAP_CACHE_STORE));
    if (!slot) {
        return false;
    }
    bool wanted = slot->fault_came;
    mutex_unlock(&shard->lock);
    return wanted;
}

bool swap_cache_finish_store(struct swap_cache *cache, struct swap_cache_token token)
{
    struct shard *shard;
    struct slot *slot = lock_hold(cache, token, &shard, ONLY(SWAP_CACHE_STORE));
    if (!slot) {
        return true;
    }
    bool gone = !slot->fault_came;
    if (gone) {
        drop_slot(cache, shard, slot);
    } else {
        become_fault(slot);
    }
    mutex_unlock(&shard->lock);
    return gone;
}

bool swap_cache_cancel_store(struct swap_cache *cache, struct swap_cache_token token)
{
    struct shard *shard;
    struct slot *slot = lock_hold(cache, token, &shard, ONLY(SWAP_CACHE_STORE));
    if (!slot) {
        return true;
    }
    bool waits = !slot->fault_came;
    if (waits) {
        let_wait(slot);
    } else {
        become_fault(slot);
    }
    mutex_unlock(&shard->lock);
    return waits;
}

void swap_cache_putback(struct swap_cache *cache, struct swap_cache_token token)
{
    struct shard *shard;
    struct slot *slot = lock_hold(cache, token, &shard, ONLY(SWAP_CACHE_FAULT));
    if (!slot) {
        return;
    }
    if (slot->has_page) {
        let_wait(slot);
    } else {
        drop_slot(cache, shard, slot);
    }
    mutex_unlock(&shard->lock);
}

bool swap_cache_release(struct swap_cache *cache, struct swap_cache_token token)
{
    struct shard *shard;
    struct slot *slot = lock_hold(cache, token, &shard, ANY_OWNER);
    if (!slot) {
        return true; /* a fault took the writeback's slot over */
    }
    bool over = !slot->fault_came;
    if (over) {
        drop_slot(cache, shard, slot);
    } else {
        become_fault(slot);
    }
    mutex_unlock(&shard->lock);
    return over;
}

bool swap_cache_drop(struct swap_cache *cache, struct swap_entry entry, uint64_t *page)
{
    struct place place = swap_cache_look_up(cache, entry);
    bool dropped = place.slot && place.slot->state == SLOT_WAITING;
    if (dropped) {
        *page = place.slot->page;
        drop_slot(cache, place.shard, place.slot);
    }
    mutex_unlock(&place.shard->lock);
    return dropped;
}

bool swap_cache_has(struct swap_cache *cache, struct swap_entry entry)
{
    struct place place = swap_cache_look_up(cache, entry);
    bool has = place.slot != NULL;
    mutex_unlock(&place.shard->lock);
    return has;
}

size_t swap_cache_count(struct swap_cache *cache)
{
    size_t count = 0;
    for (unsigned i = 0; i < SWAP_CACHE_SHARDS; i++) {
        count += atomic_read_relaxed(&cache->shards[i].used); /* a snapshot */
    }
    return count;
}
