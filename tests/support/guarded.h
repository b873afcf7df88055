/* SPDX-License-Identifier: MIT */
/*
 * Memory between two pages that nobody may touch, so that reads and writes outside are seen even in
 * libraries that no sanitizer has instrumented.
 */
#ifndef UZSWAP_TESTS_SUPPORT_GUARDED_H
#define UZSWAP_TESTS_SUPPORT_GUARDED_H

#include <string.h>
#include <sys/mman.h>

#include "base/types.h"

struct guarded {
    char *start; /* page-aligned */
    size_t bytes;
};

/* `bytes` is a multiple of PAGE_BYTES. start is NULL if there is no memory. */
static inline struct guarded guarded_map(size_t bytes)
{
    char *all =
        mmap(NULL, bytes + 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, PAGE_BYTES, PROT_NONE) ||
        mprotect(all + PAGE_BYTES + bytes, PAGE_BYTES, PROT_NONE)) {
        return (struct guarded){0};
    }
    return (struct guarded){.start = all + PAGE_BYTES, .bytes = bytes};
}

static inline void guarded_unmap(struct guarded g)
{
    munmap(g.start - PAGE_BYTES, g.bytes + 2 * PAGE_BYTES);
}

/* The last `bytes` bytes, right before the upper guard. */
static inline char *guarded_end(struct guarded g, size_t bytes)
{
    return g.start + g.bytes - bytes;
}

/* A copy of `from`, right before the upper guard. */
static inline char *guarded_copy(struct guarded g, const void *from, size_t bytes)
{
    return memcpy(guarded_end(g, bytes), from, bytes);
}

#endif
