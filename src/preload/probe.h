/* SPDX-License-Identifier: MIT */
/* Could the program's memory at an address be touched? Asked of the kernel, for pointers that are to be answered with
 * EFAULT. Memory that is out is brought in. What another thread unmaps meanwhile is not excluded. */
#ifndef UZSWAP_PRELOAD_PROBE_H
#define UZSWAP_PRELOAD_PROBE_H

#include "base/types.h"

bool probe_read(const void *at, size_t bytes);
bool probe_write(void *at, size_t bytes);

#endif
