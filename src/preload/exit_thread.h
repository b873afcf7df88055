/* SPDX-License-Identifier: MIT */
/* The end of one of the program's threads, by number. */
#ifndef UZSWAP_PRELOAD_EXIT_THREAD_H
#define UZSWAP_PRELOAD_EXIT_THREAD_H

/* exit(2), the system call; does not return. Two last threads that end at the same moment may both take the other for the
 * last: then the process stays. */
long exit_thread(long status);

#endif
