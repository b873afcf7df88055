/* SPDX-License-Identifier: MIT */
/*
 * A substrate of plain memory, for many real threads: what the unit test and the benchmark put the lifecycles on.
 *
 * Objects and device slots are given out from lists of each thread, so that the pool takes no part in what is measured; the
 * slot of the swap cache has a lock a key, as in the kernel, and `peek` takes none. The device is memory; it may be slow,
 * fail, or not answer at all until it is let go.
 */
#ifndef UZSWAP_TESTS_MEMORY_SUBSTRATE_H
#define UZSWAP_TESTS_MEMORY_SUBSTRATE_H

#include "tests/lifecycles/lifecycles.h"

struct memory_options {
    unsigned keys;
    size_t object_bytes;        /* what a read copies; at least 8 */
    bool compressed;            /* a read decompresses a page (LZ4) instead; object_bytes is not used */
    bool checked;               /* objects are looked at as a whole, and every misuse is counted */
    unsigned read_ns, write_ns; /* what the device takes at least */
    /* What fails now and then: chances in 256. */
    uint16_t alloc_fails, slot_alloc_fails, acquire_exists, acquire_fails, write_fails, read_fails;
};

/* NULL if there is no memory. Freed with all that `memory` gave, in destroy. */
struct substrate *memory_substrate_create(const struct memory_options *options);
void memory_substrate_destroy(struct substrate *s);

/* The options, to change what fails while nothing else is running. */
struct memory_options *memory_substrate_options(struct substrate *s);

/* Says which thread this is: 0 (the default) .. LIFECYCLE_THREADS_MAX - 1. No two at one time may be the same. */
void memory_substrate_enter(unsigned thread);

/* The device answers nobody from now on, until it is let go. */
void memory_substrate_hold_device(struct substrate *s);
void memory_substrate_let_go_device(struct substrate *s);

/* How many wait for the device now. */
unsigned memory_substrate_waiting(struct substrate *s);

/* Objects and fresh slots given out, with nothing else running. */
void memory_substrate_count(struct substrate *s, unsigned *objects, unsigned *slots);

/* Misuses seen (checked only): freed twice, used when not alive, torn, writes of one slot at once, a slot of the swap cache that
 * nobody had. */
unsigned memory_substrate_misuses(struct substrate *s);

#endif
