/* SPDX-License-Identifier: MIT */
/*
 * How the runtime starts its threads. A library user's process gets ordinary pthreads; libuzswap-preload
 * hands down its own table, whose threads libc does not know (no malloc'ed thread state, so that they
 * can also be started inside fork).
 *
 * A thread function must not call malloc or stdio, nor touch managed memory.
 */
#ifndef UZSWAP_BASE_THREAD_H
#define UZSWAP_BASE_THREAD_H

#include "base/types.h"

struct thread {
    void *state; /* the table's own */
};

struct thread_ops {
    /* Starts `run(argument)` with all signals blocked. 0 or -errno. */
    int (*start)(struct thread *t, void (*run)(void *), void *argument, const char *name);
    /* Waits until the thread has ended and frees what it took. */
    void (*join)(struct thread *t);
};

/* Threads of libpthread. */
extern const struct thread_ops thread_ops_pthread;

#endif
