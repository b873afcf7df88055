/* SPDX-License-Identifier: MIT */
/*
 * dlopen and dlmopen without RTLD_DEEPBIND. A library that is bound to libc before the libraries that are preloaded takes memory from
 * libc's malloc which the program frees in its own, and calls libc's mmap and fork past ours. A name space of its own (dlmopen) has
 * none of those libraries, and keeps the flag.
 *
 * libc looks at its caller for where to search (RUNPATH, $ORIGIN) and in which name space: so it is jumped to.
 */
#include <dlfcn.h>

#include "preload/interpose.h"

#if defined(__x86_64__)

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

/* libc's, once one of them has been called. Any thread that comes first writes the same. */
__attribute__((visibility("hidden"), used)) void *uzswap_original_dlopen, *uzswap_original_dlmopen;

void uzswap_find_dlopen(void);
__attribute__((visibility("hidden"), used)) void uzswap_find_dlopen(void)
{
    uzswap_original_dlopen = dlsym(RTLD_NEXT, "dlopen");
    uzswap_original_dlmopen = dlsym(RTLD_NEXT, "dlmopen");
}

/* A function that runs `instructions`, and goes on at libc's with the arguments that are in registers. */
#define FUNCTION(name, instructions)                                                                         \
    __asm__(".text\n"                                                                                        \
            ".globl " name "\n"                                                                              \
            ".type " name ",@function\n" name ":\n"                                                          \
            ".cfi_startproc\n" instructions "    cmpq $0, uzswap_original_" name "(%rip)\n"                  \
            "    jne 2f\n"                                                                                   \
            "    pushq %rdi\n"                                                                               \
            "    .cfi_adjust_cfa_offset 8\n"                                                                 \
            "    pushq %rsi\n"                                                                               \
            "    .cfi_adjust_cfa_offset 8\n"                                                                 \
            "    pushq %rdx\n"                                                                               \
            "    .cfi_adjust_cfa_offset 8\n"                                                                 \
            "    call uzswap_find_dlopen\n"                                                                  \
            "    popq %rdx\n"                                                                                \
            "    .cfi_adjust_cfa_offset -8\n"                                                                \
            "    popq %rsi\n"                                                                                \
            "    .cfi_adjust_cfa_offset -8\n"                                                                \
            "    popq %rdi\n"                                                                                \
            "    .cfi_adjust_cfa_offset -8\n"                                                                \
            "2:  jmp *uzswap_original_" name "(%rip)\n"                                                      \
            ".cfi_endproc\n"                                                                                 \
            ".size " name ", . - " name "\n")

#define CLEAR_DEEPBIND "    andl $~" TEXT(RTLD_DEEPBIND) ", "

FUNCTION("dlopen", CLEAR_DEEPBIND "%esi\n");

/* In another name space than the program's (LM_ID_BASE, 0) the flag stays. */
FUNCTION("dlmopen", "    testq %rdi, %rdi\n"
                    "    jnz 1f\n" CLEAR_DEEPBIND "%edx\n"
                    "1:\n");

#endif
