/* SPDX-License-Identifier: MIT */
/* seccomp(2) by number, and prctl(2), of which PR_SET_SECCOMP does the same. See filters.h. */
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "preload/filters.h"
#include "preload/interpose.h"

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1ul << 4)
#endif

/* How many, or more: raised before. Atomic. */
static uint32_t installed;

bool filters_are_installed(void)
{
    /* Acquire: as the filter of another thread (TSYNC), it is known of before it is there. */
    return atomic_read_acquire(&installed);
}

/* The result of the call, which may install a filter. */
static long install(bool installs, long number, const unsigned long a[5])
{
    if (installs) {
        atomic_add_acq_rel(&installed, 1);
    }
    long result = sys_call6(number, (long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4], 0);
    if (installs && result < 0) {
        atomic_sub_acq_rel(&installed, 1);
    }
    return result;
}

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
    bool installs = operation == SECCOMP_SET_MODE_FILTER || operation == SECCOMP_SET_MODE_STRICT;
    return install(installs, SYS_seccomp, (unsigned long[5]){operation, flags, (unsigned long)argument});
}

long filters_prctl(int option, const unsigned long arguments[4])
{
    const unsigned long *a = arguments;
    return install(option == PR_SET_SECCOMP, SYS_prctl,
                   (unsigned long[5]){(unsigned long)option, a[0], a[1], a[2], a[3]});
}

/* As libc, it takes four whatever the option has. */
EXPORT int prctl(int option, ...)
{
    unsigned long arguments[4];
    va_list more;
    va_start(more, option);
    for (size_t i = 0; i < ARRAY_LENGTH(arguments); i++) {
        arguments[i] = va_arg(more, unsigned long);
    }
    va_end(more);
    return (int)answer(filters_prctl(option, arguments));
}
