/* SPDX-License-Identifier: MIT */
/*
 * The words every layer shares: page, swap entry, type, offset.
 *
 * page         4096 bytes, the unit of everything uzswap stores
 * type         one swap area (a region, or one user of the bare verbs)
 * offset       the number of a page inside its type
 * swap entry   (type, offset): the name of a page
 * handle       a pool's name for one object; opaque above the pool
 * device slot  512 bytes of a swap device; objects take whole slots
 */
#ifndef UZSWAP_BASE_TYPES_H
#define UZSWAP_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_BYTES ((size_t)1 << PAGE_SHIFT)

struct swap_entry {
    uint32_t type;
    uint64_t offset;
};

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The structure of type `type` whose member `member` `ptr` points to. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* `count` <= 64 bits from bit `first` on. */
static inline uint64_t bit_mask(unsigned first, unsigned count)
{
    return (count < 64 ? (1ull << count) - 1 : ~0ull) << first;
}

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
