/* SPDX-License-Identifier: MIT */
/* exit(2), the system call, by number: the calling thread ends, and with the last one the process (last_thread.h). */
#ifndef UZSWAP_PRELOAD_EXIT_THREAD_H
#define UZSWAP_PRELOAD_EXIT_THREAD_H

/* Does not return. */
long exit_thread(long status);

#endif
