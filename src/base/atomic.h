/* SPDX-License-Identifier: MIT */
/*
 * The atomic operations uzswap uses, each under a name that says its order. Shared words are plain
 * integers of 32 or 64 bits touched only through these; every use says why its order is enough.
 *
 *   relaxed   counters and hints: no other memory is reached through the value
 *   acquire   read a word, then read what its writer prepared before publishing it
 *   release   publish: all earlier writes are seen by whoever acquires the new value
 *   acq_rel   both, for read-modify-write that takes or hands over ownership
 *   seq_cst   two words that must not be seen in different orders by different threads
 *
 * The interleaving explorer compiles its own version of this file.
 */
#ifndef UZSWAP_BASE_ATOMIC_H
#define UZSWAP_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#define atomic_read_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define atomic_read_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define atomic_read_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define atomic_set_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define atomic_set_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define atomic_set_seq_cst(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define atomic_add_relaxed(p, v) __atomic_add_fetch((p), (v), __ATOMIC_RELAXED)
#define atomic_sub_relaxed(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_RELAXED)
#define atomic_add_acq_rel(p, v) __atomic_add_fetch((p), (v), __ATOMIC_ACQ_REL)
#define atomic_sub_acq_rel(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_ACQ_REL)
#define atomic_fetch_or_acq_rel(p, v) __atomic_fetch_or((p), (v), __ATOMIC_ACQ_REL)
#define atomic_fetch_and_acq_rel(p, v) __atomic_fetch_and((p), (v), __ATOMIC_ACQ_REL)
#define atomic_swap_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)

/* Replaces *p by `new` if it is *expected; else puts the value found in *expected. On success the
 * order is acquire and release; on failure it is acquire, as the value found is acted upon. */
#define atomic_cas_acq_rel(p, expected, new)                                                                 \
    __atomic_compare_exchange_n((p), (expected), (new), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

/* The same with more: for two words that must not be seen in different orders. */
#define atomic_cas_seq_cst(p, expected, new)                                                                 \
    __atomic_compare_exchange_n((p), (expected), (new), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

/* The same with less: acquire, release or no order on success, none on failure, for a value found that only goes into
 * the next attempt. */
#define atomic_cas_acquire(p, expected, new)                                                                 \
    __atomic_compare_exchange_n((p), (expected), (new), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define atomic_cas_release(p, expected, new)                                                                 \
    __atomic_compare_exchange_n((p), (expected), (new), false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)
#define atomic_cas_relaxed(p, expected, new)                                                                 \
    __atomic_compare_exchange_n((p), (expected), (new), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)

/* Raises *p to at least `value`. Relaxed: used for high-water marks only. */
static inline void atomic_raise_relaxed(int64_t *p, int64_t value)
{
    int64_t seen = atomic_read_relaxed(p);
    while (seen < value &&
           !__atomic_compare_exchange_n(p, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
