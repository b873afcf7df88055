/* SPDX-License-Identifier: MIT */
/*
 * One swap area (a type): its index and its LRU.
 *
 *   index   a sparse array of entry words (entry_word.h), by offset. Readers take no lock.
 *   LRU     the entries in the pool, oldest store first, as a doubly linked list through a second sparse array, also
 *           by offset: 8 bytes an entry. Guard of all links: `lru_lock`.
 *
 * An entry is published in the index first and linked last; it is removed from the index first and unlinked last. In
 * between the list may name an offset whose word is no longer POOL; whoever meets one unlinks it, and nobody is linked
 * whose word is not POOL when looked at under the lock. With no verb running, linked means POOL and POOL means linked
 * (or, after an out-of-memory race with area_release, never written back).
 *
 * Memory goes back when a whole page of words (512 offsets, 2 MiB of data) is empty: area_release freezes each
 * word of it, so that no store can slip in, gives the page back, and thereby turns the words to EMPTY again. Who
 * invalidates a range does that at once. Entries that leave one by one tell nobody whether theirs was the last of
 * its page: to look each time would cost more than the page is worth, above all where one entry comes and goes.
 * Such pages area_sweep finds, under memory pressure; and links of entries that have all been written back.
 *
 * What an entry takes: 8 bytes for the word, 8 for the links if it has an object (a page that repeats one word is
 * not in the LRU), and one bit in 512 entries for each of the two. An entry with no others near it: a page for
 * each, 8 KiB.
 */
#ifndef UZSWAP_ZSWAP_AREA_H
#define UZSWAP_ZSWAP_AREA_H

#include "base/lock.h"
#include "base/sparse.h"
#include "zswap/lifecycle.h"

/* Links are 32 bits, offset + 1, 0 = none. */
#define AREA_PAGES_MAX (UINT32_MAX - 1ull)

/* Guard: lru_lock; atomic, relaxed, as area_prefetch_neighbours looks without it. */
struct lru_links {
    uint32_t older, newer;
};

struct area {
    uint64_t pages;      /* offsets 0 .. pages - 1; immutable */
    struct sparse words; /* uint64_t each; changed by lifecycle.c only */
    struct sparse links; /* struct lru_links each */

    uint64_t sweep_at; /* where the next sweep begins; atomic hint */

    uint32_t writing; /* entries in write buffers; who destroys the area waits for them; atomic */

    struct mutex lru_lock __attribute__((aligned(64))); /* away from what every verb reads */
    uint32_t oldest, newest;                            /* Guard: lru_lock */
    uint64_t linked;                                    /* Guard: lru_lock */
};

/* 0, -EINVAL, -ENOMEM. */
int area_init(struct area *area, struct memory *memory, uint64_t pages);
void area_destroy(struct area *area);

/* The entry's word for reading, NULL where nothing was ever stored. */
static inline uint64_t *area_word(struct area *area, uint64_t offset)
{
    return sparse_get(&area->words, offset);
}

/*
 * In a large area, word, links and the neighbours in the list are in no cache, nor are their addresses in the TLB.
 * A store asks for them before it needs them, so that they come while it compresses: first the word and the links,
 * later, when those are there, the neighbours.
 */
static inline void area_prefetch(struct area *area, uint64_t offset)
{
    __builtin_prefetch(area->words.slots + offset * sizeof(uint64_t), 1);
    __builtin_prefetch(area->links.slots + offset * sizeof(struct lru_links), 1);
}

void area_prefetch_neighbours(struct area *area, uint64_t offset);

/* The entry's word for a store; NULL if there is no memory or the offset is out of range. `linked`: area_lru_add
 * will follow. */
uint64_t *area_word_for_store(struct area *area, uint64_t offset, bool linked);

/* After a store has been published: makes sure that the word's page was not given back between
 * area_word_for_store and the publication. False if there is no memory to keep it. */
bool area_confirm(struct area *area, uint64_t offset);

/* Links the entry as the newest, if its word is POOL. */
void area_lru_add(struct area *area, uint64_t offset);

/* Links the entry as the oldest, if its word is POOL and it is not linked. */
void area_lru_restore(struct area *area, uint64_t offset);

/* Unlinks the entry, if its word is not POOL. */
void area_lru_drop(struct area *area, uint64_t offset);

/* Unlinks and returns the oldest entry in *offset; false if there is none. */
bool area_lru_take_oldest(struct area *area, uint64_t *offset);

/* Unlinks the entry, whatever it is. False if it was not linked. */
bool area_lru_take(struct area *area, uint64_t offset);

uint64_t area_lru_count(struct area *area);

/* Gives back each index page that lies wholly in [first, first + pages) and is empty. */
void area_release(struct area *area, uint64_t first, uint64_t pages);

/* Looks at the next `pages` index pages with memory, and gives back those that are empty, and links that link none. Bytes. From the end it
 * goes on at the beginning, the next time. */
size_t area_sweep(struct area *area, unsigned pages);

/* Checks that the list is whole and holds exactly the POOL entries. Prints each mismatch. */
bool area_consistent(struct area *area);

#endif
