/* SPDX-License-Identifier: MIT */
/*
 * System calls that answer -errno and touch nothing else. The runtime uses these instead of libc's
 * wrappers where the wrapper is interposed by libuzswap-preload (mmap and its family), where the
 * calling thread has no errno of its own (runtime threads), and where a libc call may allocate.
 */
#ifndef UZSWAP_BASE_SYS_H
#define UZSWAP_BASE_SYS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Advice that older headers lack. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#if defined(__x86_64__)
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
/* Untested. */
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}
#else
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
    int saved = errno;
    long result = syscall(nr, a, b, c, d, e, f);
    if (result == -1) {
        result = -errno;
    }
    errno = saved;
    return result;
}
#endif

static inline long sys_call3(long nr, long a, long b, long c)
{
    return sys_call6(nr, a, b, c, 0, 0, 0);
}

/* True if a result of mmap or mremap is -errno and not an address. */
static inline bool sys_is_error(long result)
{
    return (unsigned long)result >= (unsigned long)-4095L;
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SYS_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define SYS_THREAD_SANITIZER
#endif

static inline long sys_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t pos)
{
#ifdef SYS_THREAD_SANITIZER
    /* It must see that the memory is new, or it reports races with who had the address before. */
    void *result = mmap(at, bytes, prot, flags, fd, pos);
    return result == MAP_FAILED ? -errno : (long)result;
#else
    return sys_call6(SYS_mmap, (long)at, (long)bytes, prot, flags, fd, (long)pos);
#endif
}

static inline int sys_munmap(void *at, size_t bytes)
{
    return (int)sys_call3(SYS_munmap, (long)at, (long)bytes, 0);
}

static inline int sys_mprotect(void *at, size_t bytes, int prot)
{
    return (int)sys_call3(SYS_mprotect, (long)at, (long)bytes, prot);
}

static inline int sys_madvise(void *at, size_t bytes, int advice)
{
    return (int)sys_call3(SYS_madvise, (long)at, (long)bytes, advice);
}

static inline int sys_ioctl(int fd, unsigned long request, void *argument)
{
    return (int)sys_call3(SYS_ioctl, fd, (long)request, (long)argument);
}

static inline long sys_pread(int fd, void *to, size_t bytes, off_t pos)
{
    return sys_call6(SYS_pread64, fd, (long)to, (long)bytes, (long)pos, 0, 0);
}

static inline long sys_pwrite(int fd, const void *from, size_t bytes, off_t pos)
{
    return sys_call6(SYS_pwrite64, fd, (long)from, (long)bytes, (long)pos, 0, 0);
}

static inline long sys_read(int fd, void *to, size_t bytes)
{
    return sys_call3(SYS_read, fd, (long)to, (long)bytes);
}

static inline long sys_write(int fd, const void *from, size_t bytes)
{
    return sys_call3(SYS_write, fd, (long)from, (long)bytes);
}

static inline int sys_close(int fd)
{
    return (int)sys_call3(SYS_close, fd, 0, 0);
}

static inline int sys_gettid(void)
{
    return (int)sys_call3(SYS_gettid, 0, 0, 0);
}

static inline void sys_yield(void)
{
    sys_call3(SYS_sched_yield, 0, 0, 0);
}

#endif
