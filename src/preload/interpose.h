/* SPDX-License-Identifier: MIT */
/*
 * What the interposed calls share. Each call of the program's is a `call_...` here, with the kernel's arguments and
 * result (-errno), under the name that libc gives it (interpose*.c) and under its number (by_number.c).
 *
 * All of it runs in the program's threads, also in signal handlers, on stacks that may be managed: no locks.
 */
#ifndef UZSWAP_PRELOAD_INTERPOSE_H
#define UZSWAP_PRELOAD_INTERPOSE_H

#include <errno.h>

#include "base/sys.h"
#include "preload/mailbox.h"
#include "preload/runtime.h"

#define EXPORT __attribute__((visibility("default")))

/* As libc gives results: -1 and errno. MAP_FAILED is the same value. */
static inline long answer(long result)
{
    if (unlikely(sys_is_error(result))) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

static inline bool is_aligned(const void *at)
{
    return (uintptr_t)at % PAGE_BYTES == 0;
}

/* `bytes` rounded up to pages; 0 if that overflows. */
static inline size_t whole_pages(size_t bytes)
{
    return (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

/* [at, at + bytes), cut where the arena begins and ends. */
struct piece {
    char *at;
    size_t bytes;
    bool managed; /* inside the arena */
};

static inline struct piece first_piece(char *at, size_t bytes)
{
    uintptr_t from = (uintptr_t)at, base = (uintptr_t)runtime.arena_base, end = base + runtime.arena_bytes;
    if (from >= base && from < end) {
        return (struct piece){at, min_size(bytes, end - from), true};
    }
    return (struct piece){at, from < base ? min_size(bytes, base - from) : bytes, false};
}

/* A range that reaches around the end of all addresses does not: the kernel refuses it. */
static inline bool touches_arena(void *at, size_t bytes)
{
    if ((uintptr_t)at + bytes < (uintptr_t)at) {
        return false;
    }
    struct piece p = first_piece(at, bytes);
    return p.managed || p.bytes < bytes;
}

static inline bool is_inside_arena(void *at, size_t bytes)
{
    struct piece p = first_piece(at, bytes);
    return p.managed && p.bytes == bytes;
}

/* Runs `p` over the pieces of [at, at + bytes). */
#define FOR_PIECES(p, at_, bytes_)                                                                           \
    for (struct piece p = first_piece(at_, bytes_); p.bytes;                                                 \
         p = first_piece(p.at + p.bytes, (bytes_) - (size_t)(p.at + p.bytes - (char *)(at_))))

/* ---- interpose.c */

/* Has the root thread do it. */
long ask_arena(struct arena_request *request);

/* Touches the pages of a range: brings them in. 0 or -errno, as MADV_POPULATE_READ. */
int bring_in(void *at, size_t bytes);

long call_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset);
long call_munmap(void *at, size_t length);
long call_mprotect(void *at, size_t length, int protection, int pkey); /* pkey -1: mprotect */
long call_madvise(void *at, size_t length, int advice);
long call_mremap(void *old, size_t old_length, size_t length, int flags, void *to);

/* ---- interpose_lock.c */
long call_mlock(const void *at, size_t length, unsigned flags);
long call_munlock(const void *at, size_t length);
long call_mlockall(int flags);
long call_munlockall(void);
long call_mincore(void *at, size_t length, unsigned char *vector);
long call_msync(void *at, size_t length, int flags);

/* ---- interpose_process.c */
struct iovec;
long call_process_madvise(int pidfd, const struct iovec *vector, size_t count, int advice, unsigned flags);

/* ---- interpose_limit.c */
struct rlimit64;
long call_prlimit(int pid, int resource, const struct rlimit64 *new, struct rlimit64 *old);

/* Before an exec, and after one that has failed: the next image is to find the program's own limit. */
void limit_before_exec(void);
void limit_after_exec(void);

/* ---- interpose_futex.c */
long call_futex(const long arguments[6]);

/* ---- interpose_exec.c */
long call_execve(const char *path, char *const *argv, char *const *environment);
long call_execveat(int folder, const char *path, char *const *argv, char *const *environment, int flags);

/* ---- interpose_break.c */
long call_brk(void *to);

/* ---- interpose_others.c */
long call_ioctl(int fd, unsigned long request, void *argument);
long call_shmat(int id, const void *at, int flags);

#endif
