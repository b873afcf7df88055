/* SPDX-License-Identifier: MIT */
/*
 * The runtime threads' descriptor table. It is not the program's: a program that closes all descriptors it finds
 * would close the userfaultfd, and all memory that is out would read as zero.
 */
#ifndef UZSWAP_PRELOAD_DESCRIPTORS_H
#define UZSWAP_PRELOAD_DESCRIPTORS_H

#include <sys/resource.h>

#include "base/types.h"

/* Closes all of the calling thread's descriptors (a copy of the program's), and fills 0, 1 and 2 with nothing, so that
 * no message of ours is ever written to a descriptor of another kind. 0 or -errno. */
int descriptors_begin(void);

/* A duplicate of descriptor `fd` of a thread of the process in the calling thread's table; or -errno. Needs no privilege
 * within a process. */
int descriptor_of_thread(int process, int thread, int fd);

/* The calling thread's descriptors, one bit a number (there are never as many as 32). */
uint32_t descriptors_open(void);

/*
 * Sends the calling thread's descriptors of `set`, with their numbers, through `socket`; does not block.
 * `descriptors_receive` makes them the only ones of its thread, under the same numbers (one that cannot
 * be sent, such as an io_uring, leaves a number that is occupied by nothing of use). 0 or -errno. With `keep` the socket
 * stays open, if the limit lets it, as long as the thread lives; where nothing is sent on.
 */
int descriptors_send(int socket, uint32_t set);
int descriptors_receive(int socket, bool keep);

struct raised_limit {
    bool raised;
    struct rlimit old;
};

/* A program may be at its limit of descriptors, or have lowered it, and fork all the same. Where the limit is low, or
 * `at_limit`, raises the soft one to the hard one. `restore` undoes that, and nothing else: another thread may
 * set the limit meanwhile. */
struct raised_limit descriptors_raise_limit(bool at_limit);
void descriptors_restore_limit(const struct raised_limit *limit);

#endif
