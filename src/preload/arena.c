/* SPDX-License-Identifier: MIT */
/*
 * Why one arena, and mappings that are never unmapped: a userfaultfd registration belongs to a kernel mapping, so
 * it ends with munmap and has to be made anew after mmap, at the price of two calls each, of a limit on the
 * number of regions, and of a window in which a page is not managed. Here a range that is given out gets its
 * protection by mprotect, and a range that comes back loses its content and becomes inaccessible: the
 * registration stays. The kernel splits and merges its mappings by itself, as it does for any program.
 *
 *   free      PROT_NONE, no content
 *   kept      likewise, but for the break to grow into (arena_break.c)
 *   managed   the program's protection, the region's content
 *   foreign   a mapping that the program put over a part of the arena with MAP_FIXED; the region leaves it alone
 *
 * A foreign mapping never leaves a hole when it goes: a hole in the arena could be filled by any mmap of the kernel's
 * own choice. region_adopt maps over it in one step. This is why a foreign mapping does not grow
 * in place; it can leave, as MREMAP_DONTUNMAP keeps its place covered.
 *
 * Every change asks the address space for its nodes first, so that nothing has to be undone for want of them.
 */
#include "preload/arena_internal.h"

#include <fcntl.h>

#include "preload/proc.h"

#define MAP_COUNT_DEFAULT 65530u
#define MAPPINGS_OUTSIDE 3000u /* code, files, stacks, small mappings, and the runtime's own */

int arena_protect(const struct arena *arena, struct range r, int protection, int pkey)
{
    char *at = address_of(arena, r.first);
    if (pkey >= 0) {
        return (int)sys_call6(SYS_pkey_mprotect, (long)at, (long)bytes_of(r), protection, pkey, 0, 0);
    }
    return region_protect(arena->region, at, bytes_of(r), protection);
}

/* With the nodes set aside for it this cannot fail; else the span is as good as given out, and nobody else gets it. */
static void set_free(struct arena *arena, struct span s)
{
    if (s.first < s.end && !address_space_set(&arena->space, s.first, s.end - s.first, RANGE_FREE, 0)) {
        arena_keep_break(arena, s);
    }
}

static int drop_managed(struct arena *arena, struct range r)
{
    char *at = address_of(arena, r.first);
    int error = region_discard(arena->region, at, bytes_of(r));
    if (error) {
        /* Locked by a system call that we did not see. */
        sys_call3(SYS_munlock, (long)at, (long)bytes_of(r), 0);
        error = region_discard(arena->region, at, bytes_of(r));
    }
    if (error) {
        return error;
    }
    if (r.flags & RANGE_LOCKED) {
        region_unlock(arena->region, at, bytes_of(r));
    }
    if (r.flags & RANGE_NOT_DUMPED) {
        sys_madvise(at, bytes_of(r), MADV_DODUMP);
    }
    return 0;
}

/* Drops the content of all that is managed in the span, where nothing is foreign any more, and sets it free. What cannot
 * be dropped stays the program's. */
static int drop_content(struct arena *arena, struct span s)
{
    int error = 0;
    FOR_PARTS(arena, s, r)
    {
        int failed = r.kind == RANGE_MANAGED ? drop_managed(arena, r) : 0;
        if (failed) {
            arena_protect(arena, r, r.protection, -1);
            set_free(arena, (struct span){s.first, r.first});
            s.first = r.first + r.pages;
            error = failed;
        }
    }
    set_free(arena, s);
    return error;
}

/* Foreign mappings of the span become the region's again. The kernel may have no mapping left for what remains of one, at
 * either end of the span: it stays. *s is then what has to go all the same: what lies before it, if a mapping there has
 * gone already; else nothing. */
static int adopt_foreign(struct arena *arena, struct span *s)
{
    uint64_t end = s->first;
    FOR_PARTS(arena, *s, r)
    {
        if (r.kind != RANGE_FOREIGN) {
            continue;
        }
        int error = region_adopt(arena->region, address_of(arena, r.first), bytes_of(r));
        if (error) {
            s->end = end > s->first ? r.first : s->first;
            return error;
        }
        end = r.first + r.pages;
    }
    return 0;
}

/* The protections of a span again, as far as it was closed. This merges kernel mappings, so it does not want for any. */
static void reopen_access(struct arena *arena, struct span s)
{
    FOR_PARTS(arena, s, r)
    {
        if (r.kind == RANGE_MANAGED) {
            arena_protect(arena, r, r.protection, -1);
        }
    }
}

/* Makes all managed pages of the span inaccessible, under the default key. The kernel may have no mapping left for what
 * is cut off: then nothing has changed. */
static int close_access(struct arena *arena, struct span s)
{
    FOR_PARTS(arena, s, r)
    {
        if (r.kind == RANGE_MANAGED && (r.protection != PROT_NONE || arena->has_pkeys)) {
            int error = arena_protect(arena, r, PROT_NONE, arena->has_pkeys ? 0 : -1);
            if (error) {
                reopen_access(arena, (struct span){s.first, r.first + r.pages});
                return error;
            }
        }
    }
    return 0;
}

int arena_unmap(struct arena *arena, struct span s)
{
    int error = address_space_reserve(&arena->space);
    if (error || s.first == s.end) {
        return error;
    }
    error = close_access(arena, s);
    if (error) {
        return error;
    }
    struct span gone = s;
    error = adopt_foreign(arena, &gone);
    if (error) {
        reopen_access(arena, (struct span){gone.end, s.end});
    }
    int failed = drop_content(arena, gone);
    return error ? error : failed;
}

long arena_give_out(struct arena *arena, struct span s, int protection, int flags)
{
    struct range r = {.first = s.first,
                      .pages = s.end - s.first,
                      .kind = RANGE_MANAGED,
                      .protection = protection,
                      .flags = flags};
    char *at = address_of(arena, r.first);
    int error = address_space_reserve(&arena->space);
    if (!error && (flags & RANGE_LOCKED)) {
        error = region_lock(arena->region, at, bytes_of(r));
    }
    if (!error && protection != PROT_NONE) {
        /* Past the region, which has nothing there: no page is on its way, so there is nothing to wait for. */
        error = sys_mprotect(at, bytes_of(r), protection);
        if (error) {
            sys_mprotect(at, bytes_of(r), PROT_NONE); /* a part of it may be open */
        }
        if (error && (flags & RANGE_LOCKED)) {
            region_unlock(arena->region, at, bytes_of(r));
        }
    }
    if (error) {
        return error;
    }
    if (flags & RANGE_NOT_DUMPED) {
        sys_madvise(at, bytes_of(r), MADV_DONTDUMP);
    }
    address_space_put(&arena->space, r);
    return (long)at;
}

/* What the process has mapped outside the arena, but for the runtime. */
static size_t bytes_outside(const struct arena *arena)
{
    size_t all = proc_address_space();
    return all > arena->reserved ? all - arena->reserved : 0;
}

bool arena_may_grow(const struct arena *arena, uint64_t pages)
{
    if (likely(arena->space_limit == SIZE_MAX)) {
        return true;
    }
    size_t kept = arena->break_bytes - (size_t)(arena->break_end - arena->break_start);
    size_t given = ((arena->space.pages - arena->space.free_pages) << PAGE_SHIFT) - kept;
    return bytes_outside(arena) + given + (pages << PAGE_SHIFT) <= arena->space_limit;
}

static bool is_inside(const struct arena *arena, const char *at, size_t bytes)
{
    return at >= arena->base && bytes <= arena->bytes && (size_t)(at - arena->base) <= arena->bytes - bytes;
}

static uint64_t free_pages_of(const struct arena *arena, struct span s)
{
    uint64_t pages = 0;
    FOR_PARTS(arena, s, r)
    {
        pages += is_hole(r) ? r.pages : 0;
    }
    return pages;
}

/* A new range that mmap makes, in place of what is there, unless all of that is free. As with the kernel it stays if the limits are
 * in the way. */
static long map_at(struct arena *arena, struct arena_request *q, struct span s, bool all_free)
{
    if (!arena_may_grow(arena, all_free ? s.end - s.first : free_pages_of(arena, s))) {
        return -ENOMEM;
    }
    int flags = arena_flags_of_new(arena, s.end - s.first, q->protection);
    int error = flags < 0 ? flags : all_free ? 0 : arena_unmap(arena, s);
    q->bring_in = flags > 0 && !(flags & RANGE_LOCKED_ON_FAULT);
    return error ? error : arena_give_out(arena, s, q->protection, flags);
}

static long map_anywhere(struct arena *arena, struct arena_request *q)
{
    uint64_t pages = q->bytes >> PAGE_SHIFT, first;
    if (is_inside(arena, q->at, q->bytes) && is_free(arena, span_of(arena, q->at, q->bytes))) {
        return map_at(arena, q, span_of(arena, q->at, q->bytes), true);
    }
    if (!address_space_find_free(&arena->space, pages, 1, &first)) {
        return -ENOSPC;
    }
    return map_at(arena, q, (struct span){first, first + pages}, true);
}

static long map_fixed(struct arena *arena, struct arena_request *q)
{
    struct span s = span_of(arena, q->at, q->bytes);
    bool all_free = is_free(arena, s);
    if (q->operation == ARENA_MAP_NOREPLACE && !all_free) {
        return -EEXIST;
    }
    return map_at(arena, q, s, all_free);
}

/* What is made accessible under mlockall(MCL_FUTURE) is locked from then on. */
static int flags_after_protect(struct arena *arena, struct range r, int protection)
{
    if (r.protection != PROT_NONE || (r.flags & RANGE_LOCKED)) {
        return r.flags;
    }
    int flags = arena_flags_of_new(arena, r.pages, protection);
    return flags < 0 ? -ENOMEM : r.flags | flags;
}

static int protect_part(struct arena *arena, struct arena_request *q, struct range r)
{
    int error = address_space_reserve(&arena->space);
    if (error || r.kind == RANGE_FOREIGN) {
        return error ? error : arena_protect(arena, r, q->protection, q->pkey);
    }
    int flags = flags_after_protect(arena, r, q->protection);
    if (flags >= 0 && flags != r.flags) {
        error = arena_set_flags(arena, r, flags);
        q->bring_in = !(flags & RANGE_LOCKED_ON_FAULT);
    }
    error = flags < 0 ? flags : error;
    if (!error && (r.protection != q->protection || q->pkey >= 0)) {
        arena->has_pkeys |= q->pkey >= 0;
        error = arena_protect(arena, r, q->protection, q->pkey);
    }
    if (!error) {
        r.protection = q->protection;
        r.flags = flags;
        error = address_space_put(&arena->space, r);
    }
    return error;
}

/* As the kernel: what lies before the first hole is changed. */
static int protect_span(struct arena *arena, struct arena_request *q)
{
    struct span s = span_of(arena, q->at, q->bytes);
    FOR_PARTS(arena, s, r)
    {
        int error = is_hole(r) ? -ENOMEM : protect_part(arena, q, r);
        if (error) {
            return error;
        }
    }
    return 0;
}

static long covers(struct arena *arena, struct span s)
{
    bool locked = false;
    FOR_PARTS(arena, s, r)
    {
        if (is_hole(r)) {
            return -ENOMEM;
        }
        locked |= r.flags & RANGE_LOCKED;
    }
    return locked;
}

/* Of a range that is the kernel's now: what only we knew. It cannot fail in a way that matters, as the range is cut off. */
static void tell_kernel(struct arena *arena, struct range r)
{
    char *at = address_of(arena, r.first);
    if (r.flags & RANGE_WIPED_BY_FORK) {
        sys_madvise(at, bytes_of(r), MADV_WIPEONFORK);
    }
    if (r.flags & RANGE_NOT_FORKED) {
        sys_madvise(at, bytes_of(r), MADV_DONTFORK);
    }
    if (r.flags & RANGE_LOCKED) {
        region_unlock(arena->region, at, bytes_of(r));
        arena_lock_foreign(at, bytes_of(r), r.flags);
    }
}

long arena_hand_over(struct arena *arena, struct span s)
{
    FOR_PARTS(arena, s, r)
    {
        if (r.kind != RANGE_MANAGED) {
            continue;
        }
        int error = address_space_reserve(&arena->space);
        error = error ? error : region_hand_over(arena->region, address_of(arena, r.first), bytes_of(r));
        if (error) {
            return error;
        }
        tell_kernel(arena, r);
        address_space_set(&arena->space, r.first, r.pages, RANGE_FOREIGN, 0);
    }
    return 0;
}

/* The kernel has not moved a mapping to [at, at + bytes), but may have unmapped what was there. 0 if that is the region's
 * again, or -errno: a hole. */
static int cover_hole(struct arena *arena, char *at, size_t bytes)
{
    if (sys_call3(SYS_msync, (long)at, (long)bytes, MS_ASYNC) != -ENOMEM) {
        region_own(arena->region, at, bytes);
        return 0;
    }
    return region_adopt(arena->region, at, bytes);
}

long arena_receive(struct arena *arena, const struct arena_request *q)
{
    struct span s = span_of(arena, q->at, q->bytes);
    if (q->operation == ARENA_RECEIVE_NOREPLACE && !is_free(arena, s)) {
        return -EEXIST;
    }
    int error = arena_unmap(arena, s);
    error = error ? error : address_space_reserve(&arena->space);
    error = error ? error : region_disown(arena->region, q->at, q->bytes);
    if (error) {
        return error;
    }
    long at = sys_call6(SYS_mremap, (long)q->to, (long)q->to_bytes, (long)q->bytes,
                        MREMAP_MAYMOVE | MREMAP_FIXED, (long)q->at, 0);
    /* A hole that cannot be covered is foreign, too: whatever lands there, nobody is given the place. */
    if (!sys_is_error(at) || cover_hole(arena, q->at, q->bytes)) {
        address_space_set(&arena->space, s.first, s.end - s.first, RANGE_FOREIGN, 0);
    }
    return at;
}

long arena_serve(struct arena *arena, struct arena_request *q)
{
    switch (q->operation) {
    case ARENA_MAP:
        return map_anywhere(arena, q);
    case ARENA_MAP_FIXED:
    case ARENA_MAP_NOREPLACE:
        return map_fixed(arena, q);
    case ARENA_UNMAP:
        return arena_unmap(arena, span_of(arena, q->at, q->bytes));
    case ARENA_PROTECT:
        return protect_span(arena, q);
    case ARENA_ADVISE:
        return arena_advise(arena, q);
    case ARENA_REMAP:
        return arena_remap(arena, q);
    case ARENA_SEND:
        return arena_send(arena, q);
    case ARENA_RECEIVE:
    case ARENA_RECEIVE_NOREPLACE:
        return arena_receive(arena, q);
    case ARENA_HAND_OVER:
        return arena_hand_over(arena, span_of(arena, q->at, q->bytes));
    case ARENA_COVERS:
        return covers(arena, span_of(arena, q->at, q->bytes));
    case ARENA_NEXT:
        return arena_next_locked(arena, q);
    case ARENA_LOCK:
        return arena_lock(arena, q);
    case ARENA_LOCK_ALL:
        return arena_lock_all(arena, q);
    case ARENA_UNLOCK:
        return arena_unlock(arena, span_of(arena, q->at, q->bytes));
    case ARENA_UNLOCK_ALL:
        return arena_unlock_all(arena);
    case ARENA_LIMIT:
        arena->space_limit = q->limit;
        return (long)arena->reserved;
    case ARENA_BREAK:
        return arena_break(arena, q);
    }
    return -EINVAL;
}

/*
 * Each range is a mapping of the kernel's, of which a process may have so many (vm.max_map_count). The program must
 * meet that limit, not the runtime, which could then neither grow its pool nor give anything back.
 */
static uint32_t ranges_most(void)
{
    char text[16] = "";
    uint32_t most = 0;
    long fd =
        sys_call6(SYS_openat, AT_FDCWD, (long)"/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd >= 0) {
        sys_read((int)fd, text, sizeof text - 1);
        sys_close((int)fd);
    }
    for (const char *p = text; *p >= '0' && *p <= '9' && most < ADDRESS_SPACE_RANGES; p++) {
        most = most * 10 + (uint32_t)(*p - '0');
    }
    most = most ? most : MAP_COUNT_DEFAULT;
    most = most > MAPPINGS_OUTSIDE ? most - MAPPINGS_OUTSIDE : most;
    return most < ADDRESS_SPACE_RANGES ? most : ADDRESS_SPACE_RANGES;
}

int arena_init(struct arena *arena, struct memory *memory)
{
    struct region *region = arena->region;
    *arena = (struct arena){.base = region_base(region),
                            .bytes = region_bytes(region),
                            .region = region,
                            .space_limit = SIZE_MAX,
                            .reserved = region_bytes(region)};
    int error = address_space_init(&arena->space, memory, arena->bytes >> PAGE_SHIFT);
    arena->space.limit = ranges_most();
    return error;
}

void arena_destroy(struct arena *arena)
{
    address_space_destroy(&arena->space);
}
