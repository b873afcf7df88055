/* SPDX-License-Identifier: MIT */
/*
 * One stack in the library's own data, a lock around it, and six instructions to switch.
 *
 * Why one: its only user is fork, and forks of one process exclude each other anyway. Why a lock and not a
 * stack a thread: nothing has to be freed when a thread ends, and nothing can run out.
 *
 * A child that is forked while on the stack goes on using its own copy, and unlocks it like the parent.
 */
#include "preload/private_stack.h"

#include <errno.h>
#include <string.h>

#include "base/lock.h"

#define STACK_BYTES (64u << 10)

static struct {
    struct mutex lock; /* guards all of it */
    _Alignas(PAGE_BYTES) char stack[STACK_BYTES];
    _Alignas(16) char argument[PRIVATE_STACK_ARGUMENT_MAX];
} private = {.lock = MUTEX_INIT(LOCK_RANK_ADDRESS_SPACE)};

/* The frame pointer keeps the old stack pointer, which also lets debuggers unwind across the switch. */
long uzswap_switch_stack(void *stack, long (*function)(void *), void *argument);
#if defined(__x86_64__)
__asm__(".text\n"
        ".hidden uzswap_switch_stack\n"
        ".globl uzswap_switch_stack\n"
        ".type uzswap_switch_stack,@function\n"
        "uzswap_switch_stack:\n"
        ".cfi_startproc\n"
        "    pushq %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset rbp, -16\n"
        "    movq %rsp, %rbp\n"
        "    .cfi_def_cfa_register rbp\n"
        "    movq %rdi, %rsp\n"
        "    movq %rdx, %rdi\n"
        "    call *%rsi\n"
        "    movq %rbp, %rsp\n"
        "    popq %rbp\n"
        "    .cfi_def_cfa rsp, 8\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size uzswap_switch_stack, . - uzswap_switch_stack\n");
#elif defined(__aarch64__)
/* Untested. */
__asm__(".text\n"
        ".hidden uzswap_switch_stack\n"
        ".globl uzswap_switch_stack\n"
        ".type uzswap_switch_stack,%function\n"
        "uzswap_switch_stack:\n"
        ".cfi_startproc\n"
        "    stp x29, x30, [sp, #-16]!\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset x29, -16\n"
        "    .cfi_offset x30, -8\n"
        "    mov x29, sp\n"
        "    .cfi_def_cfa_register x29\n"
        "    mov sp, x0\n"
        "    mov x0, x2\n"
        "    blr x1\n"
        "    mov sp, x29\n"
        "    .cfi_def_cfa_register sp\n"
        "    ldp x29, x30, [sp], #16\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size uzswap_switch_stack, . - uzswap_switch_stack\n");
#else
#error "private stack: write uzswap_switch_stack for this architecture"
#endif

long stack_switch(void *top, long (*function)(void *), void *argument)
{
    return uzswap_switch_stack(top, function, argument);
}

long private_stack_call(long (*function)(void *), const void *argument, size_t bytes)
{
    if (bytes > sizeof private.argument) {
        return -EINVAL;
    }
    SCOPED_LOCK(&private.lock);
    memcpy(private.argument, argument, bytes);
    return uzswap_switch_stack(private.stack + STACK_BYTES, function, private.argument);
}
