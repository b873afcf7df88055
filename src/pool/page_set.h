/* SPDX-License-Identifier: MIT */
/*
 * A set of page numbers that finds its lowest member in a few loads: a bitmap under summaries of itself.
 *
 *   level 2   |1|                    one bit a word of level 1: is any of its bits set?
 *   level 1   |1 0 1 ...             one bit a word of level 0, likewise
 *   level 0   |0 1 1 0 ...|0 ...|1   one bit a page
 *
 * The words of all levels lie in one sparse array, the top level first. A page is prepared once, which may
 * fail; after that putting it in and taking it out cannot.
 *
 * Page numbers begin at 1; 0 stands for "none". Not thread-safe: the owner's lock guards everything.
 */
#ifndef UZSWAP_POOL_PAGE_SET_H
#define UZSWAP_POOL_PAGE_SET_H

#include "base/sparse.h"

#define PAGE_SET_LEVELS 6 /* 64^6 > 2^32 */

struct page_set {
    struct sparse words;
    uint64_t start[PAGE_SET_LEVELS]; /* where in `words` each level begins; immutable */
    unsigned levels;                 /* immutable */
    uint32_t count;                  /* members */
};

/* A set for the numbers 1 .. `highest`. 0, -EINVAL or -ENOMEM. */
int page_set_init(struct page_set *set, struct memory *memory, uint32_t highest);
void page_set_destroy(struct page_set *set);

/* Sees to the memory that `page` needs to be a member; false if there is none. */
bool page_set_prepare(struct page_set *set, uint32_t page);

/* The page is prepared, and not a member; is a member. */
void page_set_add(struct page_set *set, uint32_t page);
void page_set_remove(struct page_set *set, uint32_t page);

bool page_set_has(const struct page_set *set, uint32_t page);

/* The lowest member, 0 if there is none. */
uint32_t page_set_lowest(const struct page_set *set);

/* Re-derives the summaries and the count over the numbers 0 .. `highest`; prints each mismatch. */
bool page_set_consistent(const struct page_set *set, uint32_t highest);

#endif
