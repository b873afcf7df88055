/* SPDX-License-Identifier: MIT */
/*
 * The budget: how much memory uzswap and the pages it manages take, by kind, against one limit.
 *
 * Everything that counts is charged before it is used and uncharged after it is given back. `total` is
 * the sum of all kinds; `peak` the highest `total` has been. All fields are atomic counters, touched by
 * any thread without a lock, and may lie in memory shared between processes. Relaxed order is enough:
 * nothing is reached through them. A reader may see the kinds of a moving page counted twice, never
 * a sum that misses it.
 */
#ifndef UZSWAP_BASE_ACCOUNT_H
#define UZSWAP_BASE_ACCOUNT_H

#include "base/atomic.h"
#include "base/types.h"

enum account_kind {
    ACCOUNT_RESIDENT,   /* pages mapped in the program */
    ACCOUNT_SWAP_CACHE, /* pages taken from the program, not yet compressed or given back */
    ACCOUNT_POOL,       /* pages of the pool */
    ACCOUNT_TABLES,     /* index, LRU, swap map, buffers, codec contexts, stacks */
    ACCOUNT_KINDS,
};

struct account {
    int64_t bytes[ACCOUNT_KINDS];
    int64_t total;
    int64_t peak;
    int64_t limit; /* 0 = none; set before use */
};

static inline void account_charge(struct account *a, enum account_kind kind, size_t bytes)
{
    atomic_add_relaxed(&a->bytes[kind], (int64_t)bytes);
    atomic_raise_relaxed(&a->peak, atomic_add_relaxed(&a->total, (int64_t)bytes));
}

static inline void account_uncharge(struct account *a, enum account_kind kind, size_t bytes)
{
    atomic_sub_relaxed(&a->bytes[kind], (int64_t)bytes);
    atomic_sub_relaxed(&a->total, (int64_t)bytes);
}

/* The bytes stay, under another kind. */
static inline void account_move(struct account *a, enum account_kind from, enum account_kind to, size_t bytes)
{
    atomic_add_relaxed(&a->bytes[to], (int64_t)bytes);
    atomic_sub_relaxed(&a->bytes[from], (int64_t)bytes);
}

static inline size_t account_bytes(const struct account *a, enum account_kind kind)
{
    int64_t bytes = atomic_read_relaxed(&a->bytes[kind]);
    return bytes > 0 ? (size_t)bytes : 0;
}

static inline size_t account_total(const struct account *a)
{
    int64_t total = atomic_read_relaxed(&a->total);
    return total > 0 ? (size_t)total : 0;
}

#endif
