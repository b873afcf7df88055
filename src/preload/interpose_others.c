/* SPDX-License-Identifier: MIT */
/* Calls that are about memory now and then, and the end of the process. */
#include "preload/interpose.h"

#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/shm.h>

/* ---- userfaultfd of the program's own: a range has one only, so ours goes from there */

/* Can it be tried again? */
static bool hand_over(const struct uffdio_range *range)
{
    char *at = (char *)(uintptr_t)range->start;
    bool handed = false;
    if (!range->len || range->len % PAGE_BYTES || !is_aligned(at) || !touches_arena(at, range->len)) {
        return false;
    }
    FOR_PIECES(p, at, range->len)
    {
        struct arena_request q = {.operation = ARENA_HAND_OVER, .at = p.at, .bytes = p.bytes};
        handed |= p.managed && !ask_arena(&q);
    }
    return handed;
}

long call_ioctl(int fd, unsigned long request, void *argument)
{
    long result = sys_call3(SYS_ioctl, fd, (long)request, (long)argument);
    if (unlikely(result == -EBUSY && request == UFFDIO_REGISTER) && runtime_serves_caller() &&
        hand_over(&((const struct uffdio_register *)argument)->range)) {
        result = sys_call3(SYS_ioctl, fd, (long)request, (long)argument);
    }
    return result;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    return (int)answer(call_ioctl(fd, request, argument));
}

/* ---- System V shared memory: not over managed memory, as if that could not be replaced (SHM_REMAP) */

long call_shmat(int id, const void *at, int flags)
{
    if (at && runtime_serves_caller() && touches_arena((void *)at, PAGE_BYTES)) {
        return -EINVAL;
    }
    return sys_call3(SYS_shmat, id, (long)at, flags);
}

EXPORT void *shmat(int id, const void *at, int flags)
{
    return (void *)answer(call_shmat(id, at, flags));
}
/* ---- the end */

__attribute__((noreturn)) static void end(int status)
{
    runtime_publish_figures();
    for (;;) {
        sys_call3(SYS_exit_group, status, 0, 0);
    }
}

EXPORT void _exit(int status)
{
    end(status);
}

EXPORT void _Exit(int status)
{
    end(status);
}
