/* SPDX-License-Identifier: MIT */
/*
 * While all stands still for a fork the kernel must not touch managed memory for the clone, for nobody would serve the
 * fault. So what it reads and writes through pointers (thread ids, a pidfd) lies here meanwhile (`aside`), and goes to
 * where the program wants it when memory is served again. A pointer that is bad has the answer that the kernel
 * gives: EFAULT for what it reads, and for the pidfd; none for thread ids.
 */
#include "preload/clone.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/sys.h"
#include "preload/probe.h"

#define SET_TID_MOST 32 /* the kernel's MAX_PID_NS_LEVEL */

/* One fork at a time: the private stack's lock is held. */
static struct {
    int pidfd;
    pid_t set_tid[SET_TID_MOST];
} aside;

/* What a child by itself cannot have: the parent's descriptors, another thread pointer, another stack. */
#define FLAGS_NOT_SERVED (CLONE_FILES | CLONE_SETTLS | CLONE_THREAD | CLONE_SIGHAND)
/* Made by us instead. */
#define FLAGS_OURS (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID | CLONE_VFORK)

bool clone_read(struct trapped_clone *q)
{
    const void *at = (const void *)q->arguments[0];
    size_t bytes = (size_t)q->arguments[1];
    if (q->number != SYS_clone3) {
        return true;
    }
    if (bytes < CLONE_ARGS_SIZE_VER0 || bytes > PAGE_BYTES || !probe_read(at, bytes)) {
        return false;
    }
    memcpy(&q->clone3, at, min_size(bytes, sizeof q->clone3));
    return true;
}

bool clone_is_fork(const struct trapped_clone *q)
{
    switch (q->number) {
    case SYS_clone:
        return !((uint64_t)q->arguments[0] & CLONE_VM);
    case SYS_clone3:
        return !(q->clone3.flags & CLONE_VM);
    case SYS_fork:
        return true;
    default:
        return false;
    }
}

bool clone_is_vfork(const struct trapped_clone *q)
{
    uint64_t flags = q->number == SYS_clone3 ? q->clone3.flags : (uint64_t)q->arguments[0];
    return q->number != SYS_fork && (flags & CLONE_VFORK);
}

static int results_of(uint64_t flags, uint64_t child_tid, uint64_t parent_tid, uint64_t pidfd,
                      struct clone_results *results)
{
    *results = (struct clone_results){
        .child_set = flags & CLONE_CHILD_SETTID ? (pid_t *)(uintptr_t)child_tid : NULL,
        .child_clear = flags & CLONE_CHILD_CLEARTID ? (pid_t *)(uintptr_t)child_tid : NULL,
        .parent_tid = flags & CLONE_PARENT_SETTID ? (pid_t *)(uintptr_t)parent_tid : NULL,
        .pidfd = flags & CLONE_PIDFD ? (int *)(uintptr_t)pidfd : NULL,
    };
    return !(flags & CLONE_PIDFD) || probe_write(results->pidfd, sizeof *results->pidfd) ? 0 : -EFAULT;
}

static int prepare_clone(long *a, struct clone_results *results)
{
    uint64_t flags = (uint64_t)a[0];
    if ((flags & FLAGS_NOT_SERVED) || a[1]) {
        return -ENOSYS;
    }
    int error = results_of(flags, (uint64_t)a[3], (uint64_t)a[2], (uint64_t)a[2], results);
    a[0] = (long)(flags & ~(uint64_t)FLAGS_OURS);
    a[2] = results->pidfd ? (long)&aside.pidfd : 0;
    return error;
}

static int put_set_tid_aside(struct clone_args *c)
{
    const void *from = (const void *)(uintptr_t)c->set_tid;
    size_t bytes = c->set_tid_size * sizeof(pid_t);
    if (c->set_tid_size > SET_TID_MOST) {
        return -EINVAL;
    }
    if (!bytes || !from) {
        return 0; /* the kernel says what is wrong */
    }
    if (!probe_read(from, bytes)) {
        return -EFAULT;
    }
    memcpy(aside.set_tid, from, bytes);
    c->set_tid = (uintptr_t)aside.set_tid;
    return 0;
}

static int prepare_clone3(struct trapped_clone *q, struct clone_results *results)
{
    struct clone_args *c = &q->clone3;
    if ((c->flags & FLAGS_NOT_SERVED) || c->stack) {
        return -ENOSYS;
    }
    int error = results_of(c->flags, c->child_tid, c->parent_tid, c->pidfd, results);
    c->flags &= ~(uint64_t)FLAGS_OURS;
    c->pidfd = results->pidfd ? (uintptr_t)&aside.pidfd : 0;
    q->arguments[0] = (long)c;
    q->arguments[1] = (long)min_size((size_t)q->arguments[1], sizeof *c);
    return error ? error : put_set_tid_aside(c);
}

int clone_prepare(struct trapped_clone *q, struct clone_results *results)
{
    *results = (struct clone_results){0};
    aside.pidfd = -1;
    switch (q->number) {
    case SYS_clone:
        return prepare_clone(q->arguments, results);
    case SYS_clone3:
        return prepare_clone3(q, results);
    default:
        return 0;
    }
}

long clone_make(const struct trapped_clone *q)
{
    const long *a = q->arguments;
    return sys_call6(q->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void put(int *to, int value)
{
    if (to && probe_write(to, sizeof *to)) {
        *to = value;
    }
}

void clone_deliver_to_child(const struct clone_results *results)
{
    if (results->child_clear) {
        sys_call3(SYS_set_tid_address, (long)results->child_clear, 0, 0);
    }
    put(results->child_set, sys_gettid());
}

void clone_deliver_to_parent(const struct clone_results *results, long pid)
{
    if (pid > 0) {
        put(results->parent_tid, (pid_t)pid);
        put(results->pidfd, aside.pidfd);
    } else if (aside.pidfd >= 0) {
        sys_close(aside.pidfd); /* of a child that could not be */
    }
}
