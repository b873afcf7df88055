/* SPDX-License-Identifier: MIT */
/* mlock and its family, and what asks about residence: mincore, msync. */
#include "preload/interpose.h"

#include <linux/capability.h>
#include <sys/resource.h>

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

/* How much the caller may lock, as the kernel decides it. Asked here: the root thread has privileges of its own. */
static size_t lock_limit(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
    struct rlimit64 limit = {0};
    if (!sys_call3(SYS_capget, (long)&header, (long)sets, 0) && (sets[0].effective >> CAP_IPC_LOCK & 1)) {
        return SIZE_MAX;
    }
    sys_call6(SYS_prlimit64, 0, RLIMIT_MEMLOCK, 0, (long)&limit, 0, 0);
    return limit.rlim_cur;
}

/* mlock's names for what bring_in says. */
static long lock_error(int error)
{
    return error == -ENOMEM ? -EAGAIN : error ? -ENOMEM : 0;
}

static long lock_managed(struct piece p, unsigned flags)
{
    struct arena_request q = {
        .operation = ARENA_LOCK, .flags = (int)flags, .at = p.at, .bytes = p.bytes, .limit = lock_limit()};
    if (!q.limit) {
        return -EPERM;
    }
    long error = ask_arena(&q);
    return error || (flags & MLOCK_ONFAULT) ? error : lock_error(bring_in(p.at, p.bytes));
}

static long lock_kernels(struct piece p, unsigned flags)
{
    return flags ? sys_call3(SYS_mlock2, (long)p.at, (long)p.bytes, flags)
                 : sys_call3(SYS_mlock, (long)p.at, (long)p.bytes, 0);
}

/* The pages that [at, at + length) touches: mlock wants no alignment. */
static struct piece pages_touched(const void *at, size_t length)
{
    size_t before = (uintptr_t)at % PAGE_BYTES;
    return (struct piece){.at = (char *)at - before, .bytes = whole_pages(length + before)};
}

static bool is_ours(struct piece all, size_t length)
{
    return all.bytes && all.bytes >= length && runtime_serves_caller() && touches_arena(all.at, all.bytes);
}

long call_mlock(const void *at, size_t length, unsigned flags)
{
    struct piece all = pages_touched(at, length);
    if ((flags & ~(unsigned)MLOCK_ONFAULT) || !is_ours(all, length)) {
        return lock_kernels((struct piece){.at = (char *)at, .bytes = length}, flags);
    }
    FOR_PIECES(p, all.at, all.bytes)
    {
        long error = p.managed ? lock_managed(p, flags) : lock_kernels(p, flags);
        if (error) {
            return error;
        }
    }
    return 0;
}

long call_munlock(const void *at, size_t length)
{
    struct piece all = pages_touched(at, length);
    if (!is_ours(all, length)) {
        return sys_call3(SYS_munlock, (long)at, (long)length, 0);
    }
    FOR_PIECES(p, all.at, all.bytes)
    {
        struct arena_request q = {.operation = ARENA_UNLOCK, .at = p.at, .bytes = p.bytes};
        long error = p.managed ? ask_arena(&q) : sys_call3(SYS_munlock, (long)p.at, (long)p.bytes, 0);
        if (error) {
            return error;
        }
    }
    return 0;
}

static void bring_locked_in(void)
{
    struct arena_request q = {.operation = ARENA_NEXT, .at = runtime.arena_base};
    while (!ask_arena(&q)) {
        bring_in(q.at, q.bytes); /* as the kernel: mlockall does not say that it failed */
        q.at += q.bytes;
        if (!is_inside_arena(q.at, PAGE_BYTES)) {
            return;
        }
    }
}

/* Managed memory only: to the kernel, the runtime's own memory and the arena would be the program's as well. */
long call_mlockall(int flags)
{
    if (!runtime_serves_caller()) {
        return sys_call3(SYS_mlockall, flags, 0, 0);
    }
    if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT) {
        return -EINVAL;
    }
    struct arena_request q = {.operation = ARENA_LOCK_ALL, .flags = flags, .limit = lock_limit()};
    if (!q.limit) {
        return -EPERM;
    }
    long error = ask_arena(&q);
    if (!error && (flags & MCL_CURRENT) && !(flags & MCL_ONFAULT)) {
        bring_locked_in();
    }
    return error;
}

long call_munlockall(void)
{
    struct arena_request q = {.operation = ARENA_UNLOCK_ALL};
    long error = runtime_serves_caller() ? ask_arena(&q) : 0;
    return error ? error : sys_call3(SYS_munlockall, 0, 0, 0);
}

EXPORT int mlock(const void *at, size_t length)
{
    return (int)answer(call_mlock(at, length, 0));
}

EXPORT int mlock2(const void *at, size_t length, unsigned flags)
{
    return (int)answer(call_mlock(at, length, flags));
}

EXPORT int munlock(const void *at, size_t length)
{
    return (int)answer(call_munlock(at, length));
}

EXPORT int mlockall(int flags)
{
    return (int)answer(call_mlockall(flags));
}

EXPORT int munlockall(void)
{
    return (int)answer(call_munlockall());
}

/* ---- mincore, msync: what the kernel says of the arena is right, but that it knows no holes there */

/* -ENOMEM: a hole; else is a part locked? */
static long look_for_holes(void *at, size_t length)
{
    size_t bytes = whole_pages(length);
    bool locked = false;
    if (!bytes || !is_aligned(at) || !runtime_serves_caller() || !touches_arena(at, bytes)) {
        return 0;
    }
    FOR_PIECES(p, at, bytes)
    {
        struct arena_request q = {.operation = ARENA_COVERS, .at = p.at, .bytes = p.bytes};
        long answered = p.managed ? ask_arena(&q) : 0;
        if (answered < 0) {
            return answered;
        }
        locked |= answered;
    }
    return locked;
}

long call_mincore(void *at, size_t length, unsigned char *vector)
{
    long holes = look_for_holes(at, length);
    return holes < 0 ? holes : sys_call3(SYS_mincore, (long)at, (long)length, (long)vector);
}

long call_msync(void *at, size_t length, int flags)
{
    long error = sys_call3(SYS_msync, (long)at, (long)length, flags);
    if (error) {
        return error;
    }
    long holes = look_for_holes(at, length);
    return holes < 0 ? holes : holes && (flags & MS_INVALIDATE) ? -EBUSY : 0;
}

EXPORT int mincore(void *at, size_t length, unsigned char *vector)
{
    return (int)answer(call_mincore(at, length, vector));
}

EXPORT int msync(void *at, size_t length, int flags)
{
    return (int)answer(call_msync(at, length, flags));
}
