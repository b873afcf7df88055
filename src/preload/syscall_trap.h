/* SPDX-License-Identifier: MIT */
/* Taking the clone over that libc makes inside a function of its own. */
#ifndef UZSWAP_PRELOAD_SYSCALL_TRAP_H
#define UZSWAP_PRELOAD_SYSCALL_TRAP_H

#include <sys/types.h>

#include "base/types.h"

struct trapped_clone;

/* Makes the clone; its result, in parent and child. Called with the trap off, all signals blocked. fork.c has it. */
long fork_perform(const struct trapped_clone *clone);

/* What `trap_disarm` puts back. */
struct trapped {
    uint64_t mask;
    pid_t pid;
};

/* Once, by the thread that starts the runtime. */
void trap_init(void);

/* From here to `trap_disarm`, a fork made by the calling thread is `fork_perform`'s, once; all signals are blocked.
 * 0 or -ENOSYS. */
int trap_arm(struct trapped *t);

/* In the parent, and in the child. */
void trap_disarm(const struct trapped *t);

/* Is the calling thread between the two? */
bool trap_is_armed(void);

/* In a child whose fork was not trapped: other threads of the parent may have been inside. */
void trap_forget(void);

#endif
