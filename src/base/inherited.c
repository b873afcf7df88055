/* SPDX-License-Identifier: MIT */
#include "base/inherited.h"

#define WORD_PAGES 64u
#define WORD_BYTES (WORD_PAGES * PAGE_BYTES)
#define SETTLE_WORDS 256 /* in a step: a fraction of a millisecond */

int inherited_init(struct inherited *i, struct memory *memory, const void *base, size_t bytes)
{
    *i = (struct inherited){.memory = memory, .base = base};
    uint64_t pages = round_up(bytes, PAGE_BYTES) >> PAGE_SHIFT;
    return sparse_init(&i->own, memory, round_up(pages, WORD_PAGES) / WORD_PAGES, sizeof(uint64_t),
                       ACCOUNT_TABLES);
}

void inherited_destroy(struct inherited *i)
{
    sparse_destroy(&i->own);
}

void inherited_begin(struct inherited *i, const struct inherited_extent *extents, unsigned count)
{
    i->borrowed = false;
    i->settle_extent = 0;
    i->settle_at = 0;
    for (unsigned e = 0; e < INHERITED_EXTENTS; e++) {
        bool any = e < count && extents[e].bytes;
        size_t from = any ? (size_t)((const char *)extents[e].base - i->base) : 0;
        i->used[e].first = from / WORD_BYTES;
        i->used[e].end = any ? round_up(from + extents[e].bytes, WORD_BYTES) / WORD_BYTES : 0;
    }
    for (uint64_t n = 0; (n = sparse_next_committed(&i->own, n)) < i->own.slots_total;
         n += sparse_slots_per_page(&i->own)) {
        sparse_release_page(&i->own, n);
    }
}

void inherited_fork_child(struct inherited *i)
{
    i->borrowed = true;
}

static void settle_word(struct inherited *i, uint64_t at, shared_pages shared, void *context)
{
    uint64_t *word = sparse_get(&i->own, at), own = word ? atomic_read_relaxed(word) : 0;
    uint64_t alone = ~own ? ~own & ~shared(context, i->base + at * WORD_BYTES, WORD_PAGES) : 0;
    word = alone ? sparse_get_for_write(&i->own, at) : NULL;
    if (word) {
        /* Acq-rel: see mark. */
        alone &= ~atomic_fetch_or_acq_rel(word, alone);
        lending_settle(i->memory->lending, (size_t)__builtin_popcountll(alone) << PAGE_SHIFT);
    }
}

void inherited_settle(struct inherited *i, shared_pages shared, void *context)
{
    unsigned left_behind = 0;
    for (int n = 0; n < SETTLE_WORDS && i->borrowed && left_behind < INHERITED_EXTENTS;) {
        uint64_t at = max_size(i->settle_at, i->used[i->settle_extent].first);
        if (at >= i->used[i->settle_extent].end) {
            i->settle_extent = (i->settle_extent + 1) % INHERITED_EXTENTS;
            i->settle_at = 0;
            left_behind++;
            continue;
        }
        settle_word(i, at, shared, context);
        i->settle_at = at + 1;
        n++;
    }
}

/* Marks the pages as own. How many were not. Without memory for the bits they stay as they are: then a page is paid for
 * more than once, and never less. */
static size_t mark(struct inherited *i, const void *at, size_t bytes)
{
    uint64_t first = (uint64_t)((const char *)at - i->base) >> PAGE_SHIFT;
    uint64_t end = round_up((size_t)((const char *)at - i->base) + bytes, PAGE_BYTES) >> PAGE_SHIFT;
    size_t marked = 0;
    for (uint64_t page = first; page < end;) {
        unsigned bit = (unsigned)(page % WORD_PAGES);
        unsigned count = (unsigned)min_size(WORD_PAGES - bit, end - page);
        uint64_t mask = (count < WORD_PAGES ? (1ull << count) - 1 : ~0ull) << bit;
        uint64_t *word = sparse_get_for_write(&i->own, page / WORD_PAGES);
        uint64_t before = 0;
        /* Acq-rel, where less would do: of two who mark a page, one counts it. */
        if (word && (atomic_read_relaxed(word) & mask) != mask) {
            before = atomic_fetch_or_acq_rel(word, mask);
        } else if (word) {
            before = mask;
        }
        marked += (size_t)__builtin_popcountll(mask & ~before);
        page += count;
    }
    return marked;
}

void inherited_note_fresh(struct inherited *i, const void *at, size_t bytes)
{
    mark(i, at, bytes);
}

void inherited_note_end(struct inherited *i, const void *at, size_t bytes)
{
    size_t pages = mark(i, at, bytes);
    if (pages) {
        lending_end(i->memory->lending, pages << PAGE_SHIFT, pages << PAGE_SHIFT);
    }
}
