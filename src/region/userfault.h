/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd(2), one function an ioctl, as userfaultfd(2), ioctl_userfaultfd(2) and Linux
 * Documentation/admin-guide/mm/userfaultfd.rst describe them. The definitions newer than Debian 12's headers
 * (MOVE of Linux 6.8, POISON of 6.6) are our own; what the kernel has is found out when the descriptor is opened.
 *
 * All functions answer 0 or -errno, unless they say otherwise, and touch no errno.
 */
#ifndef UZSWAP_REGION_USERFAULT_H
#define UZSWAP_REGION_USERFAULT_H

#include <linux/userfaultfd.h>

#include "base/types.h"

struct userfault {
    int fd;
    bool has_move;    /* UFFDIO_MOVE: pages leave the program without a window in which a write is lost */
    bool has_protect; /* write protection, for pages that MOVE refuses */
    bool has_poison;  /* UFFDIO_POISON */
    bool sigbus;      /* faults raise SIGBUS in the faulting thread instead of a message */
};

/*
 * Opens a descriptor whose faults inside system calls are served too: through `device` (a descriptor of
 * /dev/userfaultfd) if >= 0, else /dev/userfaultfd, else the system call. -EPERM if none of them is permitted,
 * -ENOSYS if the kernel has no userfaultfd.
 */
int userfault_open(struct userfault *u, bool sigbus, int device);
void userfault_close(struct userfault *u);

/* Watches for touches of missing pages and writes to protected ones. */
int userfault_register(const struct userfault *u, void *at, size_t bytes);
int userfault_unregister(const struct userfault *u, void *at, size_t bytes);

/* Puts pages in: copies [from, from + bytes). *done is how many bytes are in, also on error. -EEXIST: the next page is
 * there already. Wakes who waits for them, if `wake`. */
int userfault_copy(const struct userfault *u, void *to, const void *from, size_t bytes, bool wake,
                   size_t *done);

/* The same, write-protected from the first moment. Wakes. */
int userfault_copy_protected(const struct userfault *u, void *to, const void *from, size_t bytes,
                             size_t *done);

/* Takes pages from one place to another, skipping holes at the source. *done as with copy. -EBUSY: the next page is
 * pinned, or shared with a forked process. */
int userfault_move(const struct userfault *u, void *to, void *from, size_t bytes, size_t *done);

/* Makes the next touch of these missing pages raise SIGBUS, and wakes who waits. */
int userfault_poison(const struct userfault *u, void *at, size_t bytes);

int userfault_protect(const struct userfault *u, void *at, size_t bytes, bool protect);
int userfault_wake(const struct userfault *u, void *at, size_t bytes);

/* Reads up to `room` fault messages without waiting. How many, 0 if none. */
size_t userfault_read(const struct userfault *u, struct uffd_msg *messages, size_t room);

#endif
