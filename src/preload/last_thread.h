/* SPDX-License-Identifier: MIT */
/*
 * With a program's last thread its process ends; ours must not keep it alive. No thread of the program can tell that it is
 * the last (two that end at once each see the other), so the root thread looks:
 *
 *   each tick                      the thread-group leader lives: one system call, and that is all
 *   the leader has ended           some other thread, the witness, lives: its state in /proc. Another one if not. None: the
 *                                  process ends
 *   a thread says that it leaves   the same after 1, 2, 4 ... milliseconds, so that nobody waits for a tick
 *
 * The list in /proc is not read at one instant: threads come and go meanwhile, and it may break off. So that there is
 * nobody is believed only if the list is as long as the kernel's count of threads, before and after.
 *
 * Without /proc all numbers that a thread can have are tried, twice over: that takes half a minute. (A thread that starts
 * behind the place tried, while the one that has started it ends ahead of it, is passed over; not so easily twice.)
 *
 * The status is that of the last exit(2) seen (by_number.c), or the leader's, if the leader ended after that: the kernel keeps
 * it. A leader that the kernel has killed alone (SECCOMP_RET_KILL_THREAD kills the process only if it has one thread, and ours
 * count) has the process die by that signal. libc counts the threads that end by pthread_exit or by returning, and ends the
 * process itself, as it does without us. All calls but one: in the root thread.
 */
#ifndef UZSWAP_PRELOAD_LAST_THREAD_H
#define UZSWAP_PRELOAD_LAST_THREAD_H

#include "base/types.h"

/* A thread of the program is about to end. */
void last_thread_leaves(int tid, int status);

/* The same, without a system call: in the thread itself. It is heard of at the next tick. */
void last_thread_note(int status);

/* When to look, besides at each tick. */
uint64_t last_thread_due(void);

/* Ends the process if no thread of the program is left. */
void last_thread_look(uint64_t now_ms);

/* In a forked child: what was known is about the parent. */
void last_thread_fork_child(void);

#endif
