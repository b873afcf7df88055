/* SPDX-License-Identifier: MIT */
/*
 * src/base/atomic.h as the explorer has it: a scheduling point before each operation, and no orders, since all is
 * sequentially consistent under it. Arguments are evaluated before the point: they belong to the step that ends there.
 *
 * No points: atomic_add_relaxed, atomic_sub_relaxed and atomic_raise_relaxed. They are for counters, and sums do not
 * depend on the order in which they were made. That holds as long as nobody acts upon a counter that others change
 * meanwhile: budgets and limits (account.h, zswap.c) are not reached in what is explored, the injected failures of memory.c
 * are the explorer's own choices, and an area's count of writes under way rises only under the lock that its reader
 * takes first. With EXPLORE_COUNTER_POINTS additions and subtractions are points like all others, to check that.
 */
#ifndef UZSWAP_BASE_ATOMIC_H
#define UZSWAP_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/verify/explore.h"

/* The point before `operation` on explore_p, and what follows it. */
#define EXPLORE_ACCESS(kind, what, operation)                                                                \
    static const struct explore_place explore_place = {__FILE__, __func__, what, __LINE__};                  \
    explore_point((kind), explore_p, sizeof *explore_p, &explore_place);                                     \
    operation;                                                                                               \
    explore_accessed(explore_p, sizeof *explore_p, &explore_place)

#define EXPLORE_READ_WORD(p)                                                                                 \
    __extension__({                                                                                          \
        __typeof__(p) explore_p = (p);                                                                       \
        EXPLORE_ACCESS(EXPLORE_READ, "read " #p,                                                             \
                       __typeof__(*explore_p) explore_r = __atomic_load_n(explore_p, __ATOMIC_RELAXED));     \
        explore_r;                                                                                           \
    })

#define EXPLORE_SET_WORD(p, v)                                                                               \
    __extension__({                                                                                          \
        __typeof__(p) explore_p = (p);                                                                       \
        __typeof__(*explore_p) explore_v = (v);                                                              \
        EXPLORE_ACCESS(EXPLORE_WRITE, "set " #p, __atomic_store_n(explore_p, explore_v, __ATOMIC_RELAXED));  \
    })

/* `verb`: for the printed steps; `builtin`: of GCC, one operand. */
#define EXPLORE_UPDATE_WORD(p, v, verb, builtin)                                                             \
    __extension__({                                                                                          \
        __typeof__(p) explore_p = (p);                                                                       \
        __typeof__(*explore_p) explore_v = (v);                                                              \
        EXPLORE_ACCESS(EXPLORE_UPDATE, verb " " #p,                                                          \
                       __typeof__(*explore_p) explore_r = builtin(explore_p, explore_v, __ATOMIC_RELAXED));  \
        explore_r;                                                                                           \
    })

#define EXPLORE_CAS_WORD(p, expected, new)                                                                   \
    __extension__({                                                                                          \
        __typeof__(p) explore_p = (p);                                                                       \
        __typeof__(*explore_p) *explore_e = (expected), explore_v = (new);                                   \
        EXPLORE_ACCESS(EXPLORE_UPDATE, "cas " #p,                                                            \
                       bool explore_r = __atomic_compare_exchange_n(explore_p, explore_e, explore_v, false,  \
                                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED));    \
        explore_r;                                                                                           \
    })

#define atomic_read_relaxed(p) EXPLORE_READ_WORD(p)
#define atomic_read_acquire(p) EXPLORE_READ_WORD(p)
#define atomic_read_seq_cst(p) EXPLORE_READ_WORD(p)
#define atomic_set_relaxed(p, v) EXPLORE_SET_WORD(p, v)
#define atomic_set_release(p, v) EXPLORE_SET_WORD(p, v)
#define atomic_set_seq_cst(p, v) EXPLORE_SET_WORD(p, v)
#define atomic_add_acq_rel(p, v) EXPLORE_UPDATE_WORD(p, v, "add", __atomic_add_fetch)
#define atomic_sub_acq_rel(p, v) EXPLORE_UPDATE_WORD(p, v, "sub", __atomic_sub_fetch)
#define atomic_fetch_or_acq_rel(p, v) EXPLORE_UPDATE_WORD(p, v, "or", __atomic_fetch_or)
#define atomic_fetch_and_acq_rel(p, v) EXPLORE_UPDATE_WORD(p, v, "and", __atomic_fetch_and)
#define atomic_swap_acq_rel(p, v) EXPLORE_UPDATE_WORD(p, v, "swap", __atomic_exchange_n)
#define atomic_cas_acq_rel(p, expected, new) EXPLORE_CAS_WORD(p, expected, new)
#define atomic_cas_acquire(p, expected, new) EXPLORE_CAS_WORD(p, expected, new)
#define atomic_cas_release(p, expected, new) EXPLORE_CAS_WORD(p, expected, new)
#define atomic_cas_relaxed(p, expected, new) EXPLORE_CAS_WORD(p, expected, new)

#ifdef EXPLORE_COUNTER_POINTS
#define atomic_add_relaxed(p, v) EXPLORE_UPDATE_WORD(p, v, "add", __atomic_add_fetch)
#define atomic_sub_relaxed(p, v) EXPLORE_UPDATE_WORD(p, v, "sub", __atomic_sub_fetch)
#else
#define atomic_add_relaxed(p, v) __atomic_add_fetch((p), (v), __ATOMIC_RELAXED)
#define atomic_sub_relaxed(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_RELAXED)
#endif

static inline void atomic_raise_relaxed(int64_t *p, int64_t value)
{
    if (*p < value) {
        *p = value;
    }
}

#define cpu_relax()                                                                                          \
    __extension__({                                                                                          \
        static const struct explore_place explore_place = {__FILE__, __func__, "cpu_relax", __LINE__};       \
        explore_yield(&explore_place);                                                                       \
    })

#endif
