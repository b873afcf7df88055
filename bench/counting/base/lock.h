/* SPDX-License-Identifier: MIT */
/* The real base/lock.h, counted: see atomic.h. */
#ifndef UZSWAP_BENCH_COUNTING_LOCK_H
#define UZSWAP_BENCH_COUNTING_LOCK_H

#include "../../../src/base/lock.h"
#include "atomic.h"

#define mutex_lock(m) (counting.locks++, mutex_lock(m))

#endif
