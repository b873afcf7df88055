/* SPDX-License-Identifier: MIT */
/*
 * Pages that say which version of which entry they are, of four kinds that take four ways through the cache; cheap to
 * make, to compress and to recognize. All 4096 bytes follow from the version, so a torn page is recognized too.
 *
 *    59     52 51   48 47                    2 1  0
 *   +---------+-------+-----------------------+----+
 *   |   key   |thread |         number        |kind|     never 0
 *   +---------+-------+-----------------------+----+
 */
#ifndef UZSWAP_TESTS_VERSIONED_H
#define UZSWAP_TESTS_VERSIONED_H

#include <string.h>

#include "base/types.h"

enum versioned_kind {
    VERSIONED_FILLED, /* one word, that fits an entry's own word */
    VERSIONED_FILL8,  /* one word that does not: an object of 8 bytes */
    VERSIONED_SHRINKS,
    VERSIONED_RAW, /* does not shrink */
};

#define VERSIONED_WIDE (1ull << 62)

static inline uint64_t version_make(unsigned key, unsigned thread, uint64_t number, enum versioned_kind kind)
{
    return (uint64_t)key << 52 | (uint64_t)thread << 48 | number << 2 | kind;
}

static inline unsigned version_key(uint64_t version)
{
    return version >> 52 & 0xff;
}

static inline void version_fill(uint64_t *page, uint64_t version)
{
    uint64_t word = version;
    switch ((enum versioned_kind)(version & 3)) {
    case VERSIONED_FILLED:
    case VERSIONED_FILL8:
        word |= (version & 3) == VERSIONED_FILL8 ? VERSIONED_WIDE : 0;
        for (size_t i = 0; i < PAGE_BYTES / 8; i++) {
            page[i] = word;
        }
        break;
    case VERSIONED_SHRINKS:
        memset(page, 0x20, PAGE_BYTES);
        page[0] = page[200] = page[511] = version;
        page[100] = version * 0x9e3779b97f4a7c15;
        break;
    case VERSIONED_RAW:
        for (size_t i = 0; i < PAGE_BYTES / 8; i++) {
            page[i] = word;
            word = word * 6364136223846793005 + 1442695040888963407;
            word ^= word >> 29;
        }
        break;
    }
}

/* The version of a page of entry `key`; 0 if it is torn, or another's, or no such page at all. */
static inline uint64_t version_read(const uint64_t *page, unsigned key)
{
    uint64_t expected[PAGE_BYTES / 8], version = page[0] & ~VERSIONED_WIDE;
    if (version_key(version) != key) {
        return 0;
    }
    version_fill(expected, version);
    return memcmp(page, expected, PAGE_BYTES) == 0 ? version : 0;
}

#endif
