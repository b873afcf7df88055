/* SPDX-License-Identifier: MIT */
#include "pool/page_set.h"

#include <stdio.h>

#define WORD_SHIFT 6
#define WORD_BITS 64

static uint64_t *word_at(const struct page_set *set, unsigned level, uint64_t i)
{
    return (uint64_t *)set->words.slots + set->start[level] + i;
}

int page_set_init(struct page_set *set, struct memory *memory, uint32_t highest)
{
    *set = (struct page_set){0};
    uint64_t words[PAGE_SET_LEVELS];
    uint64_t bits = (uint64_t)highest + 1;
    do {
        words[set->levels] = (bits + WORD_BITS - 1) / WORD_BITS;
        bits = words[set->levels++];
    } while (bits > 1);
    uint64_t total = 0;
    for (unsigned level = set->levels; level-- > 0;) {
        set->start[level] = total;
        total += words[level];
    }
    return sparse_init(&set->words, memory, total, sizeof(uint64_t), ACCOUNT_TABLES);
}

void page_set_destroy(struct page_set *set)
{
    sparse_destroy(&set->words);
    *set = (struct page_set){0};
}

bool page_set_prepare(struct page_set *set, uint32_t page)
{
    uint64_t i = page;
    for (unsigned level = 0; level < set->levels; level++) {
        i >>= WORD_SHIFT;
        if (!sparse_get_for_write(&set->words, set->start[level] + i)) {
            return false;
        }
    }
    return true;
}

void page_set_add(struct page_set *set, uint32_t page)
{
    set->count++;
    uint64_t i = page;
    for (unsigned level = 0; level < set->levels; level++) {
        uint64_t *word = word_at(set, level, i >> WORD_SHIFT);
        uint64_t old = *word;
        *word = old | 1ull << (i % WORD_BITS);
        if (old) {
            return; /* the levels above know of this word already */
        }
        i >>= WORD_SHIFT;
    }
}

void page_set_remove(struct page_set *set, uint32_t page)
{
    set->count--;
    uint64_t i = page;
    for (unsigned level = 0; level < set->levels; level++) {
        uint64_t *word = word_at(set, level, i >> WORD_SHIFT);
        *word &= ~(1ull << (i % WORD_BITS));
        if (*word) {
            return;
        }
        i >>= WORD_SHIFT;
    }
}

bool page_set_has(const struct page_set *set, uint32_t page)
{
    const uint64_t *word = sparse_get(&set->words, set->start[0] + (page >> WORD_SHIFT));
    return word && *word >> (page % WORD_BITS) & 1;
}

uint32_t page_set_lowest(const struct page_set *set)
{
    if (!set->count) {
        return 0;
    }
    uint64_t i = 0;
    for (unsigned level = set->levels; level-- > 0;) {
        i = i << WORD_SHIFT | (uint64_t)__builtin_ctzll(*word_at(set, level, i));
    }
    return (uint32_t)i;
}

/* The word as it should be, from the level below it. */
static uint64_t summary_of(const struct page_set *set, unsigned level, uint64_t i, uint64_t words_below)
{
    uint64_t bits = 0;
    for (uint64_t bit = 0; bit < WORD_BITS && i * WORD_BITS + bit < words_below; bit++) {
        if (*word_at(set, level - 1, i * WORD_BITS + bit)) {
            bits |= 1ull << bit;
        }
    }
    return bits;
}

bool page_set_consistent(const struct page_set *set, uint32_t highest)
{
    bool good = true;
    uint64_t count = 0;
    uint64_t words = highest / WORD_BITS + 1;
    for (uint64_t i = 0; i < words; i++) {
        count += (uint64_t)__builtin_popcountll(*word_at(set, 0, i));
    }
    if (count != set->count) {
        fprintf(stderr, "page set: %lu members, counted as %u\n", (unsigned long)count, set->count);
        good = false;
    }
    for (unsigned level = 1; level < set->levels; level++) {
        uint64_t below = words;
        words = (words + WORD_BITS - 1) / WORD_BITS;
        for (uint64_t i = 0; i < words; i++) {
            uint64_t expected = summary_of(set, level, i, below);
            if (*word_at(set, level, i) != expected) {
                fprintf(stderr, "page set: level %u word %lu is %lx and should be %lx\n", level,
                        (unsigned long)i, (unsigned long)*word_at(set, level, i), (unsigned long)expected);
                good = false;
            }
        }
    }
    return good;
}
