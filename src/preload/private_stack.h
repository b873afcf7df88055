/* SPDX-License-Identifier: MIT */
/*
 * Running a function on a stack that is certainly not managed memory, for the moments in which no fault is
 * served (fork).
 */
#ifndef UZSWAP_PRELOAD_PRIVATE_STACK_H
#define UZSWAP_PRELOAD_PRIVATE_STACK_H

#include "base/types.h"

#define PRIVATE_STACK_ARGUMENT_MAX 512

/*
 * Copies `bytes` bytes at `argument` to the private stack, and runs function(copy) there; its result. There is
 * one stack, and who comes second waits: all signals must be blocked, and `function` may not call
 * this again. -EINVAL if the argument is too long.
 */
long private_stack_call(long (*function)(void *), const void *argument, size_t bytes);

/* function(argument) on the stack that ends at `top`, a multiple of 16; its result. */
long stack_switch(void *top, long (*function)(void *), void *argument);

#endif
