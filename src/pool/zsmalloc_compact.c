/* SPDX-License-Identifier: MIT */
/*
 * Compaction: the sparsest chain of a class is emptied into the others, or drawn together at its own beginning.
 *
 *   before   isolated |a . . b . . . c d . . .|        others  |x x . x| |y y y .|
 *   after             |a b                        <- no memory |x x d x| |y y y c|
 *
 * One step takes a chain out of its group, so that nobody allocates from it, and moves its objects one by one, the
 * last first: into the fullest chain that has room; where there is none, into the lowest free slot of the same
 * chain. If it comes out empty it goes back to the source; else its end goes back to the kernel.
 *
 *   begin    isolate                     under the class's lock
 *   next     pick                        under the lock: a live slot, its owner, and a free slot, which is made live for the same owner
 *            hold, copy, commit          without it: alloc, free and map of others go on, also of this very object
 *   end      reunite                     under the lock: back into the group, with a new list of free slots
 *
 * What may happen between pick and hold: the object is freed. Then its slot stays empty until the end, since nobody
 * allocates from the chain: the handle names nothing else, and hold says no. Between commit and the end: a load
 * that holds the old object lets go later, even after the end: its free then meets an ordinary chain.
 *
 * An object that its owner does not name (not filled yet, or removed and still read by somebody) stays. Then the
 * chain cannot be emptied this time, and goes to the end of its group, so that the next attempt takes another.
 *
 * The mover is called without any lock of the pool, as it may call free. One chain of a class is isolated at a
 * time; a second compaction leaves the class alone.
 *
 * What can be won is known before: the pages that the class has, less those that its objects would fill side by side. A
 * page won costs at most about a page copied, whichever chain it is; sparse ones cost least, so the sparsest group
 * of all classes comes first.
 *
 * Why no table of handles, as in the kernel, so that objects move without asking: it would cost 8 bytes an object and a
 * load on each access; and to move an object while it is mapped, the table would need the lock and the count of holders
 * which the index has already.
 */
#include <string.h>

#include "pool/zsmalloc.h"

struct work {
    struct zs *z;
    const struct pool_mover *mover;
    void *context;
    size_t copied;       /* bytes */
    size_t given, grown; /* bytes given back, and bytes by which other chains grew */
};

/* One step. */
struct isolation {
    unsigned class;
    uint32_t chain;
    unsigned next;  /* slots from here on are done */
    unsigned lower; /* slots below are live, as far as they are ours to fill */
    bool stuck;     /* an object stays where it is */
};

uint32_t zs_class_slack(const struct zs *z, unsigned class)
{
    const struct zs_class *c = &z->classes[class];
    const struct zs_shape *shape = &z->shapes[class];
    uint32_t used = atomic_read_relaxed(&c->used), pages = atomic_read_relaxed(&c->pages);
    uint32_t needed = used / shape->slots * shape->pages + zs_pages_for(shape, used % shape->slots);
    return pages > needed ? pages - needed : 0;
}

size_t zs_compactable(struct pool *pool)
{
    const struct zs *z = zs_of(pool);
    size_t pages = 0;
    for (unsigned class = 0; class < z->class_count; class ++) {
        pages += zs_class_slack(z, class);
    }
    return pages << PAGE_SHIFT;
}

/* Isolates a chain of the group, if the class has anything to win. */
static bool isolate(struct zs *z, unsigned class, unsigned group, struct isolation *i)
{
    struct zs_class *c = &z->classes[class];
    if (!zs_class_slack(z, class)) {
        return false;
    }
    SCOPED_LOCK(&c->lock);
    uint32_t chain = c->groups[group];
    if (c->isolated || !chain || !zs_class_slack(z, class)) {
        return false;
    }
    zs_unlist(z, class, chain);
    c->isolated = chain;
    *i = (struct isolation){.class = class, .chain = chain, .next = zs_chain(z, chain)->reached};
    return true;
}

/* A slot of the isolated chain below the one that is next. */
static bool take_lower(struct zs *z, struct isolation *i, uint64_t owner, uint64_t *handle)
{
    struct zs_class *c = &z->classes[i->class];
    mutex_assert_held(&c->lock);
    const struct zs_shape *shape = &z->shapes[i->class];
    uint8_t *owners = zs_owners(z, shape, i->chain);
    while (i->lower < i->next && zs_owner_get(owners, i->lower) & ZS_LIVE) {
        i->lower++;
    }
    if (i->lower >= i->next || i->stuck) {
        return false;
    }
    *handle = zs_handle(shape, i->chain, i->lower);
    zs_own_slot(z, shape, i->chain, *handle);
    zs_owner_set(owners, i->lower, ZS_LIVE | owner);
    zs_chain(z, i->chain)->used++;
    atomic_set_relaxed(&c->used, c->used + 1);
    return true;
}

/* The next object to move, and the slot for it; false if there is none of either. */
static bool pick(struct work *w, struct isolation *i, uint64_t *owner, uint64_t *from, uint64_t *to)
{
    struct zs *z = w->z;
    const struct zs_class *c = &z->classes[i->class];
    const struct zs_shape *shape = &z->shapes[i->class];
    const uint8_t *owners = zs_owners(z, shape, i->chain);
    SCOPED_LOCK(&z->classes[i->class].lock);
    uint32_t before = c->pages;
    while (i->next > 0) {
        uint64_t value = zs_owner_get(owners, --i->next);
        if (value & ZS_LIVE) {
            *owner = value & ~ZS_LIVE;
            *from = zs_handle(shape, i->chain, i->next);
            bool taken = !zs_take_slot(z, i->class, *owner, to) || take_lower(z, i, *owner, to);
            w->grown += (size_t)(c->pages - before) << PAGE_SHIFT;
            return taken;
        }
    }
    return false;
}

static void move_objects(struct work *w, struct isolation *i)
{
    uint64_t owner, from, to;
    size_t bytes = w->z->shapes[i->class].slot_bytes;
    while (pick(w, i, &owner, &from, &to)) {
        bool held = w->mover->hold(w->context, owner, from);
        if (held) {
            memcpy(zs_address(w->z, to), zs_address(w->z, from), bytes);
            w->copied += bytes;
        } else {
            i->stuck = true;
        }
        if (!held || !w->mover->commit(w->context, owner, from, to)) {
            zs_free(w->z, to);
        }
    }
}

/* Slots that are free at the chain's end have not been reached any more. How many pages the others need. */
static unsigned cut_end(struct zs *z, const struct isolation *i)
{
    const struct zs_shape *shape = &z->shapes[i->class];
    struct zs_chain *record = zs_chain(z, i->chain);
    const uint8_t *owners = zs_owners(z, shape, i->chain);
    SCOPED_LOCK(&z->classes[i->class].lock);
    while (record->reached && !(zs_owner_get(owners, record->reached - 1u) & ZS_LIVE)) {
        record->reached--;
    }
    return zs_pages_for(shape, record->reached);
}

/* A new list of free slots, the lowest first. */
static void list_free_slots(struct zs *z, const struct isolation *i)
{
    mutex_assert_held(&z->classes[i->class].lock);
    struct zs_chain *record = zs_chain(z, i->chain);
    uint8_t *owners = zs_owners(z, &z->shapes[i->class], i->chain);
    record->free = 0;
    zs_own_owners(z, &z->shapes[i->class], i->chain);
    for (unsigned slot = record->reached; slot-- > 0;) {
        if (!(zs_owner_get(owners, slot) & ZS_LIVE)) {
            zs_owner_set(owners, slot, record->free);
            record->free = (uint16_t)(slot + 1);
        }
    }
}

static void reunite(struct work *w, const struct isolation *i)
{
    struct zs *z = w->z;
    struct zs_class *c = &z->classes[i->class];
    struct zs_chain *record = zs_chain(z, i->chain);
    unsigned before = record->pages, needed = cut_end(z, i);
    if (needed && needed < before) {
        w->given += zs_source_shrink(z, i->chain, needed);
    }
    mutex_lock(&c->lock);
    c->isolated = 0;
    atomic_set_relaxed(&c->pages, c->pages - (before - record->pages));
    bool empty = !record->used;
    if (empty) {
        w->given += (size_t)record->pages << PAGE_SHIFT;
        zs_detach(z, i->class, i->chain);
    } else {
        list_free_slots(z, i);
        zs_list(z, i->class, i->chain, false);
    }
    mutex_unlock(&c->lock);
    if (empty) {
        zs_source_give(z, i->chain);
    }
}

static size_t won(const struct work *w)
{
    return w->given > w->grown ? w->given - w->grown : 0;
}

static bool is_done(const struct work *w, size_t bytes)
{
    return won(w) >= bytes || w->copied / 2 >= bytes;
}

/* Steps with chains of one group of a class, as long as they win anything. */
static void compact_group(struct work *w, unsigned class, unsigned group, size_t bytes)
{
    struct isolation i;
    size_t before;
    do {
        if (is_done(w, bytes) || !isolate(w->z, class, group, &i)) {
            return;
        }
        before = won(w);
        move_objects(w, &i);
        reunite(w, &i);
    } while (won(w) > before);
}

size_t zs_compact(struct pool *pool, size_t bytes, const struct pool_mover *mover, void *context)
{
    struct zs *z = zs_of(pool);
    struct work w = {.z = z, .mover = mover, .context = context};
    w.given = zs_source_trim(z); /* nobody has to move for that */
    for (unsigned group = 0; group < ZS_GROUPS; group++) {
        for (unsigned n = z->class_count; n > 0 && !is_done(&w, bytes); n--) {
            unsigned class = atomic_add_relaxed(&z->compact_next, 1) % z->class_count;
            compact_group(&w, class, group, bytes);
        }
    }
    zs_source_trim(z); /* the emptied chains: counted already */
    return won(&w);
}
