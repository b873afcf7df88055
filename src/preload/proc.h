/* SPDX-License-Identifier: MIT */
/*
 * /proc, kept open since before the program could hide it (chroot, another mount). All paths are relative to it; "self" is the
 * process that asks, in forked children, too.
 */
#ifndef UZSWAP_PRELOAD_PROC_H
#define UZSWAP_PRELOAD_PROC_H

#include <stddef.h>

/* In the first process's root thread; children get the descriptor with the others. */
void proc_keep(void);

/* Opens a file or a folder of /proc for reading, by its path there. A descriptor of the root thread's, or -errno. */
int proc_open(const char *path);

/* Reads the beginning of a file, as far as there is room, and ends it with 0. The bytes, or -errno, and then the text is "". */
long proc_read(const char *path, char *text, size_t room);

/* How many bytes of address space the process has mapped; 0 if that is not known. In the root thread. */
size_t proc_address_space(void);

/* Adds a number to a path, which has room for it. */
void proc_append_number(char *path, unsigned number);

/* What follows `name` in a text of lines "Name:<tab>value"; "" if there is no such line. A `name` that is not in the first line
 * begins with a newline. */
const char *proc_field(const char *text, const char *name);

/* The last number in the line: a thread or process is named so in its own pid name space (NSpid). 0 if there is none. */
int proc_last_number(const char *line);

#endif
