/* SPDX-License-Identifier: MIT */
/*
 * The account of one process: how much memory uzswap and the pages it manages take, by kind, against one limit.
 *
 * Everything that counts is charged before it is used and uncharged after it is given back. `total` is the sum of all
 * kinds, less `credit` and plus `debt`: pages that a fork shares are in the accounts of both processes, and paid for
 * once (base/lending.h). `peak` is the highest `total` has been. All fields are atomic counters, touched by
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
    int64_t credit; /* in the kinds, and paid for by another process */
    int64_t debt;   /* not in the kinds, and paid for all the same. Lowered by borrowers, too */
    int64_t
        limit; /* what the process may use now; 0 = no limit. Changed by base/budget.c where several share `most` */
    int64_t most; /* what the limit may become; tables are sized by it. Set before use */
};

/* The limit is all there is, and stays. */
static inline void account_set_limit(struct account *a, size_t limit)
{
    a->limit = a->most = (int64_t)limit;
}

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

/* Takes up to `most` off *figure, which does not become less than 0. How much. */
static inline int64_t account_take(int64_t *figure, int64_t most)
{
    int64_t seen = atomic_read_relaxed(figure), taken;
    do {
        taken = seen < most ? seen : most;
    } while (taken > 0 && !atomic_cas_relaxed(figure, &seen, seen - taken));
    return taken > 0 ? taken : 0;
}

/* `bytes` of the kinds are another's to pay for. */
static inline void account_give_credit(struct account *a, size_t bytes)
{
    atomic_add_relaxed(&a->credit, (int64_t)bytes);
    atomic_sub_relaxed(&a->total, (int64_t)bytes);
}

/* Up to `bytes` of them no longer are. How many. */
static inline size_t account_end_credit(struct account *a, size_t bytes)
{
    int64_t taken = account_take(&a->credit, (int64_t)bytes);
    atomic_raise_relaxed(&a->peak, atomic_add_relaxed(&a->total, taken));
    return (size_t)taken;
}

static inline void account_add_debt(struct account *a, size_t bytes)
{
    atomic_add_relaxed(&a->debt, (int64_t)bytes);
    atomic_raise_relaxed(&a->peak, atomic_add_relaxed(&a->total, (int64_t)bytes));
}

static inline void account_end_debt(struct account *a, size_t bytes)
{
    atomic_sub_relaxed(&a->total, account_take(&a->debt, (int64_t)bytes));
}

static inline size_t account_bytes(const struct account *a, enum account_kind kind)
{
    int64_t bytes = atomic_read_relaxed(&a->bytes[kind]);
    return bytes > 0 ? (size_t)bytes : 0;
}

/* All but the peak. */
static inline void account_copy(struct account *to, const struct account *from)
{
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        atomic_set_relaxed(&to->bytes[kind], atomic_read_relaxed(&from->bytes[kind]));
    }
    atomic_set_relaxed(&to->total, atomic_read_relaxed(&from->total));
    atomic_set_relaxed(&to->credit, atomic_read_relaxed(&from->credit));
    atomic_set_relaxed(&to->debt, atomic_read_relaxed(&from->debt));
    atomic_set_relaxed(&to->limit, atomic_read_relaxed(&from->limit));
    atomic_set_relaxed(&to->most, atomic_read_relaxed(&from->most));
}

/* What is counted; `to` is private. */
static inline void account_add(struct account *to, const struct account *from)
{
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        to->bytes[kind] += atomic_read_relaxed(&from->bytes[kind]);
    }
    to->total += atomic_read_relaxed(&from->total);
    to->credit += atomic_read_relaxed(&from->credit);
    to->debt += atomic_read_relaxed(&from->debt);
}

/* What the process may use at the moment. Relaxed: a limit that changes is a hint until the next look. */
static inline size_t account_limit(const struct account *a)
{
    return (size_t)atomic_read_relaxed(&a->limit);
}

static inline size_t account_total(const struct account *a)
{
    int64_t total = atomic_read_relaxed(&a->total);
    return total > 0 ? (size_t)total : 0;
}

#endif
