/* SPDX-License-Identifier: MIT */
/*
 * zbud: at most two objects ("buddies") in a page, one from each end, in chunks of 64 bytes.
 *
 *   page    |FIRST ......|          free          |...... LAST|      one buddy may be missing
 *   page    |FIRST, a raw page of 4096 bytes .................|      nothing of the page is lost to a header
 *
 * What it is for: predictable cost. An object never moves, alloc looks at one word to find its place, and the
 * memory under any object can be had by writing back one other at most (`peers`). The price is the ratio: at
 * most 2:1, however well the pages compress.
 *
 * Records of 32 bytes lie outside the pages, in a sparse array by page number. A page with exactly one buddy is on
 * the list of all such pages with as many free chunks:
 *
 *   lists_filled   bit n: list n is not empty
 *   lists[n]       page -> page -> ...      newest first
 *
 *                  alloc, no list has room                 alloc
 *   (page source) -------------------------> one buddy ------------> two buddies
 *                 <-------------------------           <------------
 *                           free                           free
 *
 * An object goes into the first list that has room for it: the fullest pages that it fits, found by one bit scan. A
 * page of which one buddy takes all is on no list, like a page of two.
 *
 * One mutex guards records, lists and page source. It is held for some tens of instructions: never while an object is
 * filled or read, and never while pages go back to the kernel (page_source.h tells how). `map` takes no lock:
 * the handle says where the object lies.
 *
 * Why not a lock a list: alloc may have to look at all of them, and each op moves a page between two.
 */
#include "pool/zbud.h"

#include <assert.h>
#include <errno.h>

static void list_add(struct zbud *z, uint32_t page)
{
    mutex_assert_held(&z->lock);
    struct zbud_page *record = zbud_record(z, page);
    unsigned n = zbud_list_of(record);
    if (!n) {
        return;
    }
    record->next = z->lists[n];
    record->prev = 0;
    if (record->next) {
        zbud_record(z, record->next)->prev = page;
    }
    z->lists[n] = page;
    z->lists_filled |= 1ull << n;
}

/* Called before the page's buddies change. */
static void list_remove(struct zbud *z, uint32_t page)
{
    mutex_assert_held(&z->lock);
    struct zbud_page *record = zbud_record(z, page);
    unsigned n = zbud_list_of(record);
    if (!n) {
        return;
    }
    if (record->next) {
        zbud_record(z, record->next)->prev = record->prev;
    }
    if (record->prev) {
        zbud_record(z, record->prev)->next = record->next;
    } else {
        z->lists[n] = record->next;
        if (!record->next) {
            z->lists_filled &= ~(1ull << n);
        }
    }
    record->next = record->prev = 0;
}

/* The first page of the first list with that much room, 0 if there is none. */
static uint32_t find_listed(const struct zbud *z, unsigned chunks)
{
    mutex_assert_held(&z->lock);
    uint64_t fitting = chunks < ZBUD_CHUNKS ? z->lists_filled >> chunks << chunks : 0;
    return fitting ? z->lists[__builtin_ctzll(fitting)] : 0;
}

/* A page without buddies, 0 if there is no memory. The record comes first, so that nothing need be undone. */
static uint32_t take_page(struct zbud *z)
{
    mutex_assert_held(&z->lock);
    uint32_t page = page_source_next(&z->source);
    if (!page || !sparse_get_for_write(&z->records, page) || !page_source_take(&z->source, page)) {
        return 0;
    }
    return page;
}

static uint64_t place_buddy(struct zbud *z, uint32_t page, unsigned chunks, uint64_t owner)
{
    mutex_assert_held(&z->lock);
    struct zbud_page *record = zbud_record(z, page);
    enum zbud_buddy buddy = record->chunks[ZBUD_FIRST] ? ZBUD_LAST : ZBUD_FIRST;
    record->chunks[buddy] = (uint8_t)chunks;
    record->owners[buddy] = owner;
    inherited_end(&z->source.inherited, page_source_address(&z->source, page), PAGE_BYTES);
    return zbud_handle(page, buddy == ZBUD_FIRST ? 0 : ZBUD_CHUNKS - chunks, buddy);
}

/* Debug builds stop here on a handle whose object is not, or no longer, there. Without the lock: of a live object,
 * these bytes of the record do not change. */
static void assert_live(const struct zbud *z, uint64_t handle)
{
#ifdef LOCK_CHECKS
    assert(handle >> POOL_HANDLE_BITS == 0);
    const struct zbud_page *record = sparse_get(&z->records, zbud_handle_page(handle));
    assert(zbud_handle_page(handle) && record);
    unsigned chunks = record->chunks[zbud_handle_buddy(handle)];
    assert(chunks);
    assert(zbud_handle_chunk(handle) == (zbud_handle_buddy(handle) == ZBUD_FIRST ? 0 : ZBUD_CHUNKS - chunks));
#else
    (void)z;
    (void)handle;
#endif
}

static int zbud_create(struct pool **pool, struct memory *memory, size_t max_bytes)
{
    uint64_t pages = max_bytes / PAGE_BYTES + (max_bytes % PAGE_BYTES != 0);
    if (!pages || pages > PAGE_SOURCE_PAGES_MAX) {
        return -EINVAL;
    }
    struct zbud *z = memory_map(memory, sizeof *z, ACCOUNT_TABLES);
    if (!z) {
        return -ENOMEM;
    }
    z->pool.ops = &pool_zbud;
    z->memory = memory;
    mutex_init(&z->lock, LOCK_RANK_POOL);
    int error = page_source_init(&z->source, memory, &z->lock, pages);
    if (error) {
        goto unmap;
    }
    error = sparse_init(&z->records, memory, pages + 1, sizeof(struct zbud_page), ACCOUNT_TABLES);
    if (error) {
        goto destroy_source;
    }
    *pool = &z->pool;
    return 0;

destroy_source:
    page_source_destroy(&z->source);
unmap:
    memory_unmap(memory, z, sizeof *z, ACCOUNT_TABLES);
    return error;
}

static void zbud_destroy(struct pool *pool)
{
    struct zbud *z = zbud_of(pool);
    sparse_destroy(&z->records);
    page_source_destroy(&z->source);
    memory_unmap(z->memory, z, sizeof *z, ACCOUNT_TABLES);
}

static int zbud_alloc(struct pool *pool, size_t bytes, uint64_t owner, uint64_t *handle)
{
    if (!bytes || bytes > PAGE_BYTES) {
        return -EINVAL;
    }
    struct zbud *z = zbud_of(pool);
    unsigned chunks = (unsigned)(bytes + ZBUD_CHUNK_BYTES - 1) >> ZBUD_CHUNK_SHIFT;
    SCOPED_LOCK(&z->lock);
    uint32_t page = find_listed(z, chunks);
    if (page) {
        list_remove(z, page);
    } else {
        page = take_page(z);
        if (!page) {
            return -ENOMEM;
        }
    }
    *handle = place_buddy(z, page, chunks, owner);
    list_add(z, page);
    return 0;
}

/* Meanwhile others may take, give and release other pages; those of the run are nobody's until the end. */
static void release_run(struct zbud *z, struct page_run run)
{
    page_source_release(&z->source, run);
    SCOPED_LOCK(&z->lock);
    page_source_end_release(&z->source, run);
}

static void zbud_free(struct pool *pool, uint64_t handle)
{
    struct zbud *z = zbud_of(pool);
    uint32_t page = zbud_handle_page(handle);
    enum zbud_buddy buddy = zbud_handle_buddy(handle);
    struct page_run run = {0};
    mutex_lock(&z->lock);
    assert_live(z, handle);
    list_remove(z, page);
    struct zbud_page *record = zbud_record(z, page);
    record->chunks[buddy] = 0;
    record->owners[buddy] = 0;
    if (record->chunks[!buddy]) {
        list_add(z, page);
    } else {
        run = page_source_give(&z->source, page);
    }
    mutex_unlock(&z->lock);
    if (run.pages) {
        release_run(z, run);
    }
}

static void *zbud_map(struct pool *pool, uint64_t handle)
{
    struct zbud *z = zbud_of(pool);
    assert_live(z, handle);
    return (char *)page_source_address(&z->source, zbud_handle_page(handle)) +
           (zbud_handle_chunk(handle) << ZBUD_CHUNK_SHIFT);
}

static void zbud_unmap(struct pool *pool, uint64_t handle)
{
    assert_live(zbud_of(pool), handle);
}

static size_t zbud_total_size(struct pool *pool)
{
    return page_source_total_size(&zbud_of(pool)->source);
}

static size_t zbud_peers(struct pool *pool, uint64_t handle, uint64_t *owners, size_t room)
{
    struct zbud *z = zbud_of(pool);
    enum zbud_buddy other = !zbud_handle_buddy(handle);
    SCOPED_LOCK(&z->lock);
    const struct zbud_page *record = zbud_record(z, zbud_handle_page(handle));
    if (!room || !record->chunks[other]) {
        return 0;
    }
    owners[0] = record->owners[other];
    return 1;
}

static struct inherited *zbud_inherited(struct pool *pool)
{
    return &zbud_of(pool)->source.inherited;
}

static void zbud_lend(struct pool *pool)
{
    page_source_lend(&zbud_of(pool)->source);
}

static size_t zbud_trim(struct pool *pool)
{
    struct zbud *z = zbud_of(pool);
    size_t bytes = 0;
    /* No more runs than a full reserve can hold: bounded also while others keep freeing. */
    for (int i = 0; i < PAGE_SOURCE_RESERVE_MAX; i++) {
        mutex_lock(&z->lock);
        struct page_run run = page_source_begin_release(&z->source, 0);
        mutex_unlock(&z->lock);
        if (!run.pages) {
            break;
        }
        release_run(z, run);
        bytes += (size_t)run.pages << PAGE_SHIFT;
    }
    return bytes;
}

const struct pool_ops pool_zbud = {
    .name = "zbud",
    .create = zbud_create,
    .destroy = zbud_destroy,
    .alloc = zbud_alloc,
    .free = zbud_free,
    .map = zbud_map,
    .unmap = zbud_unmap,
    .total_size = zbud_total_size,
    .peers = zbud_peers,
    .inherited = zbud_inherited,
    .lend = zbud_lend,
    .trim = zbud_trim,
    .consistent = zbud_consistent,
};
