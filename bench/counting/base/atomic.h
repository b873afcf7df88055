/* SPDX-License-Identifier: MIT */
/* The real base/atomic.h, counted: for bench/lifecycle_count.c, which compiles the lifecycles with this folder first. */
#ifndef UZSWAP_BENCH_COUNTING_ATOMIC_H
#define UZSWAP_BENCH_COUNTING_ATOMIC_H

#include "../../../src/base/atomic.h"

struct counting {
    uint64_t reads, writes;
    uint64_t updates; /* read-modify-writes, successful or not: each a locked operation */
    uint64_t locks;   /* mutexes taken */
};

extern struct counting counting;

/* The macros of atomic.h come down to these. A macro is not expanded in itself. */
#define __atomic_load_n(...) (counting.reads++, __atomic_load_n(__VA_ARGS__))
#define __atomic_store_n(...) (counting.writes++, __atomic_store_n(__VA_ARGS__))
#define __atomic_add_fetch(...) (counting.updates++, __atomic_add_fetch(__VA_ARGS__))
#define __atomic_sub_fetch(...) (counting.updates++, __atomic_sub_fetch(__VA_ARGS__))
#define __atomic_fetch_or(...) (counting.updates++, __atomic_fetch_or(__VA_ARGS__))
#define __atomic_fetch_and(...) (counting.updates++, __atomic_fetch_and(__VA_ARGS__))
#define __atomic_exchange_n(...) (counting.updates++, __atomic_exchange_n(__VA_ARGS__))
#define __atomic_compare_exchange_n(...) (counting.updates++, __atomic_compare_exchange_n(__VA_ARGS__))

#endif
