/* SPDX-License-Identifier: MIT */
/*
 * zsmalloc: objects of one size packed into chains of pages, with next to nothing lost between them.
 *
 *   class 1504   groups[7]  chain <-> chain <-> ...          nearly full: the next object goes here
 *                groups[1]  chain                            sparse: compaction empties these
 *                           (full chains are in no group)
 *
 *   chain   |owners| slot | slot | slot | slot | .. not reached yet .. |    addresses of 16 pages, neighbours
 *           |      page       |      page      |  no memory            |    memory for as many as are reached
 *
 * What it is for: the ratio. zbud ends at 2:1; here payload is 98 % of the pool and more.
 *
 * Sizes are rounded up to 16 bytes, and sizes that pack alike share a class (zsmalloc_shape.c). In the kernel a
 * chain is pages from anywhere, and an object on a boundary must be mapped or copied together. In user space
 * neighbours are to be had for nothing: a chain has a fixed range of addresses, and an object is contiguous
 * wherever it lies.
 *
 * Life of a slot: reached for the first time (`reached` goes up, and the chain is given memory when that enters a
 * page), live, free (on a list through the slots' owners), live again. Life of a chain:
 *
 *                 alloc, all others full           alloc                       alloc, the last slot
 *   (the source) ------------------------> group 0 ------> ... group 7 ------------------------------> full
 *        ^                                   |     <------             <------------------------------
 *        |             free, the last one    |      free                        free
 *        +-----------------------------------+
 *        |                                   | compact begins with a chain    compact ends, not empty
 *        |       compact ends, empty         v                                (group 0 .. 7, or full)
 *        +------------------------------ isolated ----------------------------->
 *
 * Allocation takes the fullest group, so the others drain. What then stays sparse, compaction empties
 * (zsmalloc_compact.c).
 *
 * Rules
 *  1. A class's lock guards its chains' records and owners. It is held for some tens of instructions: never while an object
 *     is filled, read or copied, a mover asked, or the kernel called.
 *  2. The source's lock is never taken inside a class's, nor the other way about: a chain between class and source is
 *     known to one thread only.
 *  3. While an object lives, its chain has its class and the object its place: free finds the class without a lock, and
 *     `map` needs no more than the handle.
 *
 * Records: 5 bytes an object in the chain itself, in what would be lost otherwise or nearly so, and 16 bytes a
 * chain. That is less than 6 bytes an object at a mean of 1500 bytes.
 *
 * `peers` says 0: giving a chain back by writeback would take the 15 to 1700 entries in it, which were stored at
 * any time, so the LRU would mean nothing. Compaction makes room from what the LRU has chosen.
 *
 * Limits. A chain that loses all but one object holds up to 64 KiB until somebody compacts. Address space is
 * 1 + 16/9 + 16/12 of the pool's greatest size. 1.9 TiB is the most that handles can name.
 *
 * Why no caches for threads: a class's lock is held for some 50 ns, a store's compression takes 2000 and more, and
 * sizes spread over a hundred classes.
 */
#include "pool/zsmalloc.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CACHE_LINE 64

uint64_t zs_owner_get(const uint8_t *owners, unsigned slot)
{
    uint64_t value = 0;
    memcpy(&value, owners + (size_t)slot * ZS_OWNER_BYTES, ZS_OWNER_BYTES);
    return value;
}

void zs_owner_set(uint8_t *owners, unsigned slot, uint64_t value)
{
    memcpy(owners + (size_t)slot * ZS_OWNER_BYTES, &value, ZS_OWNER_BYTES);
}

/* ---- groups: rings, so that a chain can go to either end */

void zs_list(struct zs *z, unsigned class, uint32_t chain, bool first)
{
    struct zs_class *c = &z->classes[class];
    mutex_assert_held(&c->lock);
    struct zs_chain *record = zs_chain(z, chain);
    unsigned group = zs_group_of(&z->shapes[class], record->used);
    if (group == ZS_GROUPS) {
        return;
    }
    uint32_t head = c->groups[group];
    if (head) {
        struct zs_chain *next = zs_chain(z, head);
        record->next = head;
        record->prev = next->prev;
        zs_chain(z, record->prev)->next = chain;
        next->prev = chain;
    } else {
        record->next = record->prev = chain;
        c->groups_filled |= 1u << group;
    }
    if (first || !head) {
        c->groups[group] = chain;
    }
}

/* Called before the chain's count changes. */
void zs_unlist(struct zs *z, unsigned class, uint32_t chain)
{
    struct zs_class *c = &z->classes[class];
    mutex_assert_held(&c->lock);
    struct zs_chain *record = zs_chain(z, chain);
    unsigned group = zs_group_of(&z->shapes[class], record->used);
    if (group == ZS_GROUPS) {
        return;
    }
    if (record->next == chain) {
        c->groups[group] = 0;
        c->groups_filled &= ~(1u << group);
    } else {
        zs_chain(z, record->next)->prev = record->prev;
        zs_chain(z, record->prev)->next = record->next;
        if (c->groups[group] == chain) {
            c->groups[group] = record->next;
        }
    }
    record->next = record->prev = 0;
}

/* One live slot more or less. */
static void count_slot(struct zs *z, unsigned class, uint32_t chain, int change)
{
    struct zs_class *c = &z->classes[class];
    mutex_assert_held(&c->lock);
    struct zs_chain *record = zs_chain(z, chain);
    unsigned used = record->used + (unsigned)change;
    bool moves = zs_group_of(&z->shapes[class], used) != zs_group_of(&z->shapes[class], record->used);
    if (moves) {
        zs_unlist(z, class, chain);
    }
    record->used = (uint16_t)used;
    if (moves) {
        zs_list(z, class, chain, true);
    }
    atomic_set_relaxed(&c->used, c->used + (uint32_t)change);
}

/* ---- slots */

/* Sees to it that the next slot to be given out has memory. */
static bool has_slot(struct zs *z, unsigned class, uint32_t chain)
{
    struct zs_class *c = &z->classes[class];
    mutex_assert_held(&c->lock);
    struct zs_chain *record = zs_chain(z, chain);
    unsigned before = record->pages;
    if (record->free) {
        return true;
    }
    if (!zs_source_grow(z, chain, zs_pages_for(&z->shapes[class], record->reached + 1u))) {
        return false;
    }
    atomic_set_relaxed(&c->pages, c->pages + record->pages - before);
    return true;
}

/* A chain with a free slot that has memory, the fullest first; 0 if there is none. Few chains are not wholly
 * reached, one as a rule; so when there is no memory, the next one in the group will do if any does. */
static uint32_t find_chain(struct zs *z, unsigned class)
{
    const struct zs_class *c = &z->classes[class];
    mutex_assert_held(&c->lock);
    for (uint32_t groups = c->groups_filled; groups;) {
        unsigned group = 31 - (unsigned)__builtin_clz(groups);
        uint32_t chain = c->groups[group];
        if (likely(has_slot(z, class, chain))) {
            return chain;
        }
        chain = zs_chain(z, chain)->next;
        if (chain != c->groups[group] && has_slot(z, class, chain)) {
            return chain;
        }
        groups &= ~(1u << group);
    }
    return 0;
}

int zs_take_slot(struct zs *z, unsigned class, uint64_t owner, uint64_t *handle)
{
    struct zs_class *c = &z->classes[class];
    mutex_assert_held(&c->lock);
    const struct zs_shape *shape = &z->shapes[class];
    uint32_t chain = find_chain(z, class);
    if (!chain) {
        return c->groups_filled ? -ENOMEM : -ENOENT;
    }
    struct zs_chain *record = zs_chain(z, chain);
    uint8_t *owners = zs_owners(z, shape, chain);
    unsigned slot;
    if (record->free) {
        slot = record->free - 1u;
        record->free = (uint16_t)zs_owner_get(owners, slot);
    } else {
        slot = record->reached++;
    }
    *handle = zs_handle(shape, chain, slot);
    zs_own_slot(z, shape, chain, *handle);
    zs_owner_set(owners, slot, ZS_LIVE | owner);
    count_slot(z, class, chain, 1);
    return 0;
}

void zs_detach(struct zs *z, unsigned class, uint32_t chain)
{
    struct zs_class *c = &z->classes[class];
    mutex_assert_held(&c->lock);
    struct zs_chain *record = zs_chain(z, chain);
    atomic_set_relaxed(&c->pages, c->pages - record->pages);
    *record = (struct zs_chain){.pages = record->pages};
}

/* The first slot of a chain that is new to the class. Nobody knows the chain before it is listed. */
static int take_in_new_chain(struct zs *z, unsigned class, uint64_t owner, uint64_t *handle)
{
    const struct zs_shape *shape = &z->shapes[class];
    struct zs_class *c = &z->classes[class];
    uint32_t chain = zs_source_take(z, zs_shape_kind(shape));
    if (!chain) {
        return -ENOMEM;
    }
    struct zs_chain *record = zs_chain(z, chain);
    if (record->pages > shape->pages) { /* from its last use */
        zs_source_shrink(z, chain, shape->pages);
    }
    if ((shape->owners_outside && !sparse_get_for_write(&z->raw_owners, zs_raw_index(z, chain))) ||
        !zs_source_grow(z, chain, zs_pages_for(shape, 1))) {
        zs_source_give(z, chain);
        return -ENOMEM;
    }
    *record = (struct zs_chain){.class = (uint8_t) class, .pages = record->pages, .used = 1, .reached = 1};
    *handle = zs_handle(shape, chain, 0);
    zs_own_slot(z, shape, chain, *handle);
    zs_owner_set(zs_owners(z, shape, chain), 0, ZS_LIVE | owner);
    SCOPED_LOCK(&c->lock);
    atomic_set_relaxed(&c->pages, c->pages + record->pages);
    atomic_set_relaxed(&c->used, c->used + 1);
    zs_list(z, class, chain, true);
    return 0;
}

static int take(struct zs *z, unsigned class, uint64_t owner, uint64_t *handle)
{
    mutex_lock(&z->classes[class].lock);
    int error = zs_take_slot(z, class, owner, handle);
    mutex_unlock(&z->classes[class].lock);
    return error == -ENOENT ? take_in_new_chain(z, class, owner, handle) : error;
}

/* Debug builds stop here on a handle whose object is not, or no longer, there. Without the lock: of a live object,
 * these bytes do not change. */
static void assert_live(const struct zs *z, uint64_t handle)
{
#ifdef LOCK_CHECKS
    assert(handle >> POOL_HANDLE_BITS == 0);
    uint32_t chain = zs_handle_chain(handle);
    const struct zs_chain *record = sparse_get(&z->chains, chain);
    assert(chain && record);
    const struct zs_shape *shape = &z->shapes[record->class];
    unsigned slot = zs_handle_slot(shape, handle);
    assert(slot < shape->slots && zs_handle(shape, chain, slot) == handle);
    assert(zs_owner_get(zs_owners(z, shape, chain), slot) & ZS_LIVE);
#else
    (void)z;
    (void)handle;
#endif
}

size_t zs_free(struct zs *z, uint64_t handle)
{
    uint32_t chain = zs_handle_chain(handle);
    struct zs_chain *record = zs_chain(z, chain);
    unsigned class = record->class; /* rule 3 */
    const struct zs_shape *shape = &z->shapes[class];
    struct zs_class *c = &z->classes[class];
    unsigned slot = zs_handle_slot(shape, handle);
    uint8_t *owners = zs_owners(z, shape, chain);
    bool empty = false;
    __builtin_prefetch(owners + (size_t)slot * ZS_OWNER_BYTES, 1); /* as a rule the only cold line here */
    mutex_lock(&c->lock);
    assert_live(z, handle);
    zs_own_owners(z, shape, chain);
    if (chain ==
        c->isolated) { /* who isolated it makes the list of free slots anew, and gives the chain back */
        zs_owner_set(owners, slot, 0);
        record->used--;
        atomic_set_relaxed(&c->used, c->used - 1);
    } else {
        zs_owner_set(owners, slot, record->free);
        record->free = (uint16_t)(slot + 1);
        count_slot(z, class, chain, -1);
        empty = !record->used;
        if (empty) {
            zs_unlist(z, class, chain);
            zs_detach(z, class, chain);
        }
    }
    mutex_unlock(&c->lock);
    return empty ? zs_source_give(z, chain) : 0;
}

/* ---- the ops */

static int create_tables(struct zs *z, const uint64_t chains[ZS_KINDS])
{
    int error = sparse_init(&z->chains, z->memory, zs_numbers_end(&z->source), sizeof(struct zs_chain),
                            ACCOUNT_TABLES);
    if (!error) {
        error = sparse_init(&z->raw_owners, z->memory, chains[ZS_RAW], sizeof(struct zs_raw_owners),
                            ACCOUNT_TABLES);
    }
    if (!error) {
        error = sparse_init(&z->blocks, z->memory, chains[ZS_SMALL] / ZS_BLOCK_CHAINS + 1, sizeof(uint32_t),
                            ACCOUNT_TABLES);
    }
    z->classes = memory_map(z->memory, z->class_count * sizeof z->classes[0], ACCOUNT_TABLES);
    if (error || !z->classes) {
        return -ENOMEM;
    }
    for (unsigned class = 0; class < z->class_count; class ++) {
        mutex_init(&z->classes[class].lock, LOCK_RANK_POOL);
    }
    return 0;
}

static void destroy_tables(struct zs *z)
{
    memory_unmap(z->memory, z->classes, z->class_count * sizeof z->classes[0], ACCOUNT_TABLES);
    sparse_destroy(&z->blocks);
    sparse_destroy(&z->raw_owners);
    sparse_destroy(&z->chains);
}

static int zs_create(struct pool **pool, struct memory *memory, size_t max_bytes)
{
    struct zs *z = memory_map(memory, sizeof *z, ACCOUNT_TABLES);
    if (!z) {
        return -ENOMEM;
    }
    z->pool.ops = &pool_zsmalloc;
    z->memory = memory;
    z->class_count = zs_make_shapes(z->shapes, z->class_of_units);
    /* A chain that is not wholly reached, and so may be short, is the only one of its class, but for what threads
     * open at the same time: some more chains than full ones have room for. */
    uint64_t pages = max_bytes / PAGE_BYTES + (max_bytes % PAGE_BYTES != 0);
    uint64_t chains[ZS_KINDS] = {
        [ZS_SMALL] = pages / ZS_CHAIN_PAGES + 4ull * ZS_SMALL_BYTES / ZS_UNIT_BYTES,
        [ZS_PACKED] = pages / ZS_CHAIN_PAGES_MIN + 4ull * z->class_count,
        [ZS_RAW] = pages / ZS_RAW_SLOTS + 256,
    };
    int error = zs_source_init(z, pages, chains);
    if (error) {
        goto unmap;
    }
    error = create_tables(z, chains);
    if (error) {
        goto destroy;
    }
    *pool = &z->pool;
    return 0;

destroy:
    destroy_tables(z);
    zs_source_destroy(z);
unmap:
    memory_unmap(memory, z, sizeof *z, ACCOUNT_TABLES);
    return error;
}

static void zs_destroy(struct pool *pool)
{
    struct zs *z = zs_of(pool);
    destroy_tables(z);
    zs_source_destroy(z);
    memory_unmap(z->memory, z, sizeof *z, ACCOUNT_TABLES);
}

static int zs_alloc(struct pool *pool, size_t bytes, uint64_t owner, uint64_t *handle)
{
    if (!bytes || bytes > PAGE_BYTES) {
        return -EINVAL;
    }
    assert(owner >> POOL_OWNER_BITS == 0);
    struct zs *z = zs_of(pool);
    unsigned class = z->class_of_units[(bytes - 1) >> ZS_UNIT_SHIFT];
    int error = take(z, class, owner, handle);
    if (unlikely(error) && zs_source_trim(z)) { /* what the reserve held counted against the limit */
        error = take(z, class, owner, handle);
    }
    if (unlikely(atomic_read_relaxed(&z->source.ripe_block))) {
        zs_huge_collapse(z);
    }
    return error;
}

/* All lines at once: they come in the time of a few, where who reads asks for one after the other. */
static void zs_prepare_read(struct pool *pool, uint64_t handle, size_t bytes)
{
    const char *lines = zs_address(zs_of(pool), handle);
    for (size_t i = 0; i < bytes; i += CACHE_LINE) {
        __builtin_prefetch(lines + i);
    }
}

/* The class comes from the size: its record may be as cold as the owners, or another's by now. */
static void zs_prepare_free(struct pool *pool, uint64_t handle, size_t bytes, bool reuse)
{
    const struct zs *z = zs_of(pool);
    uint32_t chain = zs_handle_chain(handle);
    const struct zs_shape *shape = &z->shapes[z->class_of_units[(bytes - 1) >> ZS_UNIT_SHIFT]];
    __builtin_prefetch(zs_chain(z, chain), 1);
    __builtin_prefetch(zs_owners(z, shape, chain) + (size_t)zs_handle_slot(shape, handle) * ZS_OWNER_BYTES,
                       1);
    if (reuse) {
        __builtin_prefetch(zs_address(z, handle), 1); /* the slot freed last is given out next */
    }
}

static void zs_free_op(struct pool *pool, uint64_t handle)
{
    zs_free(zs_of(pool), handle);
}

static void *zs_map(struct pool *pool, uint64_t handle)
{
    assert_live(zs_of(pool), handle);
    return zs_address(zs_of(pool), handle);
}

static void zs_unmap(struct pool *pool, uint64_t handle)
{
    assert_live(zs_of(pool), handle);
}

static size_t zs_total_size(struct pool *pool)
{
    return (size_t)atomic_read_relaxed(&zs_of(pool)->source.held) << PAGE_SHIFT;
}

static size_t zs_peers(struct pool *pool, uint64_t handle, uint64_t *owners, size_t room)
{
    assert_live(zs_of(pool), handle);
    (void)owners;
    (void)room;
    return 0;
}

static struct inherited *zs_inherited(struct pool *pool)
{
    return &zs_of(pool)->source.inherited;
}

static void zs_lend(struct pool *pool)
{
    zs_source_lend(zs_of(pool));
}

static size_t zs_trim(struct pool *pool)
{
    return zs_source_trim(zs_of(pool));
}

const struct pool_ops pool_zsmalloc = {
    .name = "zsmalloc",
    .create = zs_create,
    .destroy = zs_destroy,
    .alloc = zs_alloc,
    .free = zs_free_op,
    .prepare_read = zs_prepare_read,
    .prepare_free = zs_prepare_free,
    .map = zs_map,
    .unmap = zs_unmap,
    .total_size = zs_total_size,
    .peers = zs_peers,
    .inherited = zs_inherited,
    .lend = zs_lend,
    .trim = zs_trim,
    .compact = zs_compact,
    .compactable = zs_compactable,
    .consistent = zs_consistent,
};
