/* SPDX-License-Identifier: MIT */
/* May this process have a userfaultfd that also serves faults the kernel takes inside system calls? */
#ifndef UZSWAP_CLI_PERMISSION_H
#define UZSWAP_CLI_PERMISSION_H

#include <stddef.h>

/* The two ways to a userfaultfd; each answers a descriptor or -errno. A test puts its own in. */
struct permission_ops {
    int (*open_by_device)(void);
    int (*open_by_call)(void);
};

extern const struct permission_ops permission_kernel;

/* 0 if one of the ways is open; else the -errno that says most, and `text` names every way in. */
int permission_check(const struct permission_ops *ops, char *text, size_t room);

#endif
