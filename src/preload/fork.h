/* SPDX-License-Identifier: MIT */
/* fork of a managed process: libc's own, with the system call inside it taken over. */
#ifndef UZSWAP_PRELOAD_FORK_H
#define UZSWAP_PRELOAD_FORK_H

#include "base/types.h"

/* Looks libc's own functions up. Once, from the constructor: the dynamic linker takes a lock for it. */
void fork_find_originals(void);

#endif
