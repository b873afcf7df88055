/* SPDX-License-Identifier: MIT */
/* Sleeping on a word: futex(2), private to the process, or shared with others. Spurious wake-ups are allowed. */
#ifndef UZSWAP_BASE_FUTEX_H
#define UZSWAP_BASE_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "base/sys.h"

static inline void futex_wait_by(int operation, const uint32_t *word, uint32_t expected, int timeout_ms)
{
    struct timespec limit = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    sys_call6(SYS_futex, (long)word, operation, (long)expected, timeout_ms >= 0 ? (long)&limit : 0, 0, 0);
}

/* Sleeps while *word is `expected`, until woken or, if `timeout_ms` >= 0, until that time is over. */
static inline void futex_wait(const uint32_t *word, uint32_t expected, int timeout_ms)
{
    futex_wait_by(FUTEX_WAIT_PRIVATE, word, expected, timeout_ms);
}

static inline void futex_wait_shared(const uint32_t *word, uint32_t expected, int timeout_ms)
{
    futex_wait_by(FUTEX_WAIT, word, expected, timeout_ms);
}

static inline void futex_wake(const uint32_t *word, int waiters)
{
    sys_call6(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, waiters, 0, 0, 0);
}

static inline void futex_wake_shared(const uint32_t *word, int waiters)
{
    sys_call6(SYS_futex, (long)word, FUTEX_WAKE, waiters, 0, 0, 0);
}

#endif
