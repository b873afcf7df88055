/* SPDX-License-Identifier: MIT */
/*
 * The runtime: everything that manages the memory of one process, and its life.
 *
 *   runtime.c      decides whether to start, starts the root thread; what the root thread does all day
 *   layers.c       builds account, device, caches, region and arena, in order
 *   arena*.c       what the program's memory calls do (address_space.c: which ranges are given out)
 *   tree.c         this process's part of the budget
 *   mailbox.c      how the program's threads ask the root thread
 *   fork.c, fork_handlers.c, clone.c, syscall_trap.c
 *                  how a child gets a runtime of its own
 *   last_thread.c  when the process ends
 *   filters*.c     what the program's seccomp filters mean for us, and for how it ends
 *   proc.c         /proc
 *   interpose*.c, by_number.c
 *                  the calls that the program sees
 *
 * The root thread owns all of `struct runtime` but what is said to be others'.
 */
#ifndef UZSWAP_PRELOAD_RUNTIME_H
#define UZSWAP_PRELOAD_RUNTIME_H

#include "base/atomic.h"
#include "base/run_options.h"
#include "base/session.h"
#include "base/thread.h"
#include "preload/arena.h"
#include "preload/message.h"
#include "preload/runtime_thread.h"
#include "zswap/cache.h"

enum runtime_state {
    RUNTIME_UNDECIDED, /* nobody has looked at the environment yet */
    RUNTIME_STARTING,  /* one thread starts it; calls that come meanwhile go to the kernel */
    RUNTIME_OFF,
    RUNTIME_ON,
};

struct runtime {
    uint32_t state; /* enum runtime_state; atomic */

    /* Where the arena is: written before `state` becomes ON, immutable after. */
    char *arena_base;
    size_t arena_bytes;

    /* The starting (or forked) thread's until the root thread runs, then immutable. */
    uint32_t pid;            /* of the process whose threads serve; written by the root thread at its start */
    struct session *session; /* that of the environment, else a private one */
    struct session_process inherited; /* the events that were the parent's */
    struct account account;           /* until it moves to the session (tree.c) */
    struct memory memory;
    struct thread root;

    /* The root thread's. */
    struct membership self; /* in the session; immutable once other threads run */
    uint64_t device_family; /* its founder's name in the session; a forked child's is its parent's */
    struct session_process
        *process; /* this process's slot in the session; its fields are the root thread's */
    struct cache cache;
    struct arena arena;
    int userfaultfd_device;         /* for forked children; -1 = none */
    uint32_t inherited_descriptors; /* handed on to forked children: the device's, and the one above */

    uint64_t pages_lost; /* counted by any runtime thread; atomic */
};

extern struct runtime runtime;

/* Starts the runtime if nobody has looked yet and the environment asks for it. Ends the process if it cannot be
 * started, unless the user said --force. */
void runtime_start(void);

/* Does the runtime serve the calling thread's memory calls? Starts it at the first call. */
static inline bool runtime_serves_caller(void)
{
    /* Acquire: where the arena is was written before. */
    uint32_t state = atomic_read_acquire(&runtime.state);
    if (unlikely(state == RUNTIME_UNDECIDED)) {
        runtime_start();
        state = atomic_read_acquire(&runtime.state);
    }
    return state == RUNTIME_ON && !runtime_thread_is_self();
}

/* Is the caller one of the program's threads in the process whose runtime it is? A process that shares our memory (vfork,
 * CLONE_VM) may outlive ours, and then nobody would answer. */
bool runtime_answers_caller(void);

/* Brings the figures in the session up to date, from a thread of the program; for the end of the process. */
void runtime_publish_figures(void);

/*
 * In a forked child, on its only thread and a private stack: gives the process a runtime of its own. `socket` brings
 * the descriptors of the parent's root thread (descriptors.h), and with `keep` the root thread keeps it. 0 or -errno.
 */
int runtime_fork_child(int socket, bool keep);

/* ---- layers.c; in the root thread */

/* 0, or -errno with the cause in `message`. */
int layers_build(const struct run_options *options, struct message *message);
int layers_fork_child(void);

/* ---- figures.c; in the root thread */

/* Copies all figures to the session. */
void figures_publish(void);

/* The same without a system call, in any thread: the few that need a lock stay as they were. */
void figures_publish_counts(void);

/* What is counted now was the parent's: a child's events begin at 0. */
void figures_inherit(void);

#endif
