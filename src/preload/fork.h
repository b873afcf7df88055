/* SPDX-License-Identifier: MIT */
/* fork of a managed process: libc's own, with the system call inside it taken over. */
#ifndef UZSWAP_PRELOAD_FORK_H
#define UZSWAP_PRELOAD_FORK_H

#include "base/types.h"

/* The exit status of a child that cannot have a runtime. */
#define FORK_CHILD_FAILED 125

/* Has libc call us at each fork of its own. Once, before the runtime serves. 0 or -errno. */
int fork_register_handlers(void);

/* Looks libc's own functions up. Once, from the constructor: the dynamic linker takes a lock for it. */
void fork_find_originals(void);

/* syscall(2) of a managed process: makes the fork that it asks for, if it asks for one (SYS_fork; SYS_clone and SYS_clone3
 * without CLONE_VM), as the kernel would; its result, and *taken. Else *taken is false. With CLONE_FILES, CLONE_SETTLS or
 * another stack: -ENOSYS. */
long fork_by_number(long number, long *arguments, bool *taken);

#endif
