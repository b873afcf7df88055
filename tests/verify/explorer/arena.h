/* SPDX-License-Identifier: MIT */
/*
 * The memory of the explored program, its *reference* (a copy of one state of it), and the hash of a state.
 *
 *   | control | guard | stack 0 | guard | stack 1 | ... | heap: what explore_alloc gave out | unused |
 *
 * Depth-first search goes from a state to one that differs little, and comes back. So the arena keeps one copy, of the
 * state that the search stands on, and, for each step of the path that led there, the blocks that the step changed as they
 * were before. To look at a state is to compare the arena with the reference, block by block.
 *
 * The hash of a state is the sum of the hashes of (block number, content) over all blocks, less that of the first state: so
 * only the blocks that differ from the reference are hashed, and a block that was never written counts for nothing.
 *
 * The heap is read-only when the search begins. The first write to a page, ever, faults, and from then on the page belongs to
 * what is compared. A large arena of which little is written costs nothing. (System calls must not write there.)
 *
 * Of a stack, what lies below the stack pointer is dead: zero in the reference, and neither compared nor restored. How far
 * down it was ever written is found in the same way.
 */
#ifndef UZSWAP_TESTS_VERIFY_ARENA_H
#define UZSWAP_TESTS_VERIFY_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/verify/explore.h"

struct hash {
    uint64_t low, high;
};

/* Empty, all writable. Ends the program if there is no memory: nothing can be explored then. */
void arena_begin(void);
void arena_end(void);

/* Zeroed, 16-aligned; NULL if it is full. Before arena_seal. */
void *arena_alloc(size_t bytes);

/* Memory that belongs to the state, for the threads' control blocks. Zeroed by arena_begin. */
#define ARENA_CONTROL_BYTES 1024
void *arena_control(void);

#define ARENA_STACK_BYTES ((size_t)64 << 10)

/* The highest address of thread `number`'s stack, 16-aligned. */
char *arena_stack_top(unsigned number);

/* Where the live part of its stack begins; part of the state. Never above the top. */
char **arena_stack_low(unsigned number);

/* Zeroes what a step builds its frames on, so that what they leave unset does not tell what was there before. */
void arena_scrub_stack(unsigned number);

/* The state as it is becomes the first state and the reference. */
void arena_seal(void);

/* The hash of the state as it is; finds what differs from the reference. */
struct hash arena_look(void);

/* After arena_look, with nothing changed since: the state becomes the reference; arena_undo takes that back. */
void arena_keep(void);

/* The reference becomes what it was before the last arena_keep that was not undone, and the arena that reference. */
void arena_undo(void);

/* The arena becomes the reference again. `after_look`: nothing was changed since arena_look. */
void arena_rewind(bool after_look);

/* Called at a fault. True: a page was written for the first time, and the write can go on. */
bool arena_write_fault(const void *address);

/* How many bytes are compared at each step, for the curious. */
size_t arena_live_bytes(void);

#endif
