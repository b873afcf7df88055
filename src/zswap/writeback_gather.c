/* SPDX-License-Identifier: MIT */
/*
 * Victims: who is written back next.
 *
 * The oldest, strictly in LRU order; the areas take turns. An entry that was loaded since it was stored goes to the
 * young end instead, once; so does one whose page is in transition elsewhere. With each victim of zbud its buddy
 * goes along, or no page would come free. zsmalloc names no such peers: bench/shrink_victims.c compares, in a
 * churned pool,
 *
 *   oldest     strict order; compaction draws together what is left, once the freed objects are really gone
 *   peers      with each victim all that is left in its chain, if that is little
 *   window     of the oldest N batches, first those whose chains lie within these the most
 *
 * Nothing wins over strict order. The oldest entries of a class went into the same chains one after the other, but
 * replacements mix them, and compaction packs what is left, so nearly empty chains are rare. Peers of chains that
 * are down to a quarter change the bytes written and copied for a page given back by 0 to 4 %, with one victim of a
 * hundred younger than 40 to 70 % of the pool; windows by 3 % either way. Smaller ones do next to nothing. So what
 * empties a chain is compaction, which follows the batch (shrinker.c), sparsest chains first.
 */
#include "zswap/writeback.h"

#include "zswap/dedup.h"

#define PEERS_MAX 8

static void add_item(struct buffer *b, struct swap_entry entry, struct area *area, uint64_t *word,
                     uint64_t held, struct swap_cache_token token)
{
    uint64_t object = dedup_object(b->z, held);
    size_t weight = dedup_weight(b->z, held), slots = device_slots(object, b->z->mode);
    b->items[b->items_used++] = (struct item){.entry = entry,
                                              .area = area,
                                              .word = word,
                                              .held = held,
                                              .object = object,
                                              .weight = (uint32_t)weight,
                                              .token = token,
                                              .at = (uint16_t)b->slots_used,
                                              .slots = (uint8_t)slots};
    b->slots_used += (uint32_t)slots;
    b->payload += weight;
    /* Relaxed: the lock is held, and who takes the area out of the table has it before he looks. */
    atomic_add_relaxed(&area->writing, 1);
}

static bool has_room(const struct buffer *b)
{
    return b->items_used < ITEMS_MAX && b->slots_used + SWAP_OBJECT_SLOTS_MAX <= BUFFER_SLOTS;
}

/* Relaxed: a word that is not POOL any more is not counted, and area_lru_add looks again. */
static void give_second_chance(struct zswap *z, struct area *area, uint64_t offset, const uint64_t *word)
{
    counter_add(z, COUNTER_SECOND_CHANCES, entry_kind(atomic_read_relaxed(word)) == ENTRY_POOL);
    area_lru_add(area, offset);
}

/* Tries to take the entry, which is no longer in the LRU, for writeback. False if gathering should stop. */
static bool take_victim(struct zswap *z, struct buffer *b, struct area *area, struct swap_entry entry)
{
    uint64_t *word = area_word(area, entry.offset);
    struct swap_cache_token token;
    if (!word) {
        return true;
    }
    enum swap_cache_answer answer = swap_cache_acquire(z->swap_cache, entry, SWAP_CACHE_WRITEBACK, &token);
    uint64_t held = answer == SWAP_CACHE_NEW ? lifecycle_begin_writeback(word) : 0;
    if (held) {
        add_item(b, entry, area, word, held, token);
        return true;
    }
    if (answer == SWAP_CACHE_FAIL) {
        area_lru_restore(area, entry.offset);
        return false;
    }
    if (answer == SWAP_CACHE_NEW) {
        swap_cache_release(z->swap_cache, token);
    }
    give_second_chance(z, area, entry.offset, word);
    return true;
}

/* What shares the victim's memory goes along, or nothing would be won. */
static bool take_peers(struct zswap *z, struct buffer *b, uint64_t held)
{
    if (entry_is_reference(held)) {
        return true;
    }
    uint64_t owners[PEERS_MAX];
    size_t n = z->pool->ops->peers(z->pool, entry_name(held), owners, PEERS_MAX);
    for (size_t i = 0; i < n && has_room(b); i++) {
        struct swap_entry peer = entry_unpack(owners[i]);
        struct area *area = area_of(z, peer);
        uint32_t before = b->items_used;
        if (area && area_lru_take(area, peer.offset) && !take_victim(z, b, area, peer)) {
            return false;
        }
        counter_add(z, COUNTER_WRITEBACK_PEERS, b->items_used - before);
    }
    return true;
}

/* The next area's oldest entry, the areas taking turns; NULL if there is none. */
static struct area *take_oldest(struct zswap *z, struct swap_entry *entry)
{
    struct writeback *wb = z->writeback;
    mutex_assert_held(&wb->lock);
    for (uint32_t i = 0; i < ZSWAP_TYPES_MAX; i++) {
        uint32_t type = (wb->next_type + i) % ZSWAP_TYPES_MAX;
        struct area *area = atomic_read_acquire(&z->areas[type]);
        if (area && area_lru_take_oldest(area, &entry->offset)) {
            entry->type = type;
            wb->next_type = type + 1;
            return area;
        }
    }
    return NULL;
}

static uint64_t lru_total(struct zswap *z)
{
    uint64_t total = 0;
    for (uint32_t type = 0; type < ZSWAP_TYPES_MAX; type++) {
        struct area *area = atomic_read_acquire(&z->areas[type]);
        total += area ? area_lru_count(area) : 0;
    }
    return total;
}

void writeback_gather(struct zswap *z, struct buffer *b)
{
    struct swap_entry entry;
    struct area *area;
    /* Each entry is met at most twice: once to lose its second chance, once to be taken. */
    uint64_t tries = 2 * lru_total(z);
    while (has_room(b) && tries-- && (area = take_oldest(z, &entry)) != NULL) {
        uint32_t before = b->items_used;
        if (!take_victim(z, b, area, entry)) {
            return;
        }
        if (b->items_used > before && !take_peers(z, b, b->items[before].held)) {
            return;
        }
    }
}
