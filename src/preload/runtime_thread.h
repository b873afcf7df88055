/* SPDX-License-Identifier: MIT */
/*
 * Threads that libc knows nothing of: the runtime's own.
 *
 * Code that runs in them may use memcpy and its like and this project's code, and whatever needs no more than
 * a zeroed libc thread; never malloc, stdio, locales, or managed memory. All signals are blocked.
 */
#ifndef UZSWAP_PRELOAD_RUNTIME_THREAD_H
#define UZSWAP_PRELOAD_RUNTIME_THREAD_H

#include "base/member.h"
#include "base/memory.h"
#include "base/thread.h"

/* At most this many at once. */
#define RUNTIME_THREADS MEMBER_THREADS

/* Threads that share the descriptor table (and the rest) of the one that starts them. For region/. */
extern const struct thread_ops thread_ops_runtime;

/* Once, before any thread is started. `memory` pays for stacks. */
void runtime_thread_init(struct memory *memory);

/* From now on each thread that is started enters `member` before it does anything else, by its number, and ends at once
 * if it is turned away. For the first thread, whose number is 0 and who is the member's thread 0 already. */
void runtime_thread_set_member(const struct membership *member);

/* As thread_ops_runtime.start, but the thread has a descriptor table of its own, a copy of the caller's. */
int runtime_thread_start_private(struct thread *t, void (*run)(void *), void *argument, const char *name);

/* Has a thread that was started, and not joined, ended? */
bool runtime_thread_has_ended(const struct thread *t);

/* The tid of one of them. */
int runtime_thread_any_tid(void);

/* Is it the tid of one of them? */
bool runtime_thread_has_tid(int tid);

/* Is the calling thread one of these? */
bool runtime_thread_is_self(void);

/* In a forked child: none of the threads exists here. Their stacks are kept for those that will: the program may have
 * limited its address space since (RLIMIT_AS), and forks all the same. */
void runtime_thread_fork_child(void);

/* Charges what the threads' stacks have grown by. In the root thread, now and then: it joins all other threads. */
void runtime_thread_charge_stacks(void);

#endif
