/* SPDX-License-Identifier: MIT */
/*
 * From one stack to another. All that a stopped thread is lies on its stack, from the stored stack pointer up, so that
 * copying these bytes away and back resumes it as often as one likes.
 *
 * The registers that a call may change are cleared at each switch: compilers do push them, to align the stack, and
 * what the explorer left there would make equal states differ.
 */
#ifndef UZSWAP_TESTS_VERIFY_SWITCH_H
#define UZSWAP_TESTS_VERIFY_SWITCH_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && !defined(EXPLORE_UCONTEXT)

/* Stores the stack pointer in *from and goes on at *to; returns when somebody switches back to *from. Both by address, so
 * that the explorer's stack pointer is in no register that is saved. */
__attribute__((naked, noinline, unused)) static void switch_stack(char **from __attribute__((unused)),
                                                                  char **to __attribute__((unused)))
{
    __asm__("push %rbp\n\t"
            "push %rbx\n\t"
            "push %r12\n\t"
            "push %r13\n\t"
            "push %r14\n\t"
            "push %r15\n\t"
            "mov %rsp, (%rdi)\n\t"
            "mov (%rsi), %rsp\n\t"
            "pop %r15\n\t"
            "pop %r14\n\t"
            "pop %r13\n\t"
            "pop %r12\n\t"
            "pop %rbx\n\t"
            "pop %rbp\n\t"
            "xor %eax, %eax\n\t"
            "xor %ecx, %ecx\n\t"
            "xor %edx, %edx\n\t"
            "xor %esi, %esi\n\t"
            "xor %edi, %edi\n\t"
            "xor %r8d, %r8d\n\t"
            "xor %r9d, %r9d\n\t"
            "xor %r10d, %r10d\n\t"
            "xor %r11d, %r11d\n\t"
            "ret");
}

/* A stack on which a switch calls `run`, which must not return. Returns its stack pointer. */
static inline char *switch_prepare(char *top, size_t bytes, void (*run)(void))
{
    (void)bytes;
    uint64_t frame[8] = {[6] = (uint64_t)(uintptr_t)run}; /* six registers, the address, and a null caller */
    memcpy(top - sizeof frame, frame, sizeof frame);
    return top - sizeof frame;
}

#else

#include <ucontext.h>

/* A stopped thread's context lies this far above its "stack pointer"; between them, what swapcontext needs. */
#define SWITCH_BELOW 512

__attribute__((noinline, unused)) static void switch_stack(char **from, char **to)
{
    ucontext_t own;
    memset(&own, 0, sizeof own);
    *from = (char *)((uintptr_t)&own - SWITCH_BELOW);
    swapcontext(&own, (ucontext_t *)(void *)(*to + SWITCH_BELOW));
}

static inline char *switch_prepare(char *top, size_t bytes, void (*run)(void))
{
    ucontext_t *context = (ucontext_t *)(void *)(top - ((sizeof *context + 63) & ~(size_t)63));
    getcontext(context);
    context->uc_stack.ss_sp = top - bytes;
    context->uc_stack.ss_size = (size_t)((char *)context - (top - bytes));
    context->uc_link = NULL;
    makecontext(context, run, 0);
    return (char *)context - SWITCH_BELOW;
}

#endif

#endif
