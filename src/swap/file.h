/* SPDX-License-Identifier: MIT */
/*
 * The file device, inside: an unlinked file that grows as it is written.
 *
 *   file.c          the ops table; I/O in the calling thread; fork
 *   file_create.c   from "file:..." to an open, unlinked file, or a message that says why not
 *   file_ring.c     I/O through io_uring
 *
 * READs are done in the calling thread: whoever reads waits for the page anyway, and nothing is ahead of
 * it in any queue. All else goes through io_uring, where the kernel lets us; where it does not (old
 * kernel, seccomp, sysctl), it is done in the calling thread too. What io_uring begins and does not finish
 * (a short write, a refused submission) is finished by the calls of the second way, so that there is one
 * place that turns errors into results.
 *
 * The file's pages in the kernel's page cache are not in the budget: they are clean or on their way out, and
 * the kernel drops them when it needs to.
 *
 * Nothing but open calls libc, so that threads libc does not know can do all the rest.
 */
#ifndef UZSWAP_SWAP_FILE_H
#define UZSWAP_SWAP_FILE_H

#include <liburing.h>

#include "base/lock.h"
#include "swap/device.h"

#define FILE_IN_FLIGHT 64

/*
 * Locks, both of rank LOCK_RANK_DEVICE, never nested, none held while `done` runs. `submit_lock` guards the
 * submission queue. The completion queue is the one reaper's: the thread that has set `reaping`. It waits
 * in the kernel without any lock, so that others can submit.
 */
struct file_ring {
    struct io_uring ring;
    bool ready; /* immutable: io_uring is used */
    struct mutex submit_lock;
    struct mutex reap_lock; /* guards: */
    bool reaping;           /* a thread owns the completion queue */
    uint32_t reserved;      /* I/Os that have a place in the ring, at most FILE_IN_FLIGHT; atomic */
    int32_t in_kernel;      /* I/Os whose completion is still to be read; -1 for a moment if one is read
                               before its submitter has counted it; atomic */
    uint32_t completed;     /* I/Os that were reaped and done; atomic, wraps */
    uint32_t turns;         /* reapers that have ended; others sleep on it; atomic, wraps */
};

/* Whose file a descriptor is. */
struct file_identity {
    uint64_t device;
    uint64_t inode;
};

struct file_device {
    struct swap_device base;
    struct memory *memory; /* immutable */
    int fd; /* shared with forked children; immutable but for fork_child; -1: refuses all I/O */
    struct file_identity identity; /* of fd */
    struct file_ring ring;
};

/* For tests: the ways that are taken on other kernels and file systems. */
enum {
    FILE_WITHOUT_RING = 1,
    FILE_WITHOUT_TMPFILE = 2,
};

/* As swap_device_file.open. */
int file_open(struct swap_device **device, const char *location, uint64_t size, struct memory *memory,
              struct swap_open_error *error, unsigned flags);

/* --- file.c --- */

/* Does what is left of `io` in the calling thread. 0 or -errno. */
int file_perform(struct file_device *file, struct swap_io *io);

/* --- file_create.c --- */

/* As swap_device_file.check. */
int file_check_location(const char *location, struct swap_open_error *error);

/* Opens the folder that `location` names. A descriptor, or -errno with error->text set. */
int file_open_folder(const char *location, struct swap_open_error *error);

/* An open, unlinked file of mode 0600 in `folder`. A descriptor or -errno. No libc. */
int file_create(int folder, unsigned flags);

/* error->text for a file_create in the folder of `location` that answered `result`. Returns `result`. */
int file_explain_create(const char *location, int result, struct swap_open_error *error);

/* 0 and *identity of the file behind `fd`, or -errno. */
int file_identify(int fd, struct file_identity *identity);

/* --- file_ring.c --- */

/* Sets ring->ready if the kernel lets us. */
void file_ring_init(struct file_ring *ring);
void file_ring_exit(struct file_ring *ring);

/* In a forked child, where the ring's memory does not exist: forgets it, and closes its descriptor. */
void file_ring_forget(struct file_ring *ring);

/* True: `io` is on its way, file_ring_reap will finish it. False: the kernel did not take it. */
bool file_ring_submit(struct file_device *file, struct swap_io *io);

/* As swap_device_ops.reap. */
size_t file_ring_reap(struct file_device *file, bool wait);

#endif
