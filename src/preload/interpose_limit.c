/* SPDX-License-Identifier: MIT */
/*
 * RLIMIT_AS that the program sets itself. Most of the address space that the process has is reserved by the runtime, above all
 * the arena, whether the program uses it or not. So
 *
 *   the kernel      is told the program's limit and what the runtime has: it holds for what the program maps outside the arena
 *   the root thread counts what the arena has given out, and what is mapped outside, against the program's limit
 *   the program     reads its own figures
 *   exec            the next image finds the program's soft limit (not where libc itself execs: posix_spawn, system, popen)
 *
 * A limit that was set before the start is the kernel's as it is. The calls are made in the program's thread, which has the
 * program's privileges. In a child by vfork, which shares this memory and not the limits, they go to the kernel as they are.
 */
#include "preload/interpose.h"

#include <sys/resource.h>

#include "preload/probe.h"

/* Atomic, each by itself: two threads that set limits at once may each leave a half, as they may natively with two calls. */
static struct {
    uint32_t is_set;
    uint64_t soft, hard;           /* the program's */
    uint64_t told_soft, told_hard; /* the kernel's */
} own;

static long kernel_prlimit(int pid, int resource, const struct rlimit64 *new, struct rlimit64 *old)
{
    return sys_call6(SYS_prlimit64, pid, resource, (long)new, (long)old, 0, 0);
}

/* The program's limits, by the kernel's. */
static struct rlimit64 own_limits(const struct rlimit64 *kernels)
{
    /* Acquire: the figures were written before. */
    if (!atomic_read_acquire(&own.is_set)) {
        return *kernels;
    }
    return (struct rlimit64){atomic_read_relaxed(&own.soft), atomic_read_relaxed(&own.hard)};
}

static uint64_t with_ours(uint64_t limit, uint64_t ours)
{
    return limit > RLIM64_INFINITY - ours ? RLIM64_INFINITY : limit + ours;
}

/* What the kernel is told. What the runtime has may have changed since the last time: a limit that stays, or is lowered, must
 * not need privileges for that. */
static struct rlimit64 kernels_limits(const struct rlimit64 *new, const struct rlimit64 *now,
                                      const struct rlimit64 *kernels, uint64_t ours)
{
    struct rlimit64 k = {with_ours(new->rlim_cur, ours), with_ours(new->rlim_max, ours)};
    if (new->rlim_max == now->rlim_max) {
        k.rlim_max = kernels->rlim_max;
    } else if (new->rlim_max < now->rlim_max && k.rlim_max > kernels->rlim_max) {
        k.rlim_max = kernels->rlim_max;
    }
    k.rlim_cur = k.rlim_cur < k.rlim_max ? k.rlim_cur : k.rlim_max;
    return k;
}

static void remember(const struct rlimit64 *new, const struct rlimit64 *told)
{
    atomic_set_relaxed(&own.soft, new->rlim_cur);
    atomic_set_relaxed(&own.hard, new->rlim_max);
    atomic_set_relaxed(&own.told_soft, told->rlim_cur);
    atomic_set_relaxed(&own.told_hard, told->rlim_max);
    /* Release: see own_limits. */
    atomic_set_release(&own.is_set, 1);
}

static long set_address_space(const struct rlimit64 *new, const struct rlimit64 *now,
                              const struct rlimit64 *kernels)
{
    if (new->rlim_cur > new->rlim_max) {
        return -EINVAL;
    }
    /* The arena first: what the kernel then refuses is undone. */
    struct arena_request q = {.operation = ARENA_LIMIT, .limit = new->rlim_cur};
    struct rlimit64 told = kernels_limits(new, now, kernels, (uint64_t)ask_arena(&q));
    long error = kernel_prlimit(0, RLIMIT_AS, &told, NULL);
    if (error) {
        q.limit = now->rlim_cur;
        ask_arena(&q);
        return error;
    }
    remember(new, &told);
    return 0;
}

static long limit_address_space(const struct rlimit64 *new, struct rlimit64 *old)
{
    struct rlimit64 kernels = {RLIM64_INFINITY, RLIM64_INFINITY};
    long error = kernel_prlimit(0, RLIMIT_AS, NULL, &kernels);
    struct rlimit64 now = own_limits(&kernels);
    if (!error && new) {
        error = probe_read(new, sizeof *new) ? set_address_space(new, &now, &kernels) : -EFAULT;
    }
    if (error || !old) {
        return error;
    }
    if (!probe_write(old, sizeof *old)) {
        return -EFAULT; /* and the new limit holds: as the kernel */
    }
    *old = now;
    return 0;
}

long call_prlimit(int pid, int resource, const struct rlimit64 *new, struct rlimit64 *old)
{
    if (resource != RLIMIT_AS || (pid && (uint32_t)pid != runtime.pid) || !runtime_answers_caller()) {
        return kernel_prlimit(pid, resource, new, old);
    }
    return limit_address_space(new, old);
}

/* ---- exec */

static void set_soft(uint64_t from, uint64_t to)
{
    struct rlimit64 now;
    if (!kernel_prlimit(0, RLIMIT_AS, NULL, &now) && now.rlim_cur == from) {
        now.rlim_cur = to;
        kernel_prlimit(0, RLIMIT_AS, &now, NULL);
    }
}

/* In a child by vfork, too, unless it has set another limit meanwhile. */
void limit_before_exec(void)
{
    if (atomic_read_acquire(&own.is_set)) {
        set_soft(atomic_read_relaxed(&own.told_soft), atomic_read_relaxed(&own.soft));
    }
}

void limit_after_exec(void)
{
    if (atomic_read_acquire(&own.is_set)) {
        set_soft(atomic_read_relaxed(&own.soft), atomic_read_relaxed(&own.told_soft));
    }
}

/* ---- what the program calls */

EXPORT int prlimit64(pid_t pid, __rlimit_resource_t resource, const struct rlimit64 *new,
                     struct rlimit64 *old)
{
    return (int)answer(call_prlimit(pid, (int)resource, new, old));
}

EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *new)
{
    return (int)answer(call_prlimit(0, (int)resource, new, NULL));
}

EXPORT int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *old)
{
    return (int)answer(call_prlimit(0, (int)resource, NULL, old));
}

/* One structure, two names. */
_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "rlim_t has 64 bits");

EXPORT int prlimit(pid_t pid, __rlimit_resource_t resource, const struct rlimit *new, struct rlimit *old)
{
    return prlimit64(pid, resource, (const struct rlimit64 *)new, (struct rlimit64 *)old);
}

EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *new)
{
    return setrlimit64(resource, (const struct rlimit64 *)new);
}

EXPORT int getrlimit(__rlimit_resource_t resource, struct rlimit *old)
{
    return getrlimit64(resource, (struct rlimit64 *)old);
}
