/* SPDX-License-Identifier: MIT */
/* seccomp(2) by number. See filters.h. */
#include <errno.h>
#include <linux/seccomp.h>

#include "base/atomic.h"
#include "base/sys.h"
#include "preload/filters.h"
#include "preload/message.h"
#include "preload/runtime.h"

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1ul << 4)
#endif

static void say_refused(const char *name)
{
    static uint32_t said;
    struct message m;
    if (!atomic_swap_acq_rel(&said, 1)) {
        message_set(&m, "a seccomp filter for all threads is refused: it does not allow ", name,
                    ", which uzswap's threads need", NULL);
        message_write(&m);
    }
}

long filters_install(unsigned operation, unsigned flags, void *argument)
{
    if (operation == SECCOMP_SET_MODE_FILTER && (flags & SECCOMP_FILTER_FLAG_TSYNC) && argument &&
        runtime_serves_caller()) {
        const char *name = filters_would_allow_us(argument);
        if (name) {
            say_refused(name);
            return flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH ? -ESRCH : runtime_thread_any_tid();
        }
    }
    return sys_call3(SYS_seccomp, operation, flags, (long)argument);
}
