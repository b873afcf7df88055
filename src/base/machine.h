/* SPDX-License-Identifier: MIT */
/* What the machine, or the container around us, gives. */
#ifndef UZSWAP_BASE_MACHINE_H
#define UZSWAP_BASE_MACHINE_H

#include "base/types.h"

/*
 * The memory this process may use: the smaller of the machine's memory and the limits of its cgroup and all
 * cgroups above it (v1 or v2). `root` stands before /proc and /sys: "" outside of tests.
 */
size_t machine_memory(const char *root);

#endif
