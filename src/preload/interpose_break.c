/* SPDX-License-Identifier: MIT */
/* brk and sbrk of the program's own (libc's malloc does not come here). arena_break.c has the memory. */
#include "preload/interpose.h"

#include <stdint.h>
#include <sys/resource.h>

/* libc's notion of the kernel's break, which its malloc works with: kept right where the kernel serves. */
extern void *__curbrk __attribute__((weak));

static size_t data_limit(void)
{
    struct rlimit64 limit = {.rlim_cur = RLIM64_INFINITY};
    sys_call6(SYS_prlimit64, 0, RLIMIT_DATA, 0, (long)&limit, 0, 0);
    return limit.rlim_cur;
}

long call_brk(void *to)
{
    if (runtime_serves_caller()) {
        struct arena_request q = {.operation = ARENA_BREAK, .at = to, .limit = data_limit()};
        long now = ask_arena(&q);
        if (now != -ENOSPC) {
            if (q.bring_in) {
                bring_in(q.to, q.to_bytes);
            }
            return now;
        }
    }
    long now = sys_call3(SYS_brk, (long)to, 0, 0);
    if (&__curbrk) {
        __curbrk = (void *)now;
    }
    return now;
}

EXPORT int brk(void *to)
{
    return (uintptr_t)call_brk(to) < (uintptr_t)to ? (int)answer(-ENOMEM) : 0;
}

EXPORT void *sbrk(intptr_t change)
{
    uintptr_t now = (uintptr_t)call_brk(NULL);
    uintptr_t wanted = now + (uintptr_t)change;
    if (!change) {
        return (void *)now;
    }
    if ((change > 0) != (wanted > now) || (change > 0 && (uintptr_t)call_brk((void *)wanted) < wanted)) {
        return (void *)answer(-ENOMEM);
    }
    if (change < 0) {
        call_brk((void *)wanted);
    }
    return (void *)now;
}
