/* SPDX-License-Identifier: MIT */
/*
 * Why one arena, and mappings that are never unmapped: a userfaultfd registration belongs to a kernel mapping, so
 * it ends with munmap and has to be made anew after mmap, at the price of two calls each, of a limit on the
 * number of regions, and of a window in which a page is not managed. Here a range that is given out gets its
 * protection by mprotect, and a range that comes back loses its content and becomes inaccessible: the
 * registration stays. The kernel splits and merges its mappings by itself, as it does for any program.
 *
 *   free      PROT_NONE, no content
 *   managed   the program's protection, the region's content
 *   foreign   a mapping that the program put over a part of the arena with MAP_FIXED; the region leaves it alone
 *
 * A foreign mapping never leaves a hole when it goes: a hole in the arena could be filled by any mmap of the kernel's
 * own choice. region_adopt maps over it in one step. This is why a foreign mapping cannot be moved or grown
 * (mremap answers ENOMEM).
 *
 * Every change asks the address space for its nodes first, so that nothing has to be undone for want of them.
 */
#include "preload/arena.h"

#include <errno.h>

#include "base/sys.h"

#define READ_WRITE (PROT_READ | PROT_WRITE)

struct span {
    uint64_t first, end; /* pages of the arena */
};

static struct span span_of(const struct arena *arena, const char *at, size_t bytes)
{
    uint64_t first = (uint64_t)(at - arena->base) >> PAGE_SHIFT;
    return (struct span){first, first + (bytes >> PAGE_SHIFT)};
}

static char *address_of(const struct arena *arena, uint64_t page)
{
    return arena->base + (page << PAGE_SHIFT);
}

static int protect(const struct arena *arena, uint64_t first, uint64_t pages, int protection, int pkey)
{
    char *at = address_of(arena, first);
    size_t bytes = pages << PAGE_SHIFT;
    if (pkey >= 0) {
        return (int)sys_call6(SYS_pkey_mprotect, (long)at, (long)bytes, protection, pkey, 0, 0);
    }
    return region_protect(arena->region, at, bytes, protection);
}

/* Without access, and under the default key again. */
static int make_inaccessible(const struct arena *arena, uint64_t first, uint64_t pages)
{
    return protect(arena, first, pages, PROT_NONE, arena->has_pkeys ? 0 : -1);
}

/* Drops the content of all that is given out in the span; foreign mappings become the region's again. */
static int drop_content(struct arena *arena, struct span s)
{
    int error = 0;
    for (uint64_t page = s.first; page < s.end;) {
        struct range r = address_space_part(&arena->space, page, s.end);
        char *at = address_of(arena, page);
        size_t bytes = r.pages << PAGE_SHIFT;
        int failed = 0;
        if (r.kind == RANGE_MANAGED) {
            failed = region_discard(arena->region, at, bytes);
        } else if (r.kind == RANGE_FOREIGN) {
            failed = region_adopt(arena->region, at, bytes);
        }
        error = error ? error : failed;
        page += r.pages;
    }
    return error;
}

/* Makes all managed pages of the span inaccessible. */
static int close_access(struct arena *arena, struct span s)
{
    for (uint64_t page = s.first; page < s.end;) {
        struct range r = address_space_part(&arena->space, page, s.end);
        if (r.kind == RANGE_MANAGED && (r.protection != PROT_NONE || arena->has_pkeys)) {
            int error = make_inaccessible(arena, page, r.pages);
            if (error) {
                return error;
            }
        }
        page += r.pages;
    }
    return 0;
}

static int unmap(struct arena *arena, struct span s)
{
    int error = address_space_reserve(&arena->space);
    if (error || s.first == s.end) {
        return error;
    }
    error = close_access(arena, s);
    if (error) {
        return error;
    }
    error = drop_content(arena, s);
    address_space_set(&arena->space, s.first, s.end - s.first, RANGE_FREE, 0);
    return error;
}

/* Gives a free span out. */
static long give_out(struct arena *arena, struct span s, int protection)
{
    uint64_t pages = s.end - s.first;
    int error = address_space_reserve(&arena->space);
    if (!error && protection != PROT_NONE) {
        error = protect(arena, s.first, pages, protection, -1);
    }
    if (error) {
        return error;
    }
    address_space_set(&arena->space, s.first, pages, RANGE_MANAGED, protection);
    return (long)address_of(arena, s.first);
}

static bool is_inside(const struct arena *arena, const char *at, size_t bytes)
{
    return at >= arena->base && bytes <= arena->bytes && (size_t)(at - arena->base) <= arena->bytes - bytes;
}

static bool is_free(const struct arena *arena, struct span s)
{
    return address_space_is(&arena->space, s.first, s.end - s.first, RANGE_FREE);
}

static long map_anywhere(struct arena *arena, const struct arena_request *q)
{
    uint64_t pages = q->bytes >> PAGE_SHIFT, first;
    if (is_inside(arena, q->at, q->bytes) && is_free(arena, span_of(arena, q->at, q->bytes))) {
        return give_out(arena, span_of(arena, q->at, q->bytes), q->protection);
    }
    if (!address_space_find_free(&arena->space, pages, 1, &first)) {
        return -ENOSPC;
    }
    return give_out(arena, (struct span){first, first + pages}, q->protection);
}

static long map_fixed(struct arena *arena, const struct arena_request *q)
{
    struct span s = span_of(arena, q->at, q->bytes);
    if (q->operation == ARENA_MAP_NOREPLACE && !is_free(arena, s)) {
        return -EEXIST;
    }
    int error = unmap(arena, s);
    return error ? error : give_out(arena, s, q->protection);
}

/* As the kernel: what lies before the first hole is changed. */
static int protect_span(struct arena *arena, const struct arena_request *q)
{
    struct span s = span_of(arena, q->at, q->bytes);
    for (uint64_t page = s.first; page < s.end;) {
        struct range r = address_space_part(&arena->space, page, s.end);
        if (r.kind == RANGE_FREE) {
            return -ENOMEM;
        }
        int error = address_space_reserve(&arena->space);
        if (!error && (r.kind == RANGE_FOREIGN || r.protection != q->protection || q->pkey >= 0)) {
            arena->has_pkeys |= q->pkey >= 0;
            error = protect(arena, page, r.pages, q->protection, q->pkey);
        }
        if (error) {
            return error;
        }
        if (r.kind == RANGE_MANAGED) {
            address_space_set(&arena->space, page, r.pages, RANGE_MANAGED, q->protection);
        }
        page += r.pages;
    }
    return 0;
}

/*
 * MADV_FREE may keep the content until memory is short; memory is always short here, so it is MADV_DONTNEED.
 * Transparent huge pages stay off. What a child inherits is the region's business: DONTFORK, WIPEONFORK and
 * merging are refused, as by a kernel without them. Advice on core dumps has no effect.
 */
static int advise_managed(struct arena *arena, char *at, size_t bytes, int advice)
{
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
    case 24: /* MADV_DONTNEED_LOCKED */
        return region_discard(arena->region, at, bytes);
    case MADV_COLD:
    case MADV_PAGEOUT:
        return region_pageout(arena->region, at, bytes);
    case MADV_WILLNEED:
        return region_willneed(arena->region, at, bytes);
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_DOFORK:
    case MADV_KEEPONFORK:
    case MADV_UNMERGEABLE:
        return 0;
    default:
        return -EINVAL;
    }
}

/* As the kernel: holes are stepped over, and reported at the end. */
static int advise(struct arena *arena, const struct arena_request *q)
{
    struct span s = span_of(arena, q->at, q->bytes);
    bool hole = false;
    for (uint64_t page = s.first; page < s.end;) {
        struct range r = address_space_part(&arena->space, page, s.end);
        char *at = address_of(arena, page);
        size_t bytes = r.pages << PAGE_SHIFT;
        int error = 0;
        if (r.kind == RANGE_FREE) {
            hole = true;
        } else if (r.kind == RANGE_FOREIGN) {
            error = sys_madvise(at, bytes, q->flags);
        } else {
            error = advise_managed(arena, at, bytes, q->flags);
        }
        if (error) {
            return error;
        }
        page += r.pages;
    }
    return hole ? -ENOMEM : 0;
}

/* Moves a managed span to a free place, which is `pages` long. Pages move only between writable mappings of one
 * protection, so a span without write access gets it for as long as that takes. */
static long relocate(struct arena *arena, struct span from, uint64_t to, uint64_t pages, int protection)
{
    bool writable = (protection & READ_WRITE) == READ_WRITE;
    int meanwhile = writable ? protection : READ_WRITE;
    uint64_t moved = from.end - from.first;
    long at = give_out(arena, (struct span){to, to + pages}, meanwhile);
    if (sys_is_error(at)) {
        return at;
    }
    int error = writable ? 0 : protect(arena, from.first, moved, meanwhile, -1);
    if (!error) {
        error = region_move(arena->region, address_of(arena, from.first), (void *)at, moved << PAGE_SHIFT);
    }
    if (!error && !writable) {
        error = address_space_reserve(&arena->space);
        error = error ? error : protect(arena, to, pages, protection, -1);
        if (!error) {
            address_space_set(&arena->space, to, pages, RANGE_MANAGED, protection);
        }
    }
    if (error) {
        /* region_move has put back what it had moved. */
        unmap(arena, (struct span){to, to + pages});
        if (!writable) {
            protect(arena, from.first, moved, protection, -1);
        }
        return error;
    }
    error = unmap(arena, from);
    return error ? error : at;
}

/* mremap without MREMAP_FIXED. */
static long resize(struct arena *arena, struct span old, struct range r, uint64_t pages, bool may_move)
{
    long at = (long)address_of(arena, old.first);
    uint64_t old_pages = old.end - old.first;
    if (pages <= old_pages) {
        int error = pages < old_pages ? unmap(arena, (struct span){old.first + pages, old.end}) : 0;
        return error ? error : at;
    }
    if (r.kind == RANGE_FOREIGN) {
        return -ENOMEM;
    }
    uint64_t end = old.first + pages, first;
    if (end <= arena->space.pages && is_free(arena, (struct span){old.end, end})) {
        long more = give_out(arena, (struct span){old.end, end}, r.protection);
        return sys_is_error(more) ? more : at;
    }
    if (!may_move || !address_space_find_free(&arena->space, pages, 1, &first)) {
        return -ENOMEM;
    }
    return relocate(arena, old, first, pages, r.protection);
}

static long remap(struct arena *arena, const struct arena_request *q)
{
    struct span old = span_of(arena, q->at, q->bytes);
    struct range r = address_space_part(&arena->space, old.first, old.end);
    uint64_t pages = q->to_bytes >> PAGE_SHIFT;
    if (r.kind == RANGE_FREE || r.pages != old.end - old.first) {
        return -EFAULT;
    }
    if (!(q->flags & MREMAP_FIXED)) {
        return resize(arena, old, r, pages, q->flags & MREMAP_MAYMOVE);
    }
    struct span to = span_of(arena, q->to, q->to_bytes);
    if (to.first < old.end && old.first < to.end) {
        return -EINVAL;
    }
    if (r.kind == RANGE_FOREIGN) {
        return -ENOMEM;
    }
    int error = unmap(arena, to);
    if (!error && pages < r.pages) {
        error = unmap(arena, (struct span){old.first + pages, old.end});
        old.end = old.first + pages;
    }
    return error ? error : relocate(arena, old, to.first, pages, r.protection);
}

static long receive(struct arena *arena, const struct arena_request *q)
{
    struct span s = span_of(arena, q->at, q->bytes);
    if (q->operation == ARENA_RECEIVE_NOREPLACE && !is_free(arena, s)) {
        return -EEXIST;
    }
    int error = unmap(arena, s);
    if (error) {
        return error;
    }
    long at = sys_call6(SYS_mremap, (long)q->to, (long)q->to_bytes, (long)q->bytes,
                        MREMAP_MAYMOVE | MREMAP_FIXED, (long)q->at, 0);
    if (sys_is_error(at)) {
        region_adopt(arena->region, q->at, q->bytes); /* it may have left a hole */
        return at;
    }
    error = region_disown(arena->region, q->at, q->bytes);
    address_space_set(&arena->space, s.first, s.end - s.first, RANGE_FOREIGN, 0);
    return error ? error : at;
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
        return unmap(arena, span_of(arena, q->at, q->bytes));
    case ARENA_PROTECT:
        return protect_span(arena, q);
    case ARENA_ADVISE:
        return advise(arena, q);
    case ARENA_REMAP:
        return remap(arena, q);
    case ARENA_RECEIVE:
    case ARENA_RECEIVE_NOREPLACE:
        return receive(arena, q);
    case ARENA_FIND: {
        struct range r = address_space_find(&arena->space, span_of(arena, q->at, 0).first);
        q->to = address_of(arena, r.first + r.pages);
        q->protection = r.protection;
        return r.kind;
    }
    }
    return -EINVAL;
}

int arena_init(struct arena *arena, struct memory *memory)
{
    arena->base = region_base(arena->region);
    arena->bytes = region_bytes(arena->region);
    arena->has_pkeys = false;
    return address_space_init(&arena->space, memory, arena->bytes >> PAGE_SHIFT);
}

void arena_destroy(struct arena *arena)
{
    address_space_destroy(&arena->space);
}
