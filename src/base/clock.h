/* SPDX-License-Identifier: MIT */
/* Time that only goes on, the same for all processes. */
#ifndef UZSWAP_BASE_CLOCK_H
#define UZSWAP_BASE_CLOCK_H

#include <time.h>

#include "base/sys.h"

static inline uint64_t clock_ms(void)
{
    struct timespec t;
    sys_call3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#endif
