/* SPDX-License-Identifier: MIT */
/* Pages of several kinds, for tests of what compresses and stores them. A seed gives the same page again. */
#ifndef UZSWAP_TESTS_SUPPORT_PAGES_H
#define UZSWAP_TESTS_SUPPORT_PAGES_H

#include "base/types.h"
#include "tests/harness.h"

enum page_kind {
    PAGE_ZERO,
    PAGE_SAME_WORD,
    PAGE_TEXT,
    PAGE_POINTERS,
    PAGE_COUNTERS,
    PAGE_SPARSE,
    PAGE_LONG_REPEAT,
    PAGE_HALF_RANDOM,
    PAGE_MOSTLY_RANDOM, /* shrinks a little */
    PAGE_KINDS,
};

static inline void fill_random(void *page, uint64_t *random)
{
    for (size_t i = 0; i < PAGE_BYTES / 8; i++) {
        ((uint64_t *)page)[i] = harness_random(random);
    }
}

static inline void fill_text(char *page, uint64_t *random)
{
    static const char *const words[] = {"the ",  "page ",  "entry ", "of ", "a ",
                                        "swap ", "cache ", "is ",    "not "};
    size_t at = 0;
    while (at < PAGE_BYTES) {
        const char *word = words[harness_random(random) % ARRAY_LENGTH(words)];
        size_t n = min_size(strlen(word), PAGE_BYTES - at);
        memcpy(page + at, word, n);
        at += n;
    }
}

static inline void make_page(void *page, enum page_kind kind, uint64_t *random)
{
    uint64_t *words = page;
    uint8_t *bytes = page;
    memset(page, 0, PAGE_BYTES);
    uint64_t base = harness_random(random);
    for (size_t i = 0; i < PAGE_BYTES / 8; i++) {
        switch (kind) {
        case PAGE_SAME_WORD:
            words[i] = base;
            break;
        case PAGE_POINTERS:
            words[i] = 0x7f0000000000 + (base & 0xffff000) + harness_random(random) % 512 * 16;
            break;
        case PAGE_COUNTERS:
            words[i] = base + i;
            break;
        case PAGE_SPARSE:
            words[i] = harness_random(random) % 32 ? 0 : harness_random(random);
            break;
        default:
            break;
        }
    }
    switch (kind) {
    case PAGE_TEXT:
        fill_text(page, random);
        break;
    case PAGE_LONG_REPEAT: /* matches at the greatest distance a page allows */
        fill_random(page, random);
        memcpy(bytes + PAGE_BYTES / 2, bytes, PAGE_BYTES / 2);
        break;
    case PAGE_HALF_RANDOM:
        fill_random(page, random);
        memset(bytes + PAGE_BYTES / 4, 0x20, PAGE_BYTES / 2);
        break;
    case PAGE_MOSTLY_RANDOM:
        fill_random(page, random);
        memset(bytes + base % (PAGE_BYTES - 600), (int)(base >> 40), 600);
        break;
    default:
        break;
    }
}

#endif
