/* SPDX-License-Identifier: MIT */
/* Invalidate: the entry leaves the index at once; its object is freed by the last to hold it. And what becomes of
 * the memory of the index. */
#include "zswap/internal.h"

/* How many index pages a trim looks at in each area: 32 K entries, in a few microseconds. */
#define SWEEP_PAGES 64

/* So many entries ahead, what an invalidation touches is asked for. */
#define AHEAD 8

void prepare_removal(struct zswap *z, struct area *area, uint64_t offset, bool replaced)
{
    const uint64_t *word = area_word(area, offset);
    uint64_t seen = word ? atomic_read_relaxed(word) : 0; /* a hint */
    if (entry_kind(seen) != ENTRY_POOL) {
        return;
    }
    area_prefetch_neighbours(area, offset);
    prepare_free(z, seen, replaced);
}

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
        if (i + AHEAD < end) {
            prepare_removal(z, area, i + AHEAD, false);
        }
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

size_t trim_index(struct zswap *z)
{
    /* An area that is found under this lock stays whole. */
    if (!mutex_try_lock(&z->compact_lock)) {
        return 0;
    }
    size_t bytes = 0;
    for (uint32_t type = 0; type < ZSWAP_TYPES_MAX; type++) {
        struct area *area = atomic_read_acquire(&z->areas[type]);
        if (area) {
            bytes += area_sweep(area, SWEEP_PAGES);
        }
    }
    mutex_unlock(&z->compact_lock);
    return bytes;
}
