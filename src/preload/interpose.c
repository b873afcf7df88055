/* SPDX-License-Identifier: MIT */
/*
 * The memory calls that the program sees in libc's place. Each decides whether the arena is concerned; if so, it checks
 * what the kernel would check, and asks the root thread; if not, the call goes to the kernel as it is. So
 * do all calls before the runtime is up, where it is off, and in its own threads.
 *
 * Managed: private anonymous mappings of MANAGED_BYTES_MIN or more, at an address of the kernel's choice, which ask for
 * nothing that we cannot give (MAP_STACK, MAP_LOCKED, MAP_32BIT, MAP_GROWSDOWN, MAP_HUGETLB). A hint is only
 * followed inside the arena; executable memory with a hint elsewhere stays with the kernel, as compilers of code
 * want theirs near other code and look where they got it. What is too long for the arena is the kernel's, too.
 *
 * Inside the arena the program may do as it likes: MAP_FIXED of whatever kind, parts, several mappings at once, ranges
 * that reach over the arena's edge.
 *
 * What differs from the kernel, all of it allowed by the manual pages: MAP_POPULATE is ignored; MADV_FREE frees at
 * once; mlock of managed memory fails with ENOMEM, as at the limit (pages under a lock could not leave); advice on
 * what a child inherits is refused; mremap of a file mapped into the arena, and out of the arena to a fixed
 * address, fails with ENOMEM.
 */
#undef _FILE_OFFSET_BITS /* it would make mmap a second name of mmap64, and both are defined here */

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "preload/mailbox.h"
#include "preload/runtime.h"

/*
 * Smaller mappings are not worth a cluster of the region (64 pages) and a round trip to the root thread; programs that
 * have many of them use an allocator, which asks for more at a time.
 */
#define MANAGED_BYTES_MIN (16 * PAGE_BYTES)

#define EXPORT __attribute__((visibility("default")))
#define FLAGS_NOT_MANAGED                                                                                    \
    (MAP_SHARED | MAP_STACK | MAP_LOCKED | MAP_32BIT | MAP_GROWSDOWN | MAP_HUGETLB | MAP_FIXED |             \
     MAP_FIXED_NOREPLACE)
#define FLAGS_FIXED (MAP_FIXED | MAP_FIXED_NOREPLACE)
#define PROTECTION_BITS (PROT_READ | PROT_WRITE | PROT_EXEC)
#define ADVICE_POPULATE_READ 22
#define ADVICE_POPULATE_WRITE 23

_Static_assert(sizeof(struct arena_request) <= MAILBOX_ARGUMENT_MAX, "a request fits the mailbox");

static long serve(void *argument)
{
    return arena_serve(&runtime.arena, argument);
}

static long ask(struct arena_request request)
{
    return mailbox_call(serve, &request, sizeof request);
}

/* As libc gives results: -1 and errno. MAP_FAILED is the same value. */
static long answer(long result)
{
    if (unlikely(sys_is_error(result))) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

static bool is_aligned(const void *at)
{
    return (uintptr_t)at % PAGE_BYTES == 0;
}

/* `bytes` rounded up to pages; 0 if that overflows. */
static size_t whole_pages(size_t bytes)
{
    return (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

/* [at, at + bytes), cut where the arena begins and ends. */
struct piece {
    char *at;
    size_t bytes;
    bool managed; /* inside the arena */
};

static struct piece first_piece(char *at, size_t bytes)
{
    uintptr_t from = (uintptr_t)at, base = (uintptr_t)runtime.arena_base, end = base + runtime.arena_bytes;
    if (from >= base && from < end) {
        return (struct piece){at, min_size(bytes, end - from), true};
    }
    return (struct piece){at, from < base ? min_size(bytes, base - from) : bytes, false};
}

static bool touches_arena(void *at, size_t bytes)
{
    struct piece p = first_piece(at, bytes);
    return p.managed || p.bytes < bytes;
}

static bool is_inside_arena(void *at, size_t bytes)
{
    struct piece p = first_piece(at, bytes);
    return p.managed && p.bytes == bytes;
}

/* ---- mmap */

static bool should_manage(void *hint, size_t bytes, int protection, int flags, off_t offset)
{
    return bytes >= MANAGED_BYTES_MIN && (flags & MAP_ANONYMOUS) && (flags & MAP_PRIVATE) &&
           !(flags & FLAGS_NOT_MANAGED) && offset % (off_t)PAGE_BYTES == 0 &&
           !((protection & PROT_EXEC) && hint && !is_inside_arena(hint, bytes));
}

/* A mapping that is not the region's business, at an address inside the arena: made elsewhere, as only this thread has
 * the descriptor, and moved into place by the root thread. */
static long map_foreign(struct piece p, int protection, int flags, int fd, off_t offset)
{
    long made = sys_mmap(NULL, p.bytes, protection, flags & ~FLAGS_FIXED, fd, offset);
    if (sys_is_error(made)) {
        return made;
    }
    long result = ask((struct arena_request){
        .operation = flags & MAP_FIXED_NOREPLACE ? ARENA_RECEIVE_NOREPLACE : ARENA_RECEIVE,
        .at = p.at,
        .bytes = p.bytes,
        .to = (char *)made,
        .to_bytes = p.bytes,
    });
    if (sys_is_error(result)) {
        sys_munmap((void *)made, p.bytes);
    }
    return result;
}

static long map_piece(struct piece p, int protection, int flags, int fd, off_t offset)
{
    if (!p.managed) {
        return sys_mmap(p.at, p.bytes, protection, flags, fd, offset);
    }
    if (!(flags & MAP_ANONYMOUS) || (flags & MAP_TYPE) != MAP_PRIVATE ||
        (flags & (MAP_LOCKED | MAP_GROWSDOWN | MAP_HUGETLB))) {
        return map_foreign(p, protection, flags, fd, offset);
    }
    return ask((struct arena_request){
        .operation = flags & MAP_FIXED_NOREPLACE ? ARENA_MAP_NOREPLACE : ARENA_MAP_FIXED,
        .protection = protection & PROTECTION_BITS,
        .at = p.at,
        .bytes = p.bytes,
    });
}

static long map_fixed(char *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (!is_aligned(at)) {
        return -EINVAL;
    }
    struct piece p = first_piece(at, bytes);
    if (p.bytes < bytes && (flags & MAP_FIXED_NOREPLACE)) {
        return -EEXIST; /* across the arena's edge */
    }
    for (size_t done = 0; done < bytes; done += p.bytes) {
        p = first_piece(at + done, bytes - done);
        long result = map_piece(p, protection, flags, fd, offset + (off_t)done);
        if (sys_is_error(result)) {
            return result;
        }
    }
    return (long)at;
}

static long map(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    size_t bytes = whole_pages(length);
    if (!bytes || !runtime_serves_caller()) {
        return sys_mmap(at, length, protection, flags, fd, offset);
    }
    if ((flags & FLAGS_FIXED) && touches_arena(at, bytes)) {
        return map_fixed(at, bytes, protection, flags, fd, offset);
    }
    if (should_manage(at, bytes, protection, flags, offset)) {
        long result = ask((struct arena_request){
            .operation = ARENA_MAP, .protection = protection & PROTECTION_BITS, .at = at, .bytes = bytes});
        if (result != -ENOSPC) {
            return result;
        }
    }
    return sys_mmap(at, length, protection, flags, fd, offset);
}

EXPORT void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return (void *)answer(map(at, length, protection, flags, fd, offset));
}

EXPORT void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return (void *)answer(map(at, length, protection, flags, fd, offset));
}

/* ---- munmap, mprotect */

EXPORT int munmap(void *at, size_t length)
{
    size_t bytes = whole_pages(length);
    if (!bytes || !is_aligned(at) || !runtime_serves_caller() || !touches_arena(at, bytes)) {
        return (int)answer(sys_munmap(at, length));
    }
    struct piece p;
    for (size_t done = 0; done < bytes; done += p.bytes) {
        p = first_piece((char *)at + done, bytes - done);
        long error = p.managed
                         ? ask((struct arena_request){.operation = ARENA_UNMAP, .at = p.at, .bytes = p.bytes})
                         : sys_munmap(p.at, p.bytes);
        if (error) {
            return (int)answer(error);
        }
    }
    return 0;
}

static long raw_protect(void *at, size_t length, int protection, int pkey)
{
    return pkey < 0 ? sys_mprotect(at, length, protection)
                    : sys_call6(SYS_pkey_mprotect, (long)at, (long)length, protection, pkey, 0, 0);
}

static long protect(void *at, size_t length, int protection, int pkey)
{
    size_t bytes = whole_pages(length);
    if (!bytes || !is_aligned(at) || (protection & (PROT_GROWSDOWN | PROT_GROWSUP)) ||
        !runtime_serves_caller() || !touches_arena(at, bytes)) {
        return raw_protect(at, length, protection, pkey);
    }
    struct piece p;
    for (size_t done = 0; done < bytes; done += p.bytes) {
        p = first_piece((char *)at + done, bytes - done);
        long error = p.managed ? ask((struct arena_request){.operation = ARENA_PROTECT,
                                                            .protection = protection,
                                                            .pkey = pkey,
                                                            .at = p.at,
                                                            .bytes = p.bytes})
                               : raw_protect(p.at, p.bytes, protection, pkey);
        if (error) {
            return error;
        }
    }
    return 0;
}

EXPORT int mprotect(void *at, size_t length, int protection)
{
    return (int)answer(protect(at, length, protection, -1));
}

EXPORT int pkey_mprotect(void *at, size_t length, int protection, int pkey)
{
    return (int)answer(protect(at, length, protection, pkey));
}

/* ---- madvise */

static long advise(void *at, size_t length, int advice)
{
    size_t bytes = whole_pages(length);
    if (!bytes || !is_aligned(at) || advice == ADVICE_POPULATE_READ || advice == ADVICE_POPULATE_WRITE ||
        !runtime_serves_caller() || !touches_arena(at, bytes)) {
        return sys_madvise(at, length, advice);
    }
    bool hole = false;
    struct piece p;
    for (size_t done = 0; done < bytes; done += p.bytes) {
        p = first_piece((char *)at + done, bytes - done);
        long error = p.managed
                         ? ask((struct arena_request){
                               .operation = ARENA_ADVISE, .flags = advice, .at = p.at, .bytes = p.bytes})
                         : sys_madvise(p.at, p.bytes, advice);
        if (error && error != -ENOMEM) {
            return error;
        }
        hole |= error == -ENOMEM;
    }
    return hole ? -ENOMEM : 0;
}

EXPORT int madvise(void *at, size_t length, int advice)
{
    return (int)answer(advise(at, length, advice));
}

/* Unlike madvise, POSIX_MADV_DONTNEED may not drop content, and the error is the result. */
EXPORT int posix_madvise(void *at, size_t length, int advice)
{
    return advice == POSIX_MADV_DONTNEED ? 0 : (int)-advise(at, length, advice);
}

/* ---- mremap */

static long remap_managed(char *old, size_t old_bytes, size_t bytes, int flags, char *to)
{
    if (!is_aligned(old) || !bytes || !old_bytes || (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) ||
        ((flags & MREMAP_FIXED) && (!(flags & MREMAP_MAYMOVE) || !is_aligned(to)))) {
        return -EINVAL;
    }
    if (!is_inside_arena(old, old_bytes)) {
        return -EFAULT;
    }
    if ((flags & MREMAP_FIXED) && !is_inside_arena(to, bytes)) {
        return -ENOMEM;
    }
    return ask((struct arena_request){.operation = ARENA_REMAP,
                                      .flags = flags,
                                      .at = old,
                                      .bytes = old_bytes,
                                      .to = to,
                                      .to_bytes = bytes});
}

/* A mapping of the kernel's goes into the arena. */
static long remap_into_arena(char *old, size_t old_bytes, size_t bytes, int flags, char *to)
{
    if (flags != (MREMAP_MAYMOVE | MREMAP_FIXED) || !is_aligned(old) || !is_aligned(to) || !bytes) {
        return -EINVAL;
    }
    if (!is_inside_arena(to, bytes)) {
        return -ENOMEM;
    }
    return ask((struct arena_request){
        .operation = ARENA_RECEIVE, .at = to, .bytes = bytes, .to = old, .to_bytes = old_bytes});
}

EXPORT void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
    void *to = NULL;
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
        va_list more;
        va_start(more, flags);
        to = va_arg(more, void *);
        va_end(more);
    }
    size_t old_bytes = whole_pages(old_length), bytes = whole_pages(length);
    if (runtime_serves_caller()) {
        if (touches_arena(old, old_bytes)) {
            return (void *)answer(remap_managed(old, old_bytes, bytes, flags, to));
        }
        if ((flags & MREMAP_FIXED) && touches_arena(to, bytes)) {
            return (void *)answer(remap_into_arena(old, old_bytes, bytes, flags, to));
        }
    }
    return (void *)answer(
        sys_call6(SYS_mremap, (long)old, (long)old_length, (long)length, flags, (long)to, 0));
}

/* ---- mlock */

static long lock_range(const void *at, size_t length, unsigned flags)
{
    char *first = (char *)((uintptr_t)at & ~(PAGE_BYTES - 1));
    size_t bytes = whole_pages(length + ((uintptr_t)at & (PAGE_BYTES - 1)));
    if (bytes && runtime_serves_caller() && touches_arena(first, bytes)) {
        return -ENOMEM;
    }
    return flags ? sys_call3(SYS_mlock2, (long)at, (long)length, flags)
                 : sys_call3(SYS_mlock, (long)at, (long)length, 0);
}

EXPORT int mlock(const void *at, size_t length)
{
    return (int)answer(lock_range(at, length, 0));
}

EXPORT int mlock2(const void *at, size_t length, unsigned flags)
{
    return (int)answer(lock_range(at, length, flags));
}

EXPORT int mlockall(int flags)
{
    return (int)answer(runtime_serves_caller() ? -ENOMEM : sys_call3(SYS_mlockall, flags, 0, 0));
}

/* ---- the end */

__attribute__((noreturn)) static void end(int status)
{
    runtime_publish_figures();
    for (;;) {
        sys_call3(SYS_exit_group, status, 0, 0);
    }
}

EXPORT void _exit(int status)
{
    end(status);
}

EXPORT void _Exit(int status)
{
    end(status);
}
