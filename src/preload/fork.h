/* SPDX-License-Identifier: MIT */
/* fork of a managed process: libc's own, with the system call inside it taken over. */
#ifndef UZSWAP_PRELOAD_FORK_H
#define UZSWAP_PRELOAD_FORK_H

#include "base/types.h"

/* Looks libc's own functions up. Once, from the constructor: the dynamic linker takes a lock for it. */
void fork_find_originals(void);

/* The hook for clones by syscall(2) (by_number.c): SYS_clone, SYS_clone3, SYS_fork with their six arguments, in a
 * managed process. Sets *taken and gives the kernel's result (as fork, it may return twice), or leaves it to the
 * kernel. */
long fork_by_number(long number, long *arguments, bool *taken);

#endif
