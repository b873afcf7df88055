/* SPDX-License-Identifier: MIT */
/*
 * syscall(2): memory calls by number are the same calls as by name; futex is looked after. All other numbers go straight to the kernel, as
 * in libc: six arguments, -1 and errno, nothing on the stack (the kernel may come back on another one), in signal
 * handlers, too.
 *
 *   syscall --- bit set for the number? --- no ---> the kernel
 *                      |
 *                     yes -> serve_by_number: to interpose*.c, or fork_by_number
 */
#include "preload/exit_thread.h"
#include "preload/filters.h"
#include "preload/fork.h"
#include "preload/interpose.h"

static long fork_or_kernel(long number, long *a)
{
    bool taken = false;
    long result = runtime_serves_caller() ? fork_by_number(number, a, &taken) : 0;
    return taken ? result : sys_call6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The kernel's result. */
static long serve(long number, long *a)
{
    switch (number) {
    case SYS_mmap:
        return call_mmap((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
    case SYS_munmap:
        return call_munmap((void *)a[0], (size_t)a[1]);
    case SYS_mprotect:
        return call_mprotect((void *)a[0], (size_t)a[1], (int)a[2], -1);
    case SYS_pkey_mprotect:
        return call_mprotect((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3]);
    case SYS_madvise:
        return call_madvise((void *)a[0], (size_t)a[1], (int)a[2]);
    case SYS_mremap:
        return call_mremap((void *)a[0], (size_t)a[1], (size_t)a[2], (int)a[3], (void *)a[4]);
    case SYS_mlock:
        return call_mlock((void *)a[0], (size_t)a[1], 0);
    case SYS_mlock2:
        return call_mlock((void *)a[0], (size_t)a[1], (unsigned)a[2]);
    case SYS_munlock:
        return call_munlock((void *)a[0], (size_t)a[1]);
    case SYS_mlockall:
        return call_mlockall((int)a[0]);
    case SYS_munlockall:
        return call_munlockall();
    case SYS_mincore:
        return call_mincore((void *)a[0], (size_t)a[1], (unsigned char *)a[2]);
    case SYS_msync:
        return call_msync((void *)a[0], (size_t)a[1], (int)a[2]);
    case SYS_brk:
        return call_brk((void *)a[0]);
    case SYS_ioctl:
        return call_ioctl((int)a[0], (unsigned long)a[1], (void *)a[2]);
    case SYS_shmat:
        return call_shmat((int)a[0], (const void *)a[1], (int)a[2]);
    case SYS_process_madvise:
        return call_process_madvise((int)a[0], (const struct iovec *)a[1], (size_t)a[2], (int)a[3],
                                    (unsigned)a[4]);
    case SYS_prlimit64:
        return call_prlimit((int)a[0], (int)a[1], (const struct rlimit64 *)a[2], (struct rlimit64 *)a[3]);
    case SYS_setrlimit:
        return call_prlimit(0, (int)a[0], (const struct rlimit64 *)a[1], NULL);
    case SYS_getrlimit:
        return call_prlimit(0, (int)a[0], NULL, (struct rlimit64 *)a[1]);
    case SYS_futex:
        return call_futex(a);
    case SYS_execve:
        return call_execve((const char *)a[0], (char *const *)a[1], (char *const *)a[2]);
    case SYS_execveat:
        return call_execveat((int)a[0], (const char *)a[1], (char *const *)a[2], (char *const *)a[3],
                             (int)a[4]);
    case SYS_seccomp:
        return filters_install((unsigned)a[0], (unsigned)a[1], (void *)a[2]);
    case SYS_prctl:
        return filters_prctl((int)a[0], (const unsigned long *)a + 1);
    case SYS_exit:
        return exit_thread(a[0]);
    case SYS_exit_group:
        runtime_publish_figures();
        return sys_call3(SYS_exit_group, a[0], 0, 0);
    default:
        return fork_or_kernel(number, a);
    }
}

#if defined(__x86_64__)

#define NUMBERS 512

#define WORD0                                                                                                \
    (1ull << SYS_mmap | 1ull << SYS_munmap | 1ull << SYS_mprotect | 1ull << SYS_madvise |                    \
     1ull << SYS_mremap | 1ull << SYS_mincore | 1ull << SYS_msync | 1ull << SYS_brk | 1ull << SYS_ioctl |    \
     1ull << SYS_shmat | 1ull << SYS_clone | 1ull << SYS_fork | 1ull << SYS_execve | 1ull << SYS_exit)
#define WORD1 (1ull << (SYS_getrlimit - 64))
#define WORD2                                                                                                \
    (1ull << (SYS_mlock - 128) | 1ull << (SYS_munlock - 128) | 1ull << (SYS_mlockall - 128) |                \
     1ull << (SYS_munlockall - 128) | 1ull << (SYS_setrlimit - 128) | 1ull << (SYS_prctl - 128))
#define WORD3 (1ull << (SYS_futex - 192) | 1ull << (SYS_exit_group - 192))
#define WORD4 (1ull << (SYS_seccomp - 256) | 1ull << (SYS_prlimit64 - 256))
#define WORD5 (1ull << (SYS_mlock2 - 320) | 1ull << (SYS_pkey_mprotect - 320) | 1ull << (SYS_execveat - 320))
#define WORD6 (1ull << (SYS_clone3 - 384) | 1ull << (SYS_process_madvise - 384))

/* Bit n: number n is served here. */
__attribute__((visibility("hidden"), used)) const uint64_t uzswap_served_numbers[NUMBERS / 64] = {
    [0] = WORD0, [1] = WORD1, [2] = WORD2, [3] = WORD3, [4] = WORD4, [5] = WORD5, [6] = WORD6};

long uzswap_serve_by_number(long number, long a, long b, long c, long d, long e, long f);
__attribute__((visibility("hidden"), used)) long uzswap_serve_by_number(long number, long a, long b, long c,
                                                                        long d, long e, long f)
{
    long arguments[6] = {a, b, c, d, e, f};
    return answer(serve(number, arguments));
}

__asm__(".text\n"
        ".globl syscall\n"
        ".type syscall,@function\n"
        "syscall:\n"
        ".cfi_startproc\n"
        "    cmpq $511, %rdi\n"
        "    ja 1f\n"
        "    btq %rdi, uzswap_served_numbers(%rip)\n"
        "    jc uzswap_serve_by_number\n" /* the arguments are where it wants them */
        "1:  movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        "    syscall\n"
        "    cmpq $-4095, %rax\n"
        "    jae 2f\n"
        "    ret\n"
        "2:  negl %eax\n"
        "    pushq %rax\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    call __errno_location@PLT\n"
        "    popq %rcx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    movl %ecx, (%rax)\n"
        "    movq $-1, %rax\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size syscall, . - syscall\n");

#else

EXPORT long syscall(long number, ...)
{
    va_list more;
    long a[6];
    va_start(more, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(more, long);
    }
    va_end(more);
    return answer(serve(number, a));
}

#endif
