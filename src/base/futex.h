/* SPDX-License-Identifier: MIT */
/* Sleeping on a word: futex(2), private to the process, or shared with others. Spurious wake-ups are allowed. */
#ifndef UZSWAP_BASE_FUTEX_H
#define UZSWAP_BASE_FUTEX_H

#include <errno.h>
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

/* Sleeps while `word`, of this process, and `shared`, of many, are as expected. Before Linux 5.16,
 * and where a filter forbids it, only while `word` is. */
static inline void futex_wait_either(const uint32_t *word, uint32_t expected, const uint32_t *shared,
                                     uint32_t shared_expected, int timeout_ms)
{
    const struct futex_waitv words[2] = {
        {.uaddr = (uintptr_t)word, .val = expected, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG},
        {.uaddr = (uintptr_t)shared, .val = shared_expected, .flags = FUTEX_32},
    };
    struct timespec end;
    sys_call3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&end, 0);
    end.tv_nsec += timeout_ms % 1000 * 1000000L;
    end.tv_sec += timeout_ms / 1000 + end.tv_nsec / 1000000000L;
    end.tv_nsec %= 1000000000L;
    long result = sys_call6(SYS_futex_waitv, (long)words, 2, 0, (long)&end, CLOCK_MONOTONIC, 0);
    if (result < 0 && result != -EAGAIN && result != -ETIMEDOUT && result != -EINTR) {
        futex_wait(word, expected, timeout_ms);
    }
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
