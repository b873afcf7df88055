/* SPDX-License-Identifier: MIT */
/* Invalidate: the entry leaves the index at once; its object is freed by the last to hold it. */
#include "zswap/internal.h"

static bool invalidate_word(struct zswap *z, struct area *area, uint64_t *word, uint64_t offset)
{
    uint64_t old = lifecycle_replace(&z->lifecycle, word, 0);
    if (!old) {
        return false;
    }
    count_change(z, old, 0);
    if (entry_kind(old) == ENTRY_POOL) {
        area_lru_drop(area, offset);
    }
    return true;
}

bool zswap_invalidate(struct zswap *z, struct swap_entry entry)
{
    struct area *area = area_of(z, entry);
    uint64_t *word = area ? area_word(area, entry.offset) : NULL;
    if (!word || !invalidate_word(z, area, word, entry.offset)) {
        return false;
    }
    counter_add(z, COUNTER_INVALIDATES, 1);
    return true;
}

uint64_t invalidate_in_area(struct zswap *z, struct area *area, uint64_t first, uint64_t pages)
{
    uint64_t end = pages > area->pages - first ? area->pages : first + pages;
    uint64_t removed = 0;
    for (uint64_t i = first; (i = sparse_next_committed(&area->words, i)) < end; i++) {
        /* NULL: another invalidation has just given its index page back. */
        uint64_t *word = area_word(area, i);
        removed += word && invalidate_word(z, area, word, i);
    }
    if (removed) {
        counter_add(z, COUNTER_INVALIDATES, (int64_t)removed);
    }
    area_release(area, first, end - first);
    return removed;
}

uint64_t zswap_invalidate_range(struct zswap *z, uint32_t type, uint64_t first, uint64_t pages)
{
    struct area *area = area_of(z, (struct swap_entry){type, first});
    return area ? invalidate_in_area(z, area, first, pages) : 0;
}

uint64_t zswap_invalidate_area(struct zswap *z, uint32_t type)
{
    return zswap_invalidate_range(z, type, 0, UINT64_MAX);
}
