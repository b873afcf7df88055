/* SPDX-License-Identifier: MIT */
/* mremap inside the arena. */
#include "preload/arena_internal.h"

#define READ_WRITE (PROT_READ | PROT_WRITE)

/* How a range is to be moved: to a free place, which is `pages` long. */
struct relocation {
    struct range from;
    uint64_t to, pages;
    bool keep_mapping; /* MREMAP_DONTUNMAP */
};

static int move_content(struct arena *arena, const struct relocation *m)
{
    return region_move(arena->region, address_of(arena, m->from.first), address_of(arena, m->to),
                       bytes_of(m->from));
}

/* The end of the move of a range without write access. */
static int close_new_place(struct arena *arena, const struct relocation *m)
{
    struct range r = m->from;
    r.first = m->to;
    r.pages = m->pages;
    int error = address_space_reserve(&arena->space);
    error = error ? error : arena_protect(arena, r, r.protection, -1);
    if (!error) {
        address_space_put(&arena->space, r);
    }
    return error;
}

static int leave_old_place(struct arena *arena, const struct relocation *m)
{
    if (m->keep_mapping) {
        return arena_set_flags(arena, m->from, m->from.flags & ~RANGE_LOCKED);
    }
    return arena_unmap(arena, (struct span){m->from.first, m->from.first + m->from.pages});
}

/* Pages move only between writable mappings of one protection, so a range without write access gets it for as long as
 * that takes. */
static long relocate(struct arena *arena, const struct relocation *m)
{
    int protection = m->from.protection;
    bool writable = (protection & READ_WRITE) == READ_WRITE;
    struct span to = {m->to, m->to + m->pages};
    long at = arena_give_out(arena, to, writable ? protection : READ_WRITE, m->from.flags);
    if (sys_is_error(at)) {
        return at;
    }
    int error = writable ? 0 : arena_protect(arena, m->from, READ_WRITE, -1);
    error = error ? error : move_content(arena, m);
    if (!error) {
        error = writable ? 0 : close_new_place(arena, m);
        error = error ? error : leave_old_place(arena, m);
        if (error) {
            /* The kernel has no mapping left to cut the old place off with: back, where there was room. */
            struct range new_place = {.first = m->to, .pages = m->pages};
            struct relocation back = *m;
            arena_protect(arena, new_place, READ_WRITE, -1);
            back.from.first = m->to;
            back.to = m->from.first;
            if (move_content(arena, &back)) {
                /* The content is here. As with the kernel, the old place stays then, empty. */
                arena_protect(arena, new_place, protection, -1);
                arena_protect(arena, m->from, protection, -1);
                return at;
            }
        }
    } /* else region_move has put back what it had moved */
    if (error) {
        arena_unmap(arena, to);
        arena_protect(arena, m->from, protection, -1);
        return error;
    }
    if (m->keep_mapping && !writable) {
        arena_protect(arena, m->from, protection, -1);
    }
    return at;
}

/* A mapping of the kernel's grows, at `to` or (NULL) where there is room. */
static long grow_outside(long at, size_t old_bytes, size_t bytes, char *to)
{
    if (bytes == old_bytes) {
        return at;
    }
    if (to) {
        sys_munmap(to + old_bytes, bytes - old_bytes);
    }
    return sys_call6(SYS_mremap, at, (long)old_bytes, (long)bytes, to ? 0 : MREMAP_MAYMOVE, 0, 0);
}

/*
 * A range leaves the arena, for `to` or (NULL) where the kernel likes it; the kernel's memory from then on. With
 * MREMAP_DONTUNMAP, so that there is never a hole in the arena; so it is moved as long as it is, and grown there. Its old
 * place stays foreign until nothing can fail any more; and, as with the kernel, if it cannot be cut off.
 */
static long send(struct arena *arena, struct range r, size_t bytes, char *to)
{
    struct span s = {r.first, r.first + r.pages};
    size_t moved = bytes_of(r);
    long error = arena_hand_over(arena, s);
    if (error) {
        return error;
    }
    char *from = address_of(arena, r.first);
    if (r.flags & RANGE_LOCKED) {
        sys_call3(SYS_munlock, (long)from, (long)moved,
                  0); /* MREMAP_DONTUNMAP would count it as locked twice */
    }
    long at = sys_call6(SYS_mremap, (long)from, (long)moved, (long)moved,
                        MREMAP_MAYMOVE | MREMAP_DONTUNMAP | (to ? MREMAP_FIXED : 0), (long)to, 0);
    long grown = sys_is_error(at) ? at : grow_outside(at, moved, bytes, to);
    bool leaves = !sys_is_error(grown);
    if (leaves) {
        arena_unmap(arena, s);
    } else if (!sys_is_error(at)) {
        sys_call6(SYS_mremap, at, (long)moved, (long)moved, MREMAP_MAYMOVE | MREMAP_FIXED, (long)from, 0);
    }
    if (r.flags & RANGE_LOCKED) {
        arena_lock_foreign(leaves ? (char *)grown : from, leaves ? bytes : moved, r.flags);
    }
    return grown;
}

long arena_send(struct arena *arena, const struct arena_request *q)
{
    struct span old = span_of(arena, q->at, q->bytes);
    struct range r = address_space_part(&arena->space, old.first, old.end);
    uint64_t pages = q->to_bytes >> PAGE_SHIFT;
    int error = 0;
    if (is_hole(r) || r.pages != old.end - old.first) {
        return -EFAULT;
    }
    if (pages < r.pages) {
        error = arena_unmap(arena, (struct span){old.first + pages, old.end});
        r.pages = pages;
    }
    return error ? error : send(arena, r, q->to_bytes, q->to);
}

/* The kernel moves it, by way of a place outside, where it can grow. */
static long move_foreign(struct arena *arena, struct range from, struct span to)
{
    size_t bytes = (size_t)(to.end - to.first) << PAGE_SHIFT;
    long at = send(arena, from, bytes, NULL);
    if (sys_is_error(at)) {
        return at;
    }
    struct arena_request in = {.operation = ARENA_RECEIVE,
                               .at = address_of(arena, to.first),
                               .bytes = bytes,
                               .to = (char *)at,
                               .to_bytes = bytes};
    long moved = arena_receive(arena, &in);
    if (sys_is_error(moved)) {
        in.at = address_of(arena, from.first); /* back */
        in.bytes = bytes_of(from);
        arena_receive(arena, &in);
    }
    return moved;
}

/* Pages that are pinned only the kernel can move: then the range is its memory from now on. */
static long move_managed(struct arena *arena, const struct relocation *m)
{
    long at = relocate(arena, m);
    if (at == -EBUSY && m->keep_mapping) {
        return -ENOMEM;
    }
    return at == -EBUSY ? move_foreign(arena, m->from, (struct span){m->to, m->to + m->pages}) : at;
}

/* In place. As munmap of the rest, and so also where that is several ranges. */
static long shrink(struct arena *arena, struct span old, uint64_t pages)
{
    struct span rest = {old.first + pages, old.end};
    int error = rest.first < rest.end ? arena_unmap(arena, rest) : 0;
    return error ? error : (long)address_of(arena, old.first);
}

/* In place, or, if it may, elsewhere. */
static long grow(struct arena *arena, struct span old, struct range r, uint64_t pages, bool may_move)
{
    long at = (long)address_of(arena, old.first);
    uint64_t old_pages = old.end - old.first;
    if (r.kind == RANGE_FOREIGN) {
        return may_move ? send(arena, r, pages << PAGE_SHIFT, NULL) : -ENOMEM;
    }
    if (!arena_may_grow(arena, pages - old_pages)) {
        return -ENOMEM;
    }
    if ((r.flags & RANGE_LOCKED) && !arena_may_lock(arena, pages - old_pages)) {
        return -EAGAIN;
    }
    uint64_t end = old.first + pages, first;
    if (end <= arena->space.pages && is_free(arena, (struct span){old.end, end})) {
        long more = arena_give_out(arena, (struct span){old.end, end}, r.protection, r.flags);
        return sys_is_error(more) ? more : at;
    }
    if (!may_move || !address_space_find_free(&arena->space, pages, 1, &first)) {
        return -ENOMEM;
    }
    return move_managed(arena, &(struct relocation){.from = r, .to = first, .pages = pages});
}

/* MREMAP_DONTUNMAP without a place. */
static long move_away(struct arena *arena, struct range r)
{
    struct relocation m = {.from = r, .pages = r.pages, .keep_mapping = true};
    return address_space_find_free(&arena->space, r.pages, 1, &m.to) ? move_managed(arena, &m) : -ENOMEM;
}

long arena_remap(struct arena *arena, const struct arena_request *q)
{
    struct span old = span_of(arena, q->at, q->bytes);
    struct range r = address_space_part(&arena->space, old.first, old.end);
    uint64_t pages = q->to_bytes >> PAGE_SHIFT;
    bool keep_mapping = q->flags & MREMAP_DONTUNMAP, fixed = q->flags & MREMAP_FIXED;
    if (!is_hole(r) && !fixed && !keep_mapping && pages <= old.end - old.first) {
        return shrink(arena, old, pages);
    }
    if (is_hole(r) || r.pages != old.end - old.first) {
        return -EFAULT;
    }
    if (keep_mapping && r.kind == RANGE_FOREIGN) {
        return -ENOMEM;
    }
    if (!fixed) {
        return keep_mapping ? move_away(arena, r) : grow(arena, old, r, pages, q->flags & MREMAP_MAYMOVE);
    }
    struct span to = span_of(arena, q->to, q->to_bytes);
    if (to.first < old.end && old.first < to.end) {
        return -EINVAL;
    }
    int error = arena_unmap(arena, to);
    if (!error && pages < r.pages) {
        error = arena_unmap(arena, (struct span){old.first + pages, old.end});
        r.pages = pages;
    }
    if (error) {
        return error;
    }
    struct relocation m = {.from = r, .to = to.first, .pages = pages, .keep_mapping = keep_mapping};
    return r.kind == RANGE_FOREIGN ? move_foreign(arena, r, to) : move_managed(arena, &m);
}
