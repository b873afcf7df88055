/* SPDX-License-Identifier: MIT */
/* The code under test: src/zswap/lifecycle.c, or a changed copy of it, on the shim. */
#include "shim.hpp"

#define __atomic_load_n(p, order) checked_load((p), (order), HERE)
#define __atomic_store_n(p, v, order) checked_store((p), (v), (order), HERE)
#define __atomic_exchange_n(p, v, order) checked_exchange((p), (v), (order), HERE)
#define __atomic_compare_exchange_n(p, expected, next, weak, success, failure)                               \
    checked_cas((p), (expected), (next), (success), (failure), HERE)
#define cpu_relax() checked_yield(HERE)
#define sys_yield() checked_yield(HERE)
#define uint32_t plain32

#include LIFECYCLE_SOURCE

#ifdef ONE_HOLD_AT_A_TIME
static_assert(ENTRY_HOLDERS_MAX == 1, "-DENTRY_HOLDERS_BITS=1 has no effect");
#endif
