/* SPDX-License-Identifier: MIT */
/* What a clone that makes a process with memory of its own is asked with, and what becomes of that. */
#ifndef UZSWAP_PRELOAD_CLONE_H
#define UZSWAP_PRELOAD_CLONE_H

#include <linux/sched.h>
#include <sys/types.h>

#include "base/types.h"

/* A clone as the program, or libc, wanted it: registers, and clone3's structure. */
struct trapped_clone {
    long number; /* SYS_clone, SYS_clone3, SYS_fork or SYS_vfork */
    long arguments[6];
    struct clone_args clone3;
};

/* Where the program wants the clone's results; NULL = nowhere. */
struct clone_results {
    pid_t *child_set, *child_clear;
    pid_t *parent_tid;
    int *pidfd;
};

/* Reads the structure that clone3's registers point to. False: the kernel is to say what is wrong. */
bool clone_read(struct trapped_clone *q);

/* Does it make a process with memory of its own? Once it was read. */
bool clone_is_fork(const struct trapped_clone *q);

/* Does the parent wait until such a child has exec'ed or ended? Once it was read, before it is prepared. */
bool clone_is_vfork(const struct trapped_clone *q);

/* Makes the arguments such that the kernel needs no managed memory for the clone, and notes where its results are to go.
 * 0 or -errno. One clone at a time, from here to its delivery. */
int clone_prepare(struct trapped_clone *q, struct clone_results *results);

/* The system call, as it is. */
long clone_make(const struct trapped_clone *q);

/* Hands the results over once memory is served again: in the child; in the parent, `pid` being what the clone answered. */
void clone_deliver_to_child(const struct clone_results *results);
void clone_deliver_to_parent(const struct clone_results *results, long pid);

#endif
