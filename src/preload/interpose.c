/* SPDX-License-Identifier: MIT */
/*
 * The memory calls that the program sees in libc's place. Each decides whether the arena is concerned; if so, it checks
 * what the kernel would check, and asks the root thread; if not, the call goes to the kernel as it is. So
 * do all calls before the runtime is up, where it is off, and in its own threads.
 *
 * Managed: private anonymous mappings of MANAGED_BYTES_MIN or more, at an address of the kernel's choice, which ask for
 * nothing that we cannot give (MAP_STACK, MAP_LOCKED, MAP_32BIT, MAP_GROWSDOWN, MAP_HUGETLB). A hint is only
 * followed inside the arena; executable memory with a hint elsewhere stays with the kernel, as compilers of code
 * want theirs near other code and look where they got it. So does memory with a hint as round as 1 TiB, and what is
 * too long for the arena.
 *
 * Inside the arena the program may do as it likes: MAP_FIXED of whatever kind, parts, several mappings at once, ranges
 * that reach over the arena's edge.
 *
 * What differs from the kernel:
 *
 *   mmap         MAP_POPULATE brings in what finds room in the budget
 *   munmap       a hole costs a mapping (vm.max_map_count), and some 3000 of those are not for the program
 *   madvise      MADV_FREE frees at once; HUGEPAGE and MERGEABLE have no effect; COLLAPSE and guard pages answer EINVAL
 *   mremap       across the arena's edge: ENOMEM; what leaves the arena is not managed any more; mappings move one by one
 *                only, as before Linux 6.17
 *   mlock        ENOMEM also when the region would be left with too little (region/locked.c); mlockall is about managed
 *                memory only, and passes over what is inaccessible (arena_lock.c)
 *   mincore      zeros that came along with a neighbour count as resident
 *   brk          another heap than libc's own (arena_break.c)
 *   shmat        at an address inside the arena: EINVAL, also with SHM_REMAP
 *   userfaultfd  a range that the program registers with its own becomes the kernel's (interpose_others.c)
 *   core dumps   show zeros where pages are out
 */
#undef _FILE_OFFSET_BITS /* it would make mmap a second name of mmap64, and both are defined here */

#include "preload/interpose.h"

#include <stdarg.h>

/*
 * Smaller mappings are not worth a cluster of the region (64 pages) and a round trip to the root thread; programs that
 * have many of them use an allocator, which asks for more at a time.
 */
#define MANAGED_BYTES_MIN (16 * PAGE_BYTES)

#define FLAGS_NOT_MANAGED                                                                                    \
    (MAP_SHARED | MAP_STACK | MAP_LOCKED | MAP_32BIT | MAP_GROWSDOWN | MAP_HUGETLB | MAP_FIXED |             \
     MAP_FIXED_NOREPLACE)
#define FLAGS_FIXED (MAP_FIXED | MAP_FIXED_NOREPLACE)
#define USER_ADDRESSES (((uintptr_t)1 << 47) - PAGE_BYTES) /* what lies beyond is wanted by hints only */
#define PROTECTION_BITS (PROT_READ | PROT_WRITE | PROT_EXEC)

_Static_assert(sizeof(struct arena_request) <= MAILBOX_ARGUMENT_MAX, "a request fits the mailbox");

static long serve(void *argument)
{
    return arena_serve(&runtime.arena, argument);
}

long ask_arena(struct arena_request *request)
{
    return mailbox_call(serve, request, sizeof *request);
}

static long ask(struct arena_request request)
{
    return ask_arena(&request);
}

int bring_in(void *at, size_t bytes)
{
    int error = sys_madvise(at, bytes, MADV_POPULATE_READ);
    if (error == -EINVAL && sys_madvise(at, 0, MADV_POPULATE_READ)) {
        return 0; /* before Linux 5.14 pages come when they are touched */
    }
    /* It may be one that can be written, and not read. */
    return error == -EINVAL ? sys_madvise(at, bytes, MADV_POPULATE_WRITE) : error;
}

/* ---- mmap */

/* Who keeps notes in the high bits of pointers (Java's ZGC) needs the very address. Those are round; hints that were
 * drawn by lot, and may be passed over, hardly ever. */
#define NEEDED_ADDRESS_ALIGNMENT ((uintptr_t)1 << 40)

static bool is_needed_elsewhere(void *hint, size_t bytes)
{
    return hint && (uintptr_t)hint % NEEDED_ADDRESS_ALIGNMENT == 0 && !is_inside_arena(hint, bytes);
}

static bool should_manage(void *hint, size_t bytes, int protection, int flags, off_t offset)
{
    return bytes >= MANAGED_BYTES_MIN && (flags & MAP_ANONYMOUS) && (flags & MAP_PRIVATE) &&
           !(flags & FLAGS_NOT_MANAGED) && offset % (off_t)PAGE_BYTES == 0 &&
           !((protection & PROT_EXEC) && hint && !is_inside_arena(hint, bytes)) &&
           !is_needed_elsewhere(hint, bytes);
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

/* Under the budget, MAP_POPULATE brings in only what finds room: more would push out what has just come. */
static size_t room(void)
{
    const struct account *a = runtime.memory.account;
    size_t most = (size_t)a->most, total = account_total(a);
    return total < most ? (most - total) & ~(PAGE_BYTES - 1) : 0;
}

static long map_managed(enum arena_operation operation, char *at, size_t bytes, int protection, int flags)
{
    struct arena_request q = {
        .operation = operation, .protection = protection & PROTECTION_BITS, .at = at, .bytes = bytes};
    long result = ask_arena(&q);
    if (sys_is_error(result)) {
        return result;
    }
    size_t wanted = q.bring_in ? bytes : flags & MAP_POPULATE ? min_size(bytes, room()) : 0;
    if (wanted && protection != PROT_NONE) {
        bring_in((void *)result, wanted); /* as the kernel: mmap does not say that it failed */
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
    return map_managed(flags & MAP_FIXED_NOREPLACE ? ARENA_MAP_NOREPLACE : ARENA_MAP_FIXED, p.at, p.bytes,
                       protection, flags);
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

long call_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    size_t bytes = whole_pages(length);
    if (!bytes || !runtime_serves_caller()) {
        return sys_mmap(at, length, protection, flags, fd, offset);
    }
    if ((flags & FLAGS_FIXED) && touches_arena(at, bytes)) {
        return map_fixed(at, bytes, protection, flags, fd, offset);
    }
    if (should_manage(at, bytes, protection, flags, offset)) {
        long result = map_managed(ARENA_MAP, at, bytes, protection, flags);
        if (result != -ENOSPC) {
            return result;
        }
    }
    return sys_mmap(at, length, protection, flags, fd, offset);
}

EXPORT void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return (void *)answer(call_mmap(at, length, protection, flags, fd, offset));
}

EXPORT void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return (void *)answer(call_mmap(at, length, protection, flags, fd, offset));
}

/* ---- munmap, mprotect */

/* In the session others see whether this process lives, which the kernel notes there when it dies (base/member.h): it
 * stays mapped, whatever is unmapped around it. */
static long unmap_foreign(char *at, size_t bytes)
{
    char *end = at + bytes, *session = (char *)runtime.session;
    char *session_end = session + round_up(sizeof *runtime.session, PAGE_BYTES);
    if (!session || session >= end || session_end <= at) {
        return sys_munmap(at, bytes);
    }
    long error = at < session ? sys_munmap(at, (size_t)(session - at)) : 0;
    return !error && session_end < end ? sys_munmap(session_end, (size_t)(end - session_end)) : error;
}

static long unmap_pieces(void *at, size_t bytes, bool managed)
{
    FOR_PIECES(p, at, bytes)
    {
        if (p.managed != managed) {
            continue;
        }
        long error = managed
                         ? ask((struct arena_request){.operation = ARENA_UNMAP, .at = p.at, .bytes = p.bytes})
                         : unmap_foreign(p.at, p.bytes);
        if (error) {
            return error;
        }
    }
    return 0;
}

long call_munmap(void *at, size_t length)
{
    size_t bytes = whole_pages(length);
    if (!bytes || !is_aligned(at) || (uintptr_t)at > USER_ADDRESSES ||
        bytes > USER_ADDRESSES - (uintptr_t)at) {
        return sys_munmap(at, length); /* the kernel says what is wrong, before the first piece goes */
    }
    if (!runtime_serves_caller() || !touches_arena(at, bytes)) {
        return unmap_foreign(at, bytes);
    }
    /* Managed ones first: who unmaps all there is, unmaps the runtime with the rest, and that fault must be his. */
    long error = unmap_pieces(at, bytes, true);
    return error ? error : unmap_pieces(at, bytes, false);
}

EXPORT int munmap(void *at, size_t length)
{
    return (int)answer(call_munmap(at, length));
}

static long raw_protect(void *at, size_t length, int protection, int pkey)
{
    return pkey == -1 ? sys_mprotect(at, length, protection)
                      : sys_call6(SYS_pkey_mprotect, (long)at, (long)length, protection, pkey, 0, 0);
}

static long protect_managed(struct piece p, int protection, int pkey)
{
    struct arena_request q = {
        .operation = ARENA_PROTECT, .protection = protection, .pkey = pkey, .at = p.at, .bytes = p.bytes};
    long error = ask_arena(&q);
    if (q.bring_in) {
        bring_in(p.at, p.bytes);
    }
    return error;
}

long call_mprotect(void *at, size_t length, int protection, int pkey)
{
    size_t bytes = whole_pages(length);
    if (!bytes || !is_aligned(at) || (protection & (PROT_GROWSDOWN | PROT_GROWSUP)) || pkey < -1 ||
        !runtime_serves_caller() || !touches_arena(at, bytes)) {
        return raw_protect(at, length, protection, pkey);
    }
    FOR_PIECES(p, at, bytes)
    {
        long error =
            p.managed ? protect_managed(p, protection, pkey) : raw_protect(p.at, p.bytes, protection, pkey);
        if (error) {
            return error;
        }
    }
    return 0;
}

EXPORT int mprotect(void *at, size_t length, int protection)
{
    return (int)answer(call_mprotect(at, length, protection, -1));
}

EXPORT int pkey_mprotect(void *at, size_t length, int protection, int pkey)
{
    return (int)answer(call_mprotect(at, length, protection, pkey));
}

/* ---- madvise */

static long advise_managed(struct piece p, int advice)
{
    long error =
        ask((struct arena_request){.operation = ARENA_ADVISE, .flags = advice, .at = p.at, .bytes = p.bytes});
    if (!error && (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)) {
        error = sys_madvise(p.at, p.bytes, advice); /* our own faults */
    }
    return error;
}

long call_madvise(void *at, size_t length, int advice)
{
    size_t bytes = whole_pages(length);
    bool hole = false;
    if (!bytes || !is_aligned(at) || !runtime_serves_caller() || !touches_arena(at, bytes)) {
        return sys_madvise(at, length, advice);
    }
    FOR_PIECES(p, at, bytes)
    {
        long error = p.managed ? advise_managed(p, advice) : sys_madvise(p.at, p.bytes, advice);
        if (error && error != -ENOMEM) {
            return error;
        }
        hole |= error == -ENOMEM;
    }
    return hole ? -ENOMEM : 0;
}

EXPORT int madvise(void *at, size_t length, int advice)
{
    return (int)answer(call_madvise(at, length, advice));
}

/* Unlike madvise, POSIX_MADV_DONTNEED may not drop content, and the error is the result. */
EXPORT int posix_madvise(void *at, size_t length, int advice)
{
    return advice == POSIX_MADV_DONTNEED ? 0 : (int)-call_madvise(at, length, advice);
}

/* ---- mremap */

static long remap_managed(char *old, size_t old_bytes, size_t bytes, int flags, char *to)
{
    if (!is_aligned(old) || !bytes || !old_bytes ||
        (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) ||
        ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE)) ||
        ((flags & MREMAP_FIXED) && !is_aligned(to)) || ((flags & MREMAP_DONTUNMAP) && old_bytes != bytes)) {
        return -EINVAL;
    }
    if (!is_inside_arena(old, old_bytes)) {
        return -EFAULT;
    }
    bool leaves = (flags & MREMAP_FIXED) && !touches_arena(to, bytes);
    if ((flags & MREMAP_FIXED) && !is_inside_arena(to, bytes) && (!leaves || (flags & MREMAP_DONTUNMAP))) {
        return -ENOMEM; /* across the arena's edge */
    }
    return ask((struct arena_request){.operation = leaves ? ARENA_SEND : ARENA_REMAP,
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

long call_mremap(void *old, size_t old_length, size_t length, int flags, void *to)
{
    size_t old_bytes = whole_pages(old_length), bytes = whole_pages(length);
    if (runtime_serves_caller()) {
        if (touches_arena(old, old_bytes)) {
            return remap_managed(old, old_bytes, bytes, flags, to);
        }
        if ((flags & MREMAP_FIXED) && touches_arena(to, bytes)) {
            return remap_into_arena(old, old_bytes, bytes, flags, to);
        }
    }
    return sys_call6(SYS_mremap, (long)old, (long)old_length, (long)length, flags, (long)to, 0);
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
    return (void *)answer(call_mremap(old, old_length, length, flags, to));
}
