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

/* Marks pages of a word as own. Which were not. Without memory for the bits they stay as they are: then a page is paid for
 * more than once, and never less. */
static uint64_t mark(struct inherited *i, uint64_t at, uint64_t mask)
{
    uint64_t *word = mask ? sparse_get_for_write(&i->own, at) : NULL;
    if (!word) {
        return mask;
    }
    /* Acq-rel, where less would do: of two who mark a page, one counts it. */
    return (atomic_read_relaxed(word) & mask) == mask ? 0 : mask & ~atomic_fetch_or_acq_rel(word, mask);
}

static bool is_marked(struct inherited *i, uint64_t at, uint64_t mask)
{
    uint64_t *word = sparse_get(&i->own, at);
    return word && (atomic_read_relaxed(word) & mask) == mask;
}

static uint64_t shared_in(struct inherited *i, uint64_t at)
{
    return lending_shared(i->memory->lending, i->base + at * WORD_BYTES, WORD_PAGES);
}

static size_t bytes_of(uint64_t pages)
{
    return (size_t)__builtin_popcountll(pages) << PAGE_SHIFT;
}

static void settle_word(struct inherited *i, uint64_t at)
{
    uint64_t *word = sparse_get(&i->own, at), own = word ? atomic_read_relaxed(word) : 0;
    uint64_t alone = ~own ? ~own & ~shared_in(i, at) : 0;
    if (alone && sparse_get_for_write(&i->own, at)) {
        lending_settle(i->memory->lending, bytes_of(mark(i, at, alone)));
    }
}

void inherited_settle(struct inherited *i)
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
        settle_word(i, at);
        i->settle_at = at + 1;
        n++;
    }
}

/* The next word of pages [*page, end), and which of its pages. False at the end. */
static bool next_word(uint64_t *page, uint64_t end, uint64_t *at, uint64_t *mask)
{
    if (*page >= end) {
        return false;
    }
    unsigned bit = (unsigned)(*page % WORD_PAGES);
    unsigned count = (unsigned)min_size(WORD_PAGES - bit, end - *page);
    *at = *page / WORD_PAGES;
    *mask = bit_mask(bit, count);
    *page += count;
    return true;
}

static uint64_t page_of(const struct inherited *i, const char *at)
{
    return (uint64_t)(at - i->base) >> PAGE_SHIFT;
}

void inherited_note_fresh(struct inherited *i, const void *at, size_t bytes)
{
    uint64_t page = page_of(i, at), end = page_of(i, (const char *)at + bytes + PAGE_BYTES - 1), word, mask;
    while (next_word(&page, end, &word, &mask)) {
        mark(i, word, mask);
    }
}

void inherited_note_end(struct inherited *i, const void *at, size_t bytes)
{
    struct lending *lending = i->memory->lending;
    uint64_t page = page_of(i, at), end = page_of(i, (const char *)at + bytes + PAGE_BYTES - 1), word, mask;
    while (next_word(&page, end, &word, &mask)) {
        /* Asked first: once a page is marked, another thread may write it. */
        uint64_t shared = is_marked(i, word, mask) ? 0 : shared_in(i, word);
        uint64_t ended = mark(i, word, mask);
        shared &= ended;
        if (ended && i->borrowed) {
            lending_end(lending, bytes_of(shared), bytes_of(shared));
            lending_settle(lending, bytes_of(ended & ~shared));
        } else if (ended) {
            lending_end(lending, bytes_of(shared), bytes_of(ended)); /* borrowed, perhaps */
        }
    }
}
