/* SPDX-License-Identifier: MIT */
/*
 * /proc, kept open since before the program could hide it (chroot, another mount). All paths are relative to it; "self" is the
 * process that asks, in forked children, too.
 */
#ifndef UZSWAP_PRELOAD_PROC_H
#define UZSWAP_PRELOAD_PROC_H

/* In the first process's root thread; children get the descriptor with the others. */
void proc_keep(void);

/* Opens a file or a folder of /proc for reading, by its path there. A descriptor of the root thread's, or -errno. */
int proc_open(const char *path);

#endif
