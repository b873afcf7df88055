/* SPDX-License-Identifier: MIT */
/* What the kernel says of pages that a fork has left to several processes: /proc/self/pagemap. */
#ifndef UZSWAP_PRELOAD_SHARED_PAGES_H
#define UZSWAP_PRELOAD_SHARED_PAGES_H

#include "base/types.h"

/* All but the last: in the root thread. */

/* Begins to look. False if the kernel cannot be asked. */
bool shared_pages_open(void);

/* In a forked child, whose descriptors are not there yet: what was opened was the parent's. */
void shared_pages_fork_child(void);

/* Of the `n` <= 64 pages from `at` on, those that other processes may map, too; one bit a page. From any thread. */
uint64_t shared_pages_of(const void *at, unsigned n);

/* Of up to 64 pages, those that are there and write-protected by userfaultfd; none if the kernel does not say. */
uint64_t shared_pages_protected(const void *at, unsigned n);

#endif
