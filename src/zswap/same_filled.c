/* SPDX-License-Identifier: MIT */
#include "zswap/same_filled.h"

#include "zswap/entry_word.h"

#define WORDS (PAGE_BYTES / sizeof(uint64_t))
#define REPEAT (1ull << 2) /* the value is 32 bits, given twice */
#define VALUE_SHIFT 3

bool same_filled(const void *page, uint64_t *value)
{
    const uint64_t *words = page;
    uint64_t first = words[0];
    /* The second word differs in most pages, and is here with the first; the last would be one more miss. But of those
     * that only begin alike, it saves the walk. */
    if (words[1] != first || words[WORDS - 1] != first) {
        return false;
    }
    for (size_t i = 2; i < WORDS - 1; i++) {
        if (words[i] != first) {
            return false;
        }
    }
    *value = first;
    return true;
}

uint64_t same_filled_encode(uint64_t value)
{
    if ((int64_t)(value << VALUE_SHIFT) >> VALUE_SHIFT == (int64_t)value) {
        return value << VALUE_SHIFT | ENTRY_FILLED;
    }
    if (value >> 32 == (value & UINT32_MAX)) {
        return value << 32 | REPEAT | ENTRY_FILLED;
    }
    return 0;
}

uint64_t same_filled_decode(uint64_t word)
{
    if (word & REPEAT) {
        return word >> 32 << 32 | word >> 32;
    }
    return (uint64_t)((int64_t)word >> VALUE_SHIFT);
}

void same_filled_expand(void *page, uint64_t value)
{
    uint64_t *words = page;
    for (size_t i = 0; i < WORDS; i++) {
        words[i] = value;
    }
}
