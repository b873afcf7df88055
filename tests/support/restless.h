/* SPDX-License-Identifier: MIT */
/*
 * A pool and a device that give way in the middle of a verb, so that threads meet there however few processors there are; and
 * a pool that watches its users: whoever frees an object twice, or while it is mapped, or maps one that is not there, is
 * found out at once, and what is freed is overwritten.
 *
 * One cache at a time may use `restless_pool`: what is known of its objects is static.
 */
#ifndef UZSWAP_TESTS_RESTLESS_H
#define UZSWAP_TESTS_RESTLESS_H

#include "pool/pool.h"
#include "swap/device.h"

/* test_pool(). */
extern const struct pool_ops restless_pool;

/* Stands before `inner`, which it closes. */
struct swap_device *restless_device_create(struct swap_device *inner);

/* From now on gives way at one in `n` calls; 0 = never, as in the beginning. */
void restless_set(unsigned n);

/* Misuses of the pool since the last call. Each of the first was printed. */
uint64_t restless_misuses(void);

/* Objects in the pool now, by its own count; and how many a compaction has moved since it was made. */
uint64_t restless_objects(void);
uint64_t restless_moves(void);

#endif
