/* SPDX-License-Identifier: MIT */
/*
 * Where uzswap's own memory comes from: straight from the kernel, never from malloc, so that no path
 * of the runtime touches memory it manages. Every byte is charged to an account.
 *
 * Two ways to get memory. `memory_map` gives pages at once. `memory_reserve` gives address space only;
 * its pages are charged with `memory_commit` just before they are first touched, and given back with
 * `memory_release`. Both can fail, and tests make each of them fail in turn through `fail_countdown`.
 *
 * All functions are thread-safe. Memory is zeroed and page-aligned; `bytes` is a multiple of PAGE_BYTES (rounded up
 * where it is not). It is private to the process, or, if `shared` is set, shared with all children that are forked
 * from then on: then each process is charged for what it has committed itself, and keeps count of it. What a process that has
 * died had committed so, and others still use, is in nobody's account (the swap map's pages: private memory has no such).
 */
#ifndef UZSWAP_BASE_MEMORY_H
#define UZSWAP_BASE_MEMORY_H

#include "base/account.h"
#include "base/types.h"

#define HUGE_BYTES ((size_t)2 << 20) /* of a huge page */

struct lending;

struct memory {
    struct account *account; /* who is charged; never NULL */
    struct lending *lending; /* who else pays (base/lending.h); NULL: nobody; immutable */
    int64_t fail_countdown;  /* tests: > 0 counts requests down, the one that reaches 0 fails. Atomic */
    bool shared;             /* immutable */
    int64_t charged[ACCOUNT_KINDS]; /* through this; atomic; kept if shared */
};

/* NULL if there is no memory. */
void *memory_map(struct memory *m, size_t bytes, enum account_kind kind);
void memory_unmap(struct memory *m, void *at, size_t bytes, enum account_kind kind);

/* Address space without memory; NULL if there is none. Whole huge pages are aligned to them. Private address space does not
 * count against RLIMIT_DATA, and an inaccessible page lies below it. `memory_unreserve` expects that all that was committed has
 * been released or uncharged. */
void *memory_reserve(struct memory *m, size_t bytes);
void memory_unreserve(struct memory *m, void *at, size_t bytes);

/* Makes huge pages of the reserved memory [at, at + bytes), all of which is committed and has been touched: it is
 * reached faster, and costs no more. Best effort; takes milliseconds a huge page. */
void memory_collapse(void *at, size_t bytes);

/* Makes small pages of a huge one that [at, at + bytes) is part of, so that memory_release gives this part back and not
 * only once the kernel wants memory. Best effort; takes a fifth of a millisecond. */
void memory_split(void *at, size_t bytes);

/* Charges reserved memory that is about to be touched; false if there is none. */
bool memory_commit(struct memory *m, size_t bytes, enum account_kind kind);

/* Takes a charge back. */
void memory_uncharge(struct memory *m, size_t bytes, enum account_kind kind);

/* Takes back all that this process was charged for shared memory: in a forked child, as it was the parent that was
 * charged, and at the end. */
void memory_uncharge_all(struct memory *m);

/* Gives the memory behind [at, at + bytes) back to the kernel and uncharges it; reads as zero after. */
void memory_release(struct memory *m, void *at, size_t bytes, enum account_kind kind);

/* The same for memory that was not charged, or that another process was charged for. */
void memory_drop(const struct memory *m, void *at, size_t bytes);

#endif
